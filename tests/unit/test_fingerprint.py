"""What tells one set of data from another: every byte of those in memory, names, sizes and times of those in files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from quantloom.quant.data import DataSplits, ImageDataset, load_data
from quantloom.quant.fingerprint import fingerprint_of

SPLITS = ("train", "validation", "test")


def in_memory(images: torch.Tensor, labels: torch.Tensor, mean: float = 0.5) -> DataSplits:
    split = ImageDataset(images, labels, classes=2, mean=(mean,), std=(0.25,))
    return DataSplits(name="x", description="x", classes=("a", "b"), train=split, validation=split, test=split)


def folder(root: Path) -> DataSplits:
    draw = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = draw.integers(256, size=(10, 10, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return load_data(f"folder:{root},size=8")


def test_of_images_in_memory_every_byte_label_and_split_counts() -> None:
    images = torch.arange(32, dtype=torch.uint8).view(2, 1, 4, 4)
    labels = torch.tensor([0, 1])
    data = in_memory(images, labels)
    assert fingerprint_of(data) == fingerprint_of(in_memory(images.clone(), labels.clone()))
    other = images.clone()
    other[1, 0, 3, 3] ^= 1
    changed = [
        in_memory(other, labels),
        in_memory(images, labels.flip(0)),
        in_memory(images, labels, mean=0.4),
        in_memory(images.view(2, 1, 2, 8), labels),
        replace(data, test=in_memory(other, labels).test),
        replace(data, description="y"),
    ]
    found = [fingerprint_of(one) for one in (data, *changed)]
    assert None not in found
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_of_images_in_files_a_replaced_one_counts(tmp_path: Path, split: str) -> None:
    before = fingerprint_of(folder(tmp_path))
    spec = f"folder:{tmp_path},size=8"
    assert before == fingerprint_of(load_data(spec))
    assert fingerprint_of(load_data(f"folder:{tmp_path},size=9")) != before
    image = tmp_path / split / "dog" / "1.png"
    kept = image.stat()
    image.write_bytes(image.read_bytes())
    os.utime(image, ns=(kept.st_atime_ns, kept.st_mtime_ns + 1))
    assert fingerprint_of(load_data(spec)) != before
    os.utime(image, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert fingerprint_of(load_data(spec)) == before
    image.write_bytes(image.read_bytes() + b"\0")
    os.utime(image, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert fingerprint_of(load_data(spec)) != before


@pytest.mark.parametrize("split", SPLITS)
def test_of_other_datasets_nothing_is_known(split: str) -> None:
    data = in_memory(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    unknown = TensorDataset(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]))
    assert fingerprint_of(replace(data, **{split: unknown})) is None
