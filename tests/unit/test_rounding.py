"""Rounding for the least error of what a layer computes: against its definition, and where it is in force."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quantloom.assemble.search import demo_config, prepare_accuracies
from quantloom.demo import load_demo
from quantloom.errors import QuantError
from quantloom.quant.data import spread_images
from quantloom.quant.integer import compare_with_integers
from quantloom.quant.network import QuantizedNetwork, load_tensors, named_tensors
from quantloom.quant.onnx_export import export_onnx, run_onnx
from quantloom.quant.ptq import PtqConfig, PtqEvaluator
from quantloom.quant.rounding import keep_rounded, round_rows, round_weights
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment


def rounded_by_definition(row: np.ndarray, scale: float, low: int, high: int, covariance: np.ndarray) -> np.ndarray:
    """Each weight in turn to the nearest; the free ones then minimise the expected squared error, solved anew."""
    order = np.argsort(-np.diag(covariance), kind="stable")
    current, fixed = row.copy(), []
    for at in order:
        current[at] = np.clip(np.round(current[at] / scale), low, high) * scale
        fixed.append(at)
        free = [each for each in order if each not in fixed]
        if free:
            moved = np.linalg.solve(
                covariance[np.ix_(free, free)], covariance[np.ix_(free, fixed)] @ (current - row)[fixed]
            )
            current[free] = row[free] - moved
    return current


@pytest.mark.parametrize("seed", range(12))
def test_rows_are_rounded_as_defined(seed: int) -> None:
    draws = np.random.default_rng(seed)
    groups, rows, inputs = draws.integers(1, 4), draws.integers(1, 5), draws.integers(1, 90)
    samples = draws.standard_normal((groups, inputs, 2 * inputs)) * draws.uniform(0.1, 3, (groups, inputs, 1))
    covariance = samples @ samples.transpose(0, 2, 1) / (2 * inputs) + 0.01 * np.eye(inputs)
    weights, scale = draws.standard_normal((groups, rows, inputs)), draws.uniform(0.1, 0.7, (groups, rows, 1))
    low, high = -4, 3
    found = round_rows(
        *map(torch.from_numpy, (weights, scale)),
        torch.full(scale.shape, low),
        torch.full(scale.shape, high),
        torch.from_numpy(covariance),
    ).numpy()
    for group in range(groups):
        for row in range(rows):
            wanted = rounded_by_definition(weights[group, row], scale[group, row, 0], low, high, covariance[group])
            np.testing.assert_allclose(found[group, row], wanted, rtol=0, atol=1e-9)


class Layers(nn.Module):
    """Every kind of layer that is a module: dense, grouped, dilated, reflected, strided, one axis, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, bias=False, padding_mode="reflect")
        self.grouped = nn.Conv2d(8, 12, (1, 3), padding="same", groups=2)
        self.pointwise = nn.Conv2d(12, 6, 1)
        self.line = nn.Conv1d(6, 5, 3, padding=1, stride=2)
        self.last = nn.Linear(5 * 32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(self.grouped(torch.relu(self.depthwise(x))))
        return self.last(self.line(self.pointwise(x).flatten(2)).flatten(1))


def smooth_images(count: int) -> Tensor:
    """Images whose neighbouring pixels are alike, as those of photos."""
    noise = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(count))
    return nn.functional.interpolate(noise, (16, 16), mode="bilinear")


@pytest.fixture
def network() -> QuantizedNetwork:
    torch.manual_seed(3)
    made = QuantizedNetwork(trace(Layers().eval(), (3, 16, 16)), QuantScheme(bits=(3, 4, 8)))
    made.calibrate(smooth_images(32))
    return made


def error(network: QuantizedNetwork, weights: int, images: Tensor) -> float:
    """Mean squared difference of the outputs from those in float, with activations of 8 bits."""
    network.set_float()
    with torch.no_grad():
        expected = network(images)
        uniform = BitAssignment.uniform(network.network, 8)
        network.set_bits(dataclasses.replace(uniform, weights=(weights,) * len(uniform.weights)))
        return float((network(images) - expected).square().mean())


def test_outputs_are_nearer_and_each_width_has_roundings_of_its_own(network: QuantizedNetwork) -> None:
    images = smooth_images(200)
    nearest = {bits: error(network, bits, images) for bits in (3, 4, 8)}
    round_weights(network, smooth_images(64))
    rounded = {bits: error(network, bits, images) for bits in (3, 4, 8)}
    assert rounded[3] < 0.5 * nearest[3]
    assert rounded[4] < 0.5 * nearest[4]
    assert rounded[8] < rounded[4] < rounded[3]


