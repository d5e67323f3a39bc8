"""Why nothing fits, and what would make it fit: every lever that is named was tried.

Whether anything fits is asked of the counting of the mapspace, which prices nothing: the least capacity of a level is
found by bisection, widths are counted in one pass, constraints are left out one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from quantloom import _core
from quantloom.errors import Infeasibility, InfeasibleError, Lever, MappingError

__all__ = ["Question", "explain_infeasible"]

_MOST_FACTORIZATIONS = 3 * 10**6  # larger spaces are not counted again and again
_MOST_CONSTRAINT_LEVERS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A layer at some bits, of which nothing fits on an architecture. bits: by tensor name, none for one word each."""

    arch: _core.Arch
    workload: _core.Workload
    bits: Mapping[str, int]
    model: str
    packing: str
    psum_bits: int
    selection: str
    threads: int

    def space(self, arch: _core.Arch | None = None) -> _core.Mapspace:
        """The mapspace on the question's architecture or on another one."""
        return _core.Mapspace(arch or self.arch, self.workload, selection=self.selection)

    def fits(self, arch: _core.Arch, bits: Sequence[Mapping[str, int]] = ()) -> list[bool]:
        """Whether anything fits on the architecture, at the question's bits or at each of these."""
        counts = self.space(arch).count_many(
            [dict(each) for each in bits or [self.bits]],
            enumeration="distinct",
            model=self.model,
            packing=self.packing,
            psum_bits=self.psum_bits,
            threads=max(1, self.threads),
        )
        return [count.valid > 0 for count in counts]

    def words_of_a_mapping(self, arch: _core.Arch, level: int) -> dict[str, int]:
        """What each tensor takes at a level in the best mapping that fits on the architecture."""
        [found] = _core.optimize(
            arch,
            self.workload,
            [dict(self.bits)],
            model=self.model,
            packing=self.packing,
            psum_bits=self.psum_bits,
            selection=self.selection,
            threads=self.threads,
        )
        cost = _core.evaluate(
            arch,
            self.workload,
            found.mapping,
            bits=dict(self.bits),
            model=self.model,
            packing=self.packing,
            psum_bits=self.psum_bits,
        )
        tensors = cost.levels[arch.levels[level].name].tensors
        return {name: tensor.utilized_words for name, tensor in tensors.items() if tensor.utilized_words > 0}


def explain_infeasible(question: Question) -> InfeasibleError:
    """The error that says why nothing fits, with its report. Call it only where nothing does."""
    workload, arch = question.workload, question.arch
    text = ", ".join(f"{tensor} {width}" for tensor, width in question.bits.items()) or "one word an element"
    head = f"layer '{workload.name}' at bits {text}"
    if prod(question.space().factorizations.values()) > _MOST_FACTORIZATIONS:
        message = f"{head}: no mapping fits '{arch.name}'"
        return InfeasibleError(message, hint="the mapspace is too large to say why: use fewer bits or larger levels")
    capacities = _least_capacities(question)
    constraints = _constraint_levers(question)
    if not capacities:
        message = f"layer '{workload.name}': no mapping satisfies the constraints and the fanout of '{arch.name}'"
        report = Infeasibility(level=None, need_words=0, have_words=0, tensor_words={}, levers=tuple(constraints))
        return InfeasibleError(message, hint=_hint(report), report=report)
    [(level, need), *others] = capacities.items()
    have = arch.levels[level].capacity_words or 0
    shares = question.words_of_a_mapping(_with_capacities(arch, capacities), level)
    also = "".join(f", and {words} words of '{arch.levels[other].name}'" for other, words in others)
    levers = [
        *_bits_levers(question),
        _capacity_lever(arch, capacities),
        *_other_capacities(question, level),
        *constraints,
    ]
    report = Infeasibility(
        level=arch.levels[level].name,
        need_words=need,
        have_words=have,
        tensor_words=shares,
        levers=tuple(levers),
    )
    parts = ", ".join(f"{tensor} {words}" for tensor, words in shares.items())
    message = (
        f"{head}: nothing fits level '{report.level}' of '{arch.name}'; the nearest mapping needs {need} words "
        f"({parts}){also}, the level has {have}"
    )
    return InfeasibleError(message, hint=_hint(report), report=report)


def _hint(report: Infeasibility) -> str:
    if not report.levers:
        return "no single constraint is to blame: relax several, or use --space free"
    return "each of these alone makes it fit: " + "; ".join(lever.text for lever in report.levers)


# ---- capacities ------------------------------------------------------------------------------------------------------


def _with_capacities(arch: _core.Arch, capacities: Mapping[int, int | None]) -> _core.Arch:
    """The architecture with other capacities (words, None: no limit) of some levels."""
    levels = [
        _with_capacity(level, capacities[number]) if number in capacities else level
        for number, level in enumerate(arch.levels)
    ]
    return _copy(arch, levels, arch.constraints)


def _copy(arch: _core.Arch, levels: Sequence[_core.Level], constraints: Sequence[_core.Constraint]) -> _core.Arch:
    return _core.Arch(
        name=arch.name,
        levels=levels,
        arithmetic=arch.arithmetic,
        constraints=constraints,
        relax_indivisible_factors=arch.relax_indivisible_factors,
        source=arch.source,
    )


def _with_capacity(level: _core.Level, words: int | None) -> _core.Level:
    names = ("name", "word_bits", "block_words", "cluster_size", "instances", "mesh_x", "mesh_y", "energy", "packing")
    fields = {name: getattr(level, name) for name in names}
    more = ("multicast", "reduction", "forwarding", "is_dram")
    return _core.Level(capacity_words=words, **fields, **{name: getattr(level, name) for name in more})


