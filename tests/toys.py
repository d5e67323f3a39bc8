"""A model and a data set by name, `toys:net:input=8,channels=1` and `toys:data`: bright above or bright below."""

from __future__ import annotations

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
