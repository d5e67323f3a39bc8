"""Reading networks through torch.export: totals against torch's own counter, attention, inputs, what cannot be read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from quantloom.errors import UnsupportedOpError, WorkloadError
from quantloom.workload.from_export import network_from_export
from quantloom.workload.from_torch import network_from_torch
from quantloom.workload.load import load_network
from quantloom.workload.network import Network
from quantloom.workload.torch_models import network_from_builder


def counted_macs(module: nn.Module, *args: Tensor) -> int:
    """MACs as torch counts them while the module runs; its attention is counted in the form of plain products only."""
    module.train(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        module(*args)
    return counter.get_total_flops() // 2


def matrices(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.ndim > 1)


def exported(module: nn.Module, *args: Tensor) -> Network:
    return network_from_export(module, args, {}, "net")


class VisionTransformer(nn.Module):
    """Patches by a convolution, a class token, a pre-norm encoder layer, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 24))
        layer = nn.TransformerEncoderLayer(24, 3, 48, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], dim=1)
        return self.head(self.encoder(tokens)[:, 0])


class MaskedEncoder(nn.Module):
    """A language model: embedding shared with the head, queries that share keys, a mask that is an input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 16)
        self.queries, self.keys, self.values = nn.Linear(16, 16), nn.Linear(16, 8), nn.Linear(16, 8)
        self.head = nn.Linear(16, 40, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(ids)
        q, k, v = (layer(x).unflatten(-1, (-1, 4)).transpose(1, 2) for layer in (self.queries, self.keys, self.values))
        bias = (1.0 - mask[:, None, None, :]) * -1e4
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=True)
        return self.head(x + y.transpose(1, 2).flatten(2))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.last = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(16, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu_(self.down2(F.max_pool2d(a, 2)))
        return self.out(F.relu(self.last(torch.cat([a, self.up(b)], dim=1))))


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (VisionTransformer(), (torch.zeros(1, 3, 16, 16),)),
        (MaskedEncoder(), (torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5))),
        (UNet(), (torch.zeros(1, 1, 8, 12),)),
        (
            nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Conv3d(4, 4, (1, 3, 3), groups=2)),
            (torch.zeros(1, 2, 6, 7, 8),),
        ),
        (nn.MultiheadAttention(12, 3), (torch.zeros(5, 1, 12), torch.zeros(7, 1, 12), torch.zeros(7, 1, 12))),
        (
            nn.Sequential(nn.Conv1d(2, 8, 5, stride=2, dilation=2), nn.Flatten(), nn.Linear(8 * 8, 4)),
            (torch.zeros(1, 2, 24),),
        ),
    ],
    ids=["vit", "masked encoder", "u-net", "3-d", "attention", "1-d"],
)
def test_totals_equal_those_that_torch_counts(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    network = exported(module, *inputs)
    assert network.macs == counted_macs(module, *inputs)
    tokens = module.token.numel() if isinstance(module, VisionTransformer) else 0
    assert network.weights + network.tables + tokens == matrices(module)


def test_exported_and_traced_networks_of_a_model_are_the_same() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True))
            self.block = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1))
            self.head = nn.Linear(16, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = torch.cat([x + self.block(x), x], 1)
            return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))

    model = Residual()
    traced, network = network_from_torch(model, (3, 9, 9), "net"), exported(model, torch.zeros(1, 3, 9, 9))
    layers = [
        [(layer.name, layer.workload, layer.input_edge, layer.output_edge) for layer in found.layers]
        for found in (traced, network)
    ]
    assert layers[0] == layers[1]
    assert network.edge_groups == traced.edge_groups
    assert [edge.shape for edge in network.edges] == [edge.shape for edge in traced.edges]


def test_attention_is_two_products_of_edges_that_carry_the_bits_of_what_they_read() -> None:
    network = exported(MaskedEncoder(), torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5))
    edges, names = network.edges, [layer.name for layer in network.layers]
    assert names[:3] == ["queries", "keys", "values"]
    scores, values = (layer for layer in network.layers if layer.weights_edge is not None)
    assert {dim: scores.workload.dims[dim] for dim in "GCMN"} == {"G": 2, "C": 4, "M": 5, "N": 2 * 5}
    assert {dim: values.workload.dims[dim] for dim in "GCMN"} == {"G": 2, "C": 5, "M": 4, "N": 2 * 5}
    assert edges[scores.input_edge].name == "queries"
    assert edges[scores.weights_edge or 0].name == "keys"
    assert edges[values.weights_edge or 0].name == "values"
    assert edges[values.input_edge].shape == (4, 5, 5)
    softmax = next(operator for operator in network.operators if operator.kind == "softmax")
    assert (softmax.treatment, softmax.writes) == ("traffic", values.input_edge)
    assert (softmax.elements_read, softmax.elements_written) == (100, 100)


def test_embedding_shared_with_the_head_is_stored_once() -> None:
    network = exported(MaskedEncoder(), torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5))
    assert network.tables == 0
    assert network.layer("head").weights_elements == 40 * 16
    lookup = next(operator for operator in network.operators if operator.kind == "embedding")
    assert (lookup.treatment, lookup.elements_read, lookup.elements_written) == ("traffic", 5 + 5 * 16, 5 * 16)


@pytest.mark.parametrize(("kind", "layers", "both"), [(nn.LSTM, 2, True), (nn.GRU, 1, True), (nn.RNN, 2, False)])
def test_recurrent_layers_multiply_inputs_and_states(kind: type[nn.RNNBase], layers: int, both: bool) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = kind(6, 5, num_layers=layers, bidirectional=both, batch_first=True)
            self.head = nn.Linear(10 if both else 5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[0])

    module = Last()
    network = exported(module, torch.zeros(1, 7, 6))
    assert network.weights == matrices(module)
    assert network.macs == 7 * matrices(module)  # every weight once a step
    assert network.edges[-1].shape == (7, 3)


def test_products_with_parameters_on_either_side_are_layers_with_weights() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Parameter(torch.zeros(5, 4)), nn.Parameter(torch.zeros(6, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("ij,bjk->bik", self.left, x) @ self.right.t().mT

    network = exported(Mixer(), torch.zeros(1, 4, 6))
    assert [(layer.name, layer.weights_elements, layer.weights_edge) for layer in network.layers] == [
        ("left", 20, None),
        ("right", 18, None),
    ]
    assert network.macs == 5 * 4 * 6 + 5 * 6 * 3


def test_a_value_changed_in_place_after_it_was_read_is_told_apart() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            z = self.second(y)
            y.relu_()
            return y + z

    network = exported(InPlace(), torch.zeros(1, 4))
    assert network.edges[network.layer("second").input_edge].name == "first"
    assert [edge.name for edge in network.edges] == ["x", "first", "second", "relu", "add"]


def test_export_changes_nothing_in_the_module_or_in_torch() -> None:
    model = VisionTransformer()
    model.head.eval()
    flags = [part.training for part in model.modules()]
    was_fast, grad = torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()
    exported(model, torch.zeros(1, 3, 16, 16))
    assert [part.training for part in model.modules()] == flags
    assert (torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()) == (was_fast, grad)


# ---- from what a function returns ------------------------------------------------------------------------------------

USER_MODULE = """
import torch
from torch import nn
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)
    def forward(self, x, y=None):
        return self.fc(x * y)
