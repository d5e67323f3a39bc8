"""What the report of a run holds: the numbers of its files, escaped, small enough, and what an unfinished run knows."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantloom.errors import SearchError
from quantloom.joint_search import run_report
from quantloom.joint_search.journal import JOURNAL
from quantloom.joint_search.run import run_search
from quantloom.joint_search.run_report import read_run, write_report, write_run_figures
from quantloom.report.page import embedded_json
from report_runs import CONFIG, HOSTILE, finished_run, inputs, stopped_run


@pytest.fixture(scope="module", autouse=True)
def no_picture() -> Any:
    """Drawing takes most of the time; test_report looks at the picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "finished", name="$x_{$")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stopped_run(tmp_path_factory.mktemp("runs") / "stopped")


def data_of(page: str) -> Any:
    """The data that a page embeds."""
    start = '<script type="application/json" id="data">'
    assert page.count(start) == 1
    return json.loads(page.split(start)[1].split("</script>")[0])


def test_a_search_writes_its_report_and_the_page_holds_the_numbers_of_the_run(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    found, front = data_of(page), json.loads((finished / "front.json").read_text())
    assert found["status"] == "finished"
    for ours, theirs in zip(
        [*found["points"], *found["baselines"]], [*front["points"], *front["baselines"]], strict=True
    ):
        assert ours["label"] == theirs["label"]
        assert ours["energy_pj"] == theirs["energy_pj"]
        assert ours["accuracy_test"] == theirs["accuracy_test"]
        assert [layer[0] for layer in ours["layers"]] == [layer["weight_bits"] for layer in theirs["layers"]]
        assert ours["activations"] == list(theirs["activation_bits"].values())
    assert [share for _, share in found["hypervolume"]] == front["hypervolume_share"]
    assert len(found["candidates"]) == front["evaluations"] == 40
    assert found["manifest"]["config"]["seed"] == 0
    assert found["energy_sources"][0]["component"] == "DRAM"


def test_the_parts_of_a_layer_add_up_to_its_energy_and_cycles(finished: Path) -> None:
    found = read_run(finished)
    for point in [*found["points"], *found["baselines"]]:
        for *_, energy_pj, cycles, index in point["layers"]:
            cost = found["mappings"][index]["cost"]
            parts = [cost["arithmetic_energy_pj"], cost["arithmetic_leak_energy_pj"]]
            for level in cost["levels"]:
                parts += [level["network_energy_pj"], level["leak_energy_pj"]]
                parts += [tensor["energy_pj"] for tensor in level["tensors"].values()]
            assert sum(parts) == pytest.approx(energy_pj, rel=1e-12)
            assert cost["latency_cycles"] == cycles
            slowest = max(cost["compute_cycles"], *(level["latency_cycles"] for level in cost["levels"]))
            assert slowest == cycles


def test_mappings_of_equal_layers_are_held_once(finished: Path) -> None:
    details = [json.dumps(detail) for detail in read_run(finished)["mappings"]]
    assert len(set(details)) == len(details)


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    page = write_report(finished_run(tmp_path / "run", name=HOSTILE)).read_text()
    assert "<img src=x" not in page
    assert page.count("</script>") == 2
    assert "\u2028" not in page.split("<script")[1]
    found = data_of(page)
    assert found["network"] == HOSTILE
    assert found["layers"][0] == f"{HOSTILE} layer0"
    assert "&lt;/script&gt;&lt;img" in page.split("</title>")[0]


def test_the_page_asks_for_nothing_from_anywhere(finished: Path) -> None:
    page = (finished / "report.html").read_text().replace("http://www.w3.org/2000/svg", "")
    frame = page.split('id="data">')[0] + page.split("</script>")[1]
    assert "default-src 'none'" in frame
    for word in ("http:", "https:", "//cdn", "url(", "@import", "fetch(", "XMLHttpRequest", "innerHTML", "eval("):
        assert word not in frame, word


def test_an_unfinished_run_says_so_and_shows_the_best_so_far(stopped: Path) -> None:
    found = data_of(write_report(stopped).read_text())
    assert found["status"] == "unfinished"
    assert (found["evaluations"], found["planned_evaluations"]) == (20, 40)
    assert [b["label"] for b in found["baselines"]] == [f"uniform-{b}" for b in (2, 3, 4, 5, 8)]
    assert found["float_accuracy_validation"] == 0.95
    energy = np.array([row[1 + found["candidate_costs"].index("energy_pj")] for row in found["candidates"]])
    accuracy = np.array([row[0] for row in found["candidates"]])
    for point in found["points"]:
        is_better = (energy <= point["energy_pj"]) & (accuracy >= point["accuracy_validation"])
        is_equal = (energy == point["energy_pj"]) & (accuracy == point["accuracy_validation"])
        assert (is_better == is_equal).all()
        assert point["accuracy_test"] is None
    shares = [share for _, share in found["hypervolume"]]
    assert [at for at, _ in found["hypervolume"]] == list(range(1, 21))
    assert shares == sorted(shares)
    assert shares[-1] > 0


def test_the_last_share_so_far_is_that_of_the_finished_run_at_its_end(finished: Path, tmp_path: Path) -> None:
    """The trace of an unfinished run is of the same box as that of a finished one."""
    shutil.copytree(finished, tmp_path / "run")
    manifest = json.loads((finished / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, "status": "unfinished"}))
    assert read_run(tmp_path / "run")["hypervolume"][-1][1] == pytest.approx(read_run(finished)["hypervolume"][-1][1])


