"""Workload and network files: every form gives the workload it describes, mistakes are told with their place."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.spec.workload import dump_workload_keys, load_workload, parse_workload
from quantloom.workload.bits import BitWidths
from quantloom.workload.layer import conv_workload, einsum_workload, linear_workload


def parse(text: str) -> _core.Workload:
    return parse_workload(text, "w.yaml")[0]


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse(text)
    return str(caught.value)


def test_conv_file_gives_the_workload_it_describes() -> None:
    text = "name: c1\nshape: conv\ndims: {C: 3, M: 32, R: 3, S: 5, P: 112, Q: 56}\nstride: 2\ndilation: {h: 3, w: 1}\n"
    assert parse(text) == conv_workload(
        "c1", inputs=3, outputs=32, output_size=(56, 112), kernel=(5, 3), stride=(2, 2), dilation=(3, 1)
    )


def test_what_is_left_out_is_one() -> None:
    assert parse("dims: {C: 3}") == conv_workload("workload", inputs=3, outputs=1, output_size=(1, 1), kernel=(1, 1))


def test_groups_count_channels_of_the_layer_and_the_dim_g_those_of_a_group() -> None:
    expected = conv_workload("workload", inputs=32, outputs=64, output_size=(8, 8), kernel=(3, 3), groups=16)
    assert parse("{dims: {C: 32, M: 64, R: 3, S: 3, P: 8, Q: 8}, groups: 16}") == expected
    assert parse("{dims: {G: 16, C: 2, M: 4, R: 3, S: 3, P: 8, Q: 8}}") == expected
    assert expected.dims["C"] == 2


def test_gemm_file_gives_a_linear_layer() -> None:
    assert parse("{name: fc, shape: gemm, dims: {C: 64, M: 10, N: 4}}") == linear_workload(
        "fc", inputs=64, outputs=10, batch=4
    )


def test_depthwise_of_the_records_indexes_inputs_by_m() -> None:
    workload = parse("{shape: depthwise, dims: {C: 1, M: 144, R: 3, S: 3, N: 1, P: 56, Q: 56}, Wstride: 2}")
    assert list(workload.dims) == ["C", "M", "R", "S", "N", "P", "Q"]
    ranks = {tensor.name: tensor.ranks for tensor in workload.tensors}
    assert ranks == {
        "Weights": [[("C", 1)], [("M", 1)], [("R", 1)], [("S", 1)]],
        "Inputs": [[("N", 1)], [("M", 1)], [("R", 1), ("P", 2)], [("S", 1), ("Q", 1)]],
        "Outputs": [[("N", 1)], [("M", 1)], [("Q", 1)], [("P", 1)]],
    }
    assert [tensor.name for tensor in workload.tensors if tensor.is_output] == ["Outputs"]


def test_problem_of_a_record_is_read_with_its_bits() -> None:
    text = """{"id": "r", "arch": "simba", "workload": "w1", "problem":
      {"dims": {"C": 16, "M": 16, "R": 3, "S": 3, "N": 2, "P": 28, "Q": 28},
       "Wdilation": 2, "Hdilation": 1, "Wstride": 3,
       "bitwidths": {"Inputs": 8, "Outputs": 16, "Weights": 4}}, "mapping": []}"""
    workload, bits = parse_workload(text, "r.json")
    assert bits == BitWidths(weights=4, inputs=8, outputs=16)
    assert workload == conv_workload(
        "w1", inputs=16, outputs=16, output_size=(28, 28), kernel=(3, 3), stride=(1, 3), dilation=(1, 2), batch=2
    )
    assert parse_workload('{"dims": {"C": 1}, "bitwidths": null}', "r.json")[1] is None


def test_einsum_file_gives_the_workload_it_describes() -> None:
    text = """
name: qk
dims: {B: 8, I: 64, J: 64, K: 32}
tensors:
  Keys: [B, J, K]
  Queries: [B, 2*I + K]
  Scores: [B, I, J]
