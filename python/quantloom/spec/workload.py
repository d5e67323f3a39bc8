"""A single layer from YAML, for `quantloom evaluate` and, with its edges, as a layer of network.yaml.

    name: conv1
    shape: conv                   # conv, gemm, depthwise; or leave it out and give tensors
    dims: {C: 3, M: 32, R: 3, S: 3, P: 112, Q: 112}     # what is left out is 1
    stride: 2                     # or {h: 2, w: 1}; dilation likewise
    groups: 1                     # C and M then count the channels of the whole layer
    bits: a8w4                    # or {Weights: 4, Inputs: 8, Outputs: 8}

Any einsum: `dims` with the user's own names and `tensors: {Weights: [C, M], Inputs: [N, 2*P + C], Outputs: [N, M]}`;
`output` names the tensor that is written (Outputs). Also read: the `problem` form of the reference's records (Wstride,
Hstride, Wdilation, Hdilation, bitwidths), alone or inside a whole record. `shape: depthwise` is the records' way to
write such a layer: Inputs indexed by M, C = 1; `groups` gives the form with the dim G that networks use.
"""

from __future__ import annotations

import re
from os import PathLike

from quantloom._core import Workload
from quantloom.errors import QuantloomError
from quantloom.spec.reader import Field, Record, did_you_mean, read_document, show
from quantloom.spec.yaml_nodes import quote, read_text
from quantloom.workload.bits import MAX_BITS, BitWidths, parse_bits
from quantloom.workload.layer import INPUTS, OUTPUTS, WEIGHTS, conv_workload, einsum_workload, linear_workload

__all__ = [
    "WORKLOAD_KEYS",
    "dump_workload_keys",
    "load_workload",
    "parse_workload",
    "read_single_layer",
    "read_workload",
]

WORKLOAD_KEYS = (
    "shape",
    "dims",
    "stride",
    "dilation",
    "groups",
    "tensors",
    "output",
    "Wstride",
    "Hstride",
    "Wdilation",
    "Hdilation",
)
_PROBLEM_KEYS = ("name", "bits", "bitwidths", *WORKLOAD_KEYS)
_RECORD_KEYS = (
    *("problem", "id", "arch", "workload", "kind", "mapping", "outputs"),
    *("valid", "valid_at", "fail_levels", "reasons"),
)
_CONV_DIMS = ("C", "M", "R", "S", "N", "P", "Q")
_SHAPES = ("conv", "gemm", "depthwise")

MAX_BOUND = 1 << 31
_TERM = re.compile(r"\s*(?:([1-9][0-9]{0,8})\s*\*\s*)?([A-Za-z_][A-Za-z0-9_]*)\s*")
_DIM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")


def load_workload(path: str | PathLike[str]) -> tuple[Workload, BitWidths | None]:
    """The layer in a file and its bits, if it gives any. Raises SpecError with every mistake located."""
    return parse_workload(read_text(path), str(path))


def parse_workload(text: str, where: str) -> tuple[Workload, BitWidths | None]:
    """The layer that YAML or JSON `text` describes and its bits; `where` names the text in messages."""
    found: list[tuple[Workload | None, BitWidths | None]] = []
    read_document(text, where, lambda root: found.append(read_single_layer(root)))
    workload, bits = found[0]
    assert workload is not None, "a workload that is missing without a problem"
    return workload, bits


def read_single_layer(root: Field) -> tuple[Workload | None, BitWidths | None]:
    """The layer that a whole file describes and its bits, None after a mistake."""
    what = "a layer: a mapping with name, shape, dims, ..."
    name, body = "workload", root
    keys = {key.text_or_empty(): value for key, value in root.entries(what)}
    if "problem" in keys:
        record = root.record(_RECORD_KEYS, what)
        body = keys["problem"]
        workload_name = record.optional("workload")
        name = name if workload_name is None else workload_name.name()
    record = body.record(_PROBLEM_KEYS, what)
    name_field = record.optional("name")
    workload = read_workload(record, name if name_field is None else name_field.name())
    return workload, _read_bits(record)


def read_workload(record: Record, name: str) -> Workload | None:
    """The workload that the WORKLOAD_KEYS of `record` describe, None after a mistake."""
    before = len(record.owner.problems)
    dims_field = record.required("dims", "a mapping from dims to bounds")
    shape_field = record.optional("shape")
    tensors_field = record.optional("tensors")
    if dims_field is None:
        return None
    try:
        if tensors_field is not None:
            if shape_field is not None:
                shape_field.fail("given beside `tensors`, expected one of them")
            return _read_einsum(record, name, dims_field, tensors_field, before)
        shape = "conv" if shape_field is None else shape_field.choice(_SHAPES, "shape")
        output = record.optional("output")
        if output is not None:
            output.fail("given without `tensors`", f"a {shape} writes Outputs")
        if shape == "gemm":
            return _read_gemm(record, name, dims_field, before)
        if shape == "depthwise":
            return _read_depthwise(record, name, dims_field, before)
        return _read_conv(record, name, dims_field, before)
    except QuantloomError as error:
        record.owner.fail(error.message, error.hint)
        return None


