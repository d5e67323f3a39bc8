"""`quantloom table`: every layer at every combination of bits, each with its best mapping, as a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from quantloom.cli.nest import one_line
from quantloom.cli.output import print_json, print_lines, wrapped
from quantloom.cli.parsing import (
    Parser,
    Subparsers,
    add_arch,
    add_budget,
    add_cost_model,
    add_model,
    add_objective,
    add_store,
    add_threads,
    bits_list,
    cost_options,
)
from quantloom.cli.progress import Progress
from quantloom.cli.saved import check_writable, write_whole
from quantloom.cli.sources import source_lines
from quantloom.cli.store_option import opened_store
from quantloom.cli.units import plural

if TYPE_CHECKING:
    from quantloom.workload.bits import BitWidths

__all__ = ["add_parser"]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "table",
        help="energy and cycles of every layer at every combination of bits, as CSV, Parquet, Arrow or JSON",
        description="Solve every layer at every combination of bits and write energy, cycles and mapping to a file. "
        "By default one width stands for each packing class: widths of which every word of the "
        "accelerator holds equally many elements.",
        epilog="example:\n  quantloom table mobilenet_v1:input=32,width=0.25 --arch eyeriss --bits 4,8 -o table.csv",
    )
    add_model(parser)
    add_arch(parser)
    parser.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="where to write: .csv, .parquet, .arrow or .json"
    )
    parser.add_argument(
        "--bits", metavar="LIST", type=bits_list, help="widths of each tensor, such as 2,4,8 (default: packing classes)"
    )
    add_objective(parser)
    add_cost_model(parser)
    add_budget(parser)
    add_store(parser)
    parser.add_argument("--force", action="store_true", help="write over a file that is there")
    add_threads(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Solve and write."""
    from quantloom.cli.inputs import read_inputs
    from quantloom.mapper.energy_sources import energy_sources_json
    from quantloom.mapper.results import cost_table_results
    from quantloom.mapper.table import cost_table, packing_class_bits
    from quantloom.report.results import format_of

    path = Path(args.output)
    form = format_of(args.output)
    check_writable(path, is_forced=args.force, hint="choose another name, or give --force")
    arch, _, network = read_inputs(args.arch, [], args.model)
    bits = args.bits or packing_class_bits(arch)
    with Progress() as progress, opened_store(args.store, progress.note) as store:
        table = cost_table(
            network,
            arch,
            bits=bits,
            objective=args.objective,
            **cost_options(args),
            threads=args.threads,
            budget=args.budget,
            store=store,
            progress=lambda done, total, layer: progress(done, total, f"mapping {layer}"),
        )
    results = cost_table_results(table, arch, lambda mapping: one_line(mapping, arch))
    write_whole(path, results.encode(form))
    entries = len(results.rows)
    if args.json:
        body = {"model": network.name, "arch": arch.name, "cost_model": table.model, "objective": table.objective}
        proof = {"layers": list(table.layers), "bits": list(table.bits), "is_proven": table.is_proven}
        proof["refused"] = [
            {"layer": layer, "bits": str(at), "reason": why} for (layer, at), why in table.refused.items()
        ]
        sources = {"energy_sources": energy_sources_json(arch)}
        print_json("table", {**body, **proof, "rows": entries, "file": str(path), **sources})
    else:
        widths = ", ".join(map(str, table.bits))
        proof_text = "all proven optimal" if table.is_proven else "not all proven optimal"
        layers = plural(len(table.layers), "layer")
        written = f"{entries:,} rows for {layers} at {widths} bits, {proof_text}, written to {path}"
        print_lines([written, *_refused_lines(table.refused), "", *source_lines(arch)])


def _refused_lines(refused: dict[tuple[str, BitWidths], str]) -> list[str]:
    """How many combinations have no proven answer, and why the first one has none."""
    for (layer, bits), reason in refused.items():
        return wrapped(
            f"refused      {len(refused):,} of them, with the reason in their rows; first {layer} at {bits}: {reason}",
            hang=13,
        )
    return []
