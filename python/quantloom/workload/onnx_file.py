"""Reads an ONNX file into plain records: nodes, the shape of every value, and which values are constants.

This file alone imports `onnx`. load_onnx() never looks at weights: initialisers above some elements are taken for their
shape, and of data outside of the file (whose place is checked) only small tensors are read. Shapes come from onnx's own
shape inference, helped by folding the small integer tensors that exporters compute shapes with.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantloom.errors import SpecError, WorkloadError, first_line
from quantloom.workload.onnx_branches import branch_of, captured, inlined
from quantloom.workload.onnx_sizes import MAX_EXTENT, OnnxSizes, fix_inputs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

__all__ = ["OnnxGraph", "OnnxNode", "load_onnx", "load_onnx_with_tensors"]

OLDEST_OPSET = 7
_KEPT_ELEMENTS = 4096  # of tensors whose values may matter for shapes
_FOLDED_ELEMENTS = 1 << 20
_MAX_ROUNDS = 200
_FOLDED_NAMES = (
    "Add Cast Ceil Concat ConstantOfShape Div Equal Expand Floor Gather Greater Identity Less Max Min Mod Mul Neg Not"
    " Range ReduceMax ReduceMin ReduceProd ReduceSum Reshape Slice Split Sqrt Squeeze Sub Tile Transpose Unsqueeze"
    " Where"
)
_FOLDED = frozenset(_FOLDED_NAMES.split())
_STANDARD = ("", "ai.onnx")
_PACKED_TYPES = (21, 22, 23, 25, 26, 27, 28)  # of less than a byte each: u4, i4, f4, u2, i2, f6, f6
_MOST_AXES = 64
_TARGETS = {"Reshape": 1, "Expand": 1, "Tile": 1, "ConstantOfShape": 0}  # operand that has one number for each axis


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxNode:
    """One node. operator: with its domain in front unless that is the standard one. inputs: "" for one left out."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxGraph:
    """Nodes in execution order. shapes: of every value that has one, constants included. inputs: with their shapes."""

    nodes: tuple[OnnxNode, ...]
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[str, ...]
    constants: frozenset[str]
    shapes: Mapping[str, tuple[int, ...]]


def load_onnx(path: str, sizes: OnnxSizes) -> OnnxGraph:
    """The graph in a file. Raises SpecError naming what is wrong with it, WorkloadError if onnx is not installed."""
    return _opened(path).read(sizes)


def load_onnx_with_tensors(path: str, sizes: OnnxSizes) -> tuple[OnnxGraph, dict[str, Any]]:
    """The graph, and by name the values of all initialisers and constants, as numpy arrays (which this room does not
    import); those of branches that are taken too.

    Raises as load_onnx, and SpecError for a tensor whose data cannot be read.
    """
    file = _opened(path)
    return file.read(sizes), file.tensors()


def _opened(path: str) -> _File:
    try:
        import onnx.shape_inference  # noqa: F401
    except ImportError as error:
        message = f"{path}: reading an ONNX file needs the package onnx: {error}"
        raise WorkloadError(message, hint="pip install quantloom[onnx]") from error
    return _File(path, _parse(path))


def _parse(path: str) -> ModelProto:
    import onnx

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read: {error.strerror or error}"
        raise SpecError(message, hint="give the path of an .onnx file") from error
    try:
        model: ModelProto = onnx.ModelProto.FromString(data)
        if model.functions:
            import onnx.inliner

            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # protobuf and onnx raise classes of their own for bytes they cannot read
        message = f"{path}: not a readable ONNX file ({len(data):,} bytes): {first_line(error)}"
        raise SpecError(message, hint="is it whole, and an ONNX model?") from error
    graph = model.graph
    names = [name for node in graph.node for name in (node.name, node.op_type, node.domain, *node.input, *node.output)]
    names += [attribute.name for node in graph.node for attribute in node.attribute]
    names += [each.name for each in (*graph.initializer, *graph.input, *graph.output, *graph.value_info)]
    if not all(isinstance(name, str) for name in names):  # protobuf hands out bytes that are no UTF-8 as they are
        message = f"{path}: not a readable ONNX file ({len(data):,} bytes): a name is not UTF-8"
        raise SpecError(message, hint="is it whole, and an ONNX model?")
    if not graph.node:
        message = f"{path}: holds no ONNX graph ({len(data):,} bytes)"
        raise SpecError(message, hint="is it whole, and an ONNX model?")
    return model


