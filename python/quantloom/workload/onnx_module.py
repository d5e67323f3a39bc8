"""ONNX files as torch modules with the file's weights, for what measures accuracy: images in, one tensor out.

The operators of convolutional networks (`OPERATORS`). Every convolution and linear layer becomes the torch module of
that kind, so that it is traced, quantized and trained as any other; whatever reshapes takes its shape from the file's
own shape inference, with the batch left open. Hardware costs need none of this: `from_onnx.py` reads more operators.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quantloom.errors import WorkloadError
from quantloom.workload.file_module import (
    FileModule,
    Problems,
    Refused,
    Step,
    StepNames,
    fill,
    same_padding,
    zero_pad,
)
from quantloom.workload.onnx_file import OnnxGraph, OnnxNode, load_onnx_with_tensors
from quantloom.workload.onnx_sizes import OnnxSizes

__all__ = ["OPERATORS", "module_from_onnx"]


def module_from_onnx(path: str, sizes: OnnxSizes) -> tuple[FileModule, tuple[int, ...]]:
    """The module of a file, and the shape of one sample of its input.

    Raises SpecError for a file that cannot be read, UnsupportedOpError with every node that is no module here,
    WorkloadError for a graph of several inputs or outputs or a batch other than 1.
    """
    graph, tensors = load_onnx_with_tensors(path, sizes)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        message = f"{path}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, expected one image in, one out"
        raise WorkloadError(message, hint="its hardware costs are known all the same: quantloom map")
    name, shape = graph.inputs[0]
    if len(shape) < 2 or shape[0] != 1:
        message = f"{path}: the input `{name}` is {'x'.join(map(str, shape))}, expected a batch of 1 first"
        raise WorkloadError(message, hint="leave batch= away; samples of the data are batched as needed")
    return _Builder(Path(path).name, graph, tensors).build(), shape[1:]


class _Node:
    """A node with its constants at hand."""

    def __init__(self, node: OnnxNode, graph: OnnxGraph, tensors: Mapping[str, Any]) -> None:
        self.node = node
        self.shapes = graph.shapes
        self._tensors = tensors

    def attribute(self, name: str, default: Any) -> Any:
        return self.node.attributes.get(name, default)

    def constant(self, position: int) -> Tensor | None:
        """The value of an operand that is a constant; None if it is left out. Raises Refused if it is computed."""
        if position >= len(self.node.inputs) or not self.node.inputs[position]:
            return None
        name = self.node.inputs[position]
        if name not in self._tensors:
            message = f"its operand `{name}` is computed, expected a constant"
            raise Refused(message)
        return torch.from_numpy(self._tensors[name].copy())

    def weights(self, position: int) -> Tensor:
        found = self.constant(position)
        if found is None or not found.is_floating_point():
            message = f"operand {position} is no tensor of floating-point numbers"
            raise Refused(message)
        return found.float()

    def number(self, position: int, name: str) -> float | None:
        """A number given by an operand or, before that, by an attribute."""
        found = self.constant(position)
        value = self.attribute(name, None) if found is None else found.item()
        return None if value is None else float(value)

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self.shapes:
            message = f"the shape of `{name}` is not known"
            raise Refused(message)
        return self.shapes[name]


def _conv(node: _Node) -> nn.Module:
    weights, bias = node.weights(1), node.constant(2)
    axes = weights.ndim - 2
    if axes not in (1, 2):
        message = f"a convolution of {axes} axes, expected 1 or 2"
        raise Refused(message)
    strides, dilations = (node.attribute(key, [1] * axes) for key in ("strides", "dilations"))
    before, after = _padding(node, list(weights.shape[2:]), strides, dilations)
    groups = int(node.attribute("group", 1))
    kind = nn.Conv1d if axes == 1 else nn.Conv2d
    is_even = before == after
    layer = kind(
        weights.shape[1] * groups,
        weights.shape[0],
        tuple(weights.shape[2:]),  # type: ignore[arg-type]  # of as many axes as the kind has
        stride=tuple(strides),
        padding=tuple(before) if is_even else 0,  # type: ignore[arg-type]
        dilation=tuple(dilations),
        groups=groups,
        bias=bias is not None,
    )
    fill(layer, weight=weights, **({} if bias is None else {"bias": bias.float()}))
    return layer if is_even else nn.Sequential(zero_pad(before, after), layer)


def _padding(node: _Node, kernel: list[int], strides: list[int], dilations: list[int]) -> tuple[list[int], list[int]]:
    """Zeros before and after each axis."""
    axes = len(kernel)
    auto = node.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", "", "VALID"):
        pads = node.attribute("pads", [0] * 2 * axes) if auto != "VALID" else [0] * 2 * axes
        return list(pads[:axes]), list(pads[axes:])
    sizes = node.shape(node.node.inputs[0])[2:]
    before, after = [], []
    for size, window, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        small, large = same_padding(size, (window - 1) * dilation + 1, stride)
        before.append(small if auto == "SAME_UPPER" else large)
        after.append(large if auto == "SAME_UPPER" else small)
    return before, after


def _gemm(node: _Node) -> nn.Module:
    if node.attribute("alpha", 1.0) != 1.0 or node.attribute("beta", 1.0) != 1.0 or node.attribute("transA", 0):
        message = "alpha, beta and transA other than 1, 1, 0"
        raise Refused(message)
    weights = node.weights(1)
    return _linear(weights if node.attribute("transB", 0) else weights.T, node.constant(2))


def _matmul(node: _Node) -> nn.Module:
    weights = node.weights(1)
    if weights.ndim != 2:
        message = f"a product with a constant of {weights.ndim} axes, expected 2"
        raise Refused(message)
    return _linear(weights.T, None)


def _linear(weights: Tensor, bias: Tensor | None) -> nn.Module:
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=bias is not None)
    fill(layer, weight=weights, **({} if bias is None else {"bias": bias.float().reshape(-1)}))
    return layer


def _batch_norm(node: _Node) -> nn.Module:
    scale, bias, mean, variance = (node.weights(position) for position in (1, 2, 3, 4))
    rank = len(node.shape(node.node.inputs[0]))
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}.get(rank)
    if kind is None:
        message = f"normalisation of {rank} axes"
        raise Refused(message)
    layer = kind(len(scale), eps=float(node.attribute("epsilon", 1e-5)))
    fill(layer, weight=scale, bias=bias, running_mean=mean, running_var=variance)
    return layer


def _clip(node: _Node) -> nn.Module:
    least, most = node.number(1, "min"), node.number(2, "max")
    if least == 0.0 and most is None:
        return nn.ReLU()
    if least is None or most is None:
        message = "a limit on one side other than 0"
        raise Refused(message)
    return nn.ReLU6() if (least, most) == (0.0, 6.0) else nn.Hardtanh(least, most)


def _hard_sigmoid(node: _Node) -> nn.Module:
    alpha, beta = float(node.attribute("alpha", 0.2)), float(node.attribute("beta", 0.5))
    if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5:
        message = f"alpha {alpha:g} and beta {beta:g}, expected 1/6 and 0.5"
        raise Refused(message)
    return nn.Hardsigmoid()


def _pool(node: _Node) -> nn.Module:
    kernel = list(node.attribute("kernel_shape", []))
    axes = len(kernel)
    strides, dilations = (list(node.attribute(key, [1] * axes)) for key in ("strides", "dilations"))
    before, after = _padding(node, kernel, strides, dilations)
    is_average = node.node.operator == "AveragePool"
    if axes not in (1, 2) or before != after or (is_average and dilations != [1] * axes):
        message = "pooling of 3 axes, with uneven padding, or of dilated averages"
        raise Refused(message)
    ceil = bool(node.attribute("ceil_mode", 0))
    if is_average:
        counts = bool(node.attribute("count_include_pad", 0))
        if axes == 1:
            return nn.AvgPool1d(kernel[0], strides[0], before[0], ceil, counts)
        return nn.AvgPool2d((kernel[0], kernel[1]), (strides[0], strides[1]), (before[0], before[1]), ceil, counts)
    if axes == 1:
        return nn.MaxPool1d(kernel[0], strides[0], before[0], dilations[0], ceil_mode=ceil)
    window, step, pad, dilation = ((each[0], each[1]) for each in (kernel, strides, before, dilations))
    return nn.MaxPool2d(window, step, pad, dilation, ceil_mode=ceil)


def _global_pool(node: _Node) -> nn.Module:
    axes = len(node.shape(node.node.inputs[0])) - 2
    is_average = node.node.operator == "GlobalAveragePool"
    if axes == 1:
        return nn.AdaptiveAvgPool1d(1) if is_average else nn.AdaptiveMaxPool1d(1)
    if axes == 2:
        return nn.AdaptiveAvgPool2d(1) if is_average else nn.AdaptiveMaxPool2d(1)
    message = f"pooling of {axes} axes"
    raise Refused(message)


def _mean(node: _Node) -> Callable[[Any], Any]:
    rank = len(node.shape(node.node.inputs[0]))
    found = node.constant(1)
    listed = node.attribute("axes", None) if found is None else found.tolist()
    axes = sorted(int(axis) % rank for axis in (listed or range(rank)))
    keeps = bool(node.attribute("keepdims", 1))
    if 0 in axes:
        message = "a mean over the batch"
        raise Refused(message)
    return lambda x: x.mean(axes, keepdim=keeps)


def _reshape(node: _Node) -> Callable[[Any], Any]:
    """To the shape that the file's shape inference finds, whatever the batch."""
    before, after = node.shape(node.node.inputs[0]), node.shape(node.node.outputs[0])
    if before[:1] != (1,) or after[:1] != (1,) or len(after) < 2:
        message = f"from {list(before)} to {list(after)}, which does not keep the batch apart"
        raise Refused(message)
    if before == after:
        return nn.Identity()
    sample = after[1:]
    if len(sample) == 1:
        return nn.Flatten(1)
    return lambda x: x.flatten(1).unflatten(1, sample) if len(before) > 2 else x.unflatten(1, sample)


