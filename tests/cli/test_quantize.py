"""`quantloom quantize` from end to end on the demo, killed in the middle, and what it says to bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantloom.demo import DEMO_MODEL

Run = Callable[..., Any]

DEMO = ["--data", "demo", "--checkpoint", "demo"]


TOY = """\
import torch
from torch import nn
def net():
    torch.manual_seed(0)
    parts = nn.Conv2d(1, 4, 5, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1)
    return nn.Sequential(*parts, nn.Linear(144, 10))
"""


def test_a_job_goes_on_where_it_was_and_its_files_can_be_read(
    quantloom: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from quantloom.demo import load_demo_data
    from quantloom.quant.checkpoint import load_checkpoint
    from quantloom.quant.network import QuantizedNetwork
    from quantloom.quant.ptq import accuracy_of
    from quantloom.quant.scheme import QuantScheme
    from quantloom.quant.train import Trainer
    from quantloom.spec.bits import load_bits
    from quantloom.workload.from_torch import trace
    from quantloom.workload.load import find_model

    (directory / "written_toys.py").write_text(TOY)
    (directory / "mine.yaml").write_text("default: a4w4\nweights: {1: 8}\nactivations: {input: 8}\n")
    model = "written_toys:net:input=28,channels=1"
    arguments = ["quantize", model, "--bits", "mine.yaml", "--data", "demo", "--float-epochs", "2", "--epochs", "2"]
    arguments += ["--threads", "1", "--ema-decay", "0.5", "--crop", "1"]
    whole = quantloom(*arguments, "-o", "whole", "--json")
    assert whole.code == 0, whole.err
    assert whole.json["command"] == "quantize"
    assert whole.json["onnx_top1"] >= 0.998
    assert whole.json["integer_top1"] == 1
    assert whole.json["float_test"] > 0.5
    assert whole.json["test"] == pytest.approx(whole.json["float_test"], abs=0.05)

    original, steps = Trainer._take_step, []

    def stop(self: Trainer, indices: torch.Tensor) -> float:
        steps.append(1)
        if len(steps) in (9, 40):
            raise KeyboardInterrupt
        return original(self, indices)

    monkeypatch.setattr(Trainer, "_take_step", stop)
    monkeypatch.setattr("quantloom.quant.training_state.StateFile.is_due", lambda *_: True)
    stopped = quantloom(*arguments)
    assert (stopped.code, stopped.out) == (130, "")
    assert "go on with `quantloom quantize --resume runs/quantize-1`" in stopped.err
    assert quantloom("quantize", "--resume", "runs/quantize-1", "--threads", "1").code == 130
    resumed = quantloom("quantize", "--resume", "runs/quantize-1", "--threads", "1")
    assert resumed.code == 0, resumed.err
    assert len(steps) == 60 + 2  # the two steps that were interrupted are taken again, no others
    run = directory / "runs" / "quantize-1"
    files = ["bits.yaml", "float.pt", "manifest.json", "model.onnx", "weights.pt"]
    assert sorted(path.name for path in run.iterdir()) == files
    for name in ("weights.pt", "float.pt"):
        one, other = (torch.load(path / name, weights_only=True) for path in (run, directory / "whole"))
        assert all(torch.equal(one[key], other[key]) for key in one | other)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["result"]["test"] == whole.json["test"]
    assert f"{100 * whole.json['test']:.2f}" in resumed.out

    source = find_model(model)
    traced = trace(source.build(), source.input_shape)
    network = QuantizedNetwork(traced, QuantScheme(bits=(4, 8)))
    load_checkpoint(run / "weights.pt", network)
    network.set_bits(load_bits(run / "bits.yaml").for_network(traced.network))
    images, labels = load_demo_data().test.batch(slice(None))
    assert accuracy_of(network, images, labels, batch=250) == whole.json["test"]


def test_a_network_can_be_trained_from_nothing(quantloom: Run, directory: Path) -> None:
    (directory / "written_toys.py").write_text(TOY)
    arguments = [
        "quantize",
        "written_toys:net:input=28,channels=1",
        "--bits",
        "8",
        "--data",
        "demo",
        "--float-epochs",
        "2",
    ]
    options = ["--epochs", "0", "--per-tensor", "--activations", "symmetric", "--safetensors"]
    done = quantloom(*arguments, *options, "-o", "out", "--json")
    assert done.code == 0, done.err
    assert done.json["float_test"] > 0.5
    assert done.json["test"] == pytest.approx(done.json["float_test"], abs=0.02)
    assert (directory / "out" / "float.pt").exists()
    assert (directory / "out" / "weights.safetensors").exists()
    assert not (directory / "out" / "weights.pt").exists()


def test_without_training_weights_are_rounded_for_what_layers_compute(quantloom: Run, directory: Path) -> None:
    (directory / "rounded_toys.py").write_text(TOY)
    arguments = ["quantize", "rounded_toys:net:input=28,channels=1", "--bits", "a8w2", "--data", "demo"]
    done = quantloom(*arguments, "--float-epochs", "2", "--epochs", "0", "-o", "out", "--json")
    assert done.code == 0, done.err
    assert done.json["validation"] > done.json["ptq_validation"] + 0.02
    assert done.json["onnx_top1"] > 0.99
    assert done.json["integer_top1"] == 1


def test_weights_that_know_few_bits_stay_rounded_to_the_nearest(quantloom: Run, directory: Path) -> None:
    arguments = ["quantize", DEMO_MODEL, "--bits", "a8w2", *DEMO, "--epochs", "0", "-o", "out"]
    done = quantloom(*arguments)
    assert done.code == 0, done.err
    rows = {line[:35].strip(): line[35:].split() for line in done.out.splitlines()}
    assert rows["rounded for the layers, if better"] == rows["quantized, statistics anew"]


def test_the_seed_is_that_of_the_first_weights_too() -> None:
    import torch

    from quantloom.assemble.network_and_data import load_network_and_data

    def first_weights(seed: int) -> torch.Tensor:
        traced, _ = load_network_and_data(
            DEMO_MODEL, checkpoint=None, data="demo", threads=1, untrained=True, seed=seed
        )
        return next(traced.graph_module.parameters())

    torch.rand(3)
    once = first_weights(0)
    torch.rand(3)
    assert torch.equal(first_weights(0), once)
    assert not torch.equal(first_weights(1), once)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([DEMO_MODEL, "--bits", "12", *DEMO], "cannot be quantized to these bits: weights of features.0.0: 12"),
        ([DEMO_MODEL, "--bits", "wrong.yaml", *DEMO], "wrong.yaml:2:20: weights.nothing:"),
        ([DEMO_MODEL, "--bits", "33", *DEMO], "expected bits 1..32"),
        ([DEMO_MODEL, "--bits", "8", "--data", "demo", "--checkpoint", "no.pt"], "no.pt: no such checkpoint file"),
        ([DEMO_MODEL, "--bits", "8", "--data", "demo"], "models of the zoo come without weights"),
        ([DEMO_MODEL, "--bits", "8", "--data", "mnist", "--checkpoint", "demo"], "unknown data set `mnist`"),
        (["network.yaml", "--bits", "8", *DEMO], "a network file has no weights"),
        (
            ["odd_toys:seven:input=28,channels=1", "--bits", "8", "--data", "demo"],
            "demo has 10 classes; odd_toys:seven has 7",
        ),
        (["odd_toys:seven:input=20,channels=1", "--bits", "8", "--data", "demo"], r"images have shape (1, 28, 28)"),
        ([DEMO_MODEL, "--bits", "8", *DEMO, "--device", "gpu"], "device `gpu` cannot be used"),
        (["--resume", "nowhere"], "nowhere: no job of quantizing is there"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    quantloom: Run, directory: Path, arguments: list[str], message: str
) -> None:
    (directory / "wrong.yaml").write_text("default: 8\nweights: {nothing: 4}\n")
    (directory / "odd_toys.py").write_text(
        "from torch import nn\n"
        "def seven():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 7))\n"
    )
    result = quantloom("quantize", *arguments)
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert "Traceback" not in result.err
    assert not (directory / "runs").exists()


def test_wrong_usage_is_told_from_errors(quantloom: Run, directory: Path) -> None:
    for arguments, message in (
        (["mobilenet_v1"], "required: --bits, --data"),
        (["--resume", "x", "--epochs", "3"], "--resume goes on with the settings"),
        (["m", "--bits", "8", "--data", "demo", "--learning-rate", "fast"], "expected a number in 1e-09..1000"),
        (["m", "--bits", "8", "--data", "demo", "--amp", "int8"], "unknown precision `int8`"),
    ):
        result = quantloom("quantize", *arguments)
        assert result.code == 2
        assert message in result.err
    (directory / "out").mkdir()
    (directory / "out" / "weights.pt").write_text("mine")
    taken = quantloom("quantize", DEMO_MODEL, "--bits", "8", *DEMO, "-o", "out")
    assert taken.code == 1
    assert "out/weights.pt exists already" in taken.err


def test_a_job_killed_before_its_manifest_is_begun_again_and_other_bits_stay(quantloom: Run, directory: Path) -> None:
    arguments = ["quantize", DEMO_MODEL, "--bits", "8", *DEMO, "--epochs", "0", "-o", "out"]
    out = directory / "out"
    out.mkdir()
    (out / "bits.yaml").write_text("default: 4\n")
    refused = quantloom(*arguments)
    assert refused.code == 1
    assert "error: out/bits.yaml exists already, with other bits" in refused.err
    assert [(path.name, path.read_text()) for path in out.iterdir()] == [("bits.yaml", "default: 4\n")]
    (out / "bits.yaml").unlink()
    first = quantloom(*arguments)
    assert first.code == 0, first.err
    weights = (out / "weights.pt").read_bytes()
    for path in out.iterdir():
        if path.name != "bits.yaml":  # what a kill leaves
            path.unlink()
    again = quantloom(*arguments)
    assert again.code == 0, again.err
    assert (out / "manifest.json").exists()
    assert (out / "weights.pt").read_bytes() == weights
