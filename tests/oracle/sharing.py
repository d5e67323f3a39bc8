"""Children of a level: who shares what moves, where they stand, how far it is to them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from .records import Loop


@dataclass(frozen=True)
class Group:
    """Children below one instance of a level that share whatever moves there."""

    members: list[int]  # numbers of the instances
    above: int  # the instance of the level
    branches: int  # instances of the next inner level with members in them
    hops: float  # that one element takes in the network of the level


def position(loops: list[Loop], instance: int) -> tuple[int, int]:
    """Column and row of an instance among those that the spatial loops of a level make."""
    at = {"x": 0, "y": 0}
    inside = math.prod(loop.bound for loop in loops)
    for loop in loops:
        inside //= loop.bound
        at[loop.axis] = at[loop.axis] * loop.bound + instance // inside % loop.bound
    return at["x"], at["y"]


def hops_to(places: Iterable[tuple[int, int]], rows: int) -> float:
    """From column 0 of the centre row to the furthest column, and up and down the columns with members."""
    centre = (rows - 1) / 2
    columns: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])  # reach above and below the centre row
    for x, y in places:
        columns[x] = [max(columns[x][0], y - centre), max(columns[x][1], centre - y)]
    return max(columns) + sum(above + below for above, below in columns.values())


def size_if_apart(sets: Iterable[int]) -> int:
    """Elements of all sets together, 0 if two of them have one in common."""
    together = size = 0
    for one in sets:
        together, size = together | one, size + one.bit_count()
    return size if together.bit_count() == size else 0
