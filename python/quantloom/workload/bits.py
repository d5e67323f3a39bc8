"""Bit-widths of the tensors of one layer, and their short text form (`8`, `a8w4`, `a8w4o8`)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quantloom.errors import WorkloadError

__all__ = ["MAX_BITS", "BitWidths", "check_bits", "parse_bits"]

MAX_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class BitWidths:
    """Bits of one stored element of each tensor of a layer, 1..32. Raises WorkloadError outside that range."""

    weights: int
    inputs: int
    outputs: int

    def __post_init__(self) -> None:
        for what in ("weights", "inputs", "outputs"):
            check_bits(what, getattr(self, what))

    @classmethod
    def uniform(cls, bits: int) -> BitWidths:
        """The same bits for all three tensors."""
        return cls(weights=bits, inputs=bits, outputs=bits)

    def __str__(self) -> str:
        """The short text form that parse_bits() reads."""
        if self.weights == self.inputs == self.outputs:
            return str(self.weights)
        tail = "" if self.outputs == self.inputs else f"o{self.outputs}"
        return f"a{self.inputs}w{self.weights}{tail}"


def parse_bits(text: str) -> BitWidths:
    """Read `8` (all tensors), `a8w4` (inputs and outputs 8, weights 4) or `a8w4o6`. Raises WorkloadError otherwise."""
    if re.fullmatch(r"[0-9]{1,4}", text):
        return BitWidths.uniform(int(text))
    match = re.fullmatch(r"a([0-9]{1,4})w([0-9]{1,4})(?:o([0-9]{1,4}))?", text)
    if match is None:
        message = f"bits `{text}`: expected a number, aNwN or aNwNoN"
        raise WorkloadError(message, hint="for example 8, a8w4 (inputs and outputs 8, weights 4) or a8w4o8")
    return BitWidths(weights=int(match[2]), inputs=int(match[1]), outputs=int(match[3] or match[1]))


def check_bits(what: str, bits: int) -> None:
    """Raise WorkloadError unless bits is a whole number in 1..32; `what` names the tensor in the message."""
    if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= MAX_BITS:
        message = f"bits of {what}: expected a whole number in 1..{MAX_BITS}, got {bits!r}"
        raise WorkloadError(message, hint="give each tensor between 1 and 32 bits")
