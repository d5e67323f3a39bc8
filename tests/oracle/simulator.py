"""The default cost model once more, slow and obvious: walk the nest step by step and move elements about.

Nothing here is shared with the core, and nothing is a closed form: every buffer instance is a set of elements, every
output element carries the number of products it contains, and whatever moves is counted when it moves. The rules are
those of docs/model.md; they are repeated where they act.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .records import Case, Tensor, nest_of

Element = tuple[int, ...]
Instance = tuple[int, ...]  # indices of the spatial loops outside of a level, outermost first
Box = tuple[range, ...]
Moved = dict[Instance, dict[Element, int]]  # by child: elements, and how many products each contains
MACS = -1  # stands for a level: the arithmetic units


@dataclass(frozen=True)
class PerInstance:
    """What the model promises: one tensor at one level, elements per instance; hops are a mean per crossing element."""

    tile: int
    reads: int
    fills: int
    updates: int
    final_updates: int
    distinct: int
    down: int
    up: int
    final_up: int
    additions: int
    hops: float


@dataclass
class Counts:
    """The same while it is being counted, over all instances together."""

    tile: int = 0
    reads: int = 0
    fills: int = 0
    updates: int = 0
    final_updates: int = 0
    held: set[tuple[Instance, Element]] = field(default_factory=set)  # what was ever here
    down: int = 0
    up: int = 0
    final_up: int = 0
    additions: int = 0
    hops: float = 0.0  # summed over the elements that cross


class Simulator:
    """Counts of one tensor."""

    def __init__(self, case: Case, tensor: Tensor) -> None:
        self.case, self.tensor = case, tensor
        self.loops = nest_of(case)
        self.kept = [at for at, level in enumerate(case.levels) if tensor.name in level.keep]
        self.chain = list(itertools.pairwise([MACS, *self.kept]))  # (child, parent), inner ones first
        self.counts = [Counts() for _ in case.levels]
        related = {dim for rank in tensor.ranks for dim, _ in rank}
        self.products = math.prod(bound for dim, bound in case.dims.items() if dim not in related)
        self.resident: dict[tuple[int, Instance], frozenset[Element]] = defaultdict(frozenset)
        self.contains: dict[tuple[int, Instance], dict[Element, int]] = defaultdict(lambda: defaultdict(int))
        self.touched: set[tuple[Instance, Element]] = set()  # sums that have been added to, innermost kept level
        self.boxes: dict[tuple[int, Instance, Instance], Box] = {}  # box() is asked for the same again and again
        self.instances = {at: list(self.indices("yx", at)) for at in (MACS, *range(len(case.levels)))}

    def indices(self, axes: str, level: int) -> Iterator[Instance]:
        """All index combinations of the loops of these axes outside of a level, in the order of the nest."""
        chosen = [loop.bound for loop in self.loops if loop.axis in axes and loop.level > level]
        return itertools.product(*(range(bound) for bound in chosen))

    def box(self, level: int, step: Instance, instance: Instance) -> Box:
        """The tile of an instance at a step: the bounding box of what its loops inside touch."""
        key = level, step, instance
        if key not in self.boxes:
            self.boxes[key] = self.make_box(level, step, instance)
        return self.boxes[key]

    def make_box(self, level: int, step: Instance, instance: Instance) -> Box:
        times, places = iter(step), iter(instance)
        low = dict.fromkeys(self.case.dims, 0)
        inside = dict.fromkeys(self.case.dims, 1)
        for loop in self.loops:
            if loop.level > level:
                low[loop.dim] = low[loop.dim] * loop.bound + (next(times) if loop.axis == "t" else next(places))
            else:
                inside[loop.dim] *= loop.bound
        ranks = []
        for rank in self.tensor.ranks:
            first = sum(low[dim] * inside[dim] * factor for dim, factor in rank)
            ranks.append(range(first, first + 1 + sum((inside[dim] - 1) * factor for dim, factor in rank)))
        return tuple(ranks)

    def groups(self, child: int, level: int, step: Instance) -> dict[tuple[Instance, Box], list[Instance]]:
        """Children with equal tiles below the same instance of `level`: they share whatever moves."""
        shared: dict[tuple[Instance, Box], list[Instance]] = defaultdict(list)
        width = len(self.instances[level][0])
        for instance in self.instances[child]:
            shared[instance[:width], self.box(child, step, instance)].append(instance)
        return shared

    def hops(self, level: int, members: set[Instance]) -> float:
        """From column 0 of the centre row to the furthest column, and up and down the columns with members."""
        if len(self.instances[level - 1]) == len(self.instances[level]):
            return 0.0
        loops = [loop for loop in self.loops if loop.axis != "t" and loop.level == level]
        below = self.case.levels[level - 1].mesh if level > 0 else self.case.units
        centre = (below[1] // self.case.levels[level].mesh[1] - 1) / 2
        columns: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])  # reach above and below the centre row
        for member in members:
            at = {"x": 0, "y": 0}
            for loop, index in zip(loops, member[len(member) - len(loops) :], strict=True):
                at[loop.axis] = at[loop.axis] * loop.bound + index
            reach = columns[at["x"]]
            reach[:] = max(reach[0], at["y"] - centre), max(reach[1], centre - at["y"])
        return max(columns) + sum(above + below for above, below in columns.values())

    def cross(self, child: int, parent: int, step: Instance, moved: Moved, upward: bool) -> None:
        """What children exchange with their parent crosses every network in between, once per group."""
        for level in range(child + 1, parent + 1):
            counts = self.counts[level]
            width = len(self.instances[level - 1][0])
            for members in self.groups(child, level, step).values():
                elements = moved[members[0]]
                branches = {member[:width] for member in members}
                counts.hops += len(elements) * self.hops(level, branches)
                if not upward:
                    counts.down += len(elements)
                    continue
                counts.up += len(elements)
                counts.additions += len(elements) * (len(branches) - 1)
                counts.final_up += sum(sum(moved[m][e] for m in members) == self.products for e in elements)

    def run(self) -> list[PerInstance]:
        for at in self.kept:
            first = self.box(at, next(self.indices("t", at)), self.instances[at][0])
            self.counts[at].tile = math.prod(len(rank) for rank in first)
        last = None
        for step in self.indices("t", MACS):
            self.move_output(last, step) if self.tensor.is_output else self.move_input(last, step)
            last = step
        if self.tensor.is_output:
            self.move_output(last, None)
            self.check_sums()
        return [self.per_instance(at) for at in range(len(self.counts))]

    def outside(self, level: int, step: Instance) -> Instance:
        """The part of a step that belongs to the temporal loops outside of a level."""
        return step[: sum(loop.axis == "t" and loop.level > level for loop in self.loops)]

    def stands(self, level: int, last: Instance | None, step: Instance | None) -> bool:
        """No loop outside of the level has moved between two steps."""
        if last is None or step is None or level == MACS:
            return False
        return self.outside(level, last) == self.outside(level, step)

    def move_input(self, last: Instance | None, step: Instance) -> None:
        """A buffer takes what its new tile adds to the old one; arithmetic units hold nothing and take all."""
        for child, parent in self.chain:
            if self.stands(child, last, step):
                continue
            at = self.outside(child, step)
            new = {}
            for instance in self.instances[child]:
                tile = frozenset(itertools.product(*self.box(child, at, instance)))
                new[instance] = dict.fromkeys(tile - self.resident[child, instance], 0)
                if child != MACS:
                    self.resident[child, instance] = tile
                    self.counts[child].fills += len(new[instance])
                    self.counts[child].held |= {(instance, element) for element in tile}
            for members in self.groups(child, parent, at).values():
                self.counts[parent].reads += len(new[members[0]])
            self.cross(child, parent, at, new, upward=False)
        if self.kept and not self.stands(self.kept[-1], last, step):
            self.remember_outermost(step)

    def remember_outermost(self, step: Instance) -> None:
        top = self.kept[-1]
        for instance in self.instances[top]:
            box = self.box(top, self.outside(top, step), instance)
            self.counts[top].held |= {(instance, element) for element in itertools.product(*box)}

    def move_output(self, last: Instance | None, step: Instance | None) -> None:
        """Drain what leaves, inner levels first; refill what comes back, outer levels first; then compute."""
        if last is not None:
            for child, parent in self.chain[1:]:
                if not self.stands(child, last, step):
                    self.drain(child, parent, last, step)
        if step is None:
            return
        for child, parent in reversed(self.chain[1:]):
            if not self.stands(child, last, step):
                self.refill(child, parent, step)
        if self.kept:
            self.compute(step)

    def drain(self, child: int, parent: int, last: Instance, step: Instance | None) -> None:
        """Sums of elements that leave go to the parent, added up over the group on the way."""
        leaving: Moved = {}
        for instance in self.instances[child]:
            box = () if step is None else self.box(child, self.outside(child, step), instance)
            stays = set(itertools.product(*box)) if box else set()
            values = self.contains[child, instance]
            leaving[instance] = {e: values.pop(e) for e in self.resident[child, instance] - stays}
            self.resident[child, instance] &= frozenset(stays)
        self.arrive(child, parent, self.outside(child, last), leaving)

    def arrive(self, child: int, parent: int, at: Instance, sums: Moved) -> None:
        """An update; it is final if the parent's value then contains every product of the element."""
        counts = self.counts[parent]
        for (instance, _), members in self.groups(child, parent, at).items():
            values = self.contains[parent, instance]
            for element in sums[members[0]]:
                values[element] += sum(sums[member][element] for member in members)
                counts.updates += 1
                counts.final_updates += values[element] == self.products
        self.cross(child, parent, at, sums, upward=True)

    def refill(self, child: int, parent: int, step: Instance) -> None:
        """A sum that was here before comes back: one member of the group gets it, the others start from zero."""
        at = self.outside(child, step)
        back: Moved = {}
        for (above, box), members in self.groups(child, parent, at).items():
            tile = frozenset(itertools.product(*box))
            for member in members:
                arriving = tile - self.resident[child, member]
                known = {e for e in arriving if (member, e) in self.counts[child].held}
                back[member] = {e: self.contains[parent, above].pop(e) if member == members[0] else 0 for e in known}
                self.contains[child, member] |= dict.fromkeys(arriving, 0) | back[member]
                self.counts[child].fills += len(known)
                self.counts[child].held |= {(member, e) for e in arriving}
                self.resident[child, member] = tile
            self.counts[parent].reads += len(back[members[0]])
        self.cross(child, parent, at, back, upward=False)

    def compute(self, step: Instance) -> None:
        """Every unit adds one product; units with the same output add up before the buffer does."""
        level = self.kept[0]
        ones = {unit: {tuple(r[0] for r in self.box(MACS, step, unit)): 1} for unit in self.instances[MACS]}
        for (instance, box), _ in self.groups(MACS, level, step).items():
            place = instance, tuple(rank[0] for rank in box)
            self.counts[level].reads += place in self.touched  # the first product of an element needs no read
            self.touched.add(place)
        self.arrive(MACS, level, step, ones)
        self.remember_outermost(step)

    def per_instance(self, at: int) -> PerInstance:
        """Every instance does the same, so the sums divide evenly."""
        counts, instances = self.counts[at], len(self.instances[at])

        def share(total: int) -> int:
            assert total % instances == 0
            return total // instances

        crossing = counts.down + counts.up
        return PerInstance(
            tile=counts.tile,
            reads=share(counts.reads),
            fills=share(counts.fills),
            updates=share(counts.updates),
            final_updates=share(counts.final_updates),
            distinct=share(len(counts.held)),
            down=share(counts.down),
            up=share(counts.up),
            final_up=share(counts.final_up),
            additions=share(counts.additions),
            hops=counts.hops / crossing if crossing else 0.0,
        )

    def check_sums(self) -> None:
        """No product is lost or counted twice."""
        if not self.kept:
            return
        total: dict[Element, int] = defaultdict(int)
        for instance in self.instances[self.kept[-1]]:
            for element, products in self.contains[self.kept[-1], instance].items():
                total[element] += products
        assert sum(total.values()) == math.prod(self.case.dims.values())
        assert set(total.values()) == {self.products}
