"""`quantloom store`: what is kept of earlier results, as a list or a file, and making room."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantloom.cli.output import Column, TextTable, print_json, print_lines
from quantloom.cli.parsing import Parser, Subparsers, add_store, choice, count_from
from quantloom.cli.store_option import store_path
from quantloom.cli.units import bytes_text, plural
from quantloom.errors import StoreError

if TYPE_CHECKING:
    from quantloom.store.database import Store, StoredResult

__all__ = ["add_parser"]

KINDS: Final = ("mapping", "accuracy")
_DAY_S: Final = 86400.0


def add_parser(commands: Subparsers) -> Parser:
    """Add the command with what can be done."""
    parser = commands.add_parser(
        "store",
        help="results kept between commands: list, make room, export",
        description="Commands keep what the mapper found and the accuracies that were measured, and look there first.",
        epilog="example:\n  quantloom store ls",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    ls = actions.add_parser(
        "ls",
        help="how much is kept, since when, how often it was of use",
        description="Show what is kept, by kind and by the code that computed it; results of other code are not used.",
        epilog="example:\n  quantloom store ls",
    )
    ls.add_argument("--all", action="store_true", help="every result, not only sums")
    ls.set_defaults(run=list_results)
    gc = actions.add_parser(
        "gc",
        help="remove results",
        description="Remove results of code other than this quantloom's, which it does not use. With --unused-days, "
        "--max-mib or --all remove what these say instead, whichever code it is of: results that one of them names go. "
        "Space goes back to the disk.",
        epilog="example:\n  quantloom store gc --unused-days 90",
    )
    gc.add_argument(
        "--unused-days", metavar="N", type=count_from(0), help="results that were not used in the last N days"
    )
    gc.add_argument(
        "--max-mib",
        metavar="N",
        type=count_from(0),
        help="results used least recently, until the rest takes N MiB at most",
    )
    gc.add_argument("--all", action="store_true", help="every result")
    gc.set_defaults(run=collect)
    export = actions.add_parser(
        "export",
        help="all results as a table: CSV, JSON, Parquet or Arrow",
        description="Write every result with what it is of. The columns about and value hold JSON.",
        epilog="example:\n  quantloom store export -o results.csv",
    )
    export.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="where to write: .csv, .json, .parquet or .arrow"
    )
    export.add_argument("--force", action="store_true", help="write over a file that is there")
    export.set_defaults(run=export_results)
    for action in (ls, gc, export):
        action.add_argument(
            "--kind",
            metavar="|".join(KINDS),
            type=choice("kind", KINDS),
            help="only results of the mapper, or accuracies",
        )
        add_store(action)
    return parser


def list_results(args: argparse.Namespace) -> None:
    """Print what is kept."""
    path = _path(args)
    results = _read(args, path)
    size = path.stat().st_size if path.exists() else 0
    groups: dict[tuple[str, str], list[StoredResult]] = {}
    for result in results:
        groups.setdefault((result.kind, result.code), []).append(result)
    if args.json:
        body: dict[str, object] = {"file": str(path), "file_bytes": size, "results": len(results)}
        body["groups"] = [_group_json(kind, code, group) for (kind, code), group in groups.items()]
        if args.all:
            body["entries"] = [_entry_json(result) for result in results]
        print_json("store ls", body)
        return
    if not results:
        print_lines([f"{path}: nothing is kept here"])
        return
    now = time.time()
    right = ("results", "values", "used", "oldest", "last used")
    columns = [Column(title="kind"), Column(title="code"), *(Column(title=title, align="right") for title in right)]
    table = TextTable(columns=columns)
    for (kind, code), group in groups.items():
        oldest = now - min(result.created_unix_s for result in group)
        last = now - max(result.used_unix_s for result in group)
        values = bytes_text(8 * sum(map(_bytes, group)))
        hits = f"{sum(result.hits for result in group):,}x"
        mine = "this" if code == _own_code(kind) else f"other {code[:8]}"
        table.add(kind, mine, f"{len(group):,}", values, hits, _age(oldest), _age(last))
    print_lines([f"{path}: {plural(len(results), 'result')}, {bytes_text(8 * size)}", "", *table.lines()])
    if args.all:
        print_lines(["", *(f"{r.key[:12]}  {r.kind}  used {r.hits}x  {_about_text(r)}" for r in results)])


def collect(args: argparse.Namespace) -> None:
    """Remove, and say what."""
    path = _path(args)
    is_asked = args.all or args.unused_days is not None or args.max_mib is not None
    with _opened(path) as store:
        results = [] if store is None else _chosen(args, store.results())
        now = time.time()
        before = now - _DAY_S * (args.unused_days or 0)
        gone = {
            result.key: result
            for result in results
            if args.all
            or (args.unused_days is not None and min(result.used_unix_s, now) <= before)  # a clock may have gone back
            or (not is_asked and result.code != _own_code(result.kind))
        }
        if args.max_mib is not None:
            left = sorted((r for r in results if r.key not in gone), key=lambda r: (r.used_unix_s, r.key))
            room = sum(map(_bytes, left)) - (args.max_mib << 20)
            for result in left:
                if room <= 0:
                    break
                gone[result.key] = result
                room -= _bytes(result)
        freed = sum(map(_bytes, gone.values()))
        if store is not None:
            store.remove(list(gone))
    if args.json:
        print_json("store gc", {"file": str(path), "removed": len(gone), "removed_bytes": freed})
    else:
        print_lines([f"{path}: removed {plural(len(gone), 'result')} ({bytes_text(8 * freed)})"])


def export_results(args: argparse.Namespace) -> None:
    """Write the table."""
    from quantloom.cli.saved import check_writable, write_whole
    from quantloom.report.results import ResultColumn, ResultTable, format_of

    path, output = _path(args), Path(args.output)
    form = format_of(args.output)
    check_writable(output, is_forced=args.force, hint="choose another name, or give --force")
    columns = (
        ResultColumn(name="key", kind="text", unit="", meaning="hash of everything that the value depends on"),
        ResultColumn(name="kind", kind="text", unit="", meaning="mapping or accuracy"),
        ResultColumn(name="code", kind="text", unit="", meaning="hash of the code that computed it"),
        ResultColumn(name="about", kind="text", unit="", meaning="what it is of, as JSON"),
        ResultColumn(name="value", kind="text", unit="", meaning="the value, as JSON"),
        ResultColumn(name="created_unix_s", kind="float", unit="s", meaning="when it was computed"),
        ResultColumn(name="used_unix_s", kind="float", unit="s", meaning="when it was last of use"),
        ResultColumn(name="hits", kind="int", unit="", meaning="how often it was of use"),
    )
    results = _read(args, path)
    rows = tuple(tuple(getattr(result, column.name) for column in columns) for result in results)
    write_whole(output, ResultTable(name="store", columns=columns, rows=rows).encode(form))
    if args.json:
        print_json("store export", {"file": str(path), "rows": len(rows), "output": str(output)})
    else:
        print_lines([f"{plural(len(rows), 'result')} of {path}, written to {output}"])


def _path(args: argparse.Namespace) -> Path:
    path = store_path(args.store)
    if path is None:
        message = "--store none is no store to look at"
        raise StoreError(message, hint="leave it out, or name a file")
    return path


def _read(args: argparse.Namespace, path: Path) -> list[StoredResult]:
    with _opened(path) as store:
        return [] if store is None else _chosen(args, store.results())


class _opened:
    """The store at a path while it is looked at; None where there is none: looking makes no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: Store | None = None

    def __enter__(self) -> Store | None:
        if self._path.exists():
            from quantloom.cli.progress import Progress
            from quantloom.store.database import Store

            self._store = Store.open(self._path, note=Progress().note)
            self._store.check_open()
        return self._store

    def __exit__(self, *exception: object) -> None:
        if self._store is not None:
            self._store.close()


