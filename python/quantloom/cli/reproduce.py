"""`quantloom reproduce`: the tables and figures of a paper made again, beside the published numbers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from quantloom.cli.output import Column, TextTable, bold, print_json, print_lines
from quantloom.cli.parsing import Parser, Subparsers, add_store, add_threads
from quantloom.cli.progress import Progress
from quantloom.cli.saved import write_whole
from quantloom.cli.store_option import opened_store
from quantloom.errors import QuantloomError

if TYPE_CHECKING:
    from quantloom.report.results import Cell, ResultTable

__all__ = ["add_parser"]

_PARTS: Final = ("counts", "energy", "levels")
# CPU seconds of each part with nothing stored, on a machine of 2 cores, one thread.
_CPU_S: Final = {"quick": {"counts": 4, "energy": 7, "levels": 3}, "full": {"counts": 37, "energy": 8, "levels": 8}}


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "reproduce",
        help="the tables and figures of arXiv 2404.05368 beside the published numbers",
        description="Make the hardware tables and figures of arXiv 2404.05368 (DDECS 2024) again, each number in two "
        "columns: as in the paper (its cost model, depthwise layers as dense, sums of layer EDPs) and as it is. Every "
        "mapping is a proven optimum. A part whose files are there already is kept. docs/reproduce.md explains the "
        "differences.",
        epilog="example:\n  quantloom reproduce ddecs2024 --part counts -o ddecs2024",
    )
    parser.add_argument("paper", choices=["ddecs2024"], help="which paper: ddecs2024 is arXiv 2404.05368")
    parser.add_argument(
        "--part",
        choices=_PARTS,
        nargs="+",
        default=list(_PARTS),
        help="counts: valid mappings by bits; energy: by weight bits, beside the authors' outputs; levels: where "
        "energy goes (default: all)",
    )
    parser.add_argument(
        "--profile",
        choices=["quick", "full"],
        default="quick",
        help="quick: what was published; full: also mixed bits of every layer, MobileNetV2, all accelerators by level",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="ddecs2024", help="where to write (default: ddecs2024)"
    )
    add_store(parser)
    add_threads(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Make the parts that are not there, and print what they say."""
    from quantloom.reproduce.ddecs2024 import Settings, make_part

    directory = Path(args.output)
    parts = [part for part in _PARTS if part in args.part]
    tables: dict[str, ResultTable] = {}
    with Progress() as progress:
        kept = {part: _kept(directory, part, args.profile) for part in parts}
        left = sum(_CPU_S[args.profile][part] for part in parts if kept[part] is None)
        if left:
            progress.note(f"about {left} s of CPU time on a machine of 2 cores; less where results are stored")
        with opened_store(args.store, progress.note) as store:
            settings = Settings(profile=args.profile, threads=args.threads, store=store, progress=progress)
            for part in parts:
                tables[part] = kept[part] or _write(make_part(part, settings), directory, args.profile)
    if args.json:
        body = {part: table.to_json() for part, table in tables.items()}
        print_json("reproduce", {"paper": args.paper, "profile": args.profile, "directory": str(directory), **body})
        return
    for part, table in tables.items():
        state = ", kept from before" if kept[part] is not None else ""
        print_lines(
            [*_summary(table), f"{len(table.rows):,} rows: {directory / part}.csv, .txt, .json, .png{state}", ""]
        )


def _key(part: str, profile: str) -> str:
    """What the files of a part depend on."""
    from quantloom.store.keys import core_code, key_of, python_code

    return key_of({"part": part, "profile": profile, "core": core_code(), "python": python_code()})


