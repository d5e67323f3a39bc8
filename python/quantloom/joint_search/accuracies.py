"""Accuracies of candidates: from the journal or the store if they have them, else measured and journalled at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy

import numpy as np

from quantloom.errors import SearchError
from quantloom.joint_search.executors import Executor, Task
from quantloom.joint_search.journal import Evaluation, RunDirectory, Split
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import IntArray, SearchProblem
from quantloom.store.database import Record, Store
from quantloom.store.keys import key_of, python_code
from quantloom.workload.network import BitAssignment

__all__ = ["KIND", "Accuracies", "AccuracyStore"]

KIND = "accuracy"


class AccuracyStore:
    """Accuracies in the store. depends_on: hashes and settings of everything but the bits that they depend on."""

    def __init__(self, store: Store, depends_on: Mapping[str, str]) -> None:
        self._store = store
        self._base = key_of({"kind": KIND, "schema": 1, "code": python_code(), "depends_on": dict(depends_on)})
        self._about = {key: value for key, value in depends_on.items() if key in ("evaluator", "model")}

    def get(self, tasks: Sequence[Task]) -> dict[Task, float]:
        """The accuracies that are there."""
        keys = {task: self._key(task) for task in tasks}
        found = self._store.get(list(keys.values()))
        accuracies = {task: found.get(key) for task, key in keys.items()}
        return {task: float(a) for task, a in accuracies.items() if isinstance(a, float | int) and 0 <= a <= 1}

    def put(self, task: Task, accuracy: float) -> None:
        """Keep one."""
        about = {**self._about, "split": task.split, **_bits(task.assignment)}
        self._store.put([Record(key=self._key(task), kind=KIND, code=python_code(), about=about, value=accuracy)])

    def _key(self, task: Task) -> str:
        return key_of([self._base, task.split, _bits(task.assignment)])


class Accuracies:
    """What is known of the candidates of a search. name: of the evaluator, for messages. epochs: that it trains."""

    def __init__(
        self,
        problem: SearchProblem,
        executor: Executor,
        run: RunDirectory | None,
        *,
        name: str,
        store: AccuracyStore | None = None,
        epochs: int = 0,
    ) -> None:
        self._problem = problem
        self._epochs = epochs
        self._executor = executor
        self._run = run
        self._name = name
        self._store = store
        journal = run.evaluations if run is not None else ()
        self._known = {Task(split=e.split, assignment=e.assignment, epochs=e.epochs): e.accuracy for e in journal}
        self.evaluated: dict[bytes, float] = {}
        """Accuracy on validation of the candidates seen in this search, by the bytes of their genes, in order."""

    def afresh(self) -> Accuracies:
        """Return the accuracies of another search over the same genes: what either measures both know."""
        other = copy(self)
        other.evaluated = {}
        return other

    def validation(self, candidate: IntArray) -> float:
        """Return the accuracy the search decides by."""
        key = candidate.tobytes()
        if key not in self.evaluated:
            self.validations(candidate[np.newaxis])
        return self.evaluated[key]

    def validations(self, candidates: IntArray, report: Callable[[int], None] | None = None) -> FloatArray:
        """Return the accuracies of candidates (N, genes), measured together where they are not known.

        report: called with how many candidates are evaluated so far, each time one more is. Afterwards they stand in
        `evaluated` in the order given, whatever the order in which they were measured.
        """
        new = {c.tobytes(): c for c in candidates if c.tobytes() not in self.evaluated}
        before = len(self.evaluated)
        tasks = [self._task("validation", candidate) for candidate in new.values()]
        report_more = None if report is None else (lambda done: report(before + done))
        self._measure(dict(zip(tasks, new.values(), strict=True)), report_more)
        self.evaluated.update({key: self._known[task] for key, task in zip(new, tasks, strict=True)})
        return np.array([self.evaluated[candidate.tobytes()] for candidate in candidates], dtype=np.float64)

    def tests(self, candidates: Sequence[IntArray], report: Callable[[int], None] | None = None) -> None:
        """Measure candidates on the test split together; test() has them then. report: as for validations()."""
        self._measure({self._task("test", candidate): candidate for candidate in candidates}, report)

    def test(self, candidate: IntArray) -> float:
        """Return the accuracy for the report."""
        self.tests([candidate])
        return self._known[self._task("test", candidate)]

    def unquantized(self, split: Split) -> float:
        """Return the accuracy of the network that is not quantized."""
        task = Task(split=split, assignment=None)
        self._measure({task: None}, None)
        return self._known[task]

    def candidates(self) -> IntArray:
        """Return everything evaluated so far, (N, genes), in order."""
        genes = len(self._problem.genes)
        return np.frombuffer(b"".join(self.evaluated), dtype=np.int64).reshape(-1, genes)

    def _task(self, split: Split, candidate: IntArray) -> Task:
        return Task(split=split, assignment=self._problem.assignment(candidate), epochs=self._epochs)

    def _measure(self, tasks: Mapping[Task, IntArray | None], report: Callable[[int], None] | None) -> None:
        """Make all tasks, given with their candidates, known; outcomes are journalled one by one, as they come."""
        missing = [task for task in tasks if task not in self._known]
        if self._store is not None and missing:
            for task, accuracy in self._store.get(missing).items():
                self._note(task, tasks[task], accuracy, 0.0)
            missing = [task for task in missing if task not in self._known]
        done = len(tasks) - len(missing)
        if report is not None and done:
            report(done)
        for outcome in self._executor.run(missing) if missing else ():
            task, accuracy = missing[outcome.position], outcome.accuracy
            if not 0 <= accuracy <= 1:
                message = f"accuracy must be in 0..1, but {self._name} measured {accuracy}"
                raise SearchError(message)
            self._note(task, tasks[task], accuracy, outcome.wall_s)
            if self._store is not None:
                self._store.put(task, accuracy)
            done += 1
            if report is not None:
                report(done)

    def _note(self, task: Task, candidate: IntArray | None, accuracy: float, wall_s: float) -> None:
        if self._run is not None:
            details = {**self._costs(candidate), "wall_s": round(wall_s, 6)}
            self._run.append(
                Evaluation(
                    split=task.split,
                    assignment=task.assignment,
                    accuracy=accuracy,
                    details=details,
                    epochs=task.epochs,
                )
            )
        self._known[task] = accuracy

    def _costs(self, candidate: IntArray | None) -> dict[str, float]:
        """Hardware costs, for the reader of the journal."""
        if candidate is None:
            return {}
        hardware = self._problem.hardware(candidate[np.newaxis])
        return {
            "energy_pj": float(hardware.energy_pj[0]),
            "latency_cycles": float(hardware.cycles[0]),
            "sum_edp_pj_cycles": float(hardware.sum_edp[0]),
            "weight_memory_bits": float(hardware.weight_bits[0]),
            "peak_activation_memory_bits": float(hardware.peak_activation_bits[0]),
            "bops": float(hardware.bops[0]),
        }


def _bits(assignment: BitAssignment | None) -> dict[str, object]:
    if assignment is None:
        return {"weights": None, "groups": None}
    return {"weights": list(assignment.weights), "groups": list(assignment.groups)}
