"""Random changes to training images that leave their labels right."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["augment"]


_STRETCH = 4 / 3  # a part that is cut out is up to so much wider or higher than the image's shape asks for


def augment(images: Tensor, generator: torch.Generator, *, flip: bool, crop: int, resized_crop: float = 1.0) -> Tensor:
    """Cut a part out of each image (N, C, H, W) and scale it up, shift it by up to `crop` pixels, then mirror half of
    them if `flip`.

    resized_crop: the least share of an image's area that is cut out, as for Inception (arXiv 1409.4842, section 6);
    1 leaves it whole. What is shifted in is 0. Other shapes are left as they are.
    """
    if images.ndim != 4:
        return images
    if resized_crop < 1:
        images = _cut_out(images, generator, resized_crop)
    if crop:
        images = _shift_some(images, generator, crop)
    if flip:
        is_flipped = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        images = torch.where(is_flipped, images.flip(3), images)
    return images


def _cut_out(images: Tensor, generator: torch.Generator, least: float) -> Tensor:
    """A random part of each image: its area in least..1, its shape stretched by 3/4..4/3, its place anywhere."""
    count = len(images)
    area, stretch, left, top = torch.rand(4, count, generator=generator)
    area = least + (1 - least) * area
    root = _STRETCH ** (stretch - 0.5)  # square root of the ratio of width and height
    width, height = ((area.sqrt() * side).clamp(max=1.0) for side in (root, 1 / root))
    grid = torch.zeros(count, 2, 3)  # coordinates of a part in those of the image, both -1..1
    grid[:, 0, 0], grid[:, 1, 1] = width, height
    grid[:, 0, 2], grid[:, 1, 2] = (1 - width) * (2 * left - 1), (1 - height) * (2 * top - 1)
    places = functional.affine_grid(grid, list(images.shape), align_corners=False).to(images)
    return functional.grid_sample(images, places, padding_mode="border", align_corners=False)


def _shift_some(images: Tensor, generator: torch.Generator, most: int) -> Tensor:
    count, _, height, width = images.shape
    padded = functional.pad(images, (most,) * 4)
    starts = torch.randint(0, 2 * most + 1, (2, count, 1, 1), generator=generator)
    rows = starts[0] + torch.arange(height).view(1, -1, 1)
    columns = starts[1] + torch.arange(width).view(1, 1, -1)
    return padded[torch.arange(count).view(-1, 1, 1), :, rows, columns].permute(0, 3, 1, 2)
