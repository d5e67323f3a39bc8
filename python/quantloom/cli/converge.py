"""`quantloom converge`: heuristics against the proven optimum of one layer, as a figure and a table."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from quantloom.cli.output import Column, TextTable, bold, print_json, print_lines, wrapped
from quantloom.cli.parsing import (
    SELECTIONS,
    Parser,
    Subparsers,
    add_arch,
    add_bits,
    add_cost_model,
    add_fixed,
    add_layer,
    add_model,
    add_objective,
    add_space,
    add_table_output,
    add_threads,
    cost_options,
    count_from,
)
from quantloom.cli.progress import Progress
from quantloom.errors import SpecError

if TYPE_CHECKING:
    from quantloom.mapper.heuristics import Comparison, Run

__all__ = ["add_parser"]

_AXES: Final = {"edp": "EDP", "energy": "energy", "cycles": "cycles", "ed2p": "ED²P"}


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "converge",
        help="how near heuristic searches come to the proven optimum of a layer",
        description="Run random, pruned random and annealing searches of one layer with several seeds, and write a PNG "
        "of their best so far against the mappings looked at, with the proven optimum.",
        epilog="example:\n  quantloom converge network.yaml --arch eyeriss --layer conv --budget 1000 --out conv.png"
        " -o conv.csv",
    )
    add_model(parser)
    add_arch(parser)
    add_layer(parser, required=True)
    add_bits(parser, default="8")
    add_objective(parser)
    add_cost_model(parser)
    add_space(parser)
    add_fixed(parser)
    parser.add_argument(
        "--budget",
        metavar="N",
        type=count_from(1),
        default=10_000,
        help="mappings that each run looks at (default: 10000)",
    )
    parser.add_argument(
        "--seeds", metavar="N", type=count_from(1), default=5, help="runs of each heuristic, seeds 1 to N (default: 5)"
    )
    parser.add_argument(
        "--out", metavar="FILE", default="convergence.png", help="the figure (default: convergence.png)"
    )
    add_table_output(parser, "a row for each improvement of each run")
    add_threads(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Compare, draw and print."""
    from quantloom.cli.inputs import naming_layer, positions, read_inputs, with_given_loops
    from quantloom.cli.saved import check_table_file
    from quantloom.mapper.heuristics import HEURISTICS, compare
    from quantloom.report.convergence import plot_convergence

    path = Path(args.out)
    if path.suffix.lower() != ".png" or not path.absolute().parent.is_dir():
        message = f"--out {path}: expected the name of a PNG file in a folder that exists"
        raise SpecError(message, hint="for example --out convergence.png")
    check_table_file(args.output)
    arch, [bits], network = read_inputs(args.arch, [args.bits], args.model)
    [index] = positions(network, args.layer)
    layer, widths = network.layers[index], bits.for_layer(network, index)
    searched, selection = with_given_loops(args.fixed, arch, network, args.layer, selection=SELECTIONS[args.space])
    with Progress() as progress, naming_layer(layer.name):
        found = compare(
            searched,
            layer.workload,
            bits=widths,
            seeds=range(1, args.seeds + 1),
            budget=args.budget,
            objective=args.objective,
            **cost_options(args),
            selection=selection,
            threads=args.threads,
            progress=progress,
        )
    size = int(found.optimum.certificate.space_size)
    plot_convergence(
        path,
        title=f"{network.name}, layer {layer.name}, on {arch.name}",
        subtitle=f"bits {widths}, cost model {args.cost_model}",
        axis=_AXES[args.objective],
        traces={name: [_ratios(found, run) for run in found.of(name)] for name in HEURISTICS},
        budget=args.budget,
        proof=f"proven optimum of {_power(size)} mappings",
    )
    if args.output is not None:
        _write_table(args, arch.name, network.name, layer.name, found)
    if args.json:
        print_json("converge", _json(args, layer.name, found))
    else:
        title = f"{layer.name} of {network.name} on {arch.name}, bits {widths}, least {args.objective}"
        title += "" if args.fixed is None else f", with what {args.fixed} gives"
        written = ", ".join([str(path), *([] if args.output is None else [args.output])])
        print_lines([bold(title), *_report(found), "", f"written to {written}"])


def _write_table(args: argparse.Namespace, arch: str, model: str, layer: str, found: Comparison) -> None:
    from quantloom.cli.saved import write_table
    from quantloom.mapper.space_results import convergence_results

    settings = {key: getattr(args, key) for key in ("objective", "cost_model", "space", "fixed")}
    about = {"model": model, "layer": layer, "arch": arch, **{k: v for k, v in settings.items() if v is not None}}
    about["optimum"] = repr(found.least)
    write_table(args.output, convergence_results(found, about))


def _power(size: int) -> str:
    return f"{size:,}" if size < 10**6 else f"{size:.1e}".replace("e+0", "e").replace("e+", "e")


def _ratios(found: Comparison, run: Run) -> list[tuple[int, float]]:
    return [(place, objective / found.least) for place, objective in run.result.trace]


def _report(found: Comparison) -> list[str]:
    titles = ("best", "median", "worst", "that fit", "found nothing")
    table = TextTable(columns=[Column(title="ratio to optimum"), *(Column(title=t, align="right") for t in titles)])
    for name in dict.fromkeys(run.heuristic for run in found.runs):
        runs = found.of(name)
        ratios = [found.ratio(run) for run in runs]
        looked_at, fitting = (sum(getattr(run.result, key) for run in runs) for key in ("looked_at", "fitting"))
        cells = (_ratio_text(value) for value in (min(ratios), median(ratios), max(ratios)))
        table.add(name, *cells, f"{100 * fitting / looked_at:.3g}%", str(sum(map(math.isinf, ratios))))
    certificate = found.optimum.certificate
    proof = f"proven optimum {found.least:.6g} of {int(certificate.space_size):,} mappings ({certificate.method}:"
    return [*table.lines(), "", *wrapped(f"{proof} {certificate.considered:,} looked at)")]


def _ratio_text(ratio: float) -> str:
    return f"{ratio:.3f}" if math.isfinite(ratio) else "-"


def _json(args: argparse.Namespace, layer: str, found: Comparison) -> dict[str, object]:
    return {
        "layer": layer,
        "objective": args.objective,
        "cost_model": args.cost_model,
        "space": args.space,
        **({} if args.fixed is None else {"fixed": args.fixed}),
        "budget": found.budget,
        "optimum": found.least,
        "size": int(found.optimum.certificate.space_size),
        "runs": [
            {
                "heuristic": run.heuristic,
                "seed": run.seed,
                "objective": run.result.objective,
                "ratio": found.ratio(run),
                "looked_at": run.result.looked_at,
                "fitting": run.result.fitting,
                "trace": run.result.trace,
            }
            for run in found.runs
        ],
        "figure": args.out,
    }
