"""TFLite files as torch modules with the file's weights: images in, what the file computes out.

The operators of convolutional networks in floating point (`OPERATORS`). TFLite stores images as (N, H, W, C) and torch
as (N, C, H, W): every value of four axes is turned, with all that names its axes, and so are the module's input and
output. The padding SAME puts the odd zero behind (right, below), as TensorFlow defines it. A softmax that only makes
the output is left out: training, distillation and sensitivities want logits, and the greatest stays the greatest.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

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
from quantloom.workload.tflite_file import TfliteGraph, TfliteNode, load_tflite

__all__ = ["OPERATORS", "module_from_tflite"]

_DTYPES: Final[Mapping[str, torch.dtype]] = {
    "FLOAT32": torch.float32,
    "FLOAT16": torch.float16,
    "INT32": torch.int32,
    "INT64": torch.int64,
}
_SAME: Final = 0  # of the enumeration Padding; the other is VALID
_ACTIVATIONS: Final[Mapping[int, tuple[str, Callable[[], nn.Module]]]] = {
    1: ("relu", nn.ReLU),
    2: ("clip", lambda: nn.Hardtanh(-1.0, 1.0)),
    3: ("relu6", nn.ReLU6),
}

_Chain = list[tuple[str, Callable[..., Any]]]
"""What one node runs, in order; each has a suffix for its name, "" of the node itself."""


def module_from_tflite(path: str) -> tuple[FileModule, Tensor]:
    """The module of a file, in evaluation mode, and an example of its input: zeros, of an image (1, C, H, W).

    Raises SpecError for a file that cannot be read, UnsupportedOpError with every node that is no module here,
    WorkloadError for a graph of several inputs, or of a batch other than 1.
    """
    graph = load_tflite(path)
    if len(graph.inputs) != 1 or not graph.outputs:
        message = f"{path}: {len(graph.inputs)} inputs and {len(graph.outputs)} outputs, expected one image in"
        raise WorkloadError(message, hint="give the torch model instead (package.module:function)")
    source = graph.tensors[graph.inputs[0]]
    if source.type != "FLOAT32":
        message = f"{path}: the input `{source.name}` is {source.type}, expected FLOAT32"
        raise WorkloadError(message, hint="give the float model; quantizing it is what quantloom is for")
    if len(source.shape) < 2 or source.shape[0] != 1 or 0 in source.shape:
        message = (
            f"{path}: the input `{source.name}` is {'x'.join(map(str, source.shape))}, expected a batch of 1 first"
        )
        raise WorkloadError(
            message, hint="convert the model with a batch of 1; samples of the data are batched as needed"
        )
    return _Builder(Path(path).name, graph).build().eval(), torch.zeros(_turned(source.shape))


def _turned(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a value here: channels before height and width."""
    return (shape[0], shape[3], shape[1], shape[2]) if len(shape) == 4 else tuple(shape)


def _axis(axis: int, rank: int) -> int:
    """The place here of an axis of a value of so many axes."""
    place = axis % max(rank, 1)
    return (0, 2, 3, 1)[place] if rank == 4 else place


