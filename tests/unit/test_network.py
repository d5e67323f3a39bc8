"""Workloads of layers, networks and bit assignments, the paper's layer lists, and loading a network by its spec."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quantloom._core import Workload
from quantloom.errors import SpecError, UnsupportedOpError, WorkloadError
from quantloom.spec.network import dump_network
from quantloom.workload.bits import BitWidths
from quantloom.workload.layer import conv_workload, einsum_workload, linear_workload
from quantloom.workload.load import load_network
from quantloom.workload.network import BitAssignment, Edge, Layer, Network
from quantloom.workload.paper import paper_workloads

PAPER_LAYERS = Path(__file__).parents[1] / "golden" / "paper_layers.json"

load_once = functools.cache(load_network)


def elements(workload: Workload) -> dict[str, int]:
    return {tensor.name: workload.tensor_elements(tensor.name) for tensor in workload.tensors}


# ---- workloads -------------------------------------------------------------------------------------------------------


def test_convolution_has_width_before_height_and_windows_on_its_inputs() -> None:
    conv = conv_workload(
        "c", inputs=3, outputs=8, output_size=(5, 7), kernel=(1, 3), stride=(2, 3), dilation=(1, 2), batch=2
    )
    assert list(conv.dims.items()) == [("C", 3), ("M", 8), ("R", 3), ("S", 1), ("N", 2), ("P", 7), ("Q", 5)]
    assert conv.macs == 3 * 8 * 3 * 1 * 2 * 7 * 5
    assert elements(conv) == {
        "Weights": 3 * 8 * 3,
        "Inputs": 2 * 3 * (2 * 2 + 3 * 6 + 1) * (2 * 4 + 1),
        "Outputs": 2 * 8 * 5 * 7,
    }


def test_groups_become_a_dim_that_all_tensors_have() -> None:
    conv = conv_workload("g", inputs=8, outputs=12, output_size=(4, 4), kernel=(3, 3), groups=4)
    assert list(conv.dims.items())[:3] == [("G", 4), ("C", 2), ("M", 3)]
    assert conv.macs == 4 * 2 * 3 * 9 * 16
    assert elements(conv) == {"Weights": 8 * 3 * 9, "Inputs": 8 * 36, "Outputs": 12 * 16}


def test_depthwise_is_one_channel_in_and_out_per_group() -> None:
    conv = conv_workload("d", inputs=32, outputs=32, output_size=(112, 112), kernel=(3, 3), groups=32)
    assert {dim: conv.dims[dim] for dim in "GCM"} == {"G": 32, "C": 1, "M": 1}
    assert elements(conv)["Outputs"] == 32 * 112 * 112


def test_linear_is_a_convolution_on_one_pixel() -> None:
    linear = linear_workload("l", inputs=1024, outputs=100)
    same = conv_workload("l", inputs=1024, outputs=100, output_size=(1, 1), kernel=(1, 1))
    assert linear == same
    assert hash(linear) == hash(same)
    assert elements(linear) == {"Weights": 102_400, "Inputs": 1024, "Outputs": 100}


def test_einsum_reads_ranks_as_text() -> None:
    product = einsum_workload(
        "qk",
        {"B": 2, "I": 4, "J": 5, "K": 3},
        {"Weights": ["B", "K", "J"], "Inputs": ["B", "I + 2 * K"], "Outputs": ["B", "I", "J"]},
        output="Outputs",
    )
    assert elements(product) == {"Weights": 30, "Inputs": 2 * (3 + 2 * 2 + 1), "Outputs": 40}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: conv_workload("c", inputs=6, outputs=8, output_size=(1, 1), kernel=(3, 3), groups=4),
            "layer c: 4 groups do not divide 6 input and 8 output channels",
        ),
        (
            lambda: conv_workload("c", inputs=6, outputs=8, output_size=(1, 1), kernel=(0, 3)),
            "layer c: kernel height must be a whole number from 1, got 0",
        ),
        (
            lambda: conv_workload("c", inputs=6, outputs=8, output_size=(1, 1), kernel=3),  # type: ignore[arg-type]
            "layer c: kernel must be a pair (height, width), got 3",
        ),
        (lambda: linear_workload("l", inputs=0, outputs=1), "layer l: inputs must be a whole number from 1, got 0"),
        (
            lambda: einsum_workload("e", {"A": 2}, {"Inputs": ["B"], "Outputs": ["A"]}, output="Outputs"),
            "layer e: tensor Inputs: rank `B`: unknown dim `B`",
        ),
        (
            lambda: einsum_workload("e", {"A": 2}, {"Inputs": ["A-1"], "Outputs": ["A"]}, output="Outputs"),
            "layer e: tensor Inputs: rank `A-1`: cannot read the term `A-1`",
        ),
        (
            lambda: einsum_workload("e", {"A": 2}, {"Inputs": ["A"], "Outputs": ["A"]}, output="Sum"),
            "layer e: the output tensor `Sum` is not among Inputs, Outputs",
        ),
    ],
)
def test_impossible_workload_says_what_is_wrong(make: Callable[[], Workload], message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        make()
    assert caught.value.message == message
    assert caught.value.hint


# ---- networks --------------------------------------------------------------------------------------------------------


def two_layers() -> Network:
    edges = [
        Edge(name="x", node="x", elements=4, shape=(4,), group=0),
        Edge(name="a", node="a", elements=6, shape=(6,), group=1),
        Edge(name="b", node="b", elements=6, shape=(6,), group=1),
        Edge(name="y", node="y", elements=2, shape=(2,), group=2),
    ]
    layers = [
        Layer(
            name="first",
            node="a",
            workload=linear_workload("first", inputs=4, outputs=6),
            weights_elements=24,
            input_edge=0,
            output_edge=1,
        ),
        Layer(
            name="last.fc",
            node="y",
            workload=linear_workload("last.fc", inputs=6, outputs=2),
            weights_elements=12,
            input_edge=2,
            output_edge=3,
        ),
    ]
    return Network(name="two", layers=tuple(layers), edges=tuple(edges), input_shape=(4,))


def test_network_knows_its_groups_and_totals() -> None:
    network = two_layers()
    assert network.edge_groups == ((0,), (1, 2), (3,))
    assert (network.input_group, network.output_group) == (0, 2)
    assert (network.macs, network.weights) == (36, 36)
    assert hash(network) == hash(two_layers())


def test_layer_is_found_by_name_or_position_from_1() -> None:
    network = two_layers()
    assert network.layer("last.fc") is network.layer("2")
    assert network["first"] == network.layers[0].workload
    for wrong in ("0", "3", "-1", "²"):
        with pytest.raises(WorkloadError, match=f"two has no layer `{wrong}`"):
            network.layer(wrong)
    with pytest.raises(WorkloadError) as caught:
        network.layer("last.cf")
    expected = "did you mean `last.fc`? layers are named like `first` or numbered 1..2"
    assert (caught.value.message, caught.value.hint) == ("two has no layer `last.cf`", expected)


def test_bits_of_a_layer_come_from_its_edges() -> None:
    network = two_layers()
    bits = BitAssignment(weights=(2, 3), groups=(8, 4, 6))
    assert bits.layer_bits(network, 0) == BitWidths(weights=2, inputs=8, outputs=4)
    assert bits.layer_bits(network, 1) == BitWidths(weights=3, inputs=4, outputs=6)
    assert BitAssignment.uniform(network, 5) == BitAssignment(weights=(5, 5), groups=(5, 5, 5))


def test_assignment_of_another_network_is_refused() -> None:
    with pytest.raises(WorkloadError, match="has 1 weight and 3 activation genes, two has 2 and 3"):
        BitAssignment(weights=(8,), groups=(8, 8, 8)).layer_bits(two_layers(), 0)
    with pytest.raises(WorkloadError, match=r"bits of groups\[1\]: expected a whole number in 1\.\.32, got 0"):
        BitAssignment(weights=(8,), groups=(8, 0))


def test_contradictory_network_is_refused() -> None:
    good = two_layers()
    with pytest.raises(WorkloadError, match="edge e: shape \\(2, 3\\) does not hold 5 elements"):
        Edge(name="e", node="e", elements=5, shape=(2, 3), group=0)
    with pytest.raises(WorkloadError, match="layer name used twice: first"):
        Network(name="n", layers=good.layers[:1] * 2, edges=good.edges, input_shape=(4,))
    with pytest.raises(WorkloadError, match=r"bit groups \[1, 2\] have gaps"):
        Network(name="n", layers=good.layers[:1], edges=good.edges[1:], input_shape=(4,))
    with pytest.raises(WorkloadError, match=r"layer last\.fc names edge 2 of 2"):
        Network(name="n", layers=good.layers[1:], edges=good.edges[:2], input_shape=(4,))
    with pytest.raises(WorkloadError, match="network n has no layer with weights"):
        Network(name="n", layers=(), edges=good.edges, input_shape=(4,))


# ---- the paper's lists -----------------------------------------------------------------------------------------------


def dims_of_row(row: list[int], columns: list[str]) -> tuple[dict[str, int], tuple[int, int]]:
    """Dims and (width, height) strides of a row of the paper's list; sizes there are those of the inputs."""
    at = dict(zip(columns, row, strict=True))
    width = (at["W"] + 2 * at["Wpad"] - at["R"]) // at["Wstride"] + 1
    height = (at["H"] + 2 * at["Hpad"] - at["S"]) // at["Hstride"] + 1
    dims = {key: at[key] for key in ("C", "M", "R", "S", "N")} | {"P": width, "Q": height}
    return dims, (at["Wstride"], at["Hstride"])


