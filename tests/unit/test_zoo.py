"""The model zoo: totals, shapes and names of the networks, and the errors of a mistyped one."""

from __future__ import annotations

import functools
import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from quantloom import zoo
from quantloom.errors import WorkloadError
from quantloom.workload.load import load_network

load_once = functools.cache(load_network)


def counted_macs(model: torch.nn.Module, shape: tuple[int, ...]) -> int:
    """MACs as torch counts them while the model runs; attention in the form of plain products."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.eval()(torch.zeros(1, *shape))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ("spec", "macs", "weights", "layers"),
    [
        ("mobilenet_v1:classes=100", 567_818_752, 3_287_488, 28),
        ("mobilenet_v2:classes=100", 299_622_272, 2_317_760, 53),
        ("mobilenet_v1", 568_740_352, 4_209_088, 28),
        ("mobilenet_v2", 300_774_272, 3_469_760, 53),
    ],
)
def test_totals_at_224_are_the_true_ones(spec: str, macs: int, weights: int, layers: int) -> None:
    network = load_once(spec)
    assert (network.macs, network.weights, len(network.layers)) == (macs, weights, layers)


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [  # parameters as published: torchvision 0.20 (ResNet, MobileNetV3), timm 1.0 (Lite0, ViT-Tiny), Pytorch-UNet
        ("mobilenet_v3_small", 2_542_856, 56_510_400),
        ("mobilenet_v3_large", 5_483_032, 216_589_760),
        ("efficientnet_lite0", 4_652_008, 385_187_552),
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet50", 25_557_032, 4_089_184_256),
        ("vit_tiny", 5_717_416, 1_253_683_200),
        ("unet", 31_037_698, 36_881_367_040),
    ],
)
def test_parameters_are_those_published_and_macs_those_that_torch_counts(name: str, parameters: int, macs: int) -> None:
    with torch.device("meta"):
        model = zoo.build(name)
        assert sum(parameter.numel() for parameter in model.parameters()) == parameters
        assert counted_macs(model, (3, 224, 224)) == macs
    if name not in ("resnet50", "unet"):  # a run of theirs takes seconds; the others stand for them
        assert load_network(name).macs == macs


@pytest.mark.parametrize("text", ["resnet50:width=0.125,input=32", "unet:width=0.125,input=32", "resnet18:input=80"])
def test_small_and_odd_forms_have_the_macs_that_torch_counts(text: str) -> None:
    spec = zoo.parse_model(text)
    assert load_network(text).macs == counted_macs(zoo.build(spec.name, **spec.options), spec.input_shape)


def test_models_that_divide_the_image_say_what_they_expect() -> None:
    with pytest.raises(WorkloadError, match="vit_tiny: option `input`: expected a multiple of the patch, 16, got 100"):
        load_network("vit_tiny:input=100")
    with pytest.raises(WorkloadError, match="unet: option `input`: expected a multiple of 16, got 40"):
        load_network("unet:input=40")
    assert zoo.parse_model("unet:classes=2").text == "unet"


@pytest.mark.parametrize(
    ("spec", "last_map"),
    [
        ("mobilenet_v1", (1024, 7, 7)),
        ("mobilenet_v2", (1280, 7, 7)),
        ("mobilenet_v1:input=65", (1024, 3, 3)),
        ("mobilenet_v1:input=64", (1024, 4, 4)),
        ("mobilenet_v1:input=32", (1024, 2, 2)),
        ("mobilenet_v2:input=64", (1280, 8, 8)),
        ("mobilenet_v2:input=32", (1280, 4, 4)),
        ("mobilenet_v1:input=28,width=0.25,channels=1", (256, 2, 2)),
        ("mobilenet_v2:input=28,width=0.35", (1280, 4, 4)),
    ],
)
def test_last_feature_map_has_the_documented_size(spec: str, last_map: tuple[int, ...]) -> None:
    network = load_once(spec)
    assert network.edges[-3].shape == last_map


def test_v2_channels_are_multiples_of_8_and_never_below_90_percent() -> None:
    model = zoo.build("mobilenet_v2", width=0.35, input=32, classes=10)
    widths = {m.out_channels for m in model.modules() if isinstance(m, torch.nn.Conv2d)}
    assert all(width % 8 == 0 for width in widths)
    assert model.get_submodule("features.0.0").out_channels == 16  # 11.2 rounds to 8, which is below 90 %
    assert model.get_submodule("features.18.0").out_channels == 1280


def test_v1_channels_are_truncated_and_at_least_8() -> None:
    model = zoo.build("mobilenet_v1", width=0.1, input=32, classes=10)
    assert model.get_submodule("features.0.0").out_channels == 8
    assert model.get_submodule("features.13.pointwise.0").out_channels == 102


def test_v2_has_the_names_of_torchvision() -> None:
    names = set(zoo.build("mobilenet_v2", input=32, classes=10).state_dict())
    assert {"features.0.0.weight", "features.1.conv.0.0.weight", "features.1.conv.1.weight"} <= names
    assert {"features.2.conv.2.weight", "features.2.conv.3.running_mean", "classifier.1.bias"} <= names


def test_building_repeats_with_the_seed_and_returns_logits() -> None:
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        model = zoo.build("mobilenet_v1", width=0.25, input=28, classes=10, channels=1).eval()
        with torch.no_grad():
            outputs.append(model(torch.linspace(0, 1, 2 * 28 * 28).reshape(2, 1, 28, 28)))
    assert outputs[0].shape == (2, 10)
    assert torch.equal(outputs[0], outputs[1])


def test_spec_text_is_the_shortest_that_reads_back() -> None:
    spec = zoo.parse_model("mobilenet_v1: input=32, width=0.3333333333333333, classes=1000")
    assert spec.text == "mobilenet_v1:width=0.3333333333333333,input=32"
    assert zoo.parse_model(spec.text) == spec
    assert spec.input_shape == (3, 32, 32)
    assert dict(spec.options) == {"width": 1 / 3, "input": 32, "classes": 1000, "channels": 3}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("mobilnet_v2", "unknown model `mobilnet_v2`", "did you mean `mobilenet_v2`? the zoo has"),
        ("vgg", "unknown model `vgg`", "the zoo has mobilenet_v1, mobilenet_v2"),
        ("mobilenet_v1:witdh=1", "mobilenet_v1: unknown option `witdh`", "did you mean `width`?"),
        ("mobilenet_v1:width", "mobilenet_v1:width: expected option=value, got `width`", "for example mobilenet_v1:"),
        ("mobilenet_v1:width=big", "option `width`: expected a number, got `big`", "for example"),
        ("mobilenet_v1:width=1,width=2", "option `width` is given twice", "once"),
        ("mobilenet_v1:width=inf", "option `width`: expected a number in 0.01..16, got inf", "every channel count"),
        ("mobilenet_v1:width=nan", "option `width`: expected a number in 0.01..16, got nan", "every channel count"),
        ("mobilenet_v1:input=32.5", "option `input`: expected a whole number in 8..4096, got 32.5", "pixels"),
        ("mobilenet_v2:classes=0", "option `classes`: expected a whole number in 1..1e+06, got 0", "logits"),
    ],
)
def test_mistyped_model_is_one_clear_error(text: str, message: str, hint: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        zoo.parse_model(text)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_build_checks_its_options_too() -> None:
    with pytest.raises(WorkloadError, match="unknown option `clases`"):
        zoo.build("mobilenet_v1", clases=10)
    with pytest.raises(WorkloadError, match="got True"):
        zoo.build("mobilenet_v1", classes=True)


def test_reading_a_model_spec_does_not_load_torch() -> None:
    code = (
        "import sys; from quantloom import zoo; import quantloom.workload.load;"
        " zoo.parse_model('mobilenet_v1:width=0.5'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
