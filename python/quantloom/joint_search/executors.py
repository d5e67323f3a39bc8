"""The seam between the search and where accuracies are measured: in this process, in others, on other machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from quantloom.joint_search.journal import Split
from quantloom.joint_search.problem import AccuracyEvaluator
from quantloom.workload.network import BitAssignment

__all__ = ["Deferred", "EvaluatorMaker", "Executor", "InProcess", "Outcome", "Ready", "Task", "answer"]

EvaluatorMaker = Callable[[], AccuracyEvaluator]
"""Makes the evaluator in another process; it is pickled, so a function of a module, or a record with __call__."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The maker of an evaluator that is there already and is sent as it is."""

    evaluator: AccuracyEvaluator

    def __call__(self) -> AccuracyEvaluator:
        """Return it."""
        return self.evaluator


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An accuracy to be measured. assignment: None for the network that is not quantized. epochs: of training first."""

    split: Split
    assignment: BitAssignment | None
    epochs: int = 0

    def __str__(self) -> str:
        if self.assignment is None:
            return f"the network that is not quantized, on the {self.split} split"
        weights, groups = (" ".join(map(str, bits)) for bits in (self.assignment.weights, self.assignment.groups))
        return (
            f"the candidate with weights of {weights} bits and activations of {groups} bits, on the {self.split} split"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a task gave. position: of the task among those of the same run. wall_s: how long it took where it ran."""

    position: int
    accuracy: float
    wall_s: float


class Executor(Protocol):
    """Measures tasks somewhere; outcomes do not depend on where, only their order does."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Give the outcome of every task, each as soon as it is there.

        Raises what the evaluator raised, or SearchError if the places of work are lost again and again.
        """

    def close(self) -> None:
        """End everything that was started; what is under way is given up."""


class InProcess:
    """Measures here, one after the other, in order."""

    def __init__(self, evaluator: AccuracyEvaluator) -> None:
        self._evaluator = evaluator

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Measure each task when its outcome is asked for."""
        for position, task in enumerate(tasks):
            accuracy, wall_s = answer(self._evaluator, task)
            yield Outcome(position=position, accuracy=accuracy, wall_s=wall_s)

    def close(self) -> None:
        """Nothing to end."""


class Deferred:
    """An executor that is made when there is something to measure, as making it takes long."""

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._made: Executor | None = None

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """As the executor that is made says; raises what making it does."""
        if self._made is None:
            self._made = self._make()
        yield from self._made.run(tasks)

    def close(self) -> None:
        """End what was started, if anything was."""
        if self._made is not None:
            self._made.close()


def answer(evaluator: AccuracyEvaluator, task: Task) -> tuple[float, float]:
    """The accuracy that a task asks for, and the seconds it took."""
    began = time.monotonic()
    assignment = task.assignment
    if task.split == "test":
        found = evaluator.float_accuracy_test() if assignment is None else evaluator.accuracy_test(assignment)
    else:
        found = evaluator.float_accuracy() if assignment is None else evaluator.accuracy(assignment)
    return float(found), time.monotonic() - began
