"""Write a quantized network as ONNX in QDQ form: integers with their scales, which any runtime can execute.

Weights are stored as integers behind a DequantizeLinear; each stored tensor passes a QuantizeLinear and a
DequantizeLinear. ONNX has no integers of 3, 5, 6 or 7 bits, so widths up to 8 are stored in 8 bits and narrower
tensors are clipped to their range beforehand: the values are exactly those of the width in force. This file alone
loads onnx and onnxruntime, when it is asked to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quantloom.errors import QuantError, UnsupportedOpError
from quantloom.quant.modules import ActivationQuantizer, QuantizedLayer, WeightQuantizer, fold_normalisation
from quantloom.quant.network import QuantizedNetwork
from quantloom.whole_files import put_whole, way_out

if TYPE_CHECKING:
    import onnx

__all__ = ["export_onnx", "is_onnx_installed", "run_onnx"]

_OPSET = 21
_IR_VERSION = 10
_HINT = 'pip install "quantloom[onnx]"'


def is_onnx_installed() -> bool:
    """Whether the optional packages onnx and onnxruntime are there."""
    from importlib.util import find_spec

    return find_spec("onnx") is not None and find_spec("onnxruntime") is not None


def export_onnx(network: QuantizedNetwork, path: Path) -> None:
    """Write the network with the bits and statistics in force; any batch size. The file appears whole or not at all.

    Raises QuantError if onnx is not installed, the network is in float or the file cannot be written, and
    UnsupportedOpError for an operator that is not known here.
    """
    if network.assignment is None:
        message = f"{network.network.name} computes in float"
        raise QuantError(message, hint="set the bits of an assignment first")
    try:
        import onnx
    except ImportError as error:
        message = "writing ONNX needs the package onnx"
        raise QuantError(message, hint=_HINT) from error
    model = _Exporter(network).model()
    onnx.checker.check_model(model, full_check=True)
    try:
        put_whole(path, lambda partial: partial.write_bytes(model.SerializeToString()))
    except OSError as error:
        message = f"{path}: cannot write: {error.strerror or error}"
        raise QuantError(message, hint=way_out(error)) from error


def run_onnx(path: Path, images: Tensor, *, batch: int = 250) -> Tensor:
    """The logits (N, ...) that onnxruntime computes from a file, on the CPU. Raises QuantError."""
    try:
        import onnxruntime
    except ImportError as error:
        message = "running ONNX needs the package onnxruntime"
        raise QuantError(message, hint=_HINT) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own, without a common base
        message = f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0]}"
        raise QuantError(message) from error
    name = session.get_inputs()[0].name
    pieces = [session.run(None, {name: piece.contiguous().numpy()})[0] for piece in torch.split(images, batch)]
    return torch.from_numpy(np.concatenate(pieces))


class _Shapes(fx.Interpreter):
    """Runs the graph once and keeps the shape of each node's tensor."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:  # Any: as fx declares it
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n] = tuple(value.shape)
        return value