def _read_conv(record: Record, name: str, dims_field: Field, before: int) -> Workload | None:
    dims = _read_dims(dims_field, ("G", *_CONV_DIMS))
    stride, dilation = _read_pair(record, "stride"), _read_pair(record, "dilation")
    groups_field = record.optional("groups")
    groups = dims.get("G", 1)
    inputs, outputs = dims.get("C", 1) * groups, dims.get("M", 1) * groups
    if groups_field is not None:
        groups, inputs, outputs = groups_field.integer(maximum=MAX_BOUND), dims.get("C", 1), dims.get("M", 1)
        if "G" in dims:
            groups_field.fail("given beside the dim G, expected one of them")
        elif inputs % groups or outputs % groups:
            groups_field.expected(f"a divisor of the {inputs} input and {outputs} output channels")
    if len(record.owner.problems) > before:
        return None
    return conv_workload(
        name,
        inputs=inputs,
        outputs=outputs,
        output_size=(dims.get("Q", 1), dims.get("P", 1)),
        kernel=(dims.get("S", 1), dims.get("R", 1)),
        stride=stride,
        dilation=dilation,
        groups=groups,
        batch=dims.get("N", 1),
    )


def _read_gemm(record: Record, name: str, dims_field: Field, before: int) -> Workload | None:
    dims = _read_dims(dims_field, ("C", "M", "N"))
    for key in ("stride", "dilation", "groups", "Wstride", "Hstride", "Wdilation", "Hdilation"):
        found = record.optional(key)
        if found is not None:
            found.fail("a gemm has none", "C is the input features, M the output features, N the batch")
    if len(record.owner.problems) > before:
        return None
    return linear_workload(name, inputs=dims.get("C", 1), outputs=dims.get("M", 1), batch=dims.get("N", 1))


def _read_depthwise(record: Record, name: str, dims_field: Field, before: int) -> Workload | None:
    dims = _read_dims(dims_field, _CONV_DIMS)
    stride, dilation = _read_pair(record, "stride"), _read_pair(record, "dilation")
    groups = record.optional("groups")
    if groups is not None:
        groups.fail("a depthwise layer gives its channels as M", "leave `groups` out, or use shape: conv")
    if dims.get("C", 1) != 1:
        dims_field.fail(f"C is {dims['C']}, expected 1 in a depthwise layer", "M gives the channels")
    if len(record.owner.problems) > before:
        return None
    columns, rows = f"{dilation[1]}*R + {stride[1]}*P", f"{dilation[0]}*S + {stride[0]}*Q"
    ranks = {WEIGHTS: ["C", "M", "R", "S"], INPUTS: ["N", "M", columns, rows], OUTPUTS: ["N", "M", "Q", "P"]}
    return einsum_workload(name, {dim: dims.get(dim, 1) for dim in _CONV_DIMS}, ranks, output=OUTPUTS)


def _read_einsum(record: Record, name: str, dims_field: Field, tensors_field: Field, before: int) -> Workload | None:
    dims = _read_dims(dims_field, None)
    for key in WORKLOAD_KEYS[2:]:
        found = record.optional(key)
        if found is not None and key not in ("tensors", "output"):
            found.fail("given beside `tensors`", "write strides and dilations into the ranks, such as 2*P + R")
    ranks: dict[str, list[str]] = {}
    for key_field, value in tensors_field.entries("a mapping from tensors to their ranks"):
        tensor = key_field.name("a tensor's name")
        ranks[tensor] = [_read_rank(item, dims) for item in value.items("a list of ranks, such as [N, C, 2*P + R]")]
    output_field = record.optional("output")
    output = OUTPUTS
    if output_field is not None:
        output = output_field.text("a tensor's name")
    if output not in ranks:
        place = tensors_field if output_field is None else output_field
        hint = did_you_mean(output, tuple(ranks), what="tensors")
        place.fail(f"the output tensor {show(output)} is not among the tensors", hint)
    if len(record.owner.problems) > before:
        return None
    return einsum_workload(name, dims, ranks, output=output)


def _read_rank(field: Field, dims: dict[str, int]) -> str:
    """A sum of dims with whole coefficients, checked word by word."""
    text = field.text("a rank, such as 2*P + R")
    seen = set()
    for term in text.split("+") if text else []:
        match = _TERM.fullmatch(term)
        if match is None:
            field.expected("a rank: a sum of dims with whole coefficients, such as 2*P + R")
            return ""
        if match[2] not in dims:
            field.fail(f"unknown dim {show(match[2])}", did_you_mean(match[2], tuple(dims), what="dims"))
        elif match[2] in seen:
            field.fail(f"dim {show(match[2])} stands twice in one rank")
        seen.add(match[2])
    return text


