"""How much the loss rises when one tensor gets fewer bits, predicted from gradients for all tensors and widths at once.

The rise is taken as 1/2 * sum of F * dq^2 over the elements of a tensor, where dq is what rounding adds to an element
and F the diagonal of the Fisher information: the mean over images of the squared gradient of an image's loss. It
stands for the curvature at a trained network, where the gradient itself is near zero. Sources: HAWQ-V2, arXiv
1911.03852, for the additive form; arXiv 1801.05787 for the empirical Fisher information of activations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from quantloom.errors import QuantError
from quantloom.quant.modules import Quantizer
from quantloom.quant.network import QuantizedNetwork
from quantloom.workload.network import BitAssignment

__all__ = ["FisherTable", "fisher_table"]

_IMAGES_PER_GRADIENT = 8
_SAMPLE = 512  # elements of an activation tensor that stand for all of an image's, where it has more


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FisherTable:
    """Predicted rise of the loss (nats an image) when only one tensor is quantized; rises of several tensors add up.

    bits: the widths, ascending. weights: float64 (layers, widths). groups: float64 (edge groups, widths).
    """

    bits: tuple[int, ...]
    weights: NDArray[np.float64]
    groups: NDArray[np.float64]

    def predict(self, assignment: BitAssignment) -> float:
        """Predicted rise of the loss under an assignment, in nats an image. Raises QuantError if it does not fit."""
        if (len(assignment.weights), len(assignment.groups)) != (len(self.weights), len(self.groups)):
            message = (
                f"the assignment has {len(assignment.weights)} weight and {len(assignment.groups)} activation genes,"
                f" the table {len(self.weights)} and {len(self.groups)}"
            )
            raise QuantError(message, hint="an assignment belongs to the network it was made for")
        unknown = sorted({*assignment.weights, *assignment.groups} - set(self.bits))
        if unknown:
            message = f"the table has no column for {', '.join(map(str, unknown))} bits"
            raise QuantError(message, hint=f"it has {', '.join(map(str, self.bits))}")
        columns = {bits: column for column, bits in enumerate(self.bits)}
        rises = [float(row[columns[bits]]) for row, bits in zip(self.weights, assignment.weights, strict=True)]
        rises += [float(row[columns[bits]]) for row, bits in zip(self.groups, assignment.groups, strict=True)]
        return sum(rises)


def fisher_table(network: QuantizedNetwork, images: Tensor, labels: Tensor) -> FisherTable:
    """Compute the table from one backward pass over some train images; leaves the network in float.

    network: calibrated. images: (N, *input_shape). labels: (N,). Gradients of weights are taken for a few images at
    a time, so their squares also hold products between images, which average out. Of a large activation tensor a
    random sample of elements, the same for every call, stands for all.
    Raises QuantError if the network is not calibrated, there are no images, or a gradient is not a number.
    """
    if len(images) == 0 or not network.is_calibrated:
        message = "no images to take gradients from" if len(images) == 0 else "the network has no scales yet"
        raise QuantError(message, hint="calibrate the network, and give a few dozen train images")
    network.set_float()
    network.eval()
    weight_squares = [torch.zeros_like(weights) for weights in network.weights]
    samples: list[list[tuple[Tensor, Tensor]]] = [[] for _ in network.activation_quantizers]
    draws = torch.Generator().manual_seed(0)
    with torch.enable_grad():
        for batch, batch_labels in zip(
            torch.split(images, _IMAGES_PER_GRADIENT), torch.split(labels, _IMAGES_PER_GRADIENT), strict=True
        ):
            weight_gradients, stored = _gradients(network, batch, batch_labels)
            for total, gradient in zip(weight_squares, weight_gradients, strict=True):
                total += gradient.square()
            for sample, (values, gradient) in zip(samples, stored, strict=True):
                sample.append(_sampled(values.detach(), gradient.square_(), draws))
    weight_rises = [
        _rises(quantizer, weights.detach(), squares)
        for quantizer, weights, squares in zip(network.weight_quantizers, network.weights, weight_squares, strict=True)
    ]
    edge_rises = torch.stack(
        [
            _rises(quantizer, *(torch.cat(parts) for parts in zip(*sample, strict=True)))
            for quantizer, sample in zip(network.activation_quantizers, samples, strict=True)
        ]
    )
    group_rises = [edge_rises[list(members)].sum(0) for members in network.network.edge_groups]
    table = FisherTable(
        bits=network.scheme.bits,
        weights=torch.stack(weight_rises).div(len(images)).numpy(),
        groups=torch.stack(group_rises).div(len(images)).numpy(),
    )
    if not (np.isfinite(table.weights).all() and np.isfinite(table.groups).all()):
        message = "the gradients of the loss hold NaN or infinite values"
        raise QuantError(message, hint="the checkpoint or the images are broken")
    return table


def _gradients(
    network: QuantizedNetwork, images: Tensor, labels: Tensor
) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
    """Gradients of the summed loss of all weights, and (values, gradient) of every edge's stored tensor."""
    stored: dict[nn.Module, Tensor] = {}

    def keep(quantizer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        stored[quantizer] = output

    hooks = [quantizer.register_forward_hook(keep) for quantizer in network.activation_quantizers]
    try:
        loss = functional.cross_entropy(network(images.clone().requires_grad_()), labels, reduction="sum")
    finally:
        for hook in hooks:
            hook.remove()
    values = [stored[quantizer] for quantizer in network.activation_quantizers]
    gradients = torch.autograd.grad(loss, [*network.weights, *values])
    count = len(network.weights)
    return list(gradients[:count]), list(zip(values, gradients[count:], strict=True))


def _sampled(values: Tensor, squares: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Elements (K,) of both tensors (N, ...) at the same places; the sample's squares add up as those of all would."""
    most = _SAMPLE * len(values)
    if values.numel() <= most:
        return values.reshape(-1), squares.reshape(-1)
    places = torch.randint(values.numel(), (most,), generator=draws)
    return values.take(places), squares.take(places).mul_(values.numel() / most)


def _rises(quantizer: Quantizer, values: Tensor, squares: Tensor) -> Tensor:
    """1/2 * sum of squares * dq^2 for each width, float64. squares: squared gradients, of the shape of values."""
    rises = [0.5 * ((quantizer.at(values, bits) - values).square_() * squares).sum() for bits in quantizer.bits]
    return torch.stack(rises).double()
