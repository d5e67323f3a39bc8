"""EfficientNet-Lite0: MobileNetV2's blocks with kernels of 3 and 5, ReLU6 and no squeeze and excitation.

Inputs up to 64 pixels get a stem without stride. Source: EfficientNet-B0 of arXiv 1905.11946 table 1 with the changes
of github.com/tensorflow/tpu (efficientnet/lite): fixed stem and head, ReLU6, no squeeze and excitation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantloom.zoo.mobilenet import SMALL_INPUT, ConvNormAct, InvertedResidual, round_channels

__all__ = ["EfficientNetLite0"]

# (expansion, kernel, output channels at width 1, blocks, stride of the first block) of the 7 stages.
_STAGES = (
    (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1), (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)  # fmt: skip


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0. Options as those of the zoo; width leaves stem and head as they are."""

    def __init__(self, *, width: float = 1.0, input: int = 224, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        current = 32
        blocks: list[nn.Module] = [ConvNormAct(channels, current, kernel=3, stride=1 if input <= SMALL_INPUT else 2)]
        for expansion, kernel, base, repeats, first_stride in _STAGES:
            outputs = round_channels(base * width)
            for repeat in range(repeats):
                stride = 1 if repeat else first_stride
                blocks.append(InvertedResidual(current, outputs, stride=stride, expansion=expansion, kernel=kernel))
                current = outputs
        blocks.append(ConvNormAct(current, 1280, kernel=1))
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, input, input) float. Returns the logits, (N, classes)."""
        out: Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return out
