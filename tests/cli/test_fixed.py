"""`--fixed` of map, count and converge: given loops are kept, contradictions are located."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LINE = ("map", "network.yaml", "--arch", "eyeriss", "--layer", "point", "--fixed", "m.yaml")


def test_given_loops_are_in_the_result(quantloom: Callable[..., Any], directory: Path) -> None:
    (directory / "m.yaml").write_text("- {level: psum_spad, temporal: [[M, 2]]}\n")
    result = quantloom(*LINE, "--check", "100", "--json").json
    [level] = [level for level in result["mapping"] if level["level"] == "psum_spad"]
    assert level["temporal"] == [["M", 2]]
    assert result["certificate"]["is_proven"]
    assert result["fixed"] == "m.yaml"
    assert result["certificate"]["size"] < quantloom(*LINE[:-2], "--json").json["certificate"]["size"]
    assert "with what m.yaml gives" in quantloom(*LINE).out


def test_a_saved_mapping_leaves_itself(quantloom: Callable[..., Any]) -> None:
    quantloom(*LINE[:-2], "--save", "saved")
    line = (*LINE[:-1], "saved/layer02.mapping.yaml", "--json")
    again, best = quantloom(*line).json, quantloom(*LINE[:-2], "--json").json
    assert again["mapping"] == best["mapping"]
    assert again["energy_pj"] == best["energy_pj"]


def test_contradictions_name_both_places(quantloom: Callable[..., Any], directory: Path) -> None:
    (directory / "m.yaml").write_text("- level: psum_spad\n  temporal: [[C, 2]]\n")
    result = quantloom(*LINE)
    assert result.code == 1
    assert "m.yaml:2:14: psum_spad, temporal: [C, 2] is given, but the constraints of 'eyeriss'" in result.err
    assert "eyeriss.yaml:" in result.err
    assert "leave 1 for C" in result.err


def test_one_layer_must_be_chosen(quantloom: Callable[..., Any]) -> None:
    result = quantloom("map", "network.yaml", "--arch", "eyeriss", "--fixed", "m.yaml")
    assert result.code == 1
    assert "no layer is chosen" in result.err


def test_count_counts_what_is_left(quantloom: Callable[..., Any], directory: Path) -> None:
    (directory / "m.yaml").write_text("- {level: psum_spad, temporal: [[M, 2]]}\n")
    line = ("count", *LINE[1:-2], "--bits", "8")
    given = quantloom(*line, "--fixed", "m.yaml", "--json").json
    assert given["fixed"] == "m.yaml"
    mapped = quantloom(*LINE, "--json").json
    assert given["size"] == mapped["certificate"]["size"]
    assert 0 < given["valid"] < quantloom(*line, "--json").json["valid"]
    assert "with what m.yaml gives" in quantloom(*line, "--fixed", "m.yaml").out


def test_count_and_converge_want_one_layer_and_a_right_file(quantloom: Callable[..., Any], directory: Path) -> None:
    result = quantloom("count", "network.yaml", "--arch", "eyeriss", "--bits", "8", "--fixed", "m.yaml")
    assert (result.code, "no layer is chosen" in result.err) == (1, True)
    (directory / "m.yaml").write_text("- level: psum_spad\n  temporal: [[C, 2]]\n")
    for line in (("count", *LINE[1:], "--bits", "8"), ("converge", *LINE[1:])):
        result = quantloom(*line)
        assert result.code == 1
        assert "m.yaml:2:14: psum_spad, temporal: [C, 2] is given, but the constraints of 'eyeriss'" in result.err


def test_converge_compares_within_what_is_left(quantloom: Callable[..., Any], directory: Path) -> None:
    (directory / "m.yaml").write_text("- {level: psum_spad, temporal: [[M, 2]]}\n")
    line = ("converge", *LINE[1:], "--budget", "50", "--seeds", "1", "--json")
    found = quantloom(*line).json
    mapped = quantloom(*LINE, "--json").json
    assert (found["fixed"], found["size"]) == ("m.yaml", mapped["certificate"]["size"])
    assert found["optimum"] == pytest.approx(mapped["edp_pj_cycles"], rel=1e-12)
    assert all(run["ratio"] is None or run["ratio"] >= 1 - 1e-12 for run in found["runs"])
