"""Fake quantization against torch's own kernels and an oracle composed with autograd, and the choice of scales."""

import pytest
import torch

from quantloom.errors import QuantError
from quantloom.quant.functional import activation_grid, fake_quantize, observe, quantization_error, weight_scales
from quantloom.quant.scheme import QUANT_BITS, Grid, QuantScheme


def values(*shape: int, seed: int = 0, spread: float = 2.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * spread


def composed(x: torch.Tensor, scale: torch.Tensor, grid: Grid) -> torch.Tensor:
    """The definition, with the straight-through estimator written as autograd operations."""
    codes = x * (1 / scale)
    codes = codes + (codes.round() - codes).detach()
    return codes.clamp(grid.low, grid.high) * scale


@pytest.mark.parametrize("bits", QUANT_BITS)
def test_per_tensor_equals_torch_kernel_bit_by_bit(bits):
    x = values(4, 3, 9, 9)
    zero_point = (1 << bits) // 3
    scale = torch.tensor(float(x.max() - x.min()) / (1 << bits) * 0.7)  # narrow enough to clip
    expected = torch.fake_quantize_per_tensor_affine(
        x, scale, torch.tensor(zero_point, dtype=torch.int32), 0, (1 << bits) - 1
    )
    assert torch.equal(fake_quantize(x, scale, Grid.affine(bits, zero_point)), expected)


@pytest.mark.parametrize("bits", QUANT_BITS)
def test_per_channel_equals_torch_kernel_bit_by_bit(bits):
    weights = values(5, 3, 3, 3)
    scales = weight_scales(weights, bits)
    grid = Grid.signed(bits)
    expected = torch.fake_quantize_per_channel_affine(
        weights, scales.flatten(), torch.zeros(5, dtype=torch.int32), 0, grid.low, grid.high
    )
    assert torch.equal(fake_quantize(weights, scales, grid), expected)


@pytest.mark.parametrize("bits", QUANT_BITS)
def test_output_lies_on_the_grid_and_uses_no_more_values_than_the_bits_allow(bits):
    x = values(2000)
    scale, grid = activation_grid(observe(x), bits)
    codes = fake_quantize(x, scale, grid) / scale
    assert torch.allclose(codes, codes.round(), atol=1e-2)
    assert grid.low <= codes.round().min()
    assert codes.round().max() <= grid.high
    assert len(codes.round().unique()) <= 1 << bits


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_gradient_equals_the_composed_oracle(bits):
    x = values(6, 50)
    scale = torch.tensor(2.5 / (1 << bits))
    grid = Grid.affine(bits, (1 << bits) // 4)
    upstream = values(6, 50, seed=1)
    ours, oracle = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = fake_quantize(ours, scale, grid), composed(oracle, scale, grid)
    out.backward(upstream)
    expected.backward(upstream)
    assert torch.allclose(out, expected, atol=1e-6)
    on_the_edge = (x / scale).round() != (x / scale).clamp(grid.low, grid.high).round()
    assert on_the_edge.any()
    # Within half a step outside the range, rounding still reaches the last code; there the estimators may differ.
    inside = ((x / scale) > grid.low) & ((x / scale) < grid.high)
    outside = ((x / scale) < grid.low - 0.5) | ((x / scale) > grid.high + 0.5)
    assert torch.allclose(ours.grad[inside], oracle.grad[inside])
    assert not ours.grad[outside].any()
    assert not oracle.grad[outside].any()


def test_gradient_equals_torch_kernel():
    x = values(6, 50)
    scale, grid = torch.tensor(0.3), Grid.affine(4, 5)
    ours, kernel = x.clone().requires_grad_(), x.clone().requires_grad_()
    fake_quantize(ours, scale, grid).sum().backward()
    zero_point = torch.tensor(5, dtype=torch.int32)
    torch.fake_quantize_per_tensor_affine(kernel, scale, zero_point, 0, 15).sum().backward()
    assert torch.equal(ours.grad, kernel.grad)


def test_result_is_the_same_with_and_without_gradients_and_input_is_untouched():
    x = values(100)
    kept = x.clone()
    scale, grid = activation_grid(observe(x), 4)
    without = fake_quantize(x, scale, grid)
    assert torch.equal(x, kept)
    assert torch.equal(without, fake_quantize(x.requires_grad_(), scale, grid).detach())


def test_sixteen_bits_are_nearly_exact():
    x = values(1000)
    scale, grid = activation_grid(observe(x), 16)
    assert quantization_error(x, scale, grid).abs().max() <= 0.51 * scale
    assert scale < 1e-3


@pytest.mark.parametrize("bits", QUANT_BITS)
def test_zero_stays_zero(bits):
    for x in (values(100), values(100).abs(), -values(100).abs() - 1):
        scale, grid = activation_grid(observe(x), bits)
        assert fake_quantize(torch.zeros(3), scale, grid).tolist() == [0, 0, 0]


def test_all_zero_tensors_get_scale_one():
    scale, grid = activation_grid(observe(torch.zeros(10)), 4)
    assert scale.item() == 1
    assert not fake_quantize(torch.zeros(10), scale, grid).any()
    weights = values(3, 4)
    weights[1] = 0
    scales = weight_scales(weights, 3)
    assert scales.shape == (3, 1)
    assert scales[1].item() == 1
    assert (scales > 0).all()


def test_one_sided_values_spend_all_codes_on_their_side():
    x = values(500).abs()
    assert activation_grid(observe(x), 4)[1] == Grid(low=0, high=15)
    assert activation_grid(observe(-x), 4)[1] == Grid(low=-15, high=0)


def test_error_falls_with_every_bit():
    x = values(4000)
    errors = []
    for bits in QUANT_BITS:
        scale, grid = activation_grid(observe(x), bits)
        errors.append(float(quantization_error(x, scale, grid).square().mean()))
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_chosen_scale_beats_the_full_range(bits):
    weights = values(8, 200)
    grid = Grid.signed(bits)
    full = weights.abs().amax(1, keepdim=True) / grid.high
    chosen = weight_scales(weights, bits)
    error, full_error = (quantization_error(weights, s, grid).square().sum() for s in (chosen, full))
    assert error < 0.9 * full_error


def test_per_tensor_weights_have_one_scale():
    scales = weight_scales(values(8, 3, 3, 3), 4, per_channel=False)
    assert scales.shape == (1, 1, 1, 1)


def test_large_tensors_are_sampled_repeatably():
    x = values(30, 1000)
    first, second = observe(x), observe(x)
    assert torch.equal(first.sample, second.sample)
    assert first.sample.numel() < x.numel()
    assert (first.low, first.high) == (float(x.min()), float(x.max()))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(bad):
    x = torch.tensor([1.0, bad])
    with pytest.raises(QuantError, match="NaN or infinite"):
        observe(x)
    with pytest.raises(QuantError, match="NaN or infinite"):
        weight_scales(x[None], 8)


@pytest.mark.parametrize("bits", [0, 1, 9, 12, 17, True])
def test_unsupported_bits_are_refused(bits):
    with pytest.raises(QuantError, match=f"cannot quantize to {bits} bits"):
        Grid.signed(bits)
    with pytest.raises(QuantError, match="2, 3, 4, 5, 6, 7, 8, 16"):
        QuantScheme(bits=(bits,))


def test_grids_and_schemes_are_checked():
    assert [Grid.signed(bits).bits for bits in QUANT_BITS] == list(QUANT_BITS)
    for low, high in ((1, 8), (0, 6), (0, 0), (-4, -1)):
        with pytest.raises(QuantError, match="include 0"):
            Grid(low=low, high=high)
    for bits in ((), (8, 4), (4, 4)):
        with pytest.raises(QuantError, match="ascending"):
            QuantScheme(bits=bits)
