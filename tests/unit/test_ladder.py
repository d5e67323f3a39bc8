"""The ladder: rank correlations as defined, a journal that loses nothing, and what its results are made of."""

import itertools
import re

import numpy as np
import pytest

from quantloom.errors import DataError, QuantError
from quantloom.quant.data import DataSplits
from quantloom.quant.ladder import (
    RUNGS,
    Measurement,
    budget_assignments,
    kendall,
    make_rung,
    measure,
    results_of,
    spearman,
)
from quantloom.workload.from_torch import trace
from toy_training import toy_config, toy_data, toy_net

WIDTHS = (2, 3, 4)


@pytest.fixture(scope="module")
def traced():
    return trace(toy_net(), (1, 8, 8), name="toy")


@pytest.fixture(scope="module")
def assignments(traced):
    return budget_assignments(traced.network, WIDTHS, 4, seed=0)


def splits():
    data = toy_data(64)
    return DataSplits(name="toy", description="", classes=("up", "down"), train=data, validation=data, test=data)


def test_assignments_of_a_budget_are_different_permutations(traced, assignments):
    assert len(set(assignments)) == 4
    for kind in ("weights", "groups"):
        assert len({tuple(sorted(getattr(assignment, kind))) for assignment in assignments}) == 1
    assert assignments == budget_assignments(traced.network, WIDTHS, 4, seed=0)
    assert assignments != budget_assignments(traced.network, WIDTHS, 4, seed=1)
    with pytest.raises(QuantError, match="too few tensors for 2 different assignments"):
        budget_assignments(traced.network, (8,), 2, seed=0)


def test_rank_correlations_are_those_of_the_definitions():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 6, 9).astype(float), rng.integers(0, 6, 9).astype(float)
        signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in itertools.combinations(range(9), 2)]
        agree = sum(one * other for one, other in signs)
        expected = agree / np.sqrt(sum(one != 0 for one, _ in signs) * sum(other != 0 for _, other in signs))
        assert kendall(a, b) == pytest.approx(expected)
        ranks = [np.array([np.mean(np.flatnonzero(np.sort(v) == x)) for x in v]) for v in (a, b)]
        assert spearman(a, b) == pytest.approx(np.corrcoef(*ranks)[0, 1])
    rising = np.arange(5.0)
    assert spearman(rising, rising**3) == kendall(rising, np.exp(rising)) == pytest.approx(1)
    assert spearman(rising, -rising) == kendall(rising, -rising) == pytest.approx(-1)
    assert np.isnan(kendall(rising, np.ones(5)))
    assert np.isnan(spearman(np.ones(5), rising))


def test_every_rung_scores_every_assignment(traced, assignments, tmp_path):
    assignments = assignments[:2]
    config = toy_config(epochs=1, ema_decay=0.0)
    trainings = {"short": config, "full": config, "switchable": config, "switchable_widths": (2, 3, 4, 8)}
    rungs = [(name, 0, lambda name=name: make_rung(name, traced, splits(), assignments, **trainings)) for name in RUNGS]
    found = measure(rungs, assignments, tmp_path / "ladder.jsonl", settings={"a": 1})
    assert len(found) == len(RUNGS) * (len(assignments) + 1)
    by_rung = {name: [m.score for m in found if m.rung == name and m.assignment >= 0] for name in RUNGS}
    assert all(score < 0 for score in by_rung["fisher"])
    assert all(0 <= score <= 1 for name in RUNGS[1:] for score in by_rung[name])
    assert by_rung["qat"] == by_rung["qat-short"]  # the same training, asked twice
    assert [result.rung for result in results_of(found, "qat")] == list(RUNGS)
    with pytest.raises(QuantError, match="unknown rung `guess`"):
        make_rung("guess", traced, splits(), assignments, **trainings)


class Counting:
    name = "count"

    def __init__(self):
        self.asked = []

    def accuracy(self, assignment):
        self.asked.append(assignment)
        if len(self.asked) == 3:
            raise KeyboardInterrupt
        return 0.25 * len(self.asked)


def test_what_the_journal_holds_is_not_measured_again(assignments, tmp_path):
    journal = tmp_path / "ladder.jsonl"
    first = Counting()
    with pytest.raises(KeyboardInterrupt):
        measure([("count", 0, lambda: first)], assignments, journal, settings={})
    journal.write_text(journal.read_text() + '{"rung": "cou')  # killed in the middle of a line
    second = Counting()
    found = measure([("count", 0, lambda: second)], assignments, journal, settings={})
    assert second.asked == assignments[2:]
    assert [m.score for m in found if m.assignment >= 0] == [0.25, 0.5, 0.25, 0.5]
    assert measure([("count", 0, lambda: pytest.fail("asked again"))], assignments, journal, settings={}) == found
    with pytest.raises(DataError, match=re.escape(f"{journal}:1: is a journal of other settings")):
        measure([], assignments, journal, settings={"seed": 1})
    journal.write_text(journal.read_text() + "{}\n")
    with pytest.raises(DataError, match=re.escape(f"{journal}:7: cannot read this line")):
        measure([], assignments, journal, settings={})


def test_results_compare_each_seed_with_the_mean_of_the_top():
    scores = {("low", 0): [1, 2, 3], ("qat", 0): [1, 2, 3], ("qat", 1): [1, 3, 2]}
    found = [
        Measurement(rung=rung, seed=seed, assignment=i, score=value, cpu_s=2.0)
        for (rung, seed), row in scores.items()
        for i, value in enumerate(row)
    ]
    found.append(Measurement(rung="low", seed=0, assignment=-1, score=0.0, cpu_s=7.0))
    qat, low = results_of(found, "qat")
    assert (low.prepare_s, low.cpu_s, low.spearman) == (7.0, 2.0, [pytest.approx(0.866, abs=1e-3)])
    assert qat.spearman == [pytest.approx(0.5), pytest.approx(0.5)]  # each seed with the other one
    found.append(Measurement(rung="low", seed=1, assignment=0, score=9.0, cpu_s=2.0))
    assert results_of(found, "qat")[1].spearman == low.spearman  # a seed that is not complete is left out
    with pytest.raises(QuantError, match="no scores of the top rung `full`"):
        results_of(found, "full")