@pytest.mark.parametrize("status", ["finished", "unfinished"])
def test_what_other_searches_measured_is_not_the_run_s_own(tmp_path: Path, status: str) -> None:
    run_search(dataclasses.replace(CONFIG, compare=("random",)), inputs(), directory=tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "status": status}))
    lines = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    assert sum(line["split"] == "validation" and "weights" in line for line in lines) > CONFIG.evaluations
    found, front = read_run(tmp_path), json.loads((tmp_path / "front.json").read_text())
    assert found["evaluations"] == len(found["candidates"]) == front["evaluations"] == CONFIG.evaluations
    assert [p["energy_pj"] for p in found["points"]] == [p["energy_pj"] for p in front["points"]]


def test_a_run_that_has_measured_nothing_yet_gives_a_page(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    (tmp_path / "run" / JOURNAL).write_bytes(b'{"split": "valid')
    found = data_of(write_report(tmp_path / "run").read_text())
    assert (found["evaluations"], found["points"], found["hypervolume"]) == (0, [], [])
    assert (tmp_path / "run" / JOURNAL).read_bytes() == b'{"split": "valid'  # not ours to repair


def test_a_page_that_would_be_too_large_leaves_out_mappings_first_and_says_so(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = len(run_report._fitting_page(read_run(finished)))
    monkeypatch.setattr(run_report, "MAX_PAGE_BYTES", whole - 1)
    found = data_of(run_report._fitting_page(read_run(finished)))
    every = found["mappings_of_every"]
    assert every > 1
    assert len(found["points"]) == found["points_in_all"]
    drawn = [all(layer[-1] >= 0 for layer in point["layers"]) for point in found["points"]]
    assert drawn == [i % every == 0 for i in range(len(drawn))]
    assert all(layer[-1] >= 0 for point in found["baselines"] for layer in point["layers"])
    monkeypatch.setattr(run_report, "MAX_PAGE_BYTES", 1)
    found = data_of(run_report._fitting_page(read_run(finished)))
    assert len(found["points"]) == 1 < found["points_in_all"]
    thinned = run_report._thinned(read_run(finished), 1, 2)
    assert [p["label"] for p in thinned["points"]] == [p["label"] for p in read_run(finished)["points"][::2]]
    assert (thinned["points_every"], thinned["points_in_all"]) == (2, len(read_run(finished)["points"]))


def test_a_directory_without_a_run_and_damaged_files_are_located(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(SearchError, match=r"does not hold a run: manifest\.json cannot be read"):
        write_report(tmp_path)
    for name, text, expected in (
        ("front.json", "{", r"front\.json cannot be read"),
        ("front.json", '{"schema_version": 7}', r"front\.json is not of schema_version 1"),
        ("front.json", '{"schema_version": 1}', r"front\.json: not as a search writes it \(KeyError"),
        ("mappings.json", '{"schema_version": 1, "mappings": 3}', "not as a search writes it"),
        (JOURNAL, "[]\n", r"evaluations\.jsonl:1: not an evaluation"),
    ):
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(finished, directory)
        (directory / name).write_text(text)
        before = (directory / "report.html").read_bytes()
        with pytest.raises(SearchError, match=expected):
            write_report(directory)
        assert (directory / "report.html").read_bytes() == before


def test_embedded_json_has_no_character_that_markup_starts_with() -> None:
    value = {"</script>": ["<!--", "&amp;", "\u2028\u2029", "é"]}
    text = embedded_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="Out of range"):
        embedded_json(float("nan"))


@pytest.mark.parametrize(("form", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF-")])
def test_the_plots_are_drawn_for_papers(finished: Path, tmp_path: Path, form: str, head: bytes) -> None:
    shutil.copytree(finished, tmp_path / "run")
    written = write_run_figures(tmp_path / "run", form, label="uniform-4")
    names = ("front", "bits", "energy_by_level", "energy_by_layer", "latency", "hypervolume")
    assert [path.name for path in written] == [f"{name}.{form}" for name in names]
    before = [path.read_bytes() for path in written]
    for content in before:
        assert content.startswith(head)
        assert b"<dc:date>" not in content
        assert b"/CreationDate" not in content
    write_run_figures(tmp_path / "run", form, label="uniform-4")
    assert [path.read_bytes() for path in written] == before
    with pytest.raises(SearchError, match="has no point 'front-99'"):
        write_run_figures(tmp_path / "run", form, label="front-99")


def test_an_unfinished_run_has_the_plots_that_it_can_have(stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(stopped, tmp_path / "run")
    assert [path.stem for path in write_run_figures(tmp_path / "run", "svg")] == ["front", "bits", "hypervolume"]
