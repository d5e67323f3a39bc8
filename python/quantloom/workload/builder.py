"""Builds a Network from a walk over any model graph; knows nodes by name only, so every importer can use it.

An edge is a tensor that is stored between layers. Operators that are fused move the stored value of an edge behind
them, as long as nobody else reads the value before; otherwise both values are stored, and the second is a new edge
with a bit group of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quantloom.workload.network import Edge, Layer, Network, Operator, Treatment
from quantloom.workload.products import Part

__all__ = ["NetworkBuilder"]


@dataclass(slots=True)
class _OpenEdge:
    """An edge whose stored value may still move. parent: index of another edge of its group, or its own."""

    name: str
    node: str
    shape: tuple[int, ...]
    parent: int


class NetworkBuilder:
    """Collects edges and layers in execution order; shapes are those of one sample."""

    def __init__(self) -> None:
        self._edges: list[_OpenEdge] = []
        self._edge_of: dict[str, int] = {}  # node -> the edge that holds its value
        self._movable: set[str] = set()  # nodes on the only path from the stored value of their edge
        self._layers: list[Layer] = []
        self._operators: list[Operator] = []
        self._edge_names: set[str] = set()
        self._layer_names: set[str] = set()

    def holds(self, node: str) -> bool:
        """Whether the value of a node is (a view of) a stored tensor."""
        return node in self._edge_of

    def edge_of(self, node: str) -> int:
        """The edge that holds the value of a node."""
        return self._edge_of[node]

    def layer_name(self, index: int) -> str:
        """The name of a layer that was added."""
        return self._layers[index].name

    def open_edge(self, node: str, name: str, shape: tuple[int, ...]) -> None:
        """Store the value of a node as a new edge; a taken name gets a number behind it."""
        self._edge_of[node] = len(self._edges)
        self._edges.append(_OpenEdge(_unique(name, self._edge_names), node, shape, len(self._edges)))
        self._movable.add(node)

    def fuse(self, node: str, operand: str, name: str, shape: tuple[int, ...], *, is_only_reader: bool) -> bool:
        """Move the stored value of operand's edge to node; if others read operand too, store node as a new edge.

        Returns whether it was moved.
        """
        if is_only_reader and operand in self._movable:
            edge = self._edges[self._edge_of[operand]]
            edge.node, edge.shape = node, shape
            self.view(node, operand, is_only_reader=True)
            return True
        self.open_edge(node, name, shape)
        return False

    def view(self, node: str, operand: str, *, is_only_reader: bool) -> None:
        """Let node read the edge of operand, whose elements it only arranges."""
        self._edge_of[node] = self._edge_of[operand]
        if is_only_reader and operand in self._movable:
            self._movable.add(node)

    def join(self, first: str, second: str) -> None:
        """Put the edges of two nodes into one bit group."""
        low, high = sorted((self._root(self._edge_of[first]), self._root(self._edge_of[second])))
        self._edges[high].parent = low

    def add_layers(
        self,
        name: str,
        node: str,
        operand: str,
        parts: Sequence[Part],
        shape: tuple[int, ...],
        *,
        weights: str | None = None,
        owner: int | None = None,
    ) -> int:
        """Add the layers of a product that reads operand's edge and stores node, of this shape, as a new edge.

        weights: the node whose edge is the Weights tensor, of a product of activations. owner: the layer whose weights
        are used again. Returns the index of the first layer.
        """
        input_edge, weights_edge = self._edge_of[operand], None if weights is None else self._edge_of[weights]
        self.open_edge(node, name, shape)
        first = len(self._layers)
        for part in parts:
            shared = owner
            if weights is None and owner is None and len(self._layers) > first:
                shared = first
            unique = _unique(f"{name}{part.suffix}", self._layer_names)
            layer = Layer(
                name=unique,
                node=node,
                workload=part.workload if part.workload.name == unique else part.workload.renamed(unique),
                weights_elements=part.weights_elements if weights is None and owner is None else 0,
                input_edge=input_edge,
                output_edge=self._edge_of[node],
                weights_edge=weights_edge,
                weights_layer=shared,
            )
            self._layers.append(layer)
        return first

    def add_operator(
        self,
        *,
        name: str,
        kind: str,
        treatment: Treatment,
        reads: Iterable[int],
        writes: int | None,
        elements_read: int,
        elements_written: int,
        table_elements: int,
    ) -> None:
        """Record what is done beside the layers; fields as those of Operator."""
        self._operators.append(
            Operator(
                name=name,
                kind=kind,
                treatment=treatment,
                reads=tuple(dict.fromkeys(reads)),
                writes=writes,
                elements_read=elements_read,
                elements_written=elements_written,
                table_elements=table_elements,
            )
        )

    def close(self, name: str, input_shape: tuple[int, ...]) -> Network:
        """The network, its groups numbered by their first edge. Raises WorkloadError as Network does."""
        roots = [self._root(index) for index in range(len(self._edges))]
        numbers = {root: number for number, root in enumerate(dict.fromkeys(roots))}
        edges = tuple(
            Edge(
                name=edge.name,
                node=edge.node,
                elements=math.prod(edge.shape),
                shape=edge.shape,
                group=numbers[root],
            )
            for edge, root in zip(self._edges, roots, strict=True)
        )
        return Network(
            name=name,
            layers=tuple(self._layers),
            edges=edges,
            input_shape=input_shape,
            operators=tuple(self._operators),
        )

    def _root(self, edge: int) -> int:
        while self._edges[edge].parent != edge:
            edge = self._edges[edge].parent
        return edge


def _unique(name: str, taken: set[str]) -> str:
    """The name, with a number behind it if it is taken; taken from now on."""
    count, unique = 1, name
    while unique in taken:
        count += 1
        unique = f"{name}#{count}"
    taken.add(unique)
    return unique
