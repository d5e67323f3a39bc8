"""Where every pJ of an accelerator is from: one entry for each energy that can enter a cost, beside every report."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from quantloom._core import Arch, Arithmetic, Level

__all__ = ["EnergySource", "energy_sources", "energy_sources_json"]

NOT_SAID = "no source given"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySource:
    """One energy. component: a level or the arithmetic units. unit: of the number, such as `pJ per block access`.

    source: in the words of the accelerator file, of the energy table or of the estimator.
    """

    component: str
    action: str
    energy_pj: float
    unit: str
    source: str


def energy_sources(arch: Arch) -> list[EnergySource]:
    """Every energy of the accelerator that is not 0 or is read, fill, update or MAC; levels from DRAM inwards."""
    found = [entry for level in reversed(arch.levels) for entry in _of_level(level, arch.source)]
    unit = arch.arithmetic
    found.append(_entry(unit, "mac", unit.energy_pj, "pJ per multiply-accumulate", unit.energy_source))
    if unit.mac_table is not None:
        least, most = min(unit.mac_table.energy_pj), max(unit.mac_table.energy_pj)
        source = f"{unit.energy_source}, by the bits of the operands: {least:.4g} to {most:.4g} pJ"
        found[-1] = _entry(unit, "mac", unit.energy_pj, "pJ per multiply-accumulate", source)
    return found + _rest(unit, {"leak": unit.leak_energy_pj, "idle": unit.idle_energy_pj}, arch.source)


def energy_sources_json(arch: Arch) -> list[dict[str, object]]:
    """The same as plain values."""
    return [asdict(entry) for entry in energy_sources(arch)]


def _of_level(level: Level, source: str) -> list[EnergySource]:
    e, unit = level.energy, "pJ per block access"
    main = [
        _entry(level, "read", e.read_pj, unit, e.read_source),
        _entry(level, "fill", e.fill_pj, unit, e.fill_source),
        _entry(level, "update", e.update_pj, unit, e.update_source),
    ]
    rest = {
        "address": level.address_energy_pj or 0.0,
        "hop": level.hop_energy_pj,
        "router": level.router_energy_pj,
        "adder": level.adder_energy_pj,
        "leak": level.leak_energy_pj,
        "idle": level.idle_energy_pj,
    }
    return main + _rest(level, rest, source)


_UNITS = {
    "address": "pJ per address",
    "hop": "pJ per word and hop",
    "router": "pJ per word and router",
    "adder": "pJ per addition",
    "leak": "pJ per cycle and instance in use",
    "idle": "pJ per cycle and instance not in use",
}


def _rest(unit: Level | Arithmetic, energies: dict[str, float], source: str) -> list[EnergySource]:
    """The energies beside those of accesses; they have no source of their own, so the accelerator's stands in."""
    return [_entry(unit, action, pj, _UNITS[action], source) for action, pj in energies.items() if pj]


def _entry(part: Level | Arithmetic, action: str, energy_pj: float, unit: str, source: str) -> EnergySource:
    return EnergySource(component=part.name, action=action, energy_pj=energy_pj, unit=unit, source=source or NOT_SAID)