class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x
class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)
    def forward(self, x):
        return torch.linalg.inv(torch.fft.fft(self.fc(x)).real.unsqueeze(-1) * torch.eye(4))
def by_name():
    return Two(), {"x": torch.zeros(1, 5, 4), "y": torch.ones(1, 5, 4)}
def by_position():
    return Two(), (torch.zeros(1, 5, 4), torch.ones(1, 5, 4))
def one_tensor():
    return nn.Linear(4, 3), torch.zeros(1, 5, 4)
def up():
    return nn.ConvTranspose2d(3, 4, 2, 2)
def sequence():
    return nn.Linear(4, 3)
def text():
    return nn.Linear(4, 3), "zeros"
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"export_models_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(USER_MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def test_function_gives_example_inputs_by_name_by_position_or_as_one_tensor(models: str) -> None:
    for function in ("by_name", "by_position", "one_tensor"):
        network = load_network(f"{models}:{function}")
        assert (network.macs, network.input_shape) == (5 * 12, (5, 4))
    assert load_network(f"{models}:sequence:shape=7x4").macs == 7 * 12
    assert load_network(f"{models}:up:input=5").macs == 3 * 4 * 4 * 25


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("text", WorkloadError, "example inputs are a str, expected a tensor, a tuple or a dict"),
        ("one_tensor:shape=5x4", WorkloadError, "an input shape is given, but the function returns example inputs"),
        ("sequence:shape=5x4,input=3", WorkloadError, "shape= is given beside input="),
        ("sequence:shape=5x", WorkloadError, "cannot read the option `shape=5x`"),
        ("Branch:shape=4", UnsupportedOpError, "Branch cannot be exported at export_models_"),
        ("sequence:shape=5x3", WorkloadError, "fails on shapes (1, 5, 3)"),
    ],
)
def test_function_that_cannot_be_read_is_one_clear_error(
    models: str, model: str, error: type[Exception], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(error) as caught:
        load_network(f"{models}:{model}")
    assert message in str(caught.value)
    assert tuple(capfd.readouterr()) == ("", "")  # torch would print whole graphs


def test_unknown_operators_are_reported_together_and_can_be_taken_as_traffic(models: str) -> None:
    with pytest.raises(UnsupportedOpError) as caught:
        load_network(f"{models}:Odd:shape=4")
    assert all(f"\n  node `{name}`: {name}" in caught.value.message for name in ("fft_fft", "linalg_inv"))
    assert "with `unknown=traffic` behind the model" in (caught.value.hint or "")
    network = load_network(f"{models}:Odd:shape=4,unknown=traffic")
    assumed = [operator for operator in network.operators if operator.treatment == "assumed"]
    assert len(assumed) >= 2
    assert network.macs == 16


def test_other_things_than_modules_are_refused() -> None:
    with pytest.raises(WorkloadError, match=r"model `m` is a int, expected a torch\.nn\.Module"):
        network_from_builder(lambda: 3, None, "m")
    network = network_from_builder(lambda: (nn.Linear(3, 2), (torch.zeros(4, 3),)), None, "m")
    assert math.prod(network.edges[0].shape) == 12


class Cells(nn.Module):
    """A loop over steps by hand: every step uses the same weights, and the first states are made of zeros."""

    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell = kind(8, 16)  # type: ignore[call-arg]

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 16)
        hidden = (state, state) if isinstance(self.cell, nn.LSTMCell) else state
        for step in range(x.shape[1]):
            hidden = self.cell(x[:, step], hidden)
        return hidden[0] if isinstance(hidden, tuple) else hidden


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTMCell, 64), (nn.GRUCell, 48), (nn.RNNCell, 16)])
def test_cells_called_step_by_step_share_their_weights(kind: type[nn.RNNCellBase], gates: int) -> None:
    network = exported(Cells(kind), torch.zeros(1, 4, 8))
    assert network.macs == 4 * gates * 8 + 3 * gates * 16  # the zeros of the first step are multiplied by nothing
    assert network.weights == gates * (8 + 16)


