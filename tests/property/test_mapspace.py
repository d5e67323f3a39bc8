"""The mapspace against a slow enumeration that shares no code with it, written from its description.

A point of the space is a factor for each (block, dim), an order of the dims for each block, a split for each spatial
block and a choice of kept tensors. The enumeration below builds the points one by one, in index order.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import pytest

from quantloom._core import AccessEnergy, Arch, Arithmetic, Constraint, Level, Mapping, Mapspace, TensorSpec, Workload

DIMS = ("C", "M", "P")
TENSORS = (
    TensorSpec("Weights", [[("C", 1)], [("M", 1)]]),
    TensorSpec("Inputs", [[("C", 1), ("P", 2)]]),
    TensorSpec("Outputs", [[("M", 1)], [("P", 1)]], is_output=True),
)


@dataclass
class SlowBlock:
    level: int
    spatial: bool
    fanout: tuple[int, int] = (1, 1)
    fixed: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    inner: list[str] = field(default_factory=list)
    outer: list[str] = field(default_factory=list)
    split: int | None = None

    def canonical(self, position: int) -> bool:
        """The order is the workload's own: innermost temporal block, or one axis and no order given."""
        if self.spatial:
            return not (self.inner or self.outer) and min(self.fanout) == 1
        return position == 0


@dataclass
class SlowCase:
    bounds: dict[str, int]
    blocks: list[SlowBlock]
    capacity: list[int | None]
    word_bits: list[int]
    keep: list[dict[str, bool]]  # by level; tensors left out are open
    meshes: list[tuple[int, int]]

    def arch(self) -> Arch:
        energy = AccessEnergy(read_pj=1, fill_pj=1, update_pj=1)
        levels = [
            Level(
                name=f"L{i}", word_bits=bits, capacity_words=words, instances=x * y, mesh_x=x, mesh_y=y, energy=energy
            )
            for i, (bits, words, (x, y)) in enumerate(zip(self.word_bits, self.capacity, self.meshes[1:], strict=True))
        ]
        x, y = self.meshes[0]
        units = Arithmetic(name="mac", instances=x * y, mesh_x=x, mesh_y=y, word_bits=16, energy_pj=1)
        return Arch(name="slow", levels=levels, arithmetic=units, constraints=self._constraints())

    def workload(self) -> Workload:
        return Workload("slow", list(self.bounds.items()), list(TENSORS))

    def _constraints(self) -> list[Constraint]:
        out = []
        for block in self.blocks:
            factors = [(dim, "=", value) for dim, value in block.fixed.items()]
            factors += [(dim, "<=", value) for dim, value in block.most.items()]
            out.append(
                Constraint(
                    origin="architecture",
                    level=f"L{block.level}",
                    target="spatial" if block.spatial else "temporal",
                    factors=factors,
                    permutation_inner=block.inner,
                    permutation_outer=block.outer,
                    has_permutation=bool(block.inner or block.outer),
                    split=block.split,
                )
            )
        for level, chosen in enumerate(self.keep):
            keep = [tensor for tensor, kept in chosen.items() if kept]
            bypass = [tensor for tensor, kept in chosen.items() if not kept]
            out.append(Constraint(origin="mapspace", level=f"L{level}", target="keep", keep=keep, bypass=bypass))
        return out


# --- the slow enumeration --------------------------------------------------------------------------------------------


