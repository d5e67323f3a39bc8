"""The network with its weights, and the data: what every accuracy is measured on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantloom.errors import SearchError

if TYPE_CHECKING:
    from torch import nn

    from quantloom.quant.data import DataSplits
    from quantloom.workload.from_torch import TracedModel

__all__ = ["DEMO", "Progress", "load_network_and_data"]

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, text); a total of 0 is unknown."""

DEMO: Final = "demo"
"""As checkpoint or data of a configuration: what comes with quantloom."""


def load_network_and_data(
    model: str,
    *,
    checkpoint: str | None,
    data: str,
    threads: int,
    untrained: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[TracedModel, DataSplits]:
    """The traced network with its weights, and the data. untrained: a model of the zoo may come without a checkpoint;
    seed: of the weights that it then has.

    Raises WorkloadError, UnsupportedOpError, QuantError, DataError, or SearchError where there are no weights.
    """
    if model.partition(":")[0].endswith((".yaml", ".yml")):
        message = f"{model}: a network file has no weights, so its accuracy cannot be measured"
        hint = "give an ONNX or TFLite file, a model of the zoo with a checkpoint, or package.module:function"
        raise SearchError(message, hint=hint)
    # torch's OpenMP reads this when it is loaded. Its threads otherwise spin while they wait for each other: on two
    # cores that other processes used too, one accuracy of the demo cost 10 s of CPU instead of 1 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if progress is not None:
        progress(0, 0, f"reading {model}")
    from quantloom.workload.load import find_model, find_onnx

    onnx_file = find_onnx(model)
    source = find_model(model) if onnx_file is None else None

    import torch

    from quantloom.quant.data import load_data
    from quantloom.workload.from_torch import trace
    from quantloom.workload.torch_models import build_model

    torch.set_num_threads(threads)
    splits = load_data(data)
    if onnx_file is not None:
        from quantloom.workload.onnx_module import module_from_onnx

        module, sample_shape = module_from_onnx(onnx_file.path, onnx_file.sizes)
        _load_weights(model, checkpoint, module, untrained=untrained)
        return trace(module, sample_shape, name=Path(onnx_file.path).stem), splits
    assert source is not None, "what is no ONNX file is a torch model"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = build_model(source.build, source.input_shape, source.name)
    shape = built.image_shape
    if shape is None:
        message = f"{source.name}: takes other inputs than one image, which the data sets do not have"
        raise SearchError(message, hint="return example inputs of one tensor, a batch of 1 first")
    _load_weights(model, checkpoint, built.module, untrained=untrained)
    return trace(built.module, shape, name=source.name), splits


def _load_weights(model: str, checkpoint: str | None, module: nn.Module, *, untrained: bool) -> None:
    from quantloom.quant.checkpoint import load_checkpoint
    from quantloom.zoo import MODEL_NAMES

    if checkpoint is not None:
        load_checkpoint(_weights_file(checkpoint), module)
    elif not untrained and model.partition(":")[0] in MODEL_NAMES:
        message = f"{model}: no checkpoint is given, and the models of the zoo come without weights"
        raise SearchError(message, hint="name a file of trained weights as `checkpoint`")


def _weights_file(checkpoint: str) -> Path:
    from quantloom.demo import CHECKPOINT_FILE, DEMO_DIR
    from quantloom.zoo.trained import PREFIX, trained_weights

    if checkpoint == DEMO:
        return DEMO_DIR / CHECKPOINT_FILE
    return trained_weights(checkpoint) if checkpoint.startswith(PREFIX) else Path(checkpoint)