def _transpose(node: _Node) -> Callable[[Any], Any]:
    rank = len(node.shape(node.node.inputs[0]))
    order = [int(axis) for axis in node.attribute("perm", list(reversed(range(rank))))]
    if order[0] != 0:
        message = "a transpose that moves the batch"
        raise Refused(message)
    return lambda x: x.permute(order)


def _concat(node: _Node) -> Callable[..., Any]:
    axis = int(node.attribute("axis", 1)) % max(len(node.shape(node.node.outputs[0])), 1)
    if axis == 0:
        message = "a concatenation along the batch"
        raise Refused(message)
    return lambda *parts: torch.cat(parts, axis)


def _pad(node: _Node) -> nn.Module:
    found = node.constant(1)
    pads = [int(pad) for pad in (node.attribute("pads", []) if found is None else found.tolist())]
    value, axes = node.number(2, "value") or 0.0, len(pads) // 2
    is_image = axes in (3, 4) and not any(pads[:2]) and not any(pads[axes : axes + 2])
    if node.attribute("mode", "constant") != "constant" or value or not is_image or len(node.node.inputs) > 3:
        message = "padding other than zeros around images"
        raise Refused(message)
    return zero_pad(pads[2:axes], pads[axes + 2 :])


def _softmax(node: _Node) -> nn.Module:
    return nn.Softmax(int(node.attribute("axis", -1)))


