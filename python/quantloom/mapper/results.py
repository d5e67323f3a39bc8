"""Cost tables and costs as result tables: the columns that docs/results.md documents."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from quantloom._core import Arch, Cost, Mapping
from quantloom.mapper.energy_sources import NOT_SAID
from quantloom.mapper.optimize import Optimum
from quantloom.mapper.table import CostTable
from quantloom.report.results import Cell, ResultColumn, ResultTable
from quantloom.workload.bits import BitWidths

__all__ = ["COST_COLUMNS", "COST_TABLE_COLUMNS", "cost_results", "cost_table_results", "mapped_results"]


COST_TABLE_COLUMNS = (
    ResultColumn("position", "int", "", "position of the layer, from 1"),
    ResultColumn("layer", "text", "", "name of the layer"),
    ResultColumn("bits_weights", "int", "bits", "of an element of Weights"),
    ResultColumn("bits_inputs", "int", "bits", "of an element of Inputs"),
    ResultColumn("bits_outputs", "int", "bits", "of an element of Outputs"),
    ResultColumn("energy_pj", "float", "pJ", "of the layer's best mapping; missing where nothing fits"),
    ResultColumn("latency_cycles", "float", "cycles", "of that mapping"),
    ResultColumn("edp_pj_cycles", "float", "pJ*cycles", "energy x latency"),
    ResultColumn("is_proven", "bool", "", "whether the mapping is the optimum of its mapspace"),
    ResultColumn("mapping", "text", "", "the mapping in one line, levels from DRAM inwards"),
    ResultColumn("reason", "text", "", "why there is no mapping or no proof; missing where there are both"),
)
COST_COLUMNS = (
    ResultColumn("level", "text", "", "a level, or the arithmetic units"),
    ResultColumn("part", "text", "", "storage, network, leakage or arithmetic"),
    ResultColumn("tensor", "text", "", "the tensor of storage; missing for other parts"),
    ResultColumn("stored_bits", "int", "bits", "of a stored element; 0: each takes a word"),
    ResultColumn("holds_partial_sums", "bool", "", "whether partial sums are stored, not finished outputs"),
    ResultColumn("tile_elements", "float", "elements", "resident in one instance"),
    ResultColumn("utilized_words", "float", "words", "that they take in one instance"),
    ResultColumn("utilized_instances", "float", "", "instances that hold some"),
    ResultColumn("reads_words", "float", "words", "read from one instance"),
    ResultColumn("fills_words", "float", "words", "written into one instance from outside"),
    ResultColumn("updates_words", "float", "words", "written into one instance from inside"),
    ResultColumn("energy_pj", "float", "pJ", "of all instances; the rows add up to the layer's energy"),
    ResultColumn("energy_source", "text", "", "where the energies of an access are from"),
)


def cost_table_results(table: CostTable, arch: Arch, describe: Callable[[Mapping], str]) -> ResultTable:
    """One row for each layer and combination of bits; describe: a mapping in one line of text."""
    rows: list[tuple[Cell, ...]] = []
    for position, layer in enumerate(table.layers, 1):
        for weights, inputs, outputs in itertools.product(table.bits, repeat=3):
            found = table.entry(layer, BitWidths(weights=weights, inputs=inputs, outputs=outputs))
            numbers: tuple[Cell, ...] = (None, None, None)
            if found.mapping is not None:
                numbers = (found.energy_pj, found.cycles, found.energy_pj * found.cycles)
            text = None if found.mapping is None else describe(found.mapping)
            reason = found.refusal or _reason(found.mapping is not None, found.exhausted)
            rows.append((position, layer, weights, inputs, outputs, *numbers, found.exhausted, text, reason))
    about = {"arch": arch.name, "arch_source": arch.source, "cost_model": table.model, "objective": table.objective}
    return ResultTable(name="cost_table", columns=COST_TABLE_COLUMNS, rows=tuple(rows), about=about)


def _reason(is_found: bool, is_proven: bool) -> str | None:
    if is_proven:
        return None if is_found else "no mapping fits at these bits"
    return "the budget ended before a proof" if is_found else "the budget ended before any mapping that fits"


def mapped_results(
    layers: Sequence[tuple[int, str, BitWidths, Optimum]],
    arch: Arch,
    describe: Callable[[Mapping], str],
    about: dict[str, str],
) -> ResultTable:
    """The columns of a cost table for layers mapped at one choice of bits each: (position, name, bits, best)."""
    rows: list[tuple[Cell, ...]] = []
    for position, name, bits, best in layers:
        cost = best.cost
        is_proven = best.certificate.exhausted
        numbers = (cost.energy_pj, cost.cycles, cost.edp, is_proven)
        text = describe(best.mapping)
        reason = _reason(True, is_proven)
        rows.append((position, name, bits.weights, bits.inputs, bits.outputs, *numbers, text, reason))
    described = {"arch": arch.name, "arch_source": arch.source, **about}
    return ResultTable(name="cost_table", columns=COST_TABLE_COLUMNS, rows=tuple(rows), about=described)


def cost_results(arch: Arch, cost: Cost, about: dict[str, str]) -> ResultTable:
    """One row for each level and tensor kept there, and for networks, leakage and the units; energies add up."""
    rows: list[tuple[Cell, ...]] = []
    empty: tuple[Cell, ...] = (None,) * 8
    for level in reversed(arch.levels):
        here = cost.levels[level.name]
        sources = dict.fromkeys((level.energy.read_source, level.energy.fill_source, level.energy.update_source))
        source = "; ".join(s for s in sources if s) or NOT_SAID
        for tensor, part in here.tensors.items():
            if part.kept:
                counts = (part.tile_elements, part.utilized_words, part.utilized_instances)
                words = (part.reads, part.fills, part.updates)
                numbers = tuple(float(n) for n in (*counts, *words))
                energy_pj = part.energy_pj + part.address_energy_pj
                row = (level.name, "storage", tensor, part.stored_bits, part.holds_partial_sums)
                rows.append((*row, *numbers, energy_pj, source))
        for name, energy_pj in (("network", here.network_energy_pj), ("leakage", here.leak_energy_pj)):
            if energy_pj:
                rows.append((level.name, name, None, *empty, energy_pj, arch.source or NOT_SAID))
    unit = arch.arithmetic
    rows.append((unit.name, "arithmetic", None, *empty, cost.arithmetic_energy_pj, unit.energy_source or NOT_SAID))
    if cost.arithmetic_leak_energy_pj:
        rows.append((unit.name, "leakage", None, *empty, cost.arithmetic_leak_energy_pj, arch.source or NOT_SAID))
    return ResultTable(
        name="cost",
        columns=COST_COLUMNS,
        rows=tuple(rows),
        about={"arch": arch.name, "arch_source": arch.source, **about},
    )
