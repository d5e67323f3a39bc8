"""What the arguments of several commands name: networks, single layers, bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from quantloom.cli.progress import waiting
from quantloom.errors import InfeasibleError, QuantloomError, SpecError, WorkloadError

if TYPE_CHECKING:
    from quantloom._core import Arch, Workload
    from quantloom.spec.bits import BitsSpec
    from quantloom.workload.bits import BitWidths
    from quantloom.workload.network import Network

__all__ = ["bits_by_tensor", "naming_layer", "positions", "read_inputs", "read_network", "with_given_loops"]


def read_network(model: str) -> Network:
    """The network that MODEL names; says on a terminal that it is being read, as torch takes seconds to load."""
    from quantloom.workload.load import load_network

    with waiting(f"reading {model}"):
        return load_network(model)


def read_inputs(arch: str, bits: Sequence[str], model: str) -> tuple[Arch, list[BitsSpec], Network]:
    """The accelerator, bits and network of a command; the mistakes of all of them are told at once."""
    from quantloom.spec.arch import load_arch
    from quantloom.spec.bits import load_bits
    from quantloom.spec.together import Together

    together = Together()
    found = together.read(lambda: load_arch(arch))
    widths = [together.read(partial(load_bits, text)) for text in bits]
    network = together.read(lambda: read_network(model))
    if found is None or network is None:
        together.raise_all()
    together.raise_if_any()
    return found, [each for each in widths if each is not None], network


def positions(network: Network, layer: str | None) -> list[int]:
    """The indices from 0 of the layers asked for: the one that L names, or all. Raises WorkloadError."""
    if layer is None:
        return list(range(len(network.layers)))
    return [network.layers.index(network.layer(layer))]


def with_given_loops(
    fixed: str | None, arch: Arch, network: Network, layer: str | None, *, selection: str = "all"
) -> tuple[Arch, str]:
    """The architecture with what the file of --fixed gives for the layer of --layer, and which constraints hold then.

    Raises SpecError if no layer is chosen, if the file is wrong, or if it contradicts the constraints.
    """
    if fixed is None:
        return arch, selection
    if layer is None:
        message = "--fixed gives a part of one layer's mapping, but no layer is chosen"
        raise SpecError(message, hint="choose it with --layer")
    from quantloom.mapper.given import fix_loops
    from quantloom.spec.partial_mapping import load_partial_mapping

    workload = network.layers[positions(network, layer)[0]].workload
    given = load_partial_mapping(fixed, arch, workload)
    return fix_loops(arch, workload, given, selection=selection), "all"


def bits_by_tensor(bits: BitWidths | None, workload: Workload) -> dict[str, int]:
    """Bits by tensor name; none for tensors of which every element takes a word.

    Raises WorkloadError if the bits tell weights from activations and the workload has other tensors.
    """
    if bits is None:
        return {}
    names = [tensor.name for tensor in workload.tensors]
    if bits.weights == bits.inputs == bits.outputs:
        return dict.fromkeys(names, bits.weights)
    if sorted(names) != ["Inputs", "Outputs", "Weights"]:
        message = f"bits {bits}: {workload.name} has the tensors {', '.join(names)}, not Weights, Inputs and Outputs"
        raise WorkloadError(message, hint="give one number of bits for all tensors")
    return {"Weights": bits.weights, "Inputs": bits.inputs, "Outputs": bits.outputs}


@contextmanager
def naming_layer(name: str) -> Iterator[None]:
    """Put the name of the layer in front of the message of an error that is raised here, once."""
    try:
        yield
    except QuantloomError as error:
        if name in error.message:
            raise
        message = f"layer {name}: {error.message}"
        if isinstance(error, InfeasibleError):
            raise InfeasibleError(message, hint=error.hint, report=error.report) from error
        raise type(error)(message, hint=error.hint) from error
