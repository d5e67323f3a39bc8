"""Timeloop constraints: files with targets, and what v0.4 writes at the elements themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from quantloom import _core
from quantloom.spec.reader import Field, Record, did_you_mean, show
from quantloom.timeloop.documents import Documents, Notes
from quantloom.timeloop.elements import Element
from quantloom.timeloop.words import read_factors, read_names, read_permutation

__all__ = ["Words", "read_constraints"]

_Origin = Literal["architecture", "mapspace"]
_KEEP_TYPES = ("bypass", "datatype", "dataspace", "bypassing")
_BLOCK_TYPES = ("temporal", "spatial")
_TYPES = (*_BLOCK_TYPES, *_KEEP_TYPES)
_PARALLELISM = ("utilization", "parallelism")  # at least so many units at work
_KEEP_KEYS = ("keep", "bypass", "keep_only", "bypass_only")
_BLOCK_KEYS = ("factors", "permutation", "split", "factors_only", "no_iteration_over_dataspaces")
_NAMED_LIST = "constraints_"  # a section with `constraints: NAME` has its targets under `constraints_NAME`
# What only other tools' searches or sparse and detailed models know.
_DROPPED = (
    *("no_reuse", "no_link_transfer", "rmw_first_update", "no_coalesce", "maximize_dims", "maximize_dims_capacity"),
    *("must_iterate_over_dataspaces", "min_utilization", "utilization", "max_overbooked_proportion", "remainders"),
)
_BODY_KEYS = (*_KEEP_KEYS, *_BLOCK_KEYS, *_DROPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The dims and tensors that constraints may name; ranks: the dims of each tensor."""

    dims: tuple[str, ...]
    tensors: tuple[str, ...]
    ranks: dict[str, frozenset[str]]


@dataclass(slots=True)
class _Taken:
    """What was read so far, and where each thing was fixed."""

    words: Words
    levels: dict[str, Element]  # by every name a target may use
    notes: Notes
    found: list[_core.Constraint] = field(default_factory=list)
    fixed: dict[tuple[str, str, str], tuple[str, object]] = field(default_factory=dict)

    def fix(self, at: Field, level: str, target: str, what: str, value: object) -> bool:
        """Remember that `what` is fixed to a value; False if it was already, which is a mistake if to another one."""
        key = (level, target, what)
        if key not in self.fixed:
            self.fixed[key] = at.where, value
            return True
        where, before = self.fixed[key]
        if before != value:
            at.fail(f"{what} is fixed a second time, differently, first at {where}", "leave out one of the two")
        return False


def read_constraints(documents: Documents, elements: Sequence[Element], words: Words) -> list[_core.Constraint]:
    """All constraints, in the order of the files, then those at the elements."""
    levels: dict[str, Element] = {}
    for element in elements:
        levels[element.name] = element
        if element.container is not None:
            levels.setdefault(element.container, element)
    taken = _Taken(words, levels, documents.notes)
    for element in elements:
        _take_own(element, elements, taken)
    origins: tuple[tuple[str, _Origin], ...] = (
        ("architecture_constraints", "architecture"),
        ("mapspace_constraints", "mapspace"),
    )
    for section, origin in origins:
        for found in documents.all(section):
            for target in _targets(found, documents.notes):
                _take_target(target, origin, taken)
    return taken.found


def _targets(section: Field, notes: Notes) -> list[Field]:
    """The list of targets of a section, written directly or under `targets` or `constraints`."""
    if section.is_sequence or section.is_null:
        return [] if section.is_null else section.items()
    lists = [key for key, _ in section.entries("a mapping with targets") if key.text_or_empty().startswith(_NAMED_LIST)]
    named = tuple(key.text_or_empty() for key in lists)
    record = section.record(("targets", "constraints", "version", "template", *named), "a mapping with targets")
    template = record.optional("template")
    if template is not None:
        notes.drop("the mapspace template: quantloom has one", template)
    found = record.optional("targets") or record.optional("constraints")
    if found is not None and found.is_text:  # the name of one of several lists
        chosen = f"{_NAMED_LIST}{found.text_or_empty()}"
        if chosen not in named:
            names = tuple(name.removeprefix(_NAMED_LIST) for name in named)
            found.fail(
                f"no list `{chosen}` of constraints", did_you_mean(found.text_or_empty(), names, what="lists here")
            )
            return []
        found = record.optional(chosen)
        lists = [key for key in lists if key.text_or_empty() != chosen]
    for key in lists:
        notes.drop(f"the list `{key.text_or_empty()}` of constraints, which is not chosen", key)
    return [] if found is None else found.items("a list of targets")


