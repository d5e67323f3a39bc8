"""Read a Network from a torch module through torch.export: attention, matrix products, recurrent layers, any inputs.

The exported graph is made free of in-place operators first. Weights are not copied; they are read for their shapes.
"""

from __future__ import annotations

import io
import logging
import math
import operator
import re
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from quantloom.errors import UnsupportedOpError, WorkloadError, first_line
from quantloom.workload.expansions import Names, attention_nodes, cell_nodes, recurrent_nodes
from quantloom.workload.from_torch import in_inference_mode, per_axis
from quantloom.workload.graph_reader import read_network
from quantloom.workload.model_graph import GraphNode, ModelGraph, sample_shape
from quantloom.workload.network import Network
from quantloom.workload.operators import ATEN, Action
from quantloom.workload.products import Convolution, Einsum, Product, matmul

__all__ = ["network_from_export"]

_NAMES = Names(product="matmul", add="add", softmax="softmax", multiply="mul", gate="tanh")
_FACTORS = {  # operator -> names of the two factors in its schema
    "matmul": ("self", "other"),
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "addmm": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "baddbmm": ("batch1", "batch2"),
}
_MAX_ROUNDS = 5  # of writing operators by others
_QUANTIZED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_CELLS = frozenset(["lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"])
_FILLED = frozenset(  # of an operand they take the shape alone
    [
        *("empty_like", "full_like", "ones_like", "rand_like", "randn_like", "zeros_like"),
        *("new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros"),
    ]
)
_SPLITS = frozenset(["chunk", "split", "split_with_sizes", "tensor_split", "unbind", "unsafe_chunk", "unsafe_split"])
_RENAMED = {
    "batch_norm_legit_no_training": "batch_norm",
    "native_batch_norm_legit": "batch_norm",
    "native_batch_norm_legit_no_training": "batch_norm",
    "unsafe_index_put": "index_put",
    "max_pool2d_with_indices": "max_pool2d",
    "max_pool3d_with_indices": "max_pool3d",
}


def network_from_export(
    module: nn.Module,
    args: tuple[object, ...],
    kwargs: Mapping[str, object],
    name: str,
    *,
    assumes_traffic: bool = False,
) -> Network:
    """The network of a module that is called with these example inputs; its training flags are left as they were.

    Raises UnsupportedOpError if it cannot be exported, or with every node that cannot be read; WorkloadError if nothing
    is multiplied.
    """
    _check_readable(module, name)
    exported = _export(module, args, kwargs, name)
    try:
        return read_network(_Graph(exported).model_graph(name))
    except UnsupportedOpError as error:
        written = _by_others(exported)
        try:
            return read_network(_Graph(written).model_graph(name), assumes_traffic=assumes_traffic)
        except UnsupportedOpError:  # the model's own operators say more than what torch writes them by
            raise error from None


def _check_readable(module: nn.Module, name: str) -> None:
    """Raise UnsupportedOpError naming the parts that hide what they compute: compiled scripts, quantized layers."""
    hidden: dict[str, nn.Module] = {}
    for path, part in module.named_modules():
        is_hidden = isinstance(part, torch.jit.ScriptModule) or type(part).__module__.startswith(_QUANTIZED)
        if is_hidden and not any(path.startswith(f"{outer}." if outer else "") for outer in hidden):
            hidden[path] = part
    if hidden:
        lines = [
            f"{f'module `{path}`' if path else 'the model itself'}: {type(part).__module__}.{type(part).__name__}"
            for path, part in hidden.items()
        ]
        message = f"{name}: {len(lines)} module(s) that do not show what they compute\n  " + "\n  ".join(lines)
        raise UnsupportedOpError(message, hint="give the model as it is before torch.jit or the quantizer changes it")


def _export(module: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object], name: str) -> ExportedProgram:
    was_fast = torch.backends.mha.get_fastpath_enabled()
    try:
        # The fast path of attention is one operator that hides its products; without gradients it would be taken.
        torch.backends.mha.set_fastpath_enabled(False)
        with in_inference_mode(module), torch.no_grad(), _silence():
            exported: ExportedProgram = torch.export.export(module, args, dict(kwargs), strict=False)
            functional: ExportedProgram = exported.run_decompositions({})
            return functional
    except Exception as error:  # runs the model's own code: anything can be raised
        message = f"{name} cannot be exported{_raised_at(error)}: {type(error).__name__}: {first_line(error)}"
        hint = "do the example inputs fit? forward must not branch or loop on values of tensors; see torch.export"
        raise UnsupportedOpError(message, hint=hint) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(was_fast)


