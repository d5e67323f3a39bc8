"""`quantloom count`: the size of each layer's mapspace and how many of its mappings fit."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantloom.cli.output import Column, TextTable, bold, note_lines, print_json, print_lines
from quantloom.cli.parsing import (
    Parser,
    Subparsers,
    add_arch,
    add_bits,
    add_cost_model,
    add_layer,
    add_model,
    add_threads,
)
from quantloom.cli.progress import Progress

if TYPE_CHECKING:
    from quantloom._core import Arch, MapspaceCount
    from quantloom.spec.bits import BitsSpec
    from quantloom.workload.bits import BitWidths
    from quantloom.workload.network import Network

__all__ = ["add_parser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayerCount:
    """One layer's mapspace. position: from 1. notes: constraints that were lowered for it, a sentence each."""

    position: int
    layer: str
    bits: BitWidths
    size: int
    count: MapspaceCount
    notes: tuple[str, ...]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "count",
        help="size of the mapspace, and how many mappings fit at given bits",
        description="Count the mappings that the constraints of an accelerator leave for each layer, and those that\n"
        "fit. Of mappings that differ only in loops of bound 1 one is visited, as the reference tool does;\n"
        "visited = valid + invalid.",
        epilog="example:\n  quantloom count mobilenet_v1 --arch eyeriss --layer 2 --bits a8w4",
    )
    add_model(parser)
    add_arch(parser)
    add_layer(parser)
    add_bits(parser, required=True)
    add_cost_model(parser)
    parser.add_argument(
        "--paper-workloads",
        action="store_true",
        help="take depthwise and grouped layers as dense, as the tool of arXiv 2404.05368 does",
    )
    add_threads(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Count and print."""
    from quantloom.cli.inputs import positions, read_network
    from quantloom.spec.arch import load_arch
    from quantloom.spec.bits import load_bits
    from quantloom.workload.paper import paper_workloads

    arch, bits = load_arch(args.arch), load_bits(args.bits)
    network = read_network(args.model)
    if args.paper_workloads:
        network = paper_workloads(network)
    counts = _count_layers(arch, network, bits, positions(network, args.layer), args.threads)
    if args.json:
        body: dict[str, object] = {"model": network.name, "arch": arch.name, "cost_model": args.cost_model}
        found = [_layer_json(each) for each in counts]
        print_json("count", {**body, **found[0]} if args.layer is not None else {**body, "layers": found})
    else:
        print_lines([bold(f"{network.name} on {arch.name}, cost model {args.cost_model}"), *_lines(counts)])


def _count_layers(arch: Arch, network: Network, bits: BitsSpec, indices: list[int], threads: int) -> list[_LayerCount]:
    """Count each layer; equal layers with equal bits once."""
    from quantloom._core import Mapspace
    from quantloom.cli.inputs import bits_by_tensor, naming_layer

    known: dict[object, tuple[int, MapspaceCount, tuple[str, ...]]] = {}
    found = []
    with Progress() as progress:
        for done, index in enumerate(indices):
            layer, widths = network.layers[index], bits.for_layer(network, index)
            progress(done, len(indices), f"counting {layer.name}")
            key = layer.workload.renamed("any"), widths
            if key not in known:
                with naming_layer(layer.name):
                    space = Mapspace(arch, layer.workload)
                    count = space.count(bits_by_tensor(widths, layer.workload), threads=threads)
                known[key] = space.size(), count, tuple(space.notes)
            size, count, notes = known[key]
            found.append(
                _LayerCount(position=index + 1, layer=layer.name, bits=widths, size=size, count=count, notes=notes)
            )
    return found


def _layer_json(found: _LayerCount) -> dict[str, object]:
    count = found.count
    return {
        "layer": found.layer,
        "position": found.position,
        "bits": {"Weights": found.bits.weights, "Inputs": found.bits.inputs, "Outputs": found.bits.outputs},
        "size": found.size,
        "visited": count.considered,
        "valid": count.valid,
        "invalid": {"fanout": count.invalid_fanout, "capacity": count.invalid_capacity},
        "invalid_capacity_by_level": dict(count.invalid_capacity_by_level),
        "notes": list(found.notes),
    }


def _lines(counts: list[_LayerCount]) -> list[str]:
    titles = ("size", "visited", "valid", "over fanout", "over capacity")
    columns = [Column(title="#", align="right"), Column(title="layer"), Column(title="bits")]
    table = TextTable(
        columns=[*columns, *(Column(title=title, align="right") for title in titles)], tail_title="too small for"
    )
    notes: dict[str, list[int]] = {}
    for found in counts:
        count = found.count
        numbers = (found.size, count.considered, count.valid, count.invalid_fanout, count.invalid_capacity)
        levels = ", ".join(f"{level} {n:,}" for level, n in count.invalid_capacity_by_level.items())
        table.add(str(found.position), found.layer, str(found.bits), *(f"{n:,}" for n in numbers), tail=levels)
        for note in found.notes:
            notes.setdefault(note, []).append(found.position)
    return [*table.lines(), *note_lines(notes)]
