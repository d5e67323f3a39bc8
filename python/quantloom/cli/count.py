"""`quantloom count`: the size of each layer's mapspace and how many of its mappings fit."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from quantloom.cli.output import Column, TextTable, bold, note_lines, print_json, print_lines
from quantloom.cli.parsing import (
    BITS_HELP,
    CostOptions,
    Parser,
    Subparsers,
    add_arch,
    add_cost_model,
    add_fixed,
    add_layer,
    add_model,
    add_table_output,
    add_threads,
    cost_options,
)
from quantloom.cli.progress import Progress

if TYPE_CHECKING:
    from quantloom._core import Arch
    from quantloom.report.results import Cell
    from quantloom.spec.bits import BitsSpec
    from quantloom.workload.bits import BitWidths
    from quantloom.workload.network import Layer, Network

__all__ = ["add_parser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayerCount:
    """One layer's mapspace. position: from 1. notes: constraints that were lowered for it, a sentence each."""

    position: int
    layer: str
    bits: BitWidths
    size: int
    visited: int
    valid: int
    over_fanout: int
    over_capacity: int
    misused: int  # within fanout and capacities, but not as much of them as constraints ask for
    over_capacity_by_level: dict[str, int]  # by the innermost level that is too small
    misused_by_level: dict[str, int]
    notes: tuple[str, ...]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "count",
        help="size of the mapspace, and how many mappings fit at given bits",
        description="Count the mappings that the constraints of an accelerator leave for each layer, and those that "
        "fit. Of mappings that differ only in loops of bound 1 one is visited; visited = valid + invalid. The compat "
        "model visits as the reference tool does, the default model every different mapping. The default model "
        "stores partial sums wider than outputs, so fewer mappings fit.",
        epilog="example:\n"
        "  quantloom count mobilenet_v1 --arch eyeriss --layer 2 --bits 16 8 a8w4o8 4 2 --paper-workloads"
        " --cost-model compat -o counts.csv",
    )
    add_model(parser)
    add_arch(parser)
    add_layer(parser)
    parser.add_argument(
        "--bits", metavar="BITS", nargs="+", required=True, help=f"{BITS_HELP}; several are counted in one pass"
    )
    add_cost_model(parser)
    add_fixed(parser)
    parser.add_argument(
        "--paper-workloads",
        action="store_true",
        help="take depthwise and grouped layers as dense, as the tool of arXiv 2404.05368 does",
    )
    add_table_output(parser, "a row for each layer and BITS")
    add_threads(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Count and print."""
    from quantloom._core import Mapspace
    from quantloom.cli.inputs import positions, read_inputs, with_given_loops
    from quantloom.cli.saved import check_table_file
    from quantloom.workload.paper import paper_workloads

    check_table_file(args.output)
    arch, bits, network = read_inputs(args.arch, args.bits, args.model)
    if args.paper_workloads:
        network = paper_workloads(network)
    counted, _ = with_given_loops(args.fixed, arch, network, args.layer)
    counts = _count_layers(counted, network, bits, positions(network, args.layer), cost_options(args), args.threads)
    if args.fixed is not None:  # what is lowered is said of the architecture's own constraints
        plain = Mapspace(arch, network.layer(args.layer).workload)
        counts = [replace(each, notes=tuple(plain.notes)) for each in counts]
    if args.output is not None:
        _write_table(args, arch, network, counts)
    if args.json:
        body: dict[str, object] = {"model": network.name, "arch": arch.name, "cost_model": args.cost_model}
        if args.fixed is not None:
            body["fixed"] = args.fixed
        found = [_layer_json(each) for each in counts]
        print_json("count", {**body, **found[0]} if len(found) == 1 else {**body, "layers": found})
    else:
        given = "" if args.fixed is None else f", with what {args.fixed} gives"
        title = bold(f"{network.name} on {arch.name}, cost model {args.cost_model}{given}")
        print_lines([title, *_lines(counts), *([] if args.output is None else ["", f"written to {args.output}"])])


def _write_table(args: argparse.Namespace, arch: Arch, network: Network, counts: list[_LayerCount]) -> None:
    from quantloom.cli.saved import write_table
    from quantloom.mapper.space_results import count_results

    levels = [level.name for level in arch.levels]
    rows: list[tuple[Cell, ...]] = [
        (
            *(found.position, found.layer, found.bits.weights, found.bits.inputs, found.bits.outputs),
            *(float(found.size), found.visited, found.valid),
            *(found.over_fanout, found.over_capacity, found.misused),
            *(found.over_capacity_by_level.get(level, 0) for level in levels),
        )
        for found in counts
    ]
    about = {"model": network.name, "arch": arch.name, "cost_model": args.cost_model}
    about |= {} if args.fixed is None else {"fixed": args.fixed}
    write_table(args.output, count_results(rows, levels, about))


def _count_layers(
    arch: Arch, network: Network, settings: list[BitsSpec], indices: list[int], options: CostOptions, threads: int
) -> list[_LayerCount]:
    """Count each layer at all its bits in one pass; equal layers with equal bits once."""
    from quantloom.cli.inputs import naming_layer

    known: dict[object, list[_LayerCount]] = {}
    found = []
    with Progress() as progress:
        for done, index in enumerate(indices):
            layer = network.layers[index]
            widths = tuple(bits.for_layer(network, index) for bits in settings)
            progress(done, len(indices), f"counting {layer.name}")
            key = layer.workload.renamed("any"), widths
            if key not in known:
                with naming_layer(layer.name):
                    known[key] = _count_layer(arch, layer, widths, options, threads)
            found += [replace(each, position=index + 1, layer=layer.name) for each in known[key]]
    return found


def _count_layer(
    arch: Arch, layer: Layer, widths: tuple[BitWidths, ...], options: CostOptions, threads: int
) -> list[_LayerCount]:
    from quantloom.cli.inputs import bits_by_tensor
    from quantloom.mapper.mapspace import Mapspace

    space = Mapspace(arch, layer.workload)
    bits = [bits_by_tensor(each, layer.workload) for each in widths]
    counts = space.count_valid_many(bits, threads=threads, **options)
    return [
        _LayerCount(
            position=0,
            layer=layer.name,
            bits=each,
            size=space.size(),
            visited=count.considered,
            valid=count.valid,
            over_fanout=count.invalid_fanout,
            over_capacity=count.invalid_capacity,
            misused=count.invalid_utilization,
            over_capacity_by_level=dict(count.invalid_capacity_by_level),
            misused_by_level=dict(count.invalid_utilization_by_level),
            notes=tuple(space.notes),
        )
        for each, count in zip(widths, counts, strict=True)
    ]


def _layer_json(found: _LayerCount) -> dict[str, object]:
    return {
        "layer": found.layer,
        "position": found.position,
        "bits": {"Weights": found.bits.weights, "Inputs": found.bits.inputs, "Outputs": found.bits.outputs},
        "size": found.size,
        "visited": found.visited,
        "valid": found.valid,
        "invalid": {"fanout": found.over_fanout, "capacity": found.over_capacity, "utilization": found.misused},
        "invalid_capacity_by_level": found.over_capacity_by_level,
        "invalid_utilization_by_level": found.misused_by_level,
        "notes": list(found.notes),
    }


def _lines(counts: list[_LayerCount]) -> list[str]:
    titles = ["size", "visited", "valid", "over fanout", "over capacity"]
    if any(found.misused for found in counts):
        titles.append("utilization")
    columns = [Column(title="#", align="right"), Column(title="layer"), Column(title="bits")]
    table = TextTable(
        columns=[*columns, *(Column(title=title, align="right") for title in titles)], tail_title="too small for"
    )
    notes: dict[str, list[int]] = {}
    for found in counts:
        numbers = [found.size, found.visited, found.valid, found.over_fanout, found.over_capacity, found.misused]
        levels = ", ".join(f"{level} {n:,}" for level, n in found.over_capacity_by_level.items())
        table.add(
            str(found.position), found.layer, str(found.bits), *(f"{n:,}" for n in numbers[: len(titles)]), tail=levels
        )
        for note in found.notes:
            notes.setdefault(note, []).append(found.position)
    return [*table.lines(), *note_lines(notes)]
