"""Searches made beside the main one: what they search, what they are charged, what is said of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from quantloom.errors import SearchError, SpecError
from quantloom.joint_search import run
from quantloom.joint_search.config import RIVALS, SearchConfig
from quantloom.joint_search.pareto import non_dominated
from quantloom.joint_search.problem import problem_from_config
from quantloom.joint_search.rivals import FixedMappingCosts, make_rival
from quantloom.joint_search.run import run_search
from quantloom.joint_search.seeds import exact_seeds
from quantloom.mapper.optimize import evaluate
from quantloom.mapper.table import cost_table
from quantloom.spec.arch import load_arch
from quantloom.spec.search_config import parse_search_config
from quantloom.testing.toy_search import TOY_BITS, toy_inputs, toy_network
from quantloom.workload.bits import BitWidths

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=60, population=20, compare=RIVALS)


@pytest.fixture(scope="module")
def inputs():
    """A toy network on a real accelerator, so that mappings matter."""
    arch, network = load_arch("eyeriss"), toy_network(4)
    return dataclasses.replace(
        toy_inputs(4), arch=arch, network=network, costs=cost_table(network, arch, bits=TOY_BITS, threads=1)
    )


@pytest.fixture(scope="module")
def front(inputs):
    return run_search(CONFIG, inputs)


def test_each_rival_has_as_many_evaluations_and_a_front_of_its_own(front):
    assert [curve.name for curve in front.curves] == list(RIVALS)
    for curve in front.curves:
        assert curve.evaluations == CONFIG.evaluations
        values = np.array([[1 - p.accuracy_validation, p.energy_pj] for p in curve.points])
        assert len(values) > 3
        assert non_dominated(values).all()
        assert 0 < curve.hypervolume < 1
        assert curve.trace[-1] == curve.hypervolume
        assert list(curve.trace) == sorted(curve.trace)
        assert curve.points[0].label.startswith(f"{curve.name}-")


def test_the_main_search_is_the_same_with_rivals_and_without(front, inputs):
    alone = run_search(dataclasses.replace(CONFIG, compare=()), inputs)
    assert alone.to_json() == dataclasses.replace(front, curves=()).to_json()
    assert np.array_equal(alone.candidates, front.candidates)


def test_no_assignment_is_measured_twice_for_all_searches_together(inputs):
    fresh = toy_inputs(4)
    run_search(CONFIG, dataclasses.replace(inputs, evaluator=fresh.evaluator))
    asked = fresh.evaluator.asked  # validation and test ask alike
    assert max(asked.count(assignment) for assignment in set(asked)) <= 2
    assert len(set(asked)) < CONFIG.evaluations * (1 + len(RIVALS))


def test_fixed_mappings_cost_what_evaluate_says_and_never_less_than_the_best(inputs):
    network, arch, costs = inputs.network, inputs.arch, inputs.costs
    fixed = FixedMappingCosts(network, arch, costs, model="default")
    layer = network.layers[2]
    bits = BitWidths(weights=2, inputs=5, outputs=3)
    mapping = costs.mapping(layer.name, BitWidths.uniform(8))
    at = (2, *(TOY_BITS.index(b) for b in (2, 5, 3)))
    assert fixed.mapping(layer.name, bits) == mapping
    assert fixed.energy_pj[at] == evaluate(arch, layer.workload, mapping, bits=bits).energy_pj
    assert (fixed.energy_pj * fixed.cycles >= costs.energy_pj * costs.cycles * (1 - 1e-12)).all()
    same = (slice(None), *(TOY_BITS.index(8),) * 3)
    assert fixed.energy_pj[same] == pytest.approx(costs.energy_pj[same], rel=1e-12)


def test_memory_only_is_blind_to_hardware_but_charged_for_it(inputs):
    config = dataclasses.replace(CONFIG, bounds={"energy_pj": 1e30, "error": 0.9})
    problem = problem_from_config(inputs.network, inputs.costs, config)
    rival = make_rival("memory_only", config, problem, inputs.arch)
    assert rival.problem.objectives == ("error", "weight_bits")
    assert rival.problem.bounds == {"error": 0.9}
    assert rival.charged is problem


def test_what_is_saved_against_a_rival_is_that_of_the_cheapest_point_as_accurate(front):
    for saving in front.curve_savings("energy_pj"):
        curve = next(c for c in front.curves if c.name == saving.curve)
        beaten = next(p for p in curve.points if p.label == saving.curve_point)
        able = [p.energy_pj for p in front.points if p.accuracy_validation >= beaten.accuracy_validation]
        assert saving.saved == (pytest.approx(1 - min(able) / beaten.energy_pj) if able else None)
    assert "energy saved against other searches" in front.summary()
    assert f"  no_synergy ({CONFIG.evaluations} evaluations" in front.summary()


def test_curves_are_written_and_drawn(front, tmp_path):
    written = front.to_json()
    assert [curve["name"] for curve in written["curves"]] == list(RIVALS)
    assert [curve["hypervolume_trace"] for curve in written["curves"]] == [list(curve.trace) for curve in front.curves]
    assert len(written["curve_savings"]) == sum(len(curve.points) for curve in front.curves)
    assert written["curves"][0]["points"][0]["weight_bits"].keys() == {f"layer{i}" for i in range(4)}
    assert "\n1,random-" in front.to_csv()
    front.plot(tmp_path / "front.png")
    front_without = dataclasses.replace(front, curves=())
    front_without.plot(tmp_path / "without.png")
    assert (tmp_path / "front.png").read_bytes() != (tmp_path / "without.png").read_bytes()


def test_rivals_are_resumed_to_the_same_front(inputs, front, tmp_path):
    run_search(CONFIG, inputs, directory=tmp_path / "run")
    journal = tmp_path / "run" / "evaluations.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[: int(0.8 * len(lines))]))  # in the middle of a rival
    again = run_search(CONFIG, inputs, directory=tmp_path / "run", resume=True)
    assert again.to_json() == front.to_json()


def test_nothing_is_measured_if_a_rival_cannot_begin(inputs, monkeypatch):
    fresh = toy_inputs(4)

    def fail_for_a_rival(problem, sensitivity, count):
        if problem.objectives == ("error", "weight_bits"):
            raise SearchError("no seeds")
        return exact_seeds(problem, sensitivity, count)

    monkeypatch.setattr(run, "exact_seeds", fail_for_a_rival)
    config = dataclasses.replace(CONFIG, compare=("memory_only",))
    with pytest.raises(SearchError, match="no seeds"):
        run_search(config, dataclasses.replace(inputs, evaluator=fresh.evaluator))
    assert fresh.evaluator.asked == []


def test_unknown_rivals_are_refused_where_they_stand():
    with pytest.raises(SpecError, match=r"c.yaml:3:19: compare\[1\]: unknown search to compare with `memory`"):
        parse_search_config("model: m\narch: a\ncompare: [random, memory]\n", "c.yaml")
    with pytest.raises(SearchError, match="different searches"):
        dataclasses.replace(CONFIG, compare=("random", "random"))
