"""Operators that hide several products: attention and recurrent layers, written out as the nodes they are made of.

Attention is the product of queries and keys, a softmax over the scores, and the product with the values; the full
square of scores is computed, whatever a mask hides. A recurrent layer is one product of all its inputs, one of all its
states (each state is the next step's operand), and gates in between; the states that are multiplied are an edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from quantloom.errors import WorkloadError
from quantloom.workload.model_graph import GraphNode
from quantloom.workload.products import Einsum

__all__ = ["Names", "attention_nodes", "cell_nodes", "recurrent_nodes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the operators of an expansion are called in a vocabulary."""

    product: str
    add: str
    softmax: str
    multiply: str
    gate: str


def attention_nodes(
    node: GraphNode,
    names: Names,
    operands: tuple[str, str, str],
    shapes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    masks: tuple[str, ...] = (),
) -> list[GraphNode]:
    """Nodes for queries, keys and values of shapes (batch..., heads, length, features); the last has node's name.

    Fewer heads of keys and values serve several heads of queries each. masks: what is added to the scores. Raises
    WorkloadError if the shapes do not go together.
    """
    queries, keys, values = shapes
    batch, heads, length, features = math.prod(queries[:-3]), (queries[-3:-2] or (1,))[0], queries[-2], queries[-1]
    shared, others = (keys[-3:-2] or (1,))[0], keys[-2]
    key_batch = math.prod(keys[:-3])
    fits = keys[-1] == features and values[-2] == others and heads % shared == 0 and key_batch in (1, batch)
    if not fits or values[:-2] != keys[:-2]:
        message = f"attention of queries {queries}, keys {keys} and values {values}"
        raise WorkloadError(message, hint="expected (batch, heads, length, features)")
    sizes = {"b": batch, "h": shared, "r": heads // shared, "l": length, "s": others, "e": features, "v": values[-1]}
    shared_labels = ("h",) if key_batch == 1 and batch > 1 else ("b", "h")
    scores, weights = f"{node.name}.scores", f"{node.name}.softmax"
    score_shape = (*queries[:-1], others)

    def product(first: str, second: str, summed: str, kept: str) -> Einsum:
        row, column = ("s", summed) if summed == "e" else ("s", kept)
        return Einsum(
            inputs=first,
            weights=second,
            inputs_labels=("b", "h", "r", "l", summed),
            weights_labels=(*shared_labels, row, column),
            output_labels=("b", "h", "r", "l", kept),
            sizes=sizes,
        )

    nodes = [
        replace(
            node,
            name=scores,
            operator=names.product,
            reads=operands[:2],
            shape=score_shape,
            place=f"{node.place}.scores",
            product=product(operands[0], operands[1], "e", "s"),
        )
    ]
    last = scores
    if masks:
        last = f"{node.name}.masked"
        reads = (scores, *masks)
        nodes.append(
            replace(node, name=last, operator=names.add, reads=reads, shape=score_shape, place=f"{node.place}.masked")
        )
    softmax = replace(
        node, name=weights, operator=names.softmax, reads=(last,), shape=score_shape, place=f"{node.place}.softmax"
    )
    values_node = replace(
        node,
        operator=names.product,
        reads=(weights, operands[2]),
        place=f"{node.place}.values",
        product=product(weights, operands[2], "s", "v"),
    )
    return [*nodes, softmax, values_node]


def cell_nodes(
    node: GraphNode,
    names: Names,
    operands: tuple[str, str],
    weights: tuple[str, str],
    others: tuple[str, ...],
    sizes: Mapping[str, int],
) -> list[GraphNode]:
    """Nodes of one step of a recurrent layer; the last has node's name and shape.

    operands, weights: the input and the state that are multiplied, and what by, (gates, features) each. others: states
    that are not multiplied. sizes: `batch`, `inputs`, `hidden`, and `gates`, the numbers that all gates have.
    """
    nodes = []
    for part, operand, weight, features in zip(
        ("inputs", "states"), operands, weights, (sizes["inputs"], sizes["hidden"]), strict=True
    ):
        call = Einsum(
            inputs=operand,
            weights=weight,
            inputs_labels=("n", "c"),
            weights_labels=("g", "c"),
            output_labels=("n", "g"),
            sizes={"n": sizes["batch"], "c": features, "g": sizes["gates"]},
        )
        shape, place = (sizes["batch"], sizes["gates"]), f"{node.place}.{part}"
        name = f"{node.name}.{part}"
        nodes.append(
            replace(node, name=name, operator=names.product, reads=(operand,), shape=shape, place=place, product=call)
        )
    return [*nodes, replace(node, operator=names.multiply, reads=(*(each.name for each in nodes), *others))]


def recurrent_nodes(
    node: GraphNode,
    names: Names,
    operand: str,
    weights: tuple[str, str],
    *,
    steps: int,
    inputs: int,
    gates: int,
    hidden: int,
    directions: int,
) -> list[GraphNode]:
    """Nodes of one recurrent layer; the last has node's name and shape.

    weights: of the inputs, (directions, gates, inputs), and of the states, (directions, gates, hidden). steps: times
    batch. gates: numbers that all gates of one direction have, such as 4 * hidden of an LSTM.
    """
    sizes = {"n": steps, "c": inputs, "d": directions, "g": gates, "h": hidden}
    projected, states, turned = (f"{node.name}.{part}" for part in ("inputs", "states", "recurrent"))
    first = Einsum(
        inputs=operand,
        weights=weights[0],
        inputs_labels=("n", "c"),
        weights_labels=("d", "g", "c"),
        output_labels=("n", "d", "g"),
        sizes=sizes,
    )
    second = Einsum(
        inputs=states,
        weights=weights[1],
        inputs_labels=("n", "d", "h"),
        weights_labels=("d", "g", "h"),
        output_labels=("n", "d", "g"),
        sizes=sizes,
    )
    wide, narrow = (1, steps, directions * gates), (1, steps, directions * hidden)

    def part(
        name: str, operator: str, reads: tuple[str, ...], shape: tuple[int, ...], call: Einsum | None
    ) -> GraphNode:
        place = f"{node.place}{name.removeprefix(node.name)}"
        return replace(node, name=name, operator=operator, reads=reads, shape=shape, place=place, product=call)

    return [
        part(projected, names.product, (operand,), wide, first),
        part(states, names.gate, (projected,), narrow, None),
        part(turned, names.product, (states,), wide, second),
        replace(node, operator=names.multiply, reads=(projected, turned)),
    ]