class _Exporter:
    """Turns the graph, node by node, into nodes of ONNX; names are those of the traced graph."""

    def __init__(self, network: QuantizedNetwork) -> None:
        self._network = network
        self._module = network.graph_module
        runner = _Shapes(self._module)
        with torch.inference_mode():
            runner.run(torch.zeros(2, *network.network.input_shape))
        self._shapes = runner.shapes
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._names: dict[fx.Node, str] = {}
        self._unsupported: list[str] = []

    def model(self) -> onnx.ModelProto:
        from onnx import TensorProto, helper

        out = ""
        for node in self._module.graph.nodes:
            if node.op == "placeholder":
                self._names[node] = node.name
            elif node.op == "output":
                out = self._names.get(node.args[0], node.name)
            elif node in self._shapes and node.op != "get_attr":
                self._names[node] = self._node(node)
        if self._unsupported:
            message = f"{self._network.network.name}: ONNX cannot be written for {', '.join(self._unsupported)}"
            raise UnsupportedOpError(message, hint="layers, activations, sums, pooling and rearranging are known")
        network = self._network.network
        result = next(node for node in self._module.graph.nodes if node.op == "output").args[0]
        graph = helper.make_graph(
            self._nodes,
            network.name.replace(":", "_") or "network",
            [helper.make_tensor_value_info(self._input().name, TensorProto.FLOAT, ["N", *network.input_shape])],
            [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["N", *self._shapes[cast("fx.Node", result)][1:]])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="quantloom")

    def _input(self) -> fx.Node:
        return cast("fx.Node", next(node for node in self._module.graph.nodes if node.op == "placeholder"))

    # ---- writing -------------------------------------------------------------------------------------------------

    def _emit(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:  # Any: as onnx takes them
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, name: str, values: Any) -> str:  # Any: what numpy makes an array of
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def _clip(self, source: str, name: str, low: float, high: float) -> str:
        ends = [self._constant(f"{name}_{end}", np.float32(value)) for end, value in (("low", low), ("high", high))]
        return self._emit("Clip", [source, *ends], name)

    def _stored(self, source: str, name: str, quantizer: ActivationQuantizer) -> str:
        """A stored tensor: clipped to the range of its width, to integers, and back."""
        scale, grid = quantizer.selected
        step = float(scale.detach())
        kind = np.uint8 if grid.bits <= 8 else np.uint16
        if grid.bits not in (8, 16):
            source = self._clip(source, f"{name}_range", grid.low * step, grid.high * step)
        constants = [self._constant(f"{name}_scale", np.float32(step)), self._constant(f"{name}_zero", kind(-grid.low))]
        codes = self._emit("QuantizeLinear", [source, *constants], f"{name}_codes")
        return self._emit("DequantizeLinear", [codes, *constants], name)

    def _weights(self, name: str, quantizer: WeightQuantizer, weights: Tensor, factor: Tensor | None) -> str:
        """Integer weights behind their scales; a factor for each channel joins the scales, its sign the integers."""
        scale, grid = quantizer.selected
        codes = weights.detach().mul(scale.detach().reciprocal()).round_().clamp_(grid.low, grid.high)
        scales = scale.detach().flatten().expand(len(codes)).clone()
        if factor is not None:
            scales = scales * factor.detach().abs()
            codes = codes * factor.detach().sign().view(-1, *(1,) * (codes.ndim - 1))
        low, high = int(codes.min()), int(codes.max())
        constants = [self._constant(f"{name}_scales", scales.cpu().numpy())]
        integers = codes.cpu().numpy().astype(np.int64)
        if low >= -128 and high < 128:
            # Unsigned: products of unsigned and signed bytes saturate in onnxruntime's kernels for AVX2 without VNNI.
            constants.append(self._constant(f"{name}_zeros", np.full(len(integers), 128, dtype=np.uint8)))
            integers = (integers + 128).astype(np.uint8)
        else:
            kind = np.int16 if low >= -(1 << 15) and high < 1 << 15 else np.int32
            integers = integers.astype(kind)
        inputs = [self._constant(f"{name}_codes", integers), *constants]
        return self._emit("DequantizeLinear", inputs, name, axis=0)

    # ---- nodes ---------------------------------------------------------------------------------------------------

    def _node(self, node: fx.Node) -> str:
        sources = [self._names[arg] for arg in node.all_input_nodes if arg in self._names]
        if node.op == "call_module":
            module = self._module.get_submodule(str(node.target))
            if isinstance(module, QuantizedLayer):
                return self._layer(node, module, sources[0])
            if isinstance(module, ActivationQuantizer):
                return self._stored(sources[0], node.name, module)
            if isinstance(module, WeightQuantizer):
                return self._weights(node.name, module, self._parameter(node.all_input_nodes[0]), None)
            return self._module_node(node, module, sources[0])
        name = str(getattr(node.target, "__name__", node.target)).rstrip("_")
        name = {"iadd": "add", "imul": "mul", "concat": "cat", "concatenate": "cat"}.get(name, name)
        if name in ("conv1d", "conv2d", "linear"):
            return self._functional_layer(node, name, sources)
        return self._function_node(node, name, sources)

    def _layer(self, node: fx.Node, layer: QuantizedLayer, source: str) -> str:
        given, bias = layer.tensors()
        factor = None
        if layer.norm is not None:
            factor, bias = fold_normalisation(layer.norm, bias)
        weights = self._weights(f"{node.name}_weights", layer.quantizer, given, factor)
        rest = layer.activation is not None or layer.output is not None
        name = self._compute(node.name + ("_sum" if rest else ""), layer.layer, source, weights, bias)
        if layer.activation is not None:
            name = self._activation(layer.activation, name, node.name if layer.output is None else f"{node.name}_act")
        return name if layer.output is None else self._stored(name, node.name, layer.output)

    def _compute(self, name: str, layer: nn.Module, source: str, weights: str, bias: Tensor | None) -> str:
        """A layer in real numbers. Its bias is subtracted, negated, by a node of its own.

        onnxruntime rounds a bias that it can join to the layer to units of the accumulator (its products of scales):
        far too coarse below 8 bits, and beyond 32 bits at 16. It joins additions, not subtractions.
        """
        product = name if bias is None else f"{name}_product"
        if isinstance(layer, nn.Linear):
            turned = self._emit("Transpose", [weights], f"{name}_turned", perm=[1, 0])
            self._emit("MatMul", [source, turned], product)
        else:
            self._convolve(product, cast("nn.Conv2d", layer), source, weights)
        if bias is None:
            return name
        axes = 0 if isinstance(layer, nn.Linear) else len(cast("nn.Conv2d", layer).kernel_size)
        offset = self._constant(f"{name}_bias", -bias.detach().cpu().view(-1, *(1,) * axes).numpy())
        return self._emit("Sub", [product, offset], name)

    def _convolve(self, name: str, convolution: nn.Conv2d, source: str, weights: str) -> None:
        inputs = [source, weights]
        widths = list(convolution._reversed_padding_repeated_twice)
        axes = len(convolution.kernel_size)
        before, after = widths[0::2][::-1], widths[1::2][::-1]
        if convolution.padding_mode != "zeros" and any(widths):
            mode = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[convolution.padding_mode]
            pads = self._constant(f"{name}_pads", np.array([0, 0, *before, 0, 0, *after], dtype=np.int64))
            inputs[0] = self._emit("Pad", [source, pads], f"{name}_padded", mode=mode)
            before = after = [0] * axes
        self._emit(
            "Conv",
            inputs,
            name,
            kernel_shape=list(convolution.kernel_size),
            strides=list(convolution.stride),
            dilations=list(convolution.dilation),
            group=convolution.groups,
            pads=[*before, *after],
        )

    def _functional_layer(self, node: fx.Node, kind: str, sources: Sequence[str]) -> str:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = dict(zip(names, node.args, strict=False)) | node.kwargs
        bias_node = given.get("bias")
        bias = self._parameter(bias_node) if isinstance(bias_node, fx.Node) else None
        inputs = [self._names[cast("fx.Node", given[key])] for key in ("input", "weight")]
        if kind == "linear":
            return self._compute(node.name, nn.Linear(1, 1), inputs[0], inputs[1], bias)
        weights = cast("fx.Node", given["weight"])
        outputs, per_group, *kernel = self._shapes[weights]
        groups = cast("int", given.get("groups", 1))
        geometry: dict[str, Any] = {  # Any: as torch's functions take them
            key: given.get(key, 0 if key == "padding" else 1) for key in ("stride", "padding", "dilation")
        }
        maker: Any = nn.Conv1d if kind == "conv1d" else nn.Conv2d  # Any: both take the same arguments
        layer = maker(per_group * groups, outputs, tuple(kernel), groups=groups, device="meta", **geometry)
        return self._compute(node.name, layer, inputs[0], inputs[1], bias)

    def _activation(self, module: nn.Module, source: str, name: str) -> str:
        if isinstance(module, nn.ReLU6):
            return self._clip(source, name, 0.0, 6.0)
        return self._emit("Relu", [source], name)

    def _module_node(self, node: fx.Node, module: nn.Module, source: str) -> str:
        name = node.name
        if isinstance(module, nn.ReLU | nn.ReLU6):
            return self._activation(module, source, name)
        if isinstance(module, nn.Hardtanh):
            return self._clip(source, name, module.min_val, module.max_val)
        if isinstance(module, nn.Identity | nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.AlphaDropout):
            return source
        if isinstance(module, _BatchNorm):
            factor, shift = fold_normalisation(module, None)
            shape = (1, -1, *(1,) * (len(self._shapes[node]) - 2))
            scaled = [
                self._constant(f"{name}_{k}", v.detach().view(shape).numpy()) for k, v in (("f", factor), ("s", shift))
            ]
            return self._emit("Add", [self._emit("Mul", [source, scaled[0]], f"{name}_scaled"), scaled[1]], name)
        simple = {nn.Hardswish: "HardSwish", nn.Sigmoid: "Sigmoid", nn.Tanh: "Tanh", nn.Softplus: "Softplus"}
        if type(module) in simple:
            return self._emit(simple[type(module)], [source], name)
        if isinstance(module, nn.Hardsigmoid):
            return self._emit("HardSigmoid", [source], name, alpha=1 / 6, beta=0.5)
        if isinstance(module, nn.SiLU):
            return self._emit("Mul", [source, self._emit("Sigmoid", [source], f"{name}_gate")], name)
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            return self._pool(name, module, source)
        if isinstance(module, nn.AdaptiveAvgPool2d) and self._shapes[node][2:] == (1, 1):
            return self._emit("GlobalAveragePool", [source], name)
        if isinstance(module, nn.Flatten | nn.Unflatten):
            return self._reshape(node, source)
        return self._refuse(node, type(module).__name__)

    def _pool(self, name: str, module: nn.MaxPool2d | nn.AvgPool2d, source: str) -> str:
        kernel, stride, padding = (_pair(value) for value in (module.kernel_size, module.stride, module.padding))
        options: dict[str, Any] = {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding]}  # Any: onnx
        options["ceil_mode"] = int(module.ceil_mode)
        if isinstance(module, nn.MaxPool2d):
            return self._emit("MaxPool", [source], name, dilations=_pair(module.dilation), **options)
        return self._emit("AveragePool", [source], name, count_include_pad=int(module.count_include_pad), **options)

    def _function_node(self, node: fx.Node, name: str, sources: Sequence[str]) -> str:
        if name in ("add", "sub", "mul", "truediv", "div"):
            return self._binary(node, name)
        if name == "cat":
            axis = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0)
            return self._emit("Concat", sources, node.name, axis=axis)
        if name in ("relu", "relu6"):
            return self._activation(nn.ReLU6() if name == "relu6" else nn.ReLU(), sources[0], node.name)
        if name in _SIMPLE_FUNCTIONS:
            return self._emit(_SIMPLE_FUNCTIONS[name], [sources[0]], node.name)
        if name in ("dropout", "contiguous", "clone", "detach", "float"):
            return sources[0]
        if name in ("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten"):
            return self._reshape(node, sources[0])
        if name == "adaptive_avg_pool2d" and self._shapes[node][2:] == (1, 1):
            return self._emit("GlobalAveragePool", [sources[0]], node.name)
        if name == "mean":
            return self._mean(node, sources[0])
        return self._refuse(node, name)

    def _binary(self, node: fx.Node, name: str) -> str:
        inputs = []
        for index, arg in enumerate(node.args[:2]):
            if isinstance(arg, fx.Node):
                inputs.append(self._names.get(arg, ""))
            else:
                inputs.append(self._constant(f"{node.name}_{index}", np.float32(cast("float", arg))))
        if node.kwargs or "" in inputs or len(inputs) != 2:
            return self._refuse(node, name)
        kind = {"add": "Add", "sub": "Sub", "mul": "Mul"}.get(name, "Div")
        return self._emit(kind, inputs, node.name)

    def _mean(self, node: fx.Node, source: str) -> str:
        given: Mapping[str, Any] = dict(zip(("input", "dim", "keepdim"), node.args, strict=False)) | node.kwargs
        dims = given.get("dim")
        if dims is None:
            return self._refuse(node, "mean over all elements")
        axes = np.array([dims] if isinstance(dims, int) else list(dims), dtype=np.int64)
        keeps = int(bool(given.get("keepdim", False)))
        return self._emit("ReduceMean", [source, self._constant(f"{node.name}_axes", axes)], node.name, keepdims=keeps)

    def _reshape(self, node: fx.Node, source: str) -> str:
        """To the shape that tracing found, whatever the batch."""
        shape = self._shapes[node]
        if shape[0] != 2:
            return self._refuse(node, "reshaping of the batch")
        target = self._constant(f"{node.name}_shape", np.array([-1, *shape[1:]], dtype=np.int64))
        return self._emit("Reshape", [source, target], node.name)

    def _parameter(self, node: fx.Node) -> Tensor:
        owner, _, attribute = str(node.target).rpartition(".")
        return cast("Tensor", getattr(self._module.get_submodule(owner), attribute))

    def _refuse(self, node: fx.Node, kind: str) -> str:
        self._unsupported.append(f"node `{node.name}` ({kind})")
        return node.name


_SIMPLE_FUNCTIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "hardswish": "HardSwish"}


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
