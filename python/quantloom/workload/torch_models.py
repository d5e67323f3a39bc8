"""From what a user's function returns to a Network: the module, its example inputs, and the importer that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from quantloom.errors import QuantloomError, UnsupportedOpError, WorkloadError
from quantloom.workload.from_export import network_from_export
from quantloom.workload.from_torch import network_from_torch
from quantloom.workload.network import Network

__all__ = ["DEFAULT_INPUT_SHAPE", "BuiltModel", "build_model", "network_from_builder"]

DEFAULT_INPUT_SHAPE = (3, 224, 224)  # of a user's function, unless it is given


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """A module, and example inputs that it can be called with: positional (batch first), and by name."""

    module: nn.Module
    args: tuple[object, ...]
    kwargs: Mapping[str, object] = field(default_factory=dict)

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample, if the inputs are one tensor of numbers that are not whole, with a batch of 1."""
        first = self.args[0] if len(self.args) == 1 and not self.kwargs else None
        is_one = isinstance(first, Tensor) and first.is_floating_point() and first.ndim > 1 and len(first) == 1
        return tuple(first.shape[1:]) if is_one and isinstance(first, Tensor) else None


def build_model(build: Callable[[], object], input_shape: tuple[int, ...] | None, name: str) -> BuiltModel:
    """What build() returns: a module, or a pair of one and its example inputs (a tensor, a tuple, or a dict by name).

    input_shape: of one sample, for a module alone, DEFAULT_INPUT_SHAPE if None. torch's random state is the same
    afterwards. Raises WorkloadError for anything else, and if a shape is given beside example inputs.
    """
    with torch.random.fork_rng(devices=[]):
        built = build()
    module, example = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not isinstance(module, nn.Module):
        message = f"model `{name}` is a {type(module).__name__}, expected a torch.nn.Module"
        raise WorkloadError(message, hint="the function must return the module, or the module and its example inputs")
    if example is None:
        shape = DEFAULT_INPUT_SHAPE if input_shape is None else input_shape
        if not shape or min(shape) < 1:
            message = f"{name}: input shape {shape} must be whole numbers from 1"
            raise WorkloadError(message, hint="give the shape of one sample without the batch, e.g. (3, 224, 224)")
        like = next(module.parameters(), torch.empty(0))
        dtype = like.dtype if like.is_floating_point() else torch.float32
        return BuiltModel(module=module, args=(torch.zeros(1, *shape, dtype=dtype, device=like.device),))
    if input_shape is not None:
        message = f"{name}: an input shape is given, but the function returns example inputs"
        raise WorkloadError(message, hint="leave the shape out, or return the module alone")
    if isinstance(example, Mapping):
        return BuiltModel(module=module, args=(), kwargs={str(key): value for key, value in example.items()})
    if not isinstance(example, Tensor | tuple | list):
        message = f"{name}: example inputs are a {type(example).__name__}, expected a tensor, a tuple or a dict"
        raise WorkloadError(message, hint="return (module, example_inputs), the batch first in each tensor")
    return BuiltModel(module=module, args=(example,) if isinstance(example, Tensor) else tuple(example))


def network_from_builder(
    build: Callable[[], object], input_shape: tuple[int, ...] | None, name: str, *, assumes_traffic: bool = False
) -> Network:
    """The network of what build() returns: traced as the quantizer of the search does, exported where that fails.

    Errors as build_model(), trace() and network_from_export(); of a model that neither can read those of the export,
    unless tracing knows the node that fails on its shapes (or, maybe, only on the zeros it is run with).
    """
    model = build_model(build, input_shape, name)
    traced_error: QuantloomError | None = None
    if model.image_shape is not None:
        try:
            return network_from_torch(model.module, model.image_shape, name)
        except (UnsupportedOpError, WorkloadError) as error:
            traced_error = error
    try:
        return network_from_export(model.module, model.args, model.kwargs, name, assumes_traffic=assumes_traffic)
    except (UnsupportedOpError, WorkloadError) as error:
        if isinstance(traced_error, WorkloadError):
            raise traced_error from error
        raise error from traced_error