def _take_target(field: Field, origin: _Origin, taken: _Taken) -> None:
    """One target: with one constraint written in it, or with a list of them under `constraints`."""
    is_list = any(key.text_or_empty() == "constraints" for key, _ in (field.entries() if field.is_mapping else ()))
    keys = ("constraints",) if is_list else ("type", "attributes", "min", *_BODY_KEYS)
    record = field.record(("target", "name", *keys), "a target: a mapping with target, type and what is fixed")
    name_field = (
        record.optional("target") or record.optional("name") or record.required("target", "the name of a level")
    )
    if name_field is None:
        return
    name = name_field.text_or_empty()
    element = taken.levels.get(name)
    if element is None:
        levels = tuple(taken.levels)
        name_field.fail(f"unknown level {show(name)}", did_you_mean(name, levels, what="levels of the architecture"))
        return
    nested = record.optional("constraints")
    if nested is None:
        _take_typed(record, field, element.name, origin, taken)
    for item in [] if nested is None else nested.items("a list of constraints, each with type and what is fixed"):
        what = "a constraint: a mapping with type and attributes"
        _take_typed(item.record(("type", "attributes", "min", *_BODY_KEYS), what), item, element.name, origin, taken)


def _take_typed(record: Record, field: Field, level: str, origin: _Origin, taken: _Taken) -> None:
    """A constraint with its type beside what is fixed, or beside `attributes` that hold it."""
    type_field, attributes = record.required("type", f"one of {', '.join(_TYPES[:4])}"), record.optional("attributes")
    if type_field is None:
        return
    if type_field.text_or_empty() in _PARALLELISM:
        taken.notes.drop(f"{type_field.text_or_empty()} constraint of {level}: no mapping is left out for it", field)
        return
    kind = type_field.choice(_TYPES, "type of constraint")
    if attributes is not None:
        field, record = attributes, attributes.record(_BODY_KEYS, "a mapping with what is fixed")
    _take(record, field, level, kind, origin, taken)


def _take_own(element: Element, elements: Sequence[Element], taken: _Taken) -> None:
    """What v0.4 writes at an element; components in parallel bypass what the others keep."""
    kinds = {kind for kind, _ in element.constraints}
    for kind, body in element.constraints:
        if kind == "max_overbooked_proportion":
            taken.notes.drop("overbooking: a tile that does not fit is no mapping", body)
            continue
        record = body.record(_BODY_KEYS, "a mapping with what is fixed")
        _take(record, body, element.name, kind, "architecture", taken, is_parallel=element.in_parallel)
    if element.kind == "fanout":
        _add_fanout_limits(element, taken)
    elif element.in_parallel and not kinds & set(_KEEP_TYPES):
        taken.notes.assume(f"{element.name} keeps every tensor, as its node in !Parallel names none", element.field)


def _add_fanout_limits(element: Element, taken: _Taken) -> None:
    """Such a level holds nothing and loops over nothing in time; files may say so again."""
    where, dims = element.field.where, taken.words.dims
    for dim in dims:
        taken.fixed[element.name, "temporal", f"the factor of dim {show(dim)}"] = where, 1
    taken.found.append(
        _core.Constraint(
            origin="architecture",
            level=element.name,
            target="keep",
            bypass=list(taken.words.tensors),
            where=where,
        )
    )
    taken.found.append(
        _core.Constraint(
            origin="architecture",
            level=element.name,
            target="temporal",
            factors=[(dim, "=", 1) for dim in dims],
            where=where,
        )
    )
    for tensor in taken.words.tensors:
        taken.fixed[element.name, "keep", f"tensor {show(tensor)}"] = where, "bypass"


