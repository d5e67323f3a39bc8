"""`quantloom evaluate`: what one mapping of one layer costs, with every part of it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantloom.cli.nest import nest_lines
from quantloom.cli.output import Column, TextTable, bold, print_json, print_lines, wrapped
from quantloom.cli.parsing import Parser, Subparsers, add_arch, add_bits, add_cost_model, cost_options
from quantloom.cli.sources import source_lines
from quantloom.cli.units import count_text, edp_text, energy_text, energy_unit, percent

if TYPE_CHECKING:
    from quantloom._core import Arch, Cost, Level, LevelCost, Mapping, TensorLevelCost, Workload

__all__ = ["add_parser"]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "evaluate",
        help="what one mapping of one layer costs, in detail",
        description="Print the loop nest of a mapping with its tiles, what every level stores, moves and costs, and "
        "which level limits the cycles. Counts are words after packing, for one instance of the level; energies are of "
        "all instances.",
        epilog="example:\n"
        "  quantloom map mobilenet_v2 --arch eyeriss --bits 8 --layer 2 --save best\n"
        "  quantloom evaluate --arch eyeriss --workload best/layer02.workload.yaml"
        " --mapping best/layer02.mapping.yaml",
    )
    add_arch(parser)
    parser.add_argument("--workload", metavar="W.yaml", required=True, help="the layer")
    parser.add_argument("--mapping", metavar="M.yaml", required=True, help="the mapping")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write the parts of the cost as a table too: .csv, .parquet, .arrow or .json",
    )
    add_bits(parser)
    add_cost_model(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Evaluate and print."""
    from quantloom import _core
    from quantloom.cli.inputs import bits_by_tensor
    from quantloom.cli.saved import check_writable, write_whole
    from quantloom.mapper.breakdown import mapping_json, tile_shapes
    from quantloom.mapper.energy_sources import energy_sources_json
    from quantloom.mapper.results import cost_results
    from quantloom.report.results import format_of
    from quantloom.spec.together import load_mapped_layer

    form = "csv" if args.output is None else format_of(args.output)
    if args.output is not None:
        check_writable(Path(args.output))
    layer = load_mapped_layer(args.arch, args.workload, args.mapping, bits=args.bits)
    arch, workload, mapping = layer.arch, layer.workload, layer.mapping
    bits = bits_by_tensor(layer.bits, workload)
    cost = _core.evaluate(arch, workload, mapping, bits=bits, **cost_options(args))
    if args.output is not None:
        about = {"workload": workload.name, "cost_model": args.cost_model}
        write_whole(Path(args.output), cost_results(arch, cost, about).encode(form))
    if args.json:
        body = {"arch": arch.name, "workload": workload.name, "cost_model": args.cost_model, "bits": bits}
        shapes = tile_shapes(mapping, arch, workload)
        tiles = {name: {tensor: list(shape) for tensor, shape in held.items()} for name, held in shapes.items()}
        nest = {"mapping": mapping_json(mapping, arch), "tile_shapes": tiles}
        sources = {"energy_sources": energy_sources_json(arch)}
        print_json("evaluate", {**body, **cost_json(arch, cost), **sources, **nest})
    else:
        print_lines(_report(arch, workload, mapping, bits, cost, args.cost_model))


def cost_json(arch: Arch, cost: Cost) -> dict[str, object]:
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
        "levels": [_level_json(level, cost) for level in reversed(arch.levels)],
    }


def limiting(cost: Cost) -> list[str]:
    """The levels whose bandwidth makes the layer slower than its arithmetic; none if it is bound by arithmetic."""
    if cost.limiting_level is None:
        return []
    return [name for name, level in cost.levels.items() if level.cycles >= cost.cycles]


def cost_lines(arch: Arch, cost: Cost) -> list[str]:
    """The breakdown as tables: accesses and energy, storage, networks if they cost anything, cycles."""
    tables = (_access_lines(arch, cost), _storage_lines(arch, cost), _network_lines(cost), _cycle_lines(arch, cost))
    lines = [line for table in tables if table for line in (*table, "")]
    return lines[:-1]


def totals_lines(cost: Cost) -> list[str]:
    """Energy, cycles, energy-delay product and utilization, one a line."""
    limits = limiting(cost)
    by = f"limited by the bandwidth of {', '.join(limits)}" if limits else "limited by the arithmetic units"
    return [
        f"energy       {energy_text(cost.energy_pj)} ({cost.energy_per_mac_pj:.4g} pJ for each of {cost.macs:,} MACs)",
        f"cycles       {count_text(cost.cycles)}, {by}",
        f"EDP          {edp_text(cost.edp)} pJ*cycles",
        f"utilization  {percent(cost.utilization)} of the arithmetic units",
    ]


