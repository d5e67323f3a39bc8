"""`quantloom evaluate`: what one mapping of one layer costs, with every part of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from quantloom.cli.nest import mapping_json, nest_lines
from quantloom.cli.output import Column, TextTable, bold, print_json, print_lines
from quantloom.cli.parsing import Parser, Subparsers, add_arch, add_bits, add_cost_model, cost_options
from quantloom.cli.units import count_text, edp_text, energy_text, energy_unit, percent

if TYPE_CHECKING:
    from quantloom._core import Arch, Cost, Mapping, Workload

__all__ = ["add_parser"]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate",
        help="what one mapping of one layer costs, in detail",
        description="Print the loop nest of a mapping with its tiles, and the accesses, energy and cycles of every "
        "level. Counts are words after packing, for one instance of the level; energies are of all instances.",
        epilog="example:\n"
        "  quantloom map mobilenet_v2 --arch eyeriss --bits 8 --layer 2 --save best\n"
        "  quantloom evaluate --arch eyeriss --workload best/layer02.workload.yaml"
        " --mapping best/layer02.mapping.yaml",
    )
    add_arch(parser)
    parser.add_argument("--workload", metavar="W.yaml", required=True, help="the layer")
    parser.add_argument("--mapping", metavar="M.yaml", required=True, help="the mapping")
    add_bits(parser)
    add_cost_model(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Evaluate and print."""
    from quantloom import _core
    from quantloom.cli.inputs import bits_by_tensor
    from quantloom.spec.arch import load_arch
    from quantloom.spec.bits import load_bits
    from quantloom.spec.mapping import load_mapping
    from quantloom.spec.workload import load_workload

    arch = load_arch(args.arch)
    workload, own_bits = load_workload(args.workload)
    bits = bits_by_tensor(load_bits(args.bits).for_workload() if args.bits else own_bits, workload)
    mapping = load_mapping(args.mapping, arch, workload)
    cost = _core.evaluate(arch, workload, mapping, bits=bits, **cost_options(args))
    if args.json:
        body = {"arch": arch.name, "workload": workload.name, "cost_model": args.cost_model, "bits": bits}
        print_json("evaluate", {**body, **cost_json(cost), "mapping": mapping_json(mapping, arch)})
    else:
        print_lines(_report(arch, workload, mapping, bits, cost, args.cost_model))


def cost_json(cost: Cost) -> dict[str, object]:
    """The totals and the breakdown by level (from DRAM inwards) and tensor, with units in the keys."""
    return {
        "energy_pj": cost.energy_pj,
        "latency_cycles": cost.cycles,
        "edp_pj_cycles": cost.edp,
        "utilization": cost.utilization,
        "macs": cost.macs,
        "energy_per_mac_pj": cost.energy_per_mac_pj,
        "compute_cycles": cost.compute_cycles,
        "arithmetic_energy_pj": cost.arithmetic_energy_pj,
        "arithmetic_leak_energy_pj": cost.arithmetic_leak_energy_pj,
        "area_um2": cost.area_um2,
        "limited_by": limiting(cost),
        "levels": [_level_json(name, cost) for name in cost.levels],
    }


def limiting(cost: Cost) -> list[str]:
    """The levels whose bandwidth makes the layer slower than its arithmetic; none if it is bound by arithmetic."""
    if cost.limiting_level is None:
        return []
    return [name for name, level in cost.levels.items() if level.cycles >= cost.cycles]


def cost_lines(arch: Arch, cost: Cost) -> list[str]:
    """The breakdown as tables, by level and tensor: accesses and energy, then storage, with the cycles by level."""
    return [*_access_lines(arch, cost), "", *_storage_lines(arch, cost)]


def totals_lines(cost: Cost) -> list[str]:
    """Energy, cycles, energy-delay product and utilization, one a line."""
    limits = limiting(cost)
    units = count_text(round(cost.macs / cost.cycles / cost.utilization))
    by = f"limited by the bandwidth of {', '.join(limits)}" if limits else "limited by the arithmetic units"
    return [
        f"energy       {energy_text(cost.energy_pj)} ({cost.energy_per_mac_pj:.4g} pJ for each of {cost.macs:,} MACs)",
        f"cycles       {count_text(cost.cycles)}, {by}",
        f"EDP          {edp_text(cost.edp)} pJ*cycles",
        f"utilization  {percent(cost.utilization)} of {units} arithmetic units",
    ]


