"""Energies and areas of elements: from energy (ERT) and area (ART) tables of Accelergy, else from an estimator.

An energy is the largest over the arguments of the action, as the reference takes it, and says which action of which
file it is. Where a table is given but has no usable action, the reference's built-in estimate stands in, as there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.estimate import Estimator, MacQuery, StorageEstimate, StorageQuery, find_estimator
from quantloom.spec.reader import Field, show
from quantloom.timeloop.documents import Documents
from quantloom.timeloop.elements import Element

__all__ = ["Energies", "StorageSize"]

# Of each group the first action that the table has.
_READ = ("random_read", "read")
_FILL = ("random_fill", "random_write", "fill", "write")
_UPDATE = ("random_update", "random_write", "update", "write")
_COMPUTE = ("mac_random", "mult_random", "mac", "mult", "compute")
_TABLE_KEYS = ("name", "actions", "area", "primitive_estimation(s)", "primitive_estimations", "arguments", "class")
_SIZES = ("entries", "size", "depth", "memory_depth", "sizeKB", "size_KB")
_DEFAULT_NODE_NM = 45.0
_NODE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:nm)?\s*")
_REGISTER_FILE = re.compile(r"reg|(^|[^a-z])rf([^a-z]|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSize:
    """What an estimator needs to know of a level."""

    word_bits: int
    block_words: int
    cluster_size: int
    capacity_words: int | None
    is_dram: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageEnergies:
    """Energies of block accesses with sources, leakage in pJ per cycle, um2 of an instance."""

    access: _core.AccessEnergy
    leak_pj: float
    area_um2: float


@dataclass(slots=True)
class _Table:
    """The actions of one component: (energy pJ, number of argument combinations) by name."""

    actions: dict[str, tuple[float, int]] = field(default_factory=dict)
    where: str = ""


class Energies:
    """The tables of the documents and the estimator that fills the gaps (analytic unless named)."""

    def __init__(self, documents: Documents, estimator: str) -> None:
        self._documents = documents
        self._tables: dict[str, _Table] = {}
        self._areas: dict[str, float] = {}
        self._has_tables = bool(documents.all("ERT"))
        self.estimator_name = estimator
        for section in documents.all("ERT"):
            for entry in _entries(section):
                self._read_energies(entry)
        for section in documents.all("ART"):
            for entry in _entries(section):
                self._read_area(entry)

    def of_storage(self, element: Element, size: StorageSize) -> StorageEnergies:
        """Energies of a level's block accesses."""
        table = self._table_of(element)
        read, fill, update = (self._of_actions(table, group) for group in (_READ, _FILL, _UPDATE))
        area = self._area_of(element)
        if read is None or fill is None or update is None or (area is None and not self._has_tables):
            estimate = self._estimate_storage(element, size)
            read = read or (estimate.read_pj, estimate.source)
            fill = fill or (estimate.write_pj, estimate.source)
            update = update or (estimate.write_pj, estimate.source)
            area = estimate.area_um2 if area is None else area
        leak = self._of_actions(table, ("leak",))
        return StorageEnergies(
            access=_core.AccessEnergy(
                read_pj=read[0],
                fill_pj=fill[0],
                update_pj=update[0],
                read_source=read[1],
                fill_source=fill[1],
                update_source=update[1],
            ),
            leak_pj=0.0 if leak is None else leak[0],
            area_um2=area or 0.0,
        )

    def of_arithmetic(self, element: Element, word_bits: int) -> tuple[float, str, float, float]:
        """(pJ of one multiply-accumulate, its source, leakage in pJ per cycle, um2 of one unit)."""
        table = self._table_of(element)
        found, area = self._of_actions(table, _COMPUTE), self._area_of(element)
        if found is None or (area is None and not self._has_tables):
            estimator = self._estimator()
            try:
                estimate = estimator.mac(MacQuery(bits=word_bits, node_nm=self._node(element)))
                found = found or (estimate.energy_pj, estimate.source)
                area = estimate.area_um2 if area is None else area
            except SpecError as error:
                element.field.fail(error.message, error.hint)
                found = found or (0.0, "")
        leak = self._of_actions(table, ("leak",))
        return found[0], found[1], 0.0 if leak is None else leak[0], area or 0.0

    def _read_energies(self, entry: Field) -> None:
        record = entry.record(_TABLE_KEYS, "an entry: a mapping with name and actions")
        name, actions = record.required("name", "the component's path"), record.required("actions", "a list of actions")
        if name is None or actions is None:
            return
        table = self._tables.setdefault(_plain_path(name.text()), _Table(where=Path(entry.problems.where).name))
        if table.actions:
            name.fail(f"a second table of {show(name.text_or_empty())}")
        for action in actions.items("a list of actions, each with name and energy"):
            parts = action.record(("name", "arguments", "energy"), "an action: a mapping with name, arguments, energy")
            called, energy = parts.required("name", "the action's name"), parts.required("energy", "pJ of one access")
            if called is None or energy is None:
                continue
            value = energy.number()
            before, count = table.actions.get(called.text_or_empty(), (0.0, 0))
            table.actions[called.text_or_empty()] = (max(before, value), count + 1)

    def _read_area(self, entry: Field) -> None:
        record = entry.record(_TABLE_KEYS, "an entry: a mapping with name and area")
        name, area = record.required("name", "the component's path"), record.required("area", "um2 of one instance")
        if name is not None and area is not None:
            self._areas[_plain_path(name.text())] = area.number()

    def _table_of(self, element: Element) -> _Table | None:
        key = _match(element, self._tables)
        if key is None and self._has_tables:
            self._documents.notes.assume(
                f"{element.name}: not in the energy table, Timeloop's built-in estimate stands in", element.field
            )
        return None if key is None else self._tables[key]

    def _area_of(self, element: Element) -> float | None:
        key = _match(element, self._areas)
        return None if key is None else self._areas[key]

    def _of_actions(self, table: _Table | None, names: Sequence[str]) -> tuple[float, str] | None:
        for name in names if table is not None else ():
            found = None if table is None else table.actions.get(name)
            if found is not None and table is not None:
                rest = f", maximum over {found[1]} argument combinations" if found[1] > 1 else ""
                return found[0], f"ERT:{name} of {table.where}{rest}"
        return None

    def _estimator(self) -> Estimator:
        return find_estimator("timeloop" if self._has_tables else self.estimator_name)

    def _estimate_storage(self, element: Element, size: StorageSize) -> StorageEstimate:
        words = size.word_bits * size.block_words
        is_register_file = _REGISTER_FILE.search(element.class_name.casefold()) is not None
        query = StorageQuery(
            kind="dram" if size.is_dram else "regfile" if is_register_file else "sram",
            width_bits=words * size.cluster_size,
            rows=0 if size.capacity_words is None else -(-size.capacity_words // size.block_words),
            node_nm=self._node(element),
            cluster=size.cluster_size,
            dram_type=element.attributes.text("type") or "LPDDR4",
        )
        try:
            if size.capacity_words is None and not size.is_dram:
                if element.attributes.find(*_SIZES) is not None:  # one that is wrong, which was told
                    return StorageEstimate(read_pj=0.0, write_pj=0.0, area_um2=None, source="")
                message = f"{element.name} has no energies in a table and no size to estimate them from"
                raise SpecError(message, hint="give an ERT file, or the depth")
            return self._estimator().storage(query)
        except SpecError as error:
            element.field.fail(error.message, error.hint)
            return StorageEstimate(read_pj=0.0, write_pj=0.0, area_um2=None, source="")

    def _node(self, element: Element) -> float:
        """Feature size in nm from the attribute `technology`."""
        text = element.attributes.text("technology", "tech")
        match = None if text is None else _NODE.fullmatch(text)
        if match is None and not self._has_tables:
            self._documents.notes.assume(f"{_DEFAULT_NODE_NM:g} nm where no technology is given")
        return _DEFAULT_NODE_NM if match is None else float(match[1])


def _entries(section: Field) -> list[Field]:
    """The tables of an ERT or ART, or of their summaries."""
    record = section.record(("version", "tables", "table_summary"), "a mapping with version and tables")
    found = record.optional("tables") or record.optional("table_summary")
    if found is None:
        section.expected("a mapping with `tables`")
        return []
    return found.items("a list of tables")


def _plain_path(text: str) -> str:
    return re.sub(r"\s", "", text)


def _match(element: Element, known: dict[str, float] | dict[str, _Table]) -> str | None:
    """The entry of an element: by its whole path, else by its name, if only one entry has it."""
    if element.kind == "fanout":
        return None
    if element.path in known:
        return element.path
    named = [path for path in known if re.sub(r"\[[^]]*\]$", "", path).split(".")[-1] == element.name]
    if len(named) > 1:
        element.field.fail(
            f"{len(named)} entries of the energy or area tables may be of {show(element.name)}: {', '.join(named[:4])}",
            f"expected one named {show(element.path)}",
        )
    return named[0] if len(named) == 1 else None
