"""Rules on the bits of a search, under `rules` in its configuration or in a file for `quantloom search --rules FILE`.

    weights:                        # by layer: its name, its position from 1, `first` or `last`
      first: 8                      # fixed
      features.*.conv.1: [4, 8]     # one of these, for each layer that matches
    activations:                    # by edge: its name, `input` or `output`
      input: [4, 8]
    ties:                           # each: tensors whose bits are one choice
      - weights: [features.1, features.2]
      - {weights: [last], activations: [pool]}

Whether the network has these layers and edges is checked once it is read, with the places kept here.
"""

from __future__ import annotations

from os import PathLike

from quantloom.joint_search.rules import KINDS, SearchRules, TensorKind
from quantloom.spec.reader import Field, read_document
from quantloom.spec.yaml_nodes import read_text
from quantloom.workload.bits import MAX_BITS

__all__ = ["load_search_rules", "parse_search_rules", "read_search_rules"]

_ONE_OR_MORE = f"bits 1..{MAX_BITS} such as 8, or a list of them such as [2, 4, 8]"


def load_search_rules(path: str | PathLike[str]) -> SearchRules:
    """The rules in a file. Raises SpecError with every mistake located."""
    return parse_search_rules(read_text(path), str(path))


def parse_search_rules(text: str, where: str) -> SearchRules:
    """The rules that YAML `text` describes; `where` names the text in messages. Raises SpecError."""
    found: list[SearchRules] = []
    read_document(text, where, lambda root: found.append(read_search_rules(root)))
    return found[0]


def read_search_rules(root: Field) -> SearchRules:
    """The rules at a value of a file; no rules where it has a mistake."""
    told = len(root.problems)
    record = root.record((*KINDS, "ties"), "a mapping with weights, activations, ties")
    places: dict[str, str] = {}
    by_kind: dict[TensorKind, dict[str, int | tuple[int, ...]]] = {kind: {} for kind in KINDS}
    for kind, rules in by_kind.items():
        field = record.optional(kind)
        for name, value in field.entries("a mapping from names to bits") if field is not None else []:
            word = name.text_or_empty()
            rules[word] = _read_bits(value)
            places[f"{kind}.{word}"] = name.where
    ties = []
    ties_field = record.optional("ties")
    for i, item in enumerate(ties_field.items("a list of ties") if ties_field is not None else []):
        ties.append(_read_tie(item))
        places[f"ties[{i}]"] = item.where
    if len(root.problems) > told:
        return SearchRules()
    return SearchRules(weights=by_kind["weights"], activations=by_kind["activations"], ties=ties, places=places)


def _read_bits(value: Field) -> int | tuple[int, ...]:
    if not value.is_sequence:
        if value.is_text:
            return value.integer(maximum=MAX_BITS)
        value.expected(_ONE_OR_MORE)
        return ()
    bits = tuple(item.integer(maximum=MAX_BITS) for item in value.items())
    if not bits or len(set(bits)) != len(bits):
        value.expected(f"different {_ONE_OR_MORE}")
    return bits


def _read_tie(item: Field) -> dict[TensorKind, tuple[str, ...]]:
    record = item.record(KINDS, "a mapping with weights, activations: lists of layers and of edges")
    lists = {kind: record.optional(kind) for kind in KINDS}
    named = {kind: tuple(n.name() for n in f.items("a list of names")) for kind, f in lists.items() if f is not None}
    if item.is_mapping and not named:
        item.expected("layers under `weights`, edges under `activations`, or both")
    return named
