"""Quantization as pure functions of tensors: rounding to a grid and back, and the choice or learning of scales.

The arithmetic is composed from torch's elementwise operations: on CPU that is an order of magnitude faster than
torch.fake_quantize_per_tensor_affine and its per-channel form, which keep a mask and convert to int64 even without
gradients (`python bench/quantization.py --kernels`). The tests hold the two equal bit by bit. For learned scales the
same holds, so the CPU takes the composed form here too; other devices take torch's learnable kernels, which are private
to torch: where a version has none, the composed form stands in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from quantloom.errors import QuantError
from quantloom.quant.scheme import Grid

__all__ = [
    "Observation",
    "activation_grid",
    "fake_quantize",
    "learned_quantize",
    "observe",
    "quantization_error",
    "weight_scales",
]

_CLIP_STEPS = 48  # clipping thresholds tried, evenly spaced up to the largest magnitude
_LOWEST_CLIP = 0.1  # the smallest threshold tried, as a share of the largest magnitude
_MOST_ELEMENTS = 1 << 20  # of a tensor that holds several thresholds' results side by side
_SAMPLE = 8192  # elements of an activation tensor that the choice of its scale looks at


def fake_quantize(x: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    """Round x / scale to the nearest integer of the grid (ties to even) and multiply back.

    x: any shape, floating point. scale: > 0, broadcastable to x, in units of x. Returns the shape and dtype of x.
    Gradient: passes straight through where x lies on the grid's range, is zero where x was clipped; none for scale.
    Source: straight-through estimator, Bengio et al. 2013, arXiv 1308.3432.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        out: Tensor = _StraightThrough.apply(x, scale, grid.low, grid.high)  # type: ignore[no-untyped-call]
        return out
    return x.mul(scale.reciprocal()).round_().clamp_(grid.low, grid.high).mul_(scale)