def _by_others(exported: ExportedProgram) -> ExportedProgram:
    """The program with operators that have no name here written by others, as far as torch can."""
    with torch.no_grad(), _silence():
        for _ in range(_MAX_ROUNDS):
            table = _decompositions(exported)
            if not table:
                break
            exported = exported.run_decompositions(table)
    return exported


def _decompositions(exported: ExportedProgram) -> dict[Any, Callable[..., Any]]:  # Any: torch's own types
    """How torch writes the operators of a graph that have no name here by others, where it can."""
    known = {*ATEN.one, *ATEN.several, *_FILLED}
    called = {node.target for node in exported.graph.nodes if node.op == "call_function"}
    unknown = [
        op for op in called if isinstance(op, torch._ops.OpOverload) and _operator_name(op._schema.name) not in known
    ]
    if not unknown:
        return {}
    by_others = torch.export.default_decompositions()
    table = {op: by_others[op] for op in unknown if op in by_others}
    return {op: op.decompose for op in unknown if op not in table and op._can_decompose()} | table


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps what torch prints and logs when an export fails (whole graphs, tracebacks) off the terminal."""
    was_disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(was_disabled)


class _Graph:
    """Turns an exported program into a ModelGraph."""

    def __init__(self, exported: ExportedProgram) -> None:
        self._nodes: list[fx.Node] = list(exported.graph.nodes)
        signature = exported.graph_signature
        self._inputs = set(signature.user_inputs)
        self._outputs = tuple(name for name in signature.user_outputs if isinstance(name, str))
        self._paths = dict(signature.inputs_to_parameters) | dict(signature.inputs_to_buffers)
        self._same: dict[str, str] = {}  # the first result of an operator with several -> the operator
        self._constants: dict[str, tuple[int, ...]] = {}

    def model_graph(self, name: str) -> ModelGraph:
        nodes: list[GraphNode] = []
        for node in self._nodes:
            if node.op == "placeholder" and node.name in self._inputs and _shape(node) is not None:
                nodes.append(self._input(node))
            elif node.op in ("placeholder", "get_attr"):
                self._constants[node.name] = _shape(node) or ()
            elif node.op == "call_function":
                nodes += self._converted(node)
        inputs = [node for node in nodes if node.is_input]
        return ModelGraph(
            name=name,
            input_shape=sample_shape(inputs[0].shape or ()) if inputs else (),
            nodes=tuple(nodes),
            outputs=tuple(self._name(name) for name in self._outputs),
            vocabulary=ATEN,
            constants=self._constants,
            returns_one_tensor=bool(inputs),
        )

    def _input(self, node: fx.Node) -> GraphNode:
        return GraphNode(
            name=node.name,
            operator="",
            reads=(),
            shape=_shape(node),
            place=node.name,
            described=f"input `{node.name}`",
            is_input=True,
        )

    def _name(self, name: str) -> str:
        return self._same.get(name, name)

    def _converted(self, node: fx.Node) -> list[GraphNode]:
        kind = _operator_of(node)
        if any(map(_is_open, (node, *node.all_input_nodes))):
            return [self._of_open_size(node, kind)]
        operands = () if kind in _FILLED else node.all_input_nodes
        if kind == "copy":  # of what is overwritten it takes the shape alone
            operands = [read for read in operands if read is node.args[1]]
        reads = tuple(self._name(read.name) for read in operands)
        if node.target is operator.getitem:
            source, index = node.args
            is_part = isinstance(source, fx.Node) and _operator_of(source) in _SPLITS
            if index == 0 and not is_part:
                self._same[node.name] = reads[0]
                return []
        shape = _shape(node)
        if shape is None and kind not in _SPLITS:
            shape = _first_shape(node)
        place = self._place(node)
        base = GraphNode(
            name=node.name,
            operator=kind,
            reads=reads,
            shape=shape,
            place=place,
            described=f"node `{node.name}`: {kind}{_in_module(node)}{_written_at(node)}",
            has_tensor=shape is not None or kind in _SPLITS,
        )
        try:
            return self._expanded(node, base)
        except WorkloadError as error:
            return [replace(base, problem=f": {error.message}")]

    def _of_open_size(self, node: fx.Node, kind: str) -> GraphNode:
        """A node with sizes that only a run with values would tell; a problem where they come from."""
        is_first = _is_open(node) and not any(map(_is_open, node.all_input_nodes))
        return GraphNode(
            name=node.name,
            operator=kind,
            reads=tuple(self._name(read.name) for read in node.all_input_nodes),
            shape=None,
            place=self._place(node),
            described=f"node `{node.name}`: {kind}{_in_module(node)}{_written_at(node)}",
            has_tensor=bool(_shapes(node)),
            problem=" has a result whose size depends on the values of tensors" if is_first else "",
            is_open=True,
        )

    def _expanded(self, node: fx.Node, base: GraphNode) -> list[GraphNode]:
        """The node with what it multiplies, or the nodes that it is made of."""
        kind, given = base.operator, _arguments(node)
        if kind.startswith("conv"):
            return [self._with_product(base, self._convolution(kind, given, base.shape or ()))]
        if kind == "linear":
            inputs, weights = given["input"], given["weight"]
            turned = self._shape_of(weights)[::-1]
            product = matmul(self._name(inputs.name), self._name(weights.name), self._shape_of(inputs), turned)
            return [self._with_product(base, product)]
        if kind in _FACTORS:
            first, second = (given[name] for name in _FACTORS[kind])
            names = self._name(first.name), self._name(second.name)
            return [self._with_product(base, matmul(*names, self._shape_of(first), self._shape_of(second)))]
        if kind == "einsum":
            return [self._einsum(base, given)]
        if kind == "embedding":
            return [replace(base, table=self._name(given["weight"].name))]
        if kind == "embedding_bag":
            rows = math.prod(self._shape_of(given["indices"]))
            looked_up = rows * self._shape_of(given["weight"])[1]
            return [replace(base, table=self._name(given["weight"].name), looked_up=looked_up)]
        if kind == "scaled_dot_product_attention":
            return self._attention(base, given)
        if kind in _GATES:
            return self._recurrent(base, given)
        if kind in _CELLS:
            return self._cell(base, given)
        return [base]

    def _with_product(self, base: GraphNode, product: Product) -> GraphNode:
        """The node as a layer, named by its module, or by the parameter that it multiplies with if there is one."""
        path = self._path_of(product.weights) or self._path_of(product.inputs) if base.place == base.name else ""
        place = path.removesuffix(".weight").removesuffix("_weight") if path else base.place
        return replace(base, product=product, place=place or base.place)

    def _path_of(self, name: str) -> str:
        """The path of the parameter that a constant is, or is another shape of."""
        nodes = {node.name: node for node in self._nodes}
        while name not in self._paths and name in nodes:
            node = nodes[name]
            if not node.all_input_nodes or ATEN.one.get(_operator_of(node)) is not Action.VIEW:
                return ""
            name = node.all_input_nodes[0].name
        return str(self._paths.get(name, ""))

    def _shape_of(self, node: fx.Node) -> tuple[int, ...]:
        shape = _shape(node) or _first_shape(node)
        if shape is None:
            message = f"its operand `{node.name}` is no tensor"
            raise WorkloadError(message)
        return shape

    def _convolution(self, kind: str, given: Mapping[str, Any], output: tuple[int, ...]) -> Product:
        weights = self._shape_of(given["weight"])
        axes = len(weights) - 2
        padding = given.get("padding", 0)
        return Convolution(
            inputs=self._name(given["input"].name),
            weights=self._name(given["weight"].name),
            input_shape=self._shape_of(given["input"]),
            weight_shape=weights,
            output_shape=output,
            stride=per_axis(given["stride"], axes),
            dilation=per_axis(given["dilation"], axes),
            groups=int(given["groups"]),
            is_transposed="transpose" in kind or bool(given.get("transposed")),
            padding=(0,) * axes if isinstance(padding, str) else per_axis(padding, axes),
        )

    def _einsum(self, base: GraphNode, given: Mapping[str, Any]) -> GraphNode:
        operands = given["tensors"]
        if len(operands) != 2:
            message = f"an einsum of {len(operands)} operands"
            raise WorkloadError(message, hint="write it as products of two")
        names = self._name(operands[0].name), self._name(operands[1].name)
        shapes = self._shape_of(operands[0]), self._shape_of(operands[1])
        return self._with_product(base, Einsum.parse(given["equation"], names, shapes))

    def _attention(self, base: GraphNode, given: Mapping[str, Any]) -> list[GraphNode]:
        operands = given["query"], given["key"], given["value"]
        names = tuple(self._name(operand.name) for operand in operands)
        shapes = tuple(self._shape_of(operand) for operand in operands)
        mask = given.get("attn_mask")
        masks = () if mask is None else (self._name(mask.name),)
        return attention_nodes(base, _NAMES, (names[0], names[1], names[2]), (shapes[0], shapes[1], shapes[2]), masks)

    def _recurrent(self, base: GraphNode, given: Mapping[str, Any]) -> list[GraphNode]:
        """One recurrent layer after the other; both directions of one read the same tensor."""
        operand, parameters = given["input"], [self._name(each.name) for each in given["params"]]
        shapes = [self._shape_of(each) for each in given["params"]]
        directions, layers = 2 if given["bidirectional"] else 1, int(given["num_layers"])
        stride = len(parameters) // (directions * layers)
        if stride not in (2, 4):
            message = "a recurrent layer with projected states"
            raise WorkloadError(message, hint="leave proj_size out")
        current, nodes = self._name(operand.name), []
        steps = math.prod(self._shape_of(operand)[:-1])
        for layer in range(layers):
            last = base.name if layer == layers - 1 else f"{base.name}.l{layer}"
            ends = []
            for direction in range(directions):
                at = (layer * directions + direction) * stride
                (gates, inputs), hidden = shapes[at], shapes[at + 1][1]
                name = last if directions == 1 else f"{last}.{('forward', 'backward')[direction]}"
                part = replace(
                    base,
                    name=name,
                    place=f"{base.place}{name.removeprefix(base.name)}",
                    shape=(1, steps, hidden),
                    reads=(current,),
                )
                sizes = {"steps": steps, "inputs": inputs, "gates": gates, "hidden": hidden, "directions": 1}
                nodes += recurrent_nodes(part, _NAMES, current, (parameters[at], parameters[at + 1]), **sizes)
                ends.append(name)
            if directions == 2:
                place = f"{base.place}{last.removeprefix(base.name)}"
                shape = (1, steps, 2 * hidden)
                nodes.append(replace(base, name=last, operator="cat", reads=tuple(ends), shape=shape, place=place))
            current = last
        nodes[-1] = replace(nodes[-1], shape=base.shape)
        return nodes

    def _cell(self, base: GraphNode, given: Mapping[str, Any]) -> list[GraphNode]:
        states = given["hx"] if isinstance(given["hx"], list | tuple) else [given["hx"]]
        hidden, *others = (self._name(state.name) for state in states)
        batch, inputs = ((1, *self._shape_of(given["input"])))[-2:]
        sizes = {"batch": batch, "inputs": inputs}
        sizes["gates"], sizes["hidden"] = self._shape_of(given["w_hh"])
        weights = self._name(given["w_ih"].name), self._name(given["w_hh"].name)
        operands = self._name(given["input"].name), hidden
        return cell_nodes(base, _NAMES, operands, weights, tuple(others), sizes)

    def _place(self, node: fx.Node) -> str:
        """A name for what a node computes: the path of the module that does nothing else, or the node's name."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        if not stack:
            return node.name
        path, kind = stack[-1][0], str(stack[-1][1])
        is_whole = kind.startswith("torch.nn.modules.") and not any(
            part in kind for part in ("Attention", "Transformer")
        )
        return str(path) if is_whole and path else node.name


