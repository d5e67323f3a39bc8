"""Learned scales and zero points: equal to an oracle composed with autograd and to torch's kernels; they learn."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from quantloom.errors import QuantError
from quantloom.quant import functional as quantization
from quantloom.quant.functional import fake_quantize, learned_quantize
from quantloom.quant.network import QuantizedNetwork, load_tensors, named_tensors
from quantloom.quant.scheme import QUANT_BITS, Grid, QuantScheme
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment

FACTOR = 0.37


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


class PassRound(torch.autograd.Function):
    """round() with the gradient of the identity."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def oracle(x, scale, zero_point, steps):
    """LSQ+ written out: nothing but autograd and a rounding that gradients pass; zero_point is learned in codes."""
    codes = PassRound.apply(x / scale) + PassRound.apply(zero_point)
    return (codes.clamp(0, steps) - PassRound.apply(zero_point)) * scale


def gradients(function, *inputs, upstream):
    leaves = [value.double().clone().requires_grad_() for value in inputs]
    out = function(*leaves)
    out.backward(upstream.double())
    return [out.detach(), *(leaf.grad for leaf in leaves)]


def ours(grid, shape, *, is_rectified=False):
    def run(x, scale, zero_point):
        return learned_quantize(
            x, scale.reshape(shape), grid, zero_point=zero_point, factor=1.0, is_rectified=is_rectified
        )

    return run


