"""A mapping and its cost as plain values for files: loops and tiles of every level, and where energy and cycles go."""

from __future__ import annotations

from quantloom._core import Arch, Cost, LevelCost, Mapping, Workload

__all__ = ["breakdown_json", "mapping_json", "tile_shapes"]


def mapping_json(mapping: Mapping, arch: Arch) -> list[dict[str, object]]:
    """The levels from DRAM inwards, as a mapping file writes them."""
    return [
        {
            "level": level.name,
            "temporal": [list(loop) for loop in here.temporal],
            "spatial": {"x": [list(loop) for loop in here.spatial_x], "y": [list(loop) for loop in here.spatial_y]},
            "keep": list(here.keep),
        }
        for level, here in zip(reversed(arch.levels), reversed(mapping.levels), strict=True)
    ]


def tile_shapes(mapping: Mapping, arch: Arch, workload: Workload) -> dict[str, dict[str, tuple[int, ...]]]:
    """By level and kept tensor: the extent of the tile along each rank, in the order of the workload's ranks."""
    tensors = {tensor.name: tensor for tensor in workload.tensors}
    inside = dict.fromkeys(workload.dims, 1)
    shapes = {}
    for level, here in zip(arch.levels, mapping.levels, strict=True):
        for dim, bound in (*here.temporal, *here.spatial_x, *here.spatial_y):
            inside[dim] *= bound
        shapes[level.name] = {
            name: tuple(1 + sum((inside[dim] - 1) * step for dim, step in rank) for rank in tensors[name].ranks)
            for name in here.keep
        }
    return shapes


def breakdown_json(cost: Cost, mapping: Mapping, arch: Arch, workload: Workload) -> dict[str, object]:
    """Totals and, for each level from DRAM inwards, cycles, energies and tensors.

    Words are of one instance, energies in pJ over all instances; energies of tensors, networks, leakage and arithmetic
    add up to the total. limited_by: the slowest level, None if the cycles are those of the arithmetic.
    """
    shapes = tile_shapes(mapping, arch, workload)
    return {
        "energy_pj": cost.energy_pj,
        "latency_cycles": cost.cycles,
        "compute_cycles": cost.compute_cycles,
        "limited_by": cost.limiting_level,
        "utilization": cost.utilization,
        "macs": cost.macs,
        "arithmetic_energy_pj": cost.arithmetic_energy_pj,
        "arithmetic_leak_energy_pj": cost.arithmetic_leak_energy_pj,
        "levels": [
            {
                "level": level.name,
                "capacity_words": level.capacity_words,
                "latency_cycles": cost.levels[level.name].cycles,
                "network_energy_pj": cost.levels[level.name].network_energy_pj,
                "leak_energy_pj": cost.levels[level.name].leak_energy_pj,
                "tensors": _tensors(cost.levels[level.name], shapes[level.name]),
            }
            for level in reversed(arch.levels)
        ],
    }


def _tensors(level: LevelCost, shapes: dict[str, tuple[int, ...]]) -> dict[str, dict[str, object]]:
    return {
        name: {
            "tile": list(shapes[name]),
            "utilized_words": part.utilized_words,
            "stored_bits": part.stored_bits,
            "reads_words": part.reads,
            "fills_words": part.fills,
            "updates_words": part.updates,
            "energy_pj": part.energy_pj + part.address_energy_pj,
        }
        for name, part in level.tensors.items()
        if part.kept
    }
