"""Labelled image data sets as ordinary torch datasets, split into train, validation and test.

Training and calibration see `train`, decisions of a search see `validation`, and reports use `test`, which no decision
may see. New sources are one loader function and one line in DATA_SETS.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from quantloom.errors import DataError
from quantloom.quant.idx import read_idx

__all__ = [
    "DATA_SETS",
    "FASHION_MNIST_CLASSES",
    "FASHION_MNIST_MEAN",
    "FASHION_MNIST_STD",
    "DataSplits",
    "ImageDataset",
    "first_images",
    "items_at",
    "length_of",
    "load_data",
    "load_fashion_mnist",
    "spread_images",
]

FASHION_MNIST_DIR = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts it
FASHION_MNIST_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
FASHION_MNIST_MEAN = (0.2860,)  # of the 60,000 training images, in 0..1
FASHION_MNIST_STD = (0.3530,)
_VALIDATION_SHARE = 12  # the last twelfth of the training file (5,000 of 60,000) is the validation split


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
    count = length_of(dataset)
    limit = count if limit is None else min(limit, count)
    return items_at(dataset, torch.arange(limit) * count // limit)


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
    items = [dataset[i] for i in indices.tolist()]
    shapes = {tuple(image.shape) for image, _ in items}
    if len(shapes) > 1:
        message = f"images of different shapes in one split: {', '.join(map(str, sorted(shapes)))}"
        raise DataError(message, hint="resize or crop them to one shape in the dataset's transform")
    return torch.stack([image for image, _ in items]), torch.tensor([int(label) for _, label in items])


def load_data(text: str) -> DataSplits:
    """Load a data set by "name" or "name:directory", e.g. "demo" or "fashion_mnist:/data/fashion".

    Raises DataError for an unknown name, and for missing or corrupt files.
    """
    name, colon, place = text.partition(":")
    loader = DATA_SETS.get(name)
    if loader is None:
        near = difflib.get_close_matches(name, DATA_SETS, n=1)
        known = f"known data sets: {', '.join(DATA_SETS)}"
        message = f"unknown data set `{name}`"
        raise DataError(message, hint=f"did you mean `{near[0]}`? {known}" if near else known)
    if colon and not place:
        message = f"{text}: expected a directory after the colon"
        raise DataError(message, hint=f"for example {name}:/data/{name}")
    return loader(Path(place) if place else None)


def load_fashion_mnist(directory: Path | None = None) -> DataSplits:
    """Read Fashion-MNIST (arXiv 1708.07747; MIT) from its four IDX files, each plain or with .gz appended.

    directory: default is that of the Debian package dataset-fashion-mnist. The validation split is the last twelfth
    of the training file (5,000 of 60,000 images); train is the rest. Raises DataError.
    """
    root = FASHION_MNIST_DIR if directory is None else directory
    if not root.is_dir():
        message = f"{root}: no such directory; expected the four IDX files of Fashion-MNIST in it"
        raise DataError(message, hint="apt install dataset-fashion-mnist, or give fashion_mnist:DIRECTORY")
    images, labels = _read_pair(root, "train")
    held_out = max(1, len(labels) // _VALIDATION_SHARE)
    if held_out == len(labels):
        message = f"{root}: one training image only; expected enough for a train and a validation split"
        raise DataError(message)
    test_images, test_labels = _read_pair(root, "t10k")
    return DataSplits(
        name="fashion_mnist",
        description=f"Fashion-MNIST, {root}",
        classes=FASHION_MNIST_CLASSES,
        train=fashion_images(images[:-held_out], labels[:-held_out]),
        validation=fashion_images(images[-held_out:], labels[-held_out:]),
        test=fashion_images(test_images, test_labels),
    )


def fashion_images(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> ImageDataset:
    """Fashion-MNIST images (N, 28, 28) and labels (N,) as a dataset. Raises DataError like ImageDataset."""
    return ImageDataset(
        torch.from_numpy(images).unsqueeze(1),
        torch.from_numpy(labels.astype(np.int64)),
        classes=len(FASHION_MNIST_CLASSES),
        mean=FASHION_MNIST_MEAN,
        std=FASHION_MNIST_STD,
    )


def _read_pair(root: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read the images and labels of one part ("train" or "t10k") and check that they belong together."""
    images_path = _find(root, f"{part}-images-idx3-ubyte")
    labels_path = _find(root, f"{part}-labels-idx1-ubyte")
    images = read_idx(images_path, record_shape=(28, 28))
    labels = read_idx(labels_path, record_shape=())
    if len(images) != len(labels):
        message = f"{labels_path}: {len(labels)} labels for the {len(images)} images of {images_path.name}"
        raise DataError(message, hint="the two files are not of one data set")
    if labels.max() >= len(FASHION_MNIST_CLASSES):
        message = f"{labels_path}: label {labels.max()}; expected 0..{len(FASHION_MNIST_CLASSES) - 1}"
        raise DataError(message, hint="is this the right file?")
    return images, labels


def _find(root: Path, stem: str) -> Path:
    for candidate in (root / stem, root / f"{stem}.gz"):
        if candidate.is_file():
            return candidate
    message = f"{root / stem}: no such file, with or without .gz; expected the four IDX files of Fashion-MNIST"
    raise DataError(message, hint="apt install dataset-fashion-mnist, or give fashion_mnist:DIRECTORY")


def _load_demo(directory: Path | None) -> DataSplits:
    from quantloom.demo import load_demo_data  # demo builds on this module, hence the late import

    return load_demo_data(directory)


DATA_SETS: Mapping[str, Callable[[Path | None], DataSplits]] = {
    "demo": _load_demo,
    "fashion_mnist": load_fashion_mnist,
}
