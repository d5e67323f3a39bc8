"""MobileNetV3 small and large as plain torch modules, with the module names of torchvision ("features.1.block.0.0").

Inputs up to 64 pixels get a stem without stride. Sources: arXiv 1905.02244 tables 1 and 2; as in torchvision's
mobilenetv3.py the squeeze is a quarter of the expansion, rounded to a multiple of 8.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantloom.zoo.mobilenet import SMALL_INPUT, round_channels

__all__ = ["MobileNetV3"]

# (kernel, expanded channels, output channels, squeeze and excitation, hard swish instead of ReLU, stride)
_LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1),
)  # fmt: skip
_SMALL = (
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1),
)  # fmt: skip


def _conv(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, act: type[nn.Module] | None
) -> nn.Sequential:
    """A bias-free convolution padded to keep the size, batch normalisation, and an activation if one is given."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs, eps=0.001, momentum=0.01)
    return nn.Sequential(conv, norm, *([] if act is None else [act()]))


class SqueezeExcitation(nn.Module):
    """Channels scaled by what two 1x1 convolutions make of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = round_channels(channels / 4)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.activation, self.scale_activation = nn.ReLU(), nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, H, W). Returns the same shape."""
        scale: Tensor = self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))
        return scale * x


class _Block(nn.Module):
    """Expand (if it widens), depthwise, squeeze and excitation if asked for, project; residual if shapes agree."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, hidden: int, squeezes: bool, swishes: bool, stride: int
    ) -> None:
        super().__init__()
        act = nn.Hardswish if swishes else nn.ReLU
        self.block = nn.Sequential(
            *([] if hidden == inputs else [_conv(inputs, hidden, 1, act=act)]),
            _conv(hidden, hidden, kernel, stride=stride, groups=hidden, act=act),
            *([SqueezeExcitation(hidden)] if squeezes else []),
            _conv(hidden, outputs, 1, act=None),
        )
        self.has_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W). Returns (N, outputs, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.block(x)
        return x + out if self.has_residual else out


class MobileNetV3(nn.Module):
    """MobileNetV3 large or small. Options as those of the zoo; width is a factor on every channel count."""

    def __init__(
        self, size: str, *, width: float = 1.0, input: int = 224, classes: int = 1000, channels: int = 3
    ) -> None:
        super().__init__()
        current = round_channels(16 * width)
        stem = _conv(channels, current, 3, stride=1 if input <= SMALL_INPUT else 2, act=nn.Hardswish)
        blocks: list[nn.Module] = [stem]
        for kernel, expanded, outputs, squeezes, swishes, stride in _LARGE if size == "large" else _SMALL:
            wide, hidden = round_channels(outputs * width), round_channels(expanded * width)
            blocks.append(
                _Block(
                    current,
                    wide,
                    kernel=kernel,
                    hidden=hidden,
                    squeezes=bool(squeezes),
                    swishes=bool(swishes),
                    stride=stride,
                )
            )
            current = wide
        blocks.append(_conv(current, 6 * current, 1, act=nn.Hardswish))
        last = round_channels((1280 if size == "large" else 1024) * width)
        self.features = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * current, last), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(last, classes)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, input, input) float. Returns the logits, (N, classes)."""
        out: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
        return out
