"""`quantloom converge`: a figure, a table, and numbers that agree with the mapper's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LINE = ("converge", "network.yaml", "--arch", "eyeriss", "--layer", "conv", "--budget", "300", "--seeds", "2")


def test_the_table_has_a_row_for_each_heuristic(quantloom: Callable[..., Any], directory: Path) -> None:
    result = quantloom(*LINE)
    assert result.code == 0, result.err
    assert [line.split()[0] for line in result.out.splitlines()[2:5]] == ["random", "random-pruned", "annealing"]
    assert "proven optimum" in result.out
    assert (directory / "convergence.png").read_bytes()[:4] == b"\x89PNG"


def test_the_json_agrees_with_map(quantloom: Callable[..., Any]) -> None:
    found = quantloom(*LINE, "--json").json
    best = quantloom("map", "network.yaml", "--arch", "eyeriss", "--layer", "conv", "--json").json
    assert found["optimum"] == pytest.approx(best["edp_pj_cycles"], rel=1e-9)
    assert len(found["runs"]) == 6
    for run in found["runs"]:
        assert run["ratio"] is None or run["ratio"] >= 1 - 1e-9
        assert run["looked_at"] == 300


def test_the_figure_must_be_a_png_in_a_folder(quantloom: Callable[..., Any]) -> None:
    for name in ("figure.pdf", "nowhere/figure.png"):
        result = quantloom(*LINE, "--out", name)
        assert result.code == 1
        assert f"--out {name}: expected the name of a PNG file in a folder that exists" in result.err
