"""TFLite files as torch modules: they compute what the interpreter of the format computes, for batches of any size."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from tests.fuzz.mutate import changed_bytes

import tflite_files
from quantloom.assemble.network_and_data import load_network_and_data
from quantloom.errors import QuantloomError, SpecError, UnsupportedOpError, WorkloadError
from quantloom.quant.integer import compare_with_integers
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import trace
from quantloom.workload.load import load_network
from quantloom.workload.network import BitAssignment
from quantloom.workload.tflite_module import OPERATORS, module_from_tflite
from tflite_files import node, save

RANDOM = np.random.default_rng(11)
SAME, VALID = 0, 1
RELU, RELU_N1_TO_1, RELU6 = 1, 2, 3
IMAGE = (1, 9, 8, 4)  # N, H, W, C


def tensor(*shape: int) -> Any:
    return RANDOM.standard_normal(shape).astype(np.float32)


def whole(*numbers: int) -> Any:
    return np.array(numbers, np.int32)


def interpreted(path: str, images: torch.Tensor) -> list[np.ndarray]:
    """Of each output what the format's own interpreter computes, image by image."""
    interpreter = Interpreter(path, num_threads=1)
    interpreter.allocate_tensors()
    (source,), found = interpreter.get_input_details(), []
    for image in images:
        turned = image.permute(1, 2, 0) if image.ndim == 3 else image
        interpreter.set_tensor(source["index"], turned[None].contiguous().numpy())
        interpreter.invoke()
        found.append([interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()])
    return [np.concatenate(each) for each in zip(*found, strict=True)]


def assert_computes_the_same(path: str) -> None:
    module, example = module_from_tflite(path)
    images = torch.from_numpy(2 * tensor(3, *example.shape[1:]))
    with torch.no_grad():
        found = module(images)
    for own, wanted in zip(found if isinstance(found, tuple) else (found,), interpreted(path, images), strict=True):
        turned = own.permute(0, 2, 3, 1) if own.ndim == 4 else own
        np.testing.assert_allclose(turned.numpy(), wanted, rtol=1e-4, atol=1e-5)


def conv(result: Sequence[int], weights: Any, *bias: Any, stride: tuple[int, int] = (1, 1), **options: Any) -> Any:
    operator = options.pop("operator", "CONV_2D")
    names = {"StrideH": stride[0], "StrideW": stride[1], "Padding": SAME, **options}
    more = {"DepthMultiplier": 1} if operator == "DEPTHWISE_CONV_2D" else {}
    return node(operator, result, weights, *bias, **names, **more)


def pool(operator: str, result: Sequence[int], window: tuple[int, int], stride: tuple[int, int], **options: Any) -> Any:
    sizes = {"FilterHeight": window[0], "FilterWidth": window[1], "StrideH": stride[0], "StrideW": stride[1]}
    return node(operator, result, **{"Padding": SAME, **sizes, **options})


