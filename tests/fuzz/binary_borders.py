"""The borders where bytes come in: data sets, weights and the store. Their inputs are bytes as texts of latin-1."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as safe_bytes
from tests.fuzz.borders import TEXT_BORDERS, Border
from tests.fuzz.mutate import changed_bytes
from tests.tflite_files import node, tflite_bytes

from quantloom.errors import DataError, QuantError, QuantloomError, StoreError
from quantloom.quant.checkpoint import load_checkpoint
from quantloom.quant.data_files import _read_binary, _read_sheet
from quantloom.quant.idx import read_idx
from quantloom.quant.image_files import read_image
from quantloom.store.database import Record, Store
from quantloom.workload.load import load_network

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP")
STORED = {f"key{i}": {"number": i + 0.1, "text": "x" * 40} for i in range(40)}


def change(text: str, rng: Random, others: list[str]) -> str:
    del others
    data = text.encode("latin-1")
    for _ in range(rng.randint(1, 3)):
        data = changed_bytes(data, rng) if data else rng.randbytes(8)
    return data.decode("latin-1")


def written(name: str, text: str) -> Path:
    path = Path(name)
    path.write_bytes(text.encode("latin-1"))
    return path


def border(
    name: str,
    seeds: Callable[[], list[bytes]],
    read: Callable[[Path], object],
    error: type[QuantloomError] = DataError,
    located: str = "",
) -> Border:
    return Border(
        seeds=lambda: [seed.decode("latin-1") for seed in seeds()],
        read=lambda text: read(written(name, text)),
        located=located or name,
        error=error,
        change=change,
        encoding="latin-1",
    )


def idx_files() -> list[bytes]:
    plain = bytes((0, 0, 8, 3)) + struct.pack(">3I", 5, 4, 3) + bytes(range(60))
    return [plain, gzip.compress(plain, mtime=0)]


def cifar_files() -> list[bytes]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, (2, 1), dtype=np.uint8)
    return [np.concatenate([labels, random.integers(0, 256, (2, 3072), dtype=np.uint8)], axis=1).tobytes()]


def image_files(shape: tuple[int, int] = (9, 7)) -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = []
    for form in IMAGE_FORMATS:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form)
        found.append(file.getvalue())
    return found


@cache
def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def safetensors_files() -> list[bytes]:
    return [safe_bytes({name: value.contiguous() for name, value in module().state_dict().items()})]


def torch_files() -> list[bytes]:
    file = io.BytesIO()
    torch.save(module().state_dict(), file)
    return [file.getvalue()]


@cache
def store_files() -> list[bytes]:
    """A store whose values are all known."""
    path = Path("made.sqlite").resolve()
    with Store.open(path, note=print) as store:
        store.put([Record(key=k, kind="mapping", code="c", about={"of": k}, value=v) for k, v in STORED.items()])
    content = path.read_bytes()
    for left in Path().glob("made.sqlite*"):
        left.unlink()
    return [content]


def tflite_models() -> list[bytes]:
    """Two convolutions, one with the odd zero behind, a pooling and a linear layer."""
    random = np.random.default_rng(0)
    kernel, depthwise, weights = (random.random(shape, np.float32) for shape in ((4, 3, 3, 1), (1, 3, 3, 4), (5, 4)))
    steps = {"StrideH": 2, "StrideW": 2}
    nodes = [
        node("CONV_2D", (1, 4, 4, 4), kernel, np.zeros(4, np.float32), writes="a", **steps, FusedActivationFunction=3),
        node("DEPTHWISE_CONV_2D", (1, 2, 2, 4), depthwise, None, reads="a", writes="b", **steps, DepthMultiplier=1),
        node("MAX_POOL_2D", (1, 1, 1, 4), reads="b", writes="c", **steps, FilterHeight=2, FilterWidth=2),
        node("RESHAPE", (1, 4), np.array([1, 4], np.int32), reads="c", writes="d"),
        node("FULLY_CONNECTED", (1, 5), weights, None, reads="d"),
    ]
    return [tflite_bytes((1, 8, 8, 1), *nodes)]


def read_tflite(path: Path) -> object:
    network = load_network(str(path))
    assert network.layers, "a network without layers"
    return network


def read_store(path: Path) -> object:
    """Whatever the file holds: every value that is given is right, and the store can be used afterwards."""
    for left in Path().glob(f"{path.name}?*"):
        left.unlink()
    notes: list[str] = []
    with Store.open(path, timeout_s=1.0, note=notes.append) as store:
        for _ in range(2):  # damage may be found at the first look
            found = store.get(list(STORED))
            wrong = {key for key, value in found.items() if value != STORED[key]}
            assert not wrong, f"wrong values of {sorted(wrong)[:3]}"
            list(store.results())
        store.put([Record(key="new", kind="mapping", code="c", about={}, value=7)])
        assert store.get(["new"]) in ({"new": 7}, {}), "a new value is another one"
    assert len(notes) <= 2, notes
    return found


BINARY_BORDERS = {
    "idx": border("images.idx", idx_files, lambda path: read_idx(path, record_shape=(4, 3))),
    "cifar": border("data_batch_1.bin", cifar_files, _read_binary),
    "image": border("image.png", image_files, read_image),
    "sheet": border("sheet.png", lambda: image_files((2, 1024))[:1], _read_sheet),
    "safetensors": border("w.safetensors", safetensors_files, lambda p: load_checkpoint(p, module()), QuantError),
    "checkpoint": border("w.pt", torch_files, lambda path: load_checkpoint(path, module()), QuantError),
    "tflite": border("net.tflite", tflite_models, read_tflite, QuantloomError, "net"),
    "store": border("fuzzed.sqlite", store_files, read_store, StoreError),
}
BORDERS = TEXT_BORDERS | BINARY_BORDERS
