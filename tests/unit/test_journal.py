"""The run directory: nothing measured is lost, nothing is overwritten, resuming gives the same result."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantloom.errors import SearchError
from quantloom.joint_search import journal
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.journal import JOURNAL, MANIFEST, RUN_FILES, Evaluation, RunDirectory, put_in_place
from quantloom.joint_search.run import run_search
from quantloom.spec.mapping import parse_mapping
from quantloom.testing.toy_search import ToyEvaluator, toy_inputs
from quantloom.workload.network import BitAssignment

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=40, population=10, seeds=6)
RESULTS = ("front.json", "front.csv", "mappings.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    run_search(CONFIG, toy_inputs(4), directory=directory, command=["quantloom", "search"])
    return directory


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes most of the time; test_report looks at the picture."""
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))


def interrupted(finished, directory, journal_bytes):
    """A directory as a run leaves it that was killed when this much of its journal was on disk."""
    directory.mkdir()
    shutil.copy(finished / MANIFEST, directory)
    (directory / JOURNAL).write_bytes(journal_bytes)
    return directory


def results(directory):
    return [(directory / name).read_bytes() for name in RESULTS]


def test_a_run_leaves_all_its_files_and_no_others(finished):
    assert {path.name for path in finished.iterdir()} == set(RUN_FILES)
    manifest = json.loads((finished / MANIFEST).read_text())
    assert manifest["status"] == "finished"
    assert manifest["schema_version"] == 1
    assert manifest["config"]["seed"] == 0
    assert manifest["energy_sources"][-1]["action"] == "mac"
    assert manifest["inputs"] == {"arch": "0" * 64}
    (session,) = manifest["sessions"]
    assert session["command"] == ["quantloom", "search"]
    assert session["wall_s"] > 0
    assert {"python", "quantloom", "numpy", "torch", "pymoo"} <= session["versions"].keys()


def test_every_measurement_is_a_line_with_its_costs(finished):
    lines = [json.loads(line) for line in (finished / JOURNAL).read_text().splitlines()]
    validation = [line for line in lines if line["split"] == "validation" and "weights" in line]
    assert len(validation) == CONFIG.evaluations
    assert all(line["energy_pj"] > 0 and line["latency_cycles"] > 0 and line["wall_s"] >= 0 for line in validation)
    assert sum("weights" not in line for line in lines) == 2  # not quantized, on both splits


@pytest.mark.parametrize("share", [0.0, 0.013, 0.1, 0.37, 0.5, 0.731, 0.9, 0.999, 1.0])
def test_a_run_killed_at_any_byte_resumes_to_the_same_result(finished, tmp_path, share):
    whole = (finished / JOURNAL).read_bytes()
    kept = whole[: round(share * len(whole))]
    directory = interrupted(finished, tmp_path / "cut", kept)
    inputs = toy_inputs(4)
    run_search(CONFIG, inputs, directory=directory, resume=True)
    assert results(directory) == results(finished)
    measured_before = sum(b'"weights"' in line for line in kept.split(b"\n")[:-1])
    assert len(inputs.evaluator.asked) == whole.count(b'"weights"') - measured_before
    assert (directory / JOURNAL).read_bytes().count(b"\n") == whole.count(b"\n")


def test_a_line_cut_at_each_of_its_bytes_is_dropped(finished, tmp_path):
    lines = (finished / JOURNAL).read_bytes().splitlines(keepends=True)
    directory = interrupted(finished, tmp_path / "cut", b"")
    start = b"".join(lines[:3])
    for end in (*range(0, len(lines[3]), 4), len(lines[3]) - 1, len(lines[3])):
        (directory / JOURNAL).write_bytes(start + lines[3][:end])
        with RunDirectory.resume(directory, {}, {}) as run:
            assert len(run.evaluations) == 3 + (end == len(lines[3]))
        expected = start + (lines[3] if end == len(lines[3]) else b"")
        assert (directory / JOURNAL).read_bytes() == expected


