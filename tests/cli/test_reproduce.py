"""`quantloom reproduce`: every known count is met, files are written whole, and a second run keeps them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_the_counts_are_met_kept_and_made_anew_when_they_are_of_something_else(
    quantloom: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("reproduce", "ddecs2024", "--part", "counts", "-o", "out", "--threads", "1", "--store", "none")
    first = quantloom(*command)
    assert first.code == 0, first.err
    assert "120 of 120 counts made apart from both tools are met" in first.out
    assert "s of CPU time" in first.err
    out = directory / "out"
    assert {path.name for path in out.iterdir()} == {f"counts.{form}" for form in ("csv", "txt", "json", "png")}
    assert (out / "counts.png").read_bytes().startswith(b"\x89PNG")
    with (out / "counts.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 120
    assert all(row["independent"] == row["paper_valid"] for row in rows)
    second = next(row for row in rows if row["position"] == "2" and row["bits"] == "4")
    assert (second["paper_valid"], second["valid"]) == ("16417", "442")

    def refuse(*arguments: object) -> None:
        pytest.fail("made again")

    with monkeypatch.context() as patch:
        patch.setattr("quantloom.reproduce.ddecs2024.make_part", refuse)
        again = quantloom(*command, "--json")
        assert again.code == 0, again.err
        assert len(again.json["counts"]["rows"]) == 120
    stored = json.loads((out / "counts.json").read_text())
    (out / "counts.json").write_text(json.dumps({**stored, "rows": 3}))
    damaged = quantloom(*command)
    assert damaged.code == 1
    assert "out/counts.json is not what `reproduce` writes" in damaged.err
    with monkeypatch.context() as patch:  # of other code: made again
        (out / "counts.json").write_text(json.dumps({**stored, "about": {**stored["about"], "key": "other"}}))
        patch.setattr("quantloom.cli.reproduce._write", lambda table, directory, profile, key: table)
        patch.setattr("quantloom.reproduce.ddecs2024._UNIFORM", ("8",))
        assert len(quantloom(*command, "--json").json["counts"]["rows"]) == 28 + 11
