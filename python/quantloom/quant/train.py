"""Training of a float network, and a phase with random bit-widths that makes it robust to quantization.

Both phases minimise cross-entropy by SGD with Nesterov momentum under a one-cycle learning rate (arXiv 1708.07120).
In the second, every tensor is fake-quantized to a width drawn anew for each step, so that one set of weights works at
all widths, as in switchable-precision networks (e.g. arXiv 1912.09666); its result is still a float checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantloom.errors import QuantError
from quantloom.quant.data import ImageDataset
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import TracedModel
from quantloom.workload.network import BitAssignment, Network

__all__ = ["Progress", "TrainConfig", "random_assignment", "train_float", "train_random_bits"]

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in total, text)."""

_CALIBRATION_IMAGES = 512
_STATISTICS_BATCHES = 16  # of TrainConfig.batch images, for the statistics of the final float network
_RECALIBRATIONS_PER_EPOCH = 2  # scales follow the weights as they move
_NOISE_BITS = (2, 3, 4, 5, 6, 7, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training phase. Raises QuantError for values that cannot work.

    epochs: passes over the data; the last incomplete batch of each is left out. learning_rate: the cycle's peak.
    warmup_share: share of the steps before the peak. seed: of data order, augmentation and random bits.
    """

    epochs: int
    batch: int = 256
    learning_rate: float = 0.3
    warmup_share: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or not self.learning_rate > 0:
            message = f"epochs {self.epochs}, batch {self.batch}, learning rate {self.learning_rate}: too small"
            raise QuantError(message, hint="at least 1 epoch, 2 images a batch and a positive learning rate")


def train_float(
    module: nn.Module, data: ImageDataset, config: TrainConfig, *, progress: Progress | None = None
) -> None:
    """Train a module in place. Raises QuantError if the loss stops being a number or the data is too small."""
    _train(module, data, config, progress=progress)


def train_random_bits(
    traced: TracedModel, data: ImageDataset, config: TrainConfig, *, progress: Progress | None = None
) -> None:
    """Go on training the traced module's weights, in place, with random bits at each step; see random_assignment().

    Afterwards the module is float again, with normalisation statistics taken in float on training images.
    Raises QuantError like train_float().
    """
    network = QuantizedNetwork(traced, QuantScheme(bits=_NOISE_BITS), share_parameters=True)
    draws = torch.Generator().manual_seed(config.seed)
    calibration_images, _ = data.batch(slice(_CALIBRATION_IMAGES))
    period = max(1, len(data) // config.batch // _RECALIBRATIONS_PER_EPOCH)

    def before_step(step: int) -> None:
        if step % period == 0:
            network.set_float()
            network.reestimate(calibration_images)
            network.calibrate(calibration_images)
        network.set_bits(random_assignment(traced.network, draws))

    _train(network, data, config, before_step=before_step, progress=progress)
    network.set_float()
    batches = min(_STATISTICS_BATCHES, len(data) // config.batch)
    network.reestimate(*(data.batch(slice(i * config.batch, (i + 1) * config.batch))[0] for i in range(batches)))


def random_assignment(network: Network, generator: torch.Generator) -> BitAssignment:
    """Draw bits for a training step: one width in 2..8 for the network, and each tensor one off it at most."""
    lowest, highest = _NOISE_BITS[0], _NOISE_BITS[-1]
    centre = int(torch.randint(lowest, highest + 1, (), generator=generator))
    layers, groups = len(network.layers), len(network.edge_groups)
    bits = (centre + torch.randint(-1, 2, (layers + groups,), generator=generator)).clamp_(lowest, highest).tolist()
    return BitAssignment(weights=tuple(bits[:layers]), groups=tuple(bits[layers:]))


def _train(
    model: nn.Module,
    data: ImageDataset,
    config: TrainConfig,
    *,
    before_step: Callable[[int], None] | None = None,
    progress: Progress | None,
) -> None:
    steps_per_epoch = len(data) // config.batch
    steps = config.epochs * steps_per_epoch
    if steps_per_epoch == 0:
        message = f"{len(data)} training images do not fill one batch of {config.batch}"
        raise QuantError(message, hint="use more images or a smaller batch")
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps, pct_start=config.warmup_share
    )
    step = 0
    for epoch in range(config.epochs):
        order = torch.randperm(len(data), generator=generator)[: steps_per_epoch * config.batch]
        for indices in order.view(steps_per_epoch, config.batch):
            if before_step is not None:
                before_step(step)
            model.train()
            images, labels = data.batch(indices)
            logits = model(_flip_some(images, generator).to(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
            value = float(loss.detach())
            if not math.isfinite(value):
                message = f"the loss is {value} in step {step + 1} of {steps}"
                raise QuantError(message, hint="use a lower learning rate")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            step += 1
            if progress is not None:
                progress(step, steps, f"epoch {epoch + 1} of {config.epochs}, loss {value:.3f}")
    model.eval()


def _flip_some(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image (N, C, H, W) left to right with probability one half."""
    is_flipped = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    return torch.where(is_flipped, images.flip(3), images)
