"""Accuracies measured by other processes: the same front, whatever happens to them, and nothing left behind."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import quantloom as ql
from quantloom.errors import DataError, SearchError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.executors import Task
from quantloom.joint_search.journal import JOURNAL
from quantloom.joint_search.run import run_search
from quantloom.joint_search.workers import LocalWorkers
from quantloom.testing.toy_search import ToySensitivity, toy_inputs, toy_network
from quantloom.workload.network import BitAssignment
from worker_evaluators import Dying, Failing, Maker, dead_on_arrival

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=40, population=10, seeds=6)
RESULTS = ("front.json", "front.csv", "mappings.json")


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes most of the time; test_report looks at the picture."""
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What a search in this process gives."""
    directory = tmp_path_factory.mktemp("runs") / "here"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
        run_search(CONFIG, toy_inputs(4), directory=directory)
    return results(directory)


def results(directory):
    return [(directory / name).read_bytes() for name in RESULTS]


def with_evaluator(evaluator):
    return dataclasses.replace(toy_inputs(4), evaluator=evaluator)


def test_workers_that_have_nothing_to_do_end_by_themselves_and_clean_up_behind_them(monkeypatch):
    monkeypatch.setattr("quantloom.joint_search.workers._ENDING_S", 60.0)
    workers = LocalWorkers(Maker("ToyEvaluator"), 2)
    tasks = [Task(split="validation", assignment=BitAssignment.uniform(toy_network(4), bits)) for bits in (2, 3, 4, 5)]
    assert len(list(workers.run(tasks))) == 4
    waiting = [worker.process for worker in workers._workers if worker.is_waiting]  # another one may be starting yet
    assert waiting
    workers.close()
    assert {process.exitcode for process in waiting} == {0}


def test_the_front_is_the_same_with_any_number_of_workers(tmp_path, expected):
    inputs = dataclasses.replace(toy_inputs(4), make_evaluator=Maker("ToyEvaluator"))
    run_search(CONFIG, inputs, directory=tmp_path / "run", workers=3)
    assert results(tmp_path / "run") == expected
    assert inputs.evaluator.asked == []  # nothing was measured here
    # lines come in the order in which they were measured; each stands there once
    whole = (tmp_path / "run" / JOURNAL).read_text().splitlines()
    assert len(whole) == len({line.split('"energy_pj"')[0] for line in whole})
    # a finished run is resumed without a worker
    run_search(CONFIG, with_evaluator(Failing(None)), directory=tmp_path / "run", workers=2, resume=True)
    assert results(tmp_path / "run") == expected


def test_the_work_of_a_worker_that_dies_is_done_elsewhere(tmp_path, expected):
    evaluator = Dying(ToySensitivity(toy_network(4)), folder=tmp_path, deaths=2)
    run_search(CONFIG, with_evaluator(evaluator), directory=tmp_path / "run", workers=2)
    assert len(list(tmp_path.glob("death-*"))) == 2
    assert results(tmp_path / "run") == expected


def test_a_candidate_at_which_workers_die_again_and_again_is_named(tmp_path):
    bad = BitAssignment(weights=(5, 5, 5, 5), groups=(8, 5, 5, 5, 8))
    evaluator = Dying(ToySensitivity(toy_network(4)), folder=tmp_path, deaths=99, at=bad)
    with pytest.raises(
        SearchError,
        match=r"3 workers died one after the other \(killed by SIGKILL\) while they measured the candidate with"
        r" weights of 5 5 5 5 bits and activations of 8 5 5 5 8 bits, on the validation split\n  hint: what was",
    ):
        run_search(CONFIG, with_evaluator(evaluator), directory=tmp_path / "run", workers=2)
    assert (tmp_path / "run" / JOURNAL).read_text().count("\n") >= 1


def test_what_the_evaluator_raises_in_a_worker_is_raised_here(tmp_path):
    with pytest.raises(DataError, match="the images are gone\n  hint: bring them back"):
        run_search(CONFIG, with_evaluator(Failing(None)), workers=2)


def test_workers_that_cannot_start_are_an_error():
    workers = LocalWorkers(dead_on_arrival, 2)
    with pytest.raises(SearchError, match=r"3 workers ended while they started \(exit code 7\)(.|\n)*__main__"):
        list(workers.run([Task(split="test", assignment=None)]))
    workers.close()


@pytest.mark.parametrize("workers", [0, -1])
def test_a_search_by_nobody_is_refused_before_anything_is_read(workers):
    with pytest.raises(SearchError, match=f"workers must be at least 1, got {workers}"):
        ql.search(SearchConfig(model="nowhere.yaml", arch="nowhere.yaml"), workers=workers)


SEARCH = """
import dataclasses, sys
from pathlib import Path
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.run import run_search
from quantloom.testing.toy_search import ToyEvaluatorMaker, toy_inputs
from worker_evaluators import Maker

if __name__ == "__main__":
    inputs = dataclasses.replace(toy_inputs(4), make_evaluator=ToyEvaluatorMaker(4, pause_s=0.05))
    config = SearchConfig(model="toy", arch="toy", evaluations=40, population=10, seeds=6)
    run_search(config, inputs, directory=Path(sys.argv[1]), workers=2)
"""


def processes_below(pid: int) -> list[int]:
    """Processes that this one started, by /proc."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def blocks_sigint(pid: int) -> bool:
    blocked = Path(f"/proc/{pid}/status").read_text().partition("SigBlk:")[2].split()[0]
    return bool(int(blocked, 16) >> (signal.SIGINT - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_search_that_is_ended_leaves_no_process_and_can_go_on(tmp_path, expected, how):
    script = tmp_path / "search.py"
    script.write_text(SEARCH)
    directory = tmp_path / "run"
    path = os.pathsep.join([*(p for p in sys.path if p), str(Path(__file__).parents[1])])
    process = subprocess.Popen(
        [sys.executable, str(script), str(directory)],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (directory / JOURNAL).exists() or (directory / JOURNAL).read_bytes().count(b"\n") < 8:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = processes_below(process.pid)
    workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert [blocks_sigint(pid) for pid in workers] == [True, True]  # the first too, and from its birth
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as the terminal does: all processes get it
    else:
        process.kill()
    said = process.communicate(timeout=60)[1]
    assert said.count("Traceback") == (how == signal.SIGINT)  # of this process, none of the workers
    while any(map(is_alive, children)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not (directory / "front.json").exists()
    run_search(CONFIG, toy_inputs(4), directory=directory, resume=True)
    assert results(directory) == expected