def splits_of_bound(bound: int, limits: list[tuple[int | None, int]], tried: list[int]) -> list[tuple[int, ...]]:
    """Ordered factorizations within (fixed, most) limits; the outermost free factor varies slowest."""
    if not limits:
        return [()] if bound == 1 else []
    fixed, most = limits[-1]
    out = []
    for factor in [fixed] if fixed is not None else tried:
        if bound % factor == 0 and factor <= most:
            out += [(*inner, factor) for inner in splits_of_bound(bound // factor, limits[:-1], tried)]
    return out


def divisors(bound: int) -> list[int]:
    """In the order 1, n, 2, n/2, ..."""
    pairs = [(d, bound // d) for d in range(1, bound + 1) if d * d <= bound and bound % d == 0]
    return [d for low, high in pairs for d in ((low,) if low == high else (low, high))]


def fastest_first(*choices: list[Any]) -> Iterator[tuple[Any, ...]]:
    """The product with the first choice running fastest."""
    for combination in itertools.product(*reversed(choices)):
        yield tuple(reversed(combination))


def factorizations(case: SlowCase) -> Iterator[list[dict[str, int]]]:
    """For each factorization the factors by block and dim."""
    by_dim = []
    for dim, bound in case.bounds.items():
        limits = [(block.fixed.get(dim), block.most.get(dim, bound)) for block in case.blocks]
        by_dim.append(splits_of_bound(bound, limits, divisors(bound)))
    for rows in fastest_first(*by_dim):
        yield [{dim: row[b] for dim, row in zip(case.bounds, rows, strict=True)} for b in range(len(case.blocks))]


def orders_and_splits(case: SlowCase, factors: list[dict[str, int]], *, pruned: bool) -> tuple[list[Any], list[Any]]:
    """For each block its orders (inner to outer) and its splits."""
    all_orders, all_splits = [], []
    for position, block in enumerate(case.blocks):
        units = [dim for dim in case.bounds if factors[position][dim] == 1] if pruned else []
        moved = [] if block.split is not None else units
        inner = [*moved, *(dim for dim in block.inner if dim not in moved)]
        outer = [dim for dim in block.outer if dim not in moved]
        middle = [dim for dim in case.bounds if dim not in inner and dim not in outer]
        if block.canonical(position):
            inner, middle, outer = list(case.bounds), [], []
        all_orders.append([[*inner, *order, *outer] for order in itertools.permutations(middle)])
        if not block.spatial:
            all_splits.append([0])
        elif block.split is not None:
            all_splits.append([block.split])
        else:
            all_splits.append(list(range(len(units), len(case.bounds) + 1)))
    return all_orders, all_splits


def bypasses(case: SlowCase) -> list[tuple[frozenset[str], ...]]:
    """The tensors kept by level, for each choice."""
    fixed = [set(tensor for tensor, kept in chosen.items() if kept) for chosen in case.keep]
    last = len(case.keep) - 1
    fixed[last] |= {tensor.name for tensor in TENSORS if tensor.name not in case.keep[last]}
    open_pairs = [
        (level, tensor.name) for tensor in TENSORS for level in range(last) if tensor.name not in case.keep[level]
    ]
    out = []
    for bits in fastest_first(*[[False, True]] * len(open_pairs)):
        kept = [set(tensors) for tensors in fixed]
        for (level, tensor), bit in zip(open_pairs, bits, strict=True):
            if bit:
                kept[level].add(tensor)
        out.append(tuple(frozenset(tensors) for tensors in kept))
    return out


def within_fanout(case: SlowCase, factors: list[dict[str, int]], orders: Any, splits: Any) -> bool:
    for block, by_dim, order, split in zip(case.blocks, factors, orders, splits, strict=True):
        x = prod(by_dim[dim] for dim in order[:split])
        y = prod(by_dim[dim] for dim in order[split:])
        if block.spatial and (x > block.fanout[0] or y > block.fanout[1]):
            return False
    return True


def too_small_level(case: SlowCase, factors: list[dict[str, int]], kept: Any, bits: list[int]) -> int | None:
    """The innermost level whose tiles do not fit."""
    for level, capacity in enumerate(case.capacity):
        extent = {
            dim: prod(by_dim[dim] for block, by_dim in zip(case.blocks, factors, strict=True) if block.level <= level)
            for dim in case.bounds
        }
        words = 0
        for tensor, width in zip(TENSORS, bits, strict=True):
            tile = prod(1 + sum((extent[dim] - 1) * step for dim, step in rank) for rank in tensor.ranks)
            per_word = case.word_bits[level] // width if width else 1
            words += -(-tile // per_word) if tensor.name in kept[level] else 0
        if capacity is not None and words > capacity:
            return level
    return None


def mapping_of(case: SlowCase, factors: list[dict[str, int]], orders: Any, splits: Any, kept: Any) -> Any:
    levels: list[dict[str, Any]] = [{"temporal": [], "spatial_x": [], "spatial_y": [], "keep": names} for names in kept]
    for block, by_dim, order, split in zip(case.blocks, factors, orders, splits, strict=True):
        loops = [(dim, by_dim[dim], i) for i, dim in enumerate(order) if by_dim[dim] > 1]
        for dim, bound, i in reversed(loops):  # outermost first
            kind = "temporal" if not block.spatial else "spatial_x" if i < split else "spatial_y"
            levels[block.level][kind].append((dim, bound))
    return tuple((tuple(at["temporal"]), tuple(at["spatial_x"]), tuple(at["spatial_y"]), at["keep"]) for at in levels)


def unpruned(case: SlowCase) -> Iterator[tuple[Any, bool]]:
    """Every mapping in index order, and whether it is within the fanout."""
    choices = bypasses(case)
    for factors in factorizations(case):
        orders, splits = orders_and_splits(case, factors, pruned=False)
        for order in fastest_first(*orders):
            for split in fastest_first(*splits):
                fits = within_fanout(case, factors, order, split)
                for kept in choices:
                    yield mapping_of(case, factors, order, split, kept), fits


def search(case: SlowCase, bits: list[int]) -> Counter[str]:
    """The reference's exhaustive search: what it considers and how that ends."""
    count: Counter[str] = Counter()
    choices = bypasses(case)
    for factors in factorizations(case):
        orders, splits = orders_and_splits(case, factors, pruned=True)
        for order, split in itertools.product(fastest_first(*orders), list(fastest_first(*splits))):
            if not within_fanout(case, factors, order, split):
                count["fanout"] += 1
                continue
            failures = [too_small_level(case, factors, kept, bits) for kept in choices]
            count.update("valid" if level is None else f"L{level}" for level in failures)
            if None not in failures:
                break  # no bypass fits: the rest of this factorization is skipped
    return count


# --- random cases ----------------------------------------------------------------------------------------------------


def random_block(rng: random.Random, level: int, fanout: tuple[int, int] | None, bounds: dict[str, int]) -> SlowBlock:
    block = SlowBlock(level, fanout is not None, fanout or (1, 1))
    for dim, bound in bounds.items():
        if rng.random() < 0.25:
            block.most[dim] = rng.choice([1, 2, bound])
    if rng.random() < 0.4:
        dims = rng.sample(list(bounds), rng.randint(1, len(bounds)))
        cut = rng.randint(0, len(dims))
        block.inner, block.outer = dims[:cut], dims[cut:]
    if block.spatial and rng.random() < 0.3:
        block.split = rng.randint(0, len(bounds))
    return block


def random_case(seed: int) -> SlowCase:
    rng = random.Random(seed)
    bounds = {dim: rng.choice([1, 2, 3, 4, 6]) for dim in DIMS}
    num_levels = rng.randint(2, 3)
    meshes = [(1, 1)]
    for _ in range(num_levels - 1):  # from the outermost level inwards
        x, y = meshes[-1]
        meshes.append((x * rng.choice([1, 1, 2, 3]), y * rng.choice([1, 1, 2])))
    meshes = [(meshes[-1][0] * rng.choice([1, 2]), meshes[-1][1]), *reversed(meshes)]
    blocks = []
    for level in range(num_levels):
        fanout = (meshes[level][0] // meshes[level + 1][0], meshes[level][1] // meshes[level + 1][1])
        if max(fanout) > 1:
            blocks.append(random_block(rng, level, fanout, bounds))
        blocks.append(random_block(rng, level, None, bounds))
    # One fixed factor at most for each dim, and the outermost block open, so that no case is infeasible.
    blocks[-1].most.clear()
    for dim, bound in bounds.items():
        block = rng.choice(blocks[:-1])
        if rng.random() < 0.4:
            block.most.pop(dim, None)
            block.fixed[dim] = rng.choice([d for d in (1, 2, 3, bound) if bound % d == 0])
    keep: list[dict[str, bool]] = [{} for _ in range(num_levels)]
    for level, tensor in itertools.product(range(num_levels), TENSORS):
        if rng.random() < (0.9 if num_levels == 3 else 0.6) and level < num_levels - 1:
            keep[level][tensor.name] = rng.random() < 0.7
    capacity: list[int | None] = [rng.choice([2, 6, 12, None]) for _ in range(num_levels - 1)]
    word_bits = [rng.choice([8, 12, 16]) for _ in range(num_levels)]
    return SlowCase(bounds, blocks, [*capacity, None], word_bits, keep, meshes)


def as_tuple(mapping: Mapping) -> Any:
    return tuple(
        (tuple(at.temporal), tuple(at.spatial_x), tuple(at.spatial_y), frozenset(at.keep)) for at in mapping.levels
    )


def small_case(seed: int, limit: int) -> tuple[SlowCase, Mapspace]:
    """The first random case from this seed on with at most `limit` points."""
    for attempt in itertools.count():
        case = random_case(seed * 1000 + attempt)
        space = Mapspace(case.arch(), case.workload())
        if space.size() <= limit:
            return case, space
    raise AssertionError


# --- the properties --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_indices_name_the_mappings_in_order(seed: int) -> None:
    case, space = small_case(seed, 1500)
    expected = list(unpruned(case))
    assert space.size() == len(expected) == prod(space.sizes.values())
    assert [as_tuple(space.at(i)) for i in range(space.size())] == [mapping for mapping, _ in expected]
    assert [as_tuple(m) for m in space.mappings(limit=2000, enumeration="unpruned")] == [m for m, _ in expected]


@pytest.mark.parametrize("seed", range(40))
def test_counts_are_those_of_the_exhaustive_search(seed: int) -> None:
    case, space = small_case(seed, 60_000)
    rng = random.Random(seed)
    settings = [[rng.choice([0, 2, 3, 4, 8]) for _ in TENSORS] for _ in range(3)]
    for bits, count in zip(settings, space.count_many(settings, threads=2), strict=True):
        slow = search(case, bits)
        assert count.valid == slow.pop("valid", 0)
        assert count.invalid_fanout == slow.pop("fanout", 0)
        assert count.invalid_capacity_by_level == dict(slow)
        assert count.considered == count.valid + count.invalid_fanout + count.invalid_capacity


@pytest.mark.parametrize("seed", range(40))
def test_distinct_mappings_are_those_within_the_fanout_once(seed: int) -> None:
    case, space = small_case(seed, 4000)
    distinct = [as_tuple(mapping) for mapping in space.mappings(limit=10_000)]
    assert len(set(distinct)) == len(distinct)
    assert set(distinct) == {mapping for mapping, fits in unpruned(case) if fits}
    count = space.count([0, 0, 0], enumeration="distinct")
    assert count.considered - count.invalid_fanout == len(distinct)


@pytest.mark.parametrize("seed", range(10))
def test_the_reference_visits_no_mapping_outside_of_the_distinct_ones(seed: int) -> None:
    case, space = small_case(seed, 4000)
    distinct = {as_tuple(mapping) for mapping in space.mappings(limit=10_000)}
    fitting = {mapping for mapping, fits in unpruned(case) if fits}
    visited = {as_tuple(mapping) for mapping in space.mappings(limit=10_000, enumeration="reference")}
    assert visited & fitting <= distinct


def test_samples_depend_on_the_seed_alone() -> None:
    _, space = small_case(3, 4000)
    points = {as_tuple(space.at(i)) for i in range(space.size())}
    first = [as_tuple(mapping) for mapping in space.sample(200, 7)]
    assert first == [as_tuple(mapping) for mapping in space.sample(200, 7)]
    assert first != [as_tuple(mapping) for mapping in space.sample(200, 8)]
    assert set(first) <= points


def test_samples_are_uniform_over_the_indices() -> None:
    bounds = {"C": 4, "M": 2, "P": 1}
    case = SlowCase(bounds, [SlowBlock(0, False), SlowBlock(1, False)], [None, None], [16, 16], [{}, {}], [(1, 1)] * 3)
    for tensor in TENSORS:
        case.keep[0][tensor.name] = True
    space = Mapspace(case.arch(), case.workload())
    drawn = Counter(as_tuple(mapping) for mapping in space.sample(6000, 1))
    points = Counter(as_tuple(space.at(i)) for i in range(space.size()))
    for mapping, times in points.items():
        expected = 6000 * times / space.size()
        assert abs(drawn[mapping] - expected) < 5 * expected**0.5
