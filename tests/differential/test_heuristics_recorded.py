"""Pruned random search and exact mapper against recorded random searches; see tests/golden/README.md."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from quantloom import _core
from recorded_searches import read_records, space_of

RECORDS = read_records("mapper_random_search.json")
# The settings of the recorded searches.
SETTINGS: dict[str, Any] = {"streams": 2, "victory": 500, "timeout": 15000, "budget": 0}


def problem_of(record: dict[str, Any]) -> str:
    return f"{record['arch']} {json.dumps(record['problem'], sort_keys=True)}"


def test_the_optimum_is_never_above_a_recorded_random_search() -> None:
    optima: dict[str, float] = {}
    for record in RECORDS:
        key, space = problem_of(record), space_of(record)
        if key not in optima:
            bits = record["problem"]["bitwidths"]
            [best] = _core.optimize(space.arch, space.workload, [bits], model="compat", threads=1)
            assert best.certificate.exhausted
            optima[key] = best.objective
        assert optima[key] <= record["edp"] * (1 + 1e-9), key
    assert len(optima) == 48


@pytest.mark.parametrize("arch", ["eyeriss", "simba"])
def test_random_pruned_finds_what_the_reference_finds(arch: str) -> None:
    """Different random numbers: single results scatter, their mean must not."""
    ratios = []
    for record in RECORDS:
        if record["arch"] != arch or record["seed"] != 1 or record["problem"]["bitwidths"]["Weights"] != 8:
            continue
        space = space_of(record)
        for seed in (1, 2):
            found = _core.search_heuristically(
                space.arch, space.workload, record["problem"]["bitwidths"], model="compat", seed=seed, **SETTINGS
            )
            assert set(found.stops) <= {"victory", "timeout"}
            ratios.append(found.objective / record["edp"])
    assert len(ratios) == 12
    assert all(1 / 3 < ratio < 3 for ratio in ratios), ratios
    assert 0.75 < math.exp(sum(map(math.log, ratios)) / len(ratios)) < 1.35
