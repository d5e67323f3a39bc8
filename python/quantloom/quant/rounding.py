"""Weights rounded so that what a layer computes stays near, not each weight: the ladder's `rounded+bn`.

Nearest rounding treats weights one by one. But a layer's inputs vary together, so the error of one rounding can be
taken back by the weights that are not rounded yet: each weight in turn is rounded to the nearest, and the others move
to where the expected squared error of the output is least. This is GPTQ's way (arXiv 2210.17323, algorithm 1) to do
optimal brain quantization (arXiv 2208.11580, equation 2), for what AdaRound (arXiv 2004.10568) learns by gradients.
What is left of the mean error goes into the bias, if there is one (arXiv 1906.04721, section 4.2). Inputs are those of
the float network, so each layer and width is rounded once, whatever bits the others have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantloom.errors import QuantError
from quantloom.quant.modules import QuantizedLayer
from quantloom.quant.network import QuantizedNetwork

__all__ = ["keep_rounded", "round_rows", "round_weights"]

_MOST_INPUTS = 8192  # of one output; the weights of layers with more stay rounded to the nearest
_DAMPING = 0.01  # of the mean variance, added to each: as GPTQ has it
_LEAST_VARIANCE = 1e-4  # of the mean over all groups: of inputs that never change
_ELEMENTS = 1 << 23  # of patches, or of weights, that are held at once
_BLOCK = 64  # columns after which the others are brought up to date
_BATCH = 32


def round_weights(network: QuantizedNetwork, images: Tensor) -> None:
    """Round the weights of every convolution and linear layer that is a module, for all widths of the network.

    images: (N, *network.input_shape) of the train split. In force until the network is calibrated or trained; then in
    float. Layers called as functions, and those of more than 8,192 inputs an output, are rounded to the nearest as
    before. On one thread: sums differ in their last digits with the number of threads, and roundings must not.
    Raises QuantError if the network has no scales.
    """
    if not network.is_calibrated:
        message = "the network has no scales yet"
        raise QuantError(message, hint="calibrate the network before rounding its weights")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for layer, (mean, covariance) in _moments(network, images).items():
                _round_layer(layer, mean, covariance)
    finally:
        torch.set_num_threads(threads)


def keep_rounded(network: QuantizedNetwork) -> None:
    """Make the rounded weights of the bits in force those of the network, to be stored. Raises QuantError in float."""
    if network.assignment is None:
        message = "the network computes in float"
        raise QuantError(message, hint="set bits: each width has rounded weights of its own")
    for module in network.graph_module.modules():
        if isinstance(module, QuantizedLayer):
            module.keep()


def round_rows(weights: Tensor, scale: Tensor, low: Tensor, high: Tensor, covariance: Tensor) -> Tensor:
    """Codes times scale, for rows of weights that multiply the same inputs.

    weights: (groups, rows, inputs). scale, low, high: (groups, rows, 1), of the grids. covariance: (groups, inputs,
    inputs), positive definite, of what the weights multiply. Inputs that vary most come first. All in double precision.
    """
    inputs = weights.shape[2]
    order = torch.argsort(torch.diagonal(covariance, dim1=1, dim2=2), dim=1, descending=True, stable=True)
    rows_first = order[:, :, None].expand(-1, -1, inputs)
    covariance = covariance.gather(1, rows_first).gather(2, order[:, None, :].expand(-1, inputs, -1))
    # Row k of the upper factor of the inverse says how the later weights answer the error of weight k.
    answer = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(covariance)), upper=True)
    own = torch.diagonal(answer, dim1=1, dim2=2)[:, None, :]
    columns = order[:, None, :].expand(-1, weights.shape[1], -1)
    left = weights.gather(2, columns)
    rounded = torch.empty_like(left)
    for begin in range(0, inputs, _BLOCK):
        end = min(begin + _BLOCK, inputs)
        errors = torch.empty_like(left[:, :, begin:end])
        for at in range(begin, end):
            column = left[:, :, at : at + 1]
            rounded[:, :, at : at + 1] = torch.clamp((column / scale).round(), low, high) * scale
            error = (column - rounded[:, :, at : at + 1]) / own[:, :, at : at + 1]
            left[:, :, at + 1 : end] -= error * answer[:, at : at + 1, at + 1 : end]
            errors[:, :, at - begin : at - begin + 1] = error
        left[:, :, end:] -= torch.bmm(errors, answer[:, begin:end, end:])
    return torch.empty_like(rounded).scatter_(2, columns, rounded)


def _round_layer(layer: QuantizedLayer, mean: Tensor, covariance: Tensor) -> None:
    """mean: (groups, inputs), covariance: (groups, inputs, inputs) of what the layer's weights multiply."""
    groups, inputs = mean.shape
    variances = torch.diagonal(covariance, dim1=1, dim2=2)
    damping = _DAMPING * variances.mean(1, keepdim=True) + _LEAST_VARIANCE * variances.mean() + 1e-12
    covariance = covariance + torch.diag_embed(damping.expand(-1, inputs))
    own = cast("Tensor", layer.layer.weight).detach()
    rows = own.contiguous(memory_format=torch.contiguous_format).reshape(groups, -1, inputs).double()
    pieces = max(1, _ELEMENTS // (groups * inputs))
    for bits in layer.quantizer.bits:
        grid = layer.quantizer.grid(bits)
        scale = layer.quantizer.scale(bits).detach().double().flatten().expand(len(own)).reshape(groups, -1, 1)
        low, high = (torch.full_like(scale, bound) for bound in (grid.low, grid.high))
        rounded = torch.cat(
            [
                round_rows(rows[:, piece], scale[:, piece], low[:, piece], high[:, piece], covariance)
                for piece in (slice(begin, begin + pieces) for begin in range(0, rows.shape[1], pieces))
            ],
            dim=1,
        )
        shift = ((rows - rounded) * mean[:, None, :]).sum(2).flatten()
        weights = rounded.reshape(own.shape).to(own.dtype)
        layer.use_instead(bits, torch.empty_like(own).copy_(weights), shift.to(own.dtype))


def _moments(network: QuantizedNetwork, images: Tensor) -> dict[QuantizedLayer, tuple[Tensor, Tensor]]:
    """Mean and covariance of what each layer's weights multiply in the float network."""
    sums: dict[QuantizedLayer, list[Tensor]] = {}

    def look(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, QuantizedLayer)
        if cast("Tensor", module.layer.weight)[0].numel() > _MOST_INPUTS:
            return
        for patches in _patches(module.layer, args[0].detach()):
            columns = patches.double()
            found = [
                torch.tensor(float(columns.shape[2])), columns.sum(2), torch.bmm(columns, columns.transpose(1, 2))
            ]  # fmt: skip
            sums[module] = [a + b for a, b in zip(sums[module], found, strict=True)] if module in sums else found

    network.set_float()
    layers = [module for module in network.graph_module.modules() if isinstance(module, QuantizedLayer)]
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        for batch in torch.split(images, _BATCH):
            network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    moments = {}
    for layer, (count, total, products) in sums.items():
        mean = total / count
        moments[layer] = mean, products / count - mean[:, :, None] * mean[:, None, :]
    return moments


def _patches(layer: nn.Module, x: Tensor) -> Iterator[Tensor]:
    """What the weights of each group multiply, (groups, inputs, places), in pieces of some images each."""
    if isinstance(layer, nn.Linear):
        yield x.reshape(-1, x.shape[-1]).T[None]
        return
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    if layer.padding_mode == "zeros":
        x = functional.pad(x, layer._reversed_padding_repeated_twice)
    else:
        x = functional.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
    kernel, dilation, stride = layer.kernel_size, layer.dilation, layer.stride
    if isinstance(layer, nn.Conv1d):
        x = x.unsqueeze(2)
        kernel, dilation, stride = ((1, each[0]) for each in (kernel, dilation, stride))
    taps = kernel[0] * kernel[1]
    pieces = max(1, _ELEMENTS // (x[0].numel() * taps))
    for piece in torch.split(x, pieces):
        found = functional.unfold(piece, kernel, dilation, 0, stride)  # (N, C * taps, places)
        yield found.transpose(0, 1).reshape(layer.groups, -1, found.shape[0] * found.shape[2])
