"""The constraints that an accelerator's dataflow, or a wish to search less, puts on mappings.

    constraints:
      relax_indivisible_factors: true
      min_parallelism: 0.5         # of all arithmetic units
      architecture:                # limits of the hardware
        shared_glb:
          spatial: {factors: {N: 1, S: all}, permutation: [N, C, P], split: 2}
      mapspace:                    # narrows the search
        DRAM:
          temporal: {factors: {R: 1, Q: "<=4"}, permutation: {inner: [R, S], outer: [N]}}
        shared_glb:
          utilization: {min_fanout: 0.5, max_capacity: 0.5}  # shares of the instances below and of the words

`keep:` and `bypass:` stand in the level itself where they are fixed, or here. Fixing one thing twice is a mistake.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from quantloom import _core
from quantloom.spec.reader import MAX_COUNT, Field, Record, did_you_mean, show

__all__ = ["Vocabulary", "read_constraints", "read_level_keep"]

_Origin = Literal["architecture", "mapspace"]
_Target = Literal["temporal", "spatial"]
_Relation = Literal["=", "<=", ">="]

_BOUNDED = re.compile(r"(<=|>=)\s*([1-9][0-9]{0,15})")
_BETWEEN = re.compile(r"\s+(?=[<>])")
_FACTOR = 'a positive integer, `all` for the whole bound, or a limit such as "<=4" or ">=2"'
_PERMUTATION = "a list of dims from inner to outer, or a mapping with inner and outer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The words that constraints may use; fanout: instances below one instance, by level name."""

    dims: tuple[str, ...]
    tensors: tuple[str, ...]
    fanout: dict[str, int] = dataclasses.field(default_factory=dict)

    def with_levels(self, levels: Sequence[_core.Level], arithmetic: _core.Arithmetic) -> Vocabulary:
        """The same words and the levels (outermost first)."""
        inner = [level.instances for level in levels[1:]] + [arithmetic.instances]
        fanout = {level.name: below // level.instances for level, below in zip(levels, inner, strict=False)}
        return dataclasses.replace(self, fanout=fanout)


def read_level_keep(record: Record, level: str, vocabulary: Vocabulary) -> list[_core.Constraint]:
    """What the `keep` and `bypass` keys of a level or of a level's constraints fix; empty if there are none."""
    return _read_keep(record, "architecture", level, vocabulary)


def read_constraints(
    field: Field | None, vocabulary: Vocabulary, level_keeps: Sequence[_core.Constraint]
) -> tuple[list[_core.Constraint], bool]:
    """The constraints in file order and whether factors that do not divide a bound may be lowered.

    level_keeps: what the levels fix themselves, to find what is fixed twice.
    """
    if field is None:
        return [], False
    record = field.record(("relax_indivisible_factors", "min_parallelism", "architecture", "mapspace"))
    relax_field = record.optional("relax_indivisible_factors")
    fixed = _Fixed()
    for constraint in level_keeps:
        for tensor in [*constraint.keep, *constraint.bypass]:
            fixed.add(None, constraint.where, constraint.level, "keep", f"tensor {show(tensor)}")
    constraints: list[_core.Constraint] = []
    sections: tuple[_Origin, ...] = ("architecture", "mapspace")
    for origin in sections:
        section = record.optional(origin)
        if section is None:
            continue
        for key, value in section.entries("a mapping from level names to constraints"):
            constraints += _read_level(key, value, origin, vocabulary, fixed)
    parallelism = record.optional("min_parallelism")
    if parallelism is not None and vocabulary.fanout:
        constraints.append(
            _core.Constraint(
                origin="mapspace",
                level=next(iter(vocabulary.fanout)),  # holds for all levels; it must stand at one
                target="utilization",
                min_parallelism=_read_share(parallelism),
                where=parallelism.where,
            )
        )
    return constraints, relax_field is not None and relax_field.boolean()


class _Fixed:
    """What has been fixed so far, and where."""

    def __init__(self) -> None:
        self._where: dict[tuple[str, str, str], str] = {}

    def add(self, field: Field | None, where: str, level: str, target: str, what: str) -> None:
        key = (level, target, what)
        if key in self._where and field is not None:
            field.fail(f"{what} is fixed a second time, first at {self._where[key]}")
        self._where.setdefault(key, where)


def _read_level(
    key: Field, value: Field, origin: _Origin, vocabulary: Vocabulary, fixed: _Fixed
) -> list[_core.Constraint]:
    level = key.text_or_empty()
    if level not in vocabulary.fanout:
        hint = did_you_mean(level, tuple(vocabulary.fanout), what="known levels")
        key.fail(f"unknown level {show(level)}", hint)
        return []
    keys = ("temporal", "spatial", "keep", "bypass", "utilization")
    record = value.record(keys, f"a mapping with {', '.join(keys)}")
    constraints = _read_keep(record, origin, level, vocabulary)
    for constraint in constraints:
        for tensor in [*constraint.keep, *constraint.bypass]:
            fixed.add(value, value.where, level, "keep", f"tensor {show(tensor)}")
    targets: tuple[_Target, ...] = ("temporal", "spatial")
    for target in targets:
        body = record.optional(target)
        if body is not None:
            constraints.append(_read_block(body, origin, level, target, vocabulary, fixed))
    use = record.optional("utilization")
    if use is not None:
        constraints.append(_read_utilization(use, origin, level))
    return constraints


def _read_utilization(field: Field, origin: _Origin, level: str) -> _core.Constraint:
    keys = ("min_fanout", "max_fanout", "min_capacity", "max_capacity")
    record = field.record(keys, f"a mapping with {', '.join(keys)}")
    shares = {key: None if (found := record.optional(key)) is None else _read_share(found) for key in keys}
    for what in ("fanout", "capacity"):
        least, most = shares[f"min_{what}"], shares[f"max_{what}"]
        if least is not None and most is not None and least > most:
            field.fail(f"`min_{what}` is above `max_{what}`")
    return _core.Constraint(
        origin=origin,
        level=level,
        target="utilization",
        min_fanout=shares["min_fanout"],
        max_fanout=shares["max_fanout"],
        min_capacity=shares["min_capacity"],
        max_capacity=shares["max_capacity"],
        where=field.where,
    )


def _read_share(field: Field) -> float:
    """A number above 0, at most 1."""
    before = len(field.problems)
    share = field.number(above=True)
    if len(field.problems) > before:
        return 1.0
    if share > 1:
        field.expected("a share above 0, at most 1", "0.5 is half of it")
        return 1.0
    return share


def _read_block(
    field: Field, origin: _Origin, level: str, target: _Target, vocabulary: Vocabulary, fixed: _Fixed
) -> _core.Constraint:
    keys = ("factors", "permutation", "split") if target == "spatial" else ("factors", "permutation")
    record = field.record(keys, f"a mapping with {', '.join(keys)}")
    factors = []
    factors_field = record.optional("factors")
    for key, value in factors_field.entries("a mapping from dims to factors") if factors_field else []:
        dim = _read_word(key, vocabulary.dims, "dim")
        for relation, factor in _read_factor(value):
            factors.append((dim, relation, factor))
            if relation == "=":
                fixed.add(value, value.where, level, target, f"the factor of dim {show(dim)}")
            # After a mistake in the levels the fanout may be a stand-in.
            is_above = relation != "<=" and factor > vocabulary.fanout[level]
            if target == "spatial" and is_above and not len(value.problems):
                value.expected(f"at most the fanout of {show(level)}, {vocabulary.fanout[level]}")
    permutation = record.optional("permutation")
    inner, outer = ([], []) if permutation is None else _read_permutation(permutation, vocabulary)
    if permutation is not None:
        fixed.add(permutation, permutation.where, level, target, "the permutation")
    split_field = record.optional("split")
    split = None
    if split_field is not None:
        split = split_field.integer(minimum=0, maximum=len(vocabulary.dims))
        fixed.add(split_field, split_field.where, level, target, "the split")
    return _core.Constraint(
        origin=origin,
        level=level,
        target=target,
        factors=factors,
        permutation_inner=inner,
        permutation_outer=outer,
        has_permutation=permutation is not None,
        split=split,
        where=field.where,
    )


def _read_factor(field: Field) -> list[tuple[_Relation, int]]:
    """(relation, value), or two where both limits are given; value 0 with "=" stands for the dim's whole bound."""
    text = field.text_or_empty()
    if text == "all":
        return [("=", 0)]
    parts = [_BOUNDED.fullmatch(part) for part in _BETWEEN.split(text)]
    limits: list[tuple[_Relation, int]] = [
        ("<=" if match[1] == "<=" else ">=", int(match[2])) for match in parts if match is not None
    ]
    if len(limits) == len(parts) <= 2 and len({relation for relation, _ in limits}) == len(parts):
        if all(value <= MAX_COUNT for _, value in limits):
            return limits
    elif text.isdecimal() and text != "0" and len(text) <= 12:
        return [("=", field.integer())]
    field.expected(_FACTOR, "write `all` for the whole bound of the dim" if text == "0" else None)
    return [("=", 1)]


def _read_permutation(field: Field, vocabulary: Vocabulary) -> tuple[list[str], list[str]]:
    """(inner, outer), each from inner to outer; dims in neither are searched in between."""
    parts: tuple[Field | None, Field | None] = (field, None)
    if field.is_mapping:
        record = field.record(("inner", "outer"))
        parts = (record.optional("inner"), record.optional("outer"))
    seen: set[str] = set()
    words: list[list[str]] = [[], []]
    for part, found in zip(parts, words, strict=True):
        for item in part.items(_PERMUTATION) if part is not None else []:
            dim = _read_word(item, vocabulary.dims, "dim")
            if dim and dim in seen:
                item.fail(f"dim {show(dim)} stands twice in one permutation")
            seen.add(dim)
            found.append(dim)
    return words[0], words[1]


def _read_keep(record: Record, origin: _Origin, level: str, vocabulary: Vocabulary) -> list[_core.Constraint]:
    words: dict[str, list[str]] = {"keep": [], "bypass": []}
    where = ""
    for key, found in words.items():
        field = record.optional(key)
        if field is None:
            continue
        where = where or field.where
        if field.text_or_empty() == "all":
            found += vocabulary.tensors
            items: list[Field] = []
        else:
            items = field.items("a list of tensors, or `all`")
        for item in items:
            tensor = _read_word(item, vocabulary.tensors, "tensor")
            if tensor and tensor in found:
                item.fail(f"tensor {show(tensor)} is listed twice")
            found.append(tensor)
        both = sorted(set(words["keep"]) & set(words["bypass"]) - {""})
        if both and key == "bypass":
            field.fail(f"tensor {show(both[0])} is also in keep, expected it in one of them")
    if not where:
        return []
    return [
        _core.Constraint(
            origin=origin, level=level, target="keep", keep=words["keep"], bypass=words["bypass"], where=where
        )
    ]


def _read_word(field: Field, known: tuple[str, ...], what: str) -> str:
    """A word of the vocabulary, as written; empty after a mistake."""
    if not field.is_text:
        field.expected(f"a {what}")
        return ""
    word = field.text_or_empty()
    if word not in known:
        field.fail(f"unknown {what} {show(word)}", did_you_mean(word, known, what=f"known {what}s"))
        return ""
    return word