def _kept(directory: Path, part: str, profile: str) -> ResultTable | None:
    """The table of a part that an earlier run of the same code wrote whole, else None."""
    from quantloom.report.results import ResultColumn, ResultTable

    path = directory / f"{part}.json"
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))  # Any: plain values of a file
        if found["about"]["key"] != _key(part, profile):
            return None
        columns = tuple(ResultColumn(**column) for column in found["columns"])
        rows = tuple(tuple(row[column.name] for column in columns) for row in found["rows"])
        return ResultTable(name=part, columns=columns, rows=rows, about=found["about"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} is not what `reproduce` writes ({type(error).__name__}: {error})"
        raise QuantloomError(message, hint="remove it, or choose another directory by -o") from error


def _write(table: ResultTable, directory: Path, profile: str) -> ResultTable:
    """Write the files of a part; the JSON last, by which the part counts as done."""
    from quantloom.report.paper_figures import draw_reproduced
    from quantloom.report.results import ResultTable

    about = {**table.about, "profile": profile, "key": _key(table.name, profile)}
    whole = ResultTable(name=table.name, columns=table.columns, rows=table.rows, about=about)
    write_whole(directory / f"{table.name}.csv", whole.to_csv())
    write_whole(directory / f"{table.name}.txt", "\n".join(_text(whole)) + "\n")
    picture = directory / f".{table.name}.png"
    try:
        draw_reproduced(whole, picture)
        write_whole(directory / f"{table.name}.png", picture.read_bytes())
    finally:
        picture.unlink(missing_ok=True)
    write_whole(directory / f"{table.name}.json", json.dumps(whole.to_json(), indent=1) + "\n")
    return whole


def _text(table: ResultTable) -> list[str]:
    """The whole table for a reader, then what its columns mean."""
    columns = [Column(title=c.name, align="left" if c.kind == "text" else "right") for c in table.columns]
    text = TextTable(columns=columns)
    for row in table.rows:
        text.add(*map(_cell, row))
    meanings = [f"  {c.name}: {c.meaning}{f' [{c.unit}]' if c.unit else ''}" for c in table.columns]
    return [*text.lines(), "", *meanings]


def _cell(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell.is_integer() else f"{cell:,.6g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _summary(table: ResultTable) -> list[str]:
    rows = [dict(zip((c.name for c in table.columns), row, strict=True)) for row in table.rows]
    return {"counts": _counts_summary, "energy": _energy_summary, "levels": _levels_summary}[table.name](rows)


def _counts_summary(rows: list[dict[str, Any]]) -> list[str]:
    known = [row for row in rows if row["independent"] is not None]
    equal = sum(row["independent"] == row["paper_valid"] for row in known)
    titles = ("counted apart", "as in the paper", "as it is")
    table = TextTable(columns=[Column(title="bits"), *(Column(title=title, align="right") for title in titles)])
    for row in known:
        if row["position"] == 2:
            table.add(row["bits"], *(_cell(row[key]) for key in ("independent", "paper_valid", "valid")))
    return [
        bold("Valid mappings on Eyeriss by bits"),
        f"{equal} of {len(known)} counts made apart from both tools are met; the second layer of MobileNetV1:",
        *table.lines(),
    ]


def _energy_summary(rows: list[dict[str, Any]]) -> list[str]:
    titles = ("weights", "published", "optimum", "published/optimum", "energy as it is, uJ", "cycles as it is")
    table = TextTable(columns=[Column(title="accelerator"), *(Column(title=t, align="right") for t in titles)])
    for row in rows:
        if row["weight_bits"] in (2, 4, 8):
            edps = (_cell(row[key]) for key in ("published_sum_edp_j_cycles", "paper_sum_edp_j_cycles"))
            real = (_cell(round(row[key])) for key in ("energy_uj", "latency_cycles"))
            table.add(row["arch"], str(row["weight_bits"]), *edps, f"{row['published_over_optimum']:.4f}", *real)
    above = [100 * (row["published_over_optimum"] - 1) for row in rows]
    return [
        bold("MobileNetV1 by bits of the weights: sum of layer EDPs as in the paper (J*cycles), and as it is"),
        f"the authors' sums lie {min(above):.1f} to {max(above):.1f} % above those of the proven optima "
        f"(median {median(above):.1f} %)",
        *table.lines(),
    ]


def _levels_summary(rows: list[dict[str, Any]]) -> list[str]:
    columns = [Column(title="accelerator"), Column(title="level")]
    titles = [f"{name}, {bits} bit" for name in ("as in the paper", "as it is") for bits in (2, 8)]
    table = TextTable(columns=[*columns, *(Column(title=title, align="right") for title in titles)])
    found = {(r["arch"], r["level"], r["column"], r["weight_bits"]): r["share"] for r in rows}
    for arch, level in dict.fromkeys((row["arch"], row["level"]) for row in rows):
        shares = [found[arch, level, name, bits] for name in ("as in the paper", "as it is") for bits in (2, 8)]
        table.add(arch, level, *(f"{100 * share:.1f} %" for share in shares))
    return [bold("Where the energy goes, by bits of the weights"), *table.lines()]
