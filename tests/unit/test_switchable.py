"""Weights trained once for all candidates of a search: when, for what bits, and that nothing depends on where."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import quantloom as ql
from quantloom.assemble import search as assemble
from quantloom.assemble.trained_rungs import RungMakers, draw_candidate
from quantloom.errors import QuantError, SearchError, SpecError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.problem import problem_from_config
from quantloom.joint_search.promotion import TRAINING_FOLDER
from quantloom.joint_search.rules import SearchRules
from quantloom.joint_search.run import SearchInputs, run_search
from quantloom.joint_search.switchable import SwitchableRung
from quantloom.quant.data import DataSplits
from quantloom.quant.ptq import PtqConfig, PtqEvaluator, accuracy_of
from quantloom.spec.search_config import parse_search_config
from quantloom.store.database import Store
from quantloom.testing.toy_search import TOY_BITS, ToyCosts, toy_arch, toy_inputs
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment
from toy_training import toy_data, toy_net
from training_steps import Stopper
from worker_evaluators import Maker, StoppedError

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=30, population=10, accuracy_method="switchable+bn")
RESULTS = ("front.json", "front.csv", "mappings.json")


class ToyRung:
    """Stands for a training; counts how often it is made, and for what."""

    def __init__(self) -> None:
        self.trained: list[int] = []
        self.evaluator = toy_inputs(4).evaluator

    def train(self, problem: object, folder: Path, progress: Callable[[int, int, str], None]) -> bytes:
        assert folder.is_dir()
        progress(1, 2, "training")
        self.trained.append(problem.size)
        return b"weights"

    def inputs(self, **changes: object) -> SearchInputs:
        rung = SwitchableRung(
            name="toy-switchable",
            train=self.train,
            here=lambda weights: self.evaluator if weights == b"weights" else pytest.fail("other weights"),
            elsewhere=lambda weights: Maker("ToyEvaluator") if weights == b"weights" else pytest.fail("other weights"),
            depends_on={"evaluator": "toy-switchable"},
        )
        return dataclasses.replace(toy_inputs(4), switchable=rung, **changes)


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes most of the time; test_report looks at the picture."""
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))


def results(directory):
    return [(directory / name).read_bytes() for name in RESULTS]


# ---- when ------------------------------------------------------------------------------------------------------------


def test_weights_are_trained_once_before_the_first_accuracy_and_the_evaluator_is_not_asked(tmp_path):
    rung = ToyRung()
    inputs = rung.inputs()
    said = []
    front = run_search(CONFIG, inputs, directory=tmp_path / "run", progress=lambda *told: said.append(told))
    assert len(rung.trained) == 1
    assert said.index((1, 2, "training")) == 1  # after "not quantized, uniform bits"
    assert inputs.evaluator.asked == []
    assert len({*rung.evaluator.asked}) == 30
    assert front.accuracy_method == "toy-switchable"
    assert json.loads((tmp_path / "run/manifest.json").read_text())["accuracy_method"] == "toy-switchable"
    assert not (tmp_path / "run" / TRAINING_FOLDER).exists()


def test_a_finished_run_is_resumed_without_a_training(tmp_path):
    run_search(CONFIG, ToyRung().inputs(), directory=tmp_path)
    before, rung = results(tmp_path), ToyRung()
    run_search(CONFIG, rung.inputs(), directory=tmp_path, resume=True)
    assert rung.trained == []
    assert results(tmp_path) == before


def test_workers_give_the_same_front_from_the_same_weights(tmp_path):
    run_search(CONFIG, ToyRung().inputs(), directory=tmp_path / "here")
    rung = ToyRung()
    run_search(CONFIG, rung.inputs(), directory=tmp_path / "there", workers=2)
    assert (len(rung.trained), rung.evaluator.asked) == (1, [])
    assert results(tmp_path / "there") == results(tmp_path / "here")


def test_what_the_store_knows_needs_no_training_unless_other_bits_are_searched(tmp_path):
    narrow = dataclasses.replace(CONFIG, rules=SearchRules(weights={"first": 8}))
    trained = []
    with Store.open(tmp_path / "store.db", note=pytest.fail) as store:
        for config in (CONFIG, CONFIG, narrow, narrow, dataclasses.replace(CONFIG, weight_bits=(2, 4, 8))):
            rung = ToyRung()
            run_search(config, rung.inputs(), store=store)
            trained.append(len(rung.trained))
    assert trained == [1, 0, 1, 0, 1]


# ---- for what bits ---------------------------------------------------------------------------------------------------


