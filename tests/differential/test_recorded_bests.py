"""Optima never lie above a best mapping on record; `python bench/recorded_bests.py` compares all accelerators."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench" / "recorded_bests.py"


def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recorded_bests", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_optimum_on_eyeriss_is_above_a_recorded_best(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench().main(["--arch", "eyeriss"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(row[2], row[3]) for row in rows] == [("30", "0"), ("196", "0")]


def test_a_better_record_would_be_told() -> None:
    module = bench()
    [first, *_] = module.random_searches()
    beaten = (*first[:-1], first[-1] / 2)
    [(_, _, count, above, _)] = module.compare([beaten])
    assert (count, above) == (1, 1)
