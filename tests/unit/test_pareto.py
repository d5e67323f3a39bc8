"""Non-dominated points, hypervolume and savings against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quantloom.errors import SearchError
from quantloom.joint_search.pareto import best_point_at_least_as_accurate, hypervolume, non_dominated

GRID = st.integers(0, 6).map(float)
TABLES = st.tuples(st.integers(0, 20), st.integers(1, 4)).flatmap(lambda shape: arrays(float, shape, elements=GRID))


def brute_force_front(points):
    def dominates(a, b):
        return all(a <= b) and any(a < b)

    return [not any(dominates(other, point) for other in points) for point in points]


@given(TABLES)
def test_non_dominated_agrees_with_comparing_all_pairs(points):
    assert non_dominated(points).tolist() == brute_force_front(points)


def test_equal_points_do_not_dominate_each_other():
    assert non_dominated(np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]])).tolist() == [True, True, False]


def test_an_infinite_objective_is_a_value_like_any_other():
    assert non_dominated(np.array([[np.inf, 1.0], [1.0, 1.0], [0.0, np.inf]])).tolist() == [False, True, True]


@pytest.mark.parametrize("points", [np.zeros(3), np.array([[0.0, np.nan]])])
def test_what_is_no_table_of_numbers_is_refused(points):
    with pytest.raises(SearchError, match=r"points must be a table|must not be NaN"):
        non_dominated(points)


@given(TABLES)
def test_hypervolume_counts_the_dominated_cells_of_a_grid(points):
    objectives = points.shape[1]
    reference = np.full(objectives, 6.0)
    cells = np.array(list(itertools.product(range(6), repeat=objectives)))
    dominated = np.zeros(len(cells), dtype=bool)
    for point in points:
        dominated |= (point <= cells).all(axis=1)
    assert hypervolume(points, reference) == dominated.sum()


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_hypervolume_agrees_with_pymoo(objectives):
    from pymoo.indicators.hv import HV

    points = np.random.default_rng(objectives).random((60, objectives))
    reference = np.full(objectives, 1.1)
    assert hypervolume(points, reference) == pytest.approx(HV(ref_point=reference)(points), rel=1e-12)


def test_hypervolume_of_nothing_below_the_reference_is_zero():
    assert hypervolume(np.empty((0, 2)), np.ones(2)) == 0
    assert hypervolume(np.array([[1.0, 0.0]]), np.ones(2)) == 0


def test_hypervolume_refuses_a_reference_of_another_shape():
    with pytest.raises(SearchError, match="reference"):
        hypervolume(np.zeros((1, 2)), np.ones(3))


def test_the_cheapest_point_that_is_accurate_enough_is_found():
    accuracy, cost = np.array([0.9, 0.8, 0.9, 0.95]), np.array([3.0, 1.0, 2.0, 2.0])
    assert best_point_at_least_as_accurate(accuracy, cost, 0.85) == 3
    assert best_point_at_least_as_accurate(accuracy, cost, 0.8) == 1
    assert best_point_at_least_as_accurate(accuracy, cost, 0.96) is None