DEPTHWISE = {"operator": "DEPTHWISE_CONV_2D"}
CASES: dict[str, tuple[tuple[int, ...], list[Any]]] = {
    "even padding": (IMAGE, [conv((1, 9, 8, 6), tensor(6, 3, 3, 4), tensor(6))]),
    "odd zero behind": (IMAGE, [conv((1, 5, 4, 6), tensor(6, 3, 3, 4), tensor(6), stride=(2, 2))]),
    "even window": (IMAGE, [conv((1, 9, 4, 6), tensor(6, 2, 4, 4), tensor(6), stride=(1, 2))]),
    "no padding": (IMAGE, [conv((1, 4, 6, 6), tensor(6, 3, 3, 4), tensor(6), stride=(2, 1), Padding=VALID)]),
    "stride above window": (IMAGE, [conv((1, 3, 3, 5), tensor(5, 1, 1, 4), tensor(5), stride=(3, 3))]),
    "dilation": (IMAGE, [conv((1, 9, 8, 6), tensor(6, 3, 3, 4), tensor(6), DilationHFactor=2, DilationWFactor=3)]),
    "fused relu": (IMAGE, [conv((1, 9, 8, 6), tensor(6, 1, 1, 4), tensor(6), FusedActivationFunction=RELU)]),
    "fused relu 6": (
        IMAGE,
        [conv((1, 5, 4, 6), tensor(6, 3, 3, 4), tensor(6), stride=(2, 2), FusedActivationFunction=RELU6)],
    ),
    "fused clip": (IMAGE, [conv((1, 9, 8, 6), tensor(6, 1, 1, 4), tensor(6), FusedActivationFunction=RELU_N1_TO_1)]),
    "depthwise": (IMAGE, [conv((1, 5, 4, 4), tensor(1, 3, 3, 4), tensor(4), stride=(2, 2), **DEPTHWISE)]),
    "depthwise, two of each": (
        IMAGE,
        [
            node(
                "DEPTHWISE_CONV_2D",
                (1, 9, 8, 8),
                tensor(1, 3, 3, 8),
                tensor(8),
                StrideH=1,
                StrideW=1,
                DepthMultiplier=2,
            )
        ],
    ),
    "linear": ((1, 7), [node("FULLY_CONNECTED", (1, 5), tensor(5, 7), tensor(5))]),
    "linear, no bias, relu": (
        (1, 7),
        [node("FULLY_CONNECTED", (1, 5), tensor(5, 7), None, FusedActivationFunction=RELU)],
    ),
    "linear of an image": (IMAGE, [node("FULLY_CONNECTED", (1, 5), tensor(5, 288), tensor(5))]),
    "average pool": (IMAGE, [pool("AVERAGE_POOL_2D", (1, 5, 4, 4), (3, 2), (2, 2))]),
    "average pool, odd": (IMAGE, [pool("AVERAGE_POOL_2D", (1, 5, 4, 4), (2, 3), (2, 2))]),
    "average of all": (IMAGE, [pool("AVERAGE_POOL_2D", (1, 1, 1, 4), (9, 8), (1, 1), Padding=VALID)]),
    "max pool": (IMAGE, [pool("MAX_POOL_2D", (1, 9, 8, 4), (3, 3), (1, 1))]),
    "max pool, odd": (IMAGE, [pool("MAX_POOL_2D", (1, 5, 4, 4), (2, 3), (2, 2))]),
    "max pool of stride 1, odd": (IMAGE, [pool("MAX_POOL_2D", (1, 9, 8, 4), (2, 2), (1, 1))]),
    "max pool, none": (IMAGE, [pool("MAX_POOL_2D", (1, 4, 4, 4), (2, 2), (2, 2), Padding=VALID)]),
    "means": (IMAGE, [node("MEAN", (1, 4), whole(1, 2))]),
    "means kept": (IMAGE, [node("MEAN", (1, 9, 1, 1), whole(-1, 2), KeepDims=True)]),
    "add": (IMAGE, [node("RELU", IMAGE, writes="r"), node("ADD", IMAGE, reads="x,r", FusedActivationFunction=RELU6)]),
    "add a constant": (IMAGE, [node("ADD", IMAGE, tensor(4))]),
    "arithmetic": (
        IMAGE,
        [
            node("SUB", IMAGE, tensor(1, 8, 4), writes="s"),
            node("MUL", IMAGE, np.array(0.3, np.float32), reads="s", writes="m"),
            node("DIV", IMAGE, np.abs(tensor(1, 9, 1, 1)) + 1, reads="m"),
        ],
    ),
    "leaky, written out": (
        IMAGE,
        [node("MUL", IMAGE, np.array(0.1, np.float32), writes="m"), node("MAXIMUM", IMAGE, reads="x,m")],
    ),
    "minimum": (IMAGE, [node("MINIMUM", IMAGE, tensor(4))]),
    "concat": (IMAGE, [node("TANH", IMAGE, writes="t"), node("CONCATENATION", (1, 9, 8, 8), reads="x,t", Axis=-1)]),
    "concat of rows": (
        IMAGE,
        [node("TANH", IMAGE, writes="t"), node("CONCATENATION", (1, 18, 8, 4), reads="t,x", Axis=1)],
    ),
    "pad": (IMAGE, [node("PAD", (1, 12, 9, 4), whole(0, 0, 1, 2, 0, 1, 0, 0).reshape(4, 2))]),
    "flat rows": (IMAGE, [node("RESHAPE", (1, 288), whole(1, 288))]),
    "to an image": ((1, 24), [node("RESHAPE", (1, 3, 2, 4), whole(1, 3, 2, 4))]),
    "image to image": (IMAGE, [node("RESHAPE", (1, 4, 9, 8), whole(1, 4, 9, 8))]),
    "squeeze": (
        (1, 1, 1, 6),
        [node("SQUEEZE", (1, 6)), node("RESHAPE", (1, 3, 2), whole(1, 3, 2), reads="y", writes="z")],
    ),
    "activations": (
        IMAGE,
        [
            node("LEAKY_RELU", IMAGE, writes="a", Alpha=0.2),
            node("LOGISTIC", IMAGE, reads="a", writes="b"),
            node("HARD_SWISH", IMAGE, reads="b", writes="c"),
            node("ELU", IMAGE, reads="c", writes="d"),
            node("RELU_N1_TO_1", IMAGE, reads="d", writes="e"),
            node("PRELU", IMAGE, tensor(1, 1, 4), reads="e"),
        ],
    ),
    "expand": ((1, 6), [node("EXPAND_DIMS", (1, 6, 1), whole(2)), node("TANH", (1, 6, 1), reads="y", writes="z")]),
    "gelu": (IMAGE, [node("GELU", IMAGE, writes="a"), node("GELU", IMAGE, reads="a", Approximate=True)]),
    "relus": (IMAGE, [node("RELU", IMAGE, writes="a"), node("RELU6", IMAGE, reads="a")]),
    "softmax inside": (
        (1, 6),
        [node("SOFTMAX", (1, 6), writes="s", Beta=1.0), node("MUL", (1, 6), tensor(6), reads="s")],
    ),
    "larger, on corners": (IMAGE, [node("RESIZE_BILINEAR", (1, 17, 12, 4), whole(17, 12), AlignCorners=True)]),
    "larger, on halves": (IMAGE, [node("RESIZE_BILINEAR", (1, 18, 12, 4), whole(18, 12), HalfPixelCenters=True)]),
    "larger, copied": (IMAGE, [node("RESIZE_NEAREST_NEIGHBOR", (1, 18, 16, 4), whole(18, 16))]),
    "half precision": (
        IMAGE,
        [
            node("DEQUANTIZE", (6, 1, 1, 4), tensor(6, 1, 1, 4).astype(np.float16), reads="", writes="w"),
            node("CONV_2D", (1, 9, 8, 6), tensor(6), reads="x,w", StrideH=1, StrideW=1),
        ],
    ),
    "two outputs": (IMAGE, [node("RELU", IMAGE, writes="a"), node("MEAN", (1, 4), whole(1, 2), reads="a", writes="b")]),
}


