"""Some random inputs at every border, and what longer runs of `python -m tests.fuzz.run` have found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from quantloom.errors import SearchError
from quantloom.joint_search.journal import JOURNAL, MANIFEST, read_manifest
from quantloom.joint_search.run_report import write_report, write_run_figures

from .binary_borders import BORDERS
from .borders import finished_run, outcome, run_with

CASES = {"arch": 40, "command": 12, "timeloop": 30}
ERRORS = (
    *("SpecError", "SearchError", "WorkloadError", "MappingError", "InfeasibleError"),
    *("DataError", "QuantError", "StoreError"),
)
DEEP = "[" * 100_000
LINE = '{"split": "validation", "accuracy": 0.5, "weights": [8, 8, 8], "groups": [8, 8, 8, 8]'


@pytest.mark.parametrize("name", BORDERS)
def test_random_inputs_give_results_or_located_errors(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    border, rng = BORDERS[name], Random(1)
    seeds = border.seeds()
    assert {outcome(border, text) for text in seeds} == {"read"}
    outcomes = {outcome(border, border.change(rng.choice(seeds), rng, seeds)) for _ in range(CASES.get(name, 60))}
    assert outcomes <= {*ERRORS, "read"}


def test_deeply_nested_json_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SearchError, match=r"run does not hold a run: manifest.json cannot be read"):
        read_manifest(run_with(MANIFEST, DEEP))
    assert outcome(BORDERS["journal"], DEEP + "\n") == "SearchError"
    with pytest.raises(SearchError, match=r"front.json cannot be read"):
        write_report(run_with("front.json", DEEP))


@pytest.mark.parametrize("depth", [100, 800, 900, 950, 2000])
def test_nesting_that_can_just_be_read_is_refused_at_the_latest_where_it_is_written(
    depth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nested = finished_run()["front.json"].replace('"points": [', f'"x": {"[" * depth}{"]" * depth}, "points": [')
    assert outcome(BORDERS["front"], nested) in ("read", "SearchError")


@pytest.mark.parametrize("line", [LINE + "}", LINE + ', "energy_pj": 1}'])
def test_a_page_of_a_journal_without_costs_names_the_journal(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SearchError, match=r"evaluations.jsonl: not as a search writes it"):
        write_report(run_with(JOURNAL, line + "\n"))


def test_a_truth_is_no_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert json.loads(LINE + "}")["accuracy"] == 0.5
    assert outcome(BORDERS["journal"], LINE.replace("0.5", "true") + "}\n") == "SearchError"


@pytest.mark.parametrize("border", ["journal", "journal-report"])
def test_a_number_that_no_float_holds_is_located(border: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert outcome(BORDERS[border], LINE + f', "energy_pj": {"1" * 400}}}\n') == "SearchError"


@pytest.mark.parametrize(
    ("write", "name", "old", "new", "where"),
    [
        (write_report, "front.json", '"accuracy_test": 0', '"accuracy_test": NaN, "x": 0', "run/front.json"),
        (write_report, "front.json", '"accuracy_test": 0', '"accuracy_test": 1e999, "x": 0', "run/front.json"),
        (write_report, "manifest.json", '"network": "', '"network": "\\ud800', "run/manifest.json"),
        (write_report, "mappings.json", '"mapping": [', '"other": [', "run/mappings.json"),
        (write_report, "mappings.json", '"energy_pj": ', '"energy_pj": 1e999, "x": ', "run/mappings.json"),
        (write_report, JOURNAL, '"energy_pj": ', '"energy_pj": 1e999, "x": ', "run/evaluations.jsonl"),
        (
            lambda folder: write_run_figures(folder, "svg"),
            *("front.json", '"objectives": [', '"objectives": 3, "x": [', "run"),
        ),
    ],
)
def test_a_page_and_plots_of_odd_values_name_the_file_or_the_run(
    write: Callable[[Path], object],
    name: str,
    old: str,
    new: str,
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert old in finished_run()[name]
    folder = run_with(name, finished_run()[name].replace(old, new))
    with pytest.raises(SearchError, match=f"^{where}: not as a search writes it"):
        write(folder)
    assert not list(folder.glob(".*"))
    assert not (folder / "report.html").exists()