class _StraightThrough(torch.autograd.Function):
    """fake_quantize() with its straight-through gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:  # Any: torch does not type ctx
        codes = x.mul(scale.reciprocal()).round_()
        ctx.save_for_backward((codes >= low) & (codes <= high))
        return codes.clamp_(low, high).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None, None


def learned_quantize(
    x: Tensor,
    scale: Tensor,
    grid: Grid,
    *,
    zero_point: Tensor | None = None,
    factor: float = 1.0,
    is_rectified: bool = False,
) -> Tensor:
    """fake_quantize() with gradients for the scale and the zero point as well, to learn both.

    x, scale: as for fake_quantize(); a scale with more than one element has one for each index of the first axis.
    zero_point: 0-dim float that rounds to -grid.low; None if it is not learned. factor: multiplies the gradients of
    scale and zero_point. is_rectified: quantize relu(x), in one step.
    Source: LSQ, arXiv 1902.08153, eq. 2-3; LSQ+, arXiv 2004.09576, for the zero point.
    """
    if not is_rectified and x.device.type != "cpu" and _has_learnable_kernels():
        return _learnable_kernel(x, scale, grid, zero_point, factor)
    out: Tensor = _Learned.apply(x, scale, zero_point, grid, factor, is_rectified)  # type: ignore[no-untyped-call]
    return out


class _Learned(torch.autograd.Function):
    """learned_quantize() composed from torch's operations.

    With g the gradient of the result y and d that of x (g inside the grid's range, else 0), the gradient of the scale
    s is (<g, y> - <d, x>) / s: inside, y - x is s times the rounding error; outside, y is s times the last code.
    """

    @staticmethod
    def forward(
        ctx: Any,  # Any: torch does not type ctx
        x: Tensor,
        scale: Tensor,
        zero_point: Tensor | None,
        grid: Grid,
        factor: float,
        is_rectified: bool,
    ) -> Tensor:
        low = 0 if is_rectified else grid.low
        out = x.mul(scale.reciprocal()).round_().clamp_(low, grid.high).mul_(scale)
        ctx.save_for_backward(x, out, scale)
        ctx.ends = (0.0 if is_rectified else grid.low - 0.5), grid.high + 0.5
        ctx.factor = factor
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, out, scale = ctx.saved_tensors
        low, high = ctx.ends
        gradient = gradients[0]
        if scale.numel() == 1:
            step = scale.item()
            inner = torch.ops.aten.hardtanh_backward(gradient, x, low * step, high * step)
            change = _dot(gradient, out) - _dot(inner, x)
        else:
            inner = torch.ops.aten.hardtanh_backward(gradient, x * scale.reciprocal(), low, high)
            change = (gradient * out - inner * x).flatten(1).sum(1)
        for_scale = (change.reshape(scale.shape) / scale) * ctx.factor
        for_zero_point = None
        if ctx.needs_input_grad[2]:
            for_zero_point = ((inner.sum() - gradient.sum()) * scale * ctx.factor).reshape(())
        return inner, for_scale, for_zero_point, None, None, None


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the products of all elements, without a copy where the two are laid out alike and dense."""
    if a.stride() != b.stride() or a.ndim != 4 or not a.is_contiguous(memory_format=torch.channels_last):
        return torch.dot(a.reshape(-1), b.reshape(-1))
    return torch.dot(a.permute(0, 2, 3, 1).reshape(-1), b.permute(0, 2, 3, 1).reshape(-1))


def _has_learnable_kernels() -> bool:
    return all(hasattr(torch, f"_fake_quantize_learnable_per_{kind}_affine") for kind in ("tensor", "channel"))


def _learnable_kernel(x: Tensor, scale: Tensor, grid: Grid, zero_point: Tensor | None, factor: float) -> Tensor:
    """learned_quantize() by torch's own kernels, one launch for each direction."""
    per: Any = torch  # Any: the kernels are private, so torch's stubs may lack them
    if scale.numel() == 1:
        given = torch.full_like(scale, -grid.low) if zero_point is None else zero_point
        out: Tensor = per._fake_quantize_learnable_per_tensor_affine(
            x, scale.reshape(1), given.reshape(1), 0, grid.high - grid.low, factor
        )
        return out
    channels = scale.flatten()
    zero_points = torch.full_like(channels, -grid.low)
    out = per._fake_quantize_learnable_per_channel_affine(x, channels, zero_points, 0, 0, grid.high - grid.low, factor)
    return out.to(x.dtype)


def quantization_error(x: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    """What rounding adds: fake_quantize(x) - x, without gradient. Shape and dtype of x."""
    with torch.no_grad():
        return fake_quantize(x, scale, grid) - x


def weight_scales(weights: Tensor, bits: int, *, per_channel: bool = True) -> Tensor:
    """Scales of the signed grid with the least squared error, by trying clipping thresholds.

    weights: (output channels, ...). Returns scales > 0 that broadcast to weights: (output channels, 1, ...), or all
    axes 1 unless per_channel. A channel of zeros gets scale 1. Raises QuantError for NaN or infinite weights.
    """
    rows = weights.detach().reshape(weights.shape[0] if per_channel else 1, -1)
    grid = Grid.signed(bits)
    low, high = rows.aminmax(dim=1)
    # The widest scale is the one at which both ends fit: -2^(b-1) reaches further than 2^(b-1)-1.
    widest = torch.maximum(high / grid.high, low / grid.low)
    if not bool(torch.isfinite(widest).all()):
        message = "cannot choose scales: the weights hold NaN or infinite values"
        raise QuantError(message, hint="the checkpoint is broken")
    scales = _least_error_scales(rows, torch.where(widest > 0, widest, torch.ones_like(widest)), grid)
    return scales.reshape(-1, *(1,) * (weights.ndim - 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """What the choice of an activation's scale looks at: the extremes, 0 included, and a sample (K,) of the values."""

    low: float
    high: float
    sample: Tensor


def observe(values: Tensor) -> Observation:
    """Look at an activation tensor of any shape; the sample is random but the same for the same size.

    Raises QuantError for NaN or infinite values.
    """
    flat = values.detach().reshape(-1)
    low, high = (float(extreme) for extreme in flat.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        message = "cannot choose scales: the activations hold NaN or infinite values"
        raise QuantError(message, hint="the checkpoint or the calibration images are broken")
    if flat.numel() > _SAMPLE:
        chosen = torch.randint(flat.numel(), (_SAMPLE,), generator=torch.Generator().manual_seed(0))
        # The extremes belong in the sample: without them, clipping them would seem free.
        flat = torch.cat([flat[chosen.to(flat.device)], flat.new_tensor([low, high])])
    return Observation(low=min(low, 0.0), high=max(high, 0.0), sample=flat)


def activation_grid(observation: Observation, bits: int, *, symmetric: bool = False) -> tuple[Tensor, Grid]:
    """Scale (0-dim, > 0) and grid with the least squared error, by trying clipping thresholds.

    Values of both signs get an affine grid, or if symmetric that of two's complement; values of one sign an unsigned
    grid (affine: or a wholly non-positive one). All zeros get scale 1.
    """
    low, high = observation.low, observation.high
    steps = (1 << bits) - 1
    if low == high:
        return torch.ones_like(observation.sample[0]), Grid.affine(bits)
    if symmetric and low < 0:
        grid = Grid.signed(bits)
        widest = torch.full_like(observation.sample[:1], max(high / grid.high, low / grid.low))
    else:
        grid = Grid.affine(bits, zero_point=round(-low / (high - low) * steps))
        widest = torch.full_like(observation.sample[:1], (high - low) / steps)
    return _least_error_scales(observation.sample[None], widest, grid)[0], grid


def _least_error_scales(rows: Tensor, widest: Tensor, grid: Grid) -> Tensor:
    """For each row the scale of least squared error among shares of its widest scale.

    rows: (R, K). widest: (R,), > 0. Returns (R,).
    """
    shares = torch.linspace(1, _LOWEST_CLIP, _CLIP_STEPS, dtype=rows.dtype, device=rows.device)
    together = max(1, _MOST_ELEMENTS // rows.numel())  # shares tried at once, as far as memory allows
    errors = torch.cat(
        [
            quantization_error(rows, (some[:, None] * widest)[..., None], grid).square_().sum(2)
            for some in torch.split(shares, together)
        ]
    )
    return widest * shares[errors.argmin(0)]
