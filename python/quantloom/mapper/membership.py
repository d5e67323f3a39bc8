"""What a mapspace holds, worked out from its resolved constraints apart from the code that numbers and walks it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from quantloom import _core

__all__ = [
    "Block",
    "count_points",
    "find_misused",
    "find_outside",
    "find_outside_block",
    "find_too_small",
    "fixed_orders",
]

Block = dict[str, Any]  # Any: as Mapspace.blocks describes a block


def count_points(space: _core.Mapspace) -> int:
    """The number of points of the space: factorizations, orders, splits and bypasses."""
    blocks: Sequence[Block] = space.blocks
    dims = list(space.workload.dims)
    count = 1
    for dim, bound in space.workload.dims.items():
        count *= _count_factorizations(bound, tuple(block["factors"][dim] for block in blocks))
    for number, block in enumerate(blocks):
        count *= math.factorial(len(dims) - sum(map(len, fixed_orders(number, block, dims))))
        if block["kind"] == "spatial" and block["split"] is None:
            count *= len(dims) + 1
    open_pairs = sum(keep == "open" for tensors in space.keep.values() for keep in tensors.values())
    return count << open_pairs


def _count_factorizations(bound: int, limits: tuple[tuple[int, int], ...]) -> int:
    """Ways to write the bound as a product of one factor for each block, within the blocks' limits."""

    @cache
    def ways(left: int, blocks: int) -> int:
        if blocks == 0:
            return int(left == 1)
        least, most = limits[blocks - 1]
        return sum(ways(left // f, blocks - 1) for f in divisors if left % f == 0 and least <= f <= most)

    divisors = [f for f in range(1, bound + 1) if bound % f == 0]
    return ways(bound, len(limits))


def fixed_orders(number: int, block: Block, dims: Sequence[str]) -> tuple[list[str], list[str]]:
    """The dims that stand innermost and outermost in a given order, inner to outer.

    Where order cannot matter, in the innermost block and in spatial ones with one axis, it is the workload's.
    """
    is_flat = block["fanout_x"] == 1 or block["fanout_y"] == 1
    if number == 0 if block["kind"] == "temporal" else is_flat and not block["has_permutation"]:
        return list(dims), []
    return list(block["inner"]), list(block["outer"])


def find_outside(mapping: _core.Mapping, space: _core.Mapspace) -> list[str]:
    """What puts a mapping outside of the space, one sentence each; whether it fits the hardware is not asked."""
    levels = [level.name for level in space.arch.levels]
    if len(mapping.levels) != len(levels):
        return [f"it has {len(mapping.levels)} levels, the accelerator {len(levels)}"]
    dims = list(space.workload.dims)
    faults = []
    known = set()
    for number, block in enumerate(space.blocks):
        known.add((block["level"], block["kind"]))
        level = mapping.levels[levels.index(block["level"])]
        on_x, on_y = ([], level.temporal) if block["kind"] == "temporal" else (level.spatial_x, level.spatial_y)
        # Loops of bound 1 may stand anywhere: the numbering moves them about.
        inner_x, inner_y = ([loop for loop in reversed(loops) if loop[1] > 1] for loops in (on_x, on_y))
        name = f"{block['level']}, {block['kind']}"
        orders = fixed_orders(number, block, dims)
        faults += [f"{name}: {fault}" for fault in find_outside_block(inner_x, inner_y, block, orders, dims)]
    for name, level in zip(levels, mapping.levels, strict=True):
        if (level.spatial_x or level.spatial_y) and (name, "spatial") not in known:
            faults.append(f"{name} has no spatial loops")
        for tensor, keep in space.keep[name].items():
            if keep != "open" and (tensor in level.keep) != (keep == "keep"):
                faults.append(f"{name}: {tensor} is {'not ' if keep == 'keep' else ''}kept")
    return faults


def find_misused(mapping: _core.Mapping, space: _core.Mapspace) -> list[str]:
    """Where the mapping uses too few or too many of the instances below one instance of a level.

    `evaluate` only asks whether there are enough of them on the whole mesh.
    """
    faults, units = [], 1
    for number, level in enumerate(mapping.levels):
        name = space.arch.levels[number].name
        on_x, on_y = (math.prod(bound for _, bound in loops) for loops in (level.spatial_x, level.spatial_y))
        fanout_x, fanout_y = space.arch.fanout_x(number), space.arch.fanout_y(number)
        if on_x > fanout_x or on_y > fanout_y:
            faults.append(f"{name} has a fanout of {fanout_x} x {fanout_y}, its loops take {on_x} x {on_y}")
        lanes = on_x * on_y
        limit = space.use.get(name, {})
        least, most = limit.get("min_lanes", 1), limit.get("max_lanes", lanes)
        if not least <= lanes <= most:
            faults.append(f"{name} uses {lanes} instances below it, not {least} to {most}")
        units *= lanes
    if units < space.min_units:
        faults.append(f"it uses {units} arithmetic units, not at least {space.min_units}")
    return faults


def find_too_small(cost: _core.Cost, space: _core.Mapspace) -> list[str]:
    """The levels of which a mapping of this cost uses fewer words than the constraints ask for, one sentence each."""
    faults = []
    for name, level in cost.levels.items():
        words = sum(tensor.utilized_words for tensor in level.tensors.values())
        least = space.use.get(name, {}).get("min_words", 0)
        if words < least:
            faults.append(f"{name} holds {words} words, not at least {least}")
    return faults


def find_outside_block(
    on_x: list[tuple[str, int]],
    on_y: list[tuple[str, int]],
    block: Block,
    orders: tuple[list[str], list[str]],
    dims: Sequence[str],
) -> list[str]:
    """Loops on X (none in temporal blocks) and Y, innermost first, without those of bound 1."""
    loops = [*on_x, *on_y]
    factors = dict(loops)
    names = [dim for dim, _ in loops]
    if len(factors) != len(loops):
        return ["a dim stands twice"]
    faults = [
        f"the factor of {dim} is {factors.get(dim, 1)}, not in {least} to {most}"
        for dim, (least, most) in block["factors"].items()
        if not least <= factors.get(dim, 1) <= most
    ]
    inner, outer = ([dim for dim in order if dim in factors] for order in orders)
    if names[: len(inner)] != inner or names[len(names) - len(outer) :] != outer:
        faults.append(f"the order {' '.join(names)} (inner to outer) is not of the given one")
    if block["kind"] == "spatial" and block["split"] is not None:
        least, most = _loops_on_x(block["split"], orders, set(factors), dims)
        if not least <= len(on_x) <= most:
            faults.append(f"{len(on_x)} loops on X, not {least} to {most}")
    return faults


def _loops_on_x(
    split: int, orders: tuple[list[str], list[str]], loops: set[str], dims: Sequence[str]
) -> tuple[int, int]:
    """Least and most loops that lie on X if the first `split` of all dims do, those of bound 1 included."""
    inner, outer = orders
    free = [dim for dim in dims if dim not in inner and dim not in outer]
    first, rest = inner[:split], outer[: max(0, split - len(inner) - len(free))]
    fixed = sum(dim in loops for dim in (*first, *rest))
    taken = min(max(0, split - len(inner)), len(free))
    free_loops = sum(dim in loops for dim in free)
    return fixed + max(0, taken - (len(free) - free_loops)), fixed + min(free_loops, taken)