def strides_of(workload: Workload) -> tuple[int, int]:
    inputs = next(tensor for tensor in workload.tensors if tensor.name == "Inputs")
    found = {dim: coefficient for rank in inputs.ranks for dim, coefficient in rank}
    return found["P"], found["Q"]


@pytest.mark.parametrize(("model", "classes"), [("mobilenet_v1", 100), ("mobilenet_v2", 1000)])
def test_paper_workloads_are_the_layers_of_the_papers_tool(model: str, classes: int) -> None:
    lists = json.loads(PAPER_LAYERS.read_text())
    expected = [dims_of_row(row, lists["_columns"]) for row in lists[model]]
    network = paper_workloads(load_once(f"{model}:classes={classes}"))
    assert [(dict(layer.workload.dims), strides_of(layer.workload)) for layer in network.layers] == expected


def test_paper_list_of_v2_has_1000_classes_where_that_of_v1_has_100() -> None:
    lists = json.loads(PAPER_LAYERS.read_text())
    assert [lists[model][-1][4] for model in ("mobilenet_v1", "mobilenet_v2", "mobilenet_keras")] == [100, 1000, 1000]


@pytest.mark.parametrize(("model", "ratio"), [("mobilenet_v1", 8.5), ("mobilenet_v2", 18.5)])
def test_paper_workloads_overcount_macs_but_keep_the_weights(model: str, ratio: float) -> None:
    true = load_once(f"{model}:classes=100")
    paper = paper_workloads(true)
    assert paper.macs / true.macs == pytest.approx(ratio, rel=0.01)
    assert paper.weights == true.weights
    assert paper.edges == true.edges


