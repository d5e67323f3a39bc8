"""Reading networks from ONNX files: totals, edges and bit groups, sizes left open, and what cannot be read."""

from __future__ import annotations

import math
import random
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from quantloom import zoo
from quantloom.errors import QuantloomError, SpecError, UnsupportedOpError, WorkloadError
from quantloom.workload.load import load_network
from quantloom.workload.network import Network


def export(module: nn.Module, inputs: tuple[torch.Tensor, ...], path: Path, **options: object) -> None:
    """Write a module as ONNX by tracing it, which needs nothing but torch and onnx."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but the other exporter needs another package
        torch.onnx.export(module.train(False), inputs, str(path), dynamo=False, **options)  # type: ignore[arg-type]


def slow_macs(path: Path) -> int:
    """MACs of a file whose shapes are fixed, from the sizes of its results alone: outputs * products of one output."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)), data_prop=True)
    shapes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in (*model.graph.input, *model.graph.value_info, *model.graph.output)
    } | {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        outputs = math.prod(shapes[node.output[0]]) if node.output[0] in shapes else 0
        if node.op_type == "Conv":
            total += outputs * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "MatMul":
            total += outputs * shapes[node.input[0]][-1]
        elif node.op_type == "Gemm":
            transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
            total += outputs * shapes[node.input[0]][0 if transposed else 1]
    return total


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int | str | None]],
    outputs: list[str],
    weights: dict[str, list[int]],
    opset: int = 17,
) -> str:
    """A file of these nodes; weights are zeros."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [helper.make_tensor(n, TensorProto.FLOAT, dims, [0.0] * math.prod(dims)) for n, dims in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    path.write_bytes(model.SerializeToString())
    return str(path)


def groups(network: Network) -> list[set[str]]:
    return [{network.edges[index].name for index in group} for group in network.edge_groups]


# ---- whole networks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_a_network_of_the_zoo_is_the_same_through_onnx(tmp_path: Path, opset: int) -> None:
    spec = zoo.parse_model("mobilenet_v2:width=0.25,input=32,classes=10")
    direct = load_network(spec.text)
    path = tmp_path / "net.onnx"
    image = torch.zeros(1, *spec.input_shape)
    export(zoo.build(spec.name, **spec.options), (image,), path, opset_version=opset)
    network = load_network(str(path))
    assert [layer.workload.renamed("") for layer in network.layers] == [
        layer.workload.renamed("") for layer in direct.layers
    ]
    assert (network.macs, network.weights) == (direct.macs, direct.weights)
    assert network.macs == slow_macs(path)
    assert [edge.shape for edge in network.edges] == [edge.shape for edge in direct.edges]
    assert network.edge_groups == direct.edge_groups


def test_axes_left_open_are_given_behind_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(2), nn.Flatten(1))
    axes = {"image": {0: "n", 2: "height", 3: "width"}}
    export(model, (torch.zeros(1, 3, 8, 8),), path, opset_version=17, input_names=["image"], dynamic_axes=axes)
    with pytest.raises(SpecError) as caught:
        load_network(str(path))
    assert caught.value.message == (
        f"{path}: axis 2 of input `image` has no size (`height`)\n  axis 3 of input `image` has no size (`width`)"
    )
    assert caught.value.hint == "give sizes behind the file, as in net.onnx:height=N,width=N"
    for options in ("height=10,width=12", "shape=3x10x12"):
        network = load_network(f"{path}:{options}")
        assert (network.input_shape, network.macs) == ((3, 10, 12), 4 * 27 * 80)
    assert load_network(f"{path}:batch=2,shape=3x10x12").macs == 2 * 4 * 27 * 80
    assert load_network(str(path), input_shape=(3, 10, 12)).macs == 4 * 27 * 80


def test_axes_without_names_are_given_by_the_shape_of_their_input(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], "m"), helper.make_node("Add", ["a", "state"], ["y"], "s")]
    inputs: dict[str, list[int | str | None]] = {"x": ["n", "length", 4], "state": ["n", None, 6]}
    path = save(tmp_path / "n.onnx", nodes, inputs, ["y"], {"w": [4, 6]})
    with pytest.raises(SpecError) as caught:
        load_network(path)
    assert caught.value.message.endswith("axis 1 of input `state` has no size (without a name)")
    assert caught.value.hint == "give sizes behind the file, as in n.onnx:length=N,state=1xNx6"
    assert load_network(f"{path}:length=3,state=1x3x6").macs == 3 * 24
    assert load_network(f"{path}:batch=2,length=3,state=2x3x6").macs == 2 * 3 * 24


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(50, 16), nn.Linear(16, 3)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(tokens)).mean(1))


def test_encoder_with_open_length_has_products_of_activations_and_a_table(tmp_path: Path) -> None:
    path = tmp_path / "encoder.onnx"
    tokens = torch.zeros(1, 6, dtype=torch.long)
    axes = {"tokens": {0: "n", 1: "length"}}
    export(Encoder(), (tokens,), path, opset_version=17, input_names=["tokens"], dynamic_axes=axes)
    network = load_network(f"{path}:length=6")
    linear = 6 * (16 * 48 + 16 * 16 + 2 * 16 * 32) + 16 * 3
    assert network.macs == linear + 2 * 6 * 6 * 16
    assert (network.weights, network.tables) == (16 * 48 + 16 * 16 + 2 * 16 * 32 + 16 * 3, 50 * 16)
    scores, values = (layer for layer in network.layers if layer.weights_edge is not None)
    assert dict(scores.workload.dims) | {"G": 2, "C": 8, "M": 6, "N": 6} == dict(scores.workload.dims)
    assert dict(values.workload.dims) | {"G": 2, "C": 6, "M": 8, "N": 6} == dict(values.workload.dims)
    queries, keys = network.edges[scores.input_edge], network.edges[scores.weights_edge or 0]
    assert (queries.shape, keys.shape, queries.group == keys.group) == ((2, 6, 8), (2, 8, 6), True)
    lookup = next(operator for operator in network.operators if operator.table_elements)
    assert (lookup.kind, lookup.treatment) == ("Gather", "traffic")
    assert (lookup.elements_read, lookup.elements_written) == (6 + 6 * 16, 6 * 16)


# ---- single operators ------------------------------------------------------------------------------------------------


def test_bits_pass_through_reshape_transpose_concat_and_add(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["left"], "left"),
        helper.make_node("Conv", ["x", "b"], ["right"], "right"),
        helper.make_node("Concat", ["left", "right"], ["both"], "both", axis=1),
        helper.make_node("Transpose", ["both"], ["turned"], "turned", perm=[0, 1, 3, 2]),
        helper.make_node("Conv", ["turned", "c"], ["third"], "third"),
        helper.make_node("Add", ["third", "both"], ["sum"], "sum"),
        helper.make_node("Flatten", ["sum"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "d"], ["y"], "y"),
    ]
    weights = {"a": [2, 3, 1, 1], "b": [4, 3, 1, 1], "c": [6, 6, 1, 1], "d": [6 * 16, 5]}
    network = load_network(save(tmp_path / "n.onnx", nodes, {"x": [1, 3, 4, 4]}, ["y"], weights))
    assert groups(network) == [{"x"}, {"left", "right", "both", "third", "sum"}, {"y"}]
    assert network.edges[network.layer("third").input_edge].name == "both"
    assert {op.name: op.treatment for op in network.operators} == {
        "both": "free",
        "turned": "free",
        "sum": "traffic",
        "flat": "free",
    }


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation", "extra", "groups_"),
    [
        (2, 2, 0, 1, 0, 1),
        (4, 2, 1, 1, 0, 1),
        (3, 2, 1, 1, 1, 2),
        (3, 2, 1, 1, 0, 1),
        (3, 1, 1, 1, 0, 1),
        (3, 2, 2, 2, 1, 1),
    ],
)
def test_transposed_convolution_multiplies_no_zeros(
    tmp_path: Path, kernel: int, stride: int, padding: int, dilation: int, extra: int, groups_: int
) -> None:
    path = tmp_path / "up.onnx"
    up = nn.ConvTranspose1d(4, 6, kernel, stride, padding, extra, groups_, dilation=dilation)
    export(up, (torch.zeros(1, 4, 7),), path, opset_version=17)
    network = load_network(str(path))
    size = (7 - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
    taps = sum(
        (o + padding - k * dilation) % stride == 0 for o in range(size) for k in range(kernel)
    )  # those whose input may be beyond the border, as in any convolution
    assert network.macs == taps * 4 * 6 // groups_
    assert network.weights == 4 * 6 * kernel // groups_
    assert len({layer.output_edge for layer in network.layers}) == 1
    assert {network.weights_variable(index) for index in range(len(network.layers))} == {0}
    assert network.edges[-1].shape == (6, size)


def test_convolutions_of_three_axes_have_depth(tmp_path: Path) -> None:
    path = tmp_path / "volume.onnx"
    conv = nn.Conv3d(4, 6, (3, 2, 1), stride=(2, 1, 1), padding=(1, 0, 0), groups=2)
    export(conv, (torch.zeros(1, 4, 8, 6, 5),), path, opset_version=17)
    network = load_network(str(path))
    assert dict(network.layers[0].workload.dims) == {
        **{"G": 2, "C": 2, "M": 3, "R": 1, "S": 2, "T": 3},
        **{"N": 1, "P": 5, "Q": 5, "O": 4},
    }
    assert (network.macs, network.weights) == (slow_macs(path), 6 * 2 * 6)


def test_recurrent_layer_is_a_product_of_inputs_and_one_of_states(tmp_path: Path) -> None:
    path = tmp_path / "lstm.onnx"

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 5, bidirectional=True, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    export(Last(), (torch.zeros(1, 9, 8),), path, opset_version=17)
    network = load_network(str(path))
    assert [layer.workload.macs for layer in network.layers] == [9 * 8 * 40, 2 * 9 * 5 * 20]
    assert network.weights == 40 * 8 + 2 * 20 * 5


def test_attention_with_shared_keys_counts_every_query_head(tmp_path: Path) -> None:
    nodes = [helper.make_node("Attention", ["q", "k", "v"], ["y"], "attention")]
    inputs: dict[str, list[int | str | None]] = {"q": [1, 8, 5, 4], "k": [1, 2, 7, 4], "v": [1, 2, 7, 6]}
    network = load_network(save(tmp_path / "a.onnx", nodes, inputs, ["y"], {}, opset=23))
    assert [layer.name for layer in network.layers] == ["attention.scores", "attention.values"]
    assert [layer.workload.macs for layer in network.layers] == [8 * 5 * 7 * 4, 8 * 5 * 7 * 6]
    assert {dim: network.layers[0].workload.dims[dim] for dim in "GCMN"} == {"G": 2, "C": 4, "M": 7, "N": 4 * 5}


@pytest.mark.parametrize(
    ("equation", "first", "second", "dims"),
    [
        ("bhid,bhjd->bhij", [2, 3, 4, 5], [2, 3, 6, 5], {"G": 6, "C": 5, "M": 6, "N": 4}),
        ("...ij,jk->...ik", [2, 3, 4], [4, 5], {"C": 4, "M": 5, "N": 6}),
        ("ij,jk", [3, 4], [4, 5], {"C": 4, "M": 5, "N": 3}),
    ],
)
def test_einsum_is_a_grouped_linear_layer(
    tmp_path: Path, equation: str, first: list[int | str | None], second: list[int | str | None], dims: dict[str, int]
) -> None:
    nodes = [helper.make_node("Einsum", ["x", "w"], ["y"], "e", equation=equation)]
    path = save(tmp_path / "e.onnx", nodes, {"x": first, "w": second}, ["y"], {})
    found = dict(load_network(path).layers[0].workload.dims)
    assert {dim: bound for dim, bound in found.items() if bound > 1} == dims


def test_a_layer_that_uses_weights_again_shares_their_bits(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "first"),
        helper.make_node("Transpose", ["w"], ["t"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["a", "t"], ["y"], "second"),
    ]
    network = load_network(save(tmp_path / "t.onnx", nodes, {"x": [1, 4]}, ["y"], {"w": [4, 4]}))
    assert (network.weights, network.layers[1].weights_layer) == (16, 0)
    assert [network.weights_variable(index) for index in (0, 1)] == [0, 0]


# ---- what cannot be read ---------------------------------------------------------------------------------------------


def two_unknown(path: Path) -> str:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        helper.make_node("Det", ["a"], ["b"], "det"),
        helper.make_node("Bernoulli", ["b"], ["y"], "dice"),
    ]
    return save(path, nodes, {"x": [1, 3, 4, 4]}, ["y"], {"w": [2, 3, 1, 1]})


def test_unsupported_operators_are_reported_together_with_what_would_be_assumed(tmp_path: Path) -> None:
    path = two_unknown(tmp_path / "n.onnx")
    with pytest.raises(UnsupportedOpError) as caught:
        load_network(path)
    assert caught.value.message == ("n.onnx: 2 unsupported operator(s)\n  node `det`: Det\n  node `dice`: Bernoulli")
    assert (caught.value.hint or "").startswith("with `unknown=traffic` behind the model each is assumed to read")
    network = load_network(f"{path}:unknown=traffic")
    assert [(op.name, op.treatment, op.elements_read, op.elements_written) for op in network.operators] == [
        ("det", "assumed", 32, 2),
        ("dice", "assumed", 2, 2),
    ]


def test_of_what_depends_on_values_the_source_is_named_and_beside_it_all_that_is_unknown(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
        helper.make_node("Greater", ["y", "zero"], ["c"], name="positive"),
        helper.make_node("Compress", ["y", "c"], ["picked"], name="pick"),  # as many as are positive
        helper.make_node("Relu", ["picked"], ["r"], name="relu"),
        helper.make_node("Enigma", ["r"], ["e"], name="enigma"),
        helper.make_node("Mystery", ["y"], ["m"], name="mystery"),
        helper.make_node("Add", ["e", "m"], ["out"], name="add"),
    ]
    weights = {"w": [4, 3, 1, 1], "zero": [1]}
    path = save(tmp_path / "n.onnx", nodes, {"x": [1, 3, 4, 4]}, ["out"], weights)
    with pytest.raises(UnsupportedOpError) as caught:
        load_network(path)
    assert caught.value.message.splitlines()[1:] == [
        "  node `pick`: Compress of 2 activations",
        "  node `enigma`: Enigma",
        "  node `mystery`: Mystery",
    ]


def test_a_size_that_is_open_all_the_way_is_refused_where_it_begins(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
        helper.make_node("Relu", ["y"], ["c"], name="rectify"),
        helper.make_node("Cast", ["c"], ["b"], name="cast", to=TensorProto.BOOL),
        helper.make_node("Compress", ["y", "b"], ["picked"], name="pick"),
        helper.make_node("Flatten", ["picked"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "v"], ["out"], name="matmul"),
    ]
    path = save(tmp_path / "n.onnx", nodes, {"x": [1, 3, 4, 4]}, ["out"], {"w": [4, 3, 1, 1], "v": [1, 7]})
    with pytest.raises(UnsupportedOpError) as caught:
        load_network(path)
    assert caught.value.message.splitlines()[1:] == ["  node `pick`: Compress of 2 activations"]


def test_operator_of_another_domain_without_shape_cannot_be_assumed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        helper.make_node("Magic", ["a"], ["y"], "magic", domain="my.ops"),
    ]
    path = save(tmp_path / "n.onnx", nodes, {"x": [1, 3, 4, 4]}, ["y"], {"w": [2, 3, 1, 1]})
    with pytest.raises(UnsupportedOpError) as caught:
        load_network(f"{path}:unknown=traffic")
    assert "node `magic`: my.ops.Magic" in caught.value.message
    assert "unknown=traffic" not in (caught.value.hint or "")


def good_model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        helper.make_node("Relu", ["a"], ["y"], "relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.FLOAT, [2, 3, 1, 1], bytes(24), raw=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def no_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


def external(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


BROKEN: list[tuple[Callable[[onnx.ModelProto], object], str]] = [
    (lambda m: m.graph.ClearField("node"), "holds no ONNX graph"),
    (no_opset, "no version of the standard operators (opset)"),
    (lambda m: setattr(m.opset_import[0], "version", 999), "opset 999, expected 7.."),
    (lambda m: setattr(m.opset_import[0], "version", 1), "opset 1, expected 7.."),
    (lambda m: m.graph.ClearField("initializer"), "node `conv` (Conv) reads `w`, which nothing writes"),
    (
        lambda m: m.graph.node[0].input.__setitem__(0, "y"),
        "the graph has a cycle, among node `conv` (Conv), node `relu`",
    ),
    (lambda m: m.graph.node[1].output.__setitem__(0, "a"), "writes `a`, which has a value already"),
    (
        lambda m: m.graph.initializer[0].dims.__setitem__(0, 1 << 40),
        "tensor `w` has the shape [1099511627776, 3, 1, 1]",
    ),
    (
        lambda m: m.graph.initializer[0].dims.__setitem__(0, 1 << 30),
        "of shape [1073741824, 3, 1, 1] has 24 bytes of data",
    ),
    (lambda m: m.graph.initializer[0].dims.__setitem__(1, 4), "of shape [2, 4, 1, 1] has 24 bytes of data"),
    (lambda m: m.graph.ClearField("input"), "the graph has no input"),
    (lambda m: setattr(m.graph.input[0], "name", "z"), "node `conv` (Conv) reads `x`, which nothing writes"),
    (lambda m: m.graph.input[0].ClearField("type"), "input `x` is no tensor with a known number of axes"),
    (external("../weights.bin"), "the data of tensor `w` lie in '../weights.bin', outside of the model's folder"),
    (external("/etc/passwd"), "the data of tensor `w` lie in '/etc/passwd', outside of the model's folder"),
    (external("link/weights.bin"), "the data of tensor `w` lie in 'link/weights.bin', outside of the model's folder"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=[message[:40] for _, message in BROKEN])
def test_broken_file_is_one_clear_error(
    tmp_path: Path, change: Callable[[onnx.ModelProto], object], message: str
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "link").symlink_to(tmp_path)
    model = good_model()
    change(model)
    path = tmp_path / "models" / "n.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(SpecError) as caught:
        load_network(str(path))
    assert caught.value.message.startswith(f"{path}: ")
    assert message in caught.value.message
    assert caught.value.hint


def test_data_beside_the_model_need_not_be_there_to_know_the_shapes(tmp_path: Path) -> None:
    model = good_model()
    external("weights.bin")(model)
    path = tmp_path / "n.onnx"
    path.write_bytes(model.SerializeToString())
    assert load_network(str(path)).macs == 2 * 3 * 16


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no ONNX graph (0 bytes)"),
        (b"\x89PNG\r\n", "not a readable ONNX file (6 bytes)"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_onnx_file_is_one_clear_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "n.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_network(str(path))
    assert message in caught.value.message


def test_without_the_package_onnx_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx.shape_inference", None)
    with pytest.raises(WorkloadError) as caught:
        load_network("n.onnx")
    assert caught.value.message.startswith("n.onnx: reading an ONNX file needs the package onnx")
    assert caught.value.hint == "pip install quantloom[onnx]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("width=", "cannot read the option `width=`"),
        ("shape=3xx4", "cannot read the option `shape=3xx4`"),
        ("depth=3", "no axis is named `depth`"),
        ("z=1x3", "no input is named `z`"),
        ("shape=3x4", "input `x` has 4 axes with the batch, 3 are given"),
        ("shape=4x4x4", "axis 1 of input `x` is 3 in the file, not 4"),
    ],
)
def test_options_that_do_not_fit_the_file_say_so(tmp_path: Path, options: str, message: str) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(good_model().SerializeToString())
    with pytest.raises((SpecError, WorkloadError)) as caught:
        load_network(f"{path}:{options}")
    assert message in caught.value.message


def test_any_bytes_give_a_network_or_an_error_of_quantloom(tmp_path: Path) -> None:
    """A few of thousands: tests/fuzz/onnx_files.py tries as many as one likes."""
    data, rng, path = good_model().SerializeToString(), random.Random(7), tmp_path / "n.onnx"
    outcomes = set()
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(changed[: rng.randrange(1, len(changed) + 1)] if rng.random() < 0.2 else changed)
        try:
            load_network(str(path))
            outcomes.add("network")
        except QuantloomError as error:
            outcomes.add(type(error).__name__)
    assert {"network", "SpecError", "UnsupportedOpError"} <= outcomes


# ---- branches --------------------------------------------------------------------------------------------------------


def conditional(path: Path, condition: list[onnx.NodeProto], **extra: list[int | str | None]) -> str:
    """Two branches that read the outer `a`: one reduces it, the other convolves it twice."""
    conv = helper.make_node("Conv", ["a", "w2"], ["t"], "inner")
    branches = {
        "then_branch": helper.make_graph(
            [conv, helper.make_node("Relu", ["t"], ["u"], "act")],
            "then",
            [],
            [helper.make_tensor_value_info("u", TensorProto.FLOAT, None)],
            [helper.make_tensor("w2", TensorProto.FLOAT, [5, 2, 1, 1], [0.0] * 10)],
        ),
        "else_branch": helper.make_graph(
            [helper.make_node("Identity", ["a"], ["u"])],
            "else",
            [],
            [helper.make_tensor_value_info("u", TensorProto.FLOAT, None)],
        ),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        *condition,
        helper.make_node("If", ["cond"], ["y"], "choice", **branches),
    ]
    inputs: dict[str, list[int | str | None]] = {"x": [1, 3, 4, 4], **extra}
    return save(path, nodes, inputs, ["y"], {"w": [2, 3, 1, 1], "four": [1]})


@pytest.mark.parametrize(("axis", "layers"), [(2, ["conv", "inner"]), (1, ["conv"])])
def test_the_branch_of_a_condition_on_shapes_is_read_in_its_place(tmp_path: Path, axis: int, layers: list[str]) -> None:
    condition = [
        helper.make_node("Shape", ["a"], ["shape"]),
        helper.make_node("Constant", [], ["axis"], value_int=axis),
        helper.make_node("Constant", [], ["size"], value_int=4),
        helper.make_node("Gather", ["shape", "axis"], ["found"]),
        helper.make_node("Equal", ["found", "size"], ["cond"]),
    ]
    network = load_network(conditional(tmp_path / "n.onnx", condition))
    assert [layer.name for layer in network.layers] == layers
    assert network.macs == 6 * 16 + (10 * 16 if len(layers) == 2 else 0)


def test_a_condition_on_values_is_unsupported_and_what_its_branches_read_counts(tmp_path: Path) -> None:
    condition = [helper.make_node("Cast", ["flag"], ["cond"], to=TensorProto.BOOL)]
    with pytest.raises(UnsupportedOpError, match="node `choice`: If of 2 activations"):
        load_network(conditional(tmp_path / "n.onnx", condition, flag=[]))


def test_weights_of_other_channels_than_the_input_has_are_refused(tmp_path: Path) -> None:
    """Shape inference of onnx does not look at them."""
    model = good_model()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    path = tmp_path / "n.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedOpError) as caught:
        load_network(str(path))
    assert "  node `conv`: Conv: layer conv: weights (2, 3, 1, 1) in 1 group(s) over 5 channels" in caught.value.message
