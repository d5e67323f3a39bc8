"""Read a Network from a torch module: symbolic trace, one forward pass on zeros for the shapes, one walk of the graph.

What becomes of each operator stands in operators.py, how edges come about in builder.py. This file alone knows
torch.fx, and only _Graph knows its nodes: another tracer (torch.export) replaces trace() and _Graph.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from quantloom._core import Workload
from quantloom.errors import UnsupportedOpError, WorkloadError
from quantloom.workload.builder import NetworkBuilder
from quantloom.workload.layer import conv_workload, linear_workload
from quantloom.workload.network import Network
from quantloom.workload.operators import BINARY, OPERATORS, Action, supported_text

__all__ = ["TracedModel", "network_from_builder", "network_from_torch", "trace"]

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
    with _inference_mode(module):
        graph_module = _symbolic_trace(module, name)
        values = _run_on_zeros(graph_module, shape, name)
    network = _read_network(_Graph(graph_module, values), name, shape)
    return TracedModel(graph_module=graph_module, network=network)


def network_from_torch(module: nn.Module, input_shape: tuple[int, ...], name: str) -> Network:
    """The network of a module for samples of input_shape (without the batch); errors as trace()."""
    return trace(module, input_shape, name=name).network


def network_from_builder(build: Callable[[], object], input_shape: tuple[int, ...], name: str) -> Network:
    """The network of the module that build() makes; torch's random state is the same afterwards.

    Raises WorkloadError if build() returns anything but a module; other errors as trace().
    """
    with torch.random.fork_rng(devices=[]):
        module = build()
        if not isinstance(module, nn.Module):
            message = f"model `{name}` is a {type(module).__name__}, expected a torch.nn.Module"
            raise WorkloadError(message, hint="the function must return the module itself")
        return network_from_torch(module, input_shape, name)


# ---- tracing ---------------------------------------------------------------------------------------------------------


@contextmanager
def _inference_mode(module: nn.Module) -> Iterator[None]:
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
        message = f"{name} cannot be traced: {_first_line(error)}"
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
            message = (
                f"{self._name}: node `{n.name}` ({_target_text(n)}) fails on shapes {shapes}: {_first_line(error)}"
            )
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


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _target_text(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


# ---- what a node is --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _LayerCall:
    """A call of a convolution or linear layer: path of its module, its weights, and its geometry (1-D or 2-D)."""

    path: str
    weight: Tensor
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class _Graph:
    """The questions that reading a network asks of a traced graph and the values of its nodes."""

    def __init__(self, graph_module: fx.GraphModule, values: dict[fx.Node, object]) -> None:
        self._graph_module = graph_module
        self._modules = dict(graph_module.named_modules(remove_duplicate=False))
        self._values = values
        self.nodes: list[fx.Node] = list(graph_module.graph.nodes)
        self._order = {node: position for position, node in enumerate(self.nodes)}
        self._live = self._find_live()

    def _find_live(self) -> set[fx.Node]:
        """Nodes that the output depends on, and the input."""
        live = {node for node in self.nodes if node.op == "placeholder"}
        stack = [node for node in self.nodes if node.op == "output"]
        while stack:
            node = stack.pop()
            live.add(node)
            stack.extend(arg for arg in node.all_input_nodes if arg not in live)
        return live

    def is_live(self, node: fx.Node) -> bool:
        return node in self._live

    def has_tensor(self, node: fx.Node) -> bool:
        """Whether the value is a tensor or several, and not a size or other plain value."""
        return _holds_tensor(self._values[node])

    def is_tensor(self, node: fx.Node) -> bool:
        """Whether the value is exactly one tensor."""
        return isinstance(self._values[node], Tensor)

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape with the batch; () if the value is not one tensor."""
        return _shape_of(self._values[node]) or ()

    def sample_shape(self, node: fx.Node) -> tuple[int, ...]:
        """Shape of one sample: without the leading batch of 1."""
        shape = self.shape(node)
        return shape[1:] if shape[:1] == (1,) else shape

    def is_only_reader(self, node: fx.Node, operand: fx.Node) -> bool:
        """Whether no other live node reads the elements of operand (asking for its size is not reading)."""
        readers = [user for user in operand.users if user in self._live]
        return all(user is node or (user.op != "output" and not self.has_tensor(user)) for user in readers)

    def operator_of(self, node: fx.Node) -> str:
        """The operator's name as in OPERATORS; one with dots if it comes from anywhere but torch and Python."""
        text = _target_text(node)
        if node.op == "call_module":
            kind = type(self._modules[text])
            return kind.__name__ if kind.__module__.startswith("torch.nn.") else f"{kind.__module__}.{kind.__name__}"
        home = getattr(node.target, "__module__", None) or ""
        if node.op == "call_function" and home.split(".")[0] not in _KNOWN_PACKAGES:
            return f"{home}.{text}"
        return "add" if text == "iadd" else "mul" if text == "imul" else text.rstrip("_")

    def place(self, node: fx.Node) -> str:
        """A name for what a node computes: the module path if a module does, else the node's name."""
        return str(node.target) if node.op == "call_module" else node.name

    def describe(self, node: fx.Node) -> str:
        where = f" in module `{node.target}`" if node.op == "call_module" else ""
        return f"node `{node.name}`: {self.operator_of(node)}{where}"

    def overwrites_value_read_later(self, node: fx.Node) -> bool:
        """Whether an in-place operator changes an operand that is read again after it (the graph hides that)."""
        if node.op not in ("call_module", "call_function", "call_method") or not node.all_input_nodes:
            return False
        text = _target_text(node)
        if node.op == "call_module":
            is_in_place = bool(getattr(self._modules[text], "inplace", False))
        else:
            is_in_place = bool(node.kwargs.get("inplace")) or text in ("iadd", "imul") or text.endswith("_")
        return is_in_place and any(self._order[user] > self._order[node] for user in node.all_input_nodes[0].users)

    def layer_call(self, node: fx.Node) -> _LayerCall | None:
        """The layer that a node calls; None if its weights are not a parameter or constant of the model."""
        if node.op == "call_module":
            module = self._modules[str(node.target)]
            arguments = {key: getattr(module, key, 1) for key in ("stride", "dilation", "groups")}
            path, weight = str(node.target), module.weight
        else:
            arguments = dict(zip(_CONV_PARAMETERS, node.args, strict=False)) | node.kwargs
            source = arguments["weight"]
            if not isinstance(source, fx.Node) or source.op != "get_attr":
                return None
            path = str(source.target).rpartition(".")[0] or node.name
            weight = operator.attrgetter(str(source.target))(self._graph_module)
        axes = weight.dim() - 2
        return _LayerCall(
            path=path,
            weight=weight,
            stride=_per_axis(arguments.get("stride", 1), axes),
            dilation=_per_axis(arguments.get("dilation", 1), axes),
            groups=int(arguments.get("groups", 1)),
        )


