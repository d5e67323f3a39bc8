"""A network: layers (workloads) joined by edges (stored activation tensors), and an assignment of bits to both.

Edges that must have equal bits, such as the operands and the sum of a residual add, share a group: the bits of
activations are chosen per group, those of weights per layer. A product of two activations (attention) is a layer
whose Weights tensor is an edge; a layer that uses the weights of another one shares their bits.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from quantloom._core import Workload
from quantloom.errors import WorkloadError
from quantloom.workload.bits import BitWidths, check_bits

__all__ = ["TREATMENTS", "BitAssignment", "Edge", "Layer", "Network", "Operator", "Treatment"]

Treatment = Literal["fused", "free", "traffic", "assumed"]
"""What an operator without multiply-accumulates is taken to do.

fused: done to the values as their producer writes them. free: moves nothing, its result is a part or another shape of
what is stored. traffic: reads its operands and writes its result. assumed: traffic, of an operator that is not known.
"""
TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An activation tensor as it is stored, for one sample.

    node: name of the graph node whose value is stored (and quantized). shape: without the batch; elements: its
    product. group: index of its bit group. Raises WorkloadError if they contradict each other.
    """

    name: str
    node: str
    elements: int
    shape: tuple[int, ...]
    group: int

    def __post_init__(self) -> None:
        if self.elements < 1 or math.prod(self.shape) != self.elements:
            message = f"edge {self.name}: shape {self.shape} does not hold {self.elements} elements"
            raise WorkloadError(message, hint="elements is the product of the shape and at least 1")
        if self.group < 0:
            message = f"edge {self.name}: group {self.group} is negative"
            raise WorkloadError(message, hint="groups count from 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that multiplies: its workload and the edges it reads and writes (by index into Network.edges).

    name: module path. node: name of the graph node that calls it. weights_elements: stored weights of its own, without
    biases. weights_edge: the edge that is its Weights tensor, of a product of two activations; such a layer has no
    weights. weights_layer: index of the earlier layer whose weights it uses, or of whose tensor its own are a part.
    Raises WorkloadError if these contradict each other.
    """

    name: str
    node: str
    workload: Workload
    weights_elements: int
    input_edge: int
    output_edge: int
    weights_edge: int | None = None
    weights_layer: int | None = None

    def __post_init__(self) -> None:
        if self.weights_edge is not None and (self.weights_elements != 0 or self.weights_layer is not None):
            message = f"layer {self.name}: its Weights tensor is an edge, yet it has weights"
            raise WorkloadError(message, hint="a product of two activations has weights_elements 0")
        if self.weights_elements < (0 if self.shares_weights else 1):
            message = f"layer {self.name}: weights_elements must be at least 1, got {self.weights_elements}"
            raise WorkloadError(message, hint="only layers that multiply belong to a network")

    @property
    def shares_weights(self) -> bool:
        """Whether the bits of its Weights tensor are those of an edge or of another layer."""
        return self.weights_edge is not None or self.weights_layer is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What a network does beside its layers, for one sample: pooling, adding, normalising, reshaping, looking up.

    name: what its result is called. kind: what the model calls the operator. reads, writes: edges; writes is None if
    the result stays in the edge it reads. elements_read, elements_written: moved between memory and units, 0 unless the
    treatment is traffic or assumed. table_elements: a stored table that rows are looked up in.
    """

    name: str
    kind: str
    treatment: Treatment
    reads: tuple[int, ...]
    writes: int | None = None
    elements_read: int = 0
    elements_written: int = 0
    table_elements: int = 0

    def __post_init__(self) -> None:
        moved = self.elements_read + self.elements_written
        is_counted = self.treatment in ("traffic", "assumed")
        if min(self.elements_read, self.elements_written, self.table_elements) < 0 or (moved and not is_counted):
            message = f"operator {self.name}: {moved} elements moved by an operator that is {self.treatment}"
            raise WorkloadError(message, hint="counts are from 0, and 0 unless the treatment is traffic or assumed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Layers and edges in execution order; edges[0] is the (first) input, edges[-1] the output (the logits).

    input_shape: of one sample, without the batch. operators: what is done beside the layers. Raises WorkloadError for
    duplicate names, unknown edges or layers, gaps in the group indices.
    """

    name: str
    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    input_shape: tuple[int, ...]
    operators: tuple[Operator, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            message = f"network {self.name} has no layer with weights"
            raise WorkloadError(message, hint="it needs at least one convolution, linear layer or matrix product")
        for what, names in (("layer", [item.name for item in self.layers]), ("edge", [e.name for e in self.edges])):
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            if repeated:
                message = f"network {self.name}: {what} name used twice: {', '.join(repeated)}"
                raise WorkloadError(message, hint=f"every {what} needs a name of its own")
        for index, layer in enumerate(self.layers):
            self._check_edges(f"layer {layer.name}", (layer.input_edge, layer.output_edge, layer.weights_edge))
            owner = layer.weights_layer
            if owner is not None and (not 0 <= owner < index or self.layers[owner].shares_weights):
                message = f"network {self.name}: layer {layer.name} uses the weights of layer {owner} (from 0)"
                raise WorkloadError(message, hint="name an earlier layer that has weights of its own")
        for operator in self.operators:
            self._check_edges(f"operator {operator.name}", (*operator.reads, operator.writes))
        groups = {edge.group for edge in self.edges}
        if groups != set(range(len(groups))):
            message = f"network {self.name}: bit groups {sorted(groups)} have gaps"
            raise WorkloadError(message, hint="number the groups from 0 without gaps")

    def _check_edges(self, owner: str, edges: Iterable[int | None]) -> None:
        for edge in edges:
            if edge is not None and not 0 <= edge < len(self.edges):
                message = f"network {self.name}: {owner} names edge {edge} of {len(self.edges)}"
                raise WorkloadError(message, hint="edges count from 0")

    @property
    def edge_groups(self) -> tuple[tuple[int, ...], ...]:
        """For each bit group, the indices of its edges."""
        members: list[list[int]] = [[] for _ in range(1 + max(edge.group for edge in self.edges))]
        for index, edge in enumerate(self.edges):
            members[edge.group].append(index)
        return tuple(map(tuple, members))

    @property
    def input_group(self) -> int:
        """The bit group of the network's input."""
        return self.edges[0].group

    @property
    def output_group(self) -> int:
        """The bit group of the network's output (its logits)."""
        return self.edges[-1].group

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one sample."""
        return sum(layer.workload.macs for layer in self.layers)

    @property
    def weights(self) -> int:
        """Stored weight elements of all layers, without biases, normalisation parameters and tables."""
        return sum(layer.weights_elements for layer in self.layers)

    @property
    def tables(self) -> int:
        """Stored elements of the tables that rows are looked up in (embeddings)."""
        return sum(operator.table_elements for operator in self.operators)

    def weights_variable(self, index: int) -> int:
        """Which bit-width the Weights tensor of layer `index` has, counted over the layers and then the bit groups.

        That of its own gene; of the layer whose weights it uses; or, of a product of two activations, the group's.
        """
        layer = self.layers[index]
        if layer.weights_edge is not None:
            return len(self.layers) + self.edges[layer.weights_edge].group
        return index if layer.weights_layer is None else layer.weights_layer

    def __getitem__(self, name: str) -> Workload:
        """The workload of the layer with this name or position from 1; see layer()."""
        return self.layer(name).workload

    def layer(self, name_or_position: str) -> Layer:
        """The layer with this name, or at this position from 1. Raises WorkloadError if there is none."""
        for layer in self.layers:
            if layer.name == name_or_position:
                return layer
        if name_or_position.isdecimal() and 1 <= int(name_or_position) <= len(self.layers):
            return self.layers[int(name_or_position) - 1]
        message = f"{self.name} has no layer `{name_or_position}`"
        raise WorkloadError(message, hint=_suggest(name_or_position, (layer.name for layer in self.layers)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BitAssignment:
    """Bits of every weight tensor (one number per layer) and of every activation (one number per edge group).

    The number of a layer that shares its weights counts for nothing; Network.weights_variable() says what does.
    """

    weights: tuple[int, ...]
    groups: tuple[int, ...]

    def __post_init__(self) -> None:
        for what, values in (("weights", self.weights), ("groups", self.groups)):
            for index, bits in enumerate(values):
                check_bits(f"{what}[{index}]", bits)

    @classmethod
    def uniform(cls, network: Network, bits: int) -> BitAssignment:
        """The same bits everywhere."""
        return cls(weights=(bits,) * len(network.layers), groups=(bits,) * len(network.edge_groups))

    def layer_bits(self, network: Network, index: int) -> BitWidths:
        """The bits of the tensors of layer `index` (from 0). Raises WorkloadError if made for another network."""
        expected = len(network.layers), len(network.edge_groups)
        if (len(self.weights), len(self.groups)) != expected:
            message = (
                f"the assignment has {len(self.weights)} weight and {len(self.groups)} activation genes,"
                f" {network.name} has {expected[0]} and {expected[1]}"
            )
            raise WorkloadError(message, hint="an assignment belongs to the network it was made for")
        layer = network.layers[index]
        return BitWidths(
            weights=(*self.weights, *self.groups)[network.weights_variable(index)],
            inputs=self.groups[network.edges[layer.input_edge].group],
            outputs=self.groups[network.edges[layer.output_edge].group],
        )


def _suggest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    positions = f"layers are named like `{names[0]}` or numbered 1..{len(names)}"
    return f"did you mean `{near[0]}`? {positions}" if near else positions
