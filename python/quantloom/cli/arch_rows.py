"""The rows of an accelerator's drawing: what `quantloom show arch --svg` draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantloom.cli.units import bytes_text
from quantloom.report.arch_drawing import ArchRow, TensorState

if TYPE_CHECKING:
    from quantloom._core import Arch, Level

__all__ = ["arch_rows"]

_CONV_TENSORS = ("Weights", "Inputs", "Outputs")


def arch_rows(arch: Arch) -> tuple[list[ArchRow], list[str]]:
    """The rows from DRAM inwards, and the sources that their energies refer to as [1], [2], ..."""
    sources: dict[str, int] = {}
    rows = [_level_row(arch, i, sources) for i in reversed(range(arch.num_levels))]
    unit = arch.arithmetic
    facts = [f"{unit.word_bits}-bit operands"]
    if unit.mac_table is not None:
        fastest = max(macs / cycles for macs, cycles in unit.mac_table.rate)
        facts.append(f"energy and speed by bits, up to {fastest:g} in a cycle")
    if unit.psum_bits:
        facts.append(f"partial sums of {unit.psum_bits} bits")
    energies = [f"{unit.energy_pj:.4g} pJ a multiply-accumulate {_mark(unit.energy_source, sources)}"]
    rows.append(
        ArchRow(
            name=unit.name,
            instances_x=unit.mesh_x,
            instances_y=unit.mesh_y,
            facts=facts,
            energies=[*energies, *_area(unit.area_um2)],
            tensors={},
            fanout="",
        )
    )
    return rows, list(sources)


def _level_row(arch: Arch, i: int, sources: dict[str, int]) -> ArchRow:
    level = arch.levels[i]
    x, y = arch.fanout_x(i), arch.fanout_y(i)
    fanout = " and ".join(f"{n} along {axis}" for n, axis in ((x, "x"), (y, "y")) if n > 1)
    e = level.energy
    energies = [f"read {e.read_pj:.4g} pJ {_mark(e.read_source, sources)}"]
    if e.fill_pj == e.update_pj and e.fill_source == e.update_source:
        energies[0] += f", write {e.fill_pj:.4g} pJ {_mark(e.fill_source, sources)}"
    else:
        fill, update = _mark(e.fill_source, sources), _mark(e.update_source, sources)
        energies.append(f"fill {e.fill_pj:.4g} pJ {fill}, update {e.update_pj:.4g} pJ {update}")
    return ArchRow(
        name=level.name,
        instances_x=level.mesh_x,
        instances_y=level.mesh_y,
        facts=_facts(level),
        energies=[*energies, *_area(level.area_um2)],
        tensors=_tensors(arch, level.name),
        fanout=fanout,
        is_dram=level.is_dram,
    )


def _facts(level: Level) -> list[str]:
    words = f"{level.word_bits}-bit words" + (f", {level.block_words} an access" if level.block_words > 1 else "")
    size = "unlimited" if level.capacity_words is None else bytes_text(level.capacity_words * level.word_bits)
    facts = [f"{size}, {words}"]
    rates = (("read", level.read_bandwidth), ("write", level.write_bandwidth), ("in all", level.shared_bandwidth))
    known = [f"{what} {rate:g}" for what, rate in rates if rate is not None]
    if known:
        facts.append(f"{', '.join(known)} {'bits' if level.bandwidth_in_bits else 'words'} a cycle")
    more = [
        *([f"packing {level.packing}"] if level.packing is not None else []),
        *([f"clusters of {level.cluster_size}"] if level.cluster_size > 1 else []),
        *(["neighbours forward"] if level.forwarding else []),
        *(["no multicast"] if not level.multicast else []),
        *(["no adders in the network"] if not level.reduction else []),
    ]
    return [*facts, *([", ".join(more)] if more else [])]


def _tensors(arch: Arch, level: str) -> dict[str, TensorState]:
    """What constraints say about each tensor at a level; DRAM-most levels keep what is not said."""
    named = [tensor for c in arch.constraints for tensor in (*c.keep, *c.bypass)]
    states: dict[str, TensorState] = {}
    for tensor in dict.fromkeys((*_CONV_TENSORS, *named)) if set(named) <= set(_CONV_TENSORS) else dict.fromkeys(named):
        here = [c for c in arch.constraints if c.level == level]
        is_outermost = level == arch.levels[-1].name
        if is_outermost or any(tensor in c.keep for c in here):
            states[tensor] = "kept"
        else:
            states[tensor] = "bypassed" if any(tensor in c.bypass for c in here) else "searched"
    return states


def _mark(source: str, sources: dict[str, int]) -> str:
    return f"[{sources.setdefault(source or 'no source given', len(sources) + 1)}]"


def _area(area_um2: float) -> list[str]:
    digits = 0 if area_um2 >= 1000 else 2
    return [f"area {area_um2:,.{digits}f} µm² each"] if area_um2 else []
