"""Promotion: the front is trained and measured anew, once, wherever it is measured and however often it is stopped."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from quantloom.errors import SearchError, SpecError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.journal import JOURNAL, Evaluation
from quantloom.joint_search.pareto import non_dominated
from quantloom.joint_search.promotion import TRAINING_FOLDER, TrainedRung, spread_along
from quantloom.joint_search.run import SearchInputs, run_search
from quantloom.joint_search.run_report import read_run
from quantloom.quant.data import DataSplits
from quantloom.quant.ladder import QatEvaluator
from quantloom.quant.ptq import PtqConfig, PtqEvaluator
from quantloom.spec.search_config import parse_search_config
from quantloom.store.database import Store
from quantloom.testing.toy_search import ToyCosts, ToyEvaluator, toy_arch, toy_inputs
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment
from toy_training import toy_config, toy_data, toy_net
from training_steps import Stopper
from worker_evaluators import MakeTrainedToy, StoppedError, TrainedToy, TrainerMaker

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=60, population=20, promote=6, promote_epochs=3)


def promoted_inputs(trainer: ToyEvaluator | None = None) -> SearchInputs:
    rung = TrainedRung(
        name="toy-trained",
        here=MakeTrainedToy() if trainer is None else (lambda folder: trainer),
        elsewhere=MakeTrainedToy(),
        depends_on={"evaluator": "toy-trained"},
    )
    return dataclasses.replace(toy_inputs(4), trained=rung, accuracy_depends_on={"evaluator": "toy"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was not interrupted: its front, its directory and what was asked of the trainer."""
    directory = tmp_path_factory.mktemp("run") / "whole"
    trainer = MakeTrainedToy()(directory)
    front = run_search(CONFIG, promoted_inputs(trainer), directory=directory)
    return front, directory, trainer.asked


def different(points):
    """Assignments of points; uniform bits may be on the front too."""
    return {(p.layers, p.edges) for p in points}


def test_points_to_train_are_spread_along_the_front_with_both_ends():
    assert spread_along(5, 8).tolist() == [0, 1, 2, 3, 4]
    assert spread_along(11, 3).tolist() == [0, 5, 10]
    assert spread_along(9, 1).tolist() == [0]
    for points in range(1, 40):
        for count in range(2, 12):
            at = spread_along(points, count)
            assert len(set(at.tolist())) == len(at) == min(points, count)
            assert (at[0], at[-1]) == (0, points - 1)


def test_the_front_after_training_is_what_no_trained_point_dominates(whole):
    front, _, _ = whole
    trained = [p for p in front.points if p.trained is not None]
    uniform = {i for i, p in enumerate(front.points) if different([p]) <= different(front.baselines)}
    assert 0 < len(uniform) < len(front.baselines)
    expected = uniform.union(spread_along(len(front.points), 6).tolist())
    assert [front.points.index(p) for p in trained] == sorted(expected)
    values = np.array([[1 - p.trained.validation, p.energy_pj] for p in trained])
    best = [p for p, is_best in zip(trained, non_dominated(values), strict=True) if is_best]
    assert front.trained_front == tuple(best)
    assert 0 < len(best) < len(trained)
    for p in (*best, *front.baselines):
        assert p.trained.test == pytest.approx(0.99 * p.trained.validation)
        assert p.trained.validation > p.accuracy_validation
    assert all(p.trained.test is None for p in trained if p not in best)


def test_the_test_split_is_looked_at_last_and_once(whole):
    front, directory, asked = whole
    lines = [Evaluation.from_line(line) for line in (directory / JOURNAL).read_text().splitlines()]
    trained = [e.split for e in lines if e.epochs == 3]
    validated = len(different(p for p in (*front.points, *front.baselines) if p.trained is not None))
    tested = len(different((*front.trained_front, *front.baselines)))
    assert tested < validated
    assert trained == ["validation"] * validated + ["test"] * tested
    assert len(asked) == validated + tested
    assert len({(e.split, e.assignment, e.epochs) for e in lines}) == len(lines)
    assert not (directory / TRAINING_FOLDER).exists()