def test_every_operator_has_a_case() -> None:
    assert {operator for _, nodes in CASES.values() for operator, *_ in nodes} == set(OPERATORS)


@pytest.mark.parametrize("name", CASES)
def test_each_operator_computes_what_the_interpreter_does(name: str, tmp_path: Path) -> None:
    shape, nodes = CASES[name]
    outputs = "a,b" if name == "two outputs" else ""
    assert_computes_the_same(save(tmp_path / "net.tflite", shape, *nodes, outputs=outputs))


def classifier(path: Path, side: int = 28) -> str:
    """A strided convolution with the odd zero behind, a depthwise one, means, logits by 1x1, softmax."""
    half = side // 2
    return save(
        path,
        (1, side, side, 1),
        node("CONV_2D", (1, half, half, 8), tensor(8, 3, 3, 1), tensor(8), writes="a",
             StrideH=2, StrideW=2, FusedActivationFunction=RELU6),
        node("DEPTHWISE_CONV_2D", (1, half, half, 8), tensor(1, 3, 3, 8), tensor(8), reads="a", writes="b",
             StrideH=1, StrideW=1, DepthMultiplier=1, FusedActivationFunction=RELU6),
        node("AVERAGE_POOL_2D", (1, 1, 1, 8), reads="b", writes="p", Padding=VALID,
             StrideH=1, StrideW=1, FilterHeight=half, FilterWidth=half),
        node("CONV_2D", (1, 1, 1, 10), tensor(10, 1, 1, 8), tensor(10), reads="p", writes="l", StrideH=1, StrideW=1),
        node("RESHAPE", (1, 10), whole(1, 10), reads="l", writes="r"),
        node("SOFTMAX", (1, 10), reads="r", Beta=1.0),
    )  # fmt: skip


