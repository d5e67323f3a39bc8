"""Evaluators that die or fail where they run; importable, so that other processes can have them."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from quantloom.errors import DataError
from quantloom.joint_search.problem import AccuracyEvaluator
from quantloom.testing.toy_search import ToyEvaluator, ToySensitivity, toy_network
from quantloom.workload.network import BitAssignment


@dataclass
class Dying(ToyEvaluator):
    """Kills its process, as memory that runs out does, in the middle of some measurements.

    folder: where deaths are counted, over all processes. deaths: how many of them. at: only for this assignment.
    """

    folder: Path | None = None
    deaths: int = 0
    at: BitAssignment | None = None

    def accuracy(self, assignment: BitAssignment) -> float:
        for number in range(self.deaths if self.at in (None, assignment) else 0):
            try:
                (self.folder / f"death-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return ToyEvaluator.accuracy(self, assignment)


class Failing(ToyEvaluator):
    """Finds its data gone."""

    def accuracy(self, assignment: BitAssignment) -> float:
        raise DataError("the images are gone", hint="bring them back")


@dataclass(frozen=True)
class Maker:
    """Makes an evaluator of this module for the toy of some layers, in whatever process it is called."""

    name: str
    layers: int = 4

    def __call__(self) -> AccuracyEvaluator:
        return globals()[self.name](ToySensitivity(toy_network(self.layers)))


@dataclass(frozen=True)
class TrainerMaker:
    """Makes what stands for training, which dies so often in all, counted in a folder."""

    counted_in: Path
    deaths: int = 0

    def __call__(self, folder: Path) -> AccuracyEvaluator:
        return Dying(ToySensitivity(toy_network(4)), folder=self.counted_in, deaths=self.deaths)


class StoppedError(Exception):
    """Stands for a search that was killed."""


class TrainedToy(ToyEvaluator):
    """Training halves the error, and more where weights and activations differ in bits. Counts what it is asked."""

    stops_at = 10**9

    def accuracy(self, assignment: BitAssignment) -> float:
        if len(self.asked) >= TrainedToy.stops_at:
            raise StoppedError
        error = 1 - ToyEvaluator.accuracy(self, assignment)
        return 1 - error / (2 + abs(assignment.weights[0] - assignment.groups[1]))


@dataclass(frozen=True)
class MakeTrainedToy:
    layers: int = 4

    def __call__(self, folder: Path) -> ToyEvaluator:
        return TrainedToy(ToySensitivity(toy_network(self.layers)), name="toy-trained")


def dead_on_arrival() -> AccuracyEvaluator:
    os._exit(7)
