"""Reading networks from torch modules: edges, fusion, bit groups, and everything that cannot be read."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quantloom import zoo
from quantloom.errors import UnsupportedOpError, WorkloadError
from quantloom.workload.from_torch import TracedModel, network_from_torch, trace
from quantloom.workload.network import Network


def nodes_of_groups(network: Network) -> list[set[str]]:
    return [{network.edges[index].node for index in group} for group in network.edge_groups]


def assert_nodes_exist(traced: TracedModel) -> None:
    names = {node.name for node in traced.graph_module.graph.nodes}
    assert {edge.node for edge in traced.network.edges} | {layer.node for layer in traced.network.layers} <= names


class Residual(nn.Module):
    """A small ResNet: stem with max pooling, an identity block, a block with a strided shortcut, mean, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(2)
        self.a1, self.b1 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.a2, self.b2 = nn.Conv2d(8, 16, 3, 2, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.down = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16))
        self.norm = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.bn(self.stem(x))))
        x = F.relu(x + self.b1(F.relu(self.a1(x))))
        y = self.norm(self.b2(F.relu(self.a2(x), inplace=True)))
        y += self.down(x)
        y = torch.relu(y).mean([2, 3])
        return self.fc(y.view(y.size(0), -1))


def test_residual_network_has_its_edges_groups_and_fused_nodes() -> None:
    traced = trace(Residual(), (3, 16, 16))
    network = traced.network
    assert_nodes_exist(traced)
    assert [layer.name for layer in network.layers] == ["stem", "a1", "b1", "a2", "b2", "down.0", "fc"]
    assert [(edge.name, edge.node, edge.shape) for edge in network.edges] == [
        ("x", "x", (3, 16, 16)),
        ("stem", "relu", (8, 16, 16)),
        ("pool", "pool", (8, 8, 8)),
        ("a1", "relu_1", (8, 8, 8)),
        ("b1", "b1", (8, 8, 8)),
        ("add", "relu_2", (8, 8, 8)),
        ("a2", "relu_3", (16, 4, 4)),
        ("b2", "norm", (16, 4, 4)),
        ("down.0", "down_1", (16, 4, 4)),
        ("add_1", "relu_4", (16, 4, 4)),
        ("mean", "mean", (16,)),
        ("fc", "fc", (5,)),
    ]
    assert nodes_of_groups(network) == [
        {"x"},
        {"relu", "pool", "b1", "relu_2"},
        {"relu_1"},
        {"relu_3"},
        {"norm", "down_1", "relu_4"},
        {"mean"},
        {"fc"},
    ]
    assert [(layer.input_edge, layer.output_edge) for layer in network.layers] == [
        (0, 1), (2, 3), (3, 4), (5, 6), (6, 7), (5, 8), (10, 11),
    ]  # fmt: skip


def test_zoo_v2_stores_the_bottleneck_behind_its_norm_and_the_sum() -> None:
    model = zoo.build("mobilenet_v2", input=32, classes=10)
    network = trace(model, (3, 32, 32)).network
    by_name = {edge.name: edge for edge in network.edges}
    assert by_name["features.2.conv.0.0"].node == "features_2_conv_0_2"
    assert by_name["features.2.conv.2"].node == "features_2_conv_3"
    assert nodes_of_groups(network)[by_name["add"].group] == {"features_2_conv_3", "features_3_conv_3", "add"}
    sums = [group for group in network.edge_groups if len(group) > 1]
    assert (len(network.layers), len(network.edges), len(network.edge_groups), len(sums)) == (53, 65, 45, 5)
    assert by_name["pool"].shape == (1280, 1, 1)
    assert network.edges[network.layer("classifier.1").input_edge].name == "pool"


