"""The default cost model once more, slow and obvious: walk the nest step by step and move elements about.

Nothing here is shared with the core, and nothing is a closed form: every buffer instance is a set of elements, every
output element carries the number of products it contains, and whatever moves is counted when it moves. The rules are
those of docs/model.md; they are repeated where they act.

A set of elements is an integer with one bit per element (a & ~b: in a but not in b; bit_count: how many). Elements are
numbered rank by rank like the entries of an array, so a tile that moves is the same pattern of bits, shifted. Of an
output every element has a field of several bits: its set uses the lowest, the number of products fills it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

from .records import Case, Counts, Tensor, nest_of
from .sharing import Group, hops_to, position, size_if_apart

MACS = -1  # stands for a level: the arithmetic units


class Simulator:
    """Counts of one tensor. Instances of a level are numbered in the order of the spatial loops outside of it."""

    def __init__(self, case: Case, tensor: Tensor) -> None:
        self.case, self.tensor = case, tensor
        self.loops = nest_of(case)
        self.kept = [at for at, level in enumerate(case.levels) if tensor.name in level.keep]
        self.chain = list(itertools.pairwise([MACS, *self.kept]))  # (child, parent), inner ones first
        self.counted = range(len(case.levels))
        self.counts = [Counts() for _ in self.counted]
        related = {dim for rank in tensor.ranks for dim, _ in rank}
        self.products = math.prod(bound for dim, bound in case.dims.items() if dim not in related)
        used = [[(dim, factor) for dim, factor in rank if case.dims[dim] > 1] for rank in tensor.ranks]
        self.windowed = any(len(rank) > 1 or factor > 1 for rank in used for _, factor in rank)
        most = math.prod(case.dims.values()) if self.windowed else self.products  # that an element has
        self.field = 1 + most.bit_length() if tensor.is_output else 1  # bits of an element
        self.stride = [self.field]  # bits from an element to the next one, by rank
        for rank in reversed(tensor.ranks):
            self.stride.insert(0, self.stride[0] * self.extent(rank, case.dims))
        self.moves = [self.shift(at) for at in range(len(self.loops))]
        self.across = [[loop for loop in self.loops if loop.axis != "t" and loop.level == at] for at in self.counted]
        levels = [MACS, *self.counted]
        self.pattern = {at: self.first_tile(at) for at in levels}
        self.times = {at: self.shifts("t", at) for at in levels}  # of the tile at every step
        self.places = {at: self.shifts("yx", at) for at in levels}  # of the tile in every instance
        self.fanout = [len(self.places[at - 1]) // len(self.places[at]) for at in self.counted]
        self.shared: dict[tuple[int, int, str], list[Group]] = {}
        self.resident = {at: [0] * len(self.places[at]) for at in levels}  # the current tiles
        self.seen = {at: [0] * len(self.places[at]) for at in levels}  # all tiles so far
        self.begun = {at: [0] * len(self.places[at]) for at in levels}  # elements that have a sum here
        self.contains = {at: [0] * len(self.places[at]) for at in levels}  # products in these sums, a field each
        self.updated = {at: [0] * len(self.places[at]) for at in levels}  # elements that ever got a sum from inside
        self.handed: dict[tuple[int, int], dict[int, int]] = {}  # by (child, level): what each group ever handed up

    @staticmethod
    def extent(rank: tuple[tuple[str, int], ...], bounds: dict[str, int]) -> int:
        return 1 + sum((bounds[dim] - 1) * factor for dim, factor in rank)

    def first_tile(self, level: int) -> int:
        """The bounding box of what the loops inside touch, before any loop outside moves."""
        inside = dict.fromkeys(self.case.dims, 1)
        for loop in self.loops:
            inside[loop.dim] *= loop.bound if loop.level <= level else 1
        pattern = 1
        for rank, bits in zip(self.tensor.ranks, self.stride[1:], strict=True):
            pattern = sum([pattern << at * bits for at in range(self.extent(rank, inside))])
        return pattern

    def shift(self, at: int) -> int:
        """How far a loop moves a tile each time it advances."""
        dim = self.loops[at].dim
        inside = math.prod([loop.bound for loop in self.loops[at + 1 :] if loop.dim == dim])
        ranks = zip(self.tensor.ranks, self.stride[1:], strict=True)
        return sum([inside * factor * bits for rank, bits in ranks for other, factor in rank if other == dim])

    def shifts(self, axes: str, level: int) -> list[int]:
        """How far the loops of these axes outside of a level move its tile, for all their indices in order."""
        found = [0]
        for loop, shift in zip(self.loops, self.moves, strict=True):
            if loop.axis in axes and loop.level > level:
                found = [start + index * shift for start in found for index in range(loop.bound)]
        return found

    def tiles(self, level: int, time: int) -> list[int]:
        """The tiles of all instances; `time` is one of times[level]."""
        return [self.pattern[level] << time + place for place in self.places[level]]

    def groups(self, child: int, level: int, flag: str = "") -> list[Group]:
        """Children with equal tiles: as all move in step, they have equal tiles at every step if they do at first.

        Across the loops of a level without `flag` (multicast or reduction) nothing is shared.
        """
        key = child, level, flag
        if key not in self.shared:
            lone = [at for at in range(child + 1, level + 1) if flag and not getattr(self.case.levels[at], flag)]
            members = defaultdict(list)
            for instance, place in enumerate(self.places[child]):
                branches = tuple([self.above(child, instance, at - 1) % self.fanout[at] for at in lone])
                members[self.above(child, instance, level), place, branches].append(instance)
            self.shared[key] = [self.group(child, level, sharing) for sharing in members.values()]
        return self.shared[key]

    def above(self, child: int, instance: int, level: int) -> int:
        """The instance of a level that an instance of a child is in."""
        return instance * len(self.places[level]) // len(self.places[child])

    def group(self, child: int, level: int, members: list[int]) -> Group:
        reached = {self.above(child, member, level - 1) for member in members}
        return Group(members, self.above(child, members[0], level), len(reached), self.hops(level, reached))

    def hops(self, level: int, reached: set[int]) -> float:
        """Of one element on the network of a level to all of its children in `reached`."""
        if self.fanout[level] == 1:
            return 0.0
        below = self.case.levels[level - 1].mesh if level > 0 else self.case.units
        rows = below[1] // self.case.levels[level].mesh[1]
        return hops_to([position(self.across[level], instance) for instance in reached], rows)

    def run(self) -> list[Counts]:
        if self.tensor.is_output:
            self.walk_output()
            self.check_sums()
        else:
            for child, parent in self.chain:
                self.walk_input(child, parent)
        return [self.per_instance(at) for at in range(len(self.counts))]

    def walk_input(self, child: int, parent: int) -> None:
        """A buffer takes what its new tile adds to the old one; arithmetic units hold nothing and take all."""
        arrays: dict[int, list[int]] = {}  # by level: what the children below each instance hold together
        for time in self.times[child]:
            tiles = self.tiles(child, time)
            new = [tile & ~old for tile, old in zip(tiles, self.resident[child], strict=True)]
            if child != MACS:
                self.resident[child] = tiles
                self.counts[child].fills += sum(map(int.bit_count, new))
            if self.case.levels[parent].forwarding:
                self.pass_on(child, parent, tiles, new, arrays)
            else:
                self.counts[parent].reads += self.hand_down(child, parent, new, "multicast")

    def hand_down(self, child: int, parent: int, new: list[int], flag: str) -> int:
        """Elements for the children cross every network in between, once per group; returns what leaves the parent."""
        sizes = [elements.bit_count() for elements in new]
        sent = 0
        for level in range(child + 1, parent + 1) if any(sizes) else ():
            sent = sum([sizes[group.members[0]] for group in self.groups(child, level, flag)])
            self.counts[level].down += sent
        return sent

    def pass_on(self, child: int, parent: int, tiles: list[int], new: list[int], arrays: dict[int, list[int]]) -> None:
        """What some child below the same instance of a level held is passed on there; the rest enters it once."""
        for level in range(child + 1, parent + 1):
            together = [0] * len(self.places[level])
            for instance, tile in enumerate(tiles):
                together[self.above(child, instance, level)] |= tile
            before = arrays.get(level, [0] * len(together))
            fresh = sum([(now & ~old).bit_count() for now, old in zip(together, before, strict=True)])
            self.counts[level].down += fresh
            if child != MACS:
                arrays[level] = together
        self.counts[parent].reads += fresh
        self.counts[parent].links -= fresh
        for group in self.groups(child, parent, "multicast"):
            self.counts[parent].links += new[group.members[0]].bit_count()

    def walk_output(self) -> None:
        """At every step: drain what leaves, inner levels first; refill what comes back, outer levels first; compute."""
        for step, time in enumerate(self.times[MACS]):
            moving = []
            for child, parent in self.chain[1:]:
                pace = len(self.times[MACS]) // len(self.times[child])
                if step % pace == 0:
                    moving.append((child, parent, self.tiles(child, self.times[child][step // pace])))
            for child, parent, tiles in moving:
                self.drain(child, parent, tiles)
            for child, parent, tiles in reversed(moving):
                self.refill(child, parent, tiles)
            if self.kept:
                ones = self.tiles(MACS, time)
                self.hand_up(MACS, self.kept[0], ones, ones)  # a product of every unit
        for child, parent in self.chain[1:]:
            self.drain(child, parent, [0] * len(self.places[child]))
        if self.windowed:
            self.find_final()

    def find_final(self) -> None:
        """Of sums with unequally many products the last one of each element is final: there are no parts elsewhere, if
        nobody else ever has one of these elements. What units hand up is a sum only if they do so once."""
        for (child, level), sets in self.handed.items():
            size = size_if_apart(sets.values())
            self.counts[level].final_up = size if child != MACS or size == self.counts[level].up else 0
        for at in self.kept:
            self.counts[at].final_updates = size_if_apart(self.updated[at])

    def drain(self, child: int, parent: int, tiles: list[int]) -> None:
        """Sums of elements that are not in the new tile go to the parent."""
        leaving, sums = [], []
        for at, tile in enumerate(tiles):
            leaving.append(self.resident[child][at] & ~tile)
            sums.append(self.contains[child][at] & self.fields(leaving[at]))
            self.contains[child][at] -= sums[at]
            self.begun[child][at] &= tile
            self.resident[child][at] &= tile
        if any(leaving):
            self.hand_up(child, parent, leaving, sums)

    def hand_up(self, child: int, parent: int, elements: list[int], sums: list[int]) -> None:
        """The sums of a group are added up on the way, where the networks can, and update the parent once."""
        for level in range(child + 1, parent + 1):
            counts = self.counts[level]
            sets = self.handed.setdefault((child, level), defaultdict(int))
            for number, group in enumerate(self.groups(child, level, "reduction")):
                moved = elements[group.members[0]]
                sets[number] |= moved
                total = sum([sums[member] for member in group.members])
                size = moved.bit_count()
                counts.up += size
                counts.final_up += 0 if self.windowed else self.complete(moved, total)
                counts.additions += size * (group.branches - 1)
                if level == parent:
                    self.update(parent, group.above, moved, total)

    def update(self, level: int, instance: int, elements: int, sums: int) -> None:
        """Where a sum has begun it is read first. The update is final if the sum then contains every product."""
        counts = self.counts[level]
        counts.reads += (elements & self.begun[level][instance]).bit_count()
        counts.updates += elements.bit_count()
        self.begun[level][instance] |= elements
        self.updated[level][instance] |= elements
        self.contains[level][instance] += sums
        counts.final_updates += 0 if self.windowed else self.complete(elements, self.contains[level][instance])

    def refill(self, child: int, parent: int, tiles: list[int]) -> None:
        """A sum that was here before comes back: one member of the group gets it, the others start from zero.

        It is read if the parent has it, and not another group whose tile overlaps.
        """
        back = [0] * len(tiles)
        for group in self.groups(child, parent):
            for member in group.members:
                arriving = tiles[member] & ~self.resident[child][member]
                back[member] = arriving & self.seen[child][member]
                self.begun[child][member] |= back[member] & self.updated[child][member]
                self.counts[child].fills += back[member].bit_count()
                self.seen[child][member] |= arriving
                self.resident[child][member] = tiles[member]
            taken = back[group.members[0]] & self.begun[parent][group.above]
            self.counts[parent].reads += taken.bit_count()
            sums = self.contains[parent][group.above] & self.fields(taken)
            self.contains[child][group.members[0]] += sums
            self.contains[parent][group.above] -= sums
            self.begun[parent][group.above] &= ~taken
        self.hand_down(child, parent, back, "")

    def fields(self, elements: int) -> int:
        """All bits of these elements."""
        return elements * ((1 << self.field) - 1)

    def complete(self, elements: int, sums: int) -> int:
        """How many of these elements contain every product: only then their field reaches its highest bit here."""
        highest = 1 << self.field - 1
        raised = (sums & self.fields(elements)) + elements * (highest - self.products)
        return (raised & elements * highest).bit_count()

    def per_instance(self, level: int) -> Counts:
        """Every instance does the same, so the sums divide evenly."""
        counts, instances = self.counts[level], len(self.places[level])
        passed = [0] * instances
        for time in self.times[level] if level in self.kept else []:
            passed = [before | tile for before, tile in zip(passed, self.tiles(level, time), strict=True)]
        counts.tile = self.pattern[level].bit_count() * instances
        counts.distinct = sum(map(int.bit_count, passed))
        assert not any(total % instances for total in vars(counts).values())
        shares = Counts(**{name: total // instances for name, total in vars(counts).items()})
        for child in (child for child, parent in self.chain if child < level <= parent):
            down, up = ("", "reduction") if self.tensor.is_output else ("multicast", "")
            shares.down_hops = self.mean_hops(child, level, down)
            shares.up_hops = self.mean_hops(child, level, up)
        return shares

    def mean_hops(self, child: int, level: int, flag: str) -> float:
        """All groups move equally many elements."""
        groups = self.groups(child, level, flag)
        return sum([group.hops for group in groups]) / len(groups)

    def check_sums(self) -> None:
        """No product is lost or counted twice."""
        if self.kept and not self.windowed:
            assert sum(self.contains[self.kept[-1]]) == self.first_tile(len(self.case.levels)) * self.products
        sums, found = sum(self.contains[self.kept[-1]]) if self.kept else 0, 0
        while sums:
            found += sums & (1 << self.field) - 1
            sums >>= self.field
        assert found == (math.prod(self.case.dims.values()) if self.kept else 0)
