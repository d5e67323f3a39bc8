"""Quantization-aware training: of one assignment, and of one set of weights for many assignments.

Weights, scales and zero points are trained together (LSQ, arXiv 1902.08153). Scales start from those of least squared
error and have no weight decay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from quantloom.errors import QuantError
from quantloom.quant.data import length_of, spread_images
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.scheme import QUANT_BITS, QuantScheme
from quantloom.quant.train import Progress, TrainConfig, Trainer
from quantloom.quant.training_state import StateFile
from quantloom.workload.from_torch import TracedModel
from quantloom.workload.network import BitAssignment, Network

__all__ = [
    "QAT_DEFAULTS",
    "SWITCHABLE_DEFAULTS",
    "check_widths",
    "quantize_for",
    "random_permutation",
    "train_bits",
    "train_switchable",
]

QAT_DEFAULTS: dict[str, Any] = {  # Any: the values have the types of TrainConfig's fields
    "batch": 128,
    "learning_rate": 0.04,
    "warmup_share": 0.05,
    "schedule": "cosine",
    "label_smoothing": 0.0,
    "distillation": 0.5,
}
"""What TrainConfig says for quantization-aware training, unless told otherwise."""

SWITCHABLE_DEFAULTS: dict[str, Any] = {**QAT_DEFAULTS, "learning_rate": 0.01, "flip": False}
"""The same for weights that a search trains for all candidates: on whatever images, so they are not mirrored."""

_CALIBRATION_IMAGES = 512
_STATISTICS_IMAGES = 2048


def quantize_for(
    traced: TracedModel,
    data: Dataset[tuple[Tensor, int]],
    assignments: Sequence[BitAssignment],
    *,
    scheme: QuantScheme | None = None,
) -> QuantizedNetwork:
    """A copy of the network with scales for the widths of these assignments, calibrated; the first is in force.

    data: train images. scheme: its widths are not used. Raises QuantError for widths that cannot be quantized to.
    """
    for assignment in assignments:
        check_widths(traced.network, assignment)
    given = QuantScheme() if scheme is None else scheme
    widths = {bits for assignment in assignments for bits in (*assignment.weights, *assignment.groups)}
    chosen = QuantScheme(bits=tuple(sorted(widths)), per_channel=given.per_channel, activations=given.activations)
    network = QuantizedNetwork(traced, chosen)
    network.calibrate(spread_images(data, min(_CALIBRATION_IMAGES, length_of(data)))[0])
    network.set_bits(assignments[0])
    return network


def train_bits(
    network: QuantizedNetwork,
    data: Dataset[tuple[Tensor, int]],
    config: TrainConfig,
    *,
    state: StateFile | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> None:
    """Train the network in place with the bits in force; the float network as it is now is the teacher.

    Afterwards its normalisation statistics are taken anew, for these bits and weights: the running ones lag behind in
    short training, and are not those of averaged weights. Raises QuantError if the network is in float, and like
    Trainer.run().
    """
    assignment = network.assignment
    if assignment is None:
        message = f"{network.network.name} computes in float"
        raise QuantError(message, hint="set the bits to train for first")
    teacher = _float_copy(network, device) if config.distillation else None
    groups = _parameter_groups(network)
    trainer = Trainer(
        network,
        data,
        config,
        groups=groups,
        after_step=network.keep_scales_positive,
        teacher=teacher,
        device=device,
    )
    trainer.run(state=state, progress=progress)
    network.learn_scales(on=False)
    _take_statistics(network, data, config.batch, trainer.device)
    network.keep_statistics()


def train_switchable(
    network: QuantizedNetwork,
    data: Dataset[tuple[Tensor, int]],
    config: TrainConfig,
    *,
    narrow: BitAssignment,
    wide: BitAssignment,
    draw: Callable[[torch.Generator], BitAssignment],
    state: StateFile | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> None:
    """Train one set of weights, and the scales of every width, for all assignments between two, in place.

    Each step runs the widest, the narrowest and a drawn assignment (the sandwich rule, arXiv 1903.05134); the float
    network as it is now teaches all of them. Statistics of a candidate must be taken anew with reestimate(). The
    network is in float afterwards. Raises QuantError like train_bits().
    """
    draws = torch.Generator().manual_seed(config.seed)

    def variants(_: int) -> Sequence[Callable[[], None]]:
        drawn = draw(draws)
        return tuple(lambda chosen=chosen: network.set_bits(chosen) for chosen in (wide, narrow, drawn))

    teacher = _float_copy(network, device) if config.distillation else None
    groups = _parameter_groups(network)
    trainer = Trainer(
        network,
        data,
        config,
        groups=groups,
        variants=variants,
        after_step=network.keep_scales_positive,
        teacher=teacher,
        generators={"bits": draws},
        device=device,
    )
    trainer.run(state=state, progress=progress)
    network.learn_scales(on=False)
    network.set_float()
    _take_statistics(network, data, config.batch, trainer.device)


def _take_statistics(
    network: QuantizedNetwork, data: Dataset[tuple[Tensor, int]], batch: int, device: torch.device
) -> None:
    images = spread_images(data, min(_STATISTICS_IMAGES, length_of(data)))[0].to(device)
    whole = len(images) // batch * batch or len(images)  # a last batch of one image has no variance
    network.reestimate(*torch.split(images[:whole], batch))


def random_permutation(
    network: Network, weights: Sequence[int], groups: Sequence[int], generator: torch.Generator
) -> BitAssignment:
    """An assignment with these widths in random places, so that all have one bit budget.

    weights: a width for each layer; groups: for each edge group.
    """
    if (len(weights), len(groups)) != (len(network.layers), len(network.edge_groups)):
        message = f"{len(weights)} and {len(groups)} widths for {network.name}"
        raise QuantError(message, hint=f"give {len(network.layers)} for weights, {len(network.edge_groups)} for edges")
    by_layer = [weights[i] for i in torch.randperm(len(weights), generator=generator).tolist()]
    by_group = [groups[i] for i in torch.randperm(len(groups), generator=generator).tolist()]
    return BitAssignment(weights=tuple(by_layer), groups=tuple(by_group))


def check_widths(network: Network, assignment: BitAssignment) -> None:
    """Raise QuantError naming every tensor whose width has no quantizer."""
    if (len(assignment.weights), len(assignment.groups)) != (len(network.layers), len(network.edge_groups)):
        return  # set_bits() says so
    wrong = [
        f"weights of {layer.name}: {bits}"
        for layer, bits in zip(network.layers, assignment.weights, strict=True)
        if bits not in QUANT_BITS
    ]
    wrong += [
        f"edge {edge.name}: {assignment.groups[edge.group]}"
        for edge in network.edges
        if assignment.groups[edge.group] not in QUANT_BITS
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        message = f"{network.name} cannot be quantized to these bits: {', '.join(wrong[:3])}{more}"
        raise QuantError(message, hint=f"use {', '.join(map(str, QUANT_BITS))}")


def _parameter_groups(network: QuantizedNetwork) -> list[dict[str, Any]]:  # Any: as torch's optimizers take them
    scales = network.learn_scales()
    known = {id(parameter) for parameter in scales}
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    return [{"params": others}, {"params": scales, "weight_decay": 0.0}]


def _float_copy(network: QuantizedNetwork, device: torch.device | None) -> nn.Module:
    teacher = copy.deepcopy(network)
    teacher.set_float()
    teacher.eval()
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    return teacher.to(device or torch.device("cpu"))
