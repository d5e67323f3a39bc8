"""Trained weights that come with the zoo, each a file beside this one; docs/accuracy.md says how they were trained.

`zoo:NAME` names them wherever a checkpoint is asked for.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Final

from quantloom.errors import QuantError

__all__ = ["CIFAR10", "PREFIX", "trained_weights"]

PREFIX: Final = "zoo:"
CIFAR10: Final = {
    "mobilenet_v1_0.25_cifar10": "mobilenet_v1:width=0.25,input=32,classes=10",
    "mobilenet_v2_0.25_cifar10": "mobilenet_v2:width=0.25,input=32,classes=10",
}
"""Weights trained on CIFAR-10 and the model that they are of."""


def trained_weights(checkpoint: str) -> Path:
    """The file behind PREFIX and a name. Raises QuantError for an unknown name."""
    name = checkpoint.removeprefix(PREFIX)
    if name in CIFAR10:
        return Path(__file__).with_name(f"{name}.pt")
    near = difflib.get_close_matches(name, CIFAR10, n=1)
    message = f"{checkpoint}: the zoo has no weights of this name"
    raise QuantError(message, hint=f"did you mean {PREFIX}{near[0]}?" if near else f"it has {', '.join(CIFAR10)}")
