"""Runs with several seeds: means and intervals, what is refused, and the command that prints them."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
from scipy import stats

from quantloom.cli.main import main
from quantloom.errors import SearchError
from quantloom.joint_search.comparison import PROPOSED, UNIFORM, compare_runs, interval_of
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.pareto import hypervolume
from quantloom.joint_search.run import run_search
from quantloom.testing.toy_search import ToyEvaluator, toy_inputs

CONFIG = SearchConfig(
    model="toy",
    arch="toy",
    objectives=("error", "energy_pj", "cycles"),
    evaluations=40,
    population=10,
    seeds=4,
    compare=("memory_only", "random"),
)


class Coarse(ToyEvaluator):
    """Counts as if on 100 images, so that fewer bits can be as accurate as 8."""

    def accuracy(self, assignment):
        return round(ToyEvaluator.accuracy(self, assignment), 2)


def coarse_inputs():
    inputs = toy_inputs(4)
    return dataclasses.replace(inputs, evaluator=Coarse(inputs.sensitivity))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    fronts = {}
    for seed in (3, 5, 8):
        fronts[folder / f"seed{seed}"] = run_search(
            dataclasses.replace(CONFIG, seed=seed), coarse_inputs(), directory=folder / f"seed{seed}"
        )
    return fronts


@pytest.mark.parametrize("count", [2, 3, 10, 31])
def test_intervals_are_those_of_student(count):
    values = np.random.default_rng(count).normal(5, 2, count)
    found = interval_of(values.tolist())
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high), rel=1e-4)


def test_one_seed_has_no_interval_and_many_have_a_wide_one():
    assert interval_of([0.5]).mean == 0.5
    assert interval_of([0.5]).low is None
    values = np.random.default_rng(0).normal(5, 2, 100)
    found = interval_of(values.tolist())
    low, high = stats.t.interval(0.95, 99, loc=values.mean(), scale=stats.sem(values))
    assert found.low < low < high < found.high


def test_shares_and_savings_are_those_of_the_fronts(runs):
    comparison = compare_runs(list(runs))
    assert comparison.searches == (PROPOSED, UNIFORM, "memory_only", "random")
    assert comparison.seeds == (3, 5, 8)
    assert comparison.against == "uniform-8"
    for front, outcome in zip(runs.values(), comparison.of(PROPOSED), strict=True):
        worst = np.array([[1 - b.accuracy_validation, b.energy_pj, b.latency_cycles] for b in front.baselines])
        points = np.array([[1 - p.accuracy_validation, p.energy_pj, p.latency_cycles] for p in front.points])
        tested = np.array([[1 - p.accuracy_test, p.energy_pj, p.latency_cycles] for p in front.points])
        corner = worst.max(axis=0)
        assert comparison.reference == pytest.approx(tuple(corner))
        assert outcome.volume_validation == pytest.approx(hypervolume(points, corner) / corner.prod())
        assert outcome.volume_validation == pytest.approx(front.hypervolume[-1])
        assert outcome.volume_test == pytest.approx(hypervolume(tested, corner) / corner.prod())
        for objective in ("energy_pj", "cycles"):
            saving = next(s for s in front.savings(objective, "validation") if s.baseline == "uniform-8")
            assert outcome.saved[objective] == saving.saved > 0
            assert outcome.gain_test[objective] == pytest.approx(saving.gain_test)
    for name in ("memory_only", "random"):
        for front, outcome in zip(runs.values(), comparison.of(name), strict=True):
            curve = next(curve for curve in front.curves if curve.name == name)
            assert outcome.volume_validation == pytest.approx(curve.hypervolume)
    volumes = [outcome.volume_validation for outcome in comparison.of("random")]
    assert comparison.volume("random", "validation") == interval_of(volumes)
    accurate = [b for b in front.baselines if b.accuracy_validation >= front.baselines[-1].accuracy_validation]
    least = min(accurate, key=lambda b: b.energy_pj).energy_pj / front.baselines[-1].energy_pj
    assert comparison.saved(UNIFORM, "energy_pj").mean == pytest.approx(1 - least)
    assert comparison.saved(PROPOSED, "energy_pj").mean > 1 - least - 1e-12  # the search has the uniform bits too
    assert comparison.volume(UNIFORM, "validation").mean < comparison.volume(PROPOSED, "validation").mean


def test_what_is_less_accurate_than_uniform_bits_saves_nothing(runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(next(iter(runs)), copy)
    front = json.loads((copy / "front.json").read_text())
    for point in front["points"]:
        point["accuracy_validation"] /= 2
    (copy / "front.json").write_text(json.dumps(front))
    outcome = compare_runs([copy]).of(PROPOSED)[0]
    assert set(outcome.saved.values()) == set(outcome.gain_test.values()) == {0.0}


def test_runs_that_are_not_of_one_search_are_refused(runs, tmp_path):
    first, second, _ = runs
    with pytest.raises(SearchError, match="no runs to compare"):
        compare_runs([])
    with pytest.raises(SearchError, match=r"seed3 and .*seed3 have the same seed 3"):
        compare_runs([first, first])
    other = tmp_path / "other"
    run_search(dataclasses.replace(CONFIG, seed=9, evaluations=30), coarse_inputs(), directory=other)
    with pytest.raises(SearchError, match=r"seed3 and .*other differ in more than the seed: evaluations"):
        compare_runs([first, other])
    with pytest.raises(SearchError, match=r"nowhere does not hold a run"):
        compare_runs([first, tmp_path / "nowhere"])
    copy = tmp_path / "copy"
    shutil.copytree(second, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "status": "unfinished"}))
    with pytest.raises(SearchError, match="copy: the search is not finished") as refused:
        compare_runs([first, copy])
    assert f"quantloom search --resume {copy}" in refused.value.hint
    (copy / "manifest.json").write_text(json.dumps({**manifest, "inputs": {"arch": "1" * 64}}))
    with pytest.raises(SearchError, match="differ in more than the seed: arch"):
        compare_runs([first, copy])
    (copy / "manifest.json").write_text(json.dumps(manifest))
    front = json.loads((copy / "front.json").read_text())
    (copy / "front.json").write_text(json.dumps({**front, "baselines": []}))
    with pytest.raises(SearchError, match="copy: has no uniform bits to compare with"):
        compare_runs([first, copy])
    del front["points"][0]["energy_pj"]
    (copy / "front.json").write_text(json.dumps(front))
    with pytest.raises(SearchError, match=r"copy: not as a search writes it \(KeyError: 'energy_pj'\)"):
        compare_runs([first, copy])


def test_the_command_prints_means_and_writes_table_and_plot(runs, tmp_path, capsys):
    directories = list(map(str, runs))
    output = tmp_path / "compared"
    assert main(["compare", *directories, "-o", str(output)]) == 0
    shown = capsys.readouterr().out
    comparison = compare_runs(directories)
    mean = comparison.saved(PROPOSED, "energy_pj")
    assert f"{100 * mean.mean:.2f} [{100 * mean.low:.2f}, {100 * mean.high:.2f}]" in shown
    assert "3 runs (seeds 3, 5, 8) of 40 evaluations" in shown
    assert "energy saved, %" in shown
    assert "latency saved, %" in shown
    rows = list(csv.DictReader((output / "compare.csv").read_text().splitlines()))
    assert [(int(row["seed"]), row["search"]) for row in rows] == [
        (seed, name) for seed in (3, 5, 8) for name in comparison.searches
    ]
    assert float(rows[0]["saved:energy_pj"]) == comparison.outcomes[0].saved["energy_pj"]
    written = json.loads((output / "compare.json").read_text())
    assert written["means"][0]["saved"]["energy_pj"] == {"mean": mean.mean, "low": mean.low, "high": mean.high}
    assert (output / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", *directories, "-o", str(output)]) == 1
    assert "compare.json exists already" in capsys.readouterr().err
    assert main(["compare", *directories, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["against"] == "uniform-8"
