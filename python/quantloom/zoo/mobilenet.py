"""MobileNetV1 and MobileNetV2 as plain torch modules: Conv2d, BatchNorm2d, ReLU6, Linear, a pooling and `+`.

Two forms of each, chosen by the input size (`input`, in pixels):

=========== ========================= =========================================================================
form        stride                    strided layers (stride 2)
=========== ========================= =========================================================================
input > 64  32 in both                V1: stem, blocks 2, 4, 6, 12; V2: stem, first block of stages 2, 3, 4, 6
input <= 64 16 in V1, 8 in V2         V1: as above but the stem has stride 1; V2: the stem and stage 2 have stride 1
=========== ========================= =========================================================================

All 3x3 convolutions are padded by 1 on each side, so a stride of 2 rounds the size up. Sources: V1 arXiv 1704.04861
table 1; V2 arXiv 1801.04381 table 2, with the module names of torchvision ("features.1.conv.0.0", "classifier.1");
the small forms are those of github.com/kuangliu/pytorch-cifar (mobilenet.py, mobilenetv2.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SMALL_INPUT", "ConvNormAct", "InvertedResidual", "MobileNetV1", "MobileNetV2", "round_channels"]

SMALL_INPUT = 64  # pixels; inputs up to this size get the form with fewer strided layers

# (output channels at width 1, stride) of the 13 depthwise-separable blocks.
_V1_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip
# (expansion, output channels at width 1, blocks, stride of the first block) of the 7 stages.
_V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _v1_channels(channels: int, width: float) -> int:
    """Scale a channel count: truncated, at least 8 (the rule of TensorFlow's mobilenet_v1.py, min_depth = 8)."""
    return max(8, int(channels * width))


def round_channels(channels: float) -> int:
    """Round to the nearest multiple of 8, at least 8, never below 90 % (the `_make_divisible` of the authors)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNormAct(nn.Sequential):
    """A bias-free convolution padded to keep the size, batch normalisation, ReLU6 (children "0", "1", "2")."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(),
        )


class DepthwiseSeparable(nn.Module):
    """MobileNetV1's block: a 3x3 depthwise and a 1x1 pointwise convolution, each normalised and rectified."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(inputs, inputs, kernel=3, stride=stride, groups=inputs)
        self.pointwise = ConvNormAct(inputs, outputs, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W). Returns (N, outputs, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.pointwise(self.depthwise(x))
        return out


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand (expansion 1: not), depthwise, linear bottleneck, residual if shapes agree."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int, kernel: int = 3) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [] if expansion == 1 else [ConvNormAct(inputs, hidden, kernel=1)]
        self.conv = nn.Sequential(
            *expand,
            ConvNormAct(hidden, hidden, kernel=kernel, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.has_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, inputs, H, W). Returns (N, outputs, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.conv(x)
        return x + out if self.has_residual else out


class MobileNetV1(nn.Module):
    """MobileNetV1: a strided stem, 13 depthwise-separable blocks, average pooling, one linear layer.

    width: factor on every channel count. input: height and width in pixels (only chooses the form, see the module).
    """

    def __init__(self, *, width: float = 1.0, input: int = 224, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        current = _v1_channels(32, width)
        blocks: list[nn.Module] = [
            ConvNormAct(channels, current, kernel=3, stride=1 if input <= SMALL_INPUT else 2),
        ]
        for base, stride in _V1_BLOCKS:
            outputs = _v1_channels(base, width)
            blocks.append(DepthwiseSeparable(current, outputs, stride=stride))
            current = outputs
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(current, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, input, input) float. Returns the logits, (N, classes)."""
        out: Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return out


class MobileNetV2(nn.Module):
    """MobileNetV2: a strided stem, 17 inverted residuals, a wide 1x1 layer, average pooling, one linear layer.

    width: factor on every channel count (never narrows the last 1x1 layer below 1280). input: height and width in
    pixels (only chooses the form, see the module).
    """

    def __init__(self, *, width: float = 1.0, input: int = 224, classes: int = 1000, channels: int = 3) -> None:
        super().__init__()
        is_small = input <= SMALL_INPUT
        current = round_channels(32 * width)
        blocks: list[nn.Module] = [ConvNormAct(channels, current, kernel=3, stride=1 if is_small else 2)]
        for stage, (expansion, base, repeats, stage_stride) in enumerate(_V2_STAGES, start=1):
            outputs = round_channels(base * width)
            for repeat in range(repeats):
                stride = stage_stride if repeat == 0 and not (is_small and stage == 2) else 1
                blocks.append(InvertedResidual(current, outputs, stride=stride, expansion=expansion))
                current = outputs
        last = round_channels(1280 * max(1.0, width))
        blocks.append(ConvNormAct(current, last, kernel=1))
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, input, input) float. Returns the logits, (N, classes)."""
        out: Tensor = self.classifier(torch.flatten(self.pool(self.features(x)), 1))
        return out


def _initialise(model: nn.Module) -> None:
    """Draw fresh weights from torch's global generator: He normal by fan-out, small normal for the linear layer."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
            nn.init.zeros_(module.bias)