def _prelu(node: _Node) -> nn.Module:
    slope = node.weights(1).reshape(-1)
    layer = nn.PReLU(len(slope))
    fill(layer, weight=slope)
    return layer


def _leaky(node: _Node) -> nn.Module:
    return nn.LeakyReLU(float(node.attribute("alpha", 0.01)))


def _elu(node: _Node) -> nn.Module:
    return nn.ELU(float(node.attribute("alpha", 1.0)))


def _gelu(node: _Node) -> nn.Module:
    return nn.GELU(approximate=node.attribute("approximate", "none"))


def _plain(kind: Callable[[], nn.Module]) -> Callable[[_Node], nn.Module]:
    return lambda _: kind()


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Div": operator.truediv,
}
_READERS: Mapping[str, Callable[[_Node], Callable[..., Any]]] = {
    **{"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul, "BatchNormalization": _batch_norm, "Clip": _clip},
    **{"HardSigmoid": _hard_sigmoid, "AveragePool": _pool, "MaxPool": _pool, "GlobalAveragePool": _global_pool},
    **{"GlobalMaxPool": _global_pool, "ReduceMean": _mean, "Transpose": _transpose, "Concat": _concat, "Pad": _pad},
    **{"Softmax": _softmax, "PRelu": _prelu, "LeakyRelu": _leaky, "Elu": _elu, "Gelu": _gelu},
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Identity", "Dropout"), _plain(nn.Identity)),
    **{"Relu": _plain(nn.ReLU), "Sigmoid": _plain(nn.Sigmoid), "Tanh": _plain(nn.Tanh), "Selu": _plain(nn.SELU)},
    **{"HardSwish": _plain(nn.Hardswish), "Softplus": _plain(nn.Softplus), "Softsign": _plain(nn.Softsign)},
    "Mish": _plain(nn.Mish),
}
OPERATORS = tuple(sorted({*_READERS, *_ARITHMETIC}))
"""What is read, by its name in ONNX."""


class _Builder:
    """Turns the nodes that the output needs into steps."""

    def __init__(self, name: str, graph: OnnxGraph, tensors: Mapping[str, Any]) -> None:
        self._name = name
        self._graph = graph
        self._tensors = tensors
        self._names = StepNames()
        self._problems = Problems()

    def build(self) -> FileModule:
        source, result = self._graph.inputs[0][0], self._graph.outputs[0]
        steps = [self._step(node) for node in self._needed(result)]
        self._problems.check(
            self._name,
            "with which accuracy cannot be measured",
            "give the torch model (package.module:function) instead, or only its hardware costs (quantloom map); "
            f"measured from an ONNX file are {', '.join(OPERATORS)}",
        )
        return FileModule(steps, source, [result])

    def _needed(self, result: str) -> list[OnnxNode]:
        """The nodes on which the result depends, through operands that are no constants and no sizes."""
        needed, wanted = [], {result}
        for node in reversed(self._graph.nodes):
            if wanted.isdisjoint(node.outputs):
                continue
            needed.append(node)
            wanted |= {name for name in self._activations(node) if name not in self._tensors}
        return needed[::-1]

    def _activations(self, node: OnnxNode) -> tuple[str, ...]:
        several = node.operator in _ARITHMETIC or node.operator == "Concat" or node.operator not in _READERS
        return tuple(name for name in node.inputs if name) if several else node.inputs[:1]

    def _step(self, node: OnnxNode) -> Step:
        described = f"node `{node.name or node.outputs[0]}`: {node.operator}"
        name = self._names.take(node.name or f"{node.operator}_{node.outputs[0]}", node.operator)
        step = Step(name=name, writes=node.outputs[0], reads=self._activations(node), run=nn.Identity())
        with self._problems.noted(described):
            if node.operator in _ARITHMETIC:
                step.run = _ARITHMETIC[node.operator]
                self._take_constants(step)
            elif node.operator in _READERS:
                step.run = _READERS[node.operator](_Node(node, self._graph, self._tensors))
                if any(name in self._tensors for name in step.reads):
                    self._problems.add(f"{described} of a constant")
            else:
                self._problems.add(described)
        return step

    def _take_constants(self, step: Step) -> None:
        """Constant operands of arithmetic become buffers of their own."""
        reads = []
        for position, name in enumerate(step.reads):
            if name in self._tensors:
                value = torch.from_numpy(self._tensors[name].copy())
                own = f"{step.name}_{position}"
                step.tensors[own] = value.float() if value.is_floating_point() else value
                name = own
            reads.append(name)
        step.reads = tuple(reads)
