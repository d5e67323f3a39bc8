"""A network written out: layers, and the edges (stored activation tensors) between them, by name.

    name: lenet
    input_shape: [1, 28, 28]      # of one sample
    edges:                        # the first is the input, the last the output
      - {name: image, shape: [1, 28, 28]}
      - {name: conv1, shape: [6, 24, 24]}
      - {name: sum, shape: [6, 24, 24], group: residual}      # edges of one group share their bits
    layers:                       # with the keys of a workload file, see workload.py
      - {name: conv1, reads: image, writes: conv1, dims: {C: 1, M: 6, R: 5, S: 5, P: 24, Q: 24}}

A product of two activations names the edge that is its Weights tensor (`weights_edge: keys`), a layer that uses the
weights of an earlier one names that layer (`weights_layer: conv1`). What lies between edges (pooling, the add itself)
may be listed with what is assumed of it:

    operators:
      - {name: pool, kind: MaxPool2d, treatment: traffic, reads: [conv1], writes: pool, elements_read: 3456,
         elements_written: 864}

A workload file is read as a network of its one layer, whose edges are named Inputs and Outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from os import PathLike
from typing import TypeVar, cast

from quantloom._core import Workload
from quantloom.errors import QuantloomError
from quantloom.spec.reader import Field, Record, did_you_mean, read_document, show
from quantloom.spec.workload import WORKLOAD_KEYS, dump_workload_keys, read_single_layer, read_workload
from quantloom.spec.yaml_nodes import quote, read_text
from quantloom.workload.layer import INPUTS, OUTPUTS, WEIGHTS
from quantloom.workload.network import TREATMENTS, Edge, Layer, Network, Operator, Treatment

__all__ = ["dump_network", "load_network_yaml", "parse_network"]

MAX_EXTENT = 1 << 31
_Item = TypeVar("_Item")
_EDGE_KEYS = ("name", "shape", "group", "node")
_LAYER_KEYS = ("name", "reads", "writes", "node", "weights_elements", "weights_edge", "weights_layer", *WORKLOAD_KEYS)
_COUNTS = ("elements_read", "elements_written", "table_elements")
_OPERATOR_KEYS = ("name", "kind", "treatment", "reads", "writes", *_COUNTS)


def load_network_yaml(path: str | PathLike[str]) -> Network:
    """The network in a file. Raises SpecError with every mistake located."""
    return parse_network(read_text(path), str(path))


def parse_network(text: str, where: str) -> Network:
    """The network that YAML `text` describes; `where` names the text in messages. Raises SpecError."""
    found: list[Network | None] = []
    read_document(text, where, lambda root: found.append(_read_root(root)))
    assert found[0] is not None, "a network that is missing without a problem"
    return found[0]


def dump_network(network: Network) -> str:
    """YAML text that parse_network() turns into an equal network, if groups are numbered by their first edge."""
    lines = [f"name: {quote(network.name)}", f"input_shape: {list(network.input_shape)}", "edges:"]
    sizes = [len(members) for members in network.edge_groups]
    for edge in network.edges:
        lines += [f"  - name: {quote(edge.name)}", f"    shape: {list(edge.shape)}"]
        if sizes[edge.group] > 1:
            lines.append(f"    group: {edge.group}")
        if edge.node != edge.name:
            lines.append(f"    node: {quote(edge.node)}")
    lines.append("layers:")
    for layer in network.layers:
        lines.append(f"  - name: {quote(layer.name)}")
        body = [
            f"reads: {quote(network.edges[layer.input_edge].name)}",
            f"writes: {quote(network.edges[layer.output_edge].name)}",
            *dump_workload_keys(layer.workload),
        ]
        if layer.node != layer.name:
            body.append(f"node: {quote(layer.node)}")
        if layer.weights_edge is not None:
            body.append(f"weights_edge: {quote(network.edges[layer.weights_edge].name)}")
        if layer.weights_layer is not None:
            body.append(f"weights_layer: {quote(network.layers[layer.weights_layer].name)}")
        if layer.weights_elements != _default_weights(layer.workload, shares_weights=layer.shares_weights):
            body.append(f"weights_elements: {layer.weights_elements}")
        lines += [f"    {line}" for line in body]
    if network.operators:
        lines.append("operators:")
    for operator in network.operators:
        reads = ", ".join(quote(network.edges[edge].name) for edge in operator.reads)
        parts = [f"name: {quote(operator.name)}", f"kind: {quote(operator.kind)}", f"treatment: {operator.treatment}"]
        parts.append(f"reads: [{reads}]")
        if operator.writes is not None:
            parts.append(f"writes: {quote(network.edges[operator.writes].name)}")
        parts += [f"{key}: {getattr(operator, key)}" for key in _COUNTS if getattr(operator, key)]
        lines.append(f"  - {{{', '.join(parts)}}}")
    return "\n".join(lines) + "\n"


def _read_root(root: Field) -> Network | None:
    keys = {key.text_or_empty(): key for key, _ in root.entries("a mapping with name, edges, layers")}
    if not {"edges", "layers"} & set(keys) and {"dims", "problem"} & set(keys):
        return _read_single_layer(root, keys)
    record = root.record(("name", "input_shape", "edges", "layers", "operators"), "a mapping with name, edges, layers")
    name = record.required("name", "the network's name")
    shape_field = record.required("input_shape", "the shape of one sample, such as [3, 224, 224]")
    edges_field = record.required("edges", "a list of edges, from the input to the output")
    layers_field = record.required("layers", "a list of layers")
    edges = [] if edges_field is None else _read_edges(edges_field)
    positions = {edge.name: i for i, edge in enumerate(edges)}
    layers: list[Layer] = []
    lines: dict[str, int] = {}
    for field in [] if layers_field is None else layers_field.items("a list of layers"):
        layer = _read_layer(field, positions, {known.name: i for i, known in enumerate(layers)})
        if layer is not None and layer.name in lines:
            field.fail(f"a second layer named {show(layer.name)}, the first is on line {lines[layer.name]}")
        if layer is not None:
            lines.setdefault(layer.name, field.line)
            layers.append(layer)
    operators = record.optional("operators")
    items = [] if operators is None else operators.items("a list of operators")
    listed = tuple(operator for item in items if (operator := _read_operator(item, positions)) is not None)
    input_shape = () if shape_field is None else _read_shape(shape_field)
    if shape_field is not None and edges and not len(root.problems) and prod(input_shape) != edges[0].elements:
        shape_field.fail(f"{list(input_shape)} does not hold the {edges[0].elements} elements of the first edge")
    network_name = "" if name is None else name.name("the network's name")
    if len(root.problems):
        return None
    try:
        return Network(
            name=network_name, layers=tuple(layers), edges=tuple(edges), input_shape=input_shape, operators=listed
        )
    except QuantloomError as error:
        root.fail(error.message, error.hint)
        return None


def _read_single_layer(root: Field, keys: dict[str, Field]) -> Network | None:
    """The network of the one layer that a workload file describes."""
    workload, bits = read_single_layer(root)
    if workload is None or len(root.problems):
        return None
    if bits is not None:
        keys.get("bits", root).fail(
            "the file gives bits, which a network does not have", "leave them out and give them with --bits"
        )
        return None
    if not _has_layer_tensors(root, workload):
        return None
    sizes = {name: workload.tensor_elements(name) for name in (INPUTS, OUTPUTS)}
    edges = tuple(
        Edge(name=name, node=name, elements=size, shape=(size,), group=index)
        for index, (name, size) in enumerate(sizes.items())
    )
    layer = Layer(
        name=workload.name,
        node=workload.name,
        workload=workload,
        weights_elements=workload.tensor_elements(WEIGHTS),
        input_edge=0,
        output_edge=1,
    )
    return Network(name=workload.name, layers=(layer,), edges=edges, input_shape=edges[0].shape)


def _has_layer_tensors(field: Field, workload: Workload) -> bool:
    tensors = [tensor.name for tensor in workload.tensors]
    if sorted(tensors) == sorted((WEIGHTS, INPUTS, OUTPUTS)):
        return True
    listed = ", ".join(map(show, tensors))
    field.fail(f"the tensors are {listed}, expected Weights, Inputs and Outputs in a network")
    return False


def _read_edges(field: Field) -> list[Edge]:
    edges: list[Edge] = []
    lines: dict[str, int] = {}
    groups: dict[str, int] = {}
    for item in field.items("a list of edges, from the input to the output"):
        record = item.record(_EDGE_KEYS, "an edge: a mapping with name and shape")
        name_field = record.required("name", "the edge's name")
        shape_field = record.required("shape", "the shape of one sample, such as [32, 112, 112]")
        if name_field is None or shape_field is None:
            continue
        name, shape = name_field.name("the edge's name"), _read_shape(shape_field)
        if name in lines:
            name_field.fail(f"a second edge named {show(name)}, the first is on line {lines[name]}")
        lines.setdefault(name, item.line)
        label, node = record.optional("group"), record.optional("node")
        # Edges without a label have a group of their own; no label can hold a newline.
        key = f"\n{len(edges)}" if label is None else label.name("a group's label")
        edges.append(
            Edge(
                name=name,
                node=name if node is None else node.name("the name of a graph node"),
                elements=prod(shape),
                shape=shape,
                group=groups.setdefault(key, len(groups)),
            )
        )
    return edges


def _read_shape(field: Field) -> tuple[int, ...]:
    return tuple(item.integer(maximum=MAX_EXTENT) for item in field.items("a shape, such as [32, 112, 112]"))


def _read_layer(field: Field, edges: dict[str, int], layers: dict[str, int]) -> Layer | None:
    before = len(field.problems)
    record = field.record(_LAYER_KEYS, "a layer: a mapping with name, reads, writes, dims, ...")
    name_field = record.required("name", "the layer's name")
    name = "" if name_field is None else name_field.name("the layer's name")
    reads, writes = _read_edge(record, "reads", edges), _read_edge(record, "writes", edges)
    workload = read_workload(record, name)
    if workload is None:
        return None
    if not _has_layer_tensors(field, workload):
        return None
    node = record.optional("node")
    weights, weights_edge = record.optional("weights_elements"), record.optional("weights_edge")
    edge = None if weights_edge is None else _edge_named(weights_edge, edges)
    owner_field, owner = record.optional("weights_layer"), None
    if owner_field is not None:
        owner_name = owner_field.name("the name of an earlier layer")
        owner = layers.get(owner_name)
        if owner is None:
            owner_field.fail(
                f"no earlier layer {show(owner_name)}", did_you_mean(owner_name, tuple(layers), what="layers")
            )
    if len(field.problems) > before:
        return None
    is_shared = edge is not None or owner is not None
    elements = _default_weights(workload, shares_weights=is_shared)
    return _checked(
        field,
        lambda: Layer(
            name=name,
            node=name if node is None else node.name("the name of a graph node"),
            workload=workload,
            weights_elements=elements if weights is None else weights.integer(minimum=0 if is_shared else 1),
            input_edge=reads,
            output_edge=writes,
            weights_edge=edge,
            weights_layer=owner,
        ),
    )


def _read_operator(field: Field, edges: dict[str, int]) -> Operator | None:
    before = len(field.problems)
    record = field.record(_OPERATOR_KEYS, "an operator: a mapping with name, kind, treatment, reads, ...")
    name, kind = record.required("name", "the operator's name"), record.required("kind", "what it is")
    treatment, reads = record.required("treatment", ", ".join(TREATMENTS)), record.required("reads", "a list of edges")
    writes = record.optional("writes")
    counts = {key: 0 if (each := record.optional(key)) is None else each.integer(minimum=0) for key in _COUNTS}
    if name is None or kind is None or treatment is None or reads is None:
        return None
    written = None if writes is None else _edge_named(writes, edges)
    read = tuple(_edge_named(item, edges) for item in reads.items("a list of edges"))
    texts = name.name("the operator's name"), kind.name("what it is")
    chosen = cast("Treatment", treatment.choice(TREATMENTS, "treatment"))
    if len(field.problems) > before:
        return None
    return _checked(
        field,
        lambda: Operator(name=texts[0], kind=texts[1], treatment=chosen, reads=read, writes=written, **counts),
    )


def _checked(field: Field, make: Callable[[], _Item]) -> _Item | None:
    """What make() makes; a problem of the field if the item contradicts itself."""
    try:
        return make()
    except QuantloomError as error:
        field.fail(error.message, error.hint)
        return None


def _read_edge(record: Record, key: str, edges: dict[str, int]) -> int:
    field = record.required(key, "the name of an edge")
    return 0 if field is None else _edge_named(field, edges)


def _edge_named(field: Field, edges: dict[str, int]) -> int:
    name = field.text("the name of an edge")
    if name and name not in edges:
        field.fail(f"unknown edge {show(name)}", did_you_mean(name, tuple(edges), what="edges"))
    return edges.get(name, 0)


def _default_weights(workload: Workload, *, shares_weights: bool) -> int:
    return 0 if shares_weights else workload.tensor_elements(WEIGHTS)
