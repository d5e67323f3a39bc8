"""Best mappings of layers and their costs by level; what a store holds is not searched again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from quantloom import _core
from quantloom.errors import InfeasibleError, MappingError
from quantloom.mapper.stored import Question, TableEntry, recall, remember
from quantloom.store.database import Store

__all__ = ["Column", "Totals", "solve_layers"]

ARITHMETIC = "arithmetic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One way to look at the same network. name: of the column in tables. model: the cost model. layers: so taken.

    selection: which constraints of the accelerator hold, "all" or "architecture".
    """

    name: str
    model: str
    layers: tuple[_core.Workload, ...]
    selection: str = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over layers, each under its best mapping (EDP). by_level_pj: levels from DRAM inwards, then `arithmetic`."""

    energy_pj: float
    cycles: float
    sum_edp_pj_cycles: float
    by_level_pj: Mapping[str, float]

    @property
    def edp_pj_cycles(self) -> float:
        """Energy times cycles of the whole network."""
        return self.energy_pj * self.cycles


def solve_layers(
    arch: _core.Arch,
    column: Column,
    settings: Sequence[Mapping[str, int]],
    *,
    threads: int,
    store: Store | None,
    progress: Callable[[int, int], None],
) -> list[Totals]:
    """Totals of the layers at each setting (bits by tensor); every mapping is proven. progress(layers done, of).

    Equal layers are solved once. Raises InfeasibleError if a layer fits nowhere.
    """
    distinct: dict[_core.Workload, list[tuple[TableEntry, _core.Cost]]] = {}
    for done, layer in enumerate(column.layers):
        progress(done, len(column.layers))
        key = layer.renamed("layer")
        if key not in distinct:
            entries = _solve(arch, key, column, settings, threads, store)
            distinct[key] = [
                (entry, _price(arch, layer, column, bits, entry)) for entry, bits in zip(entries, settings, strict=True)
            ]
    progress(len(column.layers), len(column.layers))
    solved = [distinct[layer.renamed("layer")] for layer in column.layers]
    return [_totals([layer[i] for layer in solved]) for i in range(len(settings))]


def _solve(
    arch: _core.Arch,
    layer: _core.Workload,
    column: Column,
    settings: Sequence[Mapping[str, int]],
    threads: int,
    store: Store | None,
) -> list[TableEntry]:
    options = {"objective": "edp", "model": column.model, "packing": "word", "selection": column.selection}
    question = Question(arch, layer, settings, **options, psum_bits=0, budget=0)
    found = {} if store is None else recall(store, question, settings)
    missing = [i for i in range(len(settings)) if i not in found]
    if missing:
        asked = [dict(settings[i]) for i in missing]
        optima = _core.optimize(arch, layer, asked, **options, psum_bits=0, budget=0, threads=threads)
        fresh = {i: TableEntry.of(optimum) for i, optimum in zip(missing, optima, strict=True)}
        if store is not None:
            remember(store, question, fresh, settings)
        found |= fresh
    return [found[i] for i in range(len(settings))]


def _price(
    arch: _core.Arch, layer: _core.Workload, column: Column, bits: Mapping[str, int], entry: TableEntry
) -> _core.Cost:
    if entry.refusal:
        raise MappingError(entry.refusal, hint="this is not so in the published runs; please report it")
    if entry.mapping is None:
        message = f"{layer.name} fits nowhere on {arch.name} at {dict(bits)}"
        raise InfeasibleError(message, hint="this is not so in the published runs; please report it")
    return _core.evaluate(arch, layer, entry.mapping, bits=dict(bits), model=column.model)


def _totals(layers: Sequence[tuple[TableEntry, _core.Cost]]) -> Totals:
    by_level: dict[str, float] = {}
    for _, cost in layers:
        for name, level in cost.levels.items():
            tensors = sum(part.energy_pj + part.address_energy_pj for part in level.tensors.values())
            by_level[name] = by_level.get(name, 0.0) + tensors + level.network_energy_pj + level.leak_energy_pj
        rest = cost.arithmetic_energy_pj + cost.arithmetic_leak_energy_pj
        by_level[ARITHMETIC] = by_level.get(ARITHMETIC, 0.0) + rest
    by_level[ARITHMETIC] = by_level.pop(ARITHMETIC)  # to the end
    return Totals(
        energy_pj=sum(cost.energy_pj for _, cost in layers),
        cycles=sum(cost.cycles for _, cost in layers),
        sum_edp_pj_cycles=sum(cost.edp for _, cost in layers),
        by_level_pj=by_level,
    )
