"""A model's graph as every importer hands it to graph_reader.py: nodes by name, shapes, and what they multiply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantloom.workload.operators import Vocabulary
from quantloom.workload.products import Product

__all__ = ["GraphNode", "ModelGraph", "sample_shape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """One node. reads: the nodes of its operands in their order, constants included.

    operator: its name in the graph's vocabulary. shape: of its one tensor, batch included; None if it makes several or
    the shape is unknown. has_tensor: False for sizes and other plain values. place: what its result is called.
    described: for messages. product: what it multiplies, if anything. table: the operand in which rows are looked up;
    looked_up: elements of these rows, None for as many as the result has.
    problem: why the graph cannot be read, as the end of a sentence that starts with `described`, live or not.
    is_open: sizes of its operands or results depend on values of tensors, so that only its operator can be looked at.
    """

    name: str
    operator: str
    reads: tuple[str, ...]
    shape: tuple[int, ...] | None
    place: str
    described: str
    has_tensor: bool = True
    is_input: bool = False
    product: Product | None = None
    table: str | None = None
    looked_up: int | None = None
    problem: str = ""
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGraph:
    """Nodes in execution order, inputs first. outputs: names of the nodes whose values the model returns.

    constants: shapes of parameters and other tensors that depend on no input and have no node. returns_one_tensor:
    False if what the model returns makes no network.
    """

    name: str
    input_shape: tuple[int, ...]
    nodes: tuple[GraphNode, ...]
    outputs: tuple[str, ...]
    vocabulary: Vocabulary
    constants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    returns_one_tensor: bool = True


def sample_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one sample: without a leading batch of 1."""
    return shape[1:] if shape[:1] == (1,) else shape
