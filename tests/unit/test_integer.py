"""The integer network: independent of the fake-quantized one, and equal to it up to rounding on real images."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from quantloom.demo import load_demo
from quantloom.errors import QuantError, UnsupportedOpError
from quantloom.quant.integer import IntegerNetwork, compare_with_integers
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def quantized(demo):
    network = QuantizedNetwork(trace(demo.module, (1, 28, 28), name="demo"))
    network.calibrate(demo.data.train.batch(slice(0, 256))[0])
    return network


def mixed(network, seed):
    generator = torch.Generator().manual_seed(seed)
    layers, groups = len(network.layers), len(network.edge_groups)
    bits = torch.randint(2, 9, (layers + groups,), generator=generator).tolist()
    return BitAssignment(weights=tuple(bits[:layers]), groups=tuple(bits[layers:]))


@pytest.mark.parametrize("bits", [8, "mixed"])
def test_real_images_agree_to_rounding(demo, quantized, bits):
    network = quantized.network
    quantized.set_bits(mixed(network, 3) if bits == "mixed" else BitAssignment.uniform(network, bits))
    quantized.reestimate(demo.data.train.batch(slice(0, 64))[0])
    images, _ = demo.data.test.batch(slice(0, 24))
    agreement = compare_with_integers(quantized, images)
    assert list(agreement.equal) == [edge.name for edge in network.edges]
    assert max(agreement.furthest.values()) <= 1
    assert min(agreement.equal.values()) > 0.998
    assert agreement.top1 == 1


class Zoo(nn.Module):
    """What convolutional networks are made of: sums, concatenation, pooling, padding, groups, functional layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, padding_mode="reflect")
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.loose = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.average = nn.AvgPool2d(2)
        self.own_weight = nn.Parameter(torch.randn(6, 16, 3, 3) * 0.2)
        self.own_bias = nn.Parameter(torch.randn(6))
        self.line = nn.Conv1d(6, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)
        self.shared = nn.ReLU()

    def forward(self, x):
        x = self.shared(self.norm(self.stem(x)))
        y = self.shared(x + self.loose(self.pointwise(self.grouped(x))))
        x = torch.cat([self.average(y), self.average(self.pool(x))], dim=1)
        x = functional.relu6(functional.conv2d(x, self.own_weight, self.own_bias, padding=1))
        x = self.line(x.flatten(2))
        return self.head(x.mean(2).view(x.size(0), -1))


def zoo(**options):
    torch.manual_seed(1)
    module = Zoo()
    with torch.no_grad():
        module.norm.weight.uniform_(-1.5, 1.5)
        module.norm.weight[0] = 0  # a channel that is switched off
        module.norm.weight[1] = 1e-12
        module.norm.bias.uniform_(-0.5, 1)
        for norm in (module.norm, module.loose):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    network = QuantizedNetwork(trace(module.eval(), (2, 12, 12)), QuantScheme(**options))
    network.calibrate(torch.randn(32, 2, 12, 12))
    return network


def test_integers_react_to_every_gene():
    quantized = zoo(bits=(2, 8))
    network = quantized.network
    images = torch.randn(2, 2, 12, 12)
    base = BitAssignment.uniform(network, 8)

    def logits(assignment):
        quantized.set_bits(assignment)
        return IntegerNetwork(quantized)(images)

    reference = logits(base)
    for index in range(len(network.layers)):
        weights = (*base.weights[:index], 2, *base.weights[index + 1 :])
        assert not torch.equal(logits(BitAssignment(weights=weights, groups=base.groups)), reference), index
    for index in range(len(network.edge_groups)):
        groups = (*base.groups[:index], 2, *base.groups[index + 1 :])
        assert not torch.equal(logits(BitAssignment(weights=base.weights, groups=groups)), reference), index