def test_bags_of_embeddings_read_every_row() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.head = nn.EmbeddingBag(100, 16, mode="sum"), nn.Linear(16, 4)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.bag(ids))

    network = exported(Bag(), torch.zeros(1, 7, dtype=torch.long))
    [bag] = [each for each in network.operators if each.kind == "embedding_bag"]
    assert (bag.elements_read, bag.elements_written, bag.table_elements) == (7 + 7 * 16, 16, 1600)
    assert (bag.treatment, network.macs) == ("traffic", 64)


def test_a_part_that_is_overwritten_is_stored_anew() -> None:
    class Patched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            y[:, 2:] = self.second(y)
            y[:, :, :1] = 0
            return y

    network = exported(Patched(), torch.zeros(1, 3, 8, 8))
    assert network.macs == 64 * (27 * 4 + 8)
    patch = next(each for each in network.operators if each.kind == "slice_scatter" and len(each.reads) == 2)
    assert patch.treatment == "traffic"
    assert (patch.elements_read, patch.elements_written) == (64 * (4 + 2), 64 * 4)
    assert len({network.edges[edge].group for edge in (*patch.reads, patch.writes or 0)}) == 1


def test_operators_that_torch_writes_by_others_are_read_as_those() -> None:
    class Composite(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            mixed = torch.tensordot(y[0], y[0], dims=([1, 2], [1, 2]))
            return torch.std_mean(torch.hstack([mixed, torch.rot90(mixed, 1, (0, 1))]), 0)[0]

    module, inputs = Composite(), torch.zeros(1, 4, 8, 8)
    assert exported(module, inputs).macs == counted_macs(module, inputs) == 64 * 144 + 4 * 4 * 64


class Routed(nn.Module):
    """Two experts, each of which sees only the rows that are sent to it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.expert = nn.Linear(8, 2), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.gate(x).argmax(-1)
        return self.expert(x[chosen == 0]).sum() + self.expert(x[chosen == 1]).sum()


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) if x.sum() > 0 else x


def test_what_depends_on_values_is_refused_with_its_line() -> None:
    with pytest.raises(UnsupportedOpError) as caught:
        exported(Routed(), torch.zeros(1, 5, 8))
    lines = caught.value.message.splitlines()
    assert lines[0] == "net: 2 unsupported operator(s)"
    source = Path(__file__).read_text().splitlines()
    place = next(n for n, line in enumerate(source, 1) if "self.expert(x[chosen == 0])" in line)
    why = f"index at {Path(__file__).name}:{place} has a result whose size depends on the values of tensors"
    assert lines[1:] == [f"  node `{name}`: {why}" for name in ("index", "index_1")]
    assert caught.value.hint == (
        "what a network costs must not depend on its input: compute all of what has a size of its own, and mask what "
        "is not needed"
    )
    with pytest.raises(UnsupportedOpError) as caught:
        exported(Branching(), torch.zeros(1, 3, 4, 4))
    place = next(n for n, line in enumerate(source, 1) if "self.conv(x) if x.sum() > 0 else x" in line)
    assert caught.value.message.startswith(
        f"net cannot be exported at {Path(__file__).name}:{place} in forward: GuardOnDataDependentSymNode: "
    )


def test_all_that_is_wrong_beside_open_sizes_is_told_at_once() -> None:
    class Several(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            inverse = torch.linalg.inv(y[:, :, :8, :8])
            chosen = y.flatten()[y.flatten(1).nonzero()[:, 1]]
            bessel = torch.special.bessel_j0(self.linear(chosen.reshape(-1, 8))).relu()
            return self.linear(y.mean((2, 3))) + inverse.sum() + bessel.sum()

    with pytest.raises(UnsupportedOpError) as caught:
        exported(Several(), torch.zeros(1, 3, 16, 16))
    lines = [line.partition(" at ")[0] for line in caught.value.message.splitlines()[1:]]
    assert lines == [f"  node `{name}`: {name}" for name in ("linalg_inv", "nonzero", "special_bessel_j0")]
    assert all(f" at {Path(__file__).name}:" in line for line in caught.value.message.splitlines()[1:])


def test_modules_that_hide_what_they_compute_are_named() -> None:
    class Quantized(nn.Sequential):
        __module__ = "torch.ao.nn.quantized.modules.linear"

    module = nn.Sequential(nn.Linear(4, 4), Quantized(Quantized()))
    with pytest.raises(UnsupportedOpError) as caught:
        exported(module, torch.zeros(1, 4))
    assert caught.value.message.splitlines() == [
        "net: 1 module(s) that do not show what they compute",
        "  module `1`: torch.ao.nn.quantized.modules.linear.Quantized",
    ]
    assert caught.value.hint == "give the model as it is before torch.jit or the quantizer changes it"


def test_what_operators_warn_of_is_kept_to_themselves(recwarn: pytest.WarningsRecorder) -> None:
    class Sampling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return F.grid_sample(self.conv(x), x[:, :2].permute(0, 2, 3, 1))

    assert network_from_builder(lambda: (Sampling(), torch.zeros(1, 3, 4, 4)), None, "net").macs == 144
    assert not recwarn.list