def _report(
    arch: Arch, workload: Workload, mapping: Mapping, bits: dict[str, int], cost: Cost, model: str
) -> list[str]:
    widths = ", ".join(f"{tensor} {width}" for tensor, width in bits.items()) or "one word for each element"
    return [
        bold(f"{workload.name} on {arch.name}, cost model {model}"),
        f"bits: {widths}",
        "",
        *nest_lines(mapping, arch, workload, cost),
        "",
        *cost_lines(arch, cost),
        "",
        *totals_lines(cost),
    ]


def _access_lines(arch: Arch, cost: Cost) -> list[str]:
    parts = [part.energy_pj for level in cost.levels.values() for part in level.tensors.values()]
    unit = energy_unit([*parts, cost.arithmetic_energy_pj])
    titles = ("reads", "fills", "updates", f"energy {unit.name}", "share")
    columns = [Column(title="level"), Column(title="tensor"), *(Column(title=t, align="right") for t in titles)]
    table = TextTable(columns=columns)

    def add(level: str, tensor: str, counts: Sequence[float], energy_pj: float) -> None:
        cells = [count_text(n) for n in counts] or [""] * 3
        table.add(level, tensor, *cells, unit.text(energy_pj), percent(energy_pj / cost.energy_pj))

    for name, level in cost.levels.items():
        for tensor, part in level.tensors.items():
            if part.kept:
                add(name, tensor, (part.reads, part.fills, part.updates), part.energy_pj + part.address_energy_pj)
        if level.network_energy_pj > 0:
            add(name, "(network)", (), level.network_energy_pj)
        if level.leak_energy_pj > 0:
            add(name, "(leakage)", (), level.leak_energy_pj)
    add(arch.arithmetic.name, "", (), cost.arithmetic_energy_pj)
    if cost.arithmetic_leak_energy_pj > 0:
        add(arch.arithmetic.name, "(leakage)", (), cost.arithmetic_leak_energy_pj)
    return table.lines()


def _storage_lines(arch: Arch, cost: Cost) -> list[str]:
    capacities = {level.name: level.capacity_words for level in arch.levels}
    limits = limiting(cost)
    titles = ("bits", "words", "of capacity", "instances", "cycles")
    columns = [Column(title="level"), Column(title="tensor"), *(Column(title=t, align="right") for t in titles)]
    table = TextTable(columns=[*columns, Column(title="")])
    for name, level in cost.levels.items():
        cycles, mark = count_text(level.cycles), "<- limits" if name in limits else ""
        for tensor, part in level.tensors.items():
            if part.kept:
                capacity = capacities[name]
                share = percent(part.utilized_words / capacity) if capacity else "-"
                instances = count_text(part.utilized_instances)
                bits = f"{part.stored_bits}{'*' if part.holds_partial_sums else ''}" if part.stored_bits else "-"
                table.add(name, tensor, bits, f"{part.utilized_words:,}", share, instances, cycles, mark)
                cycles = mark = ""
    lanes = count_text(cost.macs / cost.compute_cycles)
    mark = "" if limits else "<- limits"
    table.add(arch.arithmetic.name, "", "", "", "", lanes, count_text(cost.compute_cycles), mark)
    parts = [part for level in cost.levels.values() for part in level.tensors.values()]
    note = ["* partial sums, wider than the finished outputs"] if any(part.holds_partial_sums for part in parts) else []
    return [*table.lines(), *note]


def _level_json(name: str, cost: Cost) -> dict[str, object]:
    level = cost.levels[name]
    tensors = {
        tensor: {
            "elements_per_word": part.elements_per_word,
            "stored_bits": part.stored_bits,
            "holds_partial_sums": part.holds_partial_sums,
            "tile_elements": part.tile_elements,
            "utilized_words": part.utilized_words,
            "utilized_instances": part.utilized_instances,
            "reads_words_per_instance": part.reads,
            "fills_words_per_instance": part.fills,
            "updates_words_per_instance": part.updates,
            "read_energy_pj": part.read_energy_pj,
            "fill_energy_pj": part.fill_energy_pj,
            "update_energy_pj": part.update_energy_pj,
            "address_energy_pj": part.address_energy_pj,
            "energy_pj": part.energy_pj,
        }
        for tensor, part in level.tensors.items()
        if part.kept
    }
    return {
        "level": name,
        "energy_pj": level.energy_pj,
        "network_energy_pj": level.network_energy_pj,
        "leak_energy_pj": level.leak_energy_pj,
        "latency_cycles": level.cycles,
        "tensors": tensors,
    }
