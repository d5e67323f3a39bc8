"""Operators beside the layers in the report of `quantloom map`: what they move, and its price if it is charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from quantloom.cli.output import Column, TextTable, wrapped
from quantloom.cli.units import count_text, energy_text, energy_unit, plural

if TYPE_CHECKING:
    from quantloom.mapper.operator_traffic import OperatorTraffic

__all__ = ["operator_lines", "operators_json"]


def operator_lines(traffic: Sequence[OperatorTraffic], *, is_charged: bool) -> list[str]:
    """One line on what is not charged, or a table of what each operator costs and the total."""
    if not traffic:
        return []
    moved = sum(each.elements_read + each.elements_written for each in traffic)
    what = f"{count_text(moved)} elements are moved by {plural(len(traffic), 'operator')} beside the layers"
    if not is_charged:
        return wrapped(
            f"operators    {what}, which is in none of these figures; --charge-operators prices them", hang=13
        )
    unit = energy_unit([each.energy_pj for each in traffic])
    titles = ("bits", "elements read", "written", "accesses read", "written", f"energy {unit.name}")
    table = TextTable(
        columns=[Column(title="operator"), *(Column(title=title, align="right") for title in titles)], tail_title="kind"
    )
    for each in traffic:
        counts = each.bits, each.elements_read, each.elements_written, each.reads, each.writes
        kind = each.kind if each.treatment == "traffic" else f"{each.kind} ({each.treatment})"
        table.add(each.name, *(f"{count:,}" for count in counts), unit.text(each.energy_pj), tail=kind)
    total = sum(each.energy_pj for each in traffic)
    level = traffic[0].level
    said = (
        f"operators    {energy_text(total)} beside the energy of the layers: {what}, each charged as read from and "
        f"written to {level}, at the widest bits of its edges"
    )
    return [*wrapped(said, hang=13), "", *table.lines()]


def operators_json(traffic: Sequence[OperatorTraffic], *, is_charged: bool) -> dict[str, object]:
    """Every operator that moves elements; energies are there if they are charged."""
    rows = [asdict(each) for each in traffic]
    if not is_charged:
        rows = [{key: value for key, value in row.items() if key not in _PRICES} for row in rows]
        return {"operators_charged": False, "operators": rows}
    total = sum(each.energy_pj for each in traffic)
    return {"operators_charged": True, "operators_energy_pj": total, "operators": rows}


_PRICES = ("level", "reads", "writes", "energy_pj")