def _read_dims(field: Field, known: tuple[str, ...] | None) -> dict[str, int]:
    """Bounds by dim; only the known dims, or any that are names."""
    dims = {}
    for key, value in field.entries("a mapping from dims to bounds, such as {C: 3, M: 32}"):
        dim = key.text_or_empty()
        if known is not None and dim not in known:
            key.fail("unknown dim", did_you_mean(dim, known, what="known dims"))
        elif _DIM_NAME.fullmatch(dim) is None:
            key.expected("a dim's name: a letter, then letters, digits and _")
        else:
            dims[dim] = value.integer(maximum=MAX_BOUND)
    return dims


def _read_pair(record: Record, key: str) -> tuple[int, int]:
    """(height, width) of `stride` or `dilation`: one number, {h: , w: }, or the records' Hstride and Wstride."""
    height, width = record.optional(f"H{key}"), record.optional(f"W{key}")
    both = record.optional(key)
    if both is None:
        return (
            1 if height is None else height.integer(maximum=MAX_BOUND),
            1 if width is None else width.integer(maximum=MAX_BOUND),
        )
    if height is not None or width is not None:
        both.fail(f"given beside H{key} or W{key}, expected one way of writing")
    if both.is_mapping:
        pair = both.record(("h", "w"))
        return pair.integer("h", 1, maximum=MAX_BOUND), pair.integer("w", 1, maximum=MAX_BOUND)
    if both.is_sequence:
        both.expected("a number, or height and width such as {h: 2, w: 1}")
        return 1, 1
    value = both.integer(maximum=MAX_BOUND)
    return value, value


def _read_bits(record: Record) -> BitWidths | None:
    """`bits: a8w4`, or `bits` (or the records' `bitwidths`) as a mapping with all three tensors."""
    field = record.optional("bits")
    other = record.optional("bitwidths")
    if field is not None and other is not None:
        other.fail("given beside `bits`, expected one of them")
    field = other if field is None else field
    if field is None:
        return None
    if field.is_mapping:
        tensors = (WEIGHTS, INPUTS, OUTPUTS)
        fields = field.record(tensors)
        values = {}
        for tensor in tensors:
            value = fields.required(tensor, f"its bits, 1..{MAX_BITS}")
            values[tensor] = 1 if value is None else value.integer(maximum=MAX_BITS)
        return BitWidths(weights=values[WEIGHTS], inputs=values[INPUTS], outputs=values[OUTPUTS])
    try:
        return parse_bits(field.text("bits such as 8, a8w4 or a8w4o8"))
    except (QuantloomError, ValueError):
        field.expected(f"bits 1..{MAX_BITS} such as 8, a8w4 or a8w4o8")
        return None


def dump_workload_keys(workload: Workload) -> list[str]:
    """The lines `key: value` that read_workload() turns into an equal workload: as gemm or conv if it is one."""
    dims = dict(workload.dims)
    conv = _conv_lines(workload, dims)
    if conv is not None:
        return conv
    lines = [f"dims: {_flow(dims)}", "tensors:"]
    for tensor in workload.tensors:
        ranks = [" + ".join(dim if c == 1 else f"{c}*{dim}" for dim, c in rank) for rank in tensor.ranks]
        lines.append(f"  {quote(tensor.name)}: [{', '.join(ranks)}]")
    output = next(tensor.name for tensor in workload.tensors if tensor.is_output)
    return lines if output == OUTPUTS else [*lines, f"output: {quote(output)}"]


def _conv_lines(workload: Workload, dims: dict[str, int]) -> list[str] | None:
    """The short form, if reading it back gives the same workload."""
    if tuple(dims) not in (_CONV_DIMS, ("G", *_CONV_DIMS)):
        return None
    inputs = [rank for tensor in workload.tensors if tensor.name == INPUTS for rank in tensor.ranks]
    factors = {dim: coefficient for rank in inputs for dim, coefficient in rank}
    stride, dilation = (factors.get("Q", 1), factors.get("P", 1)), (factors.get("S", 1), factors.get("R", 1))
    groups = dims.get("G", 1)
    rebuilt = conv_workload(
        workload.name,
        inputs=dims["C"] * groups,
        outputs=dims["M"] * groups,
        output_size=(dims["Q"], dims["P"]),
        kernel=(dims["S"], dims["R"]),
        stride=stride,
        dilation=dilation,
        groups=groups,
        batch=dims["N"],
    )
    if rebuilt != workload:
        return None
    if all(dims[dim] == 1 for dim in "RSPQ") and groups == 1 and stride == dilation == (1, 1):
        return ["shape: gemm", f"dims: {_flow({dim: dims[dim] for dim in 'CMN'})}"]
    lines = ["shape: conv", f"dims: {_flow(dims)}"]
    for key, (height, width) in (("stride", stride), ("dilation", dilation)):
        if (height, width) != (1, 1):
            lines.append(f"{key}: {height}" if height == width else f"{key}: {{h: {height}, w: {width}}}")
    return lines


def _flow(dims: dict[str, int]) -> str:
    return "{" + ", ".join(f"{quote(dim)}: {bound}" for dim, bound in dims.items()) + "}"
