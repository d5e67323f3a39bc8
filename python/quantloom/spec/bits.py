"""Bits as the command line takes them: `8`, `a8w4`, `a8w4o8`, or a YAML file with bits for each layer and edge.

    default: a8w8                 # for everything not listed; may be left out if all is listed
    weights:                      # by layer (name or position from 1)
      features.0.0: 8
    activations:                  # by edge; edges joined by a residual add share their bits
      features.0.2: 4

The short forms: one number for all tensors; `a` activations, `w` weights, `o` the activations a layer writes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path

from quantloom.errors import QuantloomError, SpecError
from quantloom.spec.reader import Field, did_you_mean, read_document, show
from quantloom.spec.yaml_nodes import Problems, quote, read_text
from quantloom.workload.bits import MAX_BITS, BitWidths, parse_bits
from quantloom.workload.network import BitAssignment, Network

__all__ = ["BitsSpec", "dump_bits", "load_bits", "parse_bits_file"]

_FORMS = f"bits 1..{MAX_BITS} such as 8, a8w4 or a8w4o8"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Bits for one layer's weights or one edge. path, line, column: where they stand."""

    name: str
    bits: int
    path: str
    line: int
    column: int

    def fail(self, problems: Problems, message: str, hint: str | None = None) -> None:
        """Note a mistake at this entry."""
        problems.add(self.line, self.path, message, hint, column=self.column)


@dataclass(frozen=True, slots=True, kw_only=True)
class BitsSpec:
    """Bits as asked for, not yet joined to a network or layer. where: the text or the file they come from."""

    where: str
    default: BitWidths | None
    weights: tuple[_Entry, ...] = ()
    activations: tuple[_Entry, ...] = ()

    def for_workload(self) -> BitWidths:
        """The bits of a layer that stands alone. Raises SpecError if they are given by layer or edge."""
        if self.default is None or self.weights or self.activations:
            message = f"{self.where}: gives bits by layer and edge, expected the same for any layer"
            raise SpecError(message, hint=f"give {_FORMS}")
        return self.default

    def for_layer(self, network: Network, index: int) -> BitWidths:
        """The bits of layer `index` (from 0) of the network; those of inputs for both operands of a product.

        Raises SpecError as for_network().
        """
        if not self.weights and not self.activations:
            bits = self.for_workload()
            is_product = network.layers[index].weights_edge is not None
            return replace(bits, weights=bits.inputs) if is_product else bits
        return self.for_network(network).layer_bits(network, index)

    def for_network(self, network: Network) -> BitAssignment:
        """The bits of every layer and edge group of the network.

        Raises SpecError for unknown layers or edges, for different bits in one group, for something left without
        bits, and where inputs and outputs differ: an edge is the output of one layer and the input of the next.
        """
        if self.default is not None and self.default.inputs != self.default.outputs:
            message = (
                f"{self.where}: inputs {self.default.inputs} and outputs {self.default.outputs} bits,"
                " expected them equal for a whole network"
            )
            raise SpecError(message, hint="what one layer writes the next one reads; give bits such as a8w4")
        problems = Problems(self.where)
        weights = self._weights_by_layer(network, problems)
        groups = self._bits_by_group(network, problems)
        if self.default is None:
            missing = [la.name for i, la in enumerate(network.layers) if i not in weights and not la.shares_weights]
            missing += [edge.name for edge in network.edges if edge.group not in groups]
            if missing:
                listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
                problems.add(1, "", f"no bits for {listed}", "list them, or give a `default`")
        problems.raise_if_any()
        fallback = self.default or BitWidths.uniform(1)
        own = [weights.get(i, fallback.weights) for i in range(len(network.layers))]
        by_group = [groups.get(group, fallback.inputs) for group in range(len(network.edge_groups))]
        variables = [*own, *by_group]
        return BitAssignment(
            weights=tuple(variables[network.weights_variable(i)] for i in range(len(network.layers))),
            groups=tuple(by_group),
        )

    def _weights_by_layer(self, network: Network, problems: Problems) -> dict[int, int]:
        names = [layer.name for layer in network.layers]
        found: dict[int, int] = {}
        for entry in self.weights:
            position = int(entry.name) - 1 if entry.name.isdecimal() and len(entry.name) < 8 else -1
            if entry.name in names:
                position = names.index(entry.name)
            if not 0 <= position < len(names):
                hint = did_you_mean(entry.name, names, what="layers")
                entry.fail(problems, f"{network.name} has no layer {show(entry.name)}", hint)
            elif network.layers[position].shares_weights:
                hint = "give bits to the edge that it multiplies, or to the layer whose weights it uses"
                entry.fail(problems, f"layer {show(names[position])} has no weights of its own", hint)
            elif position in found:
                entry.fail(problems, f"a second time bits for the layer {show(names[position])}")
            found.setdefault(position, entry.bits)
        return found

    def _bits_by_group(self, network: Network, problems: Problems) -> dict[int, int]:
        groups = {edge.name: edge.group for edge in network.edges}
        first: dict[int, _Entry] = {}
        for entry in self.activations:
            if entry.name not in groups:
                hint = did_you_mean(entry.name, tuple(groups), what="edges")
                entry.fail(problems, f"{network.name} has no edge {show(entry.name)}", hint)
                continue
            other = first.setdefault(groups[entry.name], entry)
            if other.bits != entry.bits:
                entry.fail(
                    problems,
                    f"{entry.bits} bits, expected the {other.bits} of {show(other.name)}",
                    "edges joined by a residual add share their bits",
                )
        return {group: entry.bits for group, entry in first.items()}


