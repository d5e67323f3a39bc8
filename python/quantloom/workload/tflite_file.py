"""Reads a TFLite file into plain records: nodes with their options, tensors with their shapes and constant bytes.

This file alone imports `tflite`, the classes that the format's own schema generates. Every count, index and size is
checked before anything is taken from it, so a file that is cut off or changed gives one error.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

from quantloom.errors import SpecError, WorkloadError, first_line

__all__ = ["TfliteGraph", "TfliteNode", "TfliteTensor", "load_tflite"]

_IDENTIFIER: Final = b"TFL3"
_MOST_AXES: Final = 8
_MOST_EXTENT: Final = 2**31 - 1
_BYTES: Final = {
    **{"FLOAT32": 4, "FLOAT16": 2, "FLOAT64": 8, "INT8": 1, "INT16": 2, "INT32": 4, "INT64": 8},
    **{"UINT8": 1, "UINT16": 2, "UINT32": 4, "UINT64": 8, "BOOL": 1},
}
# The options that are read, by operator: the table that has them, and their names in it.
_WINDOW: Final = ("Padding", "StrideH", "StrideW")
_POOL: Final = ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth", "FusedActivationFunction"))
_CONV: Final = (*_WINDOW, "DilationHFactor", "DilationWFactor", "FusedActivationFunction")
_OPTIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "CONV_2D": ("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _CONV),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat", "KeepNumDims")),
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "SUB": ("SubOptions", ("FusedActivationFunction",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "DIV": ("DivOptions", ("FusedActivationFunction",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "LEAKY_RELU": ("LeakyReluOptions", ("Alpha",)),
    "GELU": ("GeluOptions", ("Approximate",)),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", ("AlignCorners", "HalfPixelCenters")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteTensor:
    """A tensor. type: as the schema names it ("FLOAT32"). data: of a constant, little-endian, else None."""

    name: str
    shape: tuple[int, ...]
    type: str
    data: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteNode:
    """A node. operator: as the schema names it ("CONV_2D"), or "CUSTOM name". inputs: -1 for one left out."""

    operator: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteGraph:
    """The main graph of a file, in execution order; inputs, outputs and nodes name tensors by position."""

    nodes: tuple[TfliteNode, ...]
    tensors: tuple[TfliteTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def load_tflite(path: str) -> TfliteGraph:
    """The graph in a file. Raises SpecError naming what is wrong with it, WorkloadError if tflite is not installed."""
    try:
        import tflite
    except ImportError as error:
        message = f"{path}: reading a TFLite file needs the package tflite: {error}"
        raise WorkloadError(message, hint="pip install quantloom[tflite]") from error
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}"
        raise SpecError(message, hint="give the path of a .tflite file") from error
    if data[4:8] != _IDENTIFIER:
        message = f"{path}: not a TFLite file ({len(data):,} bytes): `TFL3` does not stand at byte 4"
        raise SpecError(message, hint="is it whole, and a TFLite model?")
    try:
        return _File(path, data, tflite.Model.GetRootAs(data, 0)).graph()
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, MemoryError) as error:
        # What the generated classes raise where an offset or a length leads out of the file.
        message = f"{path}: not a readable TFLite file ({len(data):,} bytes): {first_line(error)}"
        raise SpecError(message, hint="is it whole, and a TFLite model?") from error


class _File:
    """A file while it is read; `model` and what it hands out are classes that the schema generated."""

    def __init__(self, path: str, data: bytes, model: Any) -> None:
        self._path = path
        self._data = data
        self._model = model

    def graph(self) -> TfliteGraph:
        graphs = self._model.SubgraphsLength()
        if graphs < 1:
            self._fail("holds no graph")
        main = self._model.Subgraphs(0)
        tensors = tuple(self._tensor(main.Tensors(each), each) for each in self._count(main.TensorsLength()))
        nodes = tuple(
            self._node(main.Operators(each), each, len(tensors)) for each in self._count(main.OperatorsLength())
        )
        if not nodes:
            self._fail("holds no operators")
        inputs, outputs = (
            self._positions(what, each, len(tensors), least=0)
            for what, each in (("inputs", main.InputsAsNumpy()), ("outputs", main.OutputsAsNumpy()))
        )
        known = {each for each, tensor in enumerate(tensors) if tensor.data is not None} | set(inputs)
        for number, node in enumerate(nodes):
            for each in node.inputs:
                if each >= 0 and each not in known:
                    self._fail(f"operator {number} ({node.operator}) reads `{tensors[each].name}` before it is written")
            known |= set(node.outputs)
        for each in outputs:
            if each not in known:
                self._fail(f"the output `{tensors[each].name}` is never written")
        return TfliteGraph(nodes=nodes, tensors=tensors, inputs=inputs, outputs=outputs)

    def _tensor(self, tensor: Any, number: int) -> TfliteTensor:
        name = (tensor.Name() or b"").decode(errors="replace") or f"tensor {number}"
        shape = tuple(int(each) for each in self._numbers(tensor.ShapeAsNumpy()))
        kind = _names("TensorType").get(tensor.Type(), f"type {tensor.Type()}")
        if len(shape) > _MOST_AXES or any(not 0 <= each <= _MOST_EXTENT for each in shape):
            self._fail(f"tensor `{name}` has the shape {list(shape)[:16]}")
        if tensor.Sparsity() is not None:
            self._fail(f"tensor `{name}` is stored sparse", hint="convert the model without sparsity")
        return TfliteTensor(name=name, shape=shape, type=kind, data=self._constant(tensor, name, shape, kind))

    def _constant(self, tensor: Any, name: str, shape: tuple[int, ...], kind: str) -> bytes | None:
        if not 0 <= tensor.Buffer() < self._model.BuffersLength():
            self._fail(f"tensor `{name}` lies in buffer {tensor.Buffer()}, which is not there")
        buffer = self._model.Buffers(tensor.Buffer())
        if buffer.Offset() > 1:
            self._fail(f"tensor `{name}` lies behind the model", hint="files above 2 GB are not read")
        if buffer.DataLength() == 0:
            return None
        found = bytes(buffer.DataAsNumpy())
        expected = math.prod(shape) * _BYTES.get(kind, 0)
        if kind in _BYTES and len(found) != expected:
            self._fail(f"tensor `{name}` of {list(shape)} {kind} has {len(found):,} bytes, expected {expected:,}")
        return found

    def _node(self, node: Any, number: int, tensors: int) -> TfliteNode:
        if not 0 <= node.OpcodeIndex() < self._model.OperatorCodesLength():
            self._fail(f"operator {number} is of kind {node.OpcodeIndex()}, which is not there")
        code = self._model.OperatorCodes(node.OpcodeIndex())
        # Old files have the kind in a byte of its own, new ones in both while it fits (schema.fbs, OperatorCode).
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        operator = _names("BuiltinOperator").get(builtin, f"operator {builtin}")
        if operator == "CUSTOM":
            operator = f"CUSTOM {(code.CustomCode() or b'').decode(errors='replace')}"
        where = f"operator {number} ({operator})"
        inputs = self._positions(f"the inputs of {where}", node.InputsAsNumpy(), tensors, least=-1)
        outputs = self._positions(f"the outputs of {where}", node.OutputsAsNumpy(), tensors, least=0)
        if not outputs:
            self._fail(f"{where} has no output")
        return TfliteNode(
            operator=operator, inputs=inputs, outputs=outputs, options=self._options(node, operator, where)
        )

    def _options(self, node: Any, operator: str, where: str) -> dict[str, int | float | bool]:
        """Those of `_OPTIONS`; of a node without any, none."""
        if operator not in _OPTIONS:
            return {}
        import tflite

        kind, names = _OPTIONS[operator]
        table = node.BuiltinOptions()
        if table is None:
            return {}
        if node.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, kind):
            self._fail(f"{where} has options of kind {node.BuiltinOptionsType()}, expected {kind}")
        options = getattr(tflite, kind)()
        options.Init(table.Bytes, table.Pos)
        return {name: getattr(options, name)() for name in names}

    def _positions(self, what: str, found: Any, tensors: int, *, least: int) -> tuple[int, ...]:
        positions = tuple(int(each) for each in self._numbers(found))
        for each in positions:
            if not least <= each < tensors:
                self._fail(f"{what} name tensor {each} of {tensors}")
        return positions

    def _numbers(self, found: Any) -> Any:
        """A vector of 32-bit numbers; the generated classes give 0 where there is none."""
        return () if isinstance(found, int) else found

    def _count(self, length: int) -> range:
        """Of the entries of a vector, each of which takes four bytes at least."""
        if length * 4 > len(self._data):
            self._fail(f"a list of {length:,} entries is longer than the file")
        return range(length)

    def _fail(self, what: str, hint: str = "is it whole, and a TFLite model?") -> NoReturn:
        message = f"{self._path}: {what}"
        raise SpecError(message, hint=hint)


@cache
def _names(kind: str) -> Mapping[int, str]:
    """The names of an enumeration of the schema, by value."""
    import tflite

    return {value: name for name, value in vars(getattr(tflite, kind)).items() if isinstance(value, int)}
