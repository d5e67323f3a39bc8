"""`quantloom count`: the size of each layer's mapspace and how many of its mappings fit."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
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
    from quantloom._core import Arch
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
    over_capacity_by_level: dict[str, int]  # empty where the model counts no levels
    notes: tuple[str, ...]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "count",
        help="size of the mapspace, and how many mappings fit at given bits",
        description="Count the mappings that the constraints of an accelerator leave for each layer, and those that "
        "fit. Of mappings that differ only in loops of bound 1 one is visited, as the reference tool does; "
        "visited = valid + invalid. The default cost model stores partial sums wider than outputs, so fewer "
        "mappings fit than in the compat model; it does not say which level is too small.",
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
    counts = _count_layers(arch, network, bits, positions(network, args.layer), args.cost_model, args.threads)
    if args.json:
        body: dict[str, object] = {"model": network.name, "arch": arch.name, "cost_model": args.cost_model}
        found = [_layer_json(each) for each in counts]
        print_json("count", {**body, **found[0]} if args.layer is not None else {**body, "layers": found})
    else:
        print_lines([bold(f"{network.name} on {arch.name}, cost model {args.cost_model}"), *_lines(counts)])


def _count_layers(
    arch: Arch, network: Network, bits: BitsSpec, indices: list[int], cost_model: str, threads: int
) -> list[_LayerCount]:
    """Count each layer; equal layers with equal bits once."""
    from quantloom.cli.inputs import naming_layer

    known: dict[object, _LayerCount] = {}
    found = []
    with Progress() as progress:
        for done, index in enumerate(indices):
            layer, widths = network.layers[index], bits.for_layer(network, index)
            progress(done, len(indices), f"counting {layer.name}")
            key = layer.workload.renamed("any"), widths
            if key not in known:
                with naming_layer(layer.name):
                    known[key] = _count_layer(arch, layer, widths, cost_model, threads)
            found.append(replace(known[key], position=index + 1, layer=layer.name))
    return found


def _count_layer(arch: Arch, layer: Layer, widths: BitWidths, cost_model: str, threads: int) -> _LayerCount:
    from quantloom._core import Mapspace, optimize
    from quantloom.cli.inputs import bits_by_tensor

    bits = bits_by_tensor(widths, layer.workload)
    space = Mapspace(arch, layer.workload)
    count = space.count(bits, threads=threads)
    visited, valid, by_level = count.considered, count.valid, dict(count.invalid_capacity_by_level)
    if cost_model != "compat":
        # Which tiles hold partial sums depends on the mapping: walk them all; the fewest cycles prune the pricing most.
        [walk] = optimize(
            arch, layer.workload, [bits], objective="cycles", model=cost_model, threads=threads, method="exhaustive"
        )
        visited, valid, by_level = walk.certificate.considered + count.invalid_fanout, walk.certificate.fitting, {}
    return _LayerCount(
        position=0,
        layer=layer.name,
        bits=widths,
        size=space.size(),
        visited=visited,
        valid=valid,
        over_fanout=count.invalid_fanout,
        over_capacity=visited - valid - count.invalid_fanout,
        over_capacity_by_level=by_level,
        notes=tuple(space.notes),
    )


def _layer_json(found: _LayerCount) -> dict[str, object]:
    return {
        "layer": found.layer,
        "position": found.position,
        "bits": {"Weights": found.bits.weights, "Inputs": found.bits.inputs, "Outputs": found.bits.outputs},
        "size": found.size,
        "visited": found.visited,
        "valid": found.valid,
        "invalid": {"fanout": found.over_fanout, "capacity": found.over_capacity},
        "invalid_capacity_by_level": found.over_capacity_by_level,
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
        numbers = (found.size, found.visited, found.valid, found.over_fanout, found.over_capacity)
        levels = ", ".join(f"{level} {n:,}" for level, n in found.over_capacity_by_level.items())
        table.add(str(found.position), found.layer, str(found.bits), *(f"{n:,}" for n in numbers), tail=levels)
        for note in found.notes:
            notes.setdefault(note, []).append(found.position)
    return [*table.lines(), *note_lines(notes)]