# ---- loading ---------------------------------------------------------------------------------------------------------

USER_MODULE = """
from torch import nn
def small():
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), *pool, nn.Linear(4, 2))
class Grey(nn.Conv2d):
    def __init__(self):
        super().__init__(1, 2, 3)
def broken():
    raise KeyError("weights.pt")
def number():
    return 3
constant = 7
"""


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"user_models_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(USER_MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_function_of_the_current_directory_is_a_model(user_module: str) -> None:
    network = load_network(f"{user_module}:small")
    assert network.name == f"{user_module}:small"
    assert network.input_shape == (3, 224, 224)
    assert [layer.name for layer in network.layers] == ["0", "4"]
    assert network["0"].dims["P"] == 222
    sized = load_network(f"{user_module}:small:input=10x12")
    assert (sized["0"].dims["Q"], sized["0"].dims["P"]) == (8, 10)
    assert load_network(f"{user_module}:small", input_shape=(3, 5, 6))["0"].dims["P"] == 4
    assert load_network(f"{user_module}:Grey:input=9,channels=1").macs == 2 * 9 * 49


def test_loading_leaves_the_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    load_network("mobilenet_v1:width=0.1,input=16")
    assert torch.equal(before, torch.random.get_rng_state())


def test_network_file_is_read_without_torch_and_fixes_its_shapes(tmp_path: Path) -> None:
    network = load_network("mobilenet_v2:input=32,classes=10")
    path = tmp_path / "network.yaml"
    path.write_text(dump_network(network))
    assert load_network(str(path)) == network
    code = f"import sys; from quantloom.workload.load import load_network; load_network({str(path)!r}); "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)
    with pytest.raises(WorkloadError, match="the file fixes the shape of every layer"):
        load_network(str(path), input_shape=(3, 64, 64))
    with pytest.raises(SpecError, match=r"no_such\.yaml"):
        load_network("no_such.yaml")


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("mobilnet_v1", "unknown model `mobilnet_v1`", "did you mean `mobilenet_v1`?"),
        ("mobilenet_v1:small", "expected option=value, got `small`", "for example"),
        ("no_such_module:small", "cannot import no_such_module: ModuleNotFoundError", "is it installed or below"),
        ("{user}:smal", "has no `smal`", "name a function without arguments"),
        ("{user}:constant", "is not a function: `constant`", "name a function without arguments"),
        ("{user}:broken", "the function fails: KeyError: 'weights.pt'", "without arguments"),
        ("{user}:number", "is a int, expected a torch.nn.Module", "must return the module, or"),
        ("{user}:small:width=2", "cannot read the option `width=2`", "input=SIZE or input=HEIGHTxWIDTH"),
        ("{user}:small:input=2", "fails on shapes (1, 3, 2, 2)", "is the input shape right?"),
        ("{user}:small:input=0", "input shape (3, 0, 0) must be whole numbers from 1", "without the batch"),
    ],
)
def test_unknown_or_failing_model_is_one_clear_error(user_module: str, spec: str, message: str, hint: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        load_network(spec.format(user=user_module))
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_function_with_unsupported_operators_reports_them(user_module: str) -> None:
    Path(f"{user_module}.py").write_text(
        "from torch import fft, nn\nclass Net(nn.Conv2d):\n    def forward(self, x):\n"
        "        return fft.fft(super().forward(x))\ndef net():\n    return Net(3, 4, 3)\n"
    )
    with pytest.raises(UnsupportedOpError, match="node `fft_fft`: fft_fft"):
        load_network(f"{user_module}:net")
