"""How each operator of a traced model acts on stored tensors; names only, no framework is imported here.

An operator is known by the class name of its module (`ReLU6`) or by the name of its function or method without the
in-place underscore (`relu`). What is absent from both tables is unsupported.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

__all__ = ["BINARY", "OPERATORS", "Action", "supported_text"]


class Action(Enum):
    """What an operator does with the stored tensors it reads."""

    LAYER = "layers with weights"  # a workload; its result is a new edge
    FUSE = "fused into their producer"  # element by element: the stored value moves behind it
    VIEW = "free of cost"  # the same elements: the edge stays as it is
    SELECT = "picking elements"  # picks or copies elements: a new edge in the same bit group
    JOIN = "joining activations"  # a new edge in one bit group with all its operands
    COMPUTE = "computed between layers"  # new values: a new edge with a bit group of its own


_NAMES: Mapping[Action, str] = {
    Action.LAYER: "Conv1d Conv2d Linear conv1d conv2d linear",
    Action.FUSE: (
        "BatchNorm1d BatchNorm2d BatchNorm3d CELU ELU GELU Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish"
        " PReLU RReLU ReLU ReLU6 SELU Sigmoid SiLU Softplus Softsign Tanh Threshold"
        " abs add batch_norm celu clamp clip div elu exp gelu hardsigmoid hardswish hardtanh leaky_relu log maximum"
        " minimum mish mul neg pow prelu relu relu6 rsqrt selu sigmoid silu softplus softsign sqrt square sub tanh"
        " truediv"
    ),
    Action.VIEW: (
        "AlphaDropout ChannelShuffle ConstantPad1d ConstantPad2d Dropout Dropout1d Dropout2d Flatten Identity"
        " PixelShuffle PixelUnshuffle Unflatten ZeroPad1d ZeroPad2d"
        " alpha_dropout channel_shuffle chunk clone contiguous detach dropout dropout1d dropout2d flatten float pad"
        " permute pixel_shuffle pixel_unshuffle reshape split squeeze to transpose unflatten unsqueeze view"
    ),
    Action.SELECT: (
        "AdaptiveMaxPool1d AdaptiveMaxPool2d MaxPool1d MaxPool2d"
        " adaptive_max_pool1d adaptive_max_pool2d amax expand getitem max_pool1d max_pool2d narrow repeat select"
    ),
    Action.JOIN: "cat concat concatenate stack",
    Action.COMPUTE: (
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AvgPool1d AvgPool2d GroupNorm InstanceNorm1d InstanceNorm2d LayerNorm"
        " LocalResponseNorm LogSoftmax Softmax Upsample UpsamplingBilinear2d UpsamplingNearest2d"
        " adaptive_avg_pool1d adaptive_avg_pool2d avg_pool1d avg_pool2d group_norm instance_norm interpolate layer_norm"
        " local_response_norm log_softmax mean softmax sum"
    ),
}

OPERATORS: Mapping[str, Action] = {name: action for action, names in _NAMES.items() for name in names.split()}
"""Action of each operator that reads one stored tensor (JOIN: one or more)."""

BINARY: Mapping[str, Action] = {
    **dict.fromkeys(("add", "sub", "maximum", "minimum", *_NAMES[Action.JOIN].split()), Action.JOIN),
    **dict.fromkeys(("mul", "div", "truediv"), Action.COMPUTE),
}
"""Action of each operator that reads two or more stored tensors: sums share their bits, products do not."""


def supported_text() -> str:
    """All supported operators by what they do, one line each; functions that exist as modules are left out."""
    modules = {name.lower() for name in OPERATORS if name[0].isupper()}
    lines = []
    for action, names in _NAMES.items():
        listed = [name for name in names.split() if name[0].isupper() or name.replace("_", "") not in modules]
        lines.append(f"    {action.value}: {', '.join(listed)}")
    return "modules, and functions of the same meaning,\n" + "\n".join(lines)
