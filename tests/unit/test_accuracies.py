"""Accuracies of a search from the store: found by what they depend on, and the result is the same."""

from __future__ import annotations

import dataclasses
import json

import pytest

from quantloom.errors import SearchError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.journal import JOURNAL
from quantloom.joint_search.run import run_search
from quantloom.store.database import Store
from quantloom.testing.toy_search import ToyEvaluator, toy_inputs

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=40, population=10, seeds=6)
DEPENDS_ON = {"evaluator": "toy", "weights": "abc"}


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes most of the time; test_report looks at the picture."""
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))


@pytest.fixture
def search(tmp_path):
    """Runs a search with a store; gives its front, how many assignments were measured, and the lines of its journal."""

    def run(number, *, depends_on=DEPENDS_ON, config=CONFIG, path="store"):
        inputs = dataclasses.replace(toy_inputs(4), accuracy_depends_on=depends_on)
        with Store.open(tmp_path / path, note=pytest.fail) as store:
            directory = tmp_path / f"run-{number}"
            run_search(config, inputs, directory=directory, store=store)
        lines = (directory / JOURNAL).read_text().splitlines()
        return (directory / "front.json").read_bytes(), len(inputs.evaluator.asked), [json.loads(x) for x in lines]

    return run


def test_a_second_search_measures_nothing_and_gives_the_same(search):
    front, asked, lines = search(1)
    again, asked_again, lines_again = search(2)
    assert asked > 40
    assert asked_again == 0
    assert again == front
    # what the journal says of a candidate does not depend on where its accuracy is from, except how long it took
    timeless = [sorted(json.dumps({**line, "wall_s": 0}) for line in each) for each in (lines, lines_again)]
    assert timeless[0] == timeless[1]


def test_a_search_with_other_settings_shares_what_it_has_in_common(search):
    search(1)
    other = dataclasses.replace(CONFIG, seed=1)
    alone, asked_alone, _ = search(2, config=other, path="another")
    shared, asked_shared, _ = search(3, config=other)
    assert shared == alone
    assert 0 < asked_shared < asked_alone


@pytest.mark.parametrize("depends_on", [{**DEPENDS_ON, "weights": "abd"}, {"evaluator": "toy"}, None])
def test_what_accuracies_depend_on_keeps_them_apart(search, depends_on):
    _, asked, _ = search(1)
    assert search(2, depends_on=depends_on)[1] == asked


def test_other_code_measures_anew(search, monkeypatch):
    _, asked, _ = search(1)
    monkeypatch.setattr("quantloom.joint_search.accuracies.python_code", lambda: "other code")
    assert search(2)[1] == asked


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, float("nan")])
def test_an_impossible_accuracy_is_refused_and_not_kept(tmp_path, monkeypatch, accuracy):
    monkeypatch.setattr(ToyEvaluator, "accuracy", lambda self, assignment: accuracy)
    inputs = dataclasses.replace(toy_inputs(4), accuracy_depends_on=DEPENDS_ON)
    with Store.open(tmp_path / "store", note=pytest.fail) as store:
        with pytest.raises(SearchError, match=r"accuracy must be in 0\.\.1, but toy measured"):
            run_search(CONFIG, inputs, store=store)
        assert [result.value for result in store.results()] == ["0.95"]  # the network that is not quantized
