"""Partially given mappings as constraints: what is given, together with what the architecture's own constraints leave.

The result is an architecture whose constraints are those of both for one workload, so that everything that starts from
constraints - sizes, counts, searches, certificates - holds for the rest that is searched, without knowing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.mapper.membership import Block, find_outside_block, fixed_orders
from quantloom.spec.partial_mapping import GivenLevel, GivenLoop, GivenLoops, PartialMapping

__all__ = ["fix_loops"]

_WHOLE = "give the whole of x and of y, without `...`"
_NOTHING = GivenLoops(outer=(), middle=(), inner=(), is_whole=False, where="")


def fix_loops(
    arch: _core.Arch, workload: _core.Workload, given: PartialMapping, *, selection: str = "all"
) -> _core.Arch:
    """The architecture with what `given` fixes of the mapping of `workload`, to be searched with all its constraints.

    selection: the constraints of the architecture that hold as well, as for `Mapspace`. The mapspace of the result
    holds the mappings of the architecture's mapspace that have the given loops. Raises SpecError, with the place in
    the file, for what contradicts the architecture's constraints, and as `Mapspace` does.
    """
    space = _core.Mapspace(arch, workload, selection=selection)
    dims = tuple(workload.dims)
    with_fanout = {block["level"] for block in space.blocks if block["kind"] == "spatial"}
    for name, level in given.levels.items():
        if name not in with_fanout:
            _refuse_loops(level, name)
    constraints = []
    for number, block in enumerate(space.blocks):
        level_given = given.levels.get(block["level"])
        constraints.append(_Fixer(arch, dims, number, block).fix(level_given))
    for name, tensors in space.keep.items():
        constraints.append(_fix_keep(arch, name, dict(tensors), given.levels.get(name)))
    utilization = [c for c in arch.constraints if c.target == "utilization" and _holds(c, selection)]
    fixed = _core.Arch(
        name=arch.name,
        levels=arch.levels,
        arithmetic=arch.arithmetic,
        constraints=[*constraints, *utilization],
        source=arch.source,
    )
    _check_factorizations(fixed, workload, given)
    return fixed


def _holds(constraint: _core.Constraint, selection: str) -> bool:
    return selection == "all" or (selection == "architecture" and constraint.origin == "architecture")


def _refuse_loops(level: GivenLevel, name: str) -> None:
    for axis in (level.spatial_x, level.spatial_y):
        for loop in axis.loops if axis is not None else ():
            if loop.bound is not None and loop.bound > 1:
                message = f"{loop.where}: {name} has no fanout, but a spatial loop [{loop.dim}, {loop.bound}] is given"
                raise SpecError(message, hint="give it as a temporal loop")


def _check_factorizations(arch: _core.Arch, workload: _core.Workload, given: PartialMapping) -> None:
    """The factors given and those of the architecture must divide the bounds together."""
    for dim, bound in workload.dims.items():
        product, parts = 1, []
        for constraint in arch.constraints:
            for name, relation, value in constraint.factors:
                if name == dim and relation == "=" and value > 1:
                    product *= value
                    parts.append(f"{value} ({constraint.level}, {constraint.target})")
        if bound % product:
            message = f"{given.where}: with the constraints of '{arch.name}' the factors of {dim} are fixed to "
            message += f"{', '.join(parts)}, which do not divide its bound {bound}"
            raise SpecError(message, hint=f"give another factor of {dim}, or leave it open at one level")


def _fix_keep(arch: _core.Arch, level: str, keep: dict[str, str], given: GivenLevel | None) -> _core.Constraint:
    for tensor, is_kept in (given.keep if given is not None else {}).items():
        wanted = "keep" if is_kept else "bypass"
        if keep[tensor] not in ("open", wanted) and given is not None:
            words = {"keep": "keeps", "bypass": "bypasses"}
            message = (
                f"{given.where}: {level} {words[wanted]} {tensor}, but '{arch.name}' {words[keep[tensor]]} it there"
            )
            raise SpecError(message + _place(arch, level, "keep"), hint="leave it out")
        keep[tensor] = wanted
    return _core.Constraint(
        origin="architecture",
        level=level,
        target="keep",
        keep=[tensor for tensor, choice in keep.items() if choice == "keep"],
        bypass=[tensor for tensor, choice in keep.items() if choice == "bypass"],
        where=given.where if given is not None else "",
    )


def _place(arch: _core.Arch, level: str, target: str) -> str:
    """Where the architecture's file constrains this, for the end of a message."""
    places = [c.where for c in arch.constraints if c.level == level and c.target == target and c.where]
    return f" ({', '.join(dict.fromkeys(places))})" if places else ""


@dataclass(slots=True)
class _Order:
    """Dims fixed innermost and outermost, inner to outer, and how many leading dims lie on X."""

    inner: list[str]
    outer: list[str]
    split: int | None