def test_a_step_draws_every_choice_of_every_gene_near_one_place_and_obeys_rules():
    network = toy_inputs(4).network
    rules = SearchRules(weights={"layer1": (4, 5), "layer2": 3}, ties=({"weights": ("layer0", "layer3")},))
    config = dataclasses.replace(CONFIG, rules=rules)
    problem = problem_from_config(network, ToyCosts(network), config)
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_candidate(problem, generator) for _ in range(300)]
    by_layer = [{assignment.weights[i] for assignment in drawn} for i in range(4)]
    assert by_layer == [set(TOY_BITS), {4, 5}, {3}, set(TOY_BITS)]
    assert all(assignment.weights[0] == assignment.weights[3] for assignment in drawn)
    groups = [{assignment.groups[i] for assignment in drawn} for i in range(5)]
    assert groups == [{8}, set(TOY_BITS), set(TOY_BITS), set(TOY_BITS), {8}]
    assert problem.widths == TOY_BITS
    assert len({(a.weights, a.groups) for a in drawn}) > 100
    places = [[TOY_BITS.index(bits) for bits in (a.weights[0], *a.groups[1:4])] for a in drawn]
    assert all(max(row) - min(row) <= 2 for row in places)


# ---- settings --------------------------------------------------------------------------------------------------------


def test_the_best_cheap_rung_is_the_default_but_for_weights_that_are_switchable_as_they_come():
    config = SearchConfig(model="m", arch="a", checkpoint="weights.pt")
    assert config.accuracy_method is None
    assert assemble.with_method(config).accuracy_method == "switchable+bn"
    assert assemble.with_method(assemble.demo_config()).accuracy_method == "ptq+bn"
    for method in ("ptq+bn", "rounded+bn", "switchable+bn"):
        given = dataclasses.replace(config, accuracy_method=method)
        assert assemble.with_method(given) == given
        assert assemble.with_method(dataclasses.replace(given, checkpoint="demo")).accuracy_method == method


def test_a_run_from_before_there_was_a_choice_goes_on_as_it_began():
    old = SearchConfig(model="m", arch="a", accuracy_method="ptq+bn")
    assert not {"accuracy_method", "switchable_epochs", "switchable_images"} & old.to_dict().keys()
    assert SearchConfig.from_dict(old.to_dict()) == old
    chosen = SearchConfig(model="m", arch="a", accuracy_method="switchable+bn", switchable_epochs=7)
    assert SearchConfig.from_dict(json.loads(json.dumps(chosen.to_dict()))) == chosen
    left_open = SearchConfig(model="m", arch="a")
    assert SearchConfig.from_dict(left_open.to_dict()) == left_open


def test_settings_of_the_training_are_read_and_checked():
    text = "model: m\narch: a\naccuracy_method: switchable+bn\nswitchable_epochs: 5\nswitchable_images: 900\n"
    found = parse_search_config(text, "c.yaml")
    assert (found.accuracy_method, found.switchable_epochs, found.switchable_images) == ("switchable+bn", 5, 900)
    with pytest.raises(SpecError, match=r"c.yaml:3:18: accuracy_method: unknown accuracy method `ptq`"):
        parse_search_config("model: m\narch: a\naccuracy_method: ptq\n", "c.yaml")
    with pytest.raises(SearchError, match=r"unknown accuracy method 'qat'"):
        SearchConfig(model="m", arch="a", accuracy_method="qat")
    with pytest.raises(SearchError, match="switchable_images must be at least 2, got 1"):
        SearchConfig(model="m", arch="a", switchable_images=1)


# ---- with real trainings ---------------------------------------------------------------------------------------------


REAL = SearchConfig(
    **{"model": "toy", "arch": "toy", "evaluations": 12, "population": 6, "seeds": 0},
    **{"accuracy_method": "switchable+bn", "switchable_images": 128 + 64, "switchable_epochs": 4},
)


def toy_splits_of(images: int) -> DataSplits:
    parts = {part: toy_data(images) for part in ("train", "validation", "test")}
    return DataSplits(name="toy", description="", classes=("up", "down"), **parts)


def real_inputs(images: int = 400, config: SearchConfig = REAL) -> SearchInputs:
    data = toy_splits_of(images)
    traced = trace(toy_net(), (1, 8, 8), name="toy")
    evaluator = PtqEvaluator(traced, data, config=PtqConfig(validation_images=None))
    costs = ToyCosts(traced.network)
    inputs = SearchInputs(network=traced.network, arch=toy_arch(), costs=costs, evaluator=evaluator)
    return dataclasses.replace(inputs, switchable=RungMakers(config, traced, data, evaluator, None).switchable())