output: Scores
bits: 8
"""
    workload, bits = parse_workload(text, "w.yaml")
    dims = {"B": 8, "I": 64, "J": 64, "K": 32}
    tensors = {"Keys": ["B", "J", "K"], "Queries": ["B", "2*I + K"], "Scores": ["B", "I", "J"]}
    assert workload == einsum_workload("qk", dims, tensors, output="Scores")
    assert bits == BitWidths.uniform(8)


def test_file_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("{dims: {C: 3}, bits: a8w4}")
    assert load_workload(path) == (parse("dims: {C: 3}"), BitWidths(weights=4, inputs=8, outputs=8))
    path.write_text("dims: 3")
    with pytest.raises(SpecError) as caught:
        load_workload(path)
    assert (
        str(caught.value)
        == f"{path}:1:7: dims: read `3`, expected a mapping from dims to bounds, such as {{C: 3, M: 32}}"
    )


@pytest.mark.parametrize(
    "workload",
    [
        conv_workload("a", inputs=3, outputs=8, output_size=(5, 7), kernel=(3, 1), stride=(2, 1), dilation=(1, 2)),
        conv_workload("b", inputs=8, outputs=16, output_size=(5, 5), kernel=(3, 3), groups=8, stride=(2, 2), batch=2),
        linear_workload("c", inputs=10, outputs=3, batch=2),
        einsum_workload("d", {"I": 4, "K": 5}, {"A": ["I + 3*K"], "B": ["K"], "Z": ["I"]}, output="Z"),
        parse("{name: e, shape: depthwise, dims: {M: 8, R: 3, S: 3, P: 4, Q: 4}, stride: 2}"),
    ],
    ids=lambda workload: workload.name,
)
def test_dumped_keys_read_back(workload: _core.Workload) -> None:
    text = "\n".join([f"name: {workload.name}", *dump_workload_keys(workload)])
    assert parse(text) == workload


def test_usual_layers_are_dumped_in_the_short_form() -> None:
    conv = conv_workload("a", inputs=3, outputs=8, output_size=(5, 7), kernel=(3, 1), stride=(2, 1), dilation=(2, 2))
    assert dump_workload_keys(conv) == [
        "shape: conv",
        "dims: {C: 3, M: 8, R: 1, S: 3, N: 1, P: 7, Q: 5}",
        "stride: {h: 2, w: 1}",
        "dilation: 2",
    ]
    assert dump_workload_keys(linear_workload("c", inputs=10, outputs=3)) == [
        "shape: gemm",
        "dims: {C: 10, M: 3, N: 1}",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x", "w.yaml:1:1: key `dims` is missing, expected a mapping from dims to bounds"),
        ("dims: {C: 3, W: 5}", "w.yaml:1:14: dims.W: unknown dim\n  hint: known dims: G, C, M, R, S, N, P, Q"),
        (
            "dims: {C: 0, M: x}",
            "w.yaml:1:11: dims.C: read `0`, expected an integer 1..2147483648\n"
            "w.yaml:1:17: dims.M: read `x`, expected an integer 1..2147483648",
        ),
        ("dims: {C: 3}\nshape: con", "w.yaml:2:8: shape: unknown shape `con`\n  hint: did you mean `conv`?"),
        ("dims: {C: 3}\nstrides: 2", "w.yaml:2:1: strides: unknown key\n  hint: did you mean `stride`?"),
        (
            "dims: {C: 3}\nstride: [2, 2]",
            "w.yaml:2:9: stride: read a list of 2, expected a number, or height and width such as {h: 2, w: 1}",
        ),
        (
            "dims: {C: 3}\nstride: 2\nWstride: 2",
            "w.yaml:2:9: stride: given beside Hstride or Wstride, expected one way of writing",
        ),
        (
            "dims: {C: 6, M: 4}\ngroups: 4",
            "w.yaml:2:9: groups: read `4`, expected a divisor of the 6 input and 4 output channels",
        ),
        ("dims: {G: 2, C: 6, M: 4}\ngroups: 2", "w.yaml:2:9: groups: given beside the dim G, expected one of them"),
        ("shape: gemm\ndims: {C: 6, K: 4}", "w.yaml:2:14: dims.K: unknown dim\n  hint: known dims: C, M, N"),
        (
            "shape: gemm\ndims: {C: 6}\nstride: 2",
            "w.yaml:3:9: stride: a gemm has none\n  hint: C is the input features, M the output features, N the batch",
        ),
        (
            "shape: depthwise\ndims: {C: 6, M: 6}",
            "w.yaml:2:7: dims: C is 6, expected 1 in a depthwise layer\n  hint: M gives the channels",
        ),
        ("dims: {C: 3}\nbits: 40", "w.yaml:2:7: bits: read `40`, expected bits 1..32 such as 8, a8w4 or a8w4o8"),
        (
            "dims: {C: 3}\nbits: {Weights: 8, Inputs: 40}",
            "w.yaml:2:7: bits: key `Outputs` is missing, expected its bits, 1..32\n"
            "w.yaml:2:28: bits.Inputs: read `40`, expected an integer 1..32",
        ),
        (
            "dims: {I: 3}\ntensors: {A: [I, J], Outputs: [I + I]}\nstride: 2",
            "w.yaml:2:18: tensors.A[1]: unknown dim `J`\n  hint: dims: I\n"
            "w.yaml:2:32: tensors.Outputs[0]: dim `I` stands twice in one rank\n"
            "w.yaml:3:9: stride: given beside `tensors`\n"
            "  hint: write strides and dilations into the ranks, such as 2*P + R",
        ),
        (
            "dims: {I: 3}\ntensors: {A: [I - 1], Outputs: [I]}",
            "w.yaml:2:15: tensors.A[0]: read `I - 1`, expected a rank: a sum of dims with whole coefficients, such as "
            "2*P + R",
        ),
        (
            "dims: {I: 3}\ntensors: {A: [I], Z: [I]}",
            "w.yaml:2:10: tensors: the output tensor `Outputs` is not among the tensors\n  hint: tensors: A, Z",
        ),
        ("dims: {C: 3}\noutput: Outputs", "w.yaml:2:9: output: given without `tensors`\n  hint: a conv writes Outputs"),
        ("dims: {I: 3}\ntensors: {Outputs: [I]}", "w.yaml:1:1: workload 'workload': has 1 tensors, expected 2 to 8"),
        ("- 3", "w.yaml:1:1: read a list of 1, expected a layer: a mapping with name, shape, dims, ..."),
    ],
)
def test_mistakes_are_told_with_line_path_and_hint(text: str, message: str) -> None:
    assert error_of(text) == message


FILES = [
    "name: c1\nshape: conv\ndims: {C: 3, M: 32, R: 3, S: 5}\nstride: 2\ndilation: {h: 3, w: 1}\ngroups: 1\nbits: 8\n",
    "dims: {I: 8, K: 4}\ntensors:\n  A: [I + 2*K]\n  B: [K]\n  Z: [I]\noutput: Z\nbits: {Weights: 1}\n",
    '{"problem": {"dims": {"C": 3}, "Wstride": 2, "bitwidths": {"Inputs": 8, "Outputs": 16, "Weights": 4}}}',
]
WORDS = [
    "",
    "0",
    "[]",
    "{}",
    "null",
    "'",
    "\t",
    "\n",
    ": ",
    "- ",
    "&a",
    "*a",
    "x",
    "G",
    "problem",
    "9" * 30,
    "99999999",
]


@settings(max_examples=300)
@given(st.sampled_from(FILES), st.data())
def test_any_change_of_a_file_gives_a_workload_or_a_spec_error(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + data.draw(st.sampled_from(WORDS) | st.text(max_size=5)) + text[end:]
    with contextlib.suppress(SpecError):
        parse(text)
