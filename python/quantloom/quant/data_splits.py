"""Labelled image data sets as ordinary torch datasets, and a data set in three parts.

Training and calibration see `train`, decisions of a search see `validation`, and reports use `test`, which no decision
may see.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from quantloom.errors import DataError

__all__ = ["DataSplits", "ImageDataset", "first_images", "items_at", "length_of", "spread_images", "spread_subset"]


class ImageDataset(Dataset[tuple[Tensor, int]]):
    """Images of one size held in memory as bytes; an item is (normalised image, label).

    images: (N, channels, height, width) uint8. labels: (N,) int64 in 0..classes-1.
    mean, std: of each channel in 0..1; an item's image is (bytes / 255 - mean) / std as float32.
    Raises DataError if the shapes, types or labels disagree.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, *, classes: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != len(mean) or len(mean) != len(std):
            message = f"expected uint8 images (N, {len(mean)}, H, W), got {images.dtype} {tuple(images.shape)}"
            raise DataError(message)
        if labels.shape != images.shape[:1] or len(labels) == 0:
            message = f"{len(images)} images but labels of shape {tuple(labels.shape)}; expected one label an image"
            raise DataError(message)
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= classes:
            message = f"labels lie in {low}..{high}; expected 0..{classes - 1}"
            raise DataError(message)
        self.images = images
        self.labels = labels.to(torch.int64)
        self.classes = classes
        self.mean = torch.tensor(mean).view(-1, 1, 1)
        self.std = torch.tensor(std).view(-1, 1, 1)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The normalised image (channels, height, width) and its label."""
        return self.normalise(self.images[index]), int(self.labels[index])

    def normalise(self, images: Tensor) -> Tensor:
        """Turn bytes (..., channels, height, width) into what the network reads: float32 of the same shape."""
        return (images.to(torch.float32) / 255 - self.mean) / self.std

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Normalised images (N, channels, height, width) and labels (N,) at some indices, without a Python loop."""
        return self.normalise(self.images[indices]), self.labels[indices]

    def fingerprint(self) -> str:
        """SHA-256 of bytes, labels and normalisation, as hexadecimal digits."""
        found = hashlib.sha256(f"{tuple(self.images.shape)} {self.mean.tolist()} {self.std.tolist()}".encode())
        found.update(self.images.contiguous().numpy().data)
        found.update(self.labels.contiguous().numpy().data)
        return found.hexdigest()

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: (channels, height, width)."""
        return tuple(self.images.shape[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSplits:
    """A data set in three disjoint parts. classes: their names, by label. description: one line for reports."""

    name: str
    description: str
    classes: tuple[str, ...]
    train: Dataset[tuple[Tensor, int]]
    validation: Dataset[tuple[Tensor, int]]
    test: Dataset[tuple[Tensor, int]]


def first_images(dataset: Dataset[tuple[Tensor, int]], limit: int | None = None) -> tuple[Tensor, Tensor]:
    """The first `limit` items of any map-style dataset (None: all) as tensors: (N, C, H, W) float32 and (N,) int64.

    Raises DataError if the dataset is empty or its images differ in shape.
    """
    count = length_of(dataset)
    return items_at(dataset, torch.arange(count if limit is None else min(limit, count)))


def spread_images(dataset: Dataset[tuple[Tensor, int]], limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Like first_images(), but evenly spread over the dataset, so that one sorted by class is seen whole."""
    return items_at(dataset, _spread(length_of(dataset), limit))


def spread_subset(dataset: Dataset[tuple[Tensor, int]], limit: int | None = None) -> Dataset[tuple[Tensor, int]]:
    """The items of spread_images() as a dataset. Raises DataError if the dataset is empty."""
    return Subset(dataset, _spread(length_of(dataset), limit).tolist())


def _spread(count: int, limit: int | None) -> Tensor:
    limit = count if limit is None else min(limit, count)
    return torch.arange(limit) * count // limit


def length_of(dataset: Dataset[tuple[Tensor, int]]) -> int:
    """Number of items of a map-style dataset. Raises DataError if there are none."""
    length = len(cast("Any", dataset))  # torch's Dataset does not declare __len__; a map-style one has it
    if length == 0:
        message = "the data set is empty; expected at least one image"
        raise DataError(message)
    return length


def items_at(dataset: Dataset[tuple[Tensor, int]], indices: Tensor) -> tuple[Tensor, Tensor]:
    """The items at some indices (K,) as tensors: (K, C, H, W) float32 and (K,) int64. Raises DataError."""
    if isinstance(dataset, ImageDataset):
        return dataset.batch(indices)
    if isinstance(dataset, Subset):
        return items_at(dataset.dataset, torch.tensor([dataset.indices[i] for i in indices.tolist()]))
    items = [dataset[i] for i in indices.tolist()]
    shapes = {tuple(image.shape) for image, _ in items}
    if len(shapes) > 1:
        message = f"images of different shapes in one split: {', '.join(map(str, sorted(shapes)))}"
        raise DataError(message, hint="resize or crop them to one shape in the dataset's transform")
    return torch.stack([image for image, _ in items]), torch.tensor([int(label) for _, label in items])
