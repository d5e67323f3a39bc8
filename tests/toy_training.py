"""A task small enough to train in a test: bright above or bright below, two classes that survive mirroring."""

from __future__ import annotations

import torch
from torch import nn

from quantloom.quant.data import ImageDataset
from quantloom.quant.qat import QAT_DEFAULTS, quantize_for, train_bits
from quantloom.quant.train import TrainConfig
from quantloom.quant.training_state import StateFile
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment


def toy_data(count: int = 256) -> ImageDataset:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (count,), generator=generator)
    images = torch.randint(0, 100, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
    for half in (0, 1):
        images[labels == half, :, 4 * half : 4 * half + 4] += 60
    return ImageDataset(images, labels, classes=2, mean=(0.3,), std=(0.2,))


def toy_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(72, 2),
    )


def toy_example() -> tuple[nn.Module, torch.Tensor]:
    """The net with an example input, as a user's function gives them."""
    return toy_net(), torch.zeros(1, 1, 8, 8)


def toy_splits() -> dict[str, object]:
    """Data as a user's function gives them."""
    part = toy_data(160)
    return {"train": part, "validation": part, "test": part, "classes": ("up", "down")}


def toy_config(**changes) -> TrainConfig:
    return TrainConfig(**{**QAT_DEFAULTS, "epochs": 3, "batch": 32, "crop": 1, "ema_decay": 0.9, **changes})


def toy_quantized(bits: int = 3):
    traced = trace(toy_net(), (1, 8, 8))
    torch.manual_seed(1)  # dropout draws from the global state
    return quantize_for(traced, toy_data(), [BitAssignment.uniform(traced.network, bits)])


def train_toy(path=None, progress=None):
    """Train three bits for 24 steps, with the state of every step kept at path. Returns the network."""
    network = toy_quantized()
    state = None if path is None else StateFile(path, every_steps=1)
    train_bits(network, toy_data(), toy_config(), state=state, progress=progress)
    return network
