"""Numbers as people read them: SI prefixes, grouped digits, shares in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["EnergyUnit", "bytes_text", "count_text", "edp_text", "energy_text", "energy_unit", "percent", "plural"]

_PREFIXES: Final = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))


class EnergyUnit:
    """A unit for a whole column of energies. name: e.g. "µJ"; its size in pJ."""

    def __init__(self, name: str, pj: float) -> None:
        self.name = name
        self._pj = pj

    def text(self, energy_pj: float) -> str:
        """The number without the unit, to four significant digits (none below a ten-thousandth)."""
        if not math.isfinite(energy_pj):
            return "-"
        value = energy_pj / self._pj
        decimals = 3 - math.floor(math.log10(abs(value))) if value else 0
        return f"{value:,.{min(max(decimals, 0), 4)}f}"


def energy_unit(energies_pj: Sequence[float]) -> EnergyUnit:
    """The unit in which the largest of the energies has one to three digits in front of the point."""
    largest = max((e for e in energies_pj if math.isfinite(e)), default=0.0)
    pj, name = next(((pj, name) for pj, name in _PREFIXES if largest >= pj), (1.0, "pJ"))
    return EnergyUnit(name, pj)


def energy_text(energy_pj: float) -> str:
    """An energy with the unit that suits it: `12.34 µJ`."""
    unit = energy_unit([energy_pj])
    return f"{unit.text(energy_pj)} {unit.name}"


def edp_text(edp_pj_cycles: float) -> str:
    """An energy-delay product in pJ*cycles, without the unit: `1.234e+13`."""
    return f"{edp_pj_cycles:.3e}" if math.isfinite(edp_pj_cycles) else "-"


def count_text(count: float) -> str:
    """A count with grouped digits: `1,234,567`; fractions to two digits, nothing that is not finite."""
    if not math.isfinite(count):
        return "-"
    return f"{count:,.0f}" if count == int(count) else f"{count:,.2f}"


def percent(share: float) -> str:
    """A share of 1 as `12.3 %`."""
    return f"{100 * share:.1f} %"


def bytes_text(bits: float) -> str:
    """An amount of memory: `100 KiB`, `28 B`."""
    size = bits / 8
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} GiB"


def plural(count: int, noun: str) -> str:
    """`1 layer`, `2 layers`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