def load_bits(text_or_path: str | PathLike[str]) -> BitsSpec:
    """Bits from their short form or from a file. Raises SpecError: what was read and what was expected."""
    text = fspath(text_or_path)
    path = Path(text)
    if path.suffix in (".yaml", ".yml", ".json") or path.name != text:
        return parse_bits_file(read_text(path), text)
    try:
        return BitsSpec(where=text, default=parse_bits(text))
    except (QuantloomError, ValueError) as error:
        message = f"bits {show(text)}: expected {_FORMS}, or a YAML file"
        raise SpecError(message, hint="a8w4o6: activations read 8, weights 4, activations written 6 bits") from error


def parse_bits_file(text: str, where: str) -> BitsSpec:
    """Bits from the YAML text of a bits file; `where` names it in messages. Raises SpecError."""
    found: list[BitsSpec] = []
    read_document(text, where, lambda root: found.append(_read_root(root)))
    return found[0]


def dump_bits(assignment: BitAssignment, network: Network) -> str:
    """YAML text whose parse_bits_file(...).for_network(network) is an equal assignment."""
    lines = ["weights:  # bits by layer"]
    lines += [
        f"  {quote(layer.name)}: {bits}"
        for layer, bits in zip(network.layers, assignment.weights, strict=True)
        if not layer.shares_weights
    ]
    lines.append("activations:  # bits by edge")
    lines += [f"  {quote(edge.name)}: {assignment.groups[edge.group]}" for edge in network.edges]
    return "\n".join(lines) + "\n"


def _read_root(root: Field) -> BitsSpec:
    record = root.record(("default", "weights", "activations"), "a mapping with default, weights, activations")
    default_field = record.optional("default")
    default = None
    if default_field is not None:
        try:
            default = parse_bits(default_field.text(_FORMS) or "8")
        except (QuantloomError, ValueError):
            default_field.expected(_FORMS)
    entries: dict[str, list[_Entry]] = {"weights": [], "activations": []}
    for key, found in entries.items():
        field = record.optional(key)
        for name, value in field.entries("a mapping from names to bits") if field is not None else []:
            bits = value.integer(maximum=MAX_BITS)
            found.append(
                _Entry(name=name.text_or_empty(), bits=bits, path=value.path, line=value.line, column=value.node.column)
            )
    if root.is_mapping and default_field is None and not entries["weights"] and not entries["activations"]:
        root.expected("at least one of default, weights, activations")
    return BitsSpec(
        where=root.problems.where,
        default=default,
        weights=tuple(entries["weights"]),
        activations=tuple(entries["activations"]),
    )
