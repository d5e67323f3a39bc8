"""The mapper's results in the store: what a result depends on, and how it is written down.

Left out of the keys, as nothing depends on them: names of accelerators, levels and layers, the sources of energies,
areas, and the order in which files list constraints. The order of dims and tensors stays in: it breaks ties.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from quantloom import _core
from quantloom.store.database import Record, Store
from quantloom.store.keys import core_code, key_of

__all__ = ["KIND", "Question", "TableEntry", "recall", "remember"]

KIND: Final = "mapping"

_LEVEL_WORDS = ("name", "energy", "area_um2")  # of no consequence, or written out below
_ARITHMETIC_WORDS = ("name", "energy_source", "area_um2", "mac_table")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """The best mapping of a layer at one combination of bits: energy (pJ), cycles.

    mapping: None if nothing fits or was found; energy and cycles are then infinite. exhausted: the mapping is the
    optimum of its mapspace. lower_bound: no mapping of the space has a smaller objective. refusal: why the answer is
    not a proven one though no budget was given; empty otherwise.
    """

    energy_pj: float
    cycles: float
    mapping: _core.Mapping | None
    exhausted: bool
    lower_bound: float
    refusal: str = ""

    @classmethod
    def of(cls, found: _core.Optimum) -> TableEntry:
        """What the core found."""
        certificate = found.certificate
        return cls(
            energy_pj=found.energy_pj if found.found else math.inf,
            cycles=found.cycles if found.found else math.inf,
            mapping=found.mapping if found.found else None,
            exhausted=certificate.exhausted,
            lower_bound=certificate.lower_bound,
            refusal=found.refusal,
        )


class Question:
    """What the mapper is asked: everything but the bits, which make the last part of a key.

    settings: the combinations of bits that are solved together. is_joint: the result at one of them may depend on the
    others: under a budget, and in spaces whose ties are broken by the order of the search. Only then they count.
    """

    def __init__(
        self,
        arch: _core.Arch,
        workload: _core.Workload,
        settings: Sequence[Mapping[str, int]],
        *,
        objective: str,
        model: str,
        packing: str,
        psum_bits: int,
        selection: str,
        budget: int,
    ) -> None:
        self.is_joint = budget > 0 or selection != "all"
        together = [dict(setting) for setting in settings] if self.is_joint else None
        options = {"objective": objective, "model": model, "packing": packing, "psum_bits": psum_bits}
        self._about = {"arch": arch.name, "layer": _layer_text(workload), **options}
        self._base = key_of(
            {
                "kind": KIND,
                "schema": 1,
                "code": core_code(),
                "arch": _arch_content(arch),
                "workload": _workload_content(workload),
                **options,
                "selection": selection,
                "budget": budget,
                "together": together,
            }
        )

    def key(self, bits: Mapping[str, int]) -> str:
        """The key of the result at these bits."""
        return key_of([self._base, bits])

    def record(self, bits: Mapping[str, int], entry: TableEntry) -> Record:
        """The result at these bits, to be stored."""
        return Record(
            key=self.key(bits), kind=KIND, code=core_code(), about={**self._about, "bits": bits}, value=_encode(entry)
        )


def recall(store: Store, question: Question, settings: Sequence[Mapping[str, int]]) -> dict[int, TableEntry]:
    """The results that are stored, by the position of their setting; of a joint question all of them or none.

    Some of a joint question would leave the rest to be solved without them, which may give other results.
    """
    keys = [question.key(setting) for setting in settings]
    found = store.get(keys)
    mappings: dict[str, _core.Mapping] = {}
    entries = {position: _decode(found[key], mappings) for position, key in enumerate(keys) if key in found}
    known = {position: entry for position, entry in entries.items() if entry is not None}
    return known if len(known) == len(keys) or not question.is_joint else {}


def remember(
    store: Store, question: Question, results: Mapping[int, TableEntry], settings: Sequence[Mapping[str, int]]
) -> None:
    """Store results, given by the position of their setting."""
    store.put([question.record(settings[position], entry) for position, entry in results.items()])


def _encode(entry: TableEntry) -> dict[str, object]:
    finite = {"energy_pj": entry.energy_pj, "cycles": entry.cycles, "lower_bound": entry.lower_bound}
    levels = None
    if entry.mapping is not None:  # a text of its own, which is read once for all the bits that share it
        loops = [[here.temporal, here.spatial_x, here.spatial_y, here.keep] for here in entry.mapping.levels]
        levels = json.dumps(loops, separators=(",", ":"))
    return {
        **{name: value if math.isfinite(value) else None for name, value in finite.items()},
        "exhausted": entry.exhausted,
        "mapping": levels,
        "refusal": entry.refusal,
    }


def _decode(value: Any, mappings: dict[str, _core.Mapping]) -> TableEntry | None:  # Any: JSON of a file
    """A stored value; None if it is none of ours. mappings: made before, by their text: most bits share a few."""
    try:
        numbers = {
            name: math.inf if value[name] is None else float(value[name])
            for name in ("energy_pj", "cycles", "lower_bound")
        }
        text, mapping = value["mapping"], None
        if text is not None:
            if text not in mappings:
                mappings[text] = _read_mapping(text)
            mapping = mappings[text]
        return TableEntry(**numbers, mapping=mapping, exhausted=bool(value["exhausted"]), refusal=str(value["refusal"]))
    except (KeyError, TypeError, ValueError):
        return None


def _read_mapping(text: str) -> _core.Mapping:
    return _core.Mapping(
        levels=[
            _core.LevelMapping(temporal=_loops(t), spatial_x=_loops(x), spatial_y=_loops(y), keep=keep)
            for t, x, y, keep in json.loads(text)
        ]
    )


def _loops(pairs: Sequence[Sequence[Any]]) -> list[tuple[str, int]]:
    return [(dim, bound) for dim, bound in pairs]


def _layer_text(workload: _core.Workload) -> str:
    return " ".join(f"{dim}{bound}" for dim, bound in workload.dims.items() if bound > 1) or "one multiplication"


def _workload_content(workload: _core.Workload) -> object:
    return {
        "dims": [[dim, bound] for dim, bound in workload.dims.items()],
        "tensors": [[tensor.name, tensor.ranks, tensor.is_output] for tensor in workload.tensors],
    }


def _arch_content(arch: _core.Arch) -> object:
    position = {level.name: i for i, level in enumerate(arch.levels)}
    constraints = [
        {
            **_properties(constraint, ("where", "level", "factors", "keep", "bypass")),
            "level": position.get(constraint.level, constraint.level),
            "factors": sorted(list(factor) for factor in constraint.factors),
            "keep": sorted(constraint.keep),
            "bypass": sorted(constraint.bypass),
        }
        for constraint in arch.constraints
    ]
    table = arch.arithmetic.mac_table
    return {
        "levels": [
            {
                **_properties(level, _LEVEL_WORDS),
                "energy_pj": [level.energy.read_pj, level.energy.fill_pj, level.energy.update_pj],
            }
            for level in arch.levels
        ],
        "arithmetic": {
            **_properties(arch.arithmetic, _ARITHMETIC_WORDS),
            "mac_table": None if table is None else _properties(table, ()),
        },
        "constraints": sorted(constraints, key=key_of),
        "relax_indivisible_factors": arch.relax_indivisible_factors,
    }


def _properties(thing: object, left_out: Sequence[str]) -> dict[str, Any]:
    """All properties of a record of the core, so that a new one is never forgotten in the keys."""
    names = [name for name, what in vars(type(thing)).items() if isinstance(what, property) and name not in left_out]
    return {name: getattr(thing, name) for name in names}
