"""Mappings from and to YAML: the outermost level first, loops from outer to inner.

    mapping:                      # or the list alone
      - level: DRAM
        temporal: [[P, 56], [S, 3]]
        keep: [Weights, Inputs, Outputs]
      - level: shared_glb
        temporal: [[M, 4]]
        spatial: {x: [[M, 8]], y: []}
        bypass: [Weights]

`keep` lists the tensors stored at the level; with `bypass` alone, all others are; with neither, all are. The records
of the reference (`spatial: {X: , Y: }`, and a whole record with its `mapping`) are read as well.
"""

from __future__ import annotations

from math import prod
from os import PathLike

from quantloom._core import Arch, LevelMapping, Mapping, Workload
from quantloom.spec.reader import Field, Record, did_you_mean, read_document, show
from quantloom.spec.yaml_nodes import quote, read_text

__all__ = ["check_mapping_file", "dump_mapping", "load_mapping", "parse_mapping"]

_FILE_KEYS = (
    *("mapping", "id", "arch", "workload", "kind", "problem", "outputs"),
    *("valid", "valid_at", "fail_levels", "reasons"),
)
_LEVEL_KEYS = ("level", "temporal", "spatial", "keep", "bypass")

_Loops = list[tuple[str, int]]
MAX_BOUND = 1 << 31


def load_mapping(path: str | PathLike[str], arch: Arch, workload: Workload) -> Mapping:
    """The mapping in a file, checked against the levels of `arch` and the dims and tensors of `workload`.

    Whether it fits the hardware is not asked here. Raises SpecError with every mistake located.
    """
    return parse_mapping(read_text(path), str(path), arch, workload)


def parse_mapping(text: str, where: str, arch: Arch, workload: Workload) -> Mapping:
    """The mapping that YAML or JSON `text` describes; `where` names the text in messages. Raises SpecError."""
    levels: list[LevelMapping] = []
    read_document(text, where, lambda root: levels.extend(_read_root(root, arch, workload)))
    return Mapping(levels)


def check_mapping_file(path: str | PathLike[str], arch: Arch | None, workload: Workload | None) -> None:
    """Judge a mapping file as far as its accelerator and its layer are known. Raises SpecError as load_mapping()."""
    read_document(read_text(path), str(path), lambda root: _read_root(root, arch, workload))


def dump_mapping(mapping: Mapping, arch: Arch) -> str:
    """YAML text that parse_mapping() turns into an equal mapping."""
    lines = [f"arch: {quote(arch.name)}", "mapping:  # outermost level first, loops from outer to inner"]
    for level, here in zip(reversed(arch.levels), reversed(mapping.levels), strict=True):
        lines.append(f"  - level: {quote(level.name)}")
        if here.temporal:
            lines.append(f"    temporal: {_flow(here.temporal)}")
        if here.spatial_x or here.spatial_y:
            lines.append(f"    spatial: {{x: {_flow(here.spatial_x)}, y: {_flow(here.spatial_y)}}}")
        lines.append(f"    keep: [{', '.join(quote(tensor) for tensor in here.keep)}]")
    return "\n".join(lines) + "\n"


def _flow(loops: _Loops) -> str:
    return "[" + ", ".join(f"[{quote(dim)}, {bound}]" for dim, bound in loops) + "]"


def _read_root(root: Field, arch: Arch | None, workload: Workload | None) -> list[LevelMapping]:
    """The levels from the innermost outwards; empty after a mistake in the outer form.

    Without an architecture any names of levels pass, without a workload any dims and tensors.
    """
    what = "a list of levels, or a mapping with `mapping`"
    body = root
    if not root.is_sequence:
        record = root.record(_FILE_KEYS, what)
        found = record.required("mapping", "a list of levels")
        arch_field = record.optional("arch")
        if arch is not None and arch_field is not None and arch_field.text_or_empty() != arch.name:
            arch_field.expected(f"the architecture in use, {show(arch.name)}")
        if found is None:
            return []
        body = found
    fields = body.items(what)
    if arch is None:
        return [_read_level(field, None, [], workload) for field in fields]
    names = [level.name for level in reversed(arch.levels)]
    if body.is_sequence and len(fields) != len(names):
        body.expected(f"the {len(names)} levels of {show(arch.name)}", f"from outside in: {', '.join(names)}")
    levels = [_read_level(field, expected, names, workload) for field, expected in zip(fields, names, strict=False)]
    if workload is not None and not len(root.problems):
        _check_products(body, levels, workload)
    return levels[::-1]