def test_a_process_killed_without_warning_loses_nothing(finished, tmp_path):
    directory = tmp_path / "killed"
    program = f"""
import dataclasses, pathlib
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.run import run_search
from quantloom.testing.toy_search import ToyEvaluator, toy_inputs

inputs = toy_inputs(4)
inputs = dataclasses.replace(inputs, evaluator=ToyEvaluator(inputs.sensitivity, pause_s=0.05))
config = SearchConfig(model="toy", arch="toy", evaluations=40, population=10, seeds=6)
run_search(config, inputs, directory=pathlib.Path({str(directory)!r}))
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if (directory / JOURNAL).exists() and (directory / JOURNAL).read_bytes().count(b"\n") >= 12:
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert (directory / JOURNAL).read_bytes().count(b"\n") >= 12
    assert not (directory / "front.json").exists()
    assert json.loads((directory / MANIFEST).read_text())["status"] == "unfinished"
    run_search(CONFIG, toy_inputs(4), directory=directory, resume=True)
    assert results(directory) == results(finished)
    manifest = json.loads((directory / MANIFEST).read_text())
    assert manifest["sessions"][1]["evaluations_before"] >= 12


def test_a_directory_that_holds_a_run_is_left_alone(finished):
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    inputs = toy_inputs(4)
    with pytest.raises(SearchError, match=r"already holds a run(.|\n)*--resume"):
        run_search(CONFIG, inputs, directory=finished)
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before
    assert not inputs.evaluator.asked


def test_other_files_in_the_directory_are_no_obstacle(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    run_search(CONFIG, toy_inputs(4), directory=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("where", ["file/run", "file"])
def test_a_directory_that_cannot_be_made_is_refused_before_any_work(tmp_path, where):
    (tmp_path / "file").write_text("in the way")
    inputs = toy_inputs(4)
    with pytest.raises(SearchError, match="cannot write"):
        run_search(CONFIG, inputs, directory=tmp_path / where)
    assert not inputs.evaluator.asked
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_directory_without_write_permission_is_refused_before_any_work(tmp_path, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied")  # as for a user who is not root

    monkeypatch.setattr(journal, "_open_locked", refuse)
    inputs = toy_inputs(4)
    with pytest.raises(SearchError, match=r"cannot write .*: Permission denied"):
        run_search(CONFIG, inputs, directory=tmp_path)
    assert not inputs.evaluator.asked
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_files_whole_or_absent(tmp_path):
    with RunDirectory.create(tmp_path, {}, {}) as run:

        def fill(path):
            path.write_text("half a fi")
            raise OSError(28, "No space left on device")

        with pytest.raises(SearchError, match=r"front\.json: No space left"):
            run.write("front.json", fill)
    assert {path.name for path in tmp_path.iterdir()} == {MANIFEST, JOURNAL}


def test_a_disk_that_has_become_read_only_is_named(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(SearchError, match=r"front\.json: Read-only file system"):
        put_in_place(tmp_path / "front.json", refuse)


def test_one_process_at_a_time_holds_a_run(tmp_path):
    with RunDirectory.create(tmp_path, {}, {}), pytest.raises(SearchError, match="in use by another process"):
        RunDirectory.resume(tmp_path, {}, {})
    RunDirectory.resume(tmp_path, {}, {}).close()


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(SearchError, match="does not hold a run"):
        run_search(CONFIG, toy_inputs(4), directory=tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "manifest", ["[]", "{}", '{"schema_version": 2, "sessions": []}', '{"schema_version": 1', "\xff"]
)
def test_a_manifest_of_something_else_is_refused(tmp_path, manifest):
    (tmp_path / MANIFEST).write_text(manifest, encoding="latin-1")
    with pytest.raises(SearchError, match=r"manifest\.json"):
        RunDirectory.resume(tmp_path, {}, {})


def test_resuming_with_other_settings_says_which(finished):
    with pytest.raises(SearchError, match=r"another config: evaluations was 40, is 41"):
        run_search(dataclasses.replace(CONFIG, evaluations=41), toy_inputs(4), directory=finished, resume=True)
    inputs = dataclasses.replace(toy_inputs(4), hashes={"arch": "1" * 64})
    with pytest.raises(SearchError, match="another inputs: arch was"):
        run_search(CONFIG, inputs, directory=finished, resume=True)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[1]",
        b"nonsense",
        b"\xff\xfe",
        b'{"split": "validation", "accuracy": 2}',
        b'{"split": "validation", "accuracy": 0.5, "weights": [8]}',
        b'{"split": "validation", "accuracy": 0.5, "weights": [99], "groups": [8]}',
    ],
)
def test_a_damaged_line_inside_the_journal_is_located(finished, tmp_path, line):
    lines = (finished / JOURNAL).read_bytes().splitlines()
    lines[4] = line
    directory = interrupted(finished, tmp_path / "damaged", b"\n".join(lines) + b"\n")
    with pytest.raises(SearchError, match=r"evaluations\.jsonl:5: not an evaluation"):
        run_search(CONFIG, toy_inputs(4), directory=directory, resume=True)
    assert (directory / JOURNAL).read_bytes().splitlines() == lines


def test_an_accuracy_survives_the_journal_exactly():
    assignment = BitAssignment(weights=(2, 8), groups=(3,))
    for accuracy in (1 / 3, 0.1 + 0.2, 1e-17, 0.0, 1.0):
        evaluation = Evaluation(split="test", assignment=assignment, accuracy=accuracy)
        assert Evaluation.from_line(evaluation.to_line()) == evaluation


def test_a_failing_evaluator_leaves_a_run_that_can_go_on(finished, tmp_path):
    inputs = toy_inputs(4)

    class Failing(ToyEvaluator):
        def accuracy(self, assignment):
            if len(self.asked) == 20:
                raise KeyboardInterrupt
            return super().accuracy(assignment)

    with pytest.raises(KeyboardInterrupt):
        run_search(
            CONFIG, dataclasses.replace(inputs, evaluator=Failing(inputs.sensitivity)), directory=tmp_path / "run"
        )
    run_search(CONFIG, toy_inputs(4), directory=tmp_path / "run", resume=True)
    assert results(tmp_path / "run") == results(finished)


def test_mappings_can_be_read_back_as_mapping_files(finished):
    inputs = toy_inputs(4)
    stored = json.loads((finished / "mappings.json").read_text())["mappings"]
    front = json.loads((finished / "front.json").read_text())
    for layer in front["points"][0]["layers"]:
        mapping = stored[layer["mapping"]]
        assert mapping["text"].startswith("[memory: Weights Inputs Outputs]")
        workload = inputs.network[layer["name"]]
        text = json.dumps({key: mapping[key] for key in ("arch", "mapping")})
        assert parse_mapping(text, "stored", inputs.arch, workload).levels
