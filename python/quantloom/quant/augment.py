"""Random changes to training images that leave their labels right."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["augment"]


def augment(images: Tensor, generator: torch.Generator, *, flip: bool, crop: int) -> Tensor:
    """Shift each image (N, C, H, W) by up to `crop` pixels, then mirror it with probability one half if `flip`.

    What is shifted in is 0. Other shapes are left as they are.
    """
    if images.ndim != 4:
        return images
    if crop:
        images = _shift_some(images, generator, crop)
    if flip:
        is_flipped = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        images = torch.where(is_flipped, images.flip(3), images)
    return images


def _shift_some(images: Tensor, generator: torch.Generator, most: int) -> Tensor:
    count, _, height, width = images.shape
    padded = functional.pad(images, (most,) * 4)
    starts = torch.randint(0, 2 * most + 1, (2, count, 1, 1), generator=generator)
    rows = starts[0] + torch.arange(height).view(1, -1, 1)
    columns = starts[1] + torch.arange(width).view(1, 1, -1)
    return padded[torch.arange(count).view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2)