class _Node:
    """A node with its constants at hand. Shapes are those of the file, (N, H, W, C)."""

    def __init__(self, node: TfliteNode, graph: TfliteGraph, constants: Mapping[int, Tensor]) -> None:
        self.node = node
        self._graph = graph
        self._constants = constants

    def option(self, name: str) -> Any:
        return self.node.options.get(name, 0)

    def has(self, position: int) -> bool:
        return position < len(self.node.inputs) and self.node.inputs[position] >= 0

    def constant(self, position: int) -> Tensor:
        """The value of an operand. Raises Refused if it is computed."""
        if not self.has(position):
            message = f"operand {position} is missing"
            raise Refused(message)
        found = self.node.inputs[position]
        tensor = self._graph.tensors[found]
        if found not in self._constants and tensor.data is not None:
            message = f"its operand `{tensor.name}` is {tensor.type}, expected floating-point numbers"
            raise Refused(message)
        if found not in self._constants:
            message = f"its operand `{tensor.name}` is computed, expected a constant"
            raise Refused(message)
        return self._constants[found]

    def weights(self, position: int) -> Tensor:
        found = self.constant(position)
        if not found.is_floating_point():
            message = f"operand {position} is no tensor of floating-point numbers"
            raise Refused(message)
        return found.float()

    def numbers(self, position: int) -> list[int]:
        found = self.constant(position)
        if found.is_floating_point():
            message = f"operand {position} is no tensor of whole numbers"
            raise Refused(message)
        return [int(each) for each in found.reshape(-1).tolist()]

    def reads(self) -> tuple[int, ...]:
        """Shape of what it reads first."""
        return self._graph.tensors[self.node.inputs[0]].shape

    def writes(self) -> tuple[int, ...]:
        return self._graph.tensors[self.node.outputs[0]].shape

    def image(self) -> tuple[int, ...]:
        """Shape of the image that it reads."""
        if len(self.reads()) != 4:
            message = f"of {len(self.reads())} axes, expected an image of 4"
            raise Refused(message)
        return self.reads()

    def stride(self) -> tuple[int, int]:
        found = int(self.option("StrideH")), int(self.option("StrideW"))
        if min(found) < 1:
            message = f"a stride of {found[0]}x{found[1]}"
            raise Refused(message)
        return found

    def padding(self, window: Sequence[int]) -> tuple[list[int], list[int]]:
        """Rows and columns before and after the image, for a window that spans so many.

        Raises Refused if the file says another size of the result.
        """
        before, after, sizes = [], [], []
        for size, span, stride in zip(self.image()[1:3], window, self.stride(), strict=True):
            is_same = self.option("Padding") == _SAME
            count = -(-size // stride) if is_same else (size - span) // stride + 1
            small, large = same_padding(size, span, stride) if is_same else (0, 0)
            before.append(small)
            after.append(large)
            sizes.append(count)
        if tuple(sizes) != self.writes()[1:3]:
            message = f"its result is {self.writes()[1:3]} in the file, expected {tuple(sizes)} of its window"
            raise Refused(message)
        return before, after


def _convolution(node: _Node, weights: Tensor, groups: int) -> _Chain:
    """weights: (M, C / groups, R, S)."""
    dilation = int(node.option("DilationHFactor") or 1), int(node.option("DilationWFactor") or 1)
    window = [(size - 1) * step + 1 for size, step in zip(weights.shape[2:], dilation, strict=True)]
    before, after = node.padding(window)
    is_even = before == after
    layer = nn.Conv2d(
        weights.shape[1] * groups,
        weights.shape[0],
        (weights.shape[2], weights.shape[3]),
        stride=node.stride(),
        padding=(before[0], before[1]) if is_even else 0,
        dilation=dilation,
        groups=groups,
        bias=node.has(2),
    )
    fill(layer, weight=weights, **({"bias": node.weights(2)} if node.has(2) else {}))
    return [("", layer)] if is_even else [("pad", zero_pad(before, after)), ("", layer)]


def _conv(node: _Node) -> _Chain:
    weights, channels = node.weights(1), node.image()[3]
    if weights.ndim != 4 or 0 in weights.shape or channels % weights.shape[3]:
        message = f"weights of {list(weights.shape)} over {channels} channels"
        raise Refused(message)
    return _convolution(node, weights.permute(0, 3, 1, 2), channels // weights.shape[3])


def _depthwise(node: _Node) -> _Chain:
    weights, channels = node.weights(1), node.image()[3]
    if weights.ndim != 4 or 0 in weights.shape or weights.shape[0] != 1 or not channels or weights.shape[3] % channels:
        message = f"weights of {list(weights.shape)} over {channels} channels"
        raise Refused(message)
    return _convolution(node, weights.permute(3, 0, 1, 2), channels)


def _linear(node: _Node) -> _Chain:
    weights, shape = node.weights(1), node.reads()
    if weights.ndim != 2 or node.option("WeightsFormat"):
        message = f"weights of {list(weights.shape)} in format {node.option('WeightsFormat')}"
        raise Refused(message)
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=node.has(2))
    fill(layer, weight=weights, **({"bias": node.weights(2)} if node.has(2) else {}))
    if node.option("KeepNumDims") and len(shape) != 2:
        message = f"over the last of {len(shape)} axes"
        raise Refused(message)
    return [*([] if len(shape) == 2 else _reshaped(shape, (1, weights.shape[1]))), ("", layer)]


def _pool(node: _Node) -> _Chain:
    """By torch's own padding, which is even: an odd row or column behind comes of windows that lead out of the image,
    or, of a maximum with stride 1, of one row or column too many in front, which is cut off.
    """
    window, stride = (int(node.option("FilterHeight")), int(node.option("FilterWidth"))), node.stride()
    before, after = node.padding(window)
    is_maximum = node.node.operator == "MAX_POOL_2D"
    if is_maximum and stride == (1, 1) and before != after and 2 * max(after) <= min(window):
        top, left = after[0] - before[0], after[1] - before[1]
        return [("whole", nn.MaxPool2d(window, 1, (after[0], after[1]))), ("", lambda x: x[:, :, top:, left:])]
    is_ceil = before != after
    for size, span, step, pad, count in zip(node.image()[1:3], window, stride, before, node.writes()[1:3], strict=True):
        found = (size + 2 * pad - span + (step - 1 if is_ceil else 0)) // step + 1
        found -= is_ceil and (found - 1) * step >= size + pad
        if found != count or 2 * pad > span:
            message = f"a window of {window[0]}x{window[1]} whose padding torch does not have"
            raise Refused(message)
    pads = before[0], before[1]
    if is_maximum:
        return [("", nn.MaxPool2d(window, stride, pads, ceil_mode=is_ceil))]
    return [("", nn.AvgPool2d(window, stride, pads, ceil_mode=is_ceil, count_include_pad=False))]


def _reshape(node: _Node) -> _Chain:
    return _reshaped(node.reads(), node.writes()) or [("", nn.Identity())]


def _reshaped(before: tuple[int, ...], after: tuple[int, ...]) -> _Chain:
    """To the shape that the file says, whatever the batch; nothing where that is the same."""
    if before[:1] != (1,) or after[:1] != (1,) or len(after) < 2:
        message = f"from {list(before)} to {list(after)}, which does not keep the batch apart"
        raise Refused(message)
    if before == after:
        return []
    chain: _Chain = []
    if len(before) == 4 and before[3] > 1 and before[1] * before[2] > 1:
        chain.append(("rows", lambda x: x.permute(0, 2, 3, 1)))
    if len(before) > 2:
        chain.append(("flat", nn.Flatten(1)))
    if len(after) > 2:
        sample = after[1:]
        chain.append(("shape", lambda x: x.unflatten(1, sample)))
    if len(after) == 4:
        chain.append(("image", lambda x: x.permute(0, 3, 1, 2)))
    return chain


def _pad(node: _Node) -> _Chain:
    pads = node.numbers(1)
    node.image()
    if len(pads) != 8 or min(pads) < 0 or any(pads[:2]) or any(pads[6:]):
        message = "padding other than around an image"
        raise Refused(message)
    return [("", zero_pad((pads[2], pads[4]), (pads[3], pads[5])))]


def _mean(node: _Node) -> _Chain:
    rank, keeps = len(node.reads()), bool(node.option("KeepDims"))
    axes = sorted({each % rank for each in node.numbers(1)}) if rank else []
    if 0 in axes or not axes or (rank == 4 and not keeps and not {1, 2} <= set(axes)):
        message = f"a mean over the axes {axes} of {rank}"
        raise Refused(message)
    turned = sorted(_axis(each, rank) for each in axes)
    return [("", lambda x: x.mean(turned, keepdim=keeps))]


def _concat(node: _Node) -> _Chain:
    rank = len(node.writes())
    axis = _axis(int(node.option("Axis")), rank)
    if axis == 0:
        message = "a concatenation along the batch"
        raise Refused(message)
    return [("", lambda *parts: torch.cat(parts, axis))]


def _softmax(node: _Node) -> _Chain:
    if node.option("Beta") != 1.0:
        message = f"a softmax with beta {node.option('Beta'):g}"
        raise Refused(message)
    return [("", nn.Softmax(_axis(-1, len(node.reads()))))]


def _prelu(node: _Node) -> _Chain:
    slope = node.weights(1)
    channels = node.image()[3]
    if slope.numel() not in (1, channels) or slope.shape[-1:].numel() != slope.numel():
        message = f"slopes of {list(slope.shape)} for {channels} channels"
        raise Refused(message)
    layer = nn.PReLU(slope.numel())
    fill(layer, weight=slope.reshape(-1))
    return [("", layer)]


def _resize(node: _Node) -> _Chain:
    """Bilinear with corners on corners or half pixels on half pixels; the older grid is none of torch's."""
    size = node.numbers(1)
    corners, halves = bool(node.option("AlignCorners")), bool(node.option("HalfPixelCenters"))
    is_bilinear = node.node.operator == "RESIZE_BILINEAR"
    if (
        len(size) != 2
        or min(size) < 1
        or (is_bilinear and corners == halves)
        or (not is_bilinear and (corners or halves))
    ):
        message = f"to {size} on a grid with align_corners {corners} and half_pixel_centers {halves}"
        raise Refused(message)
    if is_bilinear:
        return [("", nn.Upsample((size[0], size[1]), mode="bilinear", align_corners=corners))]
    return [("", nn.Upsample((size[0], size[1]), mode="nearest"))]


def _plain(kind: Callable[[], nn.Module]) -> Callable[[_Node], _Chain]:
    return lambda _: [("", kind())]


_ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "ADD": operator.add,
    "SUB": operator.sub,
    "MUL": operator.mul,
    "DIV": operator.truediv,
    "MAXIMUM": torch.maximum,
    "MINIMUM": torch.minimum,
}
_READERS: Final[Mapping[str, Callable[[_Node], _Chain]]] = {
    **{"CONV_2D": _conv, "DEPTHWISE_CONV_2D": _depthwise, "FULLY_CONNECTED": _linear, "MEAN": _mean, "PAD": _pad},
    **{"AVERAGE_POOL_2D": _pool, "MAX_POOL_2D": _pool, "CONCATENATION": _concat, "SOFTMAX": _softmax, "PRELU": _prelu},
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS"), _reshape),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
    **{"RELU": _plain(nn.ReLU), "RELU6": _plain(nn.ReLU6), "RELU_N1_TO_1": _plain(lambda: nn.Hardtanh(-1.0, 1.0))},
    **{"LOGISTIC": _plain(nn.Sigmoid), "TANH": _plain(nn.Tanh), "HARD_SWISH": _plain(nn.Hardswish)},
    **{"ELU": _plain(nn.ELU), "LEAKY_RELU": lambda node: [("", nn.LeakyReLU(float(node.option("Alpha"))))]},
    "GELU": lambda node: [("", nn.GELU(approximate="tanh" if node.option("Approximate") else "none"))],
}
OPERATORS = tuple(sorted({*_READERS, *_ARITHMETIC, "DEQUANTIZE"}))
"""What is read, by its name in TFLite."""


