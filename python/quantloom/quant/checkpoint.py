"""Weights in files: written atomically, read without executing anything, checked against the module they go into."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from quantloom.errors import QuantError
from quantloom.quant.network import QuantizedNetwork, load_tensors, named_tensors
from quantloom.quant.training_state import write_atomically, write_bytes_atomically

__all__ = ["SAFETENSORS", "check_format", "load_checkpoint", "save_checkpoint"]

SAFETENSORS = ".safetensors"

_SHOWN = 3  # names listed in a message before "and N more"


def save_checkpoint(path: Path, module: nn.Module) -> None:
    """Write the module's state dict; the file appears complete or not at all. Raises QuantError if it cannot.

    Of a quantized network: weights, scales and zero points of its widths, and the statistics in force. A path that
    ends in .safetensors gets that format (needs the package of this name), any other one that of torch.save().
    """
    state = {name: value.detach().cpu().contiguous() for name, value in _state_of(module).items()}
    if path.suffix == SAFETENSORS:
        write_bytes_atomically(path, _safetensors().save(state))
    else:
        write_atomically(path, state)


def check_format(path: Path) -> None:
    """Raise QuantError if checkpoints of this path's format cannot be written here."""
    if path.suffix == SAFETENSORS:
        _safetensors()


def _safetensors() -> ModuleType:
    try:
        import safetensors.torch
    except ImportError as error:
        message = "safetensors files need the package safetensors"
        raise QuantError(message, hint='pip install "quantloom[safetensors]"') from error
    return safetensors.torch


def load_checkpoint(path: Path, module: nn.Module) -> None:
    """Load a state dict into a module, in place and only if all of it fits.

    Raises QuantError naming the path if the file is missing or corrupt, lacks or adds tensors, has tensors of other
    shapes (a wrong number of classes, say), or holds NaN or infinite values.
    """
    state = _read(path)
    expected = _state_of(module)
    problems = []
    for problem, names in (("lacks", expected.keys() - state.keys()), ("has unknown", state.keys() - expected.keys())):
        if names:
            problems.append(f"{problem} {_listing(sorted(names))}")
    for name in sorted(expected.keys() & state.keys()):
        if state[name].shape != expected[name].shape:
            found, wanted = tuple(state[name].shape), tuple(expected[name].shape)
            problems.append(f"`{name}` has shape {found}, the network {wanted}")
        elif not bool(torch.isfinite(state[name]).all()):
            problems.append(f"`{name}` holds NaN or infinite values")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        message = f"{path}: does not fit {type(module).__name__}: {'; '.join(problems[:_SHOWN])}{more}"
        raise QuantError(message, hint="build the network with the options it was trained with (classes, width, input)")
    if isinstance(module, QuantizedNetwork):
        load_tensors(module, state)
    else:
        module.load_state_dict(state)


def _state_of(module: nn.Module) -> Mapping[str, Tensor]:
    return named_tensors(module) if isinstance(module, QuantizedNetwork) else module.state_dict()


def _read(path: Path) -> Mapping[str, Tensor]:
    is_safe = path.suffix == SAFETENSORS
    hint = "expected tensors in the format safetensors" if is_safe else "expected a state dict written by torch.save"
    if not path.is_file():
        message = f"{path}: no such checkpoint file"
        raise QuantError(message, hint=hint)
    if is_safe:
        return _read_safetensors(path, hint)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises KeyError, IndexError and others at damaged files
        message = f"{path}: corrupt checkpoint: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise QuantError(message, hint=hint) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        message = f"{path}: holds {type(state).__name__}, not a mapping of names to tensors"
        raise QuantError(message, hint=hint)
    return state


def _read_safetensors(path: Path, hint: str) -> Mapping[str, Tensor]:
    module = _safetensors()
    from safetensors import SafetensorError

    try:
        state: Mapping[str, Tensor] = module.load_file(path)
    except (OSError, SafetensorError) as error:
        message = f"{path}: corrupt checkpoint: {str(error).splitlines()[0]}"
        raise QuantError(message, hint=hint) from error
    return state


def _listing(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"`{name}`" for name in names[:_SHOWN]) + more
