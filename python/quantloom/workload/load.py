"""Turn what a person writes for MODEL into a Network: a zoo name, a function, a model file or a network.yaml."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantloom import zoo
from quantloom.errors import QuantloomError, WorkloadError
from quantloom.workload.network import Network
from quantloom.workload.onnx_sizes import OnnxSizes

__all__ = ["ModelSource", "OnnxSource", "find_model", "find_onnx", "load_network"]

_IMAGE_SHAPE = (3, 224, 224)  # what input= and channels= leave open

_FORMS = (
    "a name of the zoo, package.module:function returning a torch.nn.Module, "
    "a model.onnx, a model.tflite, or a network.yaml"
)
_ONNX_FILE = re.compile(r"(?P<path>.+\.onnx)(?::(?P<options>.*))?")
_TFLITE_FILE = re.compile(r"(?P<path>.+\.tflite)(?::(?P<options>.*))?")
_FUNCTION = re.compile(r"(?P<path>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)(?P<options>:.*)?")
_SHAPE = re.compile(r"[1-9][0-9]{0,8}(x[1-9][0-9]{0,8}){0,7}")
_SIZE = re.compile(r"(\d{1,6})(?:x(\d{1,6}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model that can be built: a short name, and how to build it.

    build: makes a torch.nn.Module, or a pair of one and its example inputs. input_shape: of one sample, None if it is
    left to the model. assumes_traffic: whether operators that are not known are taken as traffic.
    """

    name: str
    build: Callable[[], object]
    input_shape: tuple[int, ...] | None
    assumes_traffic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSource:
    """An ONNX file, sizes for what it leaves open, and whether operators that are not known are taken as traffic."""

    path: str
    sizes: OnnxSizes
    assumes_traffic: bool


def load_network(spec: str, input_shape: tuple[int, ...] | None = None) -> Network:
    """The network that `spec` describes; torch is loaded unless it is a file.

    spec: "mobilenet_v2", "mobilenet_v1:width=0.25,input=32,classes=10,channels=1"; "package.module:function" with the
    current directory importable, and ":input=128,channels=1", ":input=96x160" (height x width) or ":shape=16x50" (one
    sample, any axes) behind it for samples other than 3x224x224; "model.onnx" with sizes of open axes behind it, as in
    ":batch=1,tokens=128"; "model.tflite"; or a path ending in .yaml or .yml. ":unknown=traffic" behind a function or
    an ONNX file takes unknown operators as traffic. input_shape: of one sample, instead of the one in `spec`.
    Raises WorkloadError (unknown model, bad option, code that fails), UnsupportedOpError, or SpecError for a file.
    """
    if spec.endswith((".yaml", ".yml")):
        if input_shape is not None:
            message = f"{spec}: an input shape is given, but the file fixes the shape of every layer"
            raise WorkloadError(message, hint="leave the input shape out")
        from quantloom.spec.network import load_network_yaml  # the only need of yaml here

        return load_network_yaml(spec)
    onnx_file = find_onnx(spec, input_shape)
    if onnx_file is not None:
        from quantloom.workload.from_onnx import network_from_onnx

        return network_from_onnx(onnx_file.path, onnx_file.sizes, assumes_traffic=onnx_file.assumes_traffic)
    source = find_model(spec)
    if input_shape is not None and _TFLITE_FILE.fullmatch(spec):
        message = f"{spec}: an input shape is given, but the file fixes the shape of every layer"
        raise WorkloadError(message, hint="leave the input shape out")
    from quantloom.workload.torch_models import network_from_builder  # loads torch

    shape = input_shape or source.input_shape
    return network_from_builder(source.build, shape, source.name, assumes_traffic=source.assumes_traffic)


def find_model(spec: str) -> ModelSource:
    """The torch model that `spec` names, or that a TFLite file is read as; nothing is built yet.

    Raises WorkloadError as load_network().
    """
    tflite_file = _TFLITE_FILE.fullmatch(spec)
    if tflite_file is not None:
        if tflite_file["options"]:
            message = f"{spec}: cannot read the option `{tflite_file['options']}`"
            raise WorkloadError(message, hint="a TFLite file fixes all its sizes; nothing stands behind it")
        path = tflite_file["path"]
        return ModelSource(name=Path(path).stem, build=lambda: _build_tflite(path), input_shape=None)
    match = _FUNCTION.fullmatch(spec)
    if match is not None and match["path"] not in zoo.MODEL_NAMES:
        name = f"{match['path']}:{match['function']}"
        shape, assumes_traffic = _read_options(spec, (match["options"] or "")[1:])
        build = _find_function(match["path"], match["function"])
        return ModelSource(name=name, build=build, input_shape=shape, assumes_traffic=assumes_traffic)
    name = spec.partition(":")[0].strip()
    if name not in zoo.MODEL_NAMES:
        message = f"unknown model `{spec}`"
        raise WorkloadError(message, hint=f"{zoo.suggest(name, zoo.MODEL_NAMES, 'the zoo has')}; expected {_FORMS}")
    model = zoo.parse_model(spec)
    return ModelSource(
        name=model.text, build=lambda: zoo.build(model.name, **model.options), input_shape=model.input_shape
    )


