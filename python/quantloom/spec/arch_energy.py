"""The `energy_pj` of accelerator files: numbers with their source, or the name of an estimator that works them out.

energy_pj: {read: 60, write: 65, source: "post-layout, 28 nm"}
energy_pj: {estimator: analytic, node_nm: 28, kind: regfile}     # of a level
energy_pj: {estimator: analytic, node_nm: 28}                    # of the arithmetic units
"""

from __future__ import annotations

from dataclasses import dataclass

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.estimate import Estimator, MacQuery, StorageKind, StorageQuery, find_estimator
from quantloom.spec.reader import Field, Record

__all__ = ["ENERGY_KEYS", "MAC_ENERGY_KEYS", "LevelEnergy", "read_level_energy", "read_mac_energy"]

ENERGY_KEYS = (
    *("read", "write", "fill", "update", "address", "hop", "router", "adder", "leak_per_cycle", "idle_per_cycle"),
    *("source", "estimator", "node_nm", "kind", "dram_type"),
)
MAC_ENERGY_KEYS = ("mac", "leak_per_cycle", "idle_per_cycle", "source", "estimator", "node_nm")
_KINDS: tuple[StorageKind, ...] = ("sram", "regfile", "dram")
_GIVEN = ("read", "write", "fill", "update", "mac", "source")
_ESTIMATED = ("node_nm", "kind", "dram_type")
_DEFAULT_NODE_NM = 45.0
_WHAT = "where the energies come from: text, or text for each of read, write (or fill and update)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelEnergy:
    """Energies of block accesses; area_um2: of one instance, as estimated (0: not estimated)."""

    access: _core.AccessEnergy
    area_um2: float


def read_level_energy(energy: Record | None, *, width_bits: int, rows: int, cluster: int, is_dram: bool) -> LevelEnergy:
    """Energies of one block access of `width_bits`; `write` stands for both fill and update."""
    if energy is None:
        return LevelEnergy(access=_core.AccessEnergy(read_pj=0.0, fill_pj=0.0, update_pj=0.0), area_um2=0.0)
    if "estimator" in energy:
        return _estimate_level(energy, width_bits=width_bits, rows=rows, cluster=cluster, is_dram=is_dram)
    _refuse(energy, _ESTIMATED)
    pj = {"read": 0.0, "fill": 0.0, "update": 0.0}
    for action in pj:
        key = "write" if action != "read" and "write" in energy else action
        found = energy.required(key, "pJ of one block access (`write` gives both fill and update)")
        pj[action] = 0.0 if found is None else found.number()
        twice = energy.optional(action)
        if key == "write" and twice is not None:
            twice.fail("given beside `write`, which stands for it; expected `write`, or `fill` and `update`")
    source = _read_sources(energy)
    access = _core.AccessEnergy(
        read_pj=pj["read"],
        fill_pj=pj["fill"],
        update_pj=pj["update"],
        read_source=source["read"],
        fill_source=source["fill"],
        update_source=source["update"],
    )
    return LevelEnergy(access=access, area_um2=0.0)


def read_mac_energy(energy: Record, word_bits: int) -> tuple[float, str, float]:
    """(pJ of one multiply-accumulate, its source, estimated um2 of one unit or 0)."""
    estimator = _find(energy)
    if estimator is not None:
        try:
            found = estimator.mac(MacQuery(bits=word_bits, node_nm=_node_nm(energy)))
            return found.energy_pj, found.source, found.area_um2 or 0.0
        except SpecError as error:
            energy.owner.fail(error.message, error.hint)
    if "estimator" in energy:
        return 0.0, "", 0.0
    _refuse(energy, ("node_nm",))
    mac = energy.required("mac", "pJ of one multiply-accumulate")
    source = energy.required("source", "where the energy comes from, as text")
    text = "" if source is None else source.text("where the energy comes from, as text")
    return 0.0 if mac is None else mac.number(), text, 0.0


def _estimate_level(energy: Record, *, width_bits: int, rows: int, cluster: int, is_dram: bool) -> LevelEnergy:
    estimator = _find(energy)
    kind_field, dram_type = energy.optional("kind"), energy.optional("dram_type")
    kind: StorageKind = "dram" if is_dram else "sram"
    if kind_field is not None:
        word = kind_field.choice(_KINDS, "kind of storage")
        kind = next(known for known in _KINDS if known == word)
        if (kind == "dram") != is_dram:
            kind_field.fail(f"kind {word} does not go with the technology, expected {'dram' if is_dram else 'sram'}")
    query = StorageQuery(
        kind=kind,
        width_bits=width_bits,
        rows=rows,
        node_nm=_node_nm(energy),
        cluster=cluster,
        dram_type="LPDDR4" if dram_type is None else dram_type.text("a type of DRAM, such as LPDDR4"),
    )
    nothing = LevelEnergy(access=_core.AccessEnergy(read_pj=0.0, fill_pj=0.0, update_pj=0.0), area_um2=0.0)
    if estimator is None:
        return nothing
    if not rows and kind != "dram":
        energy.owner.fail("an unlimited level has no size to estimate from, expected energies in pJ")
        return nothing
    try:
        found = estimator.storage(query)
    except SpecError as error:
        energy.owner.fail(error.message, error.hint)
        return nothing
    access = _core.AccessEnergy(
        read_pj=found.read_pj,
        fill_pj=found.write_pj,
        update_pj=found.write_pj,
        read_source=found.source,
        fill_source=found.source,
        update_source=found.source,
    )
    return LevelEnergy(access=access, area_um2=found.area_um2 or 0.0)


def _find(energy: Record) -> Estimator | None:
    """The estimator that is named, None if there is none or it cannot be used."""
    field = energy.optional("estimator")
    if field is None:
        return None
    for key in _GIVEN:
        given = energy.optional(key)
        if given is not None:
            given.fail("given beside `estimator`, expected one of the two")
    try:
        return find_estimator(field.text("the name of an estimator"))
    except SpecError as error:
        field.fail(error.message, error.hint)
        return None


def _node_nm(energy: Record) -> float:
    found = energy.optional("node_nm")
    return _DEFAULT_NODE_NM if found is None else found.number(above=True)


def _refuse(energy: Record, keys: tuple[str, ...]) -> None:
    for key in keys:
        found = energy.optional(key)
        if found is not None:
            found.fail("given without `estimator`, which it is for")


def _read_sources(energy: Record) -> dict[str, str]:
    """Where each energy comes from: one text for all, or a mapping with the actions as keys."""
    actions = ("read", "fill", "update")
    found: Field | None = energy.required("source", _WHAT)
    if found is None:
        return dict.fromkeys(actions, "")
    if not found.is_mapping:
        return dict.fromkeys(actions, found.text(_WHAT))
    texts = found.record(("read", "write", "fill", "update"))
    sources = {}
    for action in actions:
        key = "write" if action != "read" and action not in texts else action
        text = texts.required(key, "where this energy comes from")
        sources[action] = "" if text is None else text.text("where this energy comes from")
    return sources
