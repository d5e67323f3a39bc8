"""Accuracies measured by a real Dask cluster of several processes: the same front, also when workers are lost."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantloom.errors import DataError, SearchError
from quantloom.joint_search.cluster import DaskCluster
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.executors import Ready, Task
from quantloom.joint_search.promotion import TrainedRung
from quantloom.joint_search.run import run_search
from quantloom.testing.toy_search import ToySensitivity, toy_inputs, toy_network
from quantloom.workload.network import BitAssignment
from worker_evaluators import Dying, Failing, Maker, TrainerMaker

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=30, population=10, seeds=6)
RESULTS = ("front.json", "front.csv", "mappings.json")
TESTS = str(Path(__file__).parents[1])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler and three workers, as `dask scheduler` and `dask worker` start them on any number of machines."""
    folder = tmp_path_factory.mktemp("cluster")
    path = os.pathsep.join([*(p for p in sys.path if p), TESTS])
    environment = {**os.environ, "PYTHONPATH": path}
    log = (folder / "log").open("w")

    def start(*arguments):
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", *arguments]
        if arguments[0] == "worker":
            command[2] = "distributed.cli.dask_worker"
        command = [*command[:3], *arguments[1:]]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)

    file = folder / "scheduler.json"
    options = ("--no-dashboard", "--scheduler-file", str(file))
    # port 0: any that is free, so that two runs of the tests do not meet
    processes = [start("scheduler", *options, "--port", "0", "--host", "127.0.0.1")]
    try:
        deadline = time.monotonic() + 120
        while not file.exists() or '"address"' not in file.read_text():
            assert processes[0].poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        processes += [start("worker", *options, "--nthreads", "1", "--nworkers", "3")]
        yield re.search(r'"address": "(tcp://[^"]*)"', file.read_text())[1]
    finally:
        for process in reversed(processes):
            os.killpg(process.pid, signal.SIGKILL)  # its nannies' children too
            process.wait()
        log.close()


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes most of the time; test_report looks at the picture."""
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))


def results(directory):
    return [(directory / name).read_bytes() for name in RESULTS]


def with_evaluator(evaluator):
    return dataclasses.replace(toy_inputs(4), evaluator=evaluator)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "here"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
        run_search(CONFIG, toy_inputs(4), directory=directory)
    return results(directory)


def test_the_front_is_the_same_from_a_cluster(tmp_path, address, expected):
    inputs = dataclasses.replace(toy_inputs(4), make_evaluator=Maker("ToyEvaluator"))
    run_search(CONFIG, inputs, directory=tmp_path / "run", cluster=address)
    assert results(tmp_path / "run") == expected
    assert inputs.evaluator.asked == []


def test_the_work_of_a_worker_lost_in_mid_training_is_done_elsewhere(tmp_path, address, expected):
    evaluator = Dying(ToySensitivity(toy_network(4)), folder=tmp_path, deaths=2)
    run_search(CONFIG, with_evaluator(evaluator), directory=tmp_path / "run", cluster=address)
    assert len(list(tmp_path.glob("death-*"))) == 2
    assert results(tmp_path / "run") == expected


def test_a_candidate_at_which_workers_die_again_and_again_is_named(tmp_path, address):
    bad = BitAssignment(weights=(5, 5, 5, 5), groups=(8, 5, 5, 5, 8))
    evaluator = Dying(ToySensitivity(toy_network(4)), folder=tmp_path, deaths=99, at=bad)
    cluster = DaskCluster(Ready(evaluator), address)  # bad alone, as Dask suspects all that a lost worker had queued
    with pytest.raises(SearchError, match=r"died again and again .* the candidate with weights of 5 5 5 5 bits"):
        list(cluster.run([Task(split="validation", assignment=bad)]))
    cluster.close()


def test_what_the_evaluator_raises_there_is_raised_here(address):
    with pytest.raises(DataError, match="the images are gone\n  hint: bring them back"):
        run_search(CONFIG, with_evaluator(Failing(None)), cluster=address)


def test_workers_with_another_quantloom_are_refused(address, monkeypatch):
    monkeypatch.setattr("quantloom.joint_search.cluster.python_code", lambda: "another")
    cluster = DaskCluster(Ready(toy_inputs(4).evaluator), address)
    with pytest.raises(SearchError, match="a worker of the cluster runs another version of quantloom"):
        list(cluster.run([Task(split="test", assignment=None)]))
    cluster.close()


def test_a_cluster_without_dask_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)  # as if it were not installed
    with pytest.raises(SearchError, match=r'needs Dask, which is not installed\n  hint: pip install "quantloom\[distr'):
        DaskCluster(Ready(toy_inputs(4).evaluator), "tcp://127.0.0.1:1")


@pytest.mark.parametrize(("stalls", "answered"), [(2, True), (9, False)])
def test_a_machine_too_busy_for_the_thread_of_dask_to_begin_tries_again(address, stalls, answered, monkeypatch):
    import distributed

    class Stalled(distributed.Client):
        left = stalls

        def start(self, **options):
            if Stalled.left:
                Stalled.left -= 1
                raise AssertionError  # as distributed.utils.LoopRunner does
            super().start(**options)

    monkeypatch.setattr(distributed, "Client", Stalled)
    evaluator = toy_inputs(4).evaluator
    cluster = DaskCluster(Ready(evaluator), address)
    task = Task(split="validation", assignment=BitAssignment.uniform(toy_network(4), 8))
    try:
        if answered:
            (outcome,) = cluster.run([task])
            assert outcome.accuracy == evaluator.accuracy(task.assignment)
        else:
            with pytest.raises(SearchError, match="this machine is too busy for Dask's own thread to begin"):
                next(cluster.run([task]))
    finally:
        cluster.close()


@pytest.mark.parametrize("nobody", ["tcp://127.0.0.1:1", "nonsense"])
def test_an_address_where_nobody_answers_is_an_error(nobody, monkeypatch):
    monkeypatch.setattr("quantloom.joint_search.cluster._CONNECT_S", 1)
    cluster = DaskCluster(Ready(toy_inputs(4).evaluator), nobody)
    with pytest.raises(SearchError, match="no Dask scheduler answers at"):
        list(cluster.run([Task(split="test", assignment=None)]))
    cluster.close()


def test_a_worker_lost_while_it_trains_changes_nothing(address, tmp_path):
    config = dataclasses.replace(CONFIG, promote=5)
    local = TrainedRung(name="toy", here=TrainerMaker(tmp_path))
    remote = TrainedRung(name="toy", here=TrainerMaker(tmp_path), elsewhere=TrainerMaker(tmp_path, deaths=2))
    run_search(config, dataclasses.replace(toy_inputs(4), trained=local), directory=tmp_path / "local")
    inputs = dataclasses.replace(toy_inputs(4), trained=remote)
    run_search(config, inputs, directory=tmp_path / "remote", cluster=address)
    assert len(list(tmp_path.glob("death-*"))) == 2
    assert results(tmp_path / "remote") == results(tmp_path / "local")
