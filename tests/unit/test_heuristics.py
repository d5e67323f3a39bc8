"""The heuristics from Python: fixed by the seed, never better than the optimum, clear about wrong options."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time

import pytest

import quantloom as ql
from quantloom.errors import MappingError, SpecError
from quantloom.mapper.heuristics import HEURISTICS, compare, search_heuristically
from quantloom.workload.layer import conv_workload

EYERISS = ql.load_arch("eyeriss")
LAYER = conv_workload("layer", inputs=16, outputs=32, output_size=(14, 14), kernel=(3, 3))


@pytest.mark.parametrize("heuristic", HEURISTICS)
@pytest.mark.parametrize("model", ["default", "compat"])
@pytest.mark.parametrize("selection", ["all", "architecture"])
def test_never_better_than_the_optimum(heuristic: str, model: str, selection: str) -> None:
    layer = conv_workload("small", inputs=4, outputs=4, output_size=(4, 4), kernel=(1, 1))
    for objective in ("edp", "energy", "cycles", "ed2p"):
        comparison = compare(
            EYERISS,
            layer,
            bits=8,
            heuristics=[heuristic],
            seeds=[1, 2],
            budget=400,
            objective=objective,
            model=model,
            selection=selection,
        )
        assert comparison.optimum.certificate.exhausted
        for run in comparison.runs:
            assert comparison.ratio(run) >= 1 - 1e-9
            assert run.result.looked_at == 400
            assert run.result.trace == [] or run.result.trace[-1][1] == run.result.objective


@pytest.mark.parametrize("heuristic", HEURISTICS)
def test_the_seed_fixes_the_result_for_any_number_of_threads(heuristic: str) -> None:
    def found(seed: int, threads: int):
        result = search_heuristically(
            EYERISS, LAYER, bits=8, heuristic=heuristic, seed=seed, streams=3, threads=threads, budget=3000
        )
        return result.trace, result.mapping, result.fitting

    assert found(1, 1) == found(1, 3)
    assert found(1, 1) != found(2, 1)


def test_what_is_found_costs_what_it_says() -> None:
    result = search_heuristically(EYERISS, LAYER, bits=8, heuristic="annealing", budget=3000)
    assert result.mapping is not None
    cost = ql.evaluate(EYERISS, LAYER, result.mapping, bits=8)
    assert (cost.energy_pj, cost.cycles, cost.edp) == (result.energy_pj, result.cycles, result.objective)


def test_annealing_comes_nearer_than_sampling() -> None:
    comparison = compare(EYERISS, LAYER, bits=8, seeds=[1, 2, 3], budget=4000)
    worst = {name: max(comparison.ratio(run) for run in comparison.of(name)) for name in HEURISTICS}
    assert worst["annealing"] < worst["random"]


def test_nothing_found_is_infinite() -> None:
    result = search_heuristically(EYERISS, LAYER, bits=16, heuristic="random", timeout=0, seed=4)
    assert result.stops == ["timeout"]
    assert (result.mapping is None) == math.isinf(result.objective)


def test_wrong_options_are_named() -> None:
    with pytest.raises(SpecError, match="unknown heuristic 'greedy'"):
        search_heuristically(EYERISS, LAYER, heuristic="greedy")
    with pytest.raises(SpecError, match="the search may never end"):
        search_heuristically(EYERISS, LAYER, budget=0, victory=10)
    with pytest.raises(SpecError, match="heuristics look for one best mapping"):
        search_heuristically(EYERISS, LAYER, objective="pareto")
    with pytest.raises(MappingError, match="bits"):
        search_heuristically(EYERISS, LAYER, bits=17)


def test_sigint_ends_the_search() -> None:
    code = (
        "import quantloom as ql\n"
        "from quantloom.mapper.heuristics import search_heuristically\n"
        "from quantloom.workload.layer import conv_workload\n"
        "layer = conv_workload('layer', inputs=64, outputs=64, output_size=(56, 56), kernel=(3, 3))\n"
        "arch = ql.load_arch('eyeriss')\n"
        "print('ready', flush=True)\n"
        "search_heuristically(arch, layer, bits=8, budget=10**12)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=15)
        assert process.stderr is not None
        assert b"KeyboardInterrupt" in process.stderr.read()