def test_the_search_before_is_the_same_without_promotion(whole):
    front, _, _ = whole
    alone = run_search(dataclasses.replace(CONFIG, promote=0), toy_inputs(4))
    assert [dataclasses.replace(p, trained=None) for p in front.points] == list(alone.points)
    assert front.hypervolume == alone.hypervolume
    assert alone.to_json()["promotion"] is None
    assert alone.trained_front == ()


def test_both_accuracies_are_written_drawn_and_said(whole, tmp_path):
    front, directory, _ = whole
    written = json.loads((directory / "front.json").read_text())
    assert written["promotion"]["epochs"] == 3
    assert written["promotion"]["front"] == [p.label for p in front.trained_front]
    rows = {row[1]: row for row in front.to_table().rows}
    names = [column.name for column in front.to_table().columns]
    for p in front.points:
        expected = None if p.trained is None else p.trained.validation
        assert rows[p.label][names.index("trained_validation")] == expected
    manifest = json.loads((directory / "manifest.json").read_text())
    assert (manifest["config"]["promote"], manifest["config"]["promote_epochs"]) == (6, 3)
    curve = read_run(directory)["curves"][-1]
    assert curve["name"] == "front, trained (epochs: 3)"
    assert [p["accuracy_test"] for p in curve["points"]] == [p.trained.test for p in front.trained_front]
    assert len(read_run(directory)["candidates"]) == 60
    plain = dataclasses.replace(front, points=tuple(dataclasses.replace(p, trained=None) for p in front.points))
    plain.plot(tmp_path / "plain.png")
    assert (tmp_path / "plain.png").read_bytes() != (directory / "front.png").read_bytes()
    said = front.summary()
    count = sum(p.trained is not None for p in front.points)
    assert count > 6
    assert f"{count} points and the uniform bits trained (epochs: 3): {len(front.trained_front)} of these" in said
    saving = front.trained_savings("energy_pj")[-1]
    baseline = next(b for b in front.baselines if b.label == saving.baseline)
    point = next(p for p in front.trained_front if p.label == saving.point)
    assert point.trained.validation >= baseline.trained.validation
    assert saving.saved == 1 - point.energy_pj / baseline.energy_pj > 0
    assert saving.gain_test == pytest.approx(point.trained.test - baseline.trained.test)


