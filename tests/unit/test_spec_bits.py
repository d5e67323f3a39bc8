"""BITS in all its forms, joined to a layer or to a network."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantloom.errors import SpecError
from quantloom.spec.bits import dump_bits, load_bits, parse_bits_file
from quantloom.spec.network import parse_network
from quantloom.workload.bits import BitWidths
from quantloom.workload.network import BitAssignment

NETWORK = parse_network(
    """
name: net
input_shape: [3, 8, 8]
edges:
  - {name: image, shape: [3, 8, 8]}
  - {name: trunk, shape: [4, 8, 8], group: sum}
  - {name: branch, shape: [4, 8, 8], group: sum}
  - {name: add, shape: [4, 8, 8], group: sum}
  - {name: logits, shape: [10]}
layers:
  - {name: conv.0, reads: image, writes: trunk, dims: {C: 3, M: 4, R: 3, S: 3, P: 8, Q: 8}}
  - {name: conv.1, reads: trunk, writes: branch, dims: {C: 4, M: 4, R: 3, S: 3, P: 8, Q: 8}}
  - {name: fc, reads: add, writes: logits, shape: gemm, dims: {C: 256, M: 10}}
""",
    "net.yaml",
)


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_bits_file(text, "b.yaml").for_network(NETWORK)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "weights", "inputs", "outputs"),
    [("8", 8, 8, 8), ("a8w4", 4, 8, 8), ("a8w4o6", 4, 8, 6), ("1", 1, 1, 1), ("32", 32, 32, 32)],
)
def test_short_forms_give_the_bits_of_a_layer(text: str, weights: int, inputs: int, outputs: int) -> None:
    bits = load_bits(text)
    expected = BitWidths(weights=weights, inputs=inputs, outputs=outputs)
    assert bits.for_workload() == expected
    assert bits.for_layer(NETWORK, 1) == expected


def test_short_forms_give_the_bits_of_a_network() -> None:
    assert load_bits("8").for_network(NETWORK) == BitAssignment.uniform(NETWORK, 8)
    assert load_bits("a8w4").for_network(NETWORK) == BitAssignment(weights=(4, 4, 4), groups=(8, 8, 8))


NO_BITS = ["0", "33", "-8", "8.0", "w4a8", "a8", "w4", "a8w4o", "a0w4", "", "eight", "a8w4o8 ", "9" * 5000]


@pytest.mark.parametrize("text", NO_BITS)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_bits(text)
    assert caught.value.message.endswith("expected bits 1..32 such as 8, a8w4 or a8w4o8, or a YAML file")
    assert caught.value.hint == "a8w4o6: activations read 8, weights 4, activations written 6 bits"


def test_message_shows_what_was_read() -> None:
    with pytest.raises(SpecError) as caught:
        load_bits("w4a8")
    assert caught.value.message == "bits `w4a8`: expected bits 1..32 such as 8, a8w4 or a8w4o8, or a YAML file"


def test_outputs_of_their_own_are_for_single_layers() -> None:
    with pytest.raises(SpecError) as caught:
        load_bits("a8w4o6").for_network(NETWORK)
    assert str(caught.value) == (
        "a8w4o6: inputs 8 and outputs 6 bits, expected them equal for a whole network\n"
        "  hint: what one layer writes the next one reads; give bits such as a8w4"
    )


def test_file_gives_bits_by_layer_and_edge(tmp_path: Path) -> None:
    path = tmp_path / "bits.yaml"
    path.write_text("default: a8w6\nweights: {conv.0: 8, 3: 2}\nactivations: {branch: 4}\n")
    bits = load_bits(path)
    assert bits.for_network(NETWORK) == BitAssignment(weights=(8, 6, 2), groups=(8, 4, 8))
    assert bits.for_layer(NETWORK, 0) == BitWidths(weights=8, inputs=8, outputs=4)
    with pytest.raises(SpecError) as caught:
        bits.for_workload()
    assert str(caught.value) == (
        f"{path}: gives bits by layer and edge, expected the same for any layer\n"
        "  hint: give bits 1..32 such as 8, a8w4 or a8w4o8"
    )


def test_a_default_alone_is_enough() -> None:
    assert parse_bits_file("default: 5", "b.yaml").for_workload() == BitWidths.uniform(5)


def test_missing_file_is_told_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "bits.yaml"
    with pytest.raises(SpecError) as caught:
        load_bits(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "weights: {conv.0: 8, conv.2: 4}\nactivations: {image: 8}",
            "b.yaml:1:1: no bits for conv.1, fc, trunk, branch, add, ...\n  hint: list them, or give a `default`\n"
            "b.yaml:1:30: weights[conv.2]: net has no layer `conv.2`\n  hint: did you mean `conv.1`?",
        ),
        (
            "default: 8\nactivations:\n  trunk: 8\n  add: 4\n  imag: 3\n",
            "b.yaml:4:8: activations.add: 4 bits, expected the 8 of `trunk`\n"
            "  hint: edges joined by a residual add share their bits\n"
            "b.yaml:5:9: activations.imag: net has no edge `imag`\n  hint: did you mean `image`?",
        ),
        (
            "default: 8\nweights: {conv.0: 8, 1: 8}",
            "b.yaml:2:25: weights[1]: a second time bits for the layer `conv.0`",
        ),
        (
            "default: w8\nweights: {conv.0: 33}\nlayers: {}",
            "b.yaml:1:10: default: read `w8`, expected bits 1..32 such as 8, a8w4 or a8w4o8\n"
            "b.yaml:2:19: weights[conv.0]: read `33`, expected an integer 1..32\n"
            "b.yaml:3:1: layers: unknown key\n  hint: known keys: default, weights, activations",
        ),
        ("{}", "b.yaml:1:1: read a mapping, expected at least one of default, weights, activations"),
        ("8", "b.yaml:1:1: read `8`, expected a mapping with default, weights, activations"),
    ],
)
def test_mistakes_are_told_with_line_path_and_hint(text: str, message: str) -> None:
    assert error_of(text) == message


@given(st.lists(st.integers(1, 32), min_size=6, max_size=6))
def test_assignments_survive_a_round_trip(bits: list[int]) -> None:
    assignment = BitAssignment(weights=tuple(bits[:3]), groups=tuple(bits[3:]))
    assert parse_bits_file(dump_bits(assignment, NETWORK), "b.yaml").for_network(NETWORK) == assignment


@given(st.text(alphabet="default: 8a4w\nighsctvo{}[],'-0.1", max_size=60))
def test_any_text_gives_bits_or_a_spec_error(text: str) -> None:
    with contextlib.suppress(SpecError):
        parse_bits_file(text, "b.yaml").for_network(NETWORK)
