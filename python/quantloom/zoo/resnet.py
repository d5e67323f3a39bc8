"""ResNet-18 and ResNet-50 as plain torch modules, with the module names of torchvision ("layer2.0.conv1", "fc").

Inputs up to 64 pixels get the form for small images: a 3x3 stem without stride and pooling. Sources: arXiv 1512.03385
table 1, with the stride of a bottleneck in its 3x3 convolution as in torchvision's resnet.py; the small form is that of
github.com/kuangliu/pytorch-cifar (resnet.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ResNet"]

SMALL_INPUT = 64  # pixels; inputs up to this size get the form for small images

_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


class _Basic(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W). Returns (N, width, ceil(H / stride), ceil(W / stride))."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return out


class _Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up beside a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, width * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W). Returns (N, 4 * width, ceil(H / stride), ceil(W / stride))."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        out: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return out


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A ResNet of 18 or 50 layers. Options as those of the zoo; width is a factor on every channel count."""

    def __init__(
        self, layers: int, *, width: float = 1.0, input: int = 224, classes: int = 1000, channels: int = 3
    ) -> None:
        super().__init__()
        block: type[_Basic | _Bottleneck] = _Bottleneck if layers == 50 else _Basic
        current = max(1, round(64 * width))
        is_small = input <= SMALL_INPUT
        stem = (3, 1, 1) if is_small else (7, 2, 3)
        self.conv1 = nn.Conv2d(channels, current, *stem, bias=False)
        self.bn1 = nn.BatchNorm2d(current)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if is_small else nn.MaxPool2d(3, 2, 1)
        for stage, repeats in enumerate(_BLOCKS[layers]):
            inner = max(1, round(64 * 2**stage * width))
            blocks = []
            for repeat in range(repeats):
                blocks.append(block(current, inner, stride=2 if stage and not repeat else 1))
                current = inner * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(current, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, input, input) float. Returns the logits, (N, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        out: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return out
