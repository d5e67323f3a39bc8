"""Where the energies of a report are from, in a few lines at its foot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantloom.cli.output import wrapped

if TYPE_CHECKING:
    from quantloom._core import Arch

__all__ = ["source_lines"]


def source_lines(arch: Arch) -> list[str]:
    """One line for each source, with what it gave: `energies from X: DRAM read 512, write 512`."""
    from quantloom.mapper.energy_sources import energy_sources

    by_source: dict[str, dict[str, list[str]]] = {}
    for entry in energy_sources(arch):
        parts = by_source.setdefault(entry.source, {}).setdefault(entry.component, [])
        parts.append(f"{entry.action} {entry.energy_pj:.4g}")
    lines = ["pJ of one access, and where from:"]
    for source, components in by_source.items():
        numbers = "; ".join(f"{name} {', '.join(parts)}" for name, parts in components.items())
        lines += wrapped(f"  {numbers} <- {source}", hang=4)
    return lines