@pytest.mark.parametrize("stop", [0, 3, 12])
def test_stopped_while_it_trains_it_goes_on_to_the_same_front(whole, tmp_path, monkeypatch, stop):
    _, directory, asked = whole
    monkeypatch.setattr(TrainedToy, "stops_at", stop)
    with pytest.raises(StoppedError):
        run_search(CONFIG, promoted_inputs(), directory=tmp_path / "run")
    monkeypatch.undo()
    trainer = MakeTrainedToy()(tmp_path)
    run_search(CONFIG, promoted_inputs(trainer), directory=tmp_path / "run", resume=True)
    for name in ("front.json", "front.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (directory / name).read_bytes()
    assert len(trainer.asked) == len(asked) - stop


def test_workers_give_the_same_front(whole):
    front, _, _ = whole
    assert run_search(CONFIG, promoted_inputs(), workers=2).to_json() == front.to_json()


def test_workers_that_die_while_they_train_change_nothing(tmp_path):
    def front(deaths: int, workers: int):
        maker = TrainerMaker(tmp_path, deaths)
        rung = TrainedRung(name="toy", here=TrainerMaker(tmp_path), elsewhere=maker)
        return run_search(CONFIG, dataclasses.replace(toy_inputs(4), trained=rung), workers=workers).to_json()

    assert front(deaths=2, workers=2) == front(deaths=0, workers=1)
    assert len(list(tmp_path.glob("death-*"))) == 2


def test_the_store_keeps_trainings_apart_by_their_settings(whole, tmp_path):
    front, _, asked = whole
    with Store.open(tmp_path / "store.db", note=print) as store:
        for layers, epochs, more in ((4, 3, len(asked)), (4, 3, 0)):
            trainer = MakeTrainedToy(layers)(tmp_path)
            config = dataclasses.replace(CONFIG, promote_epochs=epochs)
            assert run_search(config, promoted_inputs(trainer), store=store).to_json() == front.to_json()
            assert len(trainer.asked) == more
        trainer = MakeTrainedToy()(tmp_path)
        inputs = promoted_inputs(trainer)
        longer = dataclasses.replace(inputs.trained, depends_on={"evaluator": "toy-trained longer"})
        run_search(CONFIG, dataclasses.replace(inputs, trained=longer), store=store)
        assert len(trainer.asked) == len(asked)


def test_what_cannot_be_trained_is_refused_before_anything_is_measured():
    inputs = toy_inputs(4)
    with pytest.raises(SearchError, match="promote: these candidates cannot be trained"):
        run_search(CONFIG, inputs)
    assert inputs.evaluator.asked == []
    with pytest.raises(SearchError, match="promote_epochs must be at least 1, got 0"):
        SearchConfig(model="m", arch="a", promote_epochs=0)
    with pytest.raises(SpecError, match=r"c.yaml:3:10: promote: read `-1`, expected an integer of at least 0"):
        parse_search_config("model: m\narch: a\npromote: -1\n", "c.yaml")
    assert parse_search_config("model: m\narch: a\npromote: 5\npromote_epochs: 4\n", "c.yaml").promote_epochs == 4


# ---- with real trainings ---------------------------------------------------------------------------------------------


def real_inputs() -> SearchInputs:
    part = toy_data(96)
    data = DataSplits(name="toy", description="", classes=("up", "down"), train=part, validation=part, test=part)
    traced = trace(toy_net(), (1, 8, 8), name="toy")
    training = toy_config(epochs=2)
    return SearchInputs(
        network=traced.network,
        arch=toy_arch(),
        costs=ToyCosts(traced.network),
        evaluator=PtqEvaluator(traced, data, config=PtqConfig(validation_images=None)),
        trained=TrainedRung(
            name="qat-2", here=lambda folder: QatEvaluator(traced, data, training, folder=folder, threads=1)
        ),
    )


def test_a_training_goes_on_from_the_middle_and_is_not_made_twice(tmp_path, monkeypatch):
    config = SearchConfig(model="toy", arch="toy", evaluations=12, population=6, seeds=0, promote=2, promote_epochs=2)
    counter = Stopper(monkeypatch)
    front = run_search(config, real_inputs(), directory=tmp_path / "whole")
    promoted = [p for p in (*front.points, *front.baselines) if p.trained is not None]
    each = 2 * 3  # epochs x steps of 32 among 96 images
    assert counter.steps == each * len(different(promoted))  # the test split needed no second training
    assert any(p.trained.validation != p.accuracy_validation for p in promoted)

    counter.steps, counter.at = 0, each + 4
    monkeypatch.setattr("quantloom.quant.training_state.StateFile.is_due", lambda self, step: True)
    with pytest.raises(StoppedError):
        run_search(config, real_inputs(), directory=tmp_path / "stopped")
    assert len(list((tmp_path / "stopped" / TRAINING_FOLDER).glob("*.state"))) == 2
    counter.at = 10**9
    run_search(config, real_inputs(), directory=tmp_path / "stopped", resume=True)
    assert counter.steps == each * len(different(promoted))
    for name in ("front.json", "front.csv"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_evaluator_without_a_folder_trains_again_to_the_same_accuracy(tmp_path):
    inputs = real_inputs()
    kept, alone = inputs.trained.here(tmp_path), inputs.trained.here(tmp_path / "elsewhere")
    three, two = (BitAssignment.uniform(inputs.network, bits) for bits in (3, 2))
    for evaluator in (kept, alone):
        evaluator.accuracy(two)
        evaluator.accuracy(three)
    assert kept.accuracy_test(two) == alone.accuracy_test(two)
    assert len(list(tmp_path.iterdir())) == 2