def test_the_search_takes_a_classifier_with_its_weights_up_to_the_logits(tmp_path: Path) -> None:
    path = classifier(tmp_path / "small.tflite")
    traced, data = load_network_and_data(path, checkpoint=None, data="demo", threads=1)
    assert traced.network == load_network(path)
    assert [layer.name for layer in traced.network.layers] == ["net_a", "net_b", "net_l"]
    images = data.validation.images[:4].float() / 255
    with torch.no_grad():
        logits = traced.graph_module(images)
    assert float(logits.sum(1).abs().max()) > 1.5  # of probabilities it would be 1
    np.testing.assert_allclose(logits.softmax(1).numpy(), interpreted(path, images)[0], rtol=1e-4, atol=1e-6)


def test_it_is_quantized_and_computed_in_whole_numbers_as_any_network(tmp_path: Path) -> None:
    traced, data = load_network_and_data(classifier(tmp_path / "n.tflite"), checkpoint=None, data="demo", threads=1)
    network = QuantizedNetwork(traced, QuantScheme(bits=(3, 8)))
    images, _ = data.train.batch(slice(0, 64))
    with torch.no_grad():
        expected = network(images)
        network.calibrate(images)
    errors = []
    for bits in (8, 3):
        network.set_bits(BitAssignment.uniform(network.network, bits))
        agreement = compare_with_integers(network, images)
        assert max(agreement.furthest.values()) <= 1
        assert min(agreement.equal.values()) > 0.998
        with torch.no_grad():
            errors.append(float((network(images) - expected).square().mean()))
    assert 0 < errors[0] < errors[1] / 10


def test_all_nodes_that_are_no_modules_are_named(tmp_path: Path) -> None:
    path = save(
        tmp_path / "net.tflite",
        IMAGE,
        node("TRANSPOSE", (1, 8, 9, 4), whole(0, 2, 1, 3), writes="a"),
        node("PAD", (1, 8, 9, 6), whole(0, 0, 0, 0, 0, 0, 1, 1).reshape(4, 2), reads="a", writes="b"),
        node("CUSTOM Detection", (1, 8, 9, 6), reads="b", writes="c"),
        node("CONV_2D", (1, 7, 9, 6), tensor(6, 3, 3, 6), reads="c", writes="d", StrideH=1, StrideW=1),
        node("FULLY_CONNECTED", (1, 2), np.zeros((2, 378), np.int8), None, reads="d"),
    )
    with pytest.raises(UnsupportedOpError) as caught:
        load_network(path)
    assert caught.value.message.splitlines() == [
        "net.tflite: 5 node(s) that are no module here",
        "  node `net/a`: TRANSPOSE: not an operator of convolutional networks in floating point",
        "  node `net/b`: PAD: padding other than around an image",
        "  node `net/c`: CUSTOM Detection: not an operator of convolutional networks in floating point",
        "  node `net/d`: CONV_2D: its result is (7, 9) in the file, expected (8, 9) of its window",
        "  node `net/y`: FULLY_CONNECTED: its operand `y_0` is INT8, expected floating-point numbers",
    ]
    assert caught.value.hint is not None
    assert "CONV_2D" in caught.value.hint


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("RESIZE_BILINEAR", (1, 18, 12, 4), whole(18, 12))], "on a grid with align_corners False and half_pixel"),
        ([node("MEAN", (1, 8, 4), whole(1))], "a mean over the axes [1] of 4"),
        ([node("MEAN", (9, 8, 4), whole(0))], "a mean over the axes [0] of 4"),
        ([node("SOFTMAX", IMAGE, writes="s", Beta=2.0), node("RELU", IMAGE, reads="s")], "a softmax with beta 2"),
        ([node("RESHAPE", (2, 144), whole(2, 144))], "which does not keep the batch apart"),
        ([node("CONCATENATION", (2, 9, 8, 4), reads="x,x", Axis=0)], "a concatenation along the batch"),
        ([pool("AVERAGE_POOL_2D", (1, 9, 8, 4), (2, 2), (1, 1))], "padding torch does not have"),
        ([conv((1, 9, 8, 6), tensor(6, 3, 3, 3), tensor(6))], "weights of [6, 3, 3, 3] over 4 channels"),
        ([conv((1, 9, 8, 6), tensor(6, 3, 3, 4), tensor(5))], "its bias has the shape [5], expected [6]"),
        ([conv((1, 9, 8, 6), tensor(6, 1, 1, 4), tensor(6), stride=(0, 1))], "a stride of 0x1"),
        ([conv((1, 9, 8, 6), tensor(6, 1, 1, 4), FusedActivationFunction=5)], "the fused activation 5"),
    ],
)  # fmt: skip
def test_what_torch_does_not_have_is_refused(tmp_path: Path, nodes: list[Any], message: str) -> None:
    with pytest.raises(UnsupportedOpError) as caught:
        module_from_tflite(save(tmp_path / "net.tflite", IMAGE, *nodes))
    assert message in caught.value.message