def _least_capacities(question: Question) -> dict[int, int]:
    """By level the least words with which something fits, the others as they are: of the level that lacks least.

    Several levels, if no single one is enough; none if capacities are not to blame.
    """
    arch = question.arch
    limited = [number for number, level in enumerate(arch.levels) if level.capacity_words is not None]
    unlimited: dict[int, int | None] = dict.fromkeys(limited)
    if not question.fits(_with_capacities(arch, unlimited))[0]:
        return {}
    single = {number: words for number in limited if (words := _least_capacity(question, {}, number)) is not None}
    if single:
        nearest = min(single, key=lambda number: single[number] / (arch.levels[number].capacity_words or 1))
        return {nearest: single[nearest]}
    settled: dict[int, int] = {}
    for number in limited:
        rest: dict[int, int | None] = {other: None for other in limited if other != number}
        words = _least_capacity(question, {**rest, **settled}, number)
        if words is not None and words > (arch.levels[number].capacity_words or 0):
            settled[number] = words
        elif words is not None:
            settled[number] = arch.levels[number].capacity_words or words
    return {number: words for number, words in settled.items() if words != arch.levels[number].capacity_words}


def _least_capacity(question: Question, others: Mapping[int, int | None], number: int) -> int | None:
    """The least words of one level with which something fits, the capacities of others as given; None if none do."""
    arch = question.arch

    def fits(words: int | None) -> bool:
        return question.fits(_with_capacities(arch, {**others, number: words}))[0]

    if not fits(None):
        return None
    low = 0
    high = arch.levels[number].capacity_words or 1
    while not fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _capacity_lever(arch: _core.Arch, capacities: Mapping[int, int]) -> Lever:
    parts = [
        f"'{arch.levels[number].name}' {arch.levels[number].capacity_words} -> {words} words"
        for number, words in capacities.items()
    ]
    return Lever(
        kind="capacity",
        text=f"capacity of {' and '.join(parts)}",
        capacity_words={arch.levels[number].name: words for number, words in capacities.items()},
    )


def _other_capacities(question: Question, told: int) -> Iterator[Lever]:
    """Other levels that could be made larger instead."""
    for number, level in enumerate(question.arch.levels):
        if number != told and level.capacity_words is not None:
            words = _least_capacity(question, {}, number)
            if words is not None:
                yield _capacity_lever(question.arch, {number: words})


# ---- bits ------------------------------------------------------------------------------------------------------------


def _bits_levers(question: Question) -> list[Lever]:
    """The most bits of each tensor alone, and of all of them, with which something fits."""
    names = [tensor.name for tensor in question.workload.tensors]
    if not question.bits:
        return []
    groups = {name: [name] for name in names}
    if len(groups) > 1:
        groups["all tensors"] = names
    tries: list[tuple[str, int, dict[str, int]]] = []
    for group, members in groups.items():
        widest = max(question.bits.get(name, 0) for name in members)
        for width in range(widest - 1, 0, -1):
            bits = {name: min(b, width) if name in members else b for name, b in question.bits.items()}
            tries.append((group, width, bits))
    if not tries:
        return []
    found: dict[str, Lever] = {}
    fits = question.fits(question.arch, [bits for _, _, bits in tries])
    for (group, width, bits), is_enough in zip(tries, fits, strict=True):
        if is_enough and group not in found:
            found[group] = Lever(kind="bits", text=f"{width} bits for {group}", bits=bits)
    return list(found.values())


# ---- constraints -----------------------------------------------------------------------------------------------------


def _constraint_levers(question: Question) -> list[Lever]:
    """Constraints that, left out alone, let something fit."""
    found = []
    for text, constraints in _without_one(question.arch):
        arch = _copy(question.arch, question.arch.levels, constraints)
        try:
            if prod(question.space(arch).factorizations.values()) > _MOST_FACTORIZATIONS:
                continue
            if question.fits(arch)[0]:
                found.append(Lever(kind="constraint", text=f"without {text}"))
        except (InfeasibleError, MappingError):
            continue
        if len(found) == _MOST_CONSTRAINT_LEVERS:
            break
    return found


def _without_one(arch: _core.Arch) -> Iterator[tuple[str, list[_core.Constraint]]]:
    """Each single thing that a constraint says, and the constraints without it."""
    for number, constraint in enumerate(arch.constraints):
        before, after = arch.constraints[:number], arch.constraints[number + 1 :]
        place = f" ({constraint.where})" if constraint.where else ""
        name = f"{constraint.level}, {constraint.target}"
        if constraint.target in ("keep", "utilization"):
            words = (
                f"keep {', '.join(constraint.keep)}" if constraint.keep else f"bypass {', '.join(constraint.bypass)}"
            )
            what = name if constraint.target == "utilization" else f"{constraint.level}: {words}"
            yield what + place, [*before, *after]
            continue
        for at, (dim, relation, value) in enumerate(constraint.factors):
            factors = [*constraint.factors[:at], *constraint.factors[at + 1 :]]
            changed = _core.Constraint(
                origin=constraint.origin,
                level=constraint.level,
                target=constraint.target,
                factors=factors,
                permutation_inner=constraint.permutation_inner,
                permutation_outer=constraint.permutation_outer,
                has_permutation=constraint.has_permutation,
                split=constraint.split,
                where=constraint.where,
            )
            shown = "all" if relation == "=" and value == 0 else value
            yield f"{name}: {dim} {relation} {shown}{place}", [*before, changed, *after]
