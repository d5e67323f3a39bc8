"""`quantloom fetch`: say where data sets come from; get one, verified, if asked to."""

from __future__ import annotations

import argparse
from pathlib import Path

from quantloom.cli.output import print_json, print_lines, wrapped
from quantloom.cli.parsing import Parser, Subparsers, choice
from quantloom.cli.progress import waiting
from quantloom.quant.fetch import SOURCES, fetch, unpack

__all__ = ["add_parser"]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "fetch",
        help="where data sets come from; get one, verified",
        description="Without arguments: where each data set comes from, how large it is, and by which command it would "
        "be got. With a name and -o: run that command and put the files, each verified by its SHA-256, into a "
        "directory. Nothing else in quantloom downloads anything.",
        epilog="example:\n  quantloom fetch",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", type=choice("data set", tuple(SOURCES)), help="a data set")
    parser.add_argument("-o", "--output", metavar="DIR", help="where its files go")
    parser.add_argument(
        "--from", metavar="FILE", dest="archive", help="an archive that is here already, instead of running the command"
    )
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Tell, or get."""
    if args.name is None:
        if args.output is not None or args.archive is not None:
            args.parser.error("name the data set to get")
        _tell(args)
        return
    if args.output is None:
        args.parser.error("give -o DIR, where the files go")
    source, output = SOURCES[args.name], Path(args.output)
    if args.archive is not None:
        unpack(source, Path(args.archive), output)
    else:
        with waiting(f"{' '.join(source.command)} ({source.megabytes} MB)"):
            fetch(source, output)
    names = sorted(Path(name).name for name in source.files)
    if args.json:
        print_json("fetch", {"name": source.name, "directory": str(output), "files": names})
    else:
        print_lines([f"{source.name}: {len(names)} files, verified, in {output}; use --data {source.name}:{output}"])


def _tell(args: argparse.Namespace) -> None:
    if args.json:
        sources = [
            {
                **{key: getattr(source, key) for key in ("name", "what", "origin", "licence", "megabytes")},
                "command": list(source.command),
                "sha256": dict(source.files),
            }
            for source in SOURCES.values()
        ]
        print_json("fetch", {"sources": sources})
        return
    lines = []
    for source in SOURCES.values():
        lines += [f"{source.name}: {source.what}", *wrapped(f"from {source.origin}", indent=4)]
        lines += [f"    licence: {source.licence}", f"    {source.megabytes} MB by `{' '.join(source.command)}`", ""]
    print_lines([*lines, "nothing has been downloaded; `quantloom fetch NAME -o DIR` gets one"])
