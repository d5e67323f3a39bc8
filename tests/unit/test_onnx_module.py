"""ONNX files as torch modules: they compute what onnxruntime computes, for batches of any size."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from quantloom import zoo
from quantloom.errors import SpecError, UnsupportedOpError, WorkloadError
from quantloom.workload.from_torch import trace
from quantloom.workload.load import load_network
from quantloom.workload.onnx_module import module_from_onnx
from quantloom.workload.onnx_sizes import OnnxSizes

RANDOM = np.random.default_rng(7)


def tensor(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def node(operator: str, *constants: Any, reads: str = "x", writes: str = "y", **attributes: Any) -> tuple[Any, ...]:
    return operator, reads, writes, constants, attributes


def save(path: Path, shape: Sequence[int], *nodes: tuple[Any, ...], opset: int = 17) -> str:
    """A file of nodes that each read one value (or several, by commas) and then their constants."""
    made, tensors = [], []
    for operator, reads, writes, constants, attributes in nodes:
        names = [f"{writes}_{position}" if value is not None else "" for position, value in enumerate(constants)]
        tensors += [numpy_helper.from_array(value, name) for name, value in zip(names, constants, strict=True) if name]
        made.append(helper.make_node(operator, [*reads.split(","), *names], [writes], name=f"/{writes}", **attributes))
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1][2], TensorProto.FLOAT, None)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def assert_computes_the_same(path: str, shape: Sequence[int]) -> None:
    module, sample = module_from_onnx(path, OnnxSizes())
    assert sample == tuple(shape[1:])
    module.eval()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.from_numpy(tensor(3, *shape[1:]))
    with torch.no_grad():
        found = module(images)
    wanted = np.concatenate([session.run(None, {"x": image[None].numpy()})[0] for image in images])
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


IMAGE = (1, 4, 9, 8)
CASES: dict[str, tuple[tuple[int, ...], list[tuple[Any, ...]]]] = {
    "even padding": (IMAGE, [node("Conv", tensor(6, 4, 3, 3), tensor(6), pads=[1, 1, 1, 1], strides=[2, 1])]),
    "uneven padding": (IMAGE, [node("Conv", tensor(6, 4, 3, 2), pads=[0, 1, 2, 0])]),
    "same upper": (IMAGE, [node("Conv", tensor(6, 4, 3, 4), auto_pad="SAME_UPPER", strides=[2, 2])]),
    "same lower": (IMAGE, [node("Conv", tensor(6, 4, 4, 3), auto_pad="SAME_LOWER", strides=[1, 3])]),
    "groups, dilation": (IMAGE, [node("Conv", tensor(8, 1, 3, 3), group=4, dilations=[2, 1], auto_pad="VALID")]),
    "one axis": ((1, 4, 12), [node("Conv", tensor(5, 4, 3), tensor(5), pads=[0, 2], strides=[2])]),
    "gemm": ((1, 7), [node("Gemm", tensor(7, 5), tensor(5))]),
    "gemm transposed": ((1, 7), [node("Gemm", tensor(5, 7), tensor(1, 5), transB=1)]),
    "product and bias": ((1, 3, 7), [node("MatMul", tensor(7, 5)), node("Add", tensor(5), reads="y", writes="z")]),
    "normalisation": (IMAGE, [node("BatchNormalization", *(np.abs(tensor(4)) for _ in range(4)), epsilon=0.01)]),
    "clip": (IMAGE, [node("Clip", np.float32(-0.5), np.float32(0.75))]),
    "relu 6": (IMAGE, [node("Clip", np.float32(0.0), np.float32(6.0))]),
    "clip from below": (IMAGE, [node("Clip", np.float32(0.0))]),
    "swish": (IMAGE, [node("Sigmoid", writes="s"), node("Mul", reads="x,s")]),
    "hard": (IMAGE, [node("HardSigmoid", alpha=1 / 6, writes="s"), node("HardSwish", reads="s")]),
    "slopes": (IMAGE, [node("PRelu", tensor(4, 1, 1), writes="s"), node("LeakyRelu", reads="s", alpha=0.2)]),
    "max pool": (IMAGE, [node("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0], ceil_mode=1)]),
    "average pool": (IMAGE, [node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])]),
    "average pool with zeros": (IMAGE, [node("AveragePool", kernel_shape=[2, 2], pads=[1] * 4, count_include_pad=1)]),
    "global": (IMAGE, [node("GlobalAveragePool", writes="p"), node("Flatten", reads="p")]),
    "global maximum": ((1, 4, 9), [node("GlobalMaxPool")]),
    "mean": (IMAGE, [node("ReduceMean", axes=[2, -1], keepdims=0)]),
    "pad": (IMAGE, [node("Pad", np.array([0, 0, 1, 2, 0, 0, 0, 1]))]),
    "reshape": (
        IMAGE,
        [node("Reshape", np.array([0, 2, 2, -1])), node("Transpose", reads="y", writes="z", perm=[0, 3, 1, 2])],
    ),
    "squeeze": (
        (1, 4, 1, 6),
        [node("Squeeze", np.array([2])), node("Unsqueeze", np.array([1]), reads="y", writes="z")],
    ),
    "concat": (IMAGE, [node("Relu", writes="a"), node("Tanh", writes="b"), node("Concat", reads="a,x,b", axis=1)]),
    "arithmetic": (IMAGE, [node("Sub", tensor(4, 1, 1), writes="s"), node("Div", np.float32(3), reads="s")]),
    "softmax": ((1, 6), [node("Softmax", axis=1)]),
    "nothing": (IMAGE, [node("Identity", writes="i"), node("Elu", reads="i", alpha=0.5)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_operator_computes_what_onnxruntime_does(name: str, tmp_path: Path) -> None:
    shape, nodes = CASES[name]
    assert_computes_the_same(save(tmp_path / "net.onnx", shape, *nodes), shape)


@pytest.mark.parametrize("text", ["mobilenet_v3_small:input=32", "resnet18:input=32"])
def test_an_exported_model_of_the_zoo_is_the_model(text: str, tmp_path: Path) -> None:
    parsed = zoo.parse_model(text)
    model = zoo.build(parsed.name, **parsed.options).eval()
    path = str(tmp_path / "net.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is deprecated
        torch.onnx.export(model, (torch.zeros(1, 3, 32, 32),), path, dynamo=False)
    module, sample = module_from_onnx(path, OnnxSizes())
    images = torch.randn(2, *sample, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(module.eval()(images), model(images), rtol=1e-4, atol=1e-4)
    network = trace(module, sample, name="net").network
    for other in (trace(model, sample, name="zoo").network, load_network(path)):
        assert (network.macs, network.weights, len(network.layers)) == (other.macs, other.weights, len(other.layers))


def test_all_nodes_that_are_no_modules_are_named(tmp_path: Path) -> None:
    path = save(
        tmp_path / "net.onnx",
        IMAGE,
        node("ConvTranspose", tensor(4, 2, 2, 2), writes="a"),
        node("Clip", np.float32(1.0), reads="a", writes="b"),
        node("Transpose", reads="b", perm=[1, 0, 2, 3]),
    )
    with pytest.raises(UnsupportedOpError) as caught:
        module_from_onnx(path, OnnxSizes())
    assert caught.value.message.splitlines() == [
        "net.onnx: 3 node(s) with which accuracy cannot be measured",
        "  node `/a`: ConvTranspose",
        "  node `/b`: Clip: a limit on one side other than 0",
        "  node `/y`: Transpose: a transpose that moves the batch",
    ]
    assert caught.value.hint is not None
    assert "quantloom map" in caught.value.hint
    assert load_network(path).macs > 0


def test_what_is_no_image_network_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", (2, 4), node("Gemm", tensor(4, 3)))
    with pytest.raises(WorkloadError, match="the input `x` is 2x4, expected a batch of 1 first"):
        module_from_onnx(path, OnnxSizes())
    path = save(tmp_path / "two.onnx", (1, 4), node("Relu"))
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4)))
    onnx.save(model, path)
    with pytest.raises(WorkloadError, match="1 inputs and 2 outputs, expected one image in, one out"):
        module_from_onnx(path, OnnxSizes())


def test_weights_whose_bytes_are_missing_are_told(tmp_path: Path) -> None:
    path = save(tmp_path / "net.onnx", (1, 4), node("Gemm", tensor(4, 3)))
    model = onnx.load(path)
    model.graph.initializer[0].raw_data = b"123"
    Path(path).write_bytes(model.SerializeToString())
    with pytest.raises(SpecError, match="tensor `y_0` of shape"):
        module_from_onnx(path, OnnxSizes())


def test_the_search_takes_an_onnx_file_with_its_weights(tmp_path: Path) -> None:
    from quantloom.assemble.network_and_data import load_network_and_data

    shape = (1, 1, 28, 28)
    nodes = node("Conv", tensor(4, 1, 3, 3), strides=[3, 3]), node("Flatten", reads="y", writes="f")
    path = save(
        tmp_path / "small.onnx", shape, *nodes, node("Gemm", tensor(324, 10), tensor(10), reads="f", writes="z")
    )
    traced, data = load_network_and_data(path, checkpoint=None, data="demo", threads=1)
    assert (traced.network.name, len(traced.network.layers)) == ("small", 2)
    images = data.validation.images[:2].float()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"x": image[None].numpy()})[0] for image in images])
    with torch.no_grad():
        np.testing.assert_allclose(traced.graph_module(images).numpy(), wanted, rtol=1e-3, atol=1e-3)


def conditional(path: Path, condition: bool) -> str:
    """A convolution, then a branch with weights of its own, or none; the condition is a constant."""
    branches = {}
    for name, taken in (("then_branch", True), ("else_branch", False)):
        weights = numpy_helper.from_array(tensor(5, 4, 3, 3), "w")
        scale = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(tensor(5, 1, 1), "c"))
        made = [helper.make_node("Conv", ["a", "same"], ["b"]), scale, helper.make_node("Mul", ["b", "c"], ["u"])]
        first = helper.make_node("Identity", ["w"], ["same"])
        branches[name] = helper.make_graph(
            [first, *made] if taken else [helper.make_node("Relu", ["a"], ["u"])],
            name,
            [],
            [helper.make_tensor_value_info("u", TensorProto.FLOAT, None)],
            [weights] if taken else [],
        )
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
            helper.make_node("If", ["cond"], ["y"], "choice", **branches),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(tensor(4, 3, 1, 1), "w"),
            numpy_helper.from_array(np.array(condition), "cond"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


@pytest.mark.parametrize("condition", [True, False])
def test_the_branch_that_is_taken_is_computed_with_its_own_weights(tmp_path: Path, condition: bool) -> None:
    assert_computes_the_same(conditional(tmp_path / "n.onnx", condition), (1, 3, 6, 6))


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = conditional(tmp_path / "n.onnx", True), []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self) or original(self))
    module_from_onnx(path, OnnxSizes())
    assert read == [Path(path)]
