"""The quantized network computed with integers alone: proof that the bits it is charged for are the bits it uses.

Weights and stored tensors are integers of their widths, products are added up in 32-bit accumulators, and a result is
brought to the scale of the next tensor by a 30-bit integer factor, a 61-bit integer bias and a shift with rounding, as
integer hardware does (arXiv 1712.05877, section 2.2; the bias behind the factor as in arXiv 1905.13082, since a bias
in units of the accumulator is too coarse below 8 bits). Only the quantization of the input image reads real numbers.
The fake-quantized network computes the same up to rounding: its single-precision sums round once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from quantloom.errors import QuantError, UnsupportedOpError
from quantloom.quant.modules import ActivationQuantizer, QuantizedLayer, WeightQuantizer, fold_normalisation
from quantloom.quant.network import QuantizedNetwork

__all__ = ["Agreement", "IntegerNetwork", "compare_with_integers"]

_ACCUMULATOR_MAX = (1 << 31) - 1
_FACTOR_BITS = 30
_BIAS_BITS = 60
_FRACTION_BITS = 16  # of the argument of an activation that is not piecewise linear, and of its table's entries
_STEP_BITS = 8  # of the fraction that choose between two neighbouring entries of a table
_TABLE_END = 16  # tables reach over -16..16, where all that are used here have become flat


@dataclass(frozen=True, slots=True, kw_only=True)
class _Term:
    """values * scale + bias: integers (N, ...), and real constants (float64) that broadcast to them."""

    values: Tensor
    scale: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """A sum of terms of one shape, clipped to low..high (real numbers) afterwards."""

    terms: tuple[_Term, ...]
    low: float | None = None
    high: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is one integer tensor with one scale and nothing left to clip."""
        return len(self.terms) == 1 and self.terms[0].scale.ndim == 0 and self.low is None and self.high is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """Integer weights (output channels, ...) and their scale (output channels,) or (), float64."""

    codes: Tensor
    scale: Tensor


