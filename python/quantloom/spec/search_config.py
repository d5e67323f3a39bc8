"""The configuration of a search, as `quantloom search CONFIG.yaml` reads it.

    model: mobilenet_v1:width=0.25,input=32,classes=10,channels=1
    arch: eyeriss
    objectives: [error, energy_pj]        # also cycles, edp, sum_edp, weight_bits, peak_activation_bits, bops
    bounds: {weight_bits: 800000}         # upper bounds, in the objectives' units
    preset: paper                         # settings under a name; those in the file count more
    evaluations: 400
    weight_bits: [2, 3, 4, 5, 8]
    output_bits: searched                 # instead of 8
    compare: [memory_only, no_synergy]    # and random: other searches in the same run
    rules: {weights: {first: 8, last: 8}} # see search_rules.py
    accuracy_method: rounded+bn           # instead of switchable+bn, which trains first
    charge_operators: true                # the traffic of pooling, additions, ... counts in the energy

Only `model` and `arch` are needed. All keys are the fields of search/config.py, which says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from os import PathLike
from typing import Any

from quantloom.errors import QuantloomError
from quantloom.joint_search.config import ACCURACY_METHODS, OBJECTIVES, PRESETS, RIVALS, SAMPLERS, SearchConfig
from quantloom.spec.reader import Field, read_document
from quantloom.spec.search_rules import read_search_rules
from quantloom.spec.yaml_nodes import read_text
from quantloom.workload.bits import MAX_BITS

__all__ = ["load_search_config", "parse_search_config"]

SEARCHED = "searched"
_NEEDED = {"model": "the network to quantize", "arch": "the accelerator"}


def load_search_config(path: str | PathLike[str]) -> SearchConfig:
    """The configuration in a file. Raises SpecError with every mistake located."""
    return parse_search_config(read_text(path), str(path))


def parse_search_config(text: str, where: str) -> SearchConfig:
    """The configuration that YAML `text` describes; `where` names the text in messages. Raises SpecError."""
    found: list[SearchConfig | None] = []
    read_document(text, where, lambda root: found.append(_read_root(root)))
    assert found[0] is not None, "a configuration that is missing without a problem"
    return found[0]


def _read_root(root: Field) -> SearchConfig | None:
    record = root.record(["preset", *(f.name for f in fields(SearchConfig))], "a mapping with model, arch and more")
    preset = record.optional("preset")
    defaults = PRESETS[preset.choice(tuple(PRESETS), "preset")] if preset is not None else {}
    for key, what in _NEEDED.items():
        record.required(key, what)
    # the values have the types of SearchConfig's fields, one reader for each; no type can say so of a mapping
    values: dict[str, Any] = {
        key: read(field) for key, read in _READERS.items() if (field := record.optional(key)) is not None
    }
    try:
        return SearchConfig(**{**defaults, **values}) if _NEEDED.keys() <= values.keys() else None
    except QuantloomError as error:
        root.fail(error.message, error.hint)
        return None


def _name(field: Field) -> str:
    return field.name()


def _count(minimum: int) -> Callable[[Field], int]:
    return lambda field: field.integer(minimum=minimum)


def _share(field: Field) -> float:
    value = field.number()
    if value > 1:
        field.expected("a number of at most 1")
    return value


def _objectives(field: Field) -> tuple[str, ...]:
    return tuple(item.choice(OBJECTIVES, "objective") for item in field.items(f"a list of {', '.join(OBJECTIVES)}"))


def _rivals(field: Field) -> tuple[str, ...]:
    known = f"a list of {', '.join(RIVALS)}"
    return tuple(item.choice(RIVALS, "search to compare with") for item in field.items(known))


def _bounds(field: Field) -> dict[str, float]:
    record = field.record(OBJECTIVES, "a mapping from objectives to upper bounds")
    bounds = {name: record.optional(name) for name in OBJECTIVES}
    return {name: bound.number(above=True) for name, bound in bounds.items() if bound is not None}


def _bits_list(field: Field) -> tuple[int, ...]:
    return tuple(item.integer(maximum=MAX_BITS) for item in field.items("a list of bit-widths such as [2, 4, 8]"))


def _fixed_bits(field: Field) -> int | None:
    if field.text_or_empty() == SEARCHED:
        return None
    return field.integer(maximum=MAX_BITS)


_READERS: dict[str, Callable[[Field], object]] = {
    "model": _name,
    "arch": _name,
    "data": _name,
    "checkpoint": _name,
    "cost_model": _name,
    "mapping_objective": _name,
    "objectives": _objectives,
    "bounds": _bounds,
    "sampler": lambda field: field.choice(SAMPLERS, "sampler"),
    "evaluations": _count(1),
    "population": _count(2),
    "generations": _count(1),
    "seeds": _count(0),
    "seed": _count(0),
    "weight_bits": _bits_list,
    "activation_bits": _bits_list,
    "input_bits": _fixed_bits,
    "output_bits": _fixed_bits,
    "crossover_probability": _share,
    "mutation_probability": _share,
    "compare": _rivals,
    "promote": _count(0),
    "promote_epochs": _count(1),
    "accuracy_method": lambda field: field.choice(ACCURACY_METHODS, "accuracy method"),
    "switchable_epochs": _count(1),
    "switchable_images": _count(2),
    "rules": read_search_rules,
    "charge_operators": lambda field: field.boolean(),
}