class Concatenated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, (1, 3), padding=(0, 1))
        self.bn = nn.BatchNorm2d(10)
        self.last = nn.Conv2d(10, 4, 3, groups=2, dilation=(2, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([torch.sigmoid(self.left(x)), self.right(x)], dim=1)
        return self.last(torch.relu_(self.bn(y)))


def test_concatenation_joins_operands_and_result() -> None:
    network = trace(Concatenated(), (3, 9, 7)).network
    assert nodes_of_groups(network) == [{"x"}, {"sigmoid", "right", "relu_"}, {"last"}]
    assert network.edges[3].shape == (10, 9, 7)
    assert network["right"].dims["R"] == 3
    assert network["right"].dims["S"] == 1
    assert (network["right"].dims["P"], network["right"].dims["Q"]) == (7, 9)


def test_grouped_and_dilated_convolution_keeps_its_groups() -> None:
    layer = trace(Concatenated(), (3, 9, 7)).network.layer("last")
    assert dict(layer.workload.dims) == {"G": 2, "C": 5, "M": 2, "R": 3, "S": 3, "N": 1, "P": 5, "Q": 5}
    inputs = next(tensor for tensor in layer.workload.tensors if tensor.name == "Inputs")
    assert [[tuple(term) for term in rank] for rank in inputs.ranks][3:] == [[("R", 1), ("P", 1)], [("S", 2), ("Q", 1)]]
    assert layer.weights_elements == 10 // 2 * 4 * 9


def test_value_read_before_its_activation_is_stored_too() -> None:
    class PreActivation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.bn = nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return x + self.second(self.bn(x).clamp(0, 1))

    network = trace(PreActivation(), (3, 4, 4)).network
    assert [(edge.name, edge.node) for edge in network.edges] == [
        ("x", "x"),
        ("first", "first"),
        ("bn", "clamp"),
        ("second", "second"),
        ("add", "add"),
    ]
    assert nodes_of_groups(network) == [{"x"}, {"first", "second", "add"}, {"clamp"}]


def test_squeeze_and_excite_scales_without_joining() -> None:
    class Excite(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.squeeze = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return x * F.hardsigmoid(self.squeeze(F.adaptive_avg_pool2d(x, 1)))

    network = trace(Excite(), (3, 4, 4)).network
    assert nodes_of_groups(network) == [{"x"}, {"conv"}, {"adaptive_avg_pool2d"}, {"hardsigmoid"}, {"mul"}]


def test_channel_shuffle_and_chunks_stay_in_their_group() -> None:
    class Shuffled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4)

        def forward(self, x: Tensor) -> Tensor:
            left, right = self.first(x).relu().chunk(2, dim=1)
            y = torch.cat((left, self.second(right)), dim=1)
            n, c, h, w = y.shape
            return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)

    network = trace(Shuffled(), (3, 4, 4)).network
    assert nodes_of_groups(network) == [{"x"}, {"relu", "getitem", "getitem_1", "second", "cat"}]
    assert network.edges[network.layer("second").input_edge].shape == (4, 4, 4)


def test_functional_layers_and_1d_convolutions_are_read() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.zeros(4, 2, 3))
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.conv1d(x, self.kernel, stride=2, padding=1).transpose(1, 2)
            return F.linear(x, self.head.weight, self.head.bias)

    network = trace(Functional(), (2, 9)).network
    assert [layer.name for layer in network.layers] == ["conv1d", "head"]
    assert dict(network["1"].dims) == {"C": 2, "M": 4, "R": 3, "S": 1, "N": 1, "P": 5, "Q": 1}
    assert (network["head"].dims["N"], network.macs) == (5, 2 * 4 * 3 * 5 + 5 * 12)


