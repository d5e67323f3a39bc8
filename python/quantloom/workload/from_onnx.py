"""Read a Network from an ONNX file: what its nodes multiply, look up and move, as graph_reader.py takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from quantloom.errors import WorkloadError
from quantloom.workload.expansions import Names, attention_nodes, recurrent_nodes
from quantloom.workload.graph_reader import read_network
from quantloom.workload.model_graph import GraphNode, ModelGraph, sample_shape
from quantloom.workload.network import Network
from quantloom.workload.onnx_file import OnnxGraph, OnnxNode, load_onnx
from quantloom.workload.onnx_sizes import OnnxSizes
from quantloom.workload.operators import ONNX
from quantloom.workload.products import Convolution, Einsum, Product, matmul

__all__ = ["network_from_onnx"]

_NAMES = Names(product="MatMul", add="Add", softmax="Softmax", multiply="Mul", gate="Tanh")
_ALIASES = {  # of other domains, with the operands and meaning of a standard operator
    "com.microsoft.FusedConv": "Conv",
    "com.microsoft.FusedGemm": "Gemm",
    "com.microsoft.FusedMatMul": "MatMul",
    "com.microsoft.Gelu": "Gelu",
    "com.microsoft.FastGelu": "Gelu",
    "com.microsoft.QuickGelu": "Gelu",
}
_WEIGHTS_AT = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3}
_FACTORS_AT = {"MatMul": (0, 1), "MatMulInteger": (0, 1), "Gemm": (0, 1), "QLinearMatMul": (0, 3)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_LONGEST_NAME = 160


def network_from_onnx(path: str, sizes: OnnxSizes, *, assumes_traffic: bool = False) -> Network:
    """The network in an ONNX file; weights are not loaded.

    Raises SpecError for a file that cannot be read or leaves sizes open, UnsupportedOpError with every node that
    cannot be read, WorkloadError if onnx is not installed or nothing is multiplied.
    """
    found = load_onnx(path, sizes)
    graph = _Converter(path, found).model_graph()
    return read_network(graph, assumes_traffic=assumes_traffic)


class _Converter:
    def __init__(self, path: str, graph: OnnxGraph) -> None:
        self._path = path
        self._graph = graph
        self._places: set[str] = set()

    def model_graph(self) -> ModelGraph:
        nodes = [
            GraphNode(name=name, operator="", reads=(), shape=shape, place=_plain(name), described="", is_input=True)
            for name, shape in self._graph.inputs
        ]
        for node in self._graph.nodes:
            nodes += self._converted(node)
        return ModelGraph(
            name=Path(self._path).name,
            input_shape=sample_shape(self._graph.inputs[0][1]),
            nodes=tuple(nodes),
            outputs=self._graph.outputs,
            vocabulary=ONNX,
            constants={name: self._graph.shapes[name] for name in self._graph.constants},
        )

    def _converted(self, node: OnnxNode) -> list[GraphNode]:
        outputs = [name for name in node.outputs if name]
        if not outputs:
            return []
        operator = _ALIASES.get(node.operator, node.operator)
        named = f"node `{_plain(node.name)}`" if node.name else f"the node that writes `{_plain(outputs[0])}`"
        base = GraphNode(
            name=outputs[0],
            operator=operator,
            reads=tuple(name for name in node.inputs if name),
            shape=self._graph.shapes.get(outputs[0]),
            place=self._place(node, operator),
            described=f"{named}: {node.operator}",
            has_tensor=operator not in ("Shape", "Size"),
            is_open=self._follows_unknown(node),
        )
        if base.is_open:
            return [replace(base, name=name) for name in outputs]
        if operator == "Split":  # each result is a part of what is split
            parts = [replace(base, name=name, operator="Slice", reads=base.reads[:1]) for name in outputs]
            return [replace(part, shape=self._graph.shapes.get(part.name), place=_plain(part.name)) for part in parts]
        try:
            first = self._first_nodes(node, base)
        except (WorkloadError, IndexError, KeyError, ValueError) as error:
            message = (
                error.message
                if isinstance(error, WorkloadError)
                else "its operands or attributes are not those of this operator"
            )
            first = [replace(base, problem=f": {message}")]
        others = [
            replace(base, name=name, shape=self._graph.shapes.get(name), place=_plain(name), reads=base.reads)
            for name in outputs[1:]
        ]
        return [*first, *(self._others(others, operator, base.name))]

    def _follows_unknown(self, node: OnnxNode) -> bool:
        """Whether a result has no shape because an operand has none."""
        return node.outputs[0] not in self._graph.shapes and any(
            name and name not in self._graph.shapes for name in node.inputs
        )

    def _others(self, nodes: list[GraphNode], operator: str, first: str) -> list[GraphNode]:
        """Further results: of a recurrent layer its last states, of other operators what they also compute."""
        if operator in _GATES:
            return [replace(node, operator="Slice", reads=(first,)) for node in nodes]
        return nodes

    def _first_nodes(self, node: OnnxNode, base: GraphNode) -> list[GraphNode]:
        """The node of the first result, or the nodes that it is made of."""
        if base.operator in _WEIGHTS_AT:
            return [replace(base, product=self._convolution(node, base))]
        if base.operator in _FACTORS_AT:
            return [replace(base, product=self._matrix_product(node, base.operator))]
        if base.operator == "Einsum":
            return self._einsum(node, base)
        if base.operator == "Gather" and node.inputs[0] in self._graph.constants:
            return [replace(base, table=node.inputs[0])]
        if base.operator == "Attention":
            return self._attention(node, base)
        if base.operator in _GATES:
            return self._recurrent(node, base)
        return [base]

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self._graph.shapes:
            message = f"the shape of its operand `{_plain(name)}` is unknown"
            raise WorkloadError(message, hint="give sizes behind the file")
        return self._graph.shapes[name]

    def _convolution(self, node: OnnxNode, base: GraphNode) -> Product:
        weights = node.inputs[_WEIGHTS_AT[base.operator]]
        given, weight_shape, output = self._shape(node.inputs[0]), self._shape(weights), self._shape(base.name)
        axes = len(weight_shape) - 2
        is_transposed = base.operator == "ConvTranspose"
        stride, dilation = _ints(node, "strides", (1,) * axes), _ints(node, "dilations", (1,) * axes)
        padding = (0,) * axes
        if is_transposed:
            padding = self._start_padding(node, given, weight_shape, output, stride, dilation)
        return Convolution(
            inputs=node.inputs[0],
            weights=weights,
            input_shape=given,
            weight_shape=weight_shape,
            output_shape=output,
            stride=stride,
            dilation=dilation,
            groups=_int(node, "group", 1),
            is_transposed=is_transposed,
            padding=padding,
        )

    def _start_padding(
        self,
        node: OnnxNode,
        given: tuple[int, ...],
        weights: tuple[int, ...],
        output: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
    ) -> tuple[int, ...]:
        """What a transposed convolution crops at the start of each axis, as the standard derives it."""
        axes = len(weights) - 2
        automatic = node.attributes.get("auto_pad", "NOTSET")
        extra = _ints(node, "output_padding", (0,) * axes)
        if automatic == "NOTSET" and "output_shape" not in node.attributes:
            return _ints(node, "pads", (0,) * axes)[:axes]
        full = [(given[2 + i] - 1) * stride[i] + (weights[2 + i] - 1) * dilation[i] + 1 + extra[i] for i in range(axes)]
        cropped = [max(0, full[i] - output[2 + i]) for i in range(axes)]
        return tuple(total // 2 if automatic == "SAME_UPPER" else total - total // 2 for total in cropped)

    def _matrix_product(self, node: OnnxNode, operator: str) -> Product:
        first, second = (node.inputs[at] for at in _FACTORS_AT[operator])
        first_shape, second_shape = self._shape(first), self._shape(second)
        if _int(node, "transA", 0):
            first_shape = (*first_shape[:-2], *first_shape[:-3:-1])
        if _int(node, "transB", 0):
            second_shape = (*second_shape[:-2], *second_shape[:-3:-1])
        return matmul(first, second, first_shape, second_shape)

    def _einsum(self, node: OnnxNode, base: GraphNode) -> list[GraphNode]:
        if len(node.inputs) != 2:
            message = f"an einsum of {len(node.inputs)} operands"
            raise WorkloadError(message, hint="write it as products of two")
        shapes = self._shape(node.inputs[0]), self._shape(node.inputs[1])
        product = Einsum.parse(str(node.attributes.get("equation", "")), (node.inputs[0], node.inputs[1]), shapes)
        return [replace(base, product=product)]

    def _attention(self, node: OnnxNode, base: GraphNode) -> list[GraphNode]:
        if any(node.inputs[4:6]):
            message = "attention over past keys and values"
            raise WorkloadError(message, hint="export the model without a cache")
        names = (node.inputs[0], node.inputs[1], node.inputs[2])
        shapes = [self._shape(name) for name in names]
        if len(shapes[0]) == 3:
            heads = _int(node, "q_num_heads", 1), _int(node, "kv_num_heads", 1), _int(node, "kv_num_heads", 1)
            shapes = [(s[0], h, s[1], s[2] // h) for s, h in zip(shapes, heads, strict=True)]
        masks = tuple(node.inputs[3:4]) if any(node.inputs[3:4]) else ()
        return attention_nodes(base, _NAMES, names, (shapes[0], shapes[1], shapes[2]), masks)

    def _recurrent(self, node: OnnxNode, base: GraphNode) -> list[GraphNode]:
        directions, gates, inputs = self._shape(node.inputs[1])
        given = self._shape(node.inputs[0])
        return recurrent_nodes(
            base,
            _NAMES,
            node.inputs[0],
            (node.inputs[1], node.inputs[2]),
            steps=given[0] * given[1],
            inputs=inputs,
            gates=gates,
            hidden=gates // _GATES[base.operator],
            directions=directions,
        )

    def _place(self, node: OnnxNode, operator: str) -> str:
        """A name for what a node computes: that of its weights if they have one, else its own, else its result's."""
        at = _WEIGHTS_AT.get(operator, 1 if operator in _FACTORS_AT else None)
        if at is not None and len(node.inputs) > at and node.inputs[at].endswith(".weight"):
            return _plain(node.inputs[at].removesuffix(".weight"))
        return _plain((node.name or node.outputs[0]).removeprefix("/").removesuffix(f"/{operator}"))


def _plain(name: str) -> str:
    """A name that can stand in tables and files: printable, and not too long."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return text if 0 < len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3] or 'unnamed'}..."


def _int(node: OnnxNode, key: str, default: int) -> int:
    value = node.attributes.get(key, default)
    return value if isinstance(value, int) else default


def _ints(node: OnnxNode, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
    value = node.attributes.get(key)
    return value if isinstance(value, tuple) and value else default
