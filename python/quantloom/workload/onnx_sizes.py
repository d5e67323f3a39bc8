"""Gives every axis of the inputs of an ONNX graph a size: the file's own, or one that stands behind the file's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ValueInfoProto

__all__ = ["MAX_EXTENT", "OnnxSizes", "fix_inputs"]

MAX_EXTENT = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSizes:
    """Sizes for what a file leaves open. batch: the first axis of each input, and axes of the same name.

    shape: of one sample of the first input. named: other axes by their names in the file. inputs: whole shapes of
    inputs by their names, batch included.
    """

    batch: int = 1
    shape: tuple[int, ...] | None = None
    named: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def fix_inputs(
    infos: Sequence[ValueInfoProto], sizes: OnnxSizes
) -> tuple[list[tuple[str, tuple[int, ...]]], list[str], str]:
    """Names and shapes of the inputs, what is wrong with them, and options that would give them sizes.

    Writes the sizes into the infos.
    """
    found: list[tuple[str, tuple[int, ...]]] = []
    problems, missing = [], list[str]()
    named = dict(sizes.named)
    for info in infos:
        dims = info.type.tensor_type.shape.dim if _is_tensor(info) else ()
        if dims and dims[0].dim_param:
            named.setdefault(dims[0].dim_param, sizes.batch)
    unused = set(sizes.named) - {"batch"}
    for position, info in enumerate(infos):
        if not _is_tensor(info):
            problems.append(f"input `{info.name}` is no tensor with a known number of axes")
            continue
        unused -= {dim.dim_param for dim in info.type.tensor_type.shape.dim}
        given = sizes.inputs.get(info.name)
        if given is None and position == 0 and sizes.shape is not None:
            given = (sizes.batch, *sizes.shape)
        shape, wrong = _fixed(info, given, named, sizes.batch)
        problems += wrong
        open_axes = [axis for axis, size in enumerate(shape) if size is None]
        if open_axes:
            missing += _examples(info, open_axes)
        elif not wrong:
            for dim, size in zip(info.type.tensor_type.shape.dim, shape, strict=True):
                dim.dim_value = size or 1
            found.append((info.name, tuple(size or 1 for size in shape)))
    names = {info.name for info in infos}
    problems += [f"no axis is named `{name}`" for name in sorted(unused)]
    problems += [f"no input is named `{name}`" for name in sorted(set(sizes.inputs) - names)]
    return found, problems, ",".join(dict.fromkeys(missing))


def _is_tensor(info: ValueInfoProto) -> bool:
    return bool(info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape"))


def _fixed(
    info: ValueInfoProto, given: tuple[int, ...] | None, named: Mapping[str, int], batch: int
) -> tuple[list[int | None], list[str]]:
    """Sizes of the axes, None where they are unknown, and what is wrong."""
    dims = info.type.tensor_type.shape.dim
    if given is not None and len(given) != len(dims):
        return [], [f"input `{info.name}` has {len(dims)} axes with the batch, {len(given)} are given"]
    shape: list[int | None] = []
    problems = []
    for axis, dim in enumerate(dims):
        wanted = None if given is None else given[axis]
        if dim.HasField("dim_value") and dim.dim_value > MAX_EXTENT:
            problems.append(f"axis {axis} of input `{info.name}` is {dim.dim_value}, expected 1..{MAX_EXTENT}")
            shape.append(1)
        elif dim.HasField("dim_value") and dim.dim_value >= 1:
            if wanted not in (None, dim.dim_value) and axis > 0:
                problems.append(f"axis {axis} of input `{info.name}` is {dim.dim_value} in the file, not {wanted}")
            shape.append(int(dim.dim_value))
        elif wanted is not None or (axis == 0 and dim.dim_param not in named):
            shape.append(batch if wanted is None else wanted)
        elif dim.dim_param in named:
            shape.append(named[dim.dim_param])
        else:
            what = f"`{dim.dim_param}`" if dim.dim_param else "without a name"
            problems.append(f"axis {axis} of input `{info.name}` has no size ({what})")
            shape.append(None)
    return shape, problems


def _examples(info: ValueInfoProto, axes: Sequence[int]) -> list[str]:
    """Options that give these axes of an input their sizes."""
    dims = info.type.tensor_type.shape.dim
    if all(dims[axis].dim_param.isidentifier() for axis in axes):
        return [f"{dims[axis].dim_param}=N" for axis in axes]
    sizes = [str(dim.dim_value) if dim.dim_value >= 1 else "1" if axis == 0 else "N" for axis, dim in enumerate(dims)]
    return [f"{info.name}={'x'.join(sizes)}"]