@pytest.mark.parametrize("bits", QUANT_BITS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_one_scale_has_the_gradients_of_the_oracle(bits, layout):
    x, upstream = values(4, 3, 9, 8).to(memory_format=layout), values(4, 3, 9, 8, seed=1)
    steps = (1 << bits) - 1
    scale, zero_point = torch.tensor(5.0 / steps), torch.tensor(float(steps // 3))
    expected = gradients(lambda *given: oracle(*given, steps), x, scale, zero_point, upstream=upstream)
    found = gradients(ours(Grid.affine(bits, steps // 3), ()), x, scale, zero_point, upstream=upstream)
    assert all(bool(gradient.any()) for gradient in expected)
    for name, one, other in zip(("result", "x", "scale", "zero point"), found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-7, atol=1e-9), name


@pytest.mark.parametrize("bits", QUANT_BITS)
def test_one_scale_a_channel_has_the_gradients_of_the_oracle(bits):
    x, upstream = values(5, 3, 3, 3), values(5, 3, 3, 3, seed=1)
    grid = Grid.signed(bits)
    scale = torch.linspace(1.5, 4, 5) / (1 << bits)

    def expected(x, scale, zero_point):
        return oracle(x, scale.reshape(5, 1, 1, 1), zero_point, (1 << bits) - 1)

    def found(x, scale):
        return learned_quantize(x, scale.reshape(5, 1, 1, 1), grid)

    low = torch.tensor(float(-grid.low))
    others = gradients(expected, x, scale, low, upstream=upstream)[:3]
    for one, other in zip(gradients(found, x, scale, upstream=upstream), others, strict=True):
        assert torch.allclose(one, other, rtol=1e-7, atol=1e-9)


def test_a_rectifier_in_the_same_step_changes_nothing():
    x, upstream = values(4, 3, 8, 8), values(4, 3, 8, 8, seed=1)
    scale, none = torch.tensor(0.2), torch.tensor(0.0)

    def apart(x, scale, zero_point):
        return oracle(torch.relu(x), scale, zero_point, 15)

    together = gradients(ours(Grid.affine(4), (), is_rectified=True), x, scale, none, upstream=upstream)[:3]
    for one, other in zip(together, gradients(apart, x, scale, none, upstream=upstream)[:3], strict=True):
        assert torch.allclose(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.skipif(not quantization._has_learnable_kernels(), reason="this torch has no learnable kernels")
@pytest.mark.parametrize("per_channel", [False, True])
def test_torch_kernels_and_the_composed_form_agree(per_channel):
    x, upstream = values(6, 4, 5, 5), values(6, 4, 5, 5, seed=1)
    grid = Grid.signed(3) if per_channel else Grid.affine(4, 6)
    results = []
    for run in (
        quantization._learnable_kernel,
        lambda *given: learned_quantize(*given[:3], zero_point=given[3], factor=given[4]),
    ):
        scale = (torch.linspace(0.5, 1, 6).view(6, 1, 1, 1) if per_channel else torch.tensor(0.3)).requires_grad_()
        zero_point = None if per_channel else torch.tensor(6.0, requires_grad=True)
        leaf = x.clone().requires_grad_()
        out = run(leaf, scale, grid, zero_point, FACTOR)
        out.backward(upstream)
        results.append([out.detach(), leaf.grad, scale.grad, *([] if per_channel else [zero_point.grad])])
    for kernel, composed in zip(*results, strict=True):
        assert torch.allclose(kernel, composed, rtol=1e-4, atol=1e-4)


def test_other_devices_use_the_kernels_if_torch_has_them(monkeypatch):
    used = []
    monkeypatch.setattr(quantization, "_learnable_kernel", lambda x, *_: used.append(x) or x)
    x = torch.empty(2, 2, device="meta")
    learned_quantize(x, torch.empty((), device="meta"), Grid.signed(4))
    assert used
    monkeypatch.setattr(quantization, "_has_learnable_kernels", lambda: False)
    assert torch.equal(
        learned_quantize(values(3, 3), torch.tensor(0.5), Grid.signed(4)),
        fake_quantize(values(3, 3), torch.tensor(0.5), Grid.signed(4)),
    )
    assert len(used) == 1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU6()
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.act(self.norm(self.first(x)))
        return self.head((x + self.second(x)).mean((2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    quantized = QuantizedNetwork(trace(Net().eval(), (1, 6, 6)), QuantScheme(bits=(2, 4, 8)))
    quantized.calibrate(torch.randn(32, 1, 6, 6))
    return quantized


def test_learning_computes_what_not_learning_computes(network):
    x = values(8, 1, 6, 6)
    for bits in (8, 4, 2):
        network.set_bits(BitAssignment.uniform(network.network, bits))
        expected = network(x.requires_grad_())
        network.learn_scales()
        assert torch.equal(network(x), expected)
        network.learn_scales(on=False)


def test_only_what_is_in_force_gets_gradients_and_learning_lowers_the_loss(network):
    x, labels = values(32, 1, 6, 6), torch.arange(32) % 3
    network.set_bits(BitAssignment.uniform(network.network, 2))
    network.train()
    learned = network.learn_scales()
    other = {name: value.clone() for name, value in named_tensors(network).items() if name.endswith(("_4", "_8"))}
    optimizer = torch.optim.SGD(learned, lr=0.05)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(x), labels)
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step()
        network.keep_scales_positive()
    assert min(losses[-5:]) < losses[0]
    for name, value in named_tensors(network).items():
        if name in other:
            assert torch.equal(value, other[name]), name
    for quantizer in (*network.weight_quantizers, *network.activation_quantizers):
        assert quantizer.scale(2).grad is not None, quantizer.name
        assert quantizer.scale(8).grad is None


def test_zero_points_move_as_offsets_in_real_units(network):
    network.set_bits(BitAssignment.uniform(network.network, 4))
    network.learn_scales()
    quantizer = network.activation_quantizers[0]  # the input has both signs
    x = values(16, 1, 6, 6)
    zero_point, (scale, grid) = quantizer._parameters["zero_point_4"], quantizer.selected
    quantizer(x).sum().backward()
    codes = (x / scale).round()
    clipped = int(((codes < grid.low) | (codes > grid.high)).sum())
    # d(sum)/d(offset) is the number of clipped elements; the offset is -zero_point * scale
    expected = -clipped / scale.item() * quantizer._factor(x, grid)
    assert clipped > 0
    assert float(zero_point.grad) == pytest.approx(expected, rel=1e-4)
    with torch.no_grad():
        zero_point -= 2
    assert quantizer.selected[1] == Grid(low=grid.low + 2, high=grid.high + 2)


def test_scales_stay_positive(network):
    network.set_bits(BitAssignment.uniform(network.network, 4))
    network.learn_scales()
    network(values(4, 1, 6, 6)).sum().backward()
    quantizer = network.weight_quantizers[0]
    with torch.no_grad():
        quantizer.scale(4).fill_(-1.0)
    network.keep_scales_positive()
    assert (quantizer.scale(4) > 0).all()


@pytest.mark.parametrize("activations", ["affine", "symmetric"])
def test_signed_and_unsigned_activations(activations):
    torch.manual_seed(0)
    scheme = QuantScheme(bits=(4,), activations=activations, per_channel=False)
    quantized = QuantizedNetwork(trace(Net().eval(), (1, 6, 6)), scheme)
    quantized.calibrate(values(32, 1, 6, 6) + 0.7)
    grids = [quantizer.grid(4) for quantizer in quantized.activation_quantizers]
    assert grids[1] == Grid.affine(4)  # behind a rectifier
    assert (grids[0] == Grid.signed(4)) == (activations == "symmetric")
    assert all(quantizer.scale(4).numel() == 1 for quantizer in quantized.weight_quantizers)
    learned = quantized.learn_scales()
    assert (len(learned) > len(quantized.weight_quantizers) + len(grids)) == (activations == "affine")
    quantized.set_bits(BitAssignment.uniform(quantized.network, 4))
    assert torch.isfinite(quantized(values(4, 1, 6, 6))).all()


def test_tensors_restore_a_network(network):
    assignment = BitAssignment.uniform(network.network, 2)
    network.set_bits(assignment)
    network.reestimate(values(16, 1, 6, 6))
    x = values(4, 1, 6, 6)
    with torch.no_grad():
        expected = network(x)
    kept = {name: value.clone() for name, value in named_tensors(network).items()}
    torch.manual_seed(1)
    fresh = QuantizedNetwork(trace(Net().eval(), (1, 6, 6)), QuantScheme(bits=(2, 4, 8)))
    with pytest.raises(QuantError, match="no scales yet"):
        fresh.learn_scales()
    load_tensors(fresh, kept)
    fresh.set_bits(assignment)
    with torch.no_grad():
        assert torch.equal(fresh(x), expected)


def test_half_precision_is_quantized_in_single(network):
    quantizer = network.activation_quantizers[0]
    x = values(64).to(torch.bfloat16)
    out = quantizer.at(x, 8)
    assert out.dtype == torch.float32
    assert torch.equal(out, quantizer.at(x.float(), 8))


def test_schemes_of_activations_are_checked():
    with pytest.raises(QuantError, match="expected affine or symmetric"):
        QuantScheme(activations="signed")
