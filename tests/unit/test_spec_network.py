"""Network files: layers and edges by name, a round trip changes nothing, mistakes are told with their place."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantloom.errors import SpecError
from quantloom.spec.network import dump_network, load_network_yaml, parse_network
from quantloom.workload.layer import conv_workload, einsum_workload
from quantloom.workload.network import Edge, Layer, Network

SMALL = """\
name: net
input_shape: [3, 8, 8]
edges:
  - {name: image, shape: [3, 8, 8]}
  - {name: trunk, shape: [4, 8, 8], group: sum}
  - {name: add, shape: [4, 8, 8], group: sum, node: add_1}
  - {name: logits, shape: [10]}
layers:
  - {name: conv, reads: image, writes: trunk, dims: {C: 3, M: 4, R: 3, S: 3, P: 8, Q: 8}, node: conv_1}
  - {name: fc, reads: add, writes: logits, shape: gemm, dims: {C: 256, M: 10}}
"""


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_network(text, "n.yaml")
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def test_small_file_gives_the_record_it_describes(tmp_path: Path) -> None:
    path = tmp_path / "n.yaml"
    path.write_text(SMALL)
    network = load_network_yaml(path)
    assert network.edges == (
        Edge(name="image", node="image", elements=192, shape=(3, 8, 8), group=0),
        Edge(name="trunk", node="trunk", elements=256, shape=(4, 8, 8), group=1),
        Edge(name="add", node="add_1", elements=256, shape=(4, 8, 8), group=1),
        Edge(name="logits", node="logits", elements=10, shape=(10,), group=2),
    )
    conv = conv_workload("conv", inputs=3, outputs=4, output_size=(8, 8), kernel=(3, 3))
    assert network.layers[0] == Layer(
        name="conv", node="conv_1", workload=conv, weights_elements=108, input_edge=0, output_edge=1
    )
    assert (network.layers[1].weights_elements, network.layers[1].input_edge) == (2560, 2)
    assert (network.name, network.input_shape) == ("net", (3, 8, 8))


def test_networks_survive_a_round_trip() -> None:
    network = parse_network(SMALL, "n.yaml")
    assert parse_network(dump_network(network), "n.yaml") == network
    shared = einsum_workload(
        "odd: name", {"I": 4, "K": 6}, {"Weights": ["K"], "Inputs": ["I + 2*K"], "Outputs": ["I"]}, output="Outputs"
    )
    odd = Network(
        name="true",
        layers=(Layer(name="odd: name", node="n", workload=shared, weights_elements=3, input_edge=0, output_edge=1),),
        edges=(
            Edge(name="# in", node="x", elements=15, shape=(15,), group=0),
            Edge(name='"out"', node="y", elements=4, shape=(4,), group=1),
        ),
        input_shape=(3, 5),
    )
    assert parse_network(dump_network(odd), "n.yaml") == odd


def test_a_traced_network_survives_a_round_trip() -> None:
    from quantloom import zoo
    from quantloom.workload.from_torch import network_from_torch

    network = network_from_torch(zoo.build("mobilenet_v2"), (3, 224, 224), "mobilenet_v2")
    assert parse_network(dump_network(network), "n.yaml") == network


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "reads: add",
            "reads: addd",
            "n.yaml:10:23: layers[1].reads: unknown edge `addd`\n  hint: did you mean `add`?",
        ),
        (
            "reads: add",
            "read: add",
            "n.yaml:10:16: layers[1].read: unknown key\n  hint: did you mean `reads`?",
        ),
        (
            "reads: add, ",
            "",
            "n.yaml:10:5: layers[1]: key `reads` is missing, expected the name of an edge",
        ),
        (
            "name: fc",
            "name: conv",
            "n.yaml:10:5: layers[1]: a second layer named `conv`, the first is on line 9",
        ),
        (
            "name: trunk",
            "name: image",
            "n.yaml:5:12: edges[1].name: a second edge named `image`, the first is on line 4\n"
            "n.yaml:9:40: layers[0].writes: unknown edge `trunk`\n  hint: edges: image, add, logits",
        ),
        (
            "shape: [10]",
            "shape: [ten, 0]",
            "n.yaml:7:28: edges[3].shape[0]: read `ten`, expected an integer 1..2147483648\n"
            "n.yaml:7:33: edges[3].shape[1]: read `0`, expected an integer 1..2147483648",
        ),
        (
            "input_shape: [3, 8, 8]",
            "input_shape: [3, 8, 9]",
            "n.yaml:2:14: input_shape: [3, 8, 9] does not hold the 192 elements of the first edge",
        ),
        (
            "dims: {C: 256, M: 10}",
            "dims: {C: 256, MM: 10}",
            "n.yaml:10:72: layers[1].dims.MM: unknown dim\n  hint: did you mean `M`?",
        ),
        (
            "shape: gemm, dims: {C: 256, M: 10}",
            "dims: {I: 2}, tensors: {A: [I], Z: [I]}, output: Z",
            "n.yaml:10:5: layers[1]: the tensors are `A`, `Z`, expected Weights, Inputs and Outputs in a network",
        ),
        (
            SMALL[SMALL.index("layers:") :],
            "layers: []\n",
            "n.yaml:1:1: network net has no layer with weights\n"
            "  hint: it needs at least one convolution, linear layer or matrix product",
        ),
    ],
)
def test_mistakes_are_told_with_line_path_and_hint(old: str, new: str, message: str) -> None:
    text = SMALL.replace(old, new, 1) if old == "shape: [10]" else changed(old, new)
    assert error_of(text) == message


def test_a_file_of_another_kind_is_refused() -> None:
    assert error_of("[]") == "n.yaml:1:1: read a list of 0, expected a mapping with name, edges, layers"


def test_a_workload_file_is_a_network_of_its_layer() -> None:
    network = parse_network("{name: conv, dims: {C: 3, M: 4, R: 3, S: 3, P: 8, Q: 8}, stride: 2}", "w.yaml")
    conv = conv_workload("conv", inputs=3, outputs=4, output_size=(8, 8), kernel=(3, 3), stride=(2, 2))
    assert network.layers == (
        Layer(name="conv", node="conv", workload=conv, weights_elements=108, input_edge=0, output_edge=1),
    )
    assert [(edge.name, edge.elements, edge.group) for edge in network.edges] == [
        ("Inputs", 3 * 17 * 17, 0),
        ("Outputs", 4 * 8 * 8, 1),
    ]
    assert parse_network(dump_network(network), "n.yaml") == network


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{name: c, dims: {C: 3, M: 4}, bits: 8}",
            "n.yaml:1:31: bits: the file gives bits, which a network does not have\n"
            "  hint: leave them out and give them with --bits",
        ),
        (
            "{name: g, dims: {I: 2, J: 3}, tensors: {A: [I], B: [J], Z: [I, J]}, output: Z}",
            "n.yaml:1:1: the tensors are `A`, `B`, `Z`, expected Weights, Inputs and Outputs in a network",
        ),
        ("{name: c, dims: {C: 0, M: 4}}", "n.yaml:1:21: dims.C: read `0`, expected an integer 1..2147483648"),
    ],
)
def test_workload_files_that_make_no_network_say_why(text: str, message: str) -> None:
    assert message in error_of(text)


WORDS = ["", "0", "[]", "{}", "null", "'", "\t", "\n", ": ", "- ", "&a", "*a", "x", "G", "image", "9" * 30, "99999999"]


@settings(max_examples=200)
@given(st.data())
def test_any_change_of_a_file_gives_a_network_or_a_spec_error(data: st.DataObject) -> None:
    text = SMALL
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + data.draw(st.sampled_from(WORDS) | st.text(max_size=5)) + text[end:]
    with contextlib.suppress(SpecError):
        parse_network(text, "n.yaml")
