"""The training engine: killed at any moment it goes on to the same weights; it learns, and says what stops it."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from quantloom.errors import QuantError
from quantloom.quant.augment import augment
from quantloom.quant.network import named_tensors
from quantloom.quant.ptq import accuracy_of
from quantloom.quant.qat import quantize_for, random_permutation, train_bits, train_switchable
from quantloom.quant.train import TrainConfig, Trainer, find_device, train_float, train_random_bits
from quantloom.quant.training_state import StateFile
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment
from toy_training import toy_config, toy_data, toy_net, toy_quantized, train_toy


class Stop(Exception):
    pass


def stop_after(step):
    def progress(done, total, text):
        if done == step:
            raise Stop

    return progress


def equal(first, second):
    one, other = named_tensors(first), named_tensors(second)
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


KILLER = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from toy_training import train_toy
from quantloom.quant.network import named_tensors
path, draw = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
whole = train_toy()
began = time.monotonic()
train_toy()  # how long it takes when everything is loaded
seconds = time.monotonic() - began
kills = 0
for _ in range(40):
    child = os.fork()
    if child == 0:
        train_toy(path)
        os._exit(0)
    time.sleep(draw.uniform(0.3, 0.6) * seconds)
    os.kill(child, signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    kills += 1
again = train_toy(path)
one, other = named_tensors(whole), named_tensors(again)
print(kills, all(torch.equal(one[name], other[name]) for name in one), sorted(p.name for p in path.parent.iterdir()))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_moments_it_ends_with_the_same_weights(tmp_path):
    folders = [str(Path(__file__).parents[1]), *(path for path in sys.path if path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", KILLER, str(tmp_path / "state.pt"), "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    kills, is_equal, files = done.stdout.split(maxsplit=2)
    assert int(kills) >= 2
    assert is_equal == "True"
    assert json.loads(files.replace("'", '"')) == ["state.pt"]  # no half-written file is left


@pytest.mark.parametrize("step", [8, 13])  # the end of an epoch, and the middle of one
def test_stopped_after_any_step_it_goes_on_to_the_same_weights(tmp_path, step):
    with pytest.raises(Stop):
        train_toy(tmp_path / "state.pt", progress=stop_after(step))
    torch.rand(7)  # the global random state does not matter
    assert equal(train_toy(tmp_path / "state.pt"), train_toy())


@pytest.mark.parametrize("phase", ["random bits", "switchable"])
def test_other_phases_go_on_too(tmp_path, phase):
    config = toy_config(distillation=0.3, ema_decay=0.0)

    def train(path=None, progress=None):
        module = toy_net()
        state = None if path is None else StateFile(path, every_steps=5)
        torch.manual_seed(2)
        traced = trace(module, (1, 8, 8))
        if phase == "random bits":
            train_random_bits(traced, toy_data(), config, state=state, progress=progress)
            return module
        narrow, wide = (BitAssignment.uniform(traced.network, bits) for bits in (2, 8))
        network = quantize_for(traced, toy_data(), [narrow, wide])
        train_switchable(
            network,
            toy_data(),
            config,
            narrow=narrow,
            wide=wide,
            draw=lambda draws: random_permutation(
                traced.network, (2, 8), (2, 2, 8)[: len(traced.network.edge_groups)], draws
            ),
            state=state,
            progress=progress,
        )
        return network

    with pytest.raises(Stop):
        train(tmp_path / "state.pt", progress=stop_after(17))
    assert equal(train(tmp_path / "state.pt"), train())


def test_training_for_few_bits_helps():
    network = toy_quantized(2)
    images, labels = toy_data().batch(slice(None))
    before = torch.nn.functional.cross_entropy(network(images), labels)
    train_bits(network, toy_data(), toy_config(epochs=6, learning_rate=0.1, distillation=0.0))
    assert not network.training
    assert network.assignment == BitAssignment.uniform(network.network, 2)
    with torch.no_grad():
        after = torch.nn.functional.cross_entropy(network(images), labels)
    assert after < 0.5 * before.detach()
    assert accuracy_of(network, images, labels, batch=64) > 0.95
    expected = network(images)
    network.set_bits(network.assignment)  # the statistics that training left are what these bits start from
    assert torch.equal(network(images), expected)


def test_a_switchable_network_knows_all_its_widths():
    traced = trace(toy_net(), (1, 8, 8))
    narrow, wide = (BitAssignment.uniform(traced.network, bits) for bits in (2, 4))
    network = quantize_for(traced, toy_data(), [narrow, wide])
    draw = lambda draws: narrow  # noqa: E731
    train_switchable(network, toy_data(), toy_config(epochs=6, ema_decay=0.0), narrow=narrow, wide=wide, draw=draw)
    images, labels = toy_data().batch(slice(None))
    assert network.assignment is None
    for assignment in (narrow, wide):
        network.set_bits(assignment)
        network.reestimate(images)
        assert accuracy_of(network, images, labels, batch=64) > 0.95


def test_options_change_what_is_learned():
    results = {}
    for name, changes in {
        "plain": {},
        "again": {},
        "ema": {"ema_decay": 0.5},
        "crop": {"crop": 1},
        "teacher": {"distillation": 0.5},
        "smoothing": {"label_smoothing": 0.2},
        "cosine": {"schedule": "cosine"},
        "half": {"amp": "bfloat16"},
    }.items():
        module = toy_net()
        config = TrainConfig(epochs=1, batch=64, **changes)
        torch.manual_seed(0)
        teacher = (lambda x: torch.ones(len(x), 2)) if name == "teacher" else None
        Trainer(module, toy_data(), config, teacher=teacher).run()
        results[name] = module[0].weight.detach()
        assert torch.isfinite(results[name]).all()
    assert torch.equal(results.pop("again"), results["plain"])
    assert len({tuple(weights.flatten().tolist()) for weights in results.values()}) == len(results)


def test_parts_that_are_cut_out_lie_in_the_image_and_are_as_large_as_asked_for():
    ramp = torch.arange(16.0)
    images = torch.stack([ramp.expand(16, 16), ramp.view(-1, 1).expand(16, 16)]).expand(200, 2, 16, 16)
    found = augment(images, torch.Generator().manual_seed(0), flip=False, crop=0, resized_crop=0.25)
    columns, rows = found[:, 0, 0], found[:, 1, :, 0]
    assert torch.allclose(found[:, 0, 5], columns, atol=1e-4)  # rows and columns stay straight
    sides = torch.stack([(line[:, 10] - line[:, 5]) / 5 for line in (columns, rows)])
    areas = sides.prod(0)
    assert float(areas.min()) > 0.25 * 0.85  # a part that would be wider than the image is made narrower
    assert float(areas.min()) < 0.35
    assert float(areas.max()) > 0.9
    assert float((sides[0] / sides[1]).max()) <= 4 / 3 + 1e-4
    assert float((sides[0] / sides[1]).min()) >= 3 / 4 - 1e-4
    starts = columns[:, 5] - 5 * sides[0]
    assert float(starts.min()) < 1
    assert float((starts + 15 * sides[0]).max()) > 14
    assert float(found.min()) >= -0.001
    assert float(found.max()) <= 15.001
    again = augment(images, torch.Generator().manual_seed(0), flip=False, crop=0, resized_crop=0.25)
    assert torch.equal(found, again)


def test_shifted_and_mirrored_images_hold_the_same_pixels():
    images = torch.arange(1, 2 * 3 * 5 * 5 + 1.0).view(2, 3, 5, 5)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, generator, flip=False, crop=0), images)
    assert torch.equal(augment(images.flatten(1), generator, flip=True, crop=2), images.flatten(1))
    seen = set()
    for _ in range(40):
        shifted = augment(images, generator, flip=False, crop=1)
        assert shifted.shape == images.shape
        kept = shifted[0, 0, 1:-1, 1:-1].flatten().tolist()
        row, column = divmod(int(kept[0]) - 1, 5)
        assert kept == images[0, 0, row : row + 3, column : column + 3].flatten().tolist()
        seen.add((row, column))
    assert seen == {(row, column) for row in range(3) for column in range(3)}
    mirrored = {bool(torch.equal(augment(images, generator, flip=True, crop=0)[0], images[0])) for _ in range(20)}
    assert mirrored == {True, False}


def test_a_loss_that_is_no_number_keeps_the_state(tmp_path):
    module, path = toy_net(), tmp_path / "state.pt"
    with pytest.raises(Stop):
        train_float(module, toy_data(), toy_config(), state=StateFile(path, every_steps=1), progress=stop_after(3))
    kept = path.read_bytes()
    broken = toy_net()
    broken.register_forward_hook(lambda *_: torch.full((32, 2), float("nan"), requires_grad=True))
    with pytest.raises(QuantError, match=rf"the loss is nan in step 4 of 24; .* kept in {re.escape(str(path))}"):
        train_float(broken, toy_data(), toy_config(), state=StateFile(path, every_steps=1))
    assert path.read_bytes() == kept


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 8 TB")]
)
def test_too_little_memory_says_what_to_do(error):
    module = toy_net()

    def fail(*_):
        raise error

    module.register_forward_hook(fail)
    with pytest.raises(QuantError, match="out of memory on cpu in step 1 of 24\n  hint: use a batch below 32"):
        train_float(module, toy_data(), toy_config())


def test_errors_of_the_model_are_not_taken_for_too_little_memory():
    module = toy_net()

    def fail(*_):
        message = "shapes do not match"
        raise RuntimeError(message)

    module.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train_float(module, toy_data(), toy_config())


def test_states_that_cannot_be_used_are_named(tmp_path):
    path = tmp_path / "state.pt"
    train_float(toy_net(), toy_data(), toy_config(epochs=1), state=StateFile(path))
    with pytest.raises(QuantError, match="other settings: epochs 1, here 2"):
        train_float(toy_net(), toy_data(), toy_config(epochs=2), state=StateFile(path))
    with pytest.raises(QuantError, match=r"other settings: tensors "):
        train_float(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), toy_data(), toy_config(epochs=1), state=StateFile(path)
        )
    whole = path.read_bytes()
    for damaged in (b"", b"nonsense", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(QuantError, match=rf"{re.escape(str(path))}: corrupt state of training"):
            train_float(toy_net(), toy_data(), toy_config(epochs=1), state=StateFile(path))
        assert path.read_bytes() == damaged
    torch.save({"format": 99, "settings": {}, "state": {}}, path)
    with pytest.raises(QuantError, match="format 99, expected 1"):
        train_float(toy_net(), toy_data(), toy_config(epochs=1), state=StateFile(path))


def test_a_state_that_cannot_be_written_is_an_error(tmp_path):
    state = StateFile(tmp_path / "missing" / "state.pt", every_steps=1)
    with pytest.raises(QuantError, match="cannot write the checkpoint"):
        train_float(toy_net(), toy_data(), toy_config(), state=state)


def test_impossible_settings_are_refused():
    for changes, text in (
        ({"momentum": 2}, "momentum is 2; expected 0..1"),
        ({"crop": -1}, "crop is -1"),
        ({"schedule": "step"}, "schedule is 'step'; expected one_cycle, cosine"),
        ({"amp": "int8"}, "amp is 'int8'; expected off, bfloat16, float16"),
    ):
        with pytest.raises(QuantError, match=re.escape(text)):
            replace(toy_config(), **changes)
    with pytest.raises(QuantError, match="device `gpu` cannot be used"):
        find_device("gpu")
    assert find_device("cpu").type == "cpu"
    assert find_device("auto").type in ("cpu", "cuda")
    network = toy_quantized()
    network.set_float()
    with pytest.raises(QuantError, match="computes in float"):
        train_bits(network, toy_data(), toy_config())
    with pytest.raises(QuantError, match="1 and 1 widths for"):
        random_permutation(network.network, (2,), (2,), torch.Generator())
