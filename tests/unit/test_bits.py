"""Bit-widths of a layer: their range and their short text form."""

from __future__ import annotations

import pytest

from quantloom.errors import WorkloadError
from quantloom.workload.bits import BitWidths, parse_bits


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("8", BitWidths(weights=8, inputs=8, outputs=8)),
        ("a8w4", BitWidths(weights=4, inputs=8, outputs=8)),
        ("a8w4o6", BitWidths(weights=4, inputs=8, outputs=6)),
        ("32", BitWidths.uniform(32)),
        ("1", BitWidths.uniform(1)),
    ],
)
def test_text_and_bits_are_the_same_thing(text: str, bits: BitWidths) -> None:
    assert parse_bits(text) == bits
    assert str(bits) == text


@pytest.mark.parametrize("text", ["", "eight", "w4", "a8", "8.0", "-8", "a8 w4", "a8w4o", "99999999", "٨"])
def test_unreadable_text_says_what_is_expected(text: str) -> None:
    with pytest.raises(WorkloadError, match="expected a number, aNwN or aNwNoN") as caught:
        parse_bits(text)
    assert caught.value.hint == "for example 8, a8w4 (inputs and outputs 8, weights 4) or a8w4o8"


@pytest.mark.parametrize("bits", [0, 33, -1, 8.0, True, "8"])
def test_bits_outside_1_to_32_are_refused(bits: object) -> None:
    with pytest.raises(WorkloadError, match=r"bits of inputs: expected a whole number in 1\.\.32"):
        BitWidths(weights=8, inputs=bits, outputs=8)  # type: ignore[arg-type]


def test_text_outside_the_range_names_the_tensor() -> None:
    with pytest.raises(WorkloadError, match=r"bits of weights: .* got 64"):
        parse_bits("a8w64")
