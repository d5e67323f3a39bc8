"""`quantloom report`: a run directory as one HTML page that needs nothing else."""

from __future__ import annotations

import argparse
from pathlib import Path

from quantloom.cli.output import print_json, print_lines
from quantloom.cli.parsing import Parser, Subparsers
from quantloom.cli.units import bytes_text
from quantloom.report.figures import FIGURE_FORMATS

__all__ = ["add_parser"]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="a run of `search` as one HTML page: front, bits, energy, latency, mappings",
        description="Write report.html into a run directory: one page that loads nothing from anywhere, with the front "
        "(a click or the arrow keys choose a point), the bits of every tensor, where energy and cycles go, "
        "every mapping as a loop nest, the hypervolume, and where each energy is from. `search` writes it "
        "while it runs and when it ends; this command writes it anew, of a run that is under way or was interrupted "
        "with what is known so far.",
        epilog="example:\n  quantloom report runs/demo-1",
    )
    parser.add_argument("directory", metavar="DIR", help="the directory of a run of `quantloom search`")
    parser.add_argument(
        "--figures",
        metavar="FORMAT",
        choices=FIGURE_FORMATS,
        help="write the plots for a paper too, into DIR/figures: png, svg or pdf",
    )
    parser.add_argument(
        "--point",
        metavar="LABEL",
        help="the point whose energy and latency the plots show, such as front-03 (default: the last of the front)",
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    from quantloom.joint_search.run_report import write_report, write_run_figures

    directory = Path(args.directory)
    if args.point is not None and args.figures is None:
        args.parser.error("--point chooses what --figures draws; give both")
    path = write_report(directory)
    size = path.stat().st_size
    figures = [] if args.figures is None else write_run_figures(directory, args.figures, label=args.point)
    if args.json:
        print_json("report", {"report": str(path), "size_bytes": size, "figures": [str(each) for each in figures]})
        return
    print_lines([f"written to {path} ({bytes_text(8 * size)}); open it in a browser"])
    if figures:
        print_lines([f"figures in {directory / 'figures'}: {', '.join(each.name for each in figures)}"])
