"""Promotion: points of the front are trained for their bits and measured anew, and so are the uniform bits.

The search decides by a cheap rung of the ladder, accuracies after quantizing alone. Training raises accuracies, and not
all alike, so the front of what is trained is another one: those of the trained points that no other one of them
dominates on validation. Only these, and the uniform bits, are then measured on the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.front import Front, FrontPoint, Trained
from quantloom.joint_search.pareto import non_dominated
from quantloom.joint_search.problem import AccuracyEvaluator, IntArray, SearchProblem

if TYPE_CHECKING:
    from quantloom.joint_search.accuracies import Accuracies

__all__ = ["TRAINING_FOLDER", "TrainedRung", "promote", "spread_along"]

TRAINING_FOLDER: Final = "training"
"""In the run directory: where trainings stand, while there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRung:
    """How the accuracies of promoted candidates are measured.

    here, elsewhere: make the evaluator, in this process and in another one (pickled; None: as here). They are given a
    folder in which trainings may keep where they stand, to go on from there and to need no second training for the
    test split; other machines may not see it. depends_on: as SearchInputs.accuracy_depends_on.
    """

    name: str
    here: Callable[[Path], AccuracyEvaluator]
    elsewhere: Callable[[Path], AccuracyEvaluator] | None = None
    depends_on: Mapping[str, str] | None = None


def spread_along(points: int, count: int) -> npt.NDArray[np.int64]:
    """Positions of at most `count` of so many points in a row, evenly spread; both ends are among two or more."""
    if count >= points:
        return np.arange(points)
    return np.unique(np.round(np.linspace(0, points - 1, count)).astype(np.int64))


def promote(
    front: Front,
    problem: SearchProblem,
    measure: Accuracies,
    chosen: IntArray,
    uniform: IntArray,
    *,
    config: SearchConfig,
    progress: Callable[[int, int, str], None],
) -> Front:
    """Return the front with config.promote of its points, and all uniform bits on it and off it, trained.

    measure: accuracies after training. chosen, uniform: genes of front.points and front.baselines, in their order.
    """
    is_uniform = (chosen[:, np.newaxis] == uniform).all(axis=2).any(axis=1)  # trained anyway, so they compete too
    at = np.union1d(spread_along(len(chosen), config.promote), np.flatnonzero(is_uniform))
    epochs = config.promote_epochs
    candidates = np.concatenate([chosen[at], uniform])
    text = f"training for {epochs} epoch{'s' if epochs > 1 else ''}"
    progress(0, len(candidates), text)
    accuracy = measure.validations(candidates, lambda done: progress(done, len(candidates), text))
    error = 1.0 - accuracy[: len(at)]
    hardware = problem.hardware(chosen[at])
    values = problem.objective_values(hardware, error)
    kept = np.flatnonzero(problem.violations(hardware, error) == 0)
    final = kept[non_dominated(values[kept])]
    tested = [*chosen[at][final], *uniform]
    progress(0, len(tested), "test split, trained")
    measure.tests(tested, lambda done: progress(done, len(tested), "test split, trained"))

    points = list(front.points)
    for i, position in enumerate(at):
        test = measure.test(chosen[position]) if i in final else None
        points[position] = _trained(points[position], float(accuracy[i]), test)
    baselines = [
        _trained(point, float(accuracy[len(at) + i]), measure.test(uniform[i]))
        for i, point in enumerate(front.baselines)
    ]
    return replace(front, points=tuple(points), baselines=tuple(baselines), promote_epochs=epochs)


def _trained(point: FrontPoint, validation: float, test: float | None) -> FrontPoint:
    return replace(point, trained=Trained(validation=validation, test=test))
