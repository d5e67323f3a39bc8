"""Models and a data set by name, `toys:net:input=8,channels=1` and `toys:data`: bright above or bright below."""

from __future__ import annotations

import torch
from torch import nn

from quantloom.quant.data import DataSplits
from toy_training import toy_data, toy_net


def net() -> nn.Module:
    return toy_net()


def data() -> DataSplits:
    return DataSplits(
        name="toy",
        description="bright above or below",
        classes=("above", "below"),
        train=toy_data(256),
        validation=toy_data(64),
        test=toy_data(96),
    )


def depthwise_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Conv2d(16, 16, 3, groups=16, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Flatten(),
        nn.Linear(144, 2),
    )


def colour_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU6(), nn.Flatten(), nn.Linear(36, 2))