class _File:
    def __init__(self, path: str, model: ModelProto) -> None:
        self._path = path
        self._model = model
        self._graph: GraphProto = model.graph
        self._constants: dict[str, tuple[int, ...]] = {}
        self._values: dict[str, Any] = {}  # small constants, as numpy arrays
        self._tensors: dict[str, TensorProto] = {}  # all initialisers and constants, however many elements they have
        self._same: dict[str, str] = {}  # what an Identity writes, and what it reads
        self._declared: dict[str, ValueInfoProto] = {info.name: info for info in self._graph.value_info}

    def read(self, sizes: OnnxSizes) -> OnnxGraph:
        opset = self._check_opset()
        self._take_initializers()
        inputs = self._fix_inputs(sizes)
        self._sort_nodes([name for name, _ in inputs])
        for node in self._graph.node:
            self._take_constant(node)
        self._check_axes(dict(inputs))
        shapes = self._infer(opset, sizes)
        shapes |= self._constants
        return OnnxGraph(
            nodes=tuple(self._nodes()),
            inputs=inputs,
            outputs=tuple(info.name for info in self._graph.output),
            constants=frozenset(self._constants),
            shapes=shapes,
        )

    def tensors(self) -> dict[str, Any]:  # Any: numpy arrays
        """The values of all tensors of the graph that read() has read."""
        from onnx import numpy_helper

        found: dict[str, Any] = {}
        for name, tensor in self._tensors.items():
            try:
                found[name] = numpy_helper.to_array(tensor, str(Path(self._path).parent))
            except Exception as error:  # whatever numpy and onnx raise for data of the wrong size
                message = f"tensor `{name}` of shape {list(tensor.dims)} cannot be read: {first_line(error)}"
                raise self._error(message, "is the file whole?") from error
        for name in self._same:
            source, passed = name, set[str]()
            while source in self._same and source not in found and source not in passed:
                passed.add(source)
                source = self._same[source]
            if source in found:
                found[name] = found[source]
        return found

    def _error(self, message: str, hint: str) -> SpecError:
        return SpecError(f"{self._path}: {message}", hint=hint)

    def _check_opset(self) -> int:
        import onnx

        newest = onnx.defs.onnx_opset_version()
        found = [entry.version for entry in self._model.opset_import if entry.domain in _STANDARD]
        if not found:
            message = "no version of the standard operators (opset)"
            raise self._error(message, "is it whole, and an ONNX model?")
        if not OLDEST_OPSET <= found[0] <= newest:
            message = f"opset {found[0]}, expected {OLDEST_OPSET}..{newest}"
            hint = (
                "export it anew" if found[0] < OLDEST_OPSET else f"onnx {onnx.__version__} knows no later; upgrade it"
            )
            raise self._error(message, hint)
        known = {entry.domain for entry in self._model.opset_import}
        for domain in sorted({node.domain for node in self._graph.node} - known):  # shape inference insists on it
            self._model.opset_import.append(onnx.helper.make_opsetid(domain, found[0] if domain in _STANDARD else 1))
        return int(found[0])

    # ---- constants -----------------------------------------------------------------------------------------------

    def _take_initializers(self) -> None:
        """Note the shapes of all initialisers; those with many elements become inputs without values."""
        tensors = list(self._graph.initializer)
        del self._graph.initializer[:]
        for tensor in tensors:
            self._take_initializer(tensor)
        for sparse in self._graph.sparse_initializer:
            self._constants[sparse.values.name] = tuple(sparse.dims)

    def _take_initializer(self, tensor: TensorProto) -> None:
        from onnx import helper

        shape = self._tensor_shape(tensor)
        self._constants[tensor.name] = shape
        self._tensors[tensor.name] = tensor
        if self._keep_values(tensor, shape):
            self._graph.initializer.append(tensor)
        elif all(info.name != tensor.name for info in self._graph.input):
            self._graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))

    def _tensor_shape(self, tensor: TensorProto) -> tuple[int, ...]:
        shape = tuple(tensor.dims)
        if any(not 0 <= size <= MAX_EXTENT for size in shape):
            message = f"tensor `{tensor.name}` has the shape {list(shape)}"
            raise self._error(message, f"sizes are 0..{MAX_EXTENT}; is the file whole?")
        from onnx import TensorProto

        if tensor.data_location == TensorProto.EXTERNAL:
            self._check_external(tensor)
        elif tensor.HasField("raw_data") and tensor.data_type not in _PACKED_TYPES:
            self._check_size(tensor, math.prod(shape))
        return shape

    def _check_size(self, tensor: TensorProto, elements: int) -> None:
        """Raise SpecError unless the bytes of a tensor are those of its elements."""
        from onnx import helper

        try:
            expected = elements * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        except (KeyError, ValueError, TypeError):
            expected = -1
        if expected != len(tensor.raw_data):
            message = f"tensor `{tensor.name}` of shape {list(tensor.dims)} has {len(tensor.raw_data):,} bytes of data"
            raise self._error(message, "is the file whole?")

    def _check_external(self, tensor: TensorProto) -> None:
        """Data of a tensor may only lie in the model's own folder."""
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        folder = Path(self._path).resolve().parent
        inside = bool(location) and "\0" not in location and not Path(location).is_absolute()
        if not inside or not (folder / location).resolve().is_relative_to(folder):
            message = f"the data of tensor `{tensor.name}` lie in {location!r}, outside of the model's folder"
            raise self._error(message, "data of a model must lie beside it; do not use files you do not trust")

    def _keep_values(self, tensor: TensorProto, shape: tuple[int, ...]) -> bool:
        """Remember the values of a small tensor. Raises SpecError if they are not there."""
        from onnx import TensorProto, numpy_helper
        from onnx.external_data_helper import load_external_data_for_tensor

        if math.prod(shape) > _KEPT_ELEMENTS or tensor.data_type == TensorProto.STRING:
            return False
        is_external = tensor.data_location == TensorProto.EXTERNAL
        if is_external and not self._has_external(tensor):
            return False  # its shape is enough, if no other shape is computed from it
        try:
            if is_external:
                load_external_data_for_tensor(tensor, str(Path(self._path).parent))
                tensor.data_location = TensorProto.DEFAULT
                self._check_size(tensor, math.prod(shape))
            self._values[tensor.name] = numpy_helper.to_array(tensor)
        except SpecError:
            raise
        except Exception as error:  # whatever numpy and onnx raise for data of the wrong size
            message = f"tensor `{tensor.name}` of shape {list(shape)} cannot be read: {first_line(error)}"
            raise self._error(message, "is the file whole?") from error
        return True

    def _has_external(self, tensor: TensorProto) -> bool:
        """Whether the data of a tensor are there, and say how few of its file's bytes they are."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        file = Path(self._path).parent / entries.get("location", "")
        return file.is_file() and entries.get("length", "").isdecimal() and int(entries["length"]) < _FOLDED_ELEMENTS

    def _take_constant(self, node: NodeProto) -> None:
        if node.op_type == "Identity" and node.domain in _STANDARD and node.input and node.output:
            self._same[node.output[0]] = node.input[0]
        if node.op_type != "Constant" or node.domain not in _STANDARD or len(node.output) != 1:
            return
        from onnx import numpy_helper

        name, attribute = node.output[0], next(iter(node.attribute), None)
        shape: tuple[int, ...] = ()
        if attribute is None or attribute.name in ("value_string", "value_strings", "sparse_value"):
            self._constants[name] = shape
            return
        if attribute.name == "value":
            attribute.t.name = name
            shape = self._tensor_shape(attribute.t)
            self._keep_values(attribute.t, shape)
            self._tensors[name] = attribute.t
        else:
            numbers = {"value_int": attribute.i, "value_float": attribute.f}.get(attribute.name)
            listed = list(attribute.ints) or list(attribute.floats)
            shape = () if numbers is not None else (len(listed),)
            tensor = _array_tensor(name, listed if numbers is None else numbers)
            self._values[name] = numpy_helper.to_array(tensor)
            self._tensors[name] = tensor
        self._constants[name] = shape

    # ---- inputs --------------------------------------------------------------------------------------------------

    def _fix_inputs(self, sizes: OnnxSizes) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Give every axis of every input a size; all that are left open are reported together."""
        infos = [info for info in self._graph.input if info.name not in self._constants]
        if not infos:
            message = "the graph has no input"
            raise self._error(message, "a network reads at least one tensor")
        found, problems, options = fix_inputs(infos, sizes)
        if problems:
            example = f"{Path(self._path).name}:{options or 'shape=3x224x224'}"
            raise self._error("\n  ".join(problems), f"give sizes behind the file, as in {example}")
        return tuple(found)

    # ---- order ---------------------------------------------------------------------------------------------------

    def _sort_nodes(self, inputs: list[str]) -> None:
        """Bring the nodes into execution order. Raises SpecError for values that nothing writes, and for cycles."""
        written: dict[str, int] = {}
        problems = []
        for index, node in enumerate(self._graph.node):
            for name in filter(None, node.output):
                if name in written or name in self._constants or name in inputs:
                    problems.append(f"{_described(node)} writes `{name}`, which has a value already")
                written.setdefault(name, index)
        known = {*inputs, *self._constants}
        for node in self._graph.node:
            problems += [
                f"{_described(node)} reads `{name}`, which nothing writes"
                for name in (*node.input, *captured(node))
                if name and name not in known and name not in written
            ]
        problems += [
            f"the output `{info.name}` is written by nothing"
            for info in self._graph.output
            if info.name not in written and info.name not in known
        ]
        if problems:
            raise self._error("\n  ".join(problems[:20]), "is the file whole? an initialiser may be missing")
        self._order(written)

    def _order(self, written: Mapping[str, int]) -> None:
        nodes = list(self._graph.node)
        needs = [{written[name] for name in (*node.input, *captured(node)) if name in written} for node in nodes]
        readers: list[list[int]] = [[] for _ in nodes]
        for index, before in enumerate(needs):
            for other in before:
                readers[other].append(index)
        waiting = [len(before) for before in needs]
        ready = [index for index in range(len(nodes) - 1, -1, -1) if waiting[index] == 0]
        order = []
        while ready:
            index = ready.pop()
            order.append(index)
            for reader in readers[index]:
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    ready.append(reader)
        if len(order) < len(nodes):
            stuck = ", ".join([_described(nodes[index]) for index in range(len(nodes)) if waiting[index]][:5])
            message = f"the graph has a cycle, among {stuck}"
            raise self._error(message, "ONNX graphs have no cycles")
        if any(max(before, default=-1) > index for index, before in enumerate(needs)):
            del self._graph.node[:]
            self._graph.node.extend([nodes[index] for index in order])

    def _check_axes(self, inputs: Mapping[str, tuple[int, ...]]) -> None:
        """Raise SpecError for results of absurdly many axes, which would exhaust the memory of shape inference."""
        for node in self._graph.node:
            at = _TARGETS.get(node.op_type, len(node.input))
            target = node.input[at] if at < len(node.input) else ""
            shape = self._constants.get(target, inputs.get(target, ()))
            if math.prod(shape) > _MOST_AXES:
                message = f"{_described(node)} makes a tensor of {math.prod(shape):,} axes"
                raise self._error(message, f"tensors have up to {_MOST_AXES} axes; is the file whole?")
            if node.op_type in ("Squeeze", "Unsqueeze"):
                axes = [axis for attribute in node.attribute for axis in attribute.ints]
                if len(node.input) > 1 and node.input[1] in self._values:
                    axes += self._values[node.input[1]].reshape(-1).tolist()
                if any(not -_MOST_AXES <= axis < _MOST_AXES for axis in axes):
                    message = f"{_described(node)} names the axes {axes[:8]}"
                    raise self._error(message, f"tensors have up to {_MOST_AXES} axes; is the file whole?")

    # ---- shapes --------------------------------------------------------------------------------------------------

    def _infer(self, opset: int, sizes: OnnxSizes) -> dict[str, tuple[int, ...]]:
        """Shapes of all values, by turns of shape inference and folding until nothing new is known."""
        from onnx import numpy_helper

        del self._graph.value_info[:]
        for info in self._graph.output:
            info.type.tensor_type.ClearField("shape")
        shapes: dict[str, tuple[int, ...]] = {}
        for _ in range(_MAX_ROUNDS):
            shapes = self._infer_once()
            for name, info in self._declared.items():
                declared = _static_shape(info, sizes.named)
                if name not in shapes and declared is not None:
                    shapes[name] = declared
            folded, taken = self._fold(shapes, opset), self._take_branches()
            wanted = [name for node in self._graph.node for name in node.output if name and name not in shapes]
            if not (folded or taken) or not wanted:
                break
            gone = set(folded)
            kept = [node for node in self._graph.node if not set(node.output) & gone]
            del self._graph.node[:]
            self._graph.node.extend(kept)
            self._graph.initializer.extend(
                numpy_helper.from_array(self._values[name], name) for name in folded if name in self._values
            )
        return shapes

    def _take_branches(self) -> bool:
        """Put the taken branch in the place of every If whose condition is known; returns whether there was one."""
        nodes: list[NodeProto] = []
        is_any = False
        for node in self._graph.node:
            condition = self._values.get(node.input[0]) if node.op_type == "If" and len(node.input) == 1 else None
            branch = None if condition is None or condition.size != 1 else branch_of(node, bool(condition.item()))
            if branch is None or node.domain not in _STANDARD:
                nodes.append(node)
                continue
            is_any = True
            inner, tensors = inlined(node, branch)
            for tensor in tensors:
                self._take_initializer(tensor)
            nodes += inner
        if is_any:
            del self._graph.node[:]
            self._graph.node.extend(nodes)
            for node in self._graph.node:
                self._take_constant(node)
        return is_any

    def _infer_once(self) -> dict[str, tuple[int, ...]]:
        import onnx.shape_inference

        try:
            inferred = onnx.shape_inference.infer_shapes(self._model)
        except Exception as error:  # onnx raises RuntimeError, ValueError, TypeError and classes of its own
            message = f"onnx cannot infer the shapes: {first_line(error)}"
            raise self._error(message, "is the file whole, and are the sizes given behind it right?") from error
        graph = inferred.graph
        shapes = {}
        for info in (*graph.input, *graph.value_info, *graph.output):
            shape = _static_shape(info, {})
            if shape is not None:
                shapes[info.name] = shape
        return shapes

    def _fold(self, shapes: Mapping[str, tuple[int, ...]], opset: int) -> list[str]:
        """Compute what depends on constants and known shapes only, and is small; returns the values that are new."""
        new = []
        for node in self._graph.node:
            if len(node.output) < 1 or node.output[0] in self._values or node.domain not in _STANDARD:
                continue
            found: list[Any] | None = None  # numpy arrays
            if node.op_type in ("Shape", "Size") and node.input and node.input[0] in shapes:
                found = self._run(node, opset, {node.input[0]: None}, shapes[node.input[0]])
            elif node.op_type in _FOLDED and all(not name or self._is_foldable(name) for name in node.input):
                found = self._run(node, opset, {name: self._values[name] for name in node.input if name}, ())
            for name, value in zip(node.output, found or (), strict=False):
                self._values[name] = value
                self._constants[name] = tuple(value.shape)
                new.append(name)
        return new

    def _is_foldable(self, name: str) -> bool:
        """Whether a value is known, and no matrix of weights: layers must be able to tell that they share one."""
        value = self._values.get(name)
        return value is not None and not (value.ndim > 1 and value.dtype.kind == "f")

    def _run(
        self, node: NodeProto, opset: int, given: Mapping[str, Any], shape: tuple[int, ...]
    ) -> list[Any] | None:  # Any: numpy arrays
        """The outputs of a node, computed by onnx's reference; None if they would be large or cannot be computed."""
        from onnx import helper, numpy_helper
        from onnx.reference import ReferenceEvaluator

        if node.op_type in ("Shape", "Size"):
            attributes = {attribute.name: attribute.i for attribute in node.attribute}
            numbers: int | list[int] = math.prod(shape)
            if node.op_type == "Shape":
                numbers = list(shape)[attributes.get("start", 0) : attributes.get("end", len(shape))]
            return [numpy_helper.to_array(_array_tensor(node.output[0], numbers))]
        operands = [given[name] for name in node.input if name]
        if node.op_type in ("ConstantOfShape", "Expand", "Range", "Tile") and not _is_small(node.op_type, operands):
            return None
        model = helper.make_model(
            helper.make_graph(
                [node],
                "folded",
                [helper.make_value_info(name, helper.make_tensor_type_proto(1, None)) for name in given],
                [helper.make_value_info(name, helper.make_tensor_type_proto(1, None)) for name in node.output if name],
            ),
            opset_imports=[helper.make_opsetid("", opset)],
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numpy, about divisions by zero
                results = list(ReferenceEvaluator(model).run(None, dict(given)))
                return results if all(result.dtype.kind in "biuf" for result in results) else None
        except Exception:  # not computed: its shape stays unknown and is reported if anything needs it
            return None

    # ---- records -------------------------------------------------------------------------------------------------

    def _nodes(self) -> Iterator[OnnxNode]:
        for node in self._graph.node:
            if node.output and all(name in self._constants for name in node.output):
                continue
            operator = node.op_type if node.domain in _STANDARD else f"{node.domain}.{node.op_type}"
            yield OnnxNode(
                name=node.name,
                operator=operator,
                inputs=(*node.input, *captured(node)),
                outputs=tuple(node.output),
                attributes=dict(map(_attribute, node.attribute)),
            )


def _attribute(attribute: Any) -> tuple[str, object]:  # Any: an attribute of protobuf
    """Name and value: a number, text, or a tuple of numbers; None for tensors and graphs."""
    kinds = {1: attribute.f, 2: attribute.i, 3: attribute.s, 6: tuple(attribute.floats), 7: tuple(attribute.ints)}
    value = kinds.get(attribute.type)
    return attribute.name, value.decode(errors="replace") if isinstance(value, bytes) else value


def _array_tensor(name: str, value: int | float | list[int] | list[float]) -> TensorProto:
    from onnx import TensorProto, helper

    flat = value if isinstance(value, list) else [value]
    kind = TensorProto.FLOAT if any(isinstance(each, float) for each in flat) else TensorProto.INT64
    return helper.make_tensor(name, kind, [len(flat)] if isinstance(value, list) else [], flat)


def _static_shape(info: ValueInfoProto, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape of a value if every axis has a size."""
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        return None
    shape = []
    for dim in info.type.tensor_type.shape.dim:
        size = dim.dim_value if dim.HasField("dim_value") else sizes.get(dim.dim_param, -1)
        if not 0 <= size <= MAX_EXTENT:
            return None
        shape.append(int(size))
    return tuple(shape)


def _is_small(operator: str, operands: list[Any]) -> bool:  # Any: numpy arrays
    """Whether the result of an operator that makes a tensor out of sizes is small enough to compute."""
    try:
        if operator == "Range":
            start, limit, delta = (float(each) for each in operands)
            return (limit - start) / delta <= _FOLDED_ELEMENTS
        numbers = [int(each) for each in operands[-1].reshape(-1)]
        size = math.prod(max(1, number) for number in numbers)
        return size * (operands[0].size if operator == "Tile" else 1) <= _FOLDED_ELEMENTS
    except (ValueError, OverflowError, ZeroDivisionError, AttributeError, IndexError, TypeError):
        return False


def _described(node: NodeProto) -> str:
    name = f"node `{node.name}`" if node.name else f"the node that writes `{node.output[0] if node.output else ''}`"
    return f"{name} ({node.op_type})"
