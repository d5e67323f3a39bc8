"""The main job through the command line, on the demo, as small as it can be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantloom import SearchConfig, search
from quantloom.cli.main import build_parser
from quantloom.cli.search import _choose_directory
from quantloom.errors import SearchError

Run = Callable[..., Any]

SMALL = ["--evaluations", "7", "--seed", "3", "--threads", "1"]


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.slow
def test_the_demo_writes_a_run_that_can_be_read_and_resumed(quantloom: Run, directory: Path) -> None:
    result = quantloom("search", "--demo", *SMALL)
    assert result.code == 0, result.err
    run = directory / "runs" / "demo-1"
    assert "uniform-8" in result.out
    assert "saved against uniform bits" in result.out
    assert "written to runs/demo-1: manifest.json, evaluations.jsonl, front.json, front.csv" in result.out
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["sessions"][0]["command"] == ["quantloom", "search", "--demo", *SMALL]
    assert set(manifest["inputs"]) == {"arch", "network", "weights", "data"}
    assert (run / "front.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "report.html").stat().st_size < 5_000_000

    front = json.loads((run / "front.json").read_text())
    settings = SearchConfig(**{key: as_tuple(value) for key, value in manifest["config"].items()})
    assert json.loads(json.dumps(search(settings, threads=1).to_json())) == front
    lines = (run / "evaluations.jsonl").read_text().splitlines()
    # as if it had been killed in the middle, with half a line written
    (run / "evaluations.jsonl").write_text("\n".join(lines[:5]) + "\n" + lines[5][:10])
    for name in ("front.json", "front.csv", "front.png", "mappings.json"):
        (run / name).unlink()
    resumed = quantloom("search", "--resume", str(run), "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads((run / "front.json").read_text()) == front
    assert resumed.json["command"] == "search"
    assert resumed.json["points"] == front["points"]
    assert resumed.json["run_directory"] == str(run)

    manifest["config"]["seed"] = "many"
    (run / "manifest.json").write_text(json.dumps(manifest))
    refused = quantloom("search", "--resume", str(run))
    assert (refused.code, refused.out) == (1, "")
    assert "the manifest does not hold the settings of a search" in refused.err


def test_a_run_killed_before_it_was_begun_can_be_started_again(tmp_path: Path) -> None:
    """All that is left of it is a journal without a line; starting there must not say that a run is there."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/evaluations.jsonl").touch()
    args = build_parser().parse(["search", "--demo", "-o", str(tmp_path / "run")])
    assert _choose_directory(args, SearchConfig(model="m", arch="eyeriss")) == tmp_path / "run"
    (tmp_path / "run/evaluations.jsonl").write_text("{}\n")
    with pytest.raises(SearchError, match=r"no run can be started in .*evaluations\.jsonl exists already"):
        _choose_directory(args, SearchConfig(model="m", arch="eyeriss"))
