"""The Fisher table: additive, falling with bits, equal to its definition, and pointing at what really hurts."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from quantloom.errors import QuantError
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.scheme import QuantScheme
from quantloom.quant.sensitivity import FisherTable, fisher_table
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment


class Net(nn.Module):
    """A residual add, so that one group has several edges."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = functional.relu(self.norm(self.first(x)))
        return self.head((x + self.second(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    quantized = QuantizedNetwork(trace(Net().eval(), (1, 6, 6)), QuantScheme(bits=(2, 4, 8)))
    quantized.calibrate(torch.randn(32, 1, 6, 6))
    return quantized


@pytest.fixture(scope="module")
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 1, 6, 6, generator=generator), torch.randint(3, (16,), generator=generator)


@pytest.fixture(scope="module")
def table(network, batch):
    return fisher_table(network, *batch)


def test_shapes_and_order(network, table):
    assert table.bits == (2, 4, 8)
    assert table.weights.shape == (len(network.network.layers), 3) == (3, 3)
    assert table.groups.shape == (len(network.network.edge_groups), 3)
    for rises in (table.weights, table.groups):
        assert rises.dtype == np.float64
        assert (rises > 0).all()
        assert (np.diff(rises, axis=1) < 0).all()


def test_activation_entries_equal_the_definition(network, batch, table):
    images, labels = batch
    network.set_float()
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(network(x), labels, reduction="sum"), x)
    quantizer = network.activation_quantizers[0]
    for column, bits in enumerate(table.bits):
        error = (quantizer.at(images, bits) - images).square()
        expected = 0.5 * float((error * gradient.square()).sum()) / len(images)
        assert table.groups[network.network.input_group, column] == pytest.approx(expected, rel=1e-4)


def test_weight_entries_equal_the_definition_for_single_images(network, batch, monkeypatch):
    monkeypatch.setattr("quantloom.quant.sensitivity._IMAGES_PER_GRADIENT", 1)
    images, labels = batch
    table = fisher_table(network, images, labels)
    weights = network.weights[-1]
    squares = torch.zeros_like(weights)
    for image, label in zip(images, labels, strict=True):
        (gradient,) = torch.autograd.grad(functional.cross_entropy(network(image[None]), label[None]), weights)
        squares += gradient.square()
    error = (network.weight_quantizers[-1].at(weights, 4) - weights).detach().square()
    assert table.weights[-1, 1] == pytest.approx(0.5 * float((error * squares).sum()) / len(images), rel=1e-4)


def test_prediction_is_the_sum_of_its_parts(network, table):
    layers, groups = len(network.network.layers), len(network.network.edge_groups)
    assignment = BitAssignment(weights=(2,) + (8,) * (layers - 1), groups=(8,) * (groups - 1) + (4,))
    expected = table.weights[0, 0] + table.weights[1:, 2].sum() + table.groups[:-1, 2].sum() + table.groups[-1, 1]
    assert table.predict(assignment) == pytest.approx(expected)


def test_it_repeats_and_leaves_the_network_in_float(network, batch, table):
    network.set_bits(BitAssignment.uniform(network.network, 2))
    again = fisher_table(network, *batch)
    assert np.array_equal(again.weights, table.weights)
    assert np.array_equal(again.groups, table.groups)
    assert all(q.selected_bits is None for q in (*network.weight_quantizers, *network.activation_quantizers))
    assert all(weights.grad is None for weights in network.weights)


def test_prediction_orders_uniform_bits(network, table):
    predicted = [table.predict(BitAssignment.uniform(network.network, bits)) for bits in (2, 4, 8)]
    assert predicted == sorted(predicted, reverse=True)


def test_what_does_not_fit_is_refused(network, batch):
    table = FisherTable(bits=(4, 8), weights=np.ones((3, 2)), groups=np.ones((4, 2)))
    with pytest.raises(QuantError, match="2 weight and 4 activation genes, the table 3 and 4"):
        table.predict(BitAssignment(weights=(8, 8), groups=(8,) * 4))
    with pytest.raises(QuantError, match=r"no column for 2, 5 bits\n  hint: it has 4, 8"):
        table.predict(BitAssignment(weights=(8, 5, 2), groups=(8,) * 4))
    with pytest.raises(QuantError, match="no images"):
        fisher_table(network, batch[0][:0], batch[1][:0])
    with pytest.raises(QuantError, match="no scales"):
        fisher_table(QuantizedNetwork(trace(Net(), (1, 6, 6))), *batch)
