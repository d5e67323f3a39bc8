"""The model zoo: names and options of the built-in networks. Importing it does not load torch; build() does."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from quantloom.errors import WorkloadError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODEL_NAMES", "OPTIONS", "ModelSpec", "build", "parse_model", "suggest"]

MODEL_NAMES = (
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_lite0",
    "resnet18",
    "resnet50",
    "vit_tiny",
    "unet",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of every zoo model: its default, whether it is whole, its inclusive range, and what it means."""

    default: int | float
    is_whole: bool
    low: int | float
    high: int | float
    meaning: str


OPTIONS: Mapping[str, Option] = {
    "width": Option(default=1.0, is_whole=False, low=0.01, high=16.0, meaning="factor on every channel count"),
    "input": Option(default=224, is_whole=True, low=8, high=4096, meaning="height and width of the input in pixels"),
    "classes": Option(default=1000, is_whole=True, low=1, high=1_000_000, meaning="number of logits"),
    "channels": Option(default=3, is_whole=True, low=1, high=4096, meaning="channels of the input image"),
}


_DEFAULTS: Mapping[str, Mapping[str, int | float]] = {"unet": {"classes": 2}}  # that differ from those of OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A zoo model with all its options. Raises WorkloadError for an unknown name or option or an impossible value.

    options: as given, completed with the defaults (those of OPTIONS, but unet has 2 classes); whole numbers are ints.
    """

    name: str
    options: Mapping[str, int | float]

    def __post_init__(self) -> None:
        if self.name not in MODEL_NAMES:
            message = f"unknown model `{self.name}`"
            raise WorkloadError(message, hint=suggest(self.name, MODEL_NAMES, "the zoo has"))
        for key in self.options:
            if key not in OPTIONS:
                message = f"{self.name}: unknown option `{key}`"
                raise WorkloadError(message, hint=suggest(key, OPTIONS, "options are"))
        completed = {key: _check_value(self.name, key, self.options.get(key, self._default(key))) for key in OPTIONS}
        object.__setattr__(self, "options", completed)

    def _default(self, key: str) -> int | float:
        return _DEFAULTS.get(self.name, {}).get(key, OPTIONS[key].default)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one sample: (channels, height, width)."""
        return int(self.options["channels"]), int(self.options["input"]), int(self.options["input"])

    @property
    def text(self) -> str:
        """The shortest text that parse_model() turns into this spec again."""
        given = [f"{key}={value}" for key, value in self.options.items() if value != self._default(key)]
        return self.name if not given else f"{self.name}:{','.join(given)}"


def parse_model(text: str) -> ModelSpec:
    """Read "name" or "name:option=value,...", e.g. "mobilenet_v1:width=0.25,input=32,classes=10,channels=3".

    Raises WorkloadError naming the part that is wrong.
    """
    name, _, tail = text.partition(":")
    options: dict[str, int | float] = {}
    for part in tail.split(",") if tail else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            message = f"{text}: expected option=value, got `{part}`"
            raise WorkloadError(message, hint=f"for example {MODEL_NAMES[0]}:width=0.25,input=32")
        if key in options:
            message = f"{text}: option `{key}` is given twice"
            raise WorkloadError(message, hint="give each option once")
        options[key] = _parse_number(text, key, value)
    return ModelSpec(name=name.strip(), options=options)


def build(name: str, **options: int | float) -> nn.Module:
    """Build a zoo model in training mode with fresh weights from torch's global generator.

    options: those of OPTIONS. Raises WorkloadError like ModelSpec.
    """
    spec = ModelSpec(name=name, options=options)
    from quantloom.zoo import efficientnet, mobilenet, mobilenet_v3, resnet, unet, vit  # loads torch

    builders: Mapping[str, Callable[..., nn.Module]] = {
        "mobilenet_v1": mobilenet.MobileNetV1,
        "mobilenet_v2": mobilenet.MobileNetV2,
        "mobilenet_v3_small": partial(mobilenet_v3.MobileNetV3, "small"),
        "mobilenet_v3_large": partial(mobilenet_v3.MobileNetV3, "large"),
        "efficientnet_lite0": efficientnet.EfficientNetLite0,
        "resnet18": partial(resnet.ResNet, 18),
        "resnet50": partial(resnet.ResNet, 50),
        "vit_tiny": vit.VitTiny,
        "unet": unet.UNet,
    }
    return builders[spec.name](**spec.options)


def _parse_number(text: str, key: str, value: str) -> int | float:
    if re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        return int(value)
    try:
        return float(value)
    except ValueError:
        message = f"{text}: option `{key}`: expected a number, got `{value}`"
        raise WorkloadError(message, hint=f"for example {MODEL_NAMES[0]}:width=0.25,input=32") from None


def _check_value(name: str, key: str, value: int | float) -> int | float:
    option = OPTIONS[key]
    kind = "a whole number" if option.is_whole else "a number"
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not option.low <= value <= option.high or (option.is_whole and value != int(value)):
        message = f"{name}: option `{key}`: expected {kind} in {option.low:g}..{option.high:g}, got {value!r}"
        raise WorkloadError(message, hint=f"`{key}` is the {option.meaning}")
    return int(value) if option.is_whole else float(value)


def suggest(word: str, known: Iterable[str], label: str) -> str:
    """A hint: the nearest known word, if one is near, and all of them."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1)
    listing = f"{label} {', '.join(names)}"
    return f"did you mean `{near[0]}`? {listing}" if near else listing
