"""Data sets by name, split into train, validation and test: a new source is one loader and one line in DATA_SETS."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from quantloom.errors import DataError
from quantloom.quant.data_files import load_cifar10, load_folder, load_function
from quantloom.quant.data_splits import (
    DataSplits,
    ImageDataset,
    first_images,
    items_at,
    length_of,
    spread_images,
    spread_subset,
)
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
    "spread_subset",
]

FASHION_MNIST_DIR = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package dataset-fashion-mnist puts it
FASHION_MNIST_CLASSES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
FASHION_MNIST_MEAN = (0.2860,)  # of the 60,000 training images, in 0..1
FASHION_MNIST_STD = (0.3530,)
_VALIDATION_SHARE = 12  # the last twelfth of the training file (5,000 of 60,000) is the validation split


def load_data(text: str) -> DataSplits:
    """Load a data set by "name", "name:directory", e.g. "fashion_mnist:/data/fashion", or "package.module:function".

    Raises DataError for an unknown name, and for missing or corrupt files.
    """
    name, colon, place = text.partition(":")
    loader = DATA_SETS.get(name)
    if loader is None and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        return load_function(name, place)
    if loader is None:
        near = difflib.get_close_matches(name, DATA_SETS, n=1)
        known = f"known data sets: {', '.join(DATA_SETS)}; or package.module:function of your own"
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
    "cifar10": load_cifar10,
    "folder": load_folder,
}