def test_weights_lie_on_their_grids_and_integers_agree(network: QuantizedNetwork) -> None:
    round_weights(network, smooth_images(64))
    network.set_bits(BitAssignment.uniform(network.network, 3))
    layers = [module for module in network.modules() if hasattr(module, "tensors")]
    assert len(layers) == 6
    for layer in layers:
        weights, _ = layer.tensors()
        scale, grid = layer.quantizer.selected
        codes = (weights.detach() / scale).double()
        torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-5)
        codes = codes.round()
        assert grid.low <= float(codes.min()) < float(codes.max()) <= grid.high
        assert not torch.equal(codes, (layer.layer.weight / scale).double().round().clamp(grid.low, grid.high))
    agreement = compare_with_integers(network, smooth_images(16))
    assert max(agreement.furthest.values()) <= 1
    assert min(agreement.equal.values()) > 0.99


def test_it_is_forgotten_where_weights_or_scales_become_others(network: QuantizedNetwork) -> None:
    images = smooth_images(64)
    before = error(network, 3, images)
    twin = copy.deepcopy(network)
    for forget in (
        lambda: network.calibrate(smooth_images(32)),
        lambda: network.learn_scales(on=False),
        lambda: load_tensors(network, named_tensors(twin)),
    ):
        round_weights(network, images)
        assert error(network, 3, images) < before
        forget()
        assert error(network, 3, images) == before


def test_rounded_weights_can_be_made_those_of_the_network(network: QuantizedNetwork) -> None:
    images = smooth_images(64)
    round_weights(network, images)
    with pytest.raises(QuantError, match="the network computes in float"):
        keep_rounded(network)
    network.set_bits(BitAssignment.uniform(network.network, 3))
    with torch.no_grad():
        before = network(images)
        keep_rounded(network)
        torch.testing.assert_close(network(images), before, rtol=0, atol=1e-5)
        network.forget_rounding()
        torch.testing.assert_close(network(images), before, rtol=0, atol=1e-5)


def test_threads_do_not_change_it(network: QuantizedNetwork) -> None:
    found, threads = [], torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        round_weights(network, smooth_images(64))
        assert torch.get_num_threads() == count
        torch.set_num_threads(threads)
        network.set_bits(BitAssignment.uniform(network.network, 3))
        found.append([layer.tensors()[0] for layer in network.modules() if hasattr(layer, "tensors")])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_it_needs_scales() -> None:
    network = QuantizedNetwork(trace(nn.Sequential(nn.Linear(3, 2)), (3,)), QuantScheme(bits=(4,)))
    with pytest.raises(QuantError, match="the network has no scales yet"):
        round_weights(network, torch.zeros(4, 3))


def test_inputs_that_never_change_are_no_trouble() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(4, 4, 1, groups=4), nn.Conv2d(4, 3, 2))
    network = QuantizedNetwork(trace(layers, (4, 2, 2)), QuantScheme(bits=(3, 8)))
    images = torch.randn(9, 4, 2, 2)
    images[:, 1] = 0
    images[:, 2] = 5
    network.calibrate(images)
    round_weights(network, images)
    assert error(network, 8, images) < error(network, 3, images) < 1


@pytest.fixture(scope="module")
def demo():
    return load_demo()


def test_the_exported_file_computes_with_it(demo, tmp_path) -> None:
    network = QuantizedNetwork(trace(demo.module, (1, 28, 28), name="demo"), QuantScheme(bits=(3, 8)))
    images, _ = spread_images(demo.data.train, 64)
    network.calibrate(images)
    round_weights(network, images)
    network.set_bits(BitAssignment.uniform(network.network, 3))
    network.reestimate(images)
    export_onnx(network, tmp_path / "model.onnx")
    with torch.no_grad():
        expected = network(images)
    found = torch.as_tensor(run_onnx(tmp_path / "model.onnx", images))
    assert float((found.argmax(1) == expected.argmax(1)).double().mean()) > 0.95
    torch.testing.assert_close(found, expected, rtol=0, atol=0.5)


def test_it_is_a_rung_that_a_search_can_decide_by(demo) -> None:
    config = PtqConfig(calibration_images=64, statistics_images=64, validation_images=200)
    traced = trace(demo.module, (1, 28, 28), name="demo")
    rounded, nearest = (PtqEvaluator(traced, demo.data, config=config, rounds=rounds) for rounds in (True, False))
    assert (rounded.name, nearest.name) == ("rounded+bn", "ptq+bn")
    bits = BitAssignment.uniform(traced.network, 3)
    assert rounded.accuracy(bits) > nearest.accuracy(bits)
    assert rounded.accuracy(bits) == rounded.accuracy(bits)
    chosen = dataclasses.replace(demo_config(), accuracy_method="rounded+bn", seeds=0)
    measured = prepare_accuracies(chosen, ptq=config, threads=1)
    assert measured.evaluator.name == "rounded+bn"
    assert measured.evaluator.accuracy(bits) == rounded.accuracy(bits)
