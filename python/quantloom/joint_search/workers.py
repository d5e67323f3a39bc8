"""Accuracies measured by several processes of this machine; one that dies is replaced and its work done again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from typing import Any, Final

from quantloom.errors import SearchError
from quantloom.joint_search.executors import EvaluatorMaker, Outcome, Task, answer

__all__ = ["LocalWorkers"]

_MAX_DEATHS: Final = 3
_ENDING_S: Final = 2.0  # that a process without work has to end by itself
"""So often may workers die at one candidate, or while they start, before the search gives up."""

_SPAWN: Final = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in whatever state they are


@dataclass(slots=True)
class _Worker:
    """A process, our end of its pipe, and what it does: None before it is ready, -1 when it waits, else a task."""

    process: BaseProcess
    pipe: Connection[Any, Any]
    doing: int | None = None

    @property
    def is_waiting(self) -> bool:
        return self.doing == -1


class LocalWorkers:
    """Processes that are started when there is something to measure, and stay until close().

    make_evaluator: called once in each of them. count: of processes at most. They end when this process does, however
    it ends.
    """

    def __init__(self, make_evaluator: EvaluatorMaker, count: int) -> None:
        self._make_evaluator = make_evaluator
        self._count = count
        self._workers: list[_Worker] = []

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Give the outcomes in the order in which they come in.

        Raises what the evaluator raised; SearchError where workers die three times at the same task, or while they
        start.
        """
        queue, deaths, early_deaths = deque(range(len(tasks))), Counter[int](), 0
        left = len(tasks)
        while left:
            while len(self._workers) < min(self._count, left):
                self._workers.append(self._start())
            for worker in self._workers:
                if worker.is_waiting and queue:
                    self._give(worker, queue.popleft(), tasks)
            ready = wait([*(w.pipe for w in self._workers), *(w.process.sentinel for w in self._workers)])
            for worker in [w for w in self._workers if w.pipe in ready or w.process.sentinel in ready]:
                message = _receive(worker)
                if message is None:
                    self._workers.remove(worker)
                    how = _ending(worker.process)
                    if worker.doing is None:
                        early_deaths += 1
                        _check_start(early_deaths, how)
                    elif not worker.is_waiting:
                        queue.appendleft(worker.doing)
                        deaths[worker.doing] += 1
                        _check_task(deaths[worker.doing], tasks[worker.doing], how)
                    continue
                kind, value = message
                if kind == "raised":
                    raise value
                doing, worker.doing = worker.doing, -1
                if kind == "measured":
                    assert doing is not None, "an outcome of a worker that was not ready"
                    left -= 1
                    yield Outcome(position=doing, accuracy=value[0], wall_s=value[1])
                else:
                    early_deaths = 0

    def close(self) -> None:
        """End the processes; what they were doing is given up."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            if worker.is_waiting:  # ends by itself, and gives back what it holds, as semaphores of libraries
                worker.process.join(_ENDING_S)
            worker.process.kill()
            worker.process.join()
        self._workers = []

    def _start(self) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_work, args=(theirs, self._make_evaluator), daemon=True)
        # A new process inherits that SIGINT is blocked: Ctrl-C, which the terminal sends to all, is for this one. The
        # tracker, which the first start would begin with, unblocks it once it runs.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return _Worker(process, ours)

    def _give(self, worker: _Worker, position: int, tasks: Sequence[Task]) -> None:
        worker.doing = position
        with contextlib.suppress(OSError):  # dead already: its sentinel says so at once
            worker.pipe.send(tasks[position])


def _receive(worker: _Worker) -> tuple[str, Any] | None:  # Any: what came through the pipe
    """The next message of a worker that has one or is dead; None if it is dead and left none."""
    try:
        if worker.pipe.poll():
            message: tuple[str, Any] = worker.pipe.recv()
            return message
    except (EOFError, OSError):
        pass
    worker.process.kill()  # its pipe is closed, so it is of no more use
    worker.process.join()
    worker.pipe.close()
    return None


def _work(pipe: Connection[Any, Any], make_evaluator: EvaluatorMaker) -> None:
    """The life of a worker."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        evaluator = make_evaluator()
        pipe.send(("ready", None))
        while True:
            task = pipe.recv()
            pipe.send(("measured", answer(evaluator, task)))
    except (EOFError, BrokenPipeError):
        return
    except BaseException as error:  # all of it is for the process that waits
        with contextlib.suppress(OSError):
            pipe.send(("raised", _portable(error)))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _portable(error: BaseException) -> BaseException:
    """The error itself if it survives the way to another process, else one with its text."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return SearchError(f"a worker failed: {type(error).__name__}: {error}")
    return error


def _ending(process: BaseProcess) -> str:
    code = process.exitcode
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _check_start(deaths: int, how: str) -> None:
    if deaths >= _MAX_DEATHS:
        message = f"{deaths} workers ended while they started ({how})"
        raise SearchError(
            message,
            hint="a script needs `if __name__ == '__main__':` around what it does, as workers import it; each worker"
            " holds the network and the data, so memory may be short: take fewer workers",
        )


def _check_task(deaths: int, task: Task, how: str) -> None:
    if deaths >= _MAX_DEATHS:
        message = f"{deaths} workers died one after the other ({how}) while they measured {task}"
        raise SearchError(
            message,
            hint="what was measured is kept; resume with fewer workers if memory is short, or with one to see it fail",
        )
