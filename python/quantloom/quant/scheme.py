"""What is quantized and how, as frozen records: bit-widths, integer grids, the scheme of a whole network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quantloom.errors import QuantError

__all__ = ["QUANT_BITS", "Grid", "QuantScheme", "check_quant_bits"]

QUANT_BITS = (2, 3, 4, 5, 6, 7, 8, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The consecutive integers low..high that a tensor's elements are rounded to, in units of its scale.

    It holds 2^bits integers and always 0, so that zero padding is exact. The usual affine form with zero point z on
    0..2^bits-1 is the grid -z..2^bits-1-z. Raises QuantError if that does not hold.
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        count = self.high - self.low + 1
        if not self.low <= 0 <= self.high or count < 2 or count & (count - 1):
            message = f"grid {self.low}..{self.high}: expected 2^bits integers that include 0"
            raise QuantError(message)

    @classmethod
    def signed(cls, bits: int) -> Grid:
        """The two's complement grid -2^(bits-1)..2^(bits-1)-1, for weights."""
        check_quant_bits(bits)
        return cls(low=-(1 << (bits - 1)), high=(1 << (bits - 1)) - 1)

    @classmethod
    def affine(cls, bits: int, zero_point: int = 0) -> Grid:
        """The grid of 0..2^bits-1 with this zero point (0: unsigned), for activations."""
        check_quant_bits(bits)
        return cls(low=-zero_point, high=(1 << bits) - 1 - zero_point)

    @property
    def bits(self) -> int:
        """Bits of one stored element."""
        return (self.high - self.low).bit_length()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantScheme:
    """How a network is quantized; the bits themselves are a BitAssignment.

    bits: the widths that scales are prepared for, ascending. per_channel: one scale for each output channel of the
    weights instead of one for the tensor. activations: "affine" (a zero point of their own) or "symmetric" (two's
    complement); those of one sign are unsigned in both. Raises QuantError for widths outside QUANT_BITS.
    """

    bits: tuple[int, ...] = QUANT_BITS
    per_channel: bool = True
    activations: Literal["affine", "symmetric"] = "affine"

    def __post_init__(self) -> None:
        for bits in self.bits:
            check_quant_bits(bits)
        if not self.bits or tuple(sorted(set(self.bits))) != self.bits:
            message = f"bits {self.bits}: expected at least one width, ascending, each once"
            raise QuantError(message)
        if self.activations not in ("affine", "symmetric"):
            message = f"activations {self.activations!r}: expected affine or symmetric"
            raise QuantError(message)


def check_quant_bits(bits: int) -> None:
    """Raise QuantError unless tensors can be quantized to this many bits."""
    if isinstance(bits, bool) or bits not in QUANT_BITS:
        message = f"cannot quantize to {bits!r} bits"
        raise QuantError(message, hint=f"use one of {', '.join(map(str, QUANT_BITS))}")