def _operator_of(node: fx.Node) -> str:
    """The operator's name as in ATEN; with its namespace if it is not one of torch's own."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return str(getattr(node.target, "__name__", node.target))
    return _operator_name(schema.name)


def _operator_name(qualified: str) -> str:
    space, _, name = qualified.partition("::")
    if space != "aten":
        return f"{space}.{name}"
    bare = str(name).strip("_")
    return _RENAMED.get(bare, bare)


def _raised_at(error: BaseException) -> str:
    """The last line of the model's own code that an error came through: ` at model.py:12 in forward`."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not any(part in frame.filename for part in ("/torch/", "/quantloom/", "<"))
    ]
    return f" at {Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}" if own else ""


def _written_at(node: fx.Node) -> str:
    """The line of the model's code that a node is from, if the export kept it."""
    found = re.findall(r'File "([^"]+)", line (\d+)', str(node.meta.get("stack_trace") or ""))
    return f" at {Path(found[-1][0]).name}:{found[-1][1]}" if found else ""


def _in_module(node: fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return f" in module `{stack[-1][0]}`" if stack and stack[-1][0] else ""


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by their names in the operator's schema, defaults included."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {}
    found = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
    found |= dict(zip((argument.name for argument in schema.arguments), node.args, strict=False))
    return found | dict(node.kwargs)


def _shapes(node: fx.Node) -> list[torch.Size]:
    """Of all results that are tensors."""
    value = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else [value]
    return [each.shape for each in values if isinstance(each, Tensor)]


def _is_open(node: fx.Node) -> bool:
    return any(not isinstance(size, int) for shape in _shapes(node) for size in shape)


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    value = node.meta.get("val")
    return tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else None


def _first_shape(node: fx.Node) -> tuple[int, ...] | None:
    """Shape of the first of several results."""
    value = node.meta.get("val")
    first = value[0] if isinstance(value, list | tuple) and value else None
    return tuple(int(size) for size in first.shape) if isinstance(first, Tensor) else None
