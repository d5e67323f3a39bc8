"""The job of `quantloom quantize`: train one assignment, measure it on images that nothing has seen, write the results.

A job lives in a directory. Interrupted at any moment, it goes on from what is there: `manifest.json` has its settings,
`bits.yaml` the assignment, `*.state` where training stands. At its end the directory holds the weights, an ONNX file
and the accuracies.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch

from quantloom.errors import QuantError, UnsupportedOpError
from quantloom.quant.checkpoint import SAFETENSORS, check_format, load_checkpoint, save_checkpoint
from quantloom.quant.data import DataSplits, length_of, spread_images
from quantloom.quant.integer import compare_with_integers
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.onnx_export import export_onnx, is_onnx_installed, run_onnx
from quantloom.quant.ptq import accuracy_of, check_fit
from quantloom.quant.qat import QAT_DEFAULTS, quantize_for, train_bits
from quantloom.quant.rounding import keep_rounded, round_weights
from quantloom.quant.scheme import QuantScheme
from quantloom.quant.train import Progress, TrainConfig, find_device, train_float
from quantloom.quant.training_state import StateFile
from quantloom.whole_files import put_whole, way_out
from quantloom.workload.from_torch import TracedModel
from quantloom.workload.network import BitAssignment

__all__ = ["JOB_FILES", "JobResult", "JobSettings", "read_settings", "run_job", "start_job"]

MANIFEST = "manifest.json"
BITS = "bits.yaml"
_WEIGHTS = "weights"
ONNX = "model.onnx"
FLOAT_WEIGHTS = "float.pt"
JOB_FILES = (MANIFEST, BITS, f"{_WEIGHTS}.pt", f"{_WEIGHTS}{SAFETENSORS}", ONNX, FLOAT_WEIGHTS)

_SCHEMA_VERSION = 1
_STATISTICS_IMAGES = 1024
_INTEGER_IMAGES = 32
_BATCH = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """What a job's result depends on, besides bits and the code. Raises QuantError like TrainConfig.

    epochs: of quantization-aware training. 0 rounds the weights by round_weights(), or each to the nearest if that is
    more accurate on the validation split, and takes statistics anew. float_epochs: of training the float network
    beforehand; 0 takes its weights as they are. Learning rates are peaks. safetensors: the trained weights are written
    in that format instead of torch's. The others as in TrainConfig and QuantScheme.
    """

    model: str
    data: str
    checkpoint: str | None = None
    epochs: int = 2
    float_epochs: int = 0
    batch: int = QAT_DEFAULTS["batch"]
    learning_rate: float = QAT_DEFAULTS["learning_rate"]
    float_learning_rate: float = 0.2
    distillation: float = QAT_DEFAULTS["distillation"]
    label_smoothing: float = QAT_DEFAULTS["label_smoothing"]
    ema_decay: float = 0.0
    flip: bool = True
    crop: int = 0
    resized_crop: float = 1.0
    seed: int = 0
    device: str = "auto"
    amp: Literal["off", "bfloat16", "float16"] = "off"
    per_channel: bool = True
    activations: Literal["affine", "symmetric"] = "affine"
    safetensors: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.float_epochs < 0:
            message = f"epochs {self.epochs}, float epochs {self.float_epochs}: expected 0 or more"
            raise QuantError(message)
        check_format(Path(self.weights_file))
        self.training()
        self.float_training()

    @property
    def weights_file(self) -> str:
        """Name of the file of the trained weights."""
        return f"{_WEIGHTS}{SAFETENSORS if self.safetensors else '.pt'}"

    def training(self) -> TrainConfig:
        """The settings of quantization-aware training."""
        named = {key: getattr(self, key) for key in ("batch", "learning_rate", "distillation", "label_smoothing")}
        return TrainConfig(**{**QAT_DEFAULTS, **self._common(), **named, "epochs": max(1, self.epochs)})

    def float_training(self) -> TrainConfig:
        """The settings of training in float."""
        options = {"batch": self.batch, "learning_rate": self.float_learning_rate, "epochs": max(1, self.float_epochs)}
        return TrainConfig(**{**self._common(), **options})

    def _common(self) -> dict[str, Any]:  # Any: the values have the types of TrainConfig's fields
        return {key: getattr(self, key) for key in ("ema_decay", "flip", "crop", "resized_crop", "seed", "amp")}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """Accuracies in 0..1 on the validation and test splits, of the float network, after post-training quantization
    with statistics taken anew, and after training, or, without any, with weights rounded by round_weights().

    onnx_top1: share of the test images with the same largest logit in onnxruntime; None if it is not installed.
    integer_top1, integer_images: the same for the integer network, on so many test images; None if an operator has no
    integer form. notes: what could not be done, for the reader.
    """

    float_validation: float
    float_test: float
    ptq_validation: float
    ptq_test: float
    validation: float
    test: float
    test_images: int
    onnx_top1: float | None
    integer_top1: float | None
    integer_images: int
    notes: tuple[str, ...]


def start_job(directory: Path, settings: JobSettings, bits: str, command: list[str]) -> None:
    """Make the directory of a job. Raises QuantError if other bits are there, or it cannot be written.

    bits: the text of its bits file; the same one may be there, from a job killed before its manifest was written.
    """
    path = directory / BITS
    try:
        directory.mkdir(parents=True, exist_ok=True)
        is_there = path.exists()
        is_another = is_there and path.read_bytes() != bits.encode()
    except OSError as error:
        raise _cannot_write(path, error) from error
    if is_another:
        message = f"{path} exists already, with other bits"
        raise QuantError(message, hint="choose another directory, or remove it")
    if not is_there:
        _write_text(path, bits)
    try:
        _write_manifest(directory, {"status": "unfinished", "command": command, "settings": asdict(settings)})
    except QuantError:
        if not is_there:
            path.unlink(missing_ok=True)  # as if it had not been begun
        raise


def read_settings(directory: Path) -> JobSettings:
    """The settings that a job was started with. Raises QuantError if there is no job in the directory."""
    path = directory / MANIFEST
    hint = "give the directory that `quantloom quantize` wrote"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["settings"]
        known = {field.name for field in fields(JobSettings)}
        if not isinstance(found, dict) or not {"model", "data"} <= found.keys() <= known:
            found = {}
        return JobSettings(**found)
    except FileNotFoundError as error:
        message = f"{directory}: no job of quantizing is there"
        raise QuantError(message, hint=hint) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"{path}: does not hold the settings of quantizing"
        raise QuantError(message, hint=hint) from error


def run_job(
    directory: Path,
    settings: JobSettings,
    traced: TracedModel,
    data: DataSplits,
    assignment: BitAssignment,
    *,
    progress: Progress | None = None,
) -> JobResult:
    """Do the job, or what is left of it. Raises QuantError, DataError; what was done before is kept."""
    device = find_device(settings.device)
    check_fit(traced, data)
    _train_float(directory, settings, traced, data, device, progress)
    scheme = QuantScheme(per_channel=settings.per_channel, activations=settings.activations)
    network = quantize_for(traced, data.train, [assignment], scheme=scheme)
    network.use_channels_last()
    test = spread_images(data.test)
    validation = spread_images(data.validation)

    def accuracies() -> tuple[float, float]:
        return accuracy_of(network, *validation, batch=_BATCH), accuracy_of(network, *test, batch=_BATCH)

    network.set_float()
    float_validation, float_test = accuracies()
    network.set_bits(assignment)
    statistics_images = spread_images(data.train, min(_STATISTICS_IMAGES, length_of(data.train)))[0]
    network.reestimate(statistics_images)
    ptq_validation, ptq_test = accuracies()
    if settings.epochs:
        network.set_bits(assignment)  # training starts from the float network's statistics
        state = StateFile(directory / "training.state")
        train_bits(network, data.train, settings.training(), state=state, device=device, progress=progress)
        network.to("cpu")
        trained_validation, trained_test = accuracies()
    else:
        round_weights(network, statistics_images)
        network.set_bits(assignment)
        network.reestimate(statistics_images)
        trained_validation, trained_test = accuracies()
        if trained_validation >= ptq_validation:
            keep_rounded(network)
        else:  # weights that were trained for few bits are best as they are
            network.forget_rounding()
            network.set_bits(assignment)
            network.reestimate(statistics_images)
            trained_validation, trained_test = ptq_validation, ptq_test
    save_checkpoint(directory / settings.weights_file, network)
    onnx_top1, integer_top1, notes = _check_exports(directory, network, test[0])
    result = JobResult(
        float_validation=float_validation,
        float_test=float_test,
        ptq_validation=ptq_validation,
        ptq_test=ptq_test,
        validation=trained_validation,
        test=trained_test,
        test_images=len(test[1]),
        onnx_top1=onnx_top1,
        integer_top1=integer_top1,
        integer_images=min(_INTEGER_IMAGES, len(test[1])),
        notes=notes,
    )
    _finish(directory, settings, data, result)
    return result


def _train_float(
    directory: Path,
    settings: JobSettings,
    traced: TracedModel,
    data: DataSplits,
    device: torch.device,
    progress: Progress | None,
) -> None:
    if not settings.float_epochs:
        return
    path = directory / FLOAT_WEIGHTS
    if path.exists():
        load_checkpoint(path, traced.graph_module)
        return
    module = traced.graph_module
    state = StateFile(directory / "float.state")
    train_float(module, data.train, settings.float_training(), state=state, device=device, progress=progress)
    module.to("cpu")
    save_checkpoint(path, module)


def _check_exports(
    directory: Path, network: QuantizedNetwork, images: torch.Tensor
) -> tuple[float | None, float | None, tuple[str, ...]]:
    """Write the ONNX file and compare it, and the integer network, with the fake-quantized one on test images."""
    notes: list[str] = []
    onnx_top1 = integer_top1 = None
    if not is_onnx_installed():
        notes.append('no ONNX file: needs onnx and onnxruntime, pip install "quantloom[onnx]"')
    else:
        try:
            export_onnx(network, directory / ONNX)
            with torch.inference_mode():
                own = torch.cat([network(piece) for piece in torch.split(images, _BATCH)])
            found = run_onnx(directory / ONNX, images)
            onnx_top1 = float((found.argmax(1) == own.argmax(1)).double().mean())
        except UnsupportedOpError as error:
            notes.append(f"no ONNX file: {error.message}")
    try:
        integer_top1 = compare_with_integers(network, images[:_INTEGER_IMAGES]).top1
    except (UnsupportedOpError, QuantError) as error:
        notes.append(f"not compared with integers: {error.message}")
    return onnx_top1, integer_top1, tuple(notes)


def _finish(directory: Path, settings: JobSettings, data: DataSplits, result: JobResult) -> None:
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    names = (settings.weights_file, ONNX, BITS, FLOAT_WEIGHTS)
    manifest |= {
        "status": "finished",
        "data": data.description,
        "train_images": length_of(data.train),
        "result": asdict(result),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "device": str(find_device(settings.device)),
        "threads": torch.get_num_threads(),
        "sha256": {
            name: hashlib.sha256((directory / name).read_bytes()).hexdigest()
            for name in names
            if (directory / name).exists()
        },
    }
    _write_manifest(directory, manifest)
    for name in ("training.state", "float.state"):
        (directory / name).unlink(missing_ok=True)


def _write_manifest(directory: Path, values: Mapping[str, object]) -> None:
    text = json.dumps({"schema_version": _SCHEMA_VERSION, **values}, indent=2)
    _write_text(directory / MANIFEST, text + "\n")


def _write_text(path: Path, text: str) -> None:
    try:
        put_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> QuantError:
    return QuantError(f"{path}: cannot write: {error.strerror or error}", hint=way_out(error, "directory"))
