"""Core against oracle on one case: integers equal, energies to 1e-12 relative, and capacity to the last word."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from quantloom import _core

from .cases import core_arch, core_mapping, core_workload
from .prices import Priced, Stored, simulate
from .records import Case, Tensor


def same(ours: float, theirs: float) -> bool:
    return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=0.0)


def differences(case: Case) -> list[str]:
    """What the core computes otherwise than the oracle, in words; empty if they agree."""
    oracle = simulate(case)
    needed = words_needed(case, oracle)
    workload, mapping = core_workload(case), core_mapping(case)
    options: dict[str, Any] = {"model": "default", "packing": case.packing, "psum_bits": case.psum_bits or 0}
    options["bits"] = case.bits
    found = []
    capacities = {at: words for at, words in needed.items() if words > 0}
    for at, words in capacities.items():
        if words == 1:
            continue
        fit = _core.check_fit(core_arch(case, capacities | {at: words - 1}), workload, mapping, **options)
        if fit.fits or (fit.level, fit.need) != (at, words):
            found.append(f"level {at}: {words} words needed, with one less: {fit.message or 'fits'}")
    cost = _core.evaluate(core_arch(case, capacities), workload, mapping, **options)
    return found + [f"{where}: core {ours}, oracle {theirs}" for where, ours, theirs in compare(case, cost, oracle)]


def words_needed(case: Case, oracle: Priced) -> dict[int, int]:
    return {
        at: sum(part.words for (where, name), part in oracle.stored.items() if where == at and name in level.keep)
        for at, level in enumerate(case.levels)
    }


def compare(case: Case, cost: _core.Cost, oracle: Priced) -> Iterator[tuple[str, Any, Any]]:
    tied = {tensor.name for tensor in case.tensors if has_tied_ranks(tensor)}
    for (at, name), part in oracle.stored.items():
        level = case.levels[at]
        found = compare_tensor(cost.levels[level.name], name, name in level.keep, name in tied, part)
        yield from ((f"{level.name}.{name}.{field}", ours, theirs) for field, ours, theirs in found)
    for at, level in enumerate(case.levels):
        if cost.levels[level.name].cycles != oracle.level_cycles[at]:
            yield f"{level.name}.cycles", cost.levels[level.name].cycles, oracle.level_cycles[at]
    if cost.compute_cycles != oracle.compute_cycles:
        yield "compute cycles", cost.compute_cycles, oracle.compute_cycles
    if cost.cycles != oracle.cycles:
        yield "cycles", cost.cycles, oracle.cycles
    if not same(cost.energy_pj, oracle.energy_pj):
        yield "energy", cost.energy_pj, oracle.energy_pj


def has_tied_ranks(tensor: Tensor) -> bool:
    dims = [dim for rank in tensor.ranks for dim, _ in rank]
    return len(set(dims)) < len(dims)


def compare_tensor(level: Any, name: str, kept: bool, tied: bool, part: Stored) -> Iterator[tuple[str, Any, Any]]:
    ours, network, counts = level.tensors[name], level.network[name], part.counts
    integers = {
        "ingresses": (network.ingresses, part.ingresses),
        "spatial_reductions": (network.spatial_reductions, counts.additions),
        "link_transfers": (network.link_transfers, part.links),
    }
    if kept:
        integers |= {
            "tile": (ours.tile_elements, counts.tile),
            "words": (ours.utilized_words, part.words),
            "partial": (ours.holds_partial_sums, part.partial),
            "read_elements": (ours.read_elements, counts.reads),
            "fill_elements": (ours.fill_elements, counts.fills),
            "update_elements": (ours.update_elements, counts.updates),
            "final_update_elements": (ours.final_update_elements, counts.final_updates),
            "reads": (ours.reads, part.reads),
            "fills": (ours.fills, part.fills),
            "updates": (ours.updates, part.updates),
        }
        if not tied:  # else the core reports the box around what passes
            integers["distinct"] = ours.partition_elements, counts.distinct
    for field, (core, oracle) in integers.items():
        if core != oracle:
            yield field, core, oracle
    energies: dict[str, tuple[float, float]] = {
        "energy": (ours.energy_pj + ours.address_energy_pj, part.energy_pj),
        "network energy": (network.energy_pj, part.network_pj),
    }
    for field, (core_pj, oracle_pj) in energies.items():
        if not same(core_pj, oracle_pj):
            yield field, core_pj, oracle_pj