def test_what_is_no_image_network_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "net.tflite", (2, 4), node("RELU", (2, 4)))
    with pytest.raises(WorkloadError, match="the input `x` is 2x4, expected a batch of 1 first"):
        module_from_tflite(path)
    path = save(tmp_path / "bytes.tflite", IMAGE, node("RELU", IMAGE), kind="uint8")
    with pytest.raises(WorkloadError, match="the input `x` is UINT8, expected FLOAT32"):
        module_from_tflite(path)
    path = save(tmp_path / "good.tflite", (1, 4), node("RELU", (1, 4)))
    with pytest.raises(WorkloadError, match="cannot read the option `input=96`"):
        load_network(f"{path}:input=96")
    with pytest.raises(WorkloadError, match="an input shape is given"):
        load_network(path, (4,))


def test_what_is_no_file_of_the_format_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none.tflite: cannot be read: No such file"):
        module_from_tflite(str(tmp_path / "none.tflite"))
    path = tmp_path / "net.tflite"
    path.write_bytes(b"<html>")
    with pytest.raises(SpecError, match=r"not a TFLite file \(6 bytes\)"):
        module_from_tflite(str(path))
    data = tflite_files.tflite_bytes((1, 7), node("FULLY_CONNECTED", (1, 5), tensor(5, 7), tensor(5)))
    path.write_bytes(data.replace(np.array([5, 7], np.int32).tobytes(), np.array([5, 8], np.int32).tobytes()))
    with pytest.raises(SpecError, match=r"tensor `y_0` of \[5, 8\] FLOAT32 has 140 bytes, expected 160"):
        module_from_tflite(str(path))


def test_any_bytes_give_a_module_or_an_error_of_quantloom(tmp_path: Path) -> None:
    """A few of thousands: `python -m tests.fuzz.run tflite` tries as many as one likes."""
    good = classifier(tmp_path / "good.tflite", side=8)
    data, draws, path = Path(good).read_bytes(), random.Random(5), tmp_path / "n.tflite"
    outcomes = set()
    for _ in range(300):
        path.write_bytes(changed_bytes(data, draws))
        try:
            module, example = module_from_tflite(str(path))
            trace(module, tuple(example.shape[1:]), name="net")
            outcomes.add("network")
        except QuantloomError as error:
            outcomes.add(type(error).__name__)
    assert {"network", "SpecError", "UnsupportedOpError"} <= outcomes