def test_the_training_goes_on_from_the_middle_and_is_not_made_twice(tmp_path, monkeypatch):
    steps = Stopper(monkeypatch)
    run_search(REAL, real_inputs(), directory=tmp_path / "whole")
    assert steps.steps == 4  # epochs, of one batch of 128 among 192 images
    monkeypatch.setattr("quantloom.quant.training_state.StateFile.is_due", lambda self, step: True)
    steps.steps, steps.at = 0, 3
    with pytest.raises(StoppedError):
        run_search(REAL, real_inputs(), directory=tmp_path / "stopped")
    assert [file.name for file in (tmp_path / "stopped" / TRAINING_FOLDER).iterdir()] == ["switchable.state"]
    steps.at = 10**9
    run_search(REAL, real_inputs(), directory=tmp_path / "stopped", resume=True)
    assert steps.steps == 4
    assert results(tmp_path / "stopped") == results(tmp_path / "whole")


def test_a_search_stopped_after_the_training_does_not_train_again(tmp_path, monkeypatch):
    steps = Stopper(monkeypatch)
    run_search(REAL, real_inputs(), directory=tmp_path / "whole")
    seen = []

    def stop(self, assignment):
        seen.append(assignment)
        if len(seen) == 8:
            raise StoppedError
        return PtqEvaluator.accuracy_of_before(self, assignment)

    with monkeypatch.context() as patch:
        patch.setattr(PtqEvaluator, "accuracy_of_before", PtqEvaluator.accuracy, raising=False)
        patch.setattr(PtqEvaluator, "accuracy", stop)
        with pytest.raises(StoppedError):
            run_search(REAL, real_inputs(), directory=tmp_path / "stopped")
    steps.steps = 0
    run_search(REAL, real_inputs(), directory=tmp_path / "stopped", resume=True)
    assert steps.steps == 0
    assert results(tmp_path / "stopped") == results(tmp_path / "whole")


def test_few_images_make_a_smaller_batch(monkeypatch):
    steps = Stopper(monkeypatch)
    inputs = real_inputs(images=50)
    run_search(REAL, inputs)
    assert steps.steps == 4


def test_a_training_that_fails_says_what_to_do(tmp_path):
    inputs = real_inputs()
    problem = problem_from_config(inputs.network, inputs.costs, REAL)
    (tmp_path / "switchable.state").write_bytes(b"no state of training")
    with pytest.raises(
        QuantError, match=r"weights could not be trained for all candidates: .*switchable.state: corrupt"
    ):
        inputs.switchable.train(problem, tmp_path, lambda *told: None)
    (tmp_path / "switchable.state").unlink()
    traced = trace(toy_net(), (1, 8, 8), name="toy")
    with torch.no_grad():
        next(p for name, p in traced.graph_module.named_parameters() if name.endswith("bias")).fill_(float("nan"))
    makers = RungMakers(REAL, traced, toy_splits_of(400), inputs.evaluator, None)
    with pytest.raises(QuantError, match=r"cannot choose scales: (.|\n)*; or decide by .* accuracy_method rounded"):
        makers.switchable().train(problem, tmp_path, lambda *told: None)


def test_trained_weights_are_better_at_few_bits_and_the_float_network_stays_the_one_that_was_given(tmp_path):
    inputs = real_inputs(config=dataclasses.replace(REAL, switchable_epochs=60))
    problem = problem_from_config(inputs.network, inputs.costs, REAL)
    evaluator = inputs.switchable.here(inputs.switchable.train(problem, tmp_path, lambda *told: None))
    assert evaluator.name == "switchable+bn"
    assert evaluator.float_accuracy() == inputs.evaluator.float_accuracy()
    assert evaluator.float_accuracy_test() == inputs.evaluator.float_accuracy_test()
    two = BitAssignment.uniform(inputs.network, 2)
    assert evaluator.accuracy(two) > inputs.evaluator.accuracy(two) + 0.05
    assert evaluator.float_accuracy() == inputs.evaluator.float_accuracy()
    images, labels = evaluator._validation
    evaluator.network.set_float()
    assert accuracy_of(evaluator.network, images, labels, batch=250) > inputs.evaluator.float_accuracy()


SMALL = {
    **{"weight_bits": (2, 8), "activation_bits": (4, 8), "evaluations": 8, "population": 4, "seeds": 2},
    **{"switchable_images": 128, "switchable_epochs": 2},
}


def test_a_network_and_data_read_in_other_processes_give_the_same_front(tmp_path):
    config = SearchConfig(model="toy_training:toy_example", arch="eyeriss", data="toy_training:toy_splits", **SMALL)
    here = ql.search(config, directory=tmp_path / "here", threads=1)
    assert here.accuracy_method == "switchable+bn"
    ql.search(config, directory=tmp_path / "there", threads=2, workers=2)
    assert results(tmp_path / "there") == results(tmp_path / "here")
    kept = json.loads((tmp_path / "here/manifest.json").read_text())["config"]
    assert (kept["accuracy_method"], kept["switchable_images"]) == ("switchable+bn", 128)
    assert (tmp_path / "here/evaluations.jsonl").read_text().count('"validation"') == 9  # with the float network
