"""Where the energies of a report are from, and how large the parts are, in a few lines at its foot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantloom.cli.output import wrapped

if TYPE_CHECKING:
    from quantloom._core import Arch, Arithmetic, Level

__all__ = ["source_lines"]


def source_lines(arch: Arch) -> list[str]:
    """One line for each source, with what it gave: `DRAM read 512, write 512 <- X`; then the area where it is known."""
    from quantloom.mapper.energy_sources import energy_sources

    by_source: dict[str, dict[str, list[str]]] = {}
    for entry in energy_sources(arch):
        parts = by_source.setdefault(entry.source, {}).setdefault(entry.component, [])
        parts.append(f"{entry.action} {entry.energy_pj:.4g}")
    lines = ["pJ of one access, and where from:"]
    for source, components in by_source.items():
        numbers = "; ".join(f"{name} {', '.join(parts)}" for name, parts in components.items())
        lines += wrapped(f"  {numbers} <- {source}", hang=4)
    return [*lines, *_area_lines(arch)]


def _area_lines(arch: Arch) -> list[str]:
    """The area of all parts whose area is known, and the parts whose area is not."""
    parts: list[Level | Arithmetic] = [*reversed(arch.levels), arch.arithmetic]
    known = [part for part in parts if part.area_um2]
    if not known:
        return ["area: not given for any part"]
    total = sum(part.area_um2 * part.instances for part in known)
    each = ", ".join(
        f"{part.name} {part.area_um2:,.0f} µm²" + (f" x {part.instances:,}" if part.instances > 1 else "")
        for part in known
    )
    unknown = ", ".join(part.name for part in parts if not part.area_um2)
    rest = f"; not given: {unknown}" if unknown else ""
    return wrapped(f"area {total / 1e6:,.4g} mm²: {each}{rest}", hang=4)
