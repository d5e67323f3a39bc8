"""Quantized networks: every gene acts on its own tensor, and nothing of one assignment is left in the next."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from quantloom import zoo
from quantloom.errors import QuantError
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment

SHAPE = (1, 12, 12)


class Residual(nn.Module):
    """Normalised and plain layers, a residual add, shared and functional rectifiers, pooling, a functional layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.rectify = nn.ReLU6()
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False, padding_mode="reflect")
        self.depthwise_norm = nn.BatchNorm2d(8)
        self.project = nn.Conv2d(8, 8, 1)
        self.project_norm = nn.BatchNorm2d(8, affine=False)
        self.plain = nn.Conv2d(8, 6, 3, stride=2)
        self.own_weight = nn.Parameter(torch.randn(5, 6, 3, 3) * 0.3)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        x = self.rectify(self.stem_norm(self.stem(x)))
        y = self.rectify(self.depthwise_norm(self.depthwise(x)))
        x = x + self.project_norm(self.project(y))
        x = functional.relu(self.plain(x))
        x = functional.max_pool2d(functional.conv2d(x, self.own_weight, padding=1), 2)
        return self.head(x.mean((2, 3)))


def images(count: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def traced():
    torch.manual_seed(0)
    module = Residual()
    for _ in range(20):  # statistics and weights away from their initial values
        module(images(64) + 0.3)
    with torch.no_grad():
        for norm in (module.stem_norm, module.depthwise_norm):
            norm.weight.uniform_(-1.5, 1.5)
            norm.bias.uniform_(-0.5, 1.0)
    module.eval()
    return trace(module, SHAPE, name="residual")


@pytest.fixture
def network(traced):
    quantized = QuantizedNetwork(traced)
    quantized.calibrate(images(64))
    return quantized


def genes(network):
    """Every assignment that differs from uniform 8 bits in one gene, with what the gene is."""
    base = BitAssignment.uniform(network, 8)
    for index, layer in enumerate(network.layers):
        weights = list(base.weights)
        weights[index] = 2
        yield f"weights of {layer.name}", BitAssignment(weights=tuple(weights), groups=base.groups)
    for index in range(len(network.edge_groups)):
        groups = list(base.groups)
        groups[index] = 2
        yield f"edge group {index}", BitAssignment(weights=base.weights, groups=tuple(groups))


def stored_tensors(quantized, x):
    """The value of every edge as the network stores it, by running the graph node by node."""
    values = {}

    class Recorder(fx.Interpreter):
        def run_node(self, n):
            value = super().run_node(n)
            if n.op == "call_module":
                values[self.fetch_attr(n.target)] = value.detach().clone()
            return value

    with torch.no_grad():
        Recorder(quantized.graph_module).run(x)
    by_output = {getattr(module, "output", None): value for module, value in values.items()}
    return [values[q] if q in values else by_output[q] for q in quantized.activation_quantizers]


def run(quantized, x, assignment, *, statistics=None):
    quantized.set_bits(assignment)
    if statistics is not None:
        quantized.reestimate(statistics)
    with torch.inference_mode():
        return quantized(x).clone()


@pytest.mark.parametrize("with_statistics", [False, True])
def test_every_gene_alone_changes_the_output(network, with_statistics):
    statistics = images(64, seed=3) if with_statistics else None
    x = images(16, seed=1)
    reference = run(network, x, BitAssignment.uniform(network.network, 8), statistics=statistics)
    outputs = {}
    for gene, assignment in genes(network.network):
        outputs[gene] = run(network, x, assignment, statistics=statistics)
        assert not torch.equal(outputs[gene], reference), gene
    distinct = {tuple(output.flatten().tolist()) for output in outputs.values()}
    assert len(distinct) == len(outputs) == len(network.network.layers) + len(network.network.edge_groups)


@pytest.mark.parametrize("model", ["mobilenet_v1:width=0.25,input=16,classes=4", "mobilenet_v2:width=0.1,input=16"])
def test_every_gene_of_the_zoo_changes_the_output(model):
    torch.manual_seed(0)
    spec = zoo.parse_model(model)
    traced_zoo = trace(zoo.build(spec.name, **spec.options).eval(), spec.input_shape)
    quantized = QuantizedNetwork(traced_zoo, QuantScheme(bits=(2, 8)))
    quantized.reestimate(images(32, shape=spec.input_shape))
    quantized.calibrate(images(16, shape=spec.input_shape))
    x = images(2, seed=1, shape=spec.input_shape)
    reference = run(quantized, x, BitAssignment.uniform(quantized.network, 8))
    for gene, assignment in genes(quantized.network):
        assert not torch.equal(run(quantized, x, assignment), reference), gene


def test_a_gene_leaves_every_tensor_before_its_own_as_it_was(network):
    x = images(8, seed=1)
    network.set_bits(BitAssignment.uniform(network.network, 8))
    before = stored_tensors(network, x)
    for group, members in enumerate(network.network.edge_groups):
        groups = [8] * len(network.network.edge_groups)
        groups[group] = 3
        network.set_bits(BitAssignment(weights=(8,) * len(network.network.layers), groups=tuple(groups)))
        after = stored_tensors(network, x)
        for edge in range(min(members)):
            assert torch.equal(after[edge], before[edge])
        assert not torch.equal(after[min(members)], before[min(members)])


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_stored_tensors_and_weights_have_no_more_values_than_their_bits_allow(network, bits):
    network.set_bits(BitAssignment.uniform(network.network, bits))
    for edge, values in zip(network.network.edges, stored_tensors(network, images(32, seed=1)), strict=True):
        assert values.shape[1:] == edge.shape
        assert 1 < len(values.unique()) <= 1 << bits, edge.name
    for quantizer, weights in zip(network.weight_quantizers, network.weights, strict=True):
        for channel in quantizer(weights).detach():
            assert len(channel.unique()) <= 1 << bits, quantizer.name


def test_each_assignment_selects_exactly_its_bits(network):
    generator = torch.Generator().manual_seed(0)
    layers, groups = len(network.network.layers), len(network.network.edge_groups)
    for _ in range(5):
        bits = torch.randint(2, 9, (layers + groups,), generator=generator).tolist()
        network.set_bits(BitAssignment(weights=tuple(bits[:layers]), groups=tuple(bits[layers:])))
        assert [q.selected_bits for q in network.weight_quantizers] == bits[:layers]
        for quantizer, edge in zip(network.activation_quantizers, network.network.edges, strict=True):
            assert quantizer.selected_bits == bits[layers + edge.group]


def test_without_bits_it_computes_what_the_traced_module_computes(traced, network):
    x = images(8, seed=1)
    network.set_bits(BitAssignment.uniform(network.network, 2))
    network.reestimate(images(32))
    network.set_float()
    with torch.no_grad():
        assert torch.allclose(network(x), traced.graph_module(x), atol=1e-5)


def test_sixteen_bits_are_nearly_float_on_the_calibration_images(traced, network):
    x = images(64)
    with torch.no_grad():
        expected = traced.graph_module(x)
    found = run(network, x, BitAssignment.uniform(network.network, 16))
    assert torch.allclose(found, expected, atol=1e-3 * float(expected.abs().max()))


def test_the_order_of_assignments_does_not_matter(network):
    x, statistics = images(16, seed=1), images(64, seed=2)
    assignments = [assignment for _, assignment in genes(network.network)][::3]
    forwards = [run(network, x, assignment, statistics=statistics) for assignment in assignments]
    backwards = [run(network, x, assignment, statistics=statistics) for assignment in reversed(assignments)]
    for first, second in zip(forwards, reversed(backwards), strict=True):
        assert torch.equal(first, second)


def test_setting_bits_forgets_the_statistics_of_other_bits(network):
    x = images(16, seed=1)
    uniform = BitAssignment.uniform(network.network, 4)
    fresh = run(network, x, uniform)
    run(network, x, BitAssignment.uniform(network.network, 2), statistics=images(64))
    assert torch.equal(run(network, x, uniform), fresh)


def test_statistics_are_those_of_the_quantized_network(network):
    x = images(64, seed=2)
    network.set_bits(BitAssignment.uniform(network.network, 3))
    network.reestimate(x)
    stem = network.graph_module.get_submodule("layers.0")
    quantized_input = network.activation_quantizers[0](x)
    out = functional.conv2d(quantized_input, network.weight_quantizers[0](network.weights[0]), padding=1)
    assert torch.allclose(stem.norm.running_mean, out.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(stem.norm.running_var, out.var((0, 2, 3)), rtol=1e-4)


def test_fused_and_plain_forward_agree(network):
    x = images(16, seed=1)
    for bits in (8, 4):
        network.set_bits(BitAssignment.uniform(network.network, bits))
        with torch.inference_mode():
            fused = network(x)
        step = network.activation_quantizers[-1].selected[0]
        # A value half way between two codes may fall either way; it moves the logits by a step or two.
        assert (fused - network(x.requires_grad_()).detach()).abs().max() <= 2.01 * step
        x = x.detach()


def test_gradients_reach_every_weight(network):
    network.set_bits(BitAssignment.uniform(network.network, 4))
    network.train()
    functional.cross_entropy(network(images(16)), torch.arange(16) % 4).backward()
    for weights in network.weights:
        assert weights.grad is not None
        assert weights.grad.abs().sum() > 0


def test_the_traced_module_is_not_changed(traced):
    before = {name: value.clone() for name, value in traced.graph_module.state_dict().items()}
    code = traced.graph_module.code
    quantized = QuantizedNetwork(traced)
    quantized.calibrate(images(16))
    quantized.set_bits(BitAssignment.uniform(traced.network, 2))
    quantized.reestimate(images(16))
    assert traced.graph_module.code == code
    for name, value in traced.graph_module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_shared_parameters_are_those_of_the_traced_module(traced):
    quantized = QuantizedNetwork(traced, share_parameters=True)
    assert quantized.weights[0] is traced.graph_module.get_submodule("stem").weight


def test_assignments_of_other_networks_and_unknown_bits_are_refused(network):
    with pytest.raises(QuantError, match=r"2 weight and 1 activation genes, residual has 6 and 7"):
        network.set_bits(BitAssignment(weights=(8, 8), groups=(8,)))
    with pytest.raises(QuantError, match="layer stem: cannot quantize to 9 bits"):
        network.set_bits(BitAssignment.uniform(network.network, 9))


def test_bits_before_calibration_are_refused(traced):
    quantized = QuantizedNetwork(traced, QuantScheme(bits=(4, 8)))
    assert not quantized.is_calibrated
    with pytest.raises(QuantError, match="has no scales yet"):
        quantized.set_bits(BitAssignment.uniform(traced.network, 8))
    quantized.calibrate(images(8))
    with pytest.raises(QuantError, match=r"cannot quantize to 5 bits\n  hint: scales exist for 4, 8 bits"):
        quantized.set_bits(BitAssignment.uniform(traced.network, 5))


def test_broken_weights_are_refused(traced):
    quantized = QuantizedNetwork(traced)
    with torch.no_grad():
        quantized.weights[1].fill_(float("nan"))
    with pytest.raises(QuantError, match="weights hold NaN"):
        quantized.calibrate(images(8))