def _report(
    arch: Arch, workload: Workload, mapping: Mapping, bits: dict[str, int], cost: Cost, model: str
) -> list[str]:
    widths = ", ".join(f"{tensor} {width}" for tensor, width in bits.items()) or "one word for each element"
    title = [bold(f"{workload.name} on {arch.name}, cost model {model}"), f"bits: {widths}", ""]
    if not math.isfinite(cost.energy_pj):
        why = "energy and cycles are infinite: there are more operations or accesses than 64-bit integers count exactly"
        return [*title, *nest_lines(mapping, arch, workload), "", *wrapped(why)]
    return [
        *title,
        *nest_lines(mapping, arch, workload, cost),
        "",
        *cost_lines(arch, cost),
        "",
        *totals_lines(cost),
        "",
        *source_lines(arch),
    ]


def _share(part: float, whole: float) -> float:
    """A part of a whole, 0..1; 0 of nothing and of what is infinite."""
    return part / whole if whole > 0 and math.isfinite(whole) else 0.0


def _access_lines(arch: Arch, cost: Cost) -> list[str]:
    """Words that every level moves for every tensor, and where the energy goes: the rows add up to all of it."""
    parts = [part.energy_pj for level in cost.levels.values() for part in level.tensors.values()]
    unit = energy_unit([*parts, cost.arithmetic_energy_pj])
    titles = ("reads", "fills", "updates", f"energy {unit.name}", "share")
    columns = [Column(title="level"), Column(title="tensor"), *(Column(title=t, align="right") for t in titles)]
    table = TextTable(columns=columns)

    def add(level: str, tensor: str, counts: Sequence[float], energy_pj: float) -> None:
        cells = [count_text(n) for n in counts] or [""] * 3
        table.add(level, tensor, *cells, unit.text(energy_pj), percent(_share(energy_pj, cost.energy_pj)))

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
    """How full every level is, and what with."""
    titles = ("bits", "elements", "words", "of capacity")
    columns = [Column(title="level"), Column(title="tensor"), *(Column(title=t, align="right") for t in titles)]
    table = TextTable(columns=columns)
    for level in reversed(arch.levels):
        kept = {tensor: part for tensor, part in cost.levels[level.name].tensors.items() if part.kept}
        for tensor, part in kept.items():
            bits = f"{part.stored_bits}{'*' if part.holds_partial_sums else ''}" if part.stored_bits else "-"
            counts = f"{part.tile_elements:,}", f"{part.utilized_words:,}"
            table.add(level.name, tensor, bits, *counts, _capacity_text(part.utilized_words, level))
        if len(kept) > 1:
            words = sum(part.utilized_words for part in kept.values())
            table.add(level.name, "(all)", "", "", f"{words:,}", _capacity_text(words, level))
    parts = [part for level_cost in cost.levels.values() for part in level_cost.tensors.values()]
    note = ["* partial sums, wider than the finished outputs"] if any(part.holds_partial_sums for part in parts) else []
    return [*table.lines(), *note]


def _capacity_text(words: int, level: Level) -> str:
    return percent(words / level.capacity_words) if level.capacity_words else "-"


def _network_lines(cost: Cost) -> list[str]:
    """What the networks carry, where that costs energy."""
    crossed = [
        (name, tensor, part)
        for name, level in cost.levels.items()
        for tensor, part in level.network.items()
        if part.energy_pj > 0
    ]
    if not crossed:
        return []
    unit = energy_unit([part.energy_pj for _, _, part in crossed])
    titles = ("words", "hops each", "additions", "handed on", f"energy {unit.name}", "share")
    columns = [Column(title="network below"), Column(title="tensor")]
    table = TextTable(columns=[*columns, *(Column(title=title, align="right") for title in titles)])
    for name, tensor, part in crossed:
        counts = part.ingresses, part.num_hops, part.spatial_reductions, part.link_transfers
        energy = unit.text(part.energy_pj), percent(_share(part.energy_pj, cost.energy_pj))
        table.add(name, tensor, *map(count_text, counts), *energy)
    return table.lines()