def test_tracing_changes_nothing_in_the_module() -> None:
    model = Residual()
    model.a1.eval()
    flags = [part.training for part in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    traced = trace(model, (3, 16, 16))
    assert [part.training for part in model.modules()] == flags
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(traced.graph_module.eval()(x), model.eval()(x))
    assert traced.graph_module.get_parameter("fc.weight") is model.fc.weight


def test_layers_whose_result_nobody_needs_are_left_out() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.extra = nn.Linear(4, 2), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            self.extra(x)
            return self.main(x)

    network = network_from_torch(Auxiliary(), (4,), "aux")
    assert [layer.name for layer in network.layers] == ["main"]
    assert network.name == "aux"


# ---- what cannot be read ---------------------------------------------------------------------------------------------


def test_all_unsupported_operators_are_reported_together() -> None:
    class Exotic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.up = nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.fft.fft(self.up(self.conv(x))).abs().relu()
            x = x.flatten(2)
            return torch.bmm(x, x.transpose(1, 2)).roll(1, 1)

    with pytest.raises(UnsupportedOpError) as caught:
        trace(Exotic(), (3, 4, 4))
    assert caught.value.message == (
        "Exotic: 4 unsupported operator(s)\n"
        "  node `up`: ConvTranspose2d in module `up`\n"
        "  node `fft_fft`: fft_fft\n"
        "  node `bmm`: bmm of 2 activations\n"
        "  node `roll`: roll"
    )
    hint = caught.value.hint or ""
    assert "layers with weights: Conv1d, Conv2d, Linear\n" in hint
    assert "ReLU6" in hint
    assert "cat" in hint


def test_shared_weights_are_refused_with_both_places() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.tied = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.tied.weight = self.conv.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.tied(self.conv(self.conv(x)))

    with pytest.raises(UnsupportedOpError) as caught:
        trace(Shared(), (3, 4, 4))
    assert "node `conv_1`: Conv2d in module `conv` uses the weights of layer `conv` again" in caught.value.message
    assert "node `tied`: Conv2d in module `tied` uses the weights of layer `conv` again" in caught.value.message


def test_weights_computed_from_activations_are_refused() -> None:
    class Dynamic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = F.linear(x, self.fc(x).expand(4, 4))
            return F.linear(y, self.fc.weight * 2)

    with pytest.raises(UnsupportedOpError) as caught:
        trace(Dynamic(), (4,))
    assert "node `linear`: linear of 2 activations" in caught.value.message
    assert "node `linear_1`: linear with weights that are no parameter of the model" in caught.value.message


def test_in_place_change_of_a_value_that_is_read_again_is_refused() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            self.relu(y)
            return y

    with pytest.raises(UnsupportedOpError, match="node `relu`: ReLU in module `relu` overwrites `conv`"):
        trace(InPlace(), (3, 4, 4))


def test_control_flow_on_values_cannot_be_traced() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UnsupportedOpError, match="Branch cannot be traced: symbolically traced variables"):
        trace(Branch(), (3,))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 1, 16), r"node `pool` \(pool\) fails on shapes \(1, 8, 1, 16\): .*Output size is too small"),
        ((4, 16, 16), r"Residual: node `stem` \(stem\) fails on shapes \(1, 4, 16, 16\): .*expected input"),
        ((3, 16), r"node `stem` \(stem\) fails on shapes \(1, 3, 16\)"),
        ((), r"input shape \(\) must be whole numbers from 1"),
        ((3, -1, 4), r"input shape \(3, -1, 4\) must be whole numbers from 1"),
    ],
)
def test_wrong_input_shape_names_the_node(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        trace(Residual(), shape)


def test_more_inputs_or_outputs_than_one_are_refused() -> None:
    class TwoInputs(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    class TwoOutputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, self.fc(x)

    indices = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2, return_indices=True))
    with pytest.raises(UnsupportedOpError, match="MaxPool2d in module `1` returns several tensors"):
        trace(indices, (3, 4, 4))
    with pytest.raises(UnsupportedOpError, match="TwoInputs takes 2 inputs: x, y"):
        trace(TwoInputs(), (3,))
    with pytest.raises(UnsupportedOpError, match="TwoOutputs must return one tensor"):
        trace(TwoOutputs(), (3,))


def test_constants_are_no_edges_and_input_normalisation_is_fused() -> None:
    class Normalised(nn.Module):
        mean: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.ones(3, 1, 1))
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv((x - self.mean) / 2.0)

    network = trace(Normalised(), (3, 4, 4)).network
    assert [(edge.name, edge.node) for edge in network.edges] == [("x", "truediv"), ("conv", "conv")]


def test_network_without_layers_is_refused() -> None:
    with pytest.raises(WorkloadError, match="network ReLU has no layer with weights"):
        trace(nn.ReLU(), (3,))