class _Builder:
    """Turns the nodes that the outputs need into steps."""

    def __init__(self, name: str, graph: TfliteGraph) -> None:
        self._name = name
        self._graph = graph
        self._names = StepNames()
        self._problems = Problems()
        self._constants = {
            number: torch.frombuffer(bytearray(tensor.data), dtype=_DTYPES[tensor.type]).reshape(tensor.shape)
            for number, tensor in enumerate(graph.tensors)
            if tensor.data is not None and tensor.type in _DTYPES
        }

    def build(self) -> FileModule:
        outputs, nodes = list(self._graph.outputs), list(self._graph.nodes)
        last = next((node for node in nodes if node.outputs[0] == outputs[0]), None)
        if len(outputs) == 1 and last is not None and last.operator == "SOFTMAX":
            outputs[0] = last.inputs[0]
        steps = [step for node in self._needed(nodes, outputs) for step in self._steps(node)]
        self._problems.check(
            self._name,
            "that are no module here",
            "give the torch model (package.module:function) or an ONNX file instead; read from a TFLite file are, "
            f"in floating point, {', '.join(OPERATORS)}",
        )
        return FileModule(steps, self._value(self._graph.inputs[0]), [self._value(each) for each in outputs])

    def _needed(self, nodes: list[TfliteNode], outputs: list[int]) -> list[TfliteNode]:
        """The nodes on which the outputs depend."""
        needed, wanted = [], set(outputs)
        for node in reversed(nodes):
            if not wanted.isdisjoint(node.outputs):
                needed.append(node)
                wanted |= {each for each in node.inputs if each >= 0}
        return needed[::-1]

    def _value(self, position: int) -> str:
        return f"t{position}"

    def _steps(self, node: TfliteNode) -> list[Step]:
        """Those of a node; none, and a problem noted, if it is no module here."""
        described = f"node `{self._graph.tensors[node.outputs[0]].name}`: {node.operator}"
        chain: _Chain = []
        reads: tuple[str, ...] = ()
        tensors: dict[str, Tensor] = {}
        with self._problems.noted(described):
            if node.operator == "DEQUANTIZE":
                self._take_constant(node)
            else:
                chain, reads, tensors = self._read(node)
        name = self._names.take(self._graph.tensors[node.outputs[0]].name, node.operator)
        steps = []
        for number, (suffix, run) in enumerate(chain):
            is_last = number == len(chain) - 1
            own = self._names.take(f"{name}_{suffix}", node.operator) if suffix else name
            writes = self._value(node.outputs[0]) if is_last else f"{self._value(node.outputs[0])}_{number}"
            steps.append(Step(name=own, writes=writes, reads=reads, run=run, tensors={} if number else tensors))
            reads = (writes,)
        return steps

    def _read(self, node: TfliteNode) -> tuple[_Chain, tuple[str, ...], dict[str, Tensor]]:
        """What a node runs, with its fused activation; the values that it reads; and those of them that are its own."""
        fused = node.options.get("FusedActivationFunction", 0)
        if fused and fused not in _ACTIVATIONS:
            message = f"the fused activation {fused}"
            raise Refused(message)
        after = [(_ACTIVATIONS[int(fused)][0], _ACTIVATIONS[int(fused)][1]())] if fused else []
        if len(node.outputs) > 1 or not node.inputs:
            message = f"{len(node.inputs)} operands and {len(node.outputs)} results"
            raise Refused(message)
        if node.operator in _ARITHMETIC:
            reads, tensors = self._operands(node)
            return [("", _ARITHMETIC[node.operator]), *after], reads, tensors
        if node.operator not in _READERS:
            message = "not an operator of convolutional networks in floating point"
            raise Refused(message)
        chain = _READERS[node.operator](_Node(node, self._graph, self._constants))
        used = node.inputs if node.operator == "CONCATENATION" else node.inputs[:1]
        if any(each < 0 or self._graph.tensors[each].data is not None for each in used):
            message = "of a constant"
            raise Refused(message)
        return [*chain, *after], tuple(map(self._value, used)), {}

    def _operands(self, node: TfliteNode) -> tuple[tuple[str, ...], dict[str, Tensor]]:
        """Of arithmetic: constants become buffers, turned as the result is."""
        rank = len(self._graph.tensors[node.outputs[0]].shape)
        reads, tensors = [], {}
        for position, each in enumerate(node.inputs):
            tensor = self._graph.tensors[each]
            if each in self._constants:
                value = self._constants[each]
                if rank == 4 and value.ndim:
                    value = value.reshape((1,) * (4 - value.ndim) + tuple(value.shape)).permute(0, 3, 1, 2).contiguous()
                name = f"constant_{node.outputs[0]}_{position}"
                tensors[name] = value.float() if value.is_floating_point() else value
                reads.append(name)
            elif tensor.data is None and (rank != 4 or len(tensor.shape) == 4):
                reads.append(self._value(each))
            else:
                message = f"its operand `{tensor.name}` is {tensor.type} of {len(tensor.shape)} axes"
                raise Refused(message)
        if len(tensors) == len(reads) or len(reads) != 2:
            message = f"of {len(reads)} operands, {len(tensors)} of them constants"
            raise Refused(message)
        return tuple(reads), tensors

    def _take_constant(self, node: TfliteNode) -> None:
        """Weights stored with half the bits, which the file itself widens."""
        found = self._constants.get(node.inputs[0]) if node.inputs else None
        if found is None or found.dtype is not torch.float16:
            message = "of what is no constant in FLOAT16: a quantized file"
            raise Refused(message)
        self._constants[node.outputs[0]] = found.float()