class IntegerNetwork:
    """The network as integer hardware computes it, with the bits and statistics that were in force at the start.

    Raises QuantError if the network is in float. A call raises UnsupportedOpError for an operator that has no integer
    form here, and QuantError if a sum does not fit 32 bits.
    """

    def __init__(self, network: QuantizedNetwork) -> None:
        if network.assignment is None:
            message = f"{network.network.name} computes in float"
            raise QuantError(message, hint="set the bits of an assignment first")
        self._network = network

    def __call__(self, images: Tensor) -> Tensor:
        """The logits (N, ...), float32: integers times the scale of the output. images: (N, *network.input_shape)."""
        return _Interpreter(self._network).logits(images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How the fake-quantized network and the integer one compare.

    equal, furthest: by edge name, the share of equal integers and the largest difference, each edge computed from the
    same integers. top1: the share of images with the same largest logit, each network going its own way.
    """

    equal: dict[str, float]
    furthest: dict[str, int]
    top1: float


def compare_with_integers(network: QuantizedNetwork, images: Tensor) -> Agreement:
    """Run images through both networks, edge by edge and end to end. Raises as IntegerNetwork."""
    integers = IntegerNetwork(network)
    with torch.inference_mode():
        given = _stored_codes(network, images)
        step_by_step = _Interpreter(network, forced=given)
        step_by_step.logits(images)
        top1 = float((integers(images).argmax(1) == network(images).argmax(1)).double().mean())
    equal, furthest = {}, {}
    for edge, found, expected in zip(network.network.edges, step_by_step.found, given, strict=True):
        difference = (found - expected).abs()
        equal[edge.name] = float((difference == 0).double().mean())
        furthest[edge.name] = int(difference.max())
    return Agreement(equal=equal, furthest=furthest, top1=top1)


def _stored_codes(network: QuantizedNetwork, images: Tensor) -> list[Tensor]:
    """The integers (int64) of every edge as the fake-quantized network computes them."""
    values: dict[nn.Module, Tensor] = {}

    class Recorder(fx.Interpreter):
        def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:  # Any: as fx declares it
            value = super().call_module(target, args, kwargs)
            module = self.fetch_attr(target)
            values[getattr(module, "output", None) or module] = value
            return value

    Recorder(network.graph_module).run(images)
    codes = []
    for quantizer in network.activation_quantizers:
        scale, _ = quantizer.selected
        codes.append((values[quantizer].double() / scale.double()).round().long())
    return codes


class _Interpreter(fx.Interpreter):
    """Runs the graph on integers; forced: take these integers of each edge, after those computed are kept in found."""

    def __init__(self, network: QuantizedNetwork, forced: Sequence[Tensor] | None = None) -> None:
        super().__init__(network.graph_module)
        self.extra_traceback = False
        self._forced = forced
        self._edges = {quantizer: index for index, quantizer in enumerate(network.activation_quantizers)}
        self.found: list[Tensor] = [torch.empty(0)] * len(self._edges)

    def logits(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            out = _plain(self.run(images), "the output")
        return (out.values.double() * out.scale).float()

    def run_node(self, n: fx.Node) -> Any:
        try:
            return super().run_node(n)
        except _NoIntegerFormError as error:
            message = f"node `{n.name}` ({error}) has no integer form"
            raise UnsupportedOpError(
                message,
                hint="integers know layers, ReLU, sigmoid, swish, tanh, sums, products, pooling, joining, rearranging",
            ) from error

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        if isinstance(module, QuantizedLayer):
            given, bias = module.tensors()
            value = _layer(module.layer, args[0], _weight_codes(module.quantizer, given), bias, module.norm)
            if module.activation is not None:
                value = _clip(value, 0.0, 6.0 if isinstance(module.activation, nn.ReLU6) else None)
            return value if module.output is None else self._store(module.output, value)
        if isinstance(module, ActivationQuantizer):
            return self._store(module, args[0])
        if isinstance(module, WeightQuantizer):
            return _weight_codes(module, args[0])
        if isinstance(module, _BatchNorm):
            return _normalise(args[0], module)
        kind = _MODULES.get(type(module))
        if kind is None:
            raise _NoIntegerFormError(type(module).__name__)
        return kind(args[0], module)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return _call(getattr(target, "__name__", str(target)), target, args, kwargs)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        return _call(str(target), lambda self_, *rest, **named: getattr(self_, target)(*rest, **named), args, kwargs)

    def _store(self, quantizer: ActivationQuantizer, value: _Value | Tensor) -> _Value:
        """Bring a value to the scale and grid of a stored tensor."""
        scale, grid = quantizer.selected
        if isinstance(value, Tensor):  # the image
            codes = value.mul(scale.reciprocal()).round_().clamp_(grid.low, grid.high).long()
        else:
            total = _rescale(value.terms, scale.detach().double())
            low = grid.low if value.low is None else max(grid.low, round(value.low / scale.item()))
            high = grid.high if value.high is None else min(grid.high, round(value.high / scale.item()))
            codes = total.clamp(low, high)
        index = self._edges[quantizer]
        self.found[index] = codes
        if self._forced is not None:
            codes = self._forced[index]
        return _Value(terms=(_Term(values=codes, scale=scale.detach().double()),))


class _NoIntegerFormError(Exception):
    """An operator cannot be computed with integers; the text says which."""


def _rescale(terms: Sequence[_Term], scale: Tensor) -> Tensor:
    """The sum of terms in units of scale, rounded: integer factors, an integer bias, then one shift to the right."""
    ratios = [term.scale / scale for term in terms]
    bias = sum((term.bias / scale for term in terms if term.bias is not None), torch.zeros((), dtype=torch.float64))
    largest = torch.stack([ratio.abs().max() for ratio in ratios]).max() if len(terms) > 1 else ratios[0].abs()
    shift = torch.minimum(_shift_below(largest, _FACTOR_BITS), _shift_below(bias.abs(), _BIAS_BITS)).clamp(1, 61)
    total = torch.ldexp(bias + torch.zeros_like(shift), shift).round().long()
    for term, ratio in zip(terms, ratios, strict=True):
        total = total + term.values.long() * torch.ldexp(ratio, shift).round().long()
    half = 1 << (shift - 1)
    rounded = (total + half) >> shift
    is_tie = (total - ((total >> shift) << shift)) == half
    return rounded - (is_tie & (rounded % 2 != 0)).long()  # a tie goes to the even neighbour, as torch rounds


def _shift_below(numbers: Tensor, bits: int) -> Tensor:
    """The largest shift to the left that keeps numbers below 2^bits."""
    return bits - torch.frexp(numbers).exponent.long()


def _plain(value: object, what: str) -> _Term:
    if not isinstance(value, _Value) or not value.is_plain:
        message = f"{what} reads a value that is not stored"
        raise _NoIntegerFormError(message)
    return value.terms[0]


def _clip(value: _Value, low: float | None, high: float | None) -> _Value:
    lows = [bound for bound in (low, value.low) if bound is not None]
    highs = [bound for bound in (high, value.high) if bound is not None]
    return replace(value, low=max(lows, default=None), high=min(highs, default=None))


# ---- layers ----------------------------------------------------------------------------------------------------------


def _weight_codes(quantizer: WeightQuantizer, weights: Tensor) -> _Weights:
    scale, grid = quantizer.selected
    codes = weights.mul(scale.reciprocal()).round_().clamp_(grid.low, grid.high).long()
    return _Weights(codes=codes, scale=scale.detach().double().flatten().squeeze())


def _layer(
    layer: nn.Module, value: object, weights: _Weights, bias: Tensor | None, norm: _BatchNorm | None = None
) -> _Value:
    inputs = _plain(value, "a layer")
    if isinstance(layer, nn.Linear):
        accumulator = _linear(inputs.values, weights.codes)
        axis = accumulator.ndim - 1
    else:
        convolution = cast("nn.Conv2d", layer)
        padded = _pad(inputs.values, convolution)
        accumulator = _convolve(padded, weights.codes, convolution.stride, convolution.dilation, convolution.groups)
        axis = 1
    scale = (inputs.scale * weights.scale).expand(len(weights.codes))
    if norm is not None:
        factor, bias = fold_normalisation(norm, bias)
        scale = scale * factor.double()
    return _with_bias(accumulator, scale, bias, axis)


def _with_bias(accumulator: Tensor, scale: Tensor, bias: Tensor | None, axis: int) -> _Value:
    """scale, bias: (channels,), along this axis of the accumulator."""
    _check_range(accumulator)
    shape = [1] * accumulator.ndim
    shape[axis] = -1
    offset = None if bias is None else bias.detach().double().view(shape)
    return _Value(terms=(_Term(values=accumulator, scale=scale.view(shape), bias=offset),))


def _check_range(accumulator: Tensor) -> None:
    largest = int(accumulator.abs().max()) if accumulator.numel() else 0
    if largest > _ACCUMULATOR_MAX:
        message = f"a sum of {largest} does not fit an accumulator of 32 bits"
        raise QuantError(message, hint="use fewer bits for the activations or the weights of this layer")


def _linear(x: Tensor, weights: Tensor) -> Tensor:
    return x @ weights.t()


def _convolve(x: Tensor, weights: Tensor, stride: Any, dilation: Any, groups: int) -> Tensor:
    """A convolution (1-D or 2-D) of padded integers, one kernel position after the other. Returns (N, M, P[, Q])."""
    if weights.ndim == 3:
        flat = _convolve(x.unsqueeze(2), weights.unsqueeze(2), (1, *stride), (1, *dilation), groups)
        return flat.squeeze(2)
    outputs, inputs, height, width = weights.shape
    sizes = [
        (x.shape[axis + 2] - dilation[axis] * (weights.shape[axis + 2] - 1) - 1) // stride[axis] + 1 for axis in (0, 1)
    ]
    total = torch.zeros(len(x), *sizes, groups, outputs // groups, dtype=torch.long)
    by_group = weights.view(groups, outputs // groups, inputs, height, width)
    for row in range(height):
        for column in range(width):
            start = row * dilation[0], column * dilation[1]
            ends = [start[axis] + (sizes[axis] - 1) * stride[axis] + 1 for axis in (0, 1)]
            window = x[:, :, start[0] : ends[0] : stride[0], start[1] : ends[1] : stride[1]]
            pieces = window.permute(0, 2, 3, 1).reshape(len(x), *sizes, groups, inputs)
            kernel = by_group[..., row, column]
            if inputs == 1:
                total += pieces * kernel[..., 0]
            else:
                for group in range(groups):
                    total[..., group, :] += pieces[..., group, :] @ kernel[group].t()
    return total.flatten(3).permute(0, 3, 1, 2)


def _pad(x: Tensor, layer: nn.Conv2d) -> Tensor:
    widths = list(layer._reversed_padding_repeated_twice)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return functional.pad(x.double(), widths, mode=mode).long() if any(widths) else x


def _normalise(value: object, norm: _BatchNorm) -> _Value:
    """A normalisation that was not folded into its layer."""
    if not isinstance(value, _Value) or len(value.terms) != 1 or value.low is not None or value.high is not None:
        raise _NoIntegerFormError(type(norm).__name__)
    (term,) = value.terms
    factor, shift = fold_normalisation(norm, None)
    channels = norm.num_features
    scale = term.scale.flatten().expand(channels) * factor.double()
    bias = shift.double() if term.bias is None else shift.double() + term.bias.flatten() * factor.double()
    return _with_bias(term.values, scale, bias, 1)


# ---- everything else -------------------------------------------------------------------------------------------------


def _arrange(function: Callable[[Tensor], Tensor], value: object) -> _Value:
    """Apply what only picks or rearranges elements."""
    term = _plain(value, "rearranging")
    return _Value(terms=(replace(term, values=function(term.values)),))


def _pool_maximum(value: object, module: nn.Module) -> _Value:
    return _arrange(lambda values: cast("Tensor", module(values.double())).long(), value)


def _argument(value: object, what: str) -> Tensor:
    """A value as fixed-point integers of 32 bits, in units of 2^-16."""
    if not isinstance(value, _Value) or value.low is not None or value.high is not None:
        message = f"{what} of a value that is clipped and not stored"
        raise _NoIntegerFormError(message)
    x = _rescale(value.terms, torch.tensor(2.0**-_FRACTION_BITS, dtype=torch.float64))
    _check_range(x)
    return x


def _shift_right(values: Tensor, bits: int) -> Tensor:
    """Divided by 2^bits, rounded to the nearest integer."""
    return (values + (1 << (bits - 1))) >> bits


def _fixed(values: Tensor, scale: float = 1.0) -> _Value:
    """Fixed-point integers of 32 bits, in units of 2^-16, times scale."""
    _check_range(values)
    return _Value(terms=(_Term(values=values, scale=torch.tensor(scale * 2.0**-_FRACTION_BITS, dtype=torch.float64)),))


def _hardsigmoid(value: object, **_: object) -> _Value:
    """(x + 3) / 6, clipped to 0..1: only another scale and bias."""
    if not isinstance(value, _Value) or value.low is not None or value.high is not None:
        message = "hardsigmoid of a value that is clipped and not stored"
        raise _NoIntegerFormError(message)
    halves = torch.full((), 0.5 / len(value.terms), dtype=torch.float64)
    terms = [
        _Term(values=t.values, scale=t.scale / 6, bias=halves if t.bias is None else t.bias / 6 + halves)
        for t in value.terms
    ]
    return _Value(terms=tuple(terms), low=0.0, high=1.0)


def _hardswish(value: object, **_: object) -> _Value:
    """One sixth of x * clip(x + 3, 0, 6), a product of two integers. Source: arXiv 1905.02244, section 5.2."""
    x = _argument(value, "hardswish")
    three = 3 << _FRACTION_BITS
    return _fixed(_shift_right(x * (x + three).clamp(0, 2 * three), _FRACTION_BITS), scale=1 / 6)


def _from_table(function: Callable[[Tensor], Tensor], value: object, *, times_x: bool = False) -> _Value:
    """A function that is flat beyond -16..16, between the entries of a table on a straight line; times x if asked for.

    The table has an entry for every 2^-8 of the argument, in units of 2^-16; the straight lines are off by less.
    """
    x = _argument(value, function.__name__)
    steps = torch.arange(-_TABLE_END << _STEP_BITS, (_TABLE_END << _STEP_BITS) + 2, dtype=torch.float64)
    table = torch.ldexp(function(torch.ldexp(steps, torch.tensor(-_STEP_BITS))), torch.tensor(_FRACTION_BITS))
    entries = table.round().long()
    last = (_TABLE_END << _FRACTION_BITS) - 1
    place = x.clamp(-last - 1, last) + last + 1
    index, rest = place >> _STEP_BITS, place & ((1 << _STEP_BITS) - 1)
    found = entries[index] * ((1 << _STEP_BITS) - rest) + entries[index + 1] * rest
    found = _shift_right(found, _STEP_BITS)
    return _fixed(_shift_right(found * x, _FRACTION_BITS) if times_x else found)


def _multiply(first: object, second: object) -> _Value:
    """A product of two stored tensors, or of one and a number."""
    if not isinstance(first, _Value):
        first, second = second, first
    one = _plain(first, "a product")
    if isinstance(second, int | float):
        return _Value(
            terms=(replace(one, scale=one.scale * abs(second), values=-one.values if second < 0 else one.values),)
        )
    other = _plain(second, "a product")
    _check_range(one.values * other.values)
    return _Value(terms=(_Term(values=one.values * other.values, scale=one.scale * other.scale),))


def _same(value: object, _: nn.Module) -> object:
    return value


def _average(value: object, kernel: Any, stride: Any, padding: Any = 0) -> _Value:
    """The sum over windows; that it is a mean only changes the scale. Padding counts as zeros."""
    term = _plain(value, "average pooling")
    sums = functional.avg_pool2d(term.values.double(), kernel, stride, padding, divisor_override=1).long()
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return _Value(terms=(_Term(values=sums, scale=term.scale / (height * width)),))


def _average_module(value: object, module: nn.Module) -> _Value:
    pool = cast("nn.AvgPool2d", module)
    if (
        pool.ceil_mode
        or pool.divisor_override is not None
        or (pool.padding not in (0, (0, 0)) and not pool.count_include_pad)
    ):
        message = "AvgPool2d with ceil_mode, divisor_override or uncounted padding"
        raise _NoIntegerFormError(message)
    return _average(value, pool.kernel_size, pool.stride, pool.padding)


def _average_adaptive(value: object, size: Any) -> _Value:
    term = _plain(value, "average pooling")
    wanted = (size, size) if isinstance(size, int) else tuple(size)
    given = term.values.shape[-2:]
    if any(out is None or have % out for have, out in zip(given, wanted, strict=True)):
        message = f"adaptive pooling of {tuple(given)} to {wanted}"
        raise _NoIntegerFormError(message)
    kernel = tuple(have // out for have, out in zip(given, wanted, strict=True))
    return _average(value, kernel, kernel)


def _mean(value: object, dims: Any = None, keepdim: bool = False, **named: Any) -> _Value:
    term = _plain(value, "a mean")
    dims, keepdim = named.get("dim", dims), named.get("keepdim", keepdim)
    if dims is None or named.keys() - {"dim", "keepdim"}:
        message = "a mean over all elements"
        raise _NoIntegerFormError(message)
    axes = (dims,) if isinstance(dims, int) else tuple(dims)
    count = 1
    for axis in axes:
        count *= term.values.shape[axis]
    return _Value(terms=(_Term(values=term.values.sum(axes, keepdim=keepdim), scale=term.scale / count),))


def _add(first: object, second: object, **named: Any) -> _Value:
    if named or not all(
        isinstance(item, _Value) and item.low is None and item.high is None for item in (first, second)
    ):
        message = "a sum with a number, or of values that are not stored"
        raise _NoIntegerFormError(message)
    return _Value(terms=(*cast("_Value", first).terms, *cast("_Value", second).terms))


def _concatenate(values: Sequence[object], dim: int = 0, **named: Any) -> _Value:
    """Side by side: each part is a term with zeros in the places of the others, since its scale is its own."""
    parts = [_plain(value, "concatenation") for value in values]
    terms = []
    for index, part in enumerate(parts):
        rows = [part.values if other == index else torch.zeros_like(parts[other].values) for other in range(len(parts))]
        terms.append(_Term(values=torch.cat(rows, named.get("dim", dim)), scale=part.scale))
    return _Value(terms=tuple(terms))


def _functional_layer(kind: str, args: Any, kwargs: Any) -> _Value:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, args, strict=False)) | kwargs
    weights, bias = given["weight"], given.get("bias")
    if kind == "linear":
        return _layer(nn.Linear(1, 1), given["input"], weights, bias)
    outputs, inputs = weights.codes.shape[:2]
    groups = given.get("groups", 1)
    shape = tuple(weights.codes.shape[2:])
    maker = nn.Conv1d if kind == "conv1d" else nn.Conv2d
    geometry = {key: given.get(key, default) for key, default in (("stride", 1), ("padding", 0), ("dilation", 1))}
    layer = maker(inputs * groups, outputs, cast("Any", shape), groups=groups, device="meta", **geometry)
    return _layer(layer, given["input"], weights, bias)


def _call(name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A function or method of the graph on values, or on plain numbers and shapes."""
    name = {"iadd": "add", "imul": "mul"}.get(name, name.rstrip("_"))
    if name in ("conv1d", "conv2d", "linear"):
        return _functional_layer(name, args, kwargs)
    if name in ("cat", "concat", "concatenate"):
        return _concatenate(*args, **kwargs)
    if not any(isinstance(item, _Value) for item in args):
        return function(*args, **kwargs)
    if name in _FUNCTIONS:
        return _FUNCTIONS[name](*args, **kwargs)
    if name in _ARRANGING:
        return _arrange(lambda values: function(values.double(), *args[1:], **kwargs).long(), args[0])
    if name in ("size", "dim", "getattr"):
        return function(args[0].terms[0].values, *args[1:], **kwargs)
    raise _NoIntegerFormError(name)


_ARRANGING: Final = (
    *("adaptive_max_pool2d", "alpha_dropout", "channel_shuffle", "clone", "contiguous", "detach", "dropout"),
    *("dropout2d", "expand", "flatten", "getitem", "max_pool2d", "narrow", "pad", "permute", "pixel_shuffle"),
    *("pixel_unshuffle", "reshape", "select", "squeeze", "transpose", "unflatten", "unsqueeze", "view"),
)

_FUNCTIONS: dict[str, Callable[..., object]] = {
    "add": _add,
    "relu": lambda value, inplace=False: _clip(value, 0.0, None),
    "relu6": lambda value, inplace=False: _clip(value, 0.0, 6.0),
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "sigmoid": lambda value: _from_table(torch.sigmoid, value),
    "silu": lambda value, inplace=False: _from_table(torch.sigmoid, value, times_x=True),
    "tanh": lambda value: _from_table(torch.tanh, value),
    "mul": _multiply,
    "adaptive_avg_pool2d": _average_adaptive,
    "mean": _mean,
}

_MODULES: dict[type[nn.Module], Callable[[Any, Any], object]] = {
    nn.ReLU: lambda value, _: _clip(value, 0.0, None),
    nn.ReLU6: lambda value, _: _clip(value, 0.0, 6.0),
    nn.Hardtanh: lambda value, module: _clip(value, module.min_val, module.max_val),
    nn.Hardsigmoid: lambda value, _: _hardsigmoid(value),
    nn.Hardswish: lambda value, _: _hardswish(value),
    nn.Sigmoid: lambda value, _: _from_table(torch.sigmoid, value),
    nn.SiLU: lambda value, _: _from_table(torch.sigmoid, value, times_x=True),
    nn.Tanh: lambda value, _: _from_table(torch.tanh, value),
    nn.AvgPool2d: _average_module,
    nn.AdaptiveAvgPool2d: lambda value, module: _average_adaptive(value, module.output_size),
    nn.Identity: _same,
    nn.Dropout: _same,
    nn.Dropout2d: _same,
    nn.MaxPool2d: _pool_maximum,
    nn.AdaptiveMaxPool2d: _pool_maximum,
    **dict.fromkeys(
        (nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.ZeroPad2d),
        lambda value, module: _arrange(lambda values: module(values.double()).long(), value),
    ),
}
