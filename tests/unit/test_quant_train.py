"""Training on a toy problem: it learns, repeats from its seed, and says when it cannot go on."""

import pytest
import torch

from quantloom.errors import QuantError
from quantloom.quant.ptq import accuracy_of
from quantloom.quant.train import TrainConfig, random_assignment, train_float, train_random_bits
from quantloom.workload.from_torch import trace
from toy_training import toy_data, toy_net

CONFIG = TrainConfig(epochs=3, batch=32, learning_rate=0.1)


def test_both_phases_learn_and_report_progress():
    data, module = toy_data(), toy_net()
    seen = []
    train_float(module, data, CONFIG, progress=lambda done, total, text: seen.append((done, total, text)))
    assert seen[-1][:2] == (24, 24)
    assert seen[-1][2].startswith("epoch 3 of 3, loss 0.")
    images, labels = data.batch(slice(None))
    assert accuracy_of(module, images, labels, batch=64) > 0.95
    before = module[0].weight.detach().clone()
    train_random_bits(trace(module, (1, 8, 8)), data, CONFIG)
    assert not torch.equal(module[0].weight, before)
    assert not module[1].training
    assert accuracy_of(module, images, labels, batch=64) > 0.95


def test_the_same_seed_gives_the_same_weights():
    data = toy_data(64)
    results = []
    for seed in (0, 0, 1):
        module = toy_net()
        train_random_bits(trace(module, (1, 8, 8)), data, TrainConfig(epochs=1, batch=32, seed=seed))
        results.append(module[0].weight.detach().clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_random_bits_are_near_one_width():
    network = trace(toy_net(), (1, 8, 8)).network
    generator = torch.Generator().manual_seed(0)
    widths = (2, 3, 4, 5, 8, 16)
    drawn = [random_assignment(network, widths, generator) for _ in range(200)]
    at = [[widths.index(bits) for bits in (*a.weights, *a.groups)] for a in drawn]
    assert {i for row in at for i in row} == set(range(len(widths)))
    assert all(max(row) - min(row) <= 2 for row in at)


def test_a_loss_that_is_no_number_stops_training():
    module = toy_net()
    with torch.no_grad():
        module[5].bias.fill_(float("nan"))
    with pytest.raises(QuantError, match="the loss is nan in step 1 of 24"):
        train_float(module, toy_data(), CONFIG)


def test_impossible_configurations_are_refused():
    with pytest.raises(QuantError, match="too small"):
        TrainConfig(epochs=0)
    with pytest.raises(QuantError, match="16 training images do not fill one batch of 32"):
        train_float(toy_net(), toy_data(16), CONFIG)
