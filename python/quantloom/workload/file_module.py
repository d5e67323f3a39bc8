"""A network read from a file as a torch module: its nodes in order, each a module or a function of earlier values.

What the readers of every format share (`onnx_module.py`, `tflite_module.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from quantloom.errors import UnsupportedOpError, first_line

__all__ = ["FileModule", "Problems", "Refused", "Step", "StepNames", "fill", "same_padding", "zero_pad"]


class Refused(Exception):
    """Why a node is no module here; its readers collect it."""


class Problems:
    """The nodes of a file that are no modules here: all are looked at before any is reported."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, node: str) -> None:
        """Note a node, with why, if there is more to say than its operator."""
        self._found.append(node)

    @contextmanager
    def noted(self, node: str) -> Iterator[None]:
        """Inside, what a reader refuses, or torch says of odd attributes, is noted and goes no further."""
        try:
            yield
        except Refused as reason:
            self.add(f"{node}: {reason}")
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
            self.add(f"{node}: {first_line(error)}")

    def check(self, file: str, what: str, hint: str) -> None:
        """Raise UnsupportedOpError with all of them, if there are any. what: follows their number."""
        if self._found:
            message = f"{file}: {len(self._found)} node(s) {what}\n  "
            raise UnsupportedOpError(message + "\n  ".join(self._found), hint=hint)


@dataclass(kw_only=True)
class Step:
    """One node: what it runs, the names it reads (values, or tensors of its own), the value it writes."""

    name: str
    writes: str
    reads: tuple[str, ...]
    run: Callable[..., Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


class FileModule(nn.Module):
    """The steps of a file in order; called with one batch of samples.

    source: the value that is the input. results: those that are returned, one alone or a tuple.
    """

    def __init__(self, steps: Sequence[Step], source: str, results: Sequence[str]) -> None:
        super().__init__()
        self._steps = tuple(steps)
        self._source = source
        self._results = tuple(results)
        for step in steps:
            if isinstance(step.run, nn.Module):
                self.add_module(step.name, step.run)
            for name, tensor in step.tensors.items():
                self.register_buffer(name, tensor)

    def forward(self, x: Tensor) -> Any:
        """x: (N, *shape of a sample). Returns the file's outputs for all N."""
        values: dict[str, Any] = {self._source: x}
        for step in self._steps:
            run = getattr(self, step.name) if isinstance(step.run, nn.Module) else step.run
            values[step.writes] = run(*(getattr(self, n) if n in step.tensors else values[n] for n in step.reads))
        results = tuple(values[name] for name in self._results)
        return results[0] if len(results) == 1 else results


class StepNames:
    """Names for the modules of a file: each once, and as Python and torch can have them."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str, otherwise: str) -> str:
        """A name like `wanted`; like `otherwise` if nothing of it can stand in a name."""
        stem = re.sub(r"\W+", "_", wanted).strip("_") or otherwise
        stem = f"node_{stem}" if stem[0].isdigit() else stem
        name, count = stem, 1
        while name in self._taken or hasattr(nn.Module, name):
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name


def fill(module: nn.Module, **tensors: Tensor) -> None:
    """Put values into the parameters and buffers of a module. Raises Refused if a shape differs."""
    for name, value in tensors.items():
        own: Tensor = getattr(module, name)
        if own.shape != value.shape:
            message = f"its {name} has the shape {list(value.shape)}, expected {list(own.shape)}"
            raise Refused(message)
        with torch.no_grad():
            own.copy_(value)


def zero_pad(before: Sequence[int], after: Sequence[int]) -> nn.Module:
    """Zeros before and after each of one or two axes."""
    pads = [pad for pair in zip(reversed(before), reversed(after), strict=True) for pad in pair]
    if len(before) == 1:
        return nn.ConstantPad1d((pads[0], pads[1]), 0.0)
    return nn.ZeroPad2d((pads[0], pads[1], pads[2], pads[3]))


def same_padding(size: int, span: int, stride: int) -> tuple[int, int]:
    """The smaller and the larger half of the zeros with which an axis gives ceil(size / stride) windows.

    span: elements from the first to the last that a window reads. The rule of SAME in TensorFlow and ONNX.
    """
    total = max((-(-size // stride) - 1) * stride + span - size, 0)
    return total // 2, total - total // 2
