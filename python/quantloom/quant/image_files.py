"""Images and folders of images from files; this file alone loads Pillow (extra `images`), when it is asked to."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from quantloom.errors import DataError
from quantloom.quant.fingerprint import fingerprint_of_files

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["FolderDataset", "find_classes", "read_image"]

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")  # whatever a file is named: others start programs, or unpack archives
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm"})


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image as bytes (height, width, 3). Raises DataError if it is missing or corrupt, or there is no Pillow."""
    return np.asarray(_open(path), dtype=np.uint8)


def find_classes(root: Path) -> tuple[str, ...]:
    """Names of the class folders below a directory, sorted. Raises DataError if there are none."""
    if not root.is_dir():
        message = f"{root}: no such directory; expected one folder for each class in it"
        raise DataError(message)
    names = tuple(sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not names:
        message = f"{root}: holds no folders; expected one for each class"
        raise DataError(message)
    return names


class FolderDataset(Dataset[tuple[Tensor, int]]):
    """Images of class folders, decoded when they are asked for; an item is (normalised image, label).

    files: (path, label). The shorter side is scaled to `resize` pixels and the middle of `size` x `size` cut out.
    mean, std: of each of the three channels in 0..1.
    """

    def __init__(
        self, files: list[tuple[Path, int]], *, size: int, resize: int, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> None:
        self.files = files
        self._size, self._resize = size, resize
        self._mean, self._std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

    @classmethod
    def files_of(cls, root: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
        """All images below root, sorted, with the positions of their classes. Raises DataError naming what is wrong."""
        found = find_classes(root)
        if not set(found) <= set(classes):
            extra = ", ".join(sorted(set(found) - set(classes))[:3])
            message = f"{root}: has the class folders {extra}, which the train folder does not have"
            raise DataError(message, hint="all splits must have the same classes")
        files = []
        for label, name in enumerate(classes):
            folder = root / name
            images = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES) if folder.is_dir() else []
            files += [(path, label) for path in images]
        if not files:
            message = f"{root}: no images in its class folders"
            raise DataError(message, hint=f"images end in {', '.join(sorted(_SUFFIXES))}")
        return files

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def fingerprint(self) -> str:
        """SHA-256 of the files' names, sizes and times of change, their labels and how they are scaled."""
        look = f"{self._size} {self._resize} {self._mean.tolist()} {self._std.tolist()}"
        found = hashlib.sha256(f"{look} {[label for _, label in self.files]}".encode())
        found.update(fingerprint_of_files(path for path, _ in self.files).encode())
        return found.hexdigest()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The normalised image (3, size, size), float32, and its label. Raises DataError naming a corrupt file."""
        path, label = self.files[index]
        image = _open(path)
        scale = self._resize / min(image.size)
        width, height = (max(self._size, round(side * scale)) for side in image.size)
        left, top = (width - self._size) // 2, (height - self._size) // 2
        scaled = image.resize((width, height), _bilinear()).crop((left, top, left + self._size, top + self._size))
        pixels = torch.from_numpy(np.array(scaled, dtype=np.uint8)).permute(2, 0, 1)
        return (pixels.float() / 255 - self._mean) / self._std, label


def _open(path: Path) -> Image.Image:
    try:
        from PIL import Image
    except ImportError as error:
        message = f"{path}: reading images needs Pillow"
        raise DataError(message, hint='pip install "quantloom[images]"') from error
    if not path.is_file():
        message = f"{path}: no such file; expected an image"
        raise DataError(message)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            converted: Image.Image = image.convert("RGB")
            return converted
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        message = f"{path}: corrupt image: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise DataError(message, hint="the file is damaged or incomplete: fetch it again, or remove it") from error


def _bilinear() -> int:
    from PIL import Image

    return Image.Resampling.BILINEAR