def find_onnx(spec: str, input_shape: tuple[int, ...] | None = None) -> OnnxSource | None:
    """The ONNX file that `spec` names, with the options behind it; None if it names something else.

    Options: batch=, shape=, sizes of axes and inputs, unknown=traffic. Raises WorkloadError for others.
    """
    match = _ONNX_FILE.fullmatch(spec)
    if match is None:
        return None
    path, options = match["path"], match["options"] or ""
    batch, shape, assumes_traffic = 1, input_shape, False
    named: dict[str, int] = {}
    inputs: dict[str, tuple[int, ...]] = {}
    for part in options.split(",") if options else ():
        key, _, value = (piece.strip() for piece in part.rpartition("="))
        if key == "shape" and _SHAPE.fullmatch(value):
            shape = tuple(map(int, value.split("x")))
        elif (key, value) == ("unknown", "traffic"):
            assumes_traffic = True
        elif key and key not in ("shape", "unknown") and re.fullmatch(r"[1-9][0-9]{0,8}", value):
            named[key] = int(value)
            batch = int(value) if key == "batch" else batch
        elif key and key not in ("shape", "unknown", "batch") and _SHAPE.fullmatch(value):
            inputs[key] = tuple(map(int, value.split("x")))
        else:
            message = f"{spec}: cannot read the option `{part}`"
            hint = (
                "behind a file stand batch=N, shape=3x224x224 (one sample), NAME=N for an axis, NAME=1x3x224x224 for "
                "an input, unknown=traffic"
            )
            raise WorkloadError(message, hint=hint)
    sizes = OnnxSizes(batch=batch, shape=shape, named=named, inputs=inputs)
    return OnnxSource(path=path, sizes=sizes, assumes_traffic=assumes_traffic)


def _build_tflite(path: str) -> object:
    from quantloom.workload.tflite_module import module_from_tflite  # loads torch

    return module_from_tflite(path)


def _read_options(spec: str, text: str) -> tuple[tuple[int, ...] | None, bool]:
    """Input shape (None without options about it) and whether unknown operators are traffic, from behind a function."""
    image: dict[str, tuple[int, int]] = {}
    shape, assumes_traffic = None, False
    for part in text.split(",") if text else ():
        key, _, value = (piece.strip() for piece in part.partition("="))
        size = _SIZE.fullmatch(value)
        if key == "input" and size is not None:
            image[key] = int(size[1]), int(size[2] or size[1])
        elif key == "channels" and size is not None and size[2] is None:
            image[key] = int(size[1]), 0
        elif key == "shape" and _SHAPE.fullmatch(value):
            shape = tuple(map(int, value.split("x")))
        elif (key, value) == ("unknown", "traffic"):
            assumes_traffic = True
        else:
            message = f"{spec}: cannot read the option `{part}`"
            hint = (
                "behind a function stand input=SIZE or input=HEIGHTxWIDTH, channels=N, shape=16x50 (one sample), "
                "unknown=traffic"
            )
            raise WorkloadError(message, hint=hint)
    if shape is not None and image:
        message = f"{spec}: shape= is given beside {' and '.join(f'{key}=' for key in image)}"
        raise WorkloadError(message, hint="shape= says all of it; leave the other out")
    if image:
        channels, height, width = _IMAGE_SHAPE
        shape = image.get("channels", (channels, 0))[0], *image.get("input", (height, width))
    return shape, assumes_traffic


def _find_function(path: str, function: str) -> Callable[[], object]:
    """The function (or class) of a module that can be imported from the current directory or the environment."""
    try:
        with _importable_directory(Path.cwd()):
            found = getattr(importlib.import_module(path), function, None)
    except (Exception, SystemExit) as error:  # importing runs the user's code: anything can be raised
        message = f"model `{path}:{function}`: cannot import {path}: {type(error).__name__}: {error}"
        raise WorkloadError(message, hint=f"is it installed or below {Path.cwd()}? expected {_FORMS}") from error
    if not callable(found):
        what = "has no" if found is None else "is not a function:"
        message = f"model `{path}:{function}`: module {path} {what} `{function}`"
        raise WorkloadError(message, hint="name a function without arguments that returns a torch.nn.Module")

    def build() -> object:
        try:
            with _importable_directory(Path.cwd()):
                made: object = found()
        except QuantloomError:
            raise
        except (Exception, SystemExit) as error:  # the user's code: anything can be raised
            message = f"model `{path}:{function}`: the function fails: {type(error).__name__}: {error}"
            raise WorkloadError(message, hint="it is called without arguments") from error
        return made

    return build


@contextmanager
def _importable_directory(directory: Path) -> Iterator[None]:
    """Puts a directory first on the import path for a while."""
    entry = str(directory)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        if entry in sys.path:
            sys.path.remove(entry)