def _cycle_lines(arch: Arch, cost: Cost) -> list[str]:
    """The cycles every level needs for its words, and which of them is slowest."""
    limits = limiting(cost)
    titles = ("instances", "read/cycle", "written/cycle", "cycles")
    columns = [Column(title="level"), *(Column(title=title, align="right") for title in titles), Column(title="")]
    table = TextTable(columns=columns)
    for level in reversed(arch.levels):
        here = cost.levels[level.name]
        parts = here.tensors.values()
        reads, writes = sum(part.reads for part in parts), sum(part.fills + part.updates for part in parts)
        used = f"{max(part.utilized_instances for part in parts):,} of {level.instances:,}"
        rates = (count_text(_share(words, cost.cycles)) for words in (reads, writes))
        mark = "<- limits" if level.name in limits else ""
        limit = ", ".join(f"{kind} {bandwidth:,.6g}" for kind, bandwidth in _bandwidths(level).items())
        tail = f"bandwidth: {limit} words/cycle" if limit else ""
        table.add(level.name, used, *rates, count_text(here.cycles), mark, tail=tail)
    innermost = cost.levels[arch.levels[0].name]
    tensor = next(iter(innermost.tensors))
    units = innermost.tensors[tensor].utilized_instances * innermost.network[tensor].fanout
    mark = "" if limits else "<- limits"
    used = f"{units:,} of {arch.arithmetic.instances:,}"
    table.add(arch.arithmetic.name, used, "", "", count_text(cost.compute_cycles), mark)
    return table.lines()


def _bandwidths(level: Level) -> dict[str, float]:
    """The limits of a level in words per cycle and instance: read, write, both together."""
    given = {"read": level.read_bandwidth, "write": level.write_bandwidth, "shared": level.shared_bandwidth}
    bits = level.word_bits if level.bandwidth_in_bits else 1
    return {kind: value / bits for kind, value in given.items() if value is not None}


def _level_json(level: Level, cost: Cost) -> dict[str, object]:
    here = cost.levels[level.name]
    kept = {tensor: part for tensor, part in here.tensors.items() if part.kept}
    words = sum(part.utilized_words for part in kept.values())
    return {
        "level": level.name,
        "energy_pj": here.energy_pj,
        "energy_share": _share(here.energy_pj + here.network_energy_pj, cost.energy_pj),
        "network_energy_pj": here.network_energy_pj,
        "leak_energy_pj": here.leak_energy_pj,
        "latency_cycles": here.cycles,
        "slowdown": here.slowdown,
        "bandwidth_words_per_cycle": _bandwidths(level),
        "instances": level.instances,
        "capacity_words": level.capacity_words,
        "utilized_words": words,
        "capacity_share": words / level.capacity_words if level.capacity_words else None,
        "tensors": {tensor: _tensor_json(part, level, cost) for tensor, part in kept.items()},
        "networks": _networks_json(here),
    }


def _tensor_json(part: TensorLevelCost, level: Level, cost: Cost) -> dict[str, object]:
    return {
        "elements_per_word": part.elements_per_word,
        "stored_bits": part.stored_bits,
        "holds_partial_sums": part.holds_partial_sums,
        "tile_elements": part.tile_elements,
        "utilized_words": part.utilized_words,
        "capacity_share": part.utilized_words / level.capacity_words if level.capacity_words else None,
        "utilized_instances": part.utilized_instances,
        "reads_words_per_instance": part.reads,
        "fills_words_per_instance": part.fills,
        "updates_words_per_instance": part.updates,
        "reads_elements_per_instance": part.read_elements,
        "fills_elements_per_instance": part.fill_elements,
        "updates_elements_per_instance": part.update_elements,
        "final_updates_elements_per_instance": part.final_update_elements,
        "read_energy_pj": part.read_energy_pj,
        "fill_energy_pj": part.fill_energy_pj,
        "update_energy_pj": part.update_energy_pj,
        "address_energy_pj": part.address_energy_pj,
        "energy_pj": part.energy_pj,
        "energy_share": _share(part.energy_pj + part.address_energy_pj, cost.energy_pj),
    }


def _networks_json(level: LevelCost) -> dict[str, object]:
    """What crosses the network to the next inner level, for one instance of the level; energies of all instances."""
    return {
        tensor: {
            "fanout": part.fanout,
            "multicast": part.multicast_factor,
            "words_per_instance": part.ingresses,
            "handed_on_words_per_instance": part.link_transfers,
            "additions_per_instance": part.spatial_reductions,
            "hops_per_word": part.num_hops,
            "energy_pj": part.energy_pj,
        }
        for tensor, part in level.network.items()
    }
