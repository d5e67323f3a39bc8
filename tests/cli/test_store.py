"""`quantloom store` and --store: what is kept can be seen, exported and removed, and changes no result."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import time
from pathlib import Path

import pytest

TABLE = ("table", "network.yaml", "--arch", "eyeriss", "--bits", "4,8")


@pytest.fixture
def kept(quantloom) -> str:
    """A store with the 16 results of a table."""
    assert quantloom(*TABLE, "-o", "first.csv", "--store", "s.sqlite").code == 0
    return "s.sqlite"


def test_a_table_is_the_same_from_the_store_and_without(quantloom, kept) -> None:
    assert quantloom(*TABLE, "-o", "second.csv", "--store", kept).code == 0
    assert quantloom(*TABLE, "-o", "third.csv", "--store", "none").code == 0
    assert Path("first.csv").read_bytes() == Path("second.csv").read_bytes() == Path("third.csv").read_bytes()
    [group] = quantloom("store", "ls", "--json", "--store", kept).json["groups"]
    assert (group["kind"], group["results"], group["hits"], group["is_this_code"]) == ("mapping", 16, 16, True)


def test_the_store_lies_in_the_users_cache(quantloom, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    quantloom(*TABLE, "-o", "t.csv")
    assert (tmp_path / "cache/quantloom/store.sqlite").exists()
    assert quantloom("store", "ls", "--json").json["results"] == 16
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the specification tells to ignore
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert quantloom("store", "ls").out == f"{tmp_path}/home/.cache/quantloom/store.sqlite: nothing is kept here\n"
    assert not (tmp_path / "home").exists()  # looking makes nothing


def test_ls_says_what_is_kept(quantloom, kept) -> None:
    lines = quantloom("store", "ls", "--store", kept, "--all").out.splitlines()
    assert lines[0].startswith("s.sqlite: 16 results, ")
    assert lines[2].split() == ["kind", "code", "results", "values", "used", "oldest", "last", "used"]
    assert lines[3].split()[:3] == ["mapping", "this", "16"]
    assert sum("arch eyeriss, layer C3 M4 R3 S3 P6 Q6, objective edp" in line for line in lines) == 8
    entry = quantloom("store", "ls", "--store", kept, "--all", "--json").json["entries"][0]
    assert entry["about"]["bits"].keys() == {"Weights", "Inputs", "Outputs"}
    assert entry["value"]["energy_pj"] > 0
    assert quantloom("store", "ls", "--store", kept, "--kind", "accuracy").out == "s.sqlite: nothing is kept here\n"


def test_export_writes_every_result(quantloom, kept) -> None:
    assert (
        quantloom("store", "export", "--store", kept, "-o", "all.csv").out
        == "16 results of s.sqlite, written to all.csv\n"
    )
    with Path("all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len({row["key"] for row in rows}) == 16
    assert {json.loads(row["about"])["arch"] for row in rows} == {"eyeriss"}
    assert all(json.loads(row["value"])["exhausted"] for row in rows)
    assert quantloom("store", "export", "--store", kept, "-o", "all.csv").code == 1
    assert quantloom("store", "export", "--store", kept, "-o", "all.json", "--json").json["rows"] == 16
    assert len(json.loads(Path("all.json").read_text())["rows"]) == 16


def change(path: str, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


def left(quantloom, path: str) -> int:
    return quantloom("store", "ls", "--store", path, "--json").json["results"]


def test_gc_removes_what_is_of_other_code(quantloom, kept) -> None:
    assert quantloom("store", "gc", "--store", kept).out.startswith("s.sqlite: removed 0 results (0 B)")
    change(kept, "UPDATE results SET code = 'old' WHERE about LIKE '%M4%'")
    assert "other old" in quantloom("store", "ls", "--store", kept).out
    assert quantloom("store", "gc", "--store", kept, "--json").json["removed"] == 8
    assert left(quantloom, kept) == 8


def test_gc_removes_what_is_not_used(quantloom, kept) -> None:
    change(kept, "UPDATE results SET used_unix_s = ? WHERE about LIKE '%M4%'", time.time() - 86400 * 10)
    assert quantloom("store", "gc", "--store", kept, "--unused-days", "11", "--json").json["removed"] == 0
    assert quantloom("store", "gc", "--store", kept, "--unused-days", "9", "--json").json["removed"] == 8
    assert left(quantloom, kept) == 8


def test_gc_makes_room_by_removing_what_was_used_least_recently(quantloom, kept) -> None:
    change(kept, "UPDATE results SET value = value || ?", " " * 100_000)
    change(kept, "UPDATE results SET used_unix_s = 5 WHERE about LIKE '%M4%'")
    assert quantloom("store", "gc", "--store", kept, "--max-mib", "1", "--json").json["removed"] == 6
    connection = sqlite3.connect(kept)
    assert connection.execute("SELECT count(*) FROM results WHERE used_unix_s = 5").fetchone() == (2,)
    connection.close()
    assert quantloom("store", "gc", "--store", kept, "--all", "--json").json["removed"] == 10
    assert left(quantloom, kept) == 0


@pytest.mark.parametrize("arguments", [("ls",), ("gc",), ("export", "-o", "x.csv")])
def test_no_store_is_no_store_to_look_at(quantloom, arguments) -> None:
    result = quantloom("store", *arguments, "--store", "none")
    assert (result.code, result.err.splitlines()[0]) == (1, "error: --store none is no store to look at")


def test_a_directory_is_no_store(quantloom) -> None:
    os.mkdir("folder")  # noqa: PTH102
    result = quantloom(*TABLE, "-o", "t.csv", "--store", "folder")
    assert (result.code, result.err.splitlines()[0]) == (1, "error: --store 'folder' is not a file")


def test_a_damaged_store_is_begun_anew_and_the_table_is_whole(quantloom, kept) -> None:
    content = Path(kept).read_bytes()
    Path(kept).write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    result = quantloom(*TABLE, "-o", "second.csv", "--store", kept)
    assert result.code == 0
    assert "is damaged" in result.err
    assert "s.sqlite.damaged-1" in result.err
    assert Path("first.csv").read_bytes() == Path("second.csv").read_bytes()
    assert left(quantloom, kept) == 16


def test_a_place_that_cannot_be_written_is_said_once(quantloom) -> None:
    result = quantloom(*TABLE, "-o", "t.csv", "--store", "/proc/quantloom/s.sqlite")
    assert result.code == 0
    assert result.err.count("going on without the store") == 1
