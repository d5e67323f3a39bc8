"""The embedded demo: a small MobileNetV1 with trained weights and a subset of Fashion-MNIST, inside the package.

Importing this module does not load torch; load_demo() does. README.md beside it says where everything comes from.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantloom.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from quantloom.quant.data import DataSplits, ImageDataset

__all__ = ["DEMO_MODEL", "Demo", "load_demo", "load_demo_data"]

DEMO_MODEL = "mobilenet_v1:width=0.25,input=28,classes=10,channels=1"
DEMO_DIR = Path(__file__).parent
DATA_FILE = "fashion_mnist_subset.npz"
CHECKPOINT_FILE = "mobilenet_v1_025_fashion_mnist.pt"
MANIFEST_FILE = "manifest.json"
SPLIT_NAMES = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the demo works on. model: the text that parse_model() reads; module: it, with trained weights."""

    model: str
    module: nn.Module
    data: DataSplits
    description: str


def load_demo() -> Demo:
    """Load the demo's network, weights and data. Raises DataError or QuantError if its files are damaged."""
    from quantloom import zoo
    from quantloom.quant.checkpoint import load_checkpoint

    spec = zoo.parse_model(DEMO_MODEL)
    module = zoo.build(spec.name, **spec.options)
    load_checkpoint(DEMO_DIR / CHECKPOINT_FILE, module)
    module.eval()
    data = load_demo_data()
    description = f"{DEMO_MODEL} trained on Fashion-MNIST; {data.description}"
    return Demo(model=DEMO_MODEL, module=module, data=data, description=description)


def load_demo_data(directory: Path | None = None) -> DataSplits:
    """Load the subset of Fashion-MNIST. directory: where DATA_FILE lies, default this package. Raises DataError."""
    import numpy as np

    from quantloom.quant.data import FASHION_MNIST_CLASSES, DataSplits

    path = (DEMO_DIR if directory is None else directory) / DATA_FILE
    hint = "reinstall quantloom, or make the file again as demo/README.md says"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            splits = {name: _split(arrays[f"{name}_images"], arrays[f"{name}_labels"]) for name in SPLIT_NAMES}
    except DataError as error:
        message = f"{path}: {error.message}"
        raise DataError(message, hint=hint) from error
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        message = f"{path}: cannot read the demo data: {error}"
        raise DataError(message, hint=hint) from error
    counts = ", ".join(f"{len(splits[name].labels):,} {name}" for name in SPLIT_NAMES)
    return DataSplits(
        name="demo",
        description=f"subset of Fashion-MNIST with {counts} images",
        classes=FASHION_MNIST_CLASSES,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
    )


def _split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> ImageDataset:
    from quantloom.quant.data import fashion_images

    if images.shape[1:] != (28, 28) or images.dtype != "uint8" or labels.dtype != "uint8":
        message = f"images {images.dtype} {images.shape}, labels {labels.dtype}; expected uint8 (N, 28, 28) and uint8"
        raise DataError(message)
    return fashion_images(images, labels)
