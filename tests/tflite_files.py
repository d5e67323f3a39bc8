"""Writes small TFLite files: nodes with the options of the format's schema, constants as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite

OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), "Pool2DOptions"),
    "MEAN": "ReducerOptions",
    "CONCATENATION": "ConcatenationOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    **{name: f"{name.capitalize()}Options" for name in ("ADD", "SUB", "MUL", "DIV", "SOFTMAX", "RESHAPE", "GELU")},
    **{"PAD": "PadOptions", "TRANSPOSE": "TransposeOptions", "MAXIMUM": "MaximumMinimumOptions"},
    **{"MINIMUM": "MaximumMinimumOptions", "SQUEEZE": "SqueezeOptions", "EXPAND_DIMS": "ExpandDimsOptions"},
    **{"DEQUANTIZE": "DequantizeOptions", "HARD_SWISH": "HardSwishOptions"},
}
TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}


def node(
    operator: str, shape: Sequence[int], *constants: Any, reads: str = "x", writes: str = "y", **options: Any
) -> Any:
    """shape: of the result. A constant that is None is an operand left out; options: as the schema names them."""
    return operator, tuple(shape), constants, reads, writes, options


def tflite_bytes(shape: Sequence[int], *nodes: Any, outputs: str = "", kind: str = "float32") -> bytes:
    """A file of nodes that each read one value (or several, by commas) and then their constants. Batch first."""
    builder = flatbuffers.Builder(1024)
    tensors, buffers = [("x", tuple(shape), TYPES[kind], 0)], [None]
    positions = {"x": 0}
    made = []
    for operator, result, constants, reads, writes, options in nodes:
        inputs = [positions[name] for name in reads.split(",") if name]
        for number, value in enumerate(constants):
            if value is None:
                inputs.append(-1)
                continue
            array = np.asarray(value)
            buffers.append(array)
            inputs.append(len(tensors))
            tensors.append((f"{writes}_{number}", array.shape, TYPES[array.dtype.name], len(buffers) - 1))
        positions[writes] = len(tensors)
        tensors.append((f"net/{writes}", result, 0, 0))
        made.append((operator, inputs, [positions[writes]], options))
    kinds = sorted({operator for operator, *_ in made})
    results = [positions[name] for name in (outputs or nodes[-1][4]).split(",")]
    graph = _graph(builder, tensors, made, kinds, results)
    model = _table(
        builder,
        "Model",
        Version=3,
        OperatorCodes=_vector(builder, [_code(builder, kind) for kind in kinds]),
        Subgraphs=_vector(builder, [graph]),
        Buffers=_vector(builder, [_buffer(builder, value) for value in buffers]),
    )
    builder.Finish(model, b"TFL3")
    return bytes(builder.Output())


def save(path: Path, shape: Sequence[int], *nodes: Any, outputs: str = "", kind: str = "float32") -> str:
    path.write_bytes(tflite_bytes(shape, *nodes, outputs=outputs, kind=kind))
    return str(path)


def _table(builder: Any, kind: str, **fields: Any) -> int:
    getattr(tflite, f"{kind}Start")(builder)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(builder, value)
    return int(getattr(tflite, f"{kind}End")(builder))


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for each in reversed(offsets):
        builder.PrependUOffsetTRelative(each)
    return int(builder.EndVector())


def _numbers(builder: Any, values: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.int32)))


def _buffer(builder: Any, value: Any) -> int:
    data = None if value is None else builder.CreateNumpyVector(np.frombuffer(value.tobytes(), np.uint8))
    return _table(builder, "Buffer", **({} if data is None else {"Data": data}))


def _code(builder: Any, kind: str) -> int:
    if kind.startswith("CUSTOM"):
        name = builder.CreateString(kind.split()[1])
        return _table(builder, "OperatorCode", DeprecatedBuiltinCode=32, BuiltinCode=32, CustomCode=name, Version=1)
    code = getattr(tflite.BuiltinOperator, kind)
    return _table(builder, "OperatorCode", DeprecatedBuiltinCode=min(code, 127), BuiltinCode=code, Version=1)


def _graph(builder: Any, tensors: list[Any], made: list[Any], kinds: list[str], results: list[int]) -> int:
    operators = []
    for operator, inputs, outputs, options in made:
        fields: dict[str, Any] = {
            "OpcodeIndex": kinds.index(operator),
            "Inputs": _numbers(builder, inputs),
            "Outputs": _numbers(builder, outputs),
        }
        if operator in OPTIONS:
            kind = OPTIONS[operator]
            fields["BuiltinOptions"] = _table(builder, kind, **options)
            fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, kind)
        operators.append(_table(builder, "Operator", **fields))
    rows = [
        _table(
            builder, "Tensor", Shape=_numbers(builder, shape), Type=kind, Buffer=buffer, Name=builder.CreateString(name)
        )
        for name, shape, kind, buffer in tensors
    ]
    return _table(
        builder,
        "SubGraph",
        Tensors=_vector(builder, rows),
        Inputs=_numbers(builder, [0]),
        Outputs=_numbers(builder, results),
        Operators=_vector(builder, operators),
    )
