"""`quantloom compare`: runs of one search with several seeds, as means with intervals."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantloom.cli.output import Column, TextTable, bold, print_json, print_lines
from quantloom.cli.parsing import Parser, Subparsers
from quantloom.cli.saved import check_writable, write_whole
from quantloom.joint_search.front import COST_WORDS

if TYPE_CHECKING:
    from quantloom.joint_search.comparison import Comparison, Interval

__all__ = ["add_parser", "print_comparison"]

_FILES: Final = ("compare.json", "compare.csv", "compare.png")


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "compare",
        help="runs of `search` with several seeds: hypervolume and savings as means with intervals",
        description="Compare finished runs of one search that differ in their seed alone: the share of a common box "
        "that the front, the uniform bits and each search made beside dominate, and what each saves against uniform 8 "
        "bit at no lower accuracy on validation; means with 95 % intervals (Student's t over the seeds).",
        epilog="example:\n  quantloom compare runs/demo-1 runs/demo-2 runs/demo-3 -o compared",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="the directory of a finished run of `quantloom search`")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="write compare.json, compare.csv and compare.png into a directory"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Read, print and write."""
    from quantloom.joint_search.comparison import compare_runs
    from quantloom.joint_search.journal import put_in_place

    comparison = compare_runs(args.runs)
    if args.output is not None:
        directory = Path(args.output)
        for name in _FILES:
            check_writable(directory / name, hint="choose another directory")
        write_whole(directory / _FILES[0], json.dumps(comparison.to_json(), indent=1, allow_nan=False) + "\n")
        write_whole(directory / _FILES[1], comparison.to_csv())
        put_in_place(directory / _FILES[2], comparison.plot)
    if args.json:
        print_json("compare", comparison.to_json())
        return
    print_comparison(comparison)
    if args.output is not None:
        print_lines(["", f"written to {args.output}: {', '.join(_FILES)}"])


def print_comparison(comparison: Comparison) -> None:
    """Print the table of means."""
    seeds = ", ".join(map(str, comparison.seeds))
    print_lines(
        [
            bold(f"{comparison.network} on {comparison.arch}"),
            f"data: {comparison.data}",
            f"{len(comparison.seeds)} runs (seeds {seeds}) of {comparison.evaluations} evaluations, accuracy by "
            f"{comparison.accuracy_method}; mean [95 % interval]",
            "",
        ]
    )
    words = [COST_WORDS[name] for name in comparison.hardware_objectives]
    titles = ("dominated, validation", "dominated, test", *(f"{word} saved, %" for word in words), "test, points")
    table = TextTable(columns=[Column(title="search"), *(Column(title=title, align="right") for title in titles)])
    first = comparison.hardware_objectives[0]
    for name in comparison.searches:
        table.add(
            name.replace("_", " "),
            _text(comparison.volume(name, "validation"), 1, 4),
            _text(comparison.volume(name, "test"), 1, 4),
            *(_text(comparison.saved(name, objective), 100, 2) for objective in comparison.hardware_objectives),
            _text(comparison.gain_test(name, first), 100, 2),
        )
    print_lines(
        [
            *table.lines(),
            "",
            "dominated: share of the box from 0 to the worst uniform bits of all runs",
            f"saved: against {comparison.against}, by the cheapest point at least as accurate on validation",
            f"test: accuracy of the point that saves {COST_WORDS[first]}, minus that of {comparison.against}",
        ]
    )


def _text(interval: Interval, factor: float, digits: int) -> str:
    mean = f"{factor * interval.mean:.{digits}f}"
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} [{factor * interval.low:.{digits}f}, {factor * interval.high:.{digits}f}]"
