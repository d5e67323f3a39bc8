"""Reads a Network from a ModelGraph: one walk over its nodes, the same for every importer.

What becomes of each operator stands in operators.py, how edges come about in builder.py, what is multiplied in
products.py. Every operator that cannot be read is reported, with what would be assumed of it.
"""

from __future__ import annotations

import math

from quantloom.errors import UnsupportedOpError, WorkloadError
from quantloom.workload.builder import NetworkBuilder
from quantloom.workload.model_graph import GraphNode, ModelGraph, sample_shape
from quantloom.workload.network import Network, Treatment
from quantloom.workload.operators import Action
from quantloom.workload.products import Einsum, Product

__all__ = ["read_network"]


def read_network(graph: ModelGraph, *, assumes_traffic: bool = False) -> Network:
    """The network of a graph. assumes_traffic: take unknown operators as traffic instead of refusing them.

    Raises UnsupportedOpError with every node that cannot be read, WorkloadError if nothing is multiplied.
    """
    return _Reader(graph, assumes_traffic=assumes_traffic).read()


class _Reader:
    def __init__(self, graph: ModelGraph, *, assumes_traffic: bool) -> None:
        self._graph = graph
        self._assumes_traffic = assumes_traffic
        self._nodes = {node.name: node for node in graph.nodes}
        self._live = self._find_live()
        self._readers: dict[str, list[GraphNode]] = {}
        for node in graph.nodes:
            for operand in node.reads if node.name in self._live and node.has_tensor else ():
                self._readers.setdefault(operand, []).append(node)
        self._builder = NetworkBuilder()
        self._owners: dict[str, int] = {}  # a weight tensor -> index of the layer that used it first
        products = [node.product for node in graph.nodes if node.product is not None and node.name in self._live]
        self._counted = {self._root(name) for product in products for name in (product.inputs, product.weights)}
        self._problems: list[str] = []
        self._first_open: GraphNode | None = None
        self._can_be_assumed = True
        self._has_unknown = False

    def read(self) -> Network:
        for node in self._graph.nodes:
            if node.is_input:
                self._builder.open_edge(node.name, node.place, self._sample(node))
            elif node.problem:
                self._refuse(node, node.problem)
            elif self._is_read(node):
                operands = [name for name in node.reads if self._builder.holds(name)]
                is_view = self._graph.vocabulary.one.get(node.operator) is Action.VIEW
                is_open = node.is_open and not is_view  # a view has no sizes of its own
                problem = self._problem_of_open(node) if is_open else self._read_node(node, operands)
                if problem is not None and not self._assume(node, operands, problem):
                    self._refuse(node, problem)
        if self._first_open is not None and not self._problems:
            self._refuse(self._first_open, self._graph.vocabulary.shapeless)
        self._raise_problems()
        if not self._graph.returns_one_tensor or not any(map(self._builder.holds, self._graph.outputs)):
            message = f"{self._graph.name} must return one tensor computed from its input"
            raise UnsupportedOpError(message, hint="wrap the model in a module that returns only its logits")
        return self._builder.close(self._graph.name, self._graph.input_shape)

    def _find_live(self) -> set[str]:
        """Nodes that an output depends on, and the inputs."""
        live = {node.name for node in self._graph.nodes if node.is_input}
        stack = [name for name in self._graph.outputs if name in self._nodes]
        while stack:
            name = stack.pop()
            live.add(name)
            stack.extend(read for read in self._nodes[name].reads if read in self._nodes and read not in live)
        return live

    def _is_read(self, node: GraphNode) -> bool:
        """Whether a node counts: something needs it, and it depends on an input."""
        return node.name in self._live and node.has_tensor and any(map(self._builder.holds, node.reads))

    def _sample(self, node: GraphNode) -> tuple[int, ...]:
        return sample_shape(node.shape or ())

    def _is_only_reader(self, node: GraphNode, operand: str) -> bool:
        readers = self._readers.get(operand, [])
        return all(reader is node for reader in readers) and operand not in self._graph.outputs

    # ---- one node ------------------------------------------------------------------------------------------------

    def _read_node(self, node: GraphNode, operands: list[str]) -> str | None:
        """Record what a node does; returns what is wrong if it cannot be read (then nothing is recorded)."""
        table = self._graph.vocabulary.one if len(set(operands)) == 1 else self._graph.vocabulary.several
        action = table.get(node.operator) if node.table is None else Action.COMPUTE
        if action is None:
            return "" if len(operands) == 1 else f" of {len(operands)} activations"
        if node.shape is None and action is not Action.VIEW:
            return self._graph.vocabulary.shapeless
        if node.shape is not None and 0 in node.shape:
            return f" has a result without elements, {node.shape}"
        if action is Action.LAYER:
            if node.product is None:
                return " with weights that are no parameter of the model"
            return self._read_product(node, node.product)
        self._read_operator(node, operands, action)
        return None

    def _problem_of_open(self, node: GraphNode) -> str | None:
        """What is wrong with a node of unknown sizes beside these; its result is held, for what reads it."""
        vocabulary = self._graph.vocabulary
        if node.operator not in vocabulary.one and node.operator not in vocabulary.several:
            return ""
        self._first_open = self._first_open or node
        self._builder.open_edge(node.name, node.place, ())
        return None

    def _read_operator(self, node: GraphNode, operands: list[str], action: Action) -> None:
        builder, first = self._builder, operands[0]
        treatment = self._graph.vocabulary.treatment(node.operator, action) if node.table is None else "traffic"
        reads = [builder.edge_of(operand) for operand in operands]
        is_only = self._is_only_reader(node, first)
        if action is Action.VIEW:
            builder.view(node.name, first, is_only_reader=is_only)
        elif action is Action.FUSE:
            if not builder.fuse(node.name, first, node.place, self._sample(node), is_only_reader=is_only):
                treatment = "traffic"
        else:
            builder.open_edge(node.name, node.place, self._sample(node))
            for operand in operands if action is not Action.COMPUTE else ():
                builder.join(operand, node.name)
        self._add_operator(node, operands, reads, treatment)

    def _add_operator(self, node: GraphNode, operands: list[str], reads: list[int], treatment: Treatment) -> None:
        written = self._builder.edge_of(node.name)
        is_moved = treatment in ("traffic", "assumed")
        size = math.prod(self._sample(node)) if is_moved else 0
        read = sum(math.prod(self._sample(self._nodes[name])) for name in dict.fromkeys(operands)) if is_moved else 0
        table = 0
        if node.table is not None:
            table = self._take_table(node.table)
            read += size if node.looked_up is None else node.looked_up
        self._builder.add_operator(
            name=node.place,
            kind=node.operator,
            treatment=treatment,
            reads=reads,
            writes=None if written in reads else written,
            elements_read=read,
            elements_written=size,
            table_elements=table,
        )

    def _take_table(self, name: str) -> int:
        """Elements of a table the first time it is used; 0 if it is the weights of a layer as well."""
        root = self._root(name)
        if root in self._counted:
            return 0
        self._counted.add(root)
        return math.prod(self._constant_shape(name))

    def _read_product(self, node: GraphNode, product: Product) -> str | None:
        holds = self._builder.holds
        if not holds(product.inputs) and isinstance(product, Einsum):
            product = product.swapped()
        if not holds(product.inputs):
            return " slides activations over constants"
        root = self._root(product.weights)
        owner = self._owners.get(root)
        if owner is not None and not self._graph.vocabulary.can_share_weights:
            return f" uses the weights of layer `{self._builder.layer_name(owner)}` again (give each call its own)"
        try:
            parts = product.parts(node.place)
        except WorkloadError as error:
            return f": {error.message}"
        shape, weights = self._sample(node), product.weights if holds(product.weights) else None
        first = self._builder.add_layers(
            node.place, node.name, product.inputs, parts, shape, weights=weights, owner=owner
        )
        if weights is None and owner is None:
            self._owners[root] = first
        return None

    def _root(self, name: str) -> str:
        """The tensor that a constant shows under another shape: itself, or what its reshapes and transposes read."""
        node = self._nodes.get(name)
        while node is not None and len(node.reads) >= 1:
            if self._graph.vocabulary.one.get(node.operator) is not Action.VIEW:
                break
            name = node.reads[0]
            node = self._nodes.get(name)
        return name

    def _constant_shape(self, name: str) -> tuple[int, ...]:
        node = self._nodes.get(name)
        return self._graph.constants.get(name, ()) if node is None else node.shape or ()

    # ---- what cannot be read -------------------------------------------------------------------------------------

    def _assume(self, node: GraphNode, operands: list[str], problem: str) -> bool:
        """Take an unknown operator as traffic, if that is allowed and its result is known."""
        is_unknown = problem == "" or problem.endswith(" activations")
        self._has_unknown |= is_unknown
        if not is_unknown or node.shape is None or 0 in node.shape:
            self._can_be_assumed = False
            return False
        if not self._assumes_traffic:
            return False
        reads = [self._builder.edge_of(operand) for operand in operands]
        self._builder.open_edge(node.name, node.place, self._sample(node))
        self._add_operator(node, operands, reads, "assumed")
        return True

    def _refuse(self, node: GraphNode, problem: str) -> None:
        self._problems.append(f"{node.described}{problem}")
        if node.problem:
            self._can_be_assumed = False
        is_empty = node.shape is not None and 0 in node.shape
        self._builder.open_edge(node.name, node.place, () if is_empty else self._sample(node))  # to report all

    def _raise_problems(self) -> None:
        if not self._problems:
            return
        problems = list(dict.fromkeys(self._problems))  # a node with several results is one
        message = f"{self._graph.name}: {len(problems)} unsupported operator(s)\n  " + "\n  ".join(problems)
        hints = []
        if any(node.is_open and node.problem for node in self._graph.nodes):
            hints.append(
                "what a network costs must not depend on its input: compute all of what has a size of its own, and "
                "mask what is not needed"
            )
        if self._can_be_assumed:
            hints.append(
                "with `unknown=traffic` behind the model each is assumed to read its operands once, to write a new "
                "stored tensor, and to multiply nothing"
            )
        if self._has_unknown:
            hints.append(f"supported are {self._graph.vocabulary.listing}")
        raise UnsupportedOpError(message, hint="; ".join(hints) or "change the model or the sizes given behind it")
