"""Builds a Network from a walk over any model graph; knows nodes by name only, so every importer can use it.

An edge is a tensor that is stored between layers. Operators that are fused move the stored value of an edge behind
them, as long as nobody else reads the value before; otherwise both values are stored, and the second is a new edge
with a bit group of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from quantloom._core import Workload
from quantloom.workload.network import Edge, Layer, Network

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

    def holds(self, node: str) -> bool:
        """Whether the value of a node is (a view of) a stored tensor."""
        return node in self._edge_of

    def open_edge(self, node: str, name: str, shape: tuple[int, ...]) -> None:
        """Store the value of a node as a new edge; a taken name gets a number behind it."""
        taken = {edge.name for edge in self._edges}
        count, unique = 1, name
        while unique in taken:
            count += 1
            unique = f"{name}#{count}"
        self._edge_of[node] = len(self._edges)
        self._edges.append(_OpenEdge(unique, node, shape, len(self._edges)))
        self._movable.add(node)

    def fuse(self, node: str, operand: str, name: str, shape: tuple[int, ...], *, is_only_reader: bool) -> None:
        """Move the stored value of operand's edge to node; if others read operand too, store node as a new edge."""
        if is_only_reader and operand in self._movable:
            edge = self._edges[self._edge_of[operand]]
            edge.node, edge.shape = node, shape
            self.view(node, operand, is_only_reader=True)
        else:
            self.open_edge(node, name, shape)

    def view(self, node: str, operand: str, *, is_only_reader: bool) -> None:
        """Let node read the edge of operand, whose elements it only arranges."""
        self._edge_of[node] = self._edge_of[operand]
        if is_only_reader and operand in self._movable:
            self._movable.add(node)

    def join(self, first: str, second: str) -> None:
        """Put the edges of two nodes into one bit group."""
        low, high = sorted((self._root(self._edge_of[first]), self._root(self._edge_of[second])))
        self._edges[high].parent = low

    def add_layer(
        self, name: str, node: str, operand: str, workload: Workload, weights_elements: int, shape: tuple[int, ...]
    ) -> None:
        """Add a layer that reads operand's edge and stores node, of this shape, as a new edge of the layer's name."""
        input_edge = self._edge_of[operand]
        self.open_edge(node, name, shape)
        layer = Layer(
            name=name,
            node=node,
            workload=workload,
            weights_elements=weights_elements,
            input_edge=input_edge,
            output_edge=self._edge_of[node],
        )
        self._layers.append(layer)

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
        return Network(name=name, layers=tuple(self._layers), edges=edges, input_shape=input_shape)

    def _root(self, edge: int) -> int:
        while self._edges[edge].parent != edge:
            edge = self._edges[edge].parent
        return edge
