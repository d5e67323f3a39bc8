"""Make the demo's files again: train its network on all of Fashion-MNIST and pick the subset that is shipped.

    python -m quantloom.demo.make --data fashion_mnist --output DIR

Writes the data, the checkpoint and a manifest into DIR, each complete or not at all. The network is trained on the
train split only; the shipped validation and test images come from the other two.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from quantloom import zoo
from quantloom.demo import CHECKPOINT_FILE, DATA_FILE, DEMO_MODEL, MANIFEST_FILE, SPLIT_NAMES
from quantloom.errors import DataError, QuantloomError
from quantloom.quant.checkpoint import save_checkpoint
from quantloom.quant.data import DataSplits, ImageDataset, load_data
from quantloom.quant.ptq import PtqConfig, PtqEvaluator
from quantloom.quant.train import Progress, TrainConfig, train_float, train_random_bits
from quantloom.workload.from_torch import TracedModel, trace
from quantloom.workload.network import BitAssignment

__all__ = ["main"]

_SUBSET = {"train": 2000, "validation": 2000, "test": 2000}  # images shipped from each split
_REPORTED_BITS = (8, 6, 5, 4, 3, 2)
_SECONDS_BETWEEN_LOGS = 10.0
_logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 after a QuantloomError."""
    parser = argparse.ArgumentParser(prog="python -m quantloom.demo.make", description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="fashion_mnist", help="fashion_mnist or fashion_mnist:DIRECTORY")
    parser.add_argument("--output", type=Path, required=True, help="existing directory for the three files")
    parser.add_argument("--epochs", type=int, default=8, help="epochs in float (default 8)")
    parser.add_argument("--random-bits-epochs", type=int, default=3, help="epochs with random bits (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        _make(arguments, [*(sys.argv[1:] if argv is None else argv)])
    except QuantloomError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _make(arguments: argparse.Namespace, given: list[str]) -> None:
    output: Path = arguments.output
    if not output.is_dir():
        message = f"{output}: no such directory"
        raise DataError(message, hint="make it first")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    data = load_data(arguments.data)
    spec = zoo.parse_model(DEMO_MODEL)
    module = zoo.build(spec.name, **spec.options).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    float_config = TrainConfig(epochs=arguments.epochs, learning_rate=0.3, seed=arguments.seed)
    random_config = TrainConfig(
        epochs=arguments.random_bits_epochs, learning_rate=0.05, warmup_share=0.1, seed=arguments.seed + 1
    )
    started = time.monotonic()
    train = cast("ImageDataset", data.train)
    train_float(module, train, float_config, progress=_log_progress())
    traced = trace(module, spec.input_shape, name=spec.text)
    train_random_bits(traced, train, random_config, progress=_log_progress())
    seconds = time.monotonic() - started
    save_checkpoint(output / CHECKPOINT_FILE, module)
    _save_subset(output / DATA_FILE, data)
    manifest = {
        "model": DEMO_MODEL,
        "command": shlex.join(["python", "-m", "quantloom.demo.make", *given]),
        "training": {
            "images": len(train),
            "epochs_float": float_config.epochs,
            "epochs_random_bits": random_config.epochs,
            "seed": arguments.seed,
            "seconds": round(seconds),
            "threads": arguments.threads,
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "accuracy": _measure(module, traced, data),
        "shipped_images": _SUBSET,
    }
    _write_text(output / MANIFEST_FILE, json.dumps(manifest, indent=2) + "\n")


def _measure(module: nn.Module, traced: TracedModel, data: DataSplits) -> Mapping[str, object]:
    """Accuracies of the float network and of uniform bits on the whole validation and test splits."""
    module.eval()
    evaluator = PtqEvaluator(traced, data, config=PtqConfig(validation_images=None))
    uniform = {}
    for bits in _REPORTED_BITS:
        assignment = BitAssignment.uniform(traced.network, bits)
        uniform[str(bits)] = {
            "validation": evaluator.accuracy(assignment),
            "test": evaluator.accuracy_test(assignment),
        }
        _logger.info("uniform %d bits, %s: %s", bits, evaluator.name, uniform[str(bits)])
    return {
        "images": {name: len(cast("ImageDataset", getattr(data, name))) for name in ("validation", "test")},
        "float": {"validation": evaluator.float_accuracy(), "test": evaluator.float_accuracy_test()},
        f"uniform bits, {evaluator.name}": uniform,
    }


def _save_subset(path: Path, data: DataSplits) -> None:
    """Write the shipped images: evenly spaced ones of train, the first ones of validation and test."""
    arrays: dict[str, NDArray[np.uint8]] = {}
    for name in SPLIT_NAMES:
        split = cast("ImageDataset", getattr(data, name))
        count = _SUBSET[name]
        step = max(1, len(split) // count) if name == "train" else 1
        chosen = slice(0, count * step, step)
        arrays[f"{name}_images"] = split.images[chosen, 0].numpy()
        arrays[f"{name}_labels"] = split.labels[chosen].numpy().astype(np.uint8)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez_compressed(partial, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _log_progress() -> Progress:
    """A progress callback that logs now and then."""
    last = 0.0

    def log(done: int, total: int, text: str) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > _SECONDS_BETWEEN_LOGS:
            last = time.monotonic()
            _logger.info("step %d of %d, %s", done, total, text)

    return log


if __name__ == "__main__":
    sys.exit(main())
