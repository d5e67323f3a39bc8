"""A cost and a mapping as notebooks show them; the classes of the core call these by name."""

from __future__ import annotations

from quantloom import _core
from quantloom.report.notebook import html_result, html_table

__all__ = ["cost_html", "cost_in_words", "loops_in_words", "mapping_html"]


def cost_html(cost: _core.Cost) -> str:
    """Totals, and for each level, outermost first, its energy by tensor, of its network and lost; they add up."""
    tensors = list(dict.fromkeys(name for level in cost.levels.values() for name in level.tensors))
    rows = []
    for name, level in cost.levels.items():
        parts = [level.tensors[t] for t in tensors]
        energies = [
            *(part.energy_pj + part.address_energy_pj for part in parts),
            level.network_energy_pj,
            level.leak_energy_pj,
            level.energy_pj + level.network_energy_pj,
        ]
        rows.append((name, *(f"{energy_pj:.6g}" for energy_pj in energies), f"{level.cycles:,.0f}"))
    total = cost.arithmetic_energy_pj + cost.arithmetic_leak_energy_pj
    lost = (f"{cost.arithmetic_leak_energy_pj:.6g}", f"{total:.6g}", f"{cost.compute_cycles:,.0f}")
    rows.append(("arithmetic", *[""] * (len(tensors) + 1), *lost))
    notes = [f"{cost_in_words(cost)}; {100 * cost.utilization:.3g} % of the arithmetic units at work"]
    titles = ("level", *tensors, "network", "leakage", "energy, pJ", "cycles needed")
    return html_result("Cost", notes, html_table(titles, rows))


def mapping_html(mapping: _core.Mapping) -> str:
    """The loops of each level, outermost first, and the tensors it keeps. A mapping knows no names of levels."""
    rows = [
        (str(number), loops_in_words(level), ", ".join(level.keep))
        for number, level in reversed(list(enumerate(mapping.levels)))
    ]
    note = "Levels are numbered from the innermost, 0; to_text(arch, workload) writes the loop nest with their names."
    return html_result("Mapping", [note], html_table(("level", "loops", "keeps"), rows))


def cost_in_words(cost: _core.Cost) -> str:
    """`1.2e+06 pJ, 57,344 cycles (waits for DRAM), EDP 6.9e+10 pJ*cycles`."""
    waits = cost.limiting_level or "arithmetic"
    return f"{cost.energy_pj:.6g} pJ, {cost.cycles:,.0f} cycles (waits for {waits}), EDP {cost.edp:.6g} pJ*cycles"


def loops_in_words(level: _core.LevelMapping) -> str:
    """`M4 C2 x(Q14)`: temporal loops from outer to inner, then those in space."""
    parts = [" ".join(f"{dim}{bound}" for dim, bound in level.temporal if bound > 1)]
    for axis, loops in (("x", level.spatial_x), ("y", level.spatial_y)):
        text = " ".join(f"{dim}{bound}" for dim, bound in loops if bound > 1)
        parts += [f"{axis}({text})"] if text else []
    return " ".join(part for part in parts if part)