def _read_level(field: Field, expected: str | None, names: list[str], workload: Workload | None) -> LevelMapping:
    record = field.record(_LEVEL_KEYS, "a level: a mapping with level, temporal, spatial, keep")
    level = record.required("level", "the name of this level" + ("" if expected is None else f", `{expected}`"))
    if level is not None and expected is not None and level.text_or_empty() != expected:
        name = level.text_or_empty()
        hint = f"from outside in: {', '.join(names)}" if name in names else did_you_mean(name, names, what="levels")
        level.expected(f"the level {show(expected)}", hint)
    temporal = record.optional("temporal")
    spatial = record.optional("spatial")
    axes: dict[str, _Loops] = {"x": [], "y": []}
    if spatial is not None:
        axes_record = spatial.record(("x", "y", "X", "Y"), "a mapping with x and y")
        for axis in axes:
            for key in (axis, axis.upper()):
                found = axes_record.optional(key)
                if found is not None and axes[axis]:
                    found.fail(f"`{axis}` is given twice")
                elif found is not None:
                    axes[axis] = _read_loops(found, workload)
    return LevelMapping(
        temporal=[] if temporal is None else _read_loops(temporal, workload),
        spatial_x=axes["x"],
        spatial_y=axes["y"],
        keep=_read_keep(record, workload),
    )


def _read_loops(field: Field, workload: Workload | None) -> _Loops:
    dims = None if workload is None else tuple(workload.dims)
    loops: _Loops = []
    for item in field.items("a list of loops such as [[P, 56], [S, 3]], from outer to inner"):
        pair = item.items("a loop: a dim and its bound, such as [P, 56]", length=2)
        if len(pair) != 2:
            continue
        dim = pair[0].text_or_empty()
        if dims is not None and dim not in dims:
            pair[0].fail(f"unknown dim {show(dim)}", did_you_mean(dim, dims, what="dims of the workload"))
        elif any(dim == other for other, _ in loops):
            pair[0].fail(f"dim {show(dim)} has two loops here", "merge them into one loop whose bound is the product")
        loops.append((dim, pair[1].integer(maximum=MAX_BOUND)))
    return loops


def _read_keep(record: Record, workload: Workload | None) -> list[str]:
    keep, bypass = record.optional("keep"), record.optional("bypass")
    known = None if workload is None else tuple(tensor.name for tensor in workload.tensors)
    kept = [] if keep is None else _read_tensors(keep, known)
    bypassed = [] if bypass is None else _read_tensors(bypass, known)
    for tensor in kept:
        if tensor in bypassed and bypass is not None:
            bypass.fail(f"tensor {show(tensor)} is also in keep, expected it in one of them")
    return [tensor for tensor in known or () if tensor not in bypassed] if keep is None else kept


def _read_tensors(field: Field, known: tuple[str, ...] | None) -> list[str]:
    tensors: list[str] = []
    for item in field.items("a list of tensors"):
        tensor = item.text_or_empty()
        if known is not None and tensor not in known:
            hint = did_you_mean(tensor, known, what="tensors of the workload")
            item.fail(f"unknown tensor {show(tensor)}", hint)
        elif tensor in tensors:
            item.fail(f"tensor {show(tensor)} is listed twice")
        tensors.append(tensor)
    return tensors


def _check_products(body: Field, levels: list[LevelMapping], workload: Workload) -> None:
    """The factors of every dim must multiply to its bound."""
    loops = [loop for level in levels for loop in (*level.temporal, *level.spatial_x, *level.spatial_y)]
    for dim, bound in workload.dims.items():
        product = prod(factor for name, factor in loops if name == dim)
        if product != bound:
            body.fail(f"the factors of dim {show(dim)} multiply to {product}, expected its bound, {bound}")