def _chosen(args: argparse.Namespace, results: Iterable[StoredResult]) -> list[StoredResult]:
    return [result for result in results if args.kind in (None, result.kind)]


def _own_code(kind: str) -> str:
    from quantloom.store.keys import core_code, python_code

    return core_code() if kind == "mapping" else python_code()


def _bytes(result: StoredResult) -> int:
    return len(result.key) + len(result.about) + len(result.value)


def _group_json(kind: str, code: str, group: list[StoredResult]) -> dict[str, object]:
    return {
        "kind": kind,
        "code": code,
        "is_this_code": code == _own_code(kind),
        "results": len(group),
        "bytes": sum(map(_bytes, group)),
        "hits": sum(result.hits for result in group),
        "oldest_unix_s": min(result.created_unix_s for result in group),
        "last_used_unix_s": max(result.used_unix_s for result in group),
    }


def _entry_json(result: StoredResult) -> dict[str, object]:
    return {
        **{name: getattr(result, name) for name in ("key", "kind", "code", "created_unix_s", "used_unix_s", "hits")},
        "about": json.loads(result.about),
        "value": json.loads(result.value),
    }


def _about_text(result: StoredResult) -> str:
    about = json.loads(result.about)
    return ", ".join(f"{key} {json.dumps(value) if isinstance(value, dict) else value}" for key, value in about.items())


def _age(seconds: float) -> str:
    for unit, length in (("d", _DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "now"
