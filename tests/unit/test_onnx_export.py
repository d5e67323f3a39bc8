"""ONNX in QDQ form: onnxruntime computes what the quantized network computes, and unknown operators are named."""

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

from quantloom.demo import load_demo
from quantloom.errors import QuantError, UnsupportedOpError
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.onnx_export import export_onnx, run_onnx
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment


class Mixed(nn.Module):
    """Negative factors, several paddings, groups, sums, concatenation, pooling, functional layers, a 1-D layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, padding="same", dilation=2, groups=4)
        self.mirrored = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), padding_mode="reflect")
        self.loose = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.average = nn.AvgPool2d(2)
        self.swish = nn.Hardswish()
        self.own_weight = nn.Parameter(torch.randn(6, 16, 3, 3) * 0.2)
        self.own_bias = nn.Parameter(torch.randn(6))
        self.line = nn.Conv1d(6, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = functional.relu6(self.norm(self.stem(x)))
        y = functional.relu(x + self.loose(self.mirrored(self.swish(self.grouped(x)))))
        x = torch.cat([self.average(y), self.average(self.pool(x))], dim=1)
        x = functional.relu(functional.conv2d(x, self.own_weight, self.own_bias, padding=1))
        x = self.line(x.flatten(2))
        return self.head(x.mean(2).view(x.size(0), -1))


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
@pytest.mark.parametrize("per_channel", [True, False])
def test_onnxruntime_computes_the_same(tmp_path, bits, per_channel):
    torch.manual_seed(1)
    module = Mixed()
    with torch.no_grad():
        module.norm.weight.uniform_(-1.5, 1.5)
        module.norm.running_mean.uniform_(-0.2, 0.2)
    network = QuantizedNetwork(trace(module.eval(), (2, 12, 12)), QuantScheme(bits=(bits,), per_channel=per_channel))
    network.calibrate(torch.randn(32, 2, 12, 12))
    network.set_bits(BitAssignment.uniform(network.network, bits))
    path = tmp_path / "model.onnx"
    export_onnx(network, path)
    images = torch.randn(33, 2, 12, 12)
    found = run_onnx(path, images, batch=16)
    with torch.inference_mode():
        expected = network(images)
    step = network.activation_quantizers[-1].selected[0].item()
    difference = (found - expected).abs() / step
    # A value half way between two codes may fall either way, and the finer they are, the further that is carried.
    assert difference.max() < (1.01 if bits < 16 else 40)
    assert (difference > 0.5).float().mean() < {2: 0.02, 3: 0.02, 8: 0.15, 16: 1}[bits]
    assert (found.argmax(1) == expected.argmax(1)).float().mean() > 0.96


def test_the_demo_has_the_same_answers_and_the_bits_it_was_given(tmp_path):
    demo = load_demo()
    network = QuantizedNetwork(trace(demo.module, (1, 28, 28), name=demo.model), QuantScheme(bits=(2, 4, 8)))
    network.calibrate(demo.data.train.batch(slice(0, 128))[0])
    layers, groups = len(network.network.layers), len(network.network.edge_groups)
    weights = tuple((2, 4, 8)[i % 3] for i in range(layers))
    edges = tuple((8, 4, 4)[i % 3] for i in range(groups))
    network.set_bits(BitAssignment(weights=weights, groups=edges))
    network.reestimate(demo.data.train.batch(slice(0, 128))[0])
    path = tmp_path / "model.onnx"
    export_onnx(network, path)
    images, _ = demo.data.test.batch(slice(0, 300))
    with torch.inference_mode():
        expected = network(images)
    assert (run_onnx(path, images).argmax(1) == expected.argmax(1)).float().mean() >= 0.99
    stored = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    codes = [stored[name] for name in stored if name.endswith("_weights_codes")]
    assert [values.dtype for values in codes] == ["uint8"] * layers
    for values, bits in zip(codes, weights, strict=True):
        assert len(set(values.flatten().tolist())) <= 1 << bits


def test_what_cannot_be_written_is_said(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3)
            self.mish = nn.Mish()
            self.elu = nn.ELU()

        def forward(self, x):
            return self.elu(self.layer(self.mish(x)))

    network = QuantizedNetwork(trace(Odd(), (1, 6, 6), name="odd"), QuantScheme(bits=(8,)))
    network.calibrate(torch.randn(4, 1, 6, 6))
    with pytest.raises(QuantError, match="odd computes in float"):
        export_onnx(network, tmp_path / "odd.onnx")
    network.set_bits(BitAssignment.uniform(network.network, 8))
    with pytest.raises(UnsupportedOpError, match=r"for node `mish` \(Mish\), node `elu` \(ELU\)"):
        export_onnx(network, tmp_path / "odd.onnx")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(QuantError, match=r"broken\.onnx: onnxruntime cannot load it"):
        run_onnx(tmp_path / "broken.onnx", torch.zeros(1, 1, 6, 6))
