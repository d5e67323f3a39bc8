"""Partially given mappings from YAML: "these loops are fixed, search the rest".

The form is that of a mapping (`mapping.py`) with less in it, so a whole mapping is read too and leaves one choice:

    mapping:                                # levels in any order; a level or key that is left out is searched
      - level: shared_glb
        temporal: [[M, 4], ..., [P, 7]]     # M outermost, P innermost, others may lie where `...` stands
        spatial: {x: [[M, 8]]}              # along X exactly this loop; Y is searched
        keep: [Inputs, ...]                 # Inputs are kept, the others searched
      - level: DRAM
        temporal: [P, ..., [C, 2], ...]     # P outermost with any bound; C has 2, its place is searched

A list without `...` is the whole list. Loops run from outer to inner; between two `...` their order is searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from quantloom._core import Arch, Workload
from quantloom.spec.reader import Field, Record, did_you_mean, read_document, show
from quantloom.spec.yaml_nodes import read_text

__all__ = [
    "GivenLevel",
    "GivenLoop",
    "GivenLoops",
    "PartialMapping",
    "load_partial_mapping",
    "parse_partial_mapping",
]

_LEVEL_KEYS = ("level", "temporal", "spatial", "keep", "bypass")
_REST = "..."
_MAX_BOUND = 1 << 31
_LOOPS = "a list of loops from outer to inner such as [[P, 56], ..., S]"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLoop:
    """A loop that is given. bound: None if it is searched. where: file:line."""

    dim: str
    bound: int | None
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLoops:
    """The loops of one kind at one level, each part from outer to inner.

    is_whole: there are no others; all of them are then in `outer`. middle: loops whose order is searched.
    """

    outer: tuple[GivenLoop, ...]
    middle: tuple[GivenLoop, ...]
    inner: tuple[GivenLoop, ...]
    is_whole: bool
    where: str

    @property
    def loops(self) -> tuple[GivenLoop, ...]:
        """All of them, outer to inner."""
        return (*self.outer, *self.middle, *self.inner)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLevel:
    """What is given at one level; None: nothing. keep: by tensor, whether it is kept; tensors left out are searched."""

    temporal: GivenLoops | None
    spatial_x: GivenLoops | None
    spatial_y: GivenLoops | None
    keep: dict[str, bool]
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialMapping:
    """What is given of a mapping of one workload, by level name. where: the file."""

    levels: dict[str, GivenLevel]
    where: str


def load_partial_mapping(path: str | PathLike[str], arch: Arch, workload: Workload) -> PartialMapping:
    """What a file gives of a mapping of `workload` on `arch`. Raises SpecError with every mistake located."""
    return parse_partial_mapping(read_text(path), str(path), arch, workload)


def parse_partial_mapping(text: str, where: str, arch: Arch, workload: Workload) -> PartialMapping:
    """The same from YAML or JSON `text`; `where` names the text in messages. Raises SpecError."""
    levels: dict[str, GivenLevel] = {}
    read_document(text, where, lambda root: levels.update(_read_root(root, arch, workload)))
    return PartialMapping(levels=levels, where=where)


def _read_root(root: Field, arch: Arch, workload: Workload) -> dict[str, GivenLevel]:
    what = "a list of levels, or a mapping with `mapping`"
    body = root
    if not root.is_sequence:
        record = root.record(("arch", "mapping"), what)
        found = record.required("mapping", "a list of levels")
        arch_field = record.optional("arch")
        if arch_field is not None and arch_field.text_or_empty() != arch.name:
            arch_field.expected(f"the architecture in use, {show(arch.name)}")
        if found is None:
            return {}
        body = found
    names = [level.name for level in reversed(arch.levels)]
    levels: dict[str, GivenLevel] = {}
    for field in body.items(what):
        record = field.record(_LEVEL_KEYS, "a level: a mapping with level, temporal, spatial, keep")
        key = record.required("level", "the name of a level")
        name = "" if key is None else key.text_or_empty()
        if key is not None and name not in names:
            key.fail(f"unknown level {show(name)}", did_you_mean(name, names, what=f"levels of {show(arch.name)}"))
        elif key is not None and name in levels:
            key.fail(f"level {show(name)} is given twice")
        levels[name] = _read_level(field, record, workload)
    if not len(root.problems):
        _check_products(body, levels, workload)
    return levels


def _read_level(field: Field, record: Record, workload: Workload) -> GivenLevel:
    temporal, spatial = record.optional("temporal"), record.optional("spatial")
    axes: dict[str, GivenLoops | None] = {"x": None, "y": None}
    if spatial is not None:
        on_axes = spatial.record(("x", "y", "X", "Y"), "a mapping with x and y")
        for axis in axes:
            for key in (axis, axis.upper()):
                found = on_axes.optional(key)
                if found is not None and axes[axis] is not None:
                    found.fail(f"`{axis}` is given twice")
                elif found is not None:
                    axes[axis] = _read_loops(found, workload)
    on_x, on_y = axes["x"], axes["y"]
    both = {loop.dim for loop in on_x.loops} & {loop.dim for loop in on_y.loops} if on_x and on_y else set()
    if both and spatial is not None:
        spatial.fail(f"dim {show(min(both))} lies on X and on Y, expected it on one of them")
    return GivenLevel(
        temporal=None if temporal is None else _read_loops(temporal, workload),
        spatial_x=on_x,
        spatial_y=on_y,
        keep=_read_keep(record, workload),
        where=field.where,
    )


def _read_loops(field: Field, workload: Workload) -> GivenLoops:
    parts: list[list[GivenLoop]] = [[]]
    seen: set[str] = set()
    for item in field.items(_LOOPS):
        if item.text_or_empty() == _REST:
            parts.append([])
            continue
        loop = _read_loop(item, workload, seen)
        if loop is not None:
            parts[-1].append(loop)
    if len(parts) > 3:
        field.fail("`...` stands more than twice", "one `...` for loops in between, two if a loop's place is searched")
    middle = parts[1] if len(parts) == 3 else []
    inner = parts[-1] if len(parts) > 1 else []
    return GivenLoops(
        outer=tuple(parts[0]),
        middle=tuple(middle),
        inner=tuple(inner),
        is_whole=len(parts) == 1,
        where=field.where,
    )


def _read_loop(field: Field, workload: Workload, seen: set[str]) -> GivenLoop | None:
    dims, bound = workload.dims, None
    name = field
    if field.is_sequence:
        pair = field.items("a loop: a dim and its bound such as [P, 56], or the dim alone", length=2)
        if len(pair) != 2:
            return None
        name, bound = pair[0], pair[1].integer(maximum=_MAX_BOUND)
    elif not field.is_text:
        field.expected("a loop: a dim and its bound such as [P, 56], the dim alone, or `...`")
        return None
    dim = name.text_or_empty()
    if dim not in dims:
        name.fail(f"unknown dim {show(dim)}", did_you_mean(dim, tuple(dims), what="dims of the workload"))
        return None
    if dim in seen:
        name.fail(f"dim {show(dim)} has two loops here", "merge them into one loop whose bound is the product")
    seen.add(dim)
    if bound is not None and dims[dim] % bound:
        field.fail(f"{bound} does not divide the bound of dim {show(dim)}, {dims[dim]}", "give a divisor")
    return GivenLoop(dim=dim, bound=bound, where=field.where)


def _read_keep(record: Record, workload: Workload) -> dict[str, bool]:
    known = tuple(tensor.name for tensor in workload.tensors)
    given: dict[str, bool] = {}
    is_open = False
    for key in ("keep", "bypass"):
        field = record.optional(key)
        for item in field.items("a list of tensors") if field is not None else []:
            tensor = item.text_or_empty()
            if tensor == _REST:
                is_open = True
            elif tensor not in known:
                hint = did_you_mean(tensor, known, what="tensors of the workload")
                item.fail(f"unknown tensor {show(tensor)}", hint)
            elif tensor in given:
                item.fail(f"tensor {show(tensor)} is listed twice")
            else:
                given[tensor] = key == "keep"
    if not is_open and ("keep" in record) != ("bypass" in record):
        # one list without `...` is whole: the other tensors are in the other one
        given.update(dict.fromkeys((tensor for tensor in known if tensor not in given), "bypass" in record))
    return given


def _check_products(body: Field, levels: dict[str, GivenLevel], workload: Workload) -> None:
    """The given factors of a dim must multiply to a divisor of its bound."""
    for dim, bound in workload.dims.items():
        product = 1
        for level in levels.values():
            for part in (level.temporal, level.spatial_x, level.spatial_y):
                for loop in part.loops if part is not None else ():
                    product *= loop.bound or 1 if loop.dim == dim else 1
        if bound % product:
            body.fail(f"the given factors of dim {show(dim)} multiply to {product}, which does not divide {bound}")