@pytest.mark.parametrize("activations", ["affine", "symmetric"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [8, 3])
def test_all_kinds_of_operators_agree(activations, per_channel, bits):
    network = zoo(bits=(bits,), activations=activations, per_channel=per_channel)
    network.set_bits(BitAssignment.uniform(network.network, bits))
    agreement = compare_with_integers(network, torch.randn(16, 2, 12, 12))
    assert max(agreement.furthest.values()) <= 1
    for edge, equal in agreement.equal.items():
        # The mean of four integers in one scale often lies half way between two: single precision falls either way.
        assert equal > (0.95 if edge.startswith("average") else 0.999), edge
    assert agreement.top1 == 1


class Gated(nn.Module):
    """Every activation that integers know beside the rectifiers, behind sums far outside of 0..6, and two products."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.swish, self.silu, self.gate = nn.Hardswish(), nn.SiLU(), nn.Hardsigmoid()
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.swish(self.norm(self.stem(x)))
        means = functional.adaptive_avg_pool2d(x, 1)
        x = x * self.gate(self.excite(torch.tanh(self.squeeze(means))))
        x = self.silu(self.second(x))
        return torch.sigmoid(self.head((x * -0.5).mean((2, 3))))


@pytest.mark.parametrize("bits", [8, 4])
def test_curved_activations_and_products_agree(bits):
    torch.manual_seed(2)
    module = Gated()
    with torch.no_grad():
        module.norm.weight.uniform_(1, 6)
        module.second.weight.mul_(8)
        module.head.weight.mul_(6)
    network = QuantizedNetwork(trace(module.eval(), (2, 12, 12)), QuantScheme(bits=(bits,)))
    network.calibrate(torch.randn(32, 2, 12, 12))
    network.set_bits(BitAssignment.uniform(network.network, bits))
    agreement = compare_with_integers(network, torch.randn(16, 2, 12, 12))
    assert max(agreement.furthest.values()) <= 1
    for edge, equal in agreement.equal.items():
        assert equal > (0.98 if "mean" in edge else 0.998), (edge, equal)


def test_one_wrong_code_is_seen(quantized, demo):
    images, _ = demo.data.test.batch(slice(0, 8))
    quantized.set_bits(BitAssignment.uniform(quantized.network, 4))
    before = compare_with_integers(quantized, images)
    layer = quantized.graph_module.get_submodule("layers.2")
    original = layer.forward
    layer.forward = lambda x: original(x) * 1.1  # a fake-quantized layer off by a tenth is not what integers compute
    try:
        after = compare_with_integers(quantized, images)
    finally:
        layer.forward = original
    assert min(before.equal.values()) > 0.998 > 0.99 > min(after.equal.values())


def test_what_integers_cannot_do_is_said(quantized):
    quantized.set_float()
    with pytest.raises(QuantError, match="demo computes in float\n  hint: set the bits"):
        IntegerNetwork(quantized)

    class Softplus(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3)
            self.plus = nn.Softplus()

        def forward(self, x):
            return self.plus(self.layer(x))

    network = QuantizedNetwork(trace(Softplus(), (1, 6, 6)), QuantScheme(bits=(8,)))
    network.calibrate(torch.randn(4, 1, 6, 6))
    network.set_bits(BitAssignment.uniform(network.network, 8))
    with pytest.raises(UnsupportedOpError, match=r"node `plus` \(Softplus\) has no integer form"):
        IntegerNetwork(network)(torch.randn(1, 1, 6, 6))


def test_sums_beyond_32_bits_are_refused():
    network = QuantizedNetwork(trace(nn.Linear(64, 2), (64,)), QuantScheme(bits=(16,)))
    with torch.no_grad():
        network.weights[0].fill_(1.0)
    network.calibrate(torch.ones(4, 64))
    network.set_bits(BitAssignment.uniform(network.network, 16))
    with pytest.raises(QuantError, match="does not fit an accumulator of 32 bits"):
        IntegerNetwork(network)(torch.ones(1, 64))
