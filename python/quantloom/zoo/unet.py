"""U-Net: four levels of two 3x3 convolutions on the way down and up, with transposed convolutions and skips between.

Convolutions are padded, so the map of classes has the size of the input; batch normalisation behind each. Source: arXiv
1505.04597 figure 1, in the padded form of github.com/milesial/Pytorch-UNet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantloom.errors import WorkloadError

__all__ = ["UNet"]

_LEVELS = 4


def _double(inputs: int, outputs: int) -> nn.Sequential:
    """Twice: a 3x3 convolution, batch normalisation, ReLU."""
    parts: list[nn.Module] = []
    for source in (inputs, outputs):
        parts += [nn.Conv2d(source, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*parts)


class UNet(nn.Module):
    """U-Net. Options as those of the zoo; width is a factor on the 64 channels of the first level.

    Raises WorkloadError if the input is no multiple of 16.
    """

    def __init__(self, *, width: float = 1.0, input: int = 224, classes: int = 2, channels: int = 3) -> None:
        super().__init__()
        if input % 2**_LEVELS:
            message = f"unet: option `input`: expected a multiple of {2**_LEVELS}, got {input}"
            raise WorkloadError(message, hint=f"for example input={max(1, input // 2**_LEVELS) * 2**_LEVELS}")
        base = max(1, round(64 * width))
        sizes = [base * 2**level for level in range(_LEVELS + 1)]
        self.down = nn.ModuleList(_double(a, b) for a, b in zip([channels, *sizes[:-2]], sizes[:-1], strict=True))
        self.pool = nn.MaxPool2d(2)
        self.bottom = _double(sizes[-2], sizes[-1])
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * size, size, 2, 2) for size in reversed(sizes[:-1]))
        self.join = nn.ModuleList(_double(2 * size, size) for size in reversed(sizes[:-1]))
        self.out = nn.Conv2d(base, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, channels, input, input) float. Returns the logits of every pixel, (N, classes, input, input)."""
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottom(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips), strict=True):
            x = join(torch.cat([skip, up(x)], dim=1))
        out: Tensor = self.out(x)
        return out
