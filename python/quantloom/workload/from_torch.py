"""Read a Network from a torch module: symbolic trace, one forward pass on zeros for the shapes.

It reads what the quantizer can compute with; from_export.py reads more. The walk over the graph is that of
graph_reader.py.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from quantloom.errors import UnsupportedOpError, WorkloadError, first_line
from quantloom.workload.graph_reader import read_network
from quantloom.workload.model_graph import GraphNode, ModelGraph
from quantloom.workload.network import Network
from quantloom.workload.operators import TRACED, Action
from quantloom.workload.products import Convolution, Product, matmul

__all__ = ["TracedModel", "in_inference_mode", "network_from_torch", "per_axis", "trace"]

# Packages whose functions are known by their bare name (builtin functions of torch name no package).
_KNOWN_PACKAGES = {"", "torch", "_operator", "builtins", "math"}
_CONV_PARAMETERS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedModel:
    """A traced module and its network; the nodes named by edges and layers are nodes of graph_module.graph.

    graph_module shares its submodules and parameters with the module that was traced.
    """

    graph_module: fx.GraphModule
    network: Network


def trace(module: nn.Module, example_shape: tuple[int, ...], *, name: str | None = None) -> TracedModel:
    """Trace a module in inference mode and read its network.

    example_shape: of one sample, without the batch, e.g. (3, 224, 224). name: of the network, default the class name.
    The module's training flags and statistics are left as they were. Raises UnsupportedOpError with every node that
    cannot be read, WorkloadError if the module cannot run on this shape (names the node) or has no layer.
    """
    name = name or type(module).__name__
    shape = tuple(example_shape)
    with in_inference_mode(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the model's operators say of their defaults is not for here
        graph_module = _symbolic_trace(module, name)
        values = _run_on_zeros(graph_module, shape, name)
    network = read_network(_Graph(graph_module, values).model_graph(name, shape))
    return TracedModel(graph_module=graph_module, network=network)


def network_from_torch(module: nn.Module, input_shape: tuple[int, ...], name: str) -> Network:
    """The network of a module for samples of input_shape (without the batch); errors as trace()."""
    return trace(module, input_shape, name=name).network


# ---- tracing ---------------------------------------------------------------------------------------------------------


@contextmanager
def in_inference_mode(module: nn.Module) -> Iterator[None]:
    """Training flags off inside, afterwards as they were."""
    flags = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in flags:
            part.training = training


def _symbolic_trace(module: nn.Module, name: str) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(module)
    except Exception as error:  # runs the model's own code: anything can be raised
        message = f"{name} cannot be traced: {first_line(error)}"
        hint = "its forward must not branch or loop on the values of tensors; see torch.fx for what can be traced"
        raise UnsupportedOpError(message, hint=hint) from error


class _ShapeRecorder(fx.Interpreter):
    """Runs a graph and keeps the value of each node, tensors without their memory."""

    def __init__(self, graph_module: fx.GraphModule, name: str) -> None:
        super().__init__(graph_module)
        self.extra_traceback = False
        self._name = name
        self.values: dict[fx.Node, object] = {}

    def run_node(self, n: fx.Node) -> object:
        """Run one node; raises WorkloadError naming it and the shapes it read."""
        try:
            value: object = super().run_node(n)
        except Exception as error:  # runs the model's own code: anything can be raised
            shapes = ", ".join(str(_shape_of(self.values.get(arg))) for arg in n.all_input_nodes)
            message = f"{self._name}: node `{n.name}` ({_target_text(n)}) fails on shapes {shapes}: {first_line(error)}"
            raise WorkloadError(message, hint="is the input shape right? The first size here is the batch") from error
        self.values[n] = _without_memory(value)
        return value


def _run_on_zeros(graph_module: fx.GraphModule, shape: tuple[int, ...], name: str) -> dict[fx.Node, object]:
    if not shape or any(not isinstance(size, int) or size < 1 for size in shape):
        message = f"{name}: input shape {shape} must be whole numbers from 1"
        raise WorkloadError(message, hint="give the shape of one sample without the batch, e.g. (3, 224, 224)")
    inputs = [node.name for node in graph_module.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        message = f"{name} takes {len(inputs)} inputs: {', '.join(inputs) or 'none'}"
        raise UnsupportedOpError(message, hint="a network has one input; wrap the model in a module that takes one")
    like = next(graph_module.parameters(), torch.empty(0))
    recorder = _ShapeRecorder(graph_module, name)
    with torch.no_grad():
        recorder.run(torch.zeros(1, *shape, dtype=like.dtype, device=like.device))
    return recorder.values


def _without_memory(value: object) -> object:
    if isinstance(value, Tensor):
        return value.to("meta")
    return [_without_memory(item) for item in value] if isinstance(value, list | tuple) else value


def _shape_of(value: object) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _holds_tensor(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list) and any(map(_holds_tensor, value)))


def _target_text(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


# ---- what a node is --------------------------------------------------------------------------------------------------


class _Graph:
    """Turns a traced graph and the values of its nodes into a ModelGraph."""

    def __init__(self, graph_module: fx.GraphModule, values: dict[fx.Node, object]) -> None:
        self._graph_module = graph_module
        self._modules = dict(graph_module.named_modules(remove_duplicate=False))
        self._values = values
        self._nodes: list[fx.Node] = list(graph_module.graph.nodes)
        self._order = {node: position for position, node in enumerate(self._nodes)}
        self._constants: dict[str, tuple[int, ...]] = {}

    def model_graph(self, name: str, input_shape: tuple[int, ...]) -> ModelGraph:
        """The graph; its nodes have the names of the traced ones."""
        result = self._nodes[-1].args[0]
        is_tensor = isinstance(result, fx.Node) and isinstance(self._values[result], Tensor)
        return ModelGraph(
            name=name,
            input_shape=input_shape,
            nodes=tuple(self._graph_node(node) for node in self._nodes if node.op != "output"),
            outputs=tuple(node.name for node in self._nodes[-1].all_input_nodes),
            vocabulary=TRACED,
            constants=self._constants,
            returns_one_tensor=is_tensor,
        )

    def _graph_node(self, node: fx.Node) -> GraphNode:
        value = self._values[node]
        place, product = self._place(node), None
        if node.op in ("call_module", "call_function") and TRACED.one.get(self._operator_of(node)) is Action.LAYER:
            place, product = self._layer(node)
        return GraphNode(
            name=node.name,
            operator=self._operator_of(node),
            reads=tuple(operand.name for operand in node.all_input_nodes),
            shape=_shape_of(value),
            place=place,
            described=self._describe(node),
            has_tensor=_holds_tensor(value),
            is_input=node.op == "placeholder",
            product=product,
            problem=self._overwrites(node),
        )

    def _operator_of(self, node: fx.Node) -> str:
        """The operator's name as in TRACED; one with dots if it comes from anywhere but torch and Python."""
        text = _target_text(node)
        if node.op == "call_module":
            kind = type(self._modules[text])
            return kind.__name__ if kind.__module__.startswith("torch.nn.") else f"{kind.__module__}.{kind.__name__}"
        home = getattr(node.target, "__module__", None) or ""
        if node.op == "call_function" and home.split(".")[0] not in _KNOWN_PACKAGES:
            return f"{home}.{text}"
        return "add" if text == "iadd" else "mul" if text == "imul" else text.rstrip("_")

    def _place(self, node: fx.Node) -> str:
        """A name for what a node computes: the module path if a module does, else the node's name."""
        return str(node.target) if node.op in ("call_module", "placeholder") else node.name

    def _describe(self, node: fx.Node) -> str:
        where = f" in module `{node.target}`" if node.op == "call_module" else ""
        return f"node `{node.name}`: {self._operator_of(node)}{where}"

    def _overwrites(self, node: fx.Node) -> str:
        """What is wrong if an in-place operator changes an operand that is read again after it."""
        if node.op not in ("call_module", "call_function", "call_method") or not node.all_input_nodes:
            return ""
        text, operand = _target_text(node), node.all_input_nodes[0]
        if node.op == "call_module":
            is_in_place = bool(getattr(self._modules[text], "inplace", False))
        else:
            is_in_place = bool(node.kwargs.get("inplace")) or text in ("iadd", "imul") or text.endswith("_")
        if not is_in_place or all(self._order[user] <= self._order[node] for user in operand.users):
            return ""
        return f" overwrites `{operand.name}`, which is read again (do not work in place)"

    def _layer(self, node: fx.Node) -> tuple[str, Product | None]:
        """Name and product of the layer that a node calls; no product if its weights are no parameter or constant."""
        if node.op == "call_module":
            module = self._modules[str(node.target)]
            arguments = {key: getattr(module, key, 1) for key in ("stride", "dilation", "groups")}
            path, weight = str(node.target), module.weight
        else:
            arguments = dict(zip(_CONV_PARAMETERS, node.args, strict=False)) | node.kwargs
            source = arguments["weight"]
            if not isinstance(source, fx.Node) or source.op != "get_attr":
                return node.name, None
            path = str(source.target).rpartition(".")[0] or node.name
            weight = operator.attrgetter(str(source.target))(self._graph_module)
        operand, output = node.all_input_nodes[0], _shape_of(self._values[node])
        given = _shape_of(self._values[operand])
        if given is None or output is None:
            return path, None
        tensor, shape = f"tensor {id(weight)}", tuple(weight.shape)
        self._constants[tensor] = shape
        if len(shape) == 2:
            return path, matmul(operand.name, tensor, given, shape[::-1])
        convolution = Convolution(
            inputs=operand.name,
            weights=tensor,
            input_shape=given,
            weight_shape=shape,
            output_shape=output,
            stride=per_axis(arguments.get("stride", 1), len(shape) - 2),
            dilation=per_axis(arguments.get("dilation", 1), len(shape) - 2),
            groups=int(arguments.get("groups", 1)),
        )
        return path, convolution


def per_axis(value: object, axes: int) -> tuple[int, ...]:
    """Torch's int-or-tuple argument as one number per spatial axis."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    return numbers * axes if len(numbers) == 1 else numbers