def _per_axis(value: object, axes: int) -> tuple[int, ...]:
    """Torch's int-or-tuple argument as one number per spatial axis."""
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    return numbers * axes if len(numbers) == 1 else numbers


# ---- what it does to the network -------------------------------------------------------------------------------------


def _read_network(graph: _Graph, name: str, input_shape: tuple[int, ...]) -> Network:
    builder = NetworkBuilder()
    problems: list[str] = []
    owners: dict[int, str] = {}  # id of a weight tensor -> path of the layer that uses it
    for node in graph.nodes:
        if graph.overwrites_value_read_later(node):
            operand = node.all_input_nodes[0].name
            problems.append(
                f"{graph.describe(node)} overwrites `{operand}`, which is read again (do not work in place)"
            )
        if node.op == "placeholder":
            builder.open_edge(node.name, str(node.target), graph.sample_shape(node))
        elif node.op != "output" and graph.is_live(node) and graph.has_tensor(node):
            operands = [arg for arg in node.all_input_nodes if builder.holds(arg.name)]
            if operands:  # otherwise a parameter, or a constant made of parameters
                problem = _read_node(graph, builder, node, operands, owners)
                if problem is not None:
                    problems.append(f"{graph.describe(node)}{problem}")
                    builder.open_edge(node.name, node.name, graph.sample_shape(node))  # to report all, not the first
    if problems:
        message = f"{name}: {len(problems)} unsupported operator(s)\n  " + "\n  ".join(problems)
        raise UnsupportedOpError(message, hint=f"supported are {supported_text()}")
    result = graph.nodes[-1].args[0]
    if not isinstance(result, fx.Node) or not builder.holds(result.name) or not graph.is_tensor(result):
        message = f"{name} must return one tensor computed from its input"
        raise UnsupportedOpError(message, hint="wrap the model in a module that returns only its logits")
    return builder.close(name, input_shape)


def _read_node(
    graph: _Graph, builder: NetworkBuilder, node: fx.Node, operands: list[fx.Node], owners: dict[int, str]
) -> str | None:
    """Record what a node does to the edges; returns what is wrong if it is unsupported (then nothing is recorded)."""
    action = (OPERATORS if len(operands) == 1 else BINARY).get(graph.operator_of(node))
    first = operands[0]
    if action is None:
        return "" if len(operands) == 1 else f" of {len(operands)} activations"
    if not graph.is_tensor(node) and action is not Action.VIEW:
        return " returns several tensors"
    if action is Action.LAYER:
        return _read_layer(graph, builder, node, first, owners)
    if action is Action.FUSE:
        is_only = graph.is_only_reader(node, first)
        builder.fuse(node.name, first.name, graph.place(node), graph.sample_shape(node), is_only_reader=is_only)
    elif action is Action.VIEW:
        builder.view(node.name, first.name, is_only_reader=graph.is_only_reader(node, first))
    else:
        builder.open_edge(node.name, graph.place(node), graph.sample_shape(node))
        for operand in operands if action is not Action.COMPUTE else ():
            builder.join(operand.name, node.name)
    return None


def _read_layer(
    graph: _Graph, builder: NetworkBuilder, node: fx.Node, operand: fx.Node, owners: dict[int, str]
) -> str | None:
    call = graph.layer_call(node)
    if call is None:
        return " with weights that are no parameter of the model"
    if id(call.weight) in owners:
        return f" uses the weights of layer `{owners[id(call.weight)]}` again (give each call its own)"
    owners[id(call.weight)] = call.path
    workload = _layer_workload(call, graph.shape(operand), graph.shape(node))
    builder.add_layer(call.path, node.name, operand.name, workload, call.weight.numel(), graph.sample_shape(node))
    return None


def _layer_workload(call: _LayerCall, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Workload:
    """Workload for shapes with the batch; a 1-D convolution has height 1; all leading axes of a linear are batch."""
    outputs, inputs, *kernel = call.weight.shape
    if not kernel:
        return linear_workload(call.path, inputs=inputs, outputs=outputs, batch=math.prod(input_shape[:-1]))
    return conv_workload(
        call.path,
        inputs=inputs * call.groups,
        outputs=outputs,
        output_size=_height_width(output_shape[2:]),
        kernel=_height_width(tuple(kernel)),
        stride=_height_width(call.stride),
        dilation=_height_width(call.dilation),
        groups=call.groups,
        batch=input_shape[0],
    )


def _height_width(sizes: tuple[int, ...]) -> tuple[int, int]:
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
