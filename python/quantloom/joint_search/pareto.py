"""Pareto arithmetic, exact: which points are non-dominated, the volume they dominate, what they save over a baseline.

All objectives are minimised. A point dominates another when it is <= in every objective and < in at least one;
equal points do not dominate each other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantloom.errors import SearchError

__all__ = ["FloatArray", "best_point_at_least_as_accurate", "hypervolume", "non_dominated"]

FloatArray = npt.NDArray[np.float64]


def non_dominated(points: FloatArray) -> npt.NDArray[np.bool_]:
    """Mark the points that no other point dominates.

    points: (N, M) objectives to minimise, no NaN; infinities are allowed. Returns (N,) bool. Equal points are marked
    alike. Takes O(F N M) steps for F distinct non-dominated points: each pass takes the lexicographically smallest
    point left, which nothing left can dominate, and drops what it dominates.
    Raises SearchError if points is not two-dimensional or holds a NaN.
    """
    if points.ndim != 2:
        message = f"points must be a table (points, objectives), got shape {points.shape}"
        raise SearchError(message)
    if np.isnan(points).any():
        message = "objectives must not be NaN"
        raise SearchError(message)
    count, objectives = points.shape
    marked = np.zeros(count, dtype=np.bool_)
    if objectives == 0:
        return ~marked
    order = np.lexsort(points.T[::-1])
    left = points[order]
    while len(order):
        equal = (left == left[0]).all(axis=1)
        marked[order[equal]] = True
        keep = (left < left[0]).any(axis=1)
        order, left = order[keep], left[keep]
    return marked


def hypervolume(points: FloatArray, reference: FloatArray) -> float:
    """Volume of the region that the points dominate, up to the reference point.

    points: (N, M) objectives to minimise. reference: (M,); points not strictly below it in every objective add nothing.
    Exact, by slicing along the last objective; meant for M <= 4 and some hundreds of points.
    Raises SearchError if the shapes do not belong together.
    """
    if points.ndim != 2 or reference.shape != (points.shape[1],):
        message = f"hypervolume needs points (N, M) and a reference (M,), got {points.shape} and {reference.shape}"
        raise SearchError(message)
    inside = points[(points < reference).all(axis=1)]
    return _sliced_volume(inside, reference)


def _sliced_volume(points: FloatArray, reference: FloatArray) -> float:
    """Dominated volume of points that all lie strictly below the reference."""
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(reference[0] - points[:, 0].min())
    front = points[non_dominated(points)]
    front = front[np.argsort(front[:, -1], kind="stable")]
    bounds = np.append(front[1:, -1], reference[-1])
    volume = 0.0
    if points.shape[1] == 2:  # after the sort the first objective falls along the front
        return float(((reference[0] - front[:, 0]) * (bounds - front[:, 1])).sum())
    for i, upper in enumerate(bounds):
        if upper > front[i, -1]:
            volume += _sliced_volume(front[: i + 1, :-1], reference[:-1]) * float(upper - front[i, -1])
    return volume


def best_point_at_least_as_accurate(accuracy: FloatArray, cost: FloatArray, required_accuracy: float) -> int | None:
    """Index of the cheapest point whose accuracy is at least the required one; None if there is none.

    accuracy, cost: (N,). Among equal costs the more accurate point, then the first.
    """
    eligible = np.flatnonzero(accuracy >= required_accuracy)
    if len(eligible) == 0:
        return None
    order = np.lexsort((-accuracy[eligible], cost[eligible]))
    return int(eligible[order[0]])
