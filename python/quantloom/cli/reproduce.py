"""`quantloom reproduce`: the tables and figures of a paper made again, beside the published numbers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from quantloom.cli.output import Column, TextTable, bold, print_json, print_lines
from quantloom.cli.parsing import Parser, Subparsers, add_store, add_threads, count_from
from quantloom.cli.progress import Progress
from quantloom.cli.saved import write_whole
from quantloom.cli.store_option import opened_store
from quantloom.errors import QuantloomError

if TYPE_CHECKING:
    from quantloom.report.results import Cell, ResultTable
    from quantloom.store.database import Store

__all__ = ["add_parser"]

_PARTS: Final = ("counts", "energy", "levels", "fronts", "savings")
_SEARCHED: Final = ("fronts", "savings")
# CPU seconds of each part with nothing stored, on a machine of 2 cores, one thread.
_CPU_S: Final = {"quick": {"counts": 4, "energy": 7, "levels": 3}, "full": {"counts": 37, "energy": 8, "levels": 8}}


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "reproduce",
        help="the tables and figures of arXiv 2404.05368 beside the published numbers",
        description="Make the tables and figures of arXiv 2404.05368 (DDECS 2024) again, each number in two columns: "
        "as in the paper (its cost model, depthwise layers as dense, sums of layer EDPs) and as it is. Every mapping "
        "is a proven optimum; accuracies are measured by searches on --data. A part whose files are there already is "
        "kept, and searches that were interrupted go on. docs/reproduce.md explains the differences.",
        epilog="example:\n  quantloom reproduce ddecs2024 --part counts -o ddecs2024",
    )
    parser.add_argument("paper", choices=["ddecs2024"], help="which paper: ddecs2024 is arXiv 2404.05368")
    parser.add_argument(
        "--part",
        choices=_PARTS,
        nargs="+",
        default=list(_PARTS),
        help="counts: valid mappings by bits; energy: by weight bits, beside the authors' outputs; levels: where "
        "energy goes; fronts: accuracy against cost, all searches and seeds; savings: what they save, with intervals "
        "(default: all)",
    )
    parser.add_argument(
        "--profile",
        choices=["quick", "full"],
        default="quick",
        help="quick: what was published, small searches; full: also mixed bits of every layer, MobileNetV2, all "
        "accelerators by level, larger searches with more seeds",
    )
    _add_front_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="DIR", default="ddecs2024", help="where to write (default: ddecs2024)"
    )
    add_store(parser)
    add_threads(parser)
    parser.set_defaults(run=run)
    return parser


def _add_front_options(parser: Parser) -> None:
    group = parser.add_argument_group("of fronts and savings")
    group.add_argument(
        "--data",
        metavar="DATA",
        default="demo",
        help="images: demo, cifar10:DIR, fashion_mnist:DIR, folder:DIR or package.module:function (default: demo; with "
        "cifar10 the networks that come with quantloom)",
    )
    group.add_argument("--model", metavar="MODEL", help="another network, as for `map`, trained on these data")
    group.add_argument("--checkpoint", metavar="FILE", help="its weights: a file, or zoo:NAME")
    group.add_argument(
        "--arch", metavar="ARCH", nargs="+", default=["eyeriss", "simba"], help="accelerators (default: eyeriss simba)"
    )
    group.add_argument("--evaluations", metavar="N", type=count_from(5), help="of each search (default: 40; full: 70)")
    group.add_argument("--seeds", metavar="N", type=count_from(1), help="runs of each search (default: 3)")
    group.add_argument(
        "--images",
        metavar="N",
        type=count_from(1),
        help="validation images that decide; twice as many of the test split are for the report (default: 500; full: "
        "1000)",
    )


def run(args: argparse.Namespace) -> None:
    """Make the parts that are not there, and print what they say."""
    if args.checkpoint is not None and args.model is None:
        args.parser.error("--checkpoint: name its network by --model")
    directory = Path(args.output)
    parts = [part for part in _PARTS if part in args.part]
    tables: dict[str, ResultTable] = {}
    with Progress() as progress, opened_store(args.store, progress.note) as store:
        make = _makers(args, parts, store, progress)
        keys = {part: _key(part, args.profile, make[part].depend_on) for part in parts}
        kept = {part: _kept(directory, part, keys[part]) for part in parts}
        left = sum(_CPU_S[args.profile].get(part, 0) for part in parts if kept[part] is None)
        if left:
            progress.note(f"about {left} s of CPU time on a machine of 2 cores; less where results are stored")
        try:
            for part in parts:
                tables[part] = kept[part] or _write(make[part].table(), directory, args.profile, keys[part])
        except KeyboardInterrupt:
            progress.clear()
            progress.note("what is done is kept; the same command goes on")
            raise
    if args.json:
        body = {part: table.to_json() for part, table in tables.items()}
        print_json("reproduce", {"paper": args.paper, "profile": args.profile, "directory": str(directory), **body})
        return
    for part, table in tables.items():
        state = ", kept from before" if kept[part] is not None else ""
        print_lines(
            [*_summary(table), f"{len(table.rows):,} rows: {directory / part}.csv, .txt, .json, .png{state}", ""]
        )


@dataclass(frozen=True, slots=True)
class _Maker:
    """How a part is made. depend_on: what its table depends on besides part, profile and code."""

    table: Callable[[], ResultTable]
    depend_on: Mapping[str, object]


def _makers(
    args: argparse.Namespace, parts: Sequence[str], store: Store | None, progress: Progress
) -> dict[str, _Maker]:
    from quantloom.reproduce.ddecs2024 import Settings, make_part

    settings = Settings(profile=args.profile, threads=args.threads, store=store, progress=progress)
    makers = {part: _Maker(partial(make_part, part, settings), {}) for part in parts if part not in _SEARCHED}
    if len(makers) < len(parts):
        from quantloom.reproduce.fronts import FrontSettings, make_accuracy_part, sized, subjects_of

        given = {name: getattr(args, name) for name in ("evaluations", "seeds", "images")}
        sizes = sized(args.profile) | {name: value for name, value in given.items() if value is not None}
        searched = FrontSettings(
            data=args.data,
            subjects=subjects_of(args.data, args.profile, args.model, args.checkpoint),
            archs=tuple(dict.fromkeys(args.arch)),
            **sizes,
            directory=Path(args.output),
            threads=args.threads,
            store=store,
            progress=progress,
            note=progress.note,
        )
        depend_on = searched.depend_on()
        for part in parts:
            if part in _SEARCHED:
                makers[part] = _Maker(partial(make_accuracy_part, part, searched), depend_on)
    return makers


def _key(part: str, profile: str, depend_on: Mapping[str, object]) -> str:
    """What the files of a part depend on."""
    from quantloom.store.keys import core_code, key_of, python_code

    return key_of({"part": part, "profile": profile, "core": core_code(), "python": python_code(), **depend_on})


def _kept(directory: Path, part: str, key: str) -> ResultTable | None:
    """The table of a part that an earlier run of the same code wrote whole, else None."""
    from quantloom.report.results import ResultColumn, ResultTable

    path = directory / f"{part}.json"
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))  # Any: plain values of a file
        if found["about"]["key"] != key:
            return None
        columns = tuple(ResultColumn(**column) for column in found["columns"])
        rows = tuple(tuple(row[column.name] for column in columns) for row in found["rows"])
        return ResultTable(name=part, columns=columns, rows=rows, about=found["about"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path} is not what `reproduce` writes ({type(error).__name__}: {error})"
        raise QuantloomError(message, hint="remove it, or choose another directory by -o") from error


def _write(table: ResultTable, directory: Path, profile: str, key: str) -> ResultTable:
    """Write the files of a part; the JSON last, by which the part counts as done."""
    from quantloom.report.paper_figures import draw_reproduced
    from quantloom.report.results import ResultTable

    about = {**table.about, "profile": profile, "key": key}
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
    summaries = {
        "counts": _counts_summary,
        "energy": _energy_summary,
        "levels": _levels_summary,
        "fronts": _fronts_summary,
        "savings": _savings_summary,
    }
    return summaries[table.name](rows)


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


def _fronts_summary(rows: list[dict[str, Any]]) -> list[str]:
    titles = ("energy, uJ", "sum of EDPs, J*cycles", "test, %", "seed")
    columns = [Column(title=title) for title in ("network", "accelerator", "column", "bits")]
    table = TextTable(columns=[*columns, *(Column(title=title, align="right") for title in titles)])
    first = min(row["seed"] for row in rows)
    for row in rows:
        is_front = row["search"] == "front"
        if row["seed"] == first and (is_front or row["uniform_bits"] is not None):
            bits = "mixed" if is_front else f"uniform {row['uniform_bits']}"
            costs = (f"{row[key]:.5g}" for key in ("energy_uj", "sum_edp_j_cycles"))
            of = (row["network"].partition(":")[0], row["arch"], row["column"], bits)
            table.add(*of, *costs, f"{100 * row['accuracy_test']:.2f}", str(row["seed"]))
    return [
        bold("Fronts: accuracy against what is searched; one seed, the other searches are in the files"),
        *table.lines(),
    ]


def _savings_summary(rows: list[dict[str, Any]]) -> list[str]:
    titles = ("dominated, test", "saved, %", "energy saved, %", "test, points")
    columns = [Column(title=title) for title in ("network", "accelerator", "column", "search")]
    table = TextTable(columns=[*columns, *(Column(title=title, align="right") for title in titles)])
    for row in rows:
        of = (row["network"].partition(":")[0], row["arch"], row["column"], row["search"].replace("_", " "))
        percent = [_interval(row, name, 100, 2) for name in ("saved", "energy_saved", "test_gain")]
        table.add(*of, _interval(row, "dominated_test", 1, 4), *percent)
    return [
        bold(f"Saved at no lower accuracy on validation than uniform 8 bit: means of {rows[0]['seeds']} seeds [95 %]"),
        *table.lines(),
        "saved: of the sum of layer EDPs as in the paper, of energy as it is; test: accuracy of the same point",
    ]


def _interval(row: dict[str, Any], name: str, factor: float, digits: int) -> str:
    mean, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    ends = "" if low is None else f" [{factor * low:.{digits}f}, {factor * high:.{digits}f}]"
    return f"{factor * mean:.{digits}f}{ends}"
