"""Timeloop mappings: a list of directives, each for one level's temporal loops, spatial loops or kept data spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from quantloom._core import Arch, LevelMapping, Mapping, Workload
from quantloom.spec.reader import Field, Record, did_you_mean, show
from quantloom.timeloop.documents import Documents, Notes
from quantloom.timeloop.words import read_factors, read_names, read_permutation

__all__ = ["check_mapping", "read_mapping"]

_TYPES = ("temporal", "spatial", "bypass", "datatype", "dataspace", "bypassing")
_KEYS = ("target", "name", "type", "factors", "permutation", "split", "keep", "bypass", "version")

Loops = list[tuple[str, int]]


@dataclass(slots=True)
class _Level:
    """The directives of one level as read; loops from outer to inner."""

    temporal: Loops = field(default_factory=list)
    spatial_x: Loops = field(default_factory=list)
    spatial_y: Loops = field(default_factory=list)
    bypass: set[str] = field(default_factory=set)
    seen: dict[str, str] = field(default_factory=dict)


def read_mapping(documents: Documents, arch: Arch, workload: Workload) -> Mapping | None:
    """The mapping of the `mapping` section on `arch`; None if there is none or it is wrong.

    A level without a directive has no loops and keeps every tensor that the architecture does not make it bypass.
    """
    section = documents.one("mapping")
    if section is None:
        return None
    levels = {level.name: _Level() for level in arch.levels}
    for constraint in arch.constraints:
        if constraint.target == "keep" and constraint.level in levels:
            levels[constraint.level].bypass.update(constraint.bypass)
    _take_all(section, levels, workload, documents.notes)
    if not documents.has_problems:
        _check_products(section, levels, workload)
    if documents.has_problems:
        return None
    tensors = [tensor.name for tensor in workload.tensors]
    return Mapping(
        [
            LevelMapping(
                temporal=found.temporal,
                spatial_x=found.spatial_x,
                spatial_y=found.spatial_y,
                keep=[tensor for tensor in tensors if tensor not in found.bypass],
            )
            for found in (levels[level.name] for level in arch.levels)
        ]
    )


def check_mapping(section: Field, level_names: Sequence[str], workload: Workload, notes: Notes) -> None:
    """Note the mistakes of a mapping whose architecture is wrong; its levels are among the names given."""
    levels = {name: _Level() for name in level_names}
    before = len(section.problems)
    _take_all(section, levels, workload, notes)
    if len(section.problems) == before:
        _check_products(section, levels, workload)


def _take_all(section: Field, levels: dict[str, _Level], workload: Workload, notes: Notes) -> None:
    names = {name: name for name in levels}
    for name in levels:  # a container of v0.4 by its own name
        if name.startswith("inter_") and name.endswith("_spatial"):
            names.setdefault(name[len("inter_") : -len("_spatial")], name)
    directives = (
        section.items("a list of directives, each with target and type") if section.is_sequence else _inner(section)
    )
    for item in directives:
        _take(item, levels, names, workload, notes)


def _inner(section: Field) -> list[Field]:
    record = section.record(("version", "mapping", "nodes"), "a list of directives")
    found = record.required("mapping", "a list of directives")
    return [] if found is None else found.items("a list of directives")


def _take(item: Field, levels: dict[str, _Level], names: dict[str, str], workload: Workload, notes: Notes) -> None:
    record = item.record(_KEYS, "a directive: a mapping with target, type, factors, permutation")
    target = record.optional("target") or record.required("target", "the name of a level")
    type_field = record.required("type", f"one of {', '.join(_TYPES[:3])}")
    if target is None or type_field is None:
        return
    name = names.get(target.text_or_empty())
    if name is None:
        hint = did_you_mean(target.text_or_empty(), tuple(names), what="levels of the architecture")
        target.fail(f"unknown level {show(target.text_or_empty())}", hint)
        return
    kind = type_field.choice(_TYPES, "type of directive")
    level = levels[name]
    group = kind if kind in ("temporal", "spatial") else "keep"
    if group in level.seen:
        item.fail(f"a second {group} directive of {show(name)}, the first is at {level.seen[group]}")
    level.seen[group] = item.where
    if group == "keep":
        _take_keep(record, level, workload)
    elif group == "temporal":
        level.temporal, _ = _take_loops(record, item, workload, notes, is_spatial=False)
    else:
        y, x = _take_loops(record, item, workload, notes, is_spatial=True)
        level.spatial_x, level.spatial_y = x, y


def _take_keep(record: Record, level: _Level, workload: Workload) -> None:
    tensors = [tensor.name for tensor in workload.tensors]
    keep_field, bypass_field = record.optional("keep"), record.optional("bypass")
    keep = [] if keep_field is None else read_names(keep_field, tensors, "data space")
    bypass = [] if bypass_field is None else read_names(bypass_field, tensors, "data space")
    for tensor in keep:
        if tensor in bypass and bypass_field is not None:
            bypass_field.fail(f"data space {show(tensor)} is also in keep, expected it in one of them")
    level.bypass = (level.bypass - set(keep)) | set(bypass)


def _take_loops(
    record: Record, item: Field, workload: Workload, notes: Notes, *, is_spatial: bool
) -> tuple[Loops, Loops]:
    """(loops behind the split or all of them, those before it: on x), from outer to inner."""
    dims = tuple(workload.dims)
    factors_field, permutation_field = record.optional("factors"), record.optional("permutation")
    factors = _factors(factors_field, workload, notes)
    order: list[str] = []
    if permutation_field is not None:
        inner, outer = read_permutation(permutation_field, dims)
        middle = [dim for dim in dims if dim not in inner and dim not in outer]
        order = [*inner, *middle, *outer]
    else:
        order = list(dims)
        middle = order
    searched = [dim for dim in middle if factors.get(dim, 1) > 1]
    if len(searched) > 1 or (searched and permutation_field is not None and len(factors) > 1):
        notes.assume(
            f"dims without a place in the permutation ({', '.join(searched)}) lie outside, in their order", item
        )
    split_field = record.optional("split")
    if split_field is not None and not is_spatial:
        split_field.fail("`split` in a temporal directive, expected it in a spatial one")
    split = len(dims) if split_field is None else min(split_field.integer(minimum=0), len(dims))
    split = split if is_spatial else 0
    first, rest = order[:split], order[split:]
    return _loops(rest, factors), _loops(first, factors)


def _factors(field: Field | None, workload: Workload, notes: Notes) -> dict[str, int]:
    factors: dict[str, int] = {}
    for term in [] if field is None else read_factors(field, tuple(workload.dims)):
        if term.relation != "=" and field is not None:
            field.fail(f"read a limit of dim {show(term.dim)}, expected its factor: a mapping has no choices left")
            continue
        if term.value == 0:
            notes.assume("a factor of 0 stands for the whole bound of its dim", field)
        factors[term.dim] = term.value or workload.dims[term.dim]
    return factors


def _loops(order: Sequence[str], factors: dict[str, int]) -> Loops:
    return [(dim, factors[dim]) for dim in reversed(order) if factors.get(dim, 1) > 1]


def _check_products(section: Field, levels: dict[str, _Level], workload: Workload) -> None:
    loops = [loop for level in levels.values() for loop in (*level.temporal, *level.spatial_x, *level.spatial_y)]
    for dim, bound in workload.dims.items():
        product = prod(factor for name, factor in loops if name == dim)
        if product != bound:
            section.fail(f"the factors of dim {show(dim)} multiply to {product}, expected its bound, {bound}")
