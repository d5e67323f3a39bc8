"""The modules of a quantized network: they hold scales for every bit-width and use those of the width in force."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from quantloom.errors import QuantError
from quantloom.quant.functional import activation_grid, fake_quantize, weight_scales
from quantloom.quant.scheme import Grid

__all__ = ["ActivationQuantizer", "QuantizedLayer", "Quantizer", "WeightQuantizer"]


class Quantizer(nn.Module):
    """Fake-quantizes one tensor; float (the identity) until a width is selected.

    scales: buffer (widths, ...), grids: one for each width; both are set by calibrate().
    """

    scales: Tensor

    def __init__(self, name: str, bits: Sequence[int]) -> None:
        super().__init__()
        self.name = name
        self.bits = tuple(bits)
        self.register_buffer("scales", torch.empty(0), persistent=False)
        self.grids: tuple[Grid, ...] = ()
        self._index: int | None = None

    @property
    def selected_bits(self) -> int | None:
        """The width in force; None is float."""
        return None if self._index is None else self.bits[self._index]

    def select(self, bits: int | None) -> None:
        """Put a width in force, None for float. Raises QuantError if it has no scales."""
        if bits is None:
            self._index = None
        elif bits not in self.bits:
            message = f"{self.name}: cannot quantize to {bits!r} bits"
            raise QuantError(message, hint=f"scales exist for {', '.join(map(str, self.bits))} bits")
        elif not self.grids:
            message = f"{self.name} has no scales yet"
            raise QuantError(message, hint="calibrate the network before setting bits")
        else:
            self._index = self.bits.index(bits)

    def forward(self, x: Tensor) -> Tensor:
        """x: the tensor to quantize; same shape and dtype back."""
        if self._index is None:
            return x
        return fake_quantize(x, self.scales[self._index], self.grids[self._index])

    def at(self, x: Tensor, bits: int) -> Tensor:
        """x quantized to these bits, whatever is in force."""
        index = self.bits.index(bits)
        return fake_quantize(x, self.scales[index], self.grids[index])


class WeightQuantizer(Quantizer):
    """Weights on a signed grid, with one scale for each output channel or one for all."""

    def calibrate(self, weights: Tensor, *, per_channel: bool) -> None:
        """Choose the scales of every width. weights: (output channels, ...)."""
        self.scales = torch.stack([weight_scales(weights, bits, per_channel=per_channel) for bits in self.bits])
        self.grids = tuple(Grid.signed(bits) for bits in self.bits)


class ActivationQuantizer(Quantizer):
    """An activation tensor on an affine grid with one scale."""

    def calibrate(self, values: Tensor) -> None:
        """Choose the scale and the grid of every width. values: what the float network computes, (N, ...)."""
        chosen = [activation_grid(values, bits) for bits in self.bits]
        self.scales = torch.stack([scale for scale, _ in chosen])
        self.grids = tuple(grid for _, grid in chosen)


class QuantizedLayer(nn.Module):
    """A convolution or linear layer with quantized weights, and the batch normalisation behind it, if any.

    While the statistics are being taken (norm.training) the normalisation runs as it is. Otherwise it is folded:
    its factor for each output channel multiplies the quantized weights, which is exact because integer codes stay
    the same and only the channel's scale changes. Biases stay in full precision, as accumulators do.
    """

    def __init__(self, layer: nn.Module, quantizer: WeightQuantizer, norm: _BatchNorm | None) -> None:
        super().__init__()
        self.layer = layer
        self.quantizer = quantizer
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """x: what the layer reads. Returns the (normalised) output of the layer."""
        bias = cast("Tensor | None", self.layer.bias)
        weights = self.quantizer(self.layer.weight)
        if self.norm is None:
            return self._run(x, weights, bias)
        if self.norm.training or self.norm.running_var is None or self.norm.running_mean is None:
            out: Tensor = self.norm(self._run(x, weights, bias))
            return out
        factor = torch.rsqrt(self.norm.running_var + self.norm.eps)
        if self.norm.weight is not None:
            factor = factor * self.norm.weight
        shift = -self.norm.running_mean if bias is None else bias - self.norm.running_mean
        shift = shift * factor if self.norm.bias is None else self.norm.bias + shift * factor
        return self._run(x, weights * factor.view(-1, *(1,) * (weights.ndim - 1)), shift)

    def _run(self, x: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            return functional.linear(x, weights, bias)
        # _conv_forward applies the padding mode; torch's own quantized convolutions call it in the same way.
        return cast("nn.Conv2d", self.layer)._conv_forward(x, weights, bias)