def _take(
    record: Record,
    field: Field,
    level: str,
    kind: str,
    origin: _Origin,
    taken: _Taken,
    *,
    is_parallel: bool = False,
) -> None:
    for key in _DROPPED:
        found = record.optional(key)
        if found is not None:
            taken.notes.drop(f"constraint `{key}` of {level}", found)
    if kind in _KEEP_TYPES:
        _take_keep(record, field, level, origin, taken, is_parallel=is_parallel)
    else:
        _take_block(record, field, level, kind, origin, taken)


def _take_keep(record: Record, field: Field, level: str, origin: _Origin, taken: _Taken, *, is_parallel: bool) -> None:
    tensors = taken.words.tensors
    lists: dict[str, list[str]] = {}
    for key in _KEEP_KEYS:
        found = record.optional(key)
        lists[key] = [] if found is None else read_names(found, tensors, "data space")
    keep, bypass = [*lists["keep"], *lists["keep_only"]], [*lists["bypass"], *lists["bypass_only"]]
    if record.optional("keep_only") is not None or (is_parallel and keep):
        bypass += [tensor for tensor in tensors if tensor not in keep and tensor not in bypass]
    if record.optional("bypass_only") is not None:
        keep += [tensor for tensor in tensors if tensor not in bypass and tensor not in keep]
    both = [tensor for tensor in keep if tensor in bypass]
    if both:
        field.fail(f"data space {show(both[0])} is in keep and in bypass, expected it in one of them")
        return
    keep = [tensor for tensor in keep if taken.fix(field, level, "keep", f"tensor {show(tensor)}", "keep")]
    bypass = [tensor for tensor in bypass if taken.fix(field, level, "keep", f"tensor {show(tensor)}", "bypass")]
    if keep or bypass:
        taken.found.append(
            _core.Constraint(origin=origin, level=level, target="keep", keep=keep, bypass=bypass, where=field.where)
        )


def _take_block(record: Record, field: Field, level: str, kind: str, origin: _Origin, taken: _Taken) -> None:
    dims = taken.words.dims
    factors: list[tuple[str, str, int]] = []
    for key in ("factors", "factors_only"):
        found = record.optional(key)
        if found is None:
            continue
        terms = read_factors(found, dims)
        factors += [(term.dim, term.relation, term.value) for term in terms]
        if key == "factors_only":
            factors += [(dim, "=", 1) for dim in dims if dim not in {term.dim for term in terms}]
    factors += [(dim, "=", 1) for dim in _not_iterated(record, taken) if dim not in {f[0] for f in factors}]
    at = record.optional("factors") or field
    factors = [
        (dim, relation, value)
        for dim, relation, value in factors
        if relation != "=" or taken.fix(at, level, kind, f"the factor of dim {show(dim)}", value)
    ]
    permutation = record.optional("permutation")
    inner, outer = ([], []) if permutation is None else read_permutation(permutation, dims)
    if permutation is not None and not taken.fix(permutation, level, kind, "the permutation", (inner, outer)):
        permutation = None
    split_field = record.optional("split")
    split = None
    if split_field is not None and kind == "temporal":
        split_field.fail("`split` in a temporal constraint, expected it in a spatial one")
    elif split_field is not None:
        split = len(dims) if _is_all(split_field) else min(split_field.integer(minimum=0), len(dims))
        split = split if taken.fix(split_field, level, kind, "the split", split) else None
    if factors or permutation is not None or split is not None:
        taken.found.append(
            _core.Constraint(
                origin=origin,
                level=level,
                target=kind,
                factors=factors,
                permutation_inner=inner if permutation is not None else [],
                permutation_outer=outer if permutation is not None else [],
                has_permutation=permutation is not None,
                split=split,
                where=field.where,
            )
        )


def _is_all(field: Field) -> bool:
    """Whether a split is the expression by which the exercises put all dims on x."""
    return "".join(field.text_or_empty().split()) == "len(spec.problem.instance)"


def _not_iterated(record: Record, taken: _Taken) -> list[str]:
    """Dims of the tensors over which a block must not iterate."""
    found = record.optional("no_iteration_over_dataspaces")
    if found is None:
        return []
    tensors = read_names(found, taken.words.tensors, "data space")
    return [dim for dim in taken.words.dims if any(dim in taken.words.ranks[tensor] for tensor in tensors)]