class _Fixer:
    """Joins what is given for one block of loops with what the constraints leave there."""

    def __init__(self, arch: _core.Arch, dims: tuple[str, ...], number: int, block: Block) -> None:
        self.arch = arch
        self.dims = dims
        self.number = number
        self.block = block
        self.is_spatial = block["kind"] == "spatial"
        self.is_2d = block["fanout_x"] > 1 and block["fanout_y"] > 1
        self.factors: dict[str, tuple[int, int]] = dict(block["factors"])
        self.order = _Order(list(block["inner"]), list(block["outer"]), block["split"])
        self.has_order = bool(block["has_permutation"]) or block["split"] is not None
        self.place = _place(arch, block["level"], block["kind"])
        self.where = ""

    def fix(self, given: GivenLevel | None) -> _core.Constraint:
        if given is not None:
            self.where = given.where
            if self.is_spatial:
                self._fix_spatial(given.spatial_x or _NOTHING, given.spatial_y or _NOTHING)
            elif given.temporal is not None:
                self._fix_temporal(given.temporal)
        return self._constraint()

    def _constraint(self) -> _core.Constraint:
        factors: list[Any] = []  # Any: (dim, relation, value), a Literal in the middle
        for dim, (least, most) in self.factors.items():
            factors += [(dim, "=", least)] if least == most else [(dim, ">=", least), (dim, "<=", most)]
        return _core.Constraint(
            origin="architecture",
            level=self.block["level"],
            target=self.block["kind"],
            factors=factors,
            permutation_inner=self.order.inner,
            permutation_outer=self.order.outer,
            has_permutation=bool(self.order.inner or self.order.outer),
            split=self.order.split if self.is_spatial else None,
            where=self.where,
        )

    # ---- factors

    def _fail(self, where: str, what: str, hint: str = "") -> None:
        name = f"{self.block['level']}, {self.block['kind']}"
        message = f"{where}: {name}: {what}"
        raise SpecError(message, hint=hint or "give what the constraints leave, or use --space free")

    def _fix_factors(self, loops: Iterable[GivenLoop]) -> None:
        for loop in loops:
            least, most = self.factors[loop.dim]
            if loop.bound is None:
                continue
            if not least <= loop.bound <= most:
                leave = str(least) if least == most else f"{least} to {most}"
                of = f"the constraints of '{self.arch.name}'{self.place} leave {leave}"
                self._fail(loop.where, f"[{loop.dim}, {loop.bound}] is given, but {of} for {loop.dim}")
            self.factors[loop.dim] = (loop.bound, loop.bound)

    def _force_unit(self, dim: str, where: str, why: str) -> None:
        """There can be no loop over the dim here."""
        least, _ = self.factors[dim]
        if least > 1:
            by = f"the constraints of '{self.arch.name}'{self.place} ask for a loop over {dim} of at least {least}"
            self._fail(where, f"{by}, {why}")
        self.factors[dim] = (1, 1)

    def _units(self) -> set[str]:
        return {dim for dim, (_, most) in self.factors.items() if most == 1}

    # ---- whole lists: the order is given too

    def _fix_whole(self, on_x: Sequence[GivenLoop], on_y: Sequence[GivenLoop], where: str) -> None:
        """Loops from outer to inner; there are no others."""
        self._fix_factors((*on_x, *on_y))
        listed = {loop.dim for loop in (*on_x, *on_y)}
        for dim in self.dims:
            if dim not in listed:
                self._force_unit(dim, where, "the list given has none")
        inner_x, inner_y = (
            [(loop.dim, self.factors[loop.dim][1]) for loop in reversed(loops) if self.factors[loop.dim][1] > 1]
            for loops in (on_x, on_y)
        )
        is_free = not self.has_order if self.is_spatial else self.number == 0
        if not is_free:
            orders = fixed_orders(self.number, self.block, self.dims)
            for fault in find_outside_block(inner_x, inner_y, self.block, orders, self.dims):
                self._fail(where, f"{fault}, says a constraint of '{self.arch.name}'{self.place}")
        names = [loop.dim for loop in (*reversed(on_x), *reversed(on_y))]
        self.order = _Order([*names, *(dim for dim in self.dims if dim not in listed)], [], None)
        if self.is_spatial:
            self.order.split = len(on_x)

    # ---- temporal

    def _fix_temporal(self, given: GivenLoops) -> None:
        if given.is_whole:
            self._fix_whole((), given.loops, given.where)
            return
        self._fix_factors(given.loops)
        total = [*self.order.inner, *self.order.outer]
        is_total = len(total) == len(self.dims)
        inner = self._merge(total if is_total else self.order.inner, given.inner[::-1], "innermost")
        outer = self._merge((total if is_total else self.order.outer)[::-1], given.outer, "outermost")[::-1]
        if is_total:
            self.order.inner, self.order.outer = total, []
            return
        for dim in [dim for dim in inner if dim in outer and dim not in self._units()]:
            # Innermost and outermost: what would have to lie beyond it on either side cannot be.
            inside, outside = inner[: inner.index(dim) + 1], outer[outer.index(dim) + 1 :]
            for other in self.dims:
                if other not in inside and other not in outside:
                    self._force_unit(other, given.where, f"but {dim} is to be both innermost and outermost there")
            inner, outer = inside, outside
        self.order.inner, self.order.outer = inner, [dim for dim in outer if dim not in inner]

    def _merge(self, by_arch: Sequence[str], given: Sequence[GivenLoop], end: str) -> list[str]:
        """Dims from one end on: those the architecture fixes there with those given. A loop that would have to lie
        beyond a given one cannot be.
        """
        merged: list[str] = []
        left = list(by_arch)
        for loop in given:
            while left and left[0] != loop.dim and loop.dim not in self._units():
                dim = left.pop(0)
                if dim not in self._units() and loop.bound is None:
                    by = f"'{self.arch.name}'{self.place} puts {dim} there"
                    self._fail(
                        loop.where, f"{loop.dim} is given {end}, but {by}", f"give {loop.dim} a bound, or drop it"
                    )
                self._force_unit(dim, loop.where, f"but {loop.dim} is given {end} of it")
                merged.append(dim)
            if loop.dim in left:
                left.remove(loop.dim)
            merged.append(loop.dim)
        merged = list(dict.fromkeys(merged))
        return merged + [dim for dim in left if dim not in merged]

    # ---- spatial

    def _fix_spatial(self, on_x: GivenLoops, on_y: GivenLoops) -> None:
        if not (on_x.where or on_y.where):
            return
        where = on_x.where or on_y.where
        axes = {"X": on_x, "Y": on_y}
        for axis, fanout in (("X", self.block["fanout_x"]), ("Y", self.block["fanout_y"])):
            if fanout > 1:
                continue
            for loop in axes[axis].loops:
                if loop.bound is None or loop.bound > 1:
                    self._fail(loop.where, f"{loop.dim} is given along {axis}, which has no fanout")
            axes[axis] = GivenLoops(outer=(), middle=(), inner=(), is_whole=True, where=where)
        on_x, on_y = axes["X"], axes["Y"]
        if on_x.is_whole and on_y.is_whole:
            self._fix_whole(on_x.loops, on_y.loops, where)
            return
        self._fix_factors((*on_x.loops, *on_y.loops))
        if self.is_2d and not self.has_order:
            self._split_open(on_x, on_y, where)
        elif self.is_2d:
            self._check_axes(on_x, on_y, where)

    def _split_open(self, on_x: GivenLoops, on_y: GivenLoops, where: str) -> None:
        """Neither order nor split is constrained; one axis is given whole."""
        if not on_x.is_whole and not on_y.is_whole:
            self._fail(where, "which loops lie on X and which on Y is open", "give x or y whole, without `...`")
        inner_x, inner_y = ([loop.dim for loop in axis.inner[::-1]] for axis in (on_x, on_y))
        outer_x, outer_y = ([loop.dim for loop in axis.outer[::-1]] for axis in (on_x, on_y))
        if on_x.is_whole:
            self.order = _Order([*outer_x, *inner_y], outer_y, len(outer_x))
            known = {loop.dim for loop in on_x.loops}
        else:
            self.order = _Order(inner_x, [*outer_x, *outer_y], len(self.dims) - len(outer_y))
            known = {loop.dim for loop in on_y.loops}
        middle = [loop for axis in (on_x, on_y) for loop in axis.middle if loop.dim not in known]
        for loop in middle:
            if loop.bound is None:
                self._fail(loop.where, f"nothing is given of {loop.dim}", "give it a bound or a place")

    def _check_axes(self, on_x: GivenLoops, on_y: GivenLoops, where: str) -> None:
        """The constraints say where dims lie: what is given must agree."""
        for axis, given in (("X", on_x), ("Y", on_y)):
            places = [self._position(loop) for loop in given.loops]
            if len(places) > 1 and (None in places or places != sorted(places, reverse=True)):  # type: ignore[type-var]
                by = f"the constraints of '{self.arch.name}'{self.place}"
                self._fail(given.where, f"the order given along {axis} is not the one that {by} leave", _WHOLE)
            for loop in given.loops:
                lies_on = self._axis(loop.dim)
                if lies_on is None:
                    self._fail(loop.where, f"'{self.arch.name}' leaves open on which axis {loop.dim} lies", _WHOLE)
                if lies_on != axis:
                    by = f"the constraints of '{self.arch.name}'{self.place} put it on {lies_on}"
                    self._fail(loop.where, f"{loop.dim} is given along {axis}, but {by}")
            for dim in self.dims if given.is_whole else ():
                if self._axis(dim) == axis and all(loop.dim != dim for loop in given.loops):
                    self._force_unit(dim, where, f"the list given along {axis} has none")

    def _position(self, loop: GivenLoop) -> int | None:
        """Of the loop's dim in the block's order, from the inside; None if it is searched."""
        inner, outer = self.order.inner, self.order.outer
        if loop.dim in inner:
            return inner.index(loop.dim)
        return len(self.dims) - len(outer) + outer.index(loop.dim) if loop.dim in outer else None

    def _axis(self, dim: str) -> str | None:
        inner, outer, split = self.order.inner, self.order.outer, self.order.split
        if split is None:
            return None
        position = self._position(GivenLoop(dim=dim, bound=None, where=""))
        if position is not None:
            return "X" if position < split else "Y"
        if split <= len(inner):
            return "Y"
        return "X" if split >= len(self.dims) - len(outer) else None
