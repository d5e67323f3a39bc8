"""Conditional nodes of ONNX graphs: what their branches read, and the branch in place of one with a known condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

__all__ = ["branch_of", "captured", "inlined"]


def captured(node: NodeProto) -> list[str]:
    """Names of outer values that the subgraphs of a node (If, Loop, Scan) read."""
    found: dict[str, None] = {}
    for graph in _subgraphs(node):
        inside = {each.name for each in (*graph.input, *graph.initializer)}
        for each in graph.node:
            found.update(dict.fromkeys(name for name in (*each.input, *captured(each)) if name and name not in inside))
            inside.update(each.output)
        found.update(dict.fromkeys(each.name for each in graph.output if each.name not in inside))
    return list(found)


def branch_of(node: NodeProto, condition: bool) -> GraphProto | None:
    """The branch of an If that is taken; None if the node has none."""
    wanted = "then_branch" if condition else "else_branch"
    return next((attribute.g for attribute in node.attribute if attribute.name == wanted), None)


def inlined(node: NodeProto, branch: GraphProto) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes and initialisers that compute what the branch does, under names that the outer graph does not have."""
    inside = {name for each in branch.node for name in each.output} | {each.name for each in branch.initializer}
    names = {name: f"{node.output[0]}/{name}" for name in inside if name}
    nodes = [_renamed(each, names) for each in branch.node]
    tensors = []
    for tensor in branch.initializer:
        copy = type(tensor)()
        copy.CopyFrom(tensor)
        copy.name = names[tensor.name]
        tensors.append(copy)
    for outer, inner in zip(node.output, branch.output, strict=False):
        same = type(node)()
        same.op_type, same.name = "Identity", f"{node.name}/{outer}"
        same.input.append(names.get(inner.name, inner.name))
        same.output.append(outer)
        nodes.append(same)
    return nodes, tensors


def _renamed(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    """A copy that reads and writes other names, in its subgraphs too where they do not define the name themselves."""
    copy = type(node)()
    copy.CopyFrom(node)
    _rename(copy, lambda name: names.get(name, name))
    return copy


def _rename(node: NodeProto, new: Callable[[str], str]) -> None:
    """Give what a node reads and writes new names, in place."""
    for names in (node.input, node.output):
        changed = [new(name) for name in names]
        del names[:]
        names.extend(changed)
    for graph in _subgraphs(node):
        inside = {each.name for each in (*graph.input, *graph.initializer)} | {o for n in graph.node for o in n.output}
        outer = _except(inside, new)
        for each in graph.node:
            _rename(each, outer)
        for output in graph.output:
            output.name = outer(output.name)


def _except(names: set[str], new: Callable[[str], str]) -> Callable[[str], str]:
    """The renaming without these names."""
    return lambda name: name if name in names else new(name)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
