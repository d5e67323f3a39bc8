"""Checkpoints: loaded whole or not at all, with an error that names what does not fit."""

import pickle
import re
import sys
import zipfile

import pytest
import safetensors.torch
import torch

from quantloom import zoo
from quantloom.errors import QuantError
from quantloom.quant.checkpoint import load_checkpoint, save_checkpoint

OPTIONS = {"width": 0.1, "input": 16, "channels": 1}


def net(classes: int = 10) -> torch.nn.Module:
    return zoo.build("mobilenet_v1", classes=classes, **OPTIONS)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_round_trip_restores_every_tensor(tmp_path, name):
    first, second = net(), net()
    save_checkpoint(tmp_path / name, first)
    load_checkpoint(tmp_path / name, second)
    for (key, value), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_safetensors_are_those_of_the_format(tmp_path):
    module = net()
    save_checkpoint(tmp_path / "weights.safetensors", module)
    found = safetensors.torch.load_file(tmp_path / "weights.safetensors")
    assert found.keys() == module.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in module.state_dict().items())


def test_without_the_package_safetensors_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(QuantError, match=r"need the package safetensors\n  hint: pip install \"quantloom"):
        save_checkpoint(tmp_path / "weights.safetensors", net())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_missing_and_corrupt_files_are_named(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(QuantError, match=re.escape(f"{path}: no such checkpoint file")):
        load_checkpoint(path, net())
    save_checkpoint(path, net())
    whole = path.read_bytes()
    for damaged in (b"", b"not a checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(QuantError, match=re.escape(f"{path}: corrupt checkpoint")):
            load_checkpoint(path, net())


@pytest.mark.parametrize(
    "program",
    [b"\x80\x02}q\x00h\x01.", b"\x80\x02e.", b"\x80\x02cos\nsystem\n.", b"\x80\x5a}q\x00h\x07.", b"\x80\x02K"],
    ids=["a value that was not kept", "a list that was not begun", "a function", "protocol 90", "cut"],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_weights_whose_inner_file_is_damaged_are_named(tmp_path, program):
    """Found by tests.fuzz: torch's reader raises KeyError, IndexError and others at these."""
    whole, path = tmp_path / "whole.pt", tmp_path / "weights.pt"
    save_checkpoint(whole, net())
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            target.writestr(name, program if name.endswith("data.pkl") else source.read(name))
    with pytest.raises(QuantError, match=re.escape(f"{path}: corrupt checkpoint")):
        load_checkpoint(path, net())


def test_files_that_would_run_code_are_refused(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(QuantError, match="corrupt checkpoint"):
        load_checkpoint(path, net())


def test_other_contents_are_refused(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save([1, 2], path)
    with pytest.raises(QuantError, match="holds list, not a mapping of names to tensors"):
        load_checkpoint(path, net())
    torch.save({"other": torch.zeros(1)}, path)
    with pytest.raises(QuantError, match=r"does not fit MobileNetV1: lacks `.*and \d+ more.*has unknown `other`"):
        load_checkpoint(path, net())


def test_a_wrong_class_count_is_explained_and_loads_nothing(tmp_path):
    path = tmp_path / "weights.pt"
    save_checkpoint(path, net(classes=10))
    other = net(classes=7)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    text = r"`classifier.bias` has shape \(10,\), the network \(7,\).*`classifier.weight`(?s:.*)hint: .*classes"
    with pytest.raises(QuantError, match=text):
        load_checkpoint(path, other)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    path = tmp_path / "weights.pt"
    broken = net()
    with torch.no_grad():
        broken.classifier.bias[0] = float("nan")
    save_checkpoint(path, broken)
    with pytest.raises(QuantError, match=r"`classifier\.bias` holds NaN"):
        load_checkpoint(path, net())


def test_an_unwritable_place_is_an_error(tmp_path):
    with pytest.raises(QuantError, match="cannot write the checkpoint"):
        save_checkpoint(tmp_path / "no_such" / "weights.pt", net())
