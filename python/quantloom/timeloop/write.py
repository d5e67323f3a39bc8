"""quantloom's records as Timeloop v0.3 files: architecture, constraints, energy and area tables, problem, mapping.

Every number is written as it is, so Timeloop (and `parse_timeloop`) reads the same hardware, layer and mapping. What
the format cannot say is returned as notes beside the text; what it cannot hold at all raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingType
from collections.abc import Sequence

from quantloom._core import Arch, Arithmetic, Constraint, Level, LevelMapping, Mapping, Workload
from quantloom.errors import MappingError, SpecError, WorkloadError
from quantloom.spec.arch_text import number
from quantloom.timeloop.problem import CONV_DIMS

__all__ = [
    *("action_line", "check_name", "dump_architecture", "dump_constraints", "dump_mapping", "dump_problem"),
    *("dump_tables", "storage_attributes", "unsaid"),
]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ROOT = "system"


def dump_architecture(arch: Arch) -> str:
    """The `architecture` section: one node with a list of components, from DRAM inwards.

    Raises SpecError for a level whose name Timeloop cannot read.
    """
    check_name(arch)
    lines = ["architecture:", "  version: 0.3", "  subtree:", f"    - name: {_ROOT}", "      local:"]
    for level in reversed(arch.levels):
        lines += _component(level, "DRAM" if level.is_dram else "SRAM", storage_attributes(level))
    lines += _component(arch.arithmetic, "intmac", {"datawidth": str(arch.arithmetic.word_bits)})
    return "\n".join(lines) + "\n"


def check_name(arch: Arch) -> None:
    """Raise SpecError for a level or unit whose name Timeloop cannot read."""
    units: list[Level | Arithmetic] = [*arch.levels, arch.arithmetic]
    for unit in units:
        if _NAME.fullmatch(unit.name) is None:
            message = f"Timeloop cannot read the name {unit.name!r} of {arch.name}, expected letters, digits and _"
            raise SpecError(message, hint="rename it in the architecture file")


def dump_tables(arch: Arch) -> str:
    """The `ERT` and `ART` sections with the energies and areas of the architecture, each with its source behind it."""
    lines = ["ERT:", "  version: 0.3", "  tables:"]
    for level in reversed(arch.levels):
        e = level.energy
        lines += [f"    - name: {_path(level)}", "      actions:"]
        actions = {
            "read": (e.read_pj, e.read_source),
            "fill": (e.fill_pj, e.fill_source),
            "update": (e.update_pj, e.update_source),
        }
        if level.leak_energy_pj:
            actions["leak"] = (level.leak_energy_pj, "")
        lines += [action_line(name, pj, source) for name, (pj, source) in actions.items()]
    unit = arch.arithmetic
    lines += [f"    - name: {_path(unit)}", "      actions:"]
    lines.append(action_line("mac_random", unit.energy_pj, unit.energy_source))
    lines += ["ART:", "  version: 0.3", "  tables:"]
    parts: list[Level | Arithmetic] = [*reversed(arch.levels), unit]
    for part in parts:
        lines.append(f"    - {{name: {_quoted_path(part)}, area: {number(part.area_um2)}}}")
    return "\n".join(lines) + "\n"


def dump_constraints(arch: Arch) -> str:
    """The `architecture_constraints` and `mapspace_constraints` sections; empty lists where there are none."""
    lines = []
    for origin, section in (("architecture", "architecture_constraints"), ("mapspace", "mapspace_constraints")):
        found = [c for c in arch.constraints if c.origin == origin and c.target != "utilization"]
        lines += [f"{section}:", "  targets:" if found else "  targets: []"]
        for constraint in found:
            lines += _target(constraint)
    return "\n".join(lines) + "\n"


def dump_problem(workload: Workload, bits: MappingType[str, int] | None = None, *, version: str = "0.3") -> str:
    """The `problem` section: shape and instance, with `bitwidths` where bits are given.

    version: "0.3", or "0.4" for its way of writing keys.

    Coefficients are Timeloop's Wstride, ... for a convolution, else named after tensor and dim.
    Raises WorkloadError for a name that Timeloop cannot read.
    """
    for name in (*workload.dims, *(tensor.name for tensor in workload.tensors)):
        if _NAME.fullmatch(name) is None:
            message = f"Timeloop cannot read the name {name!r} of {workload.name}, expected letters, digits and _"
            raise WorkloadError(message, hint="rename it in the workload file")
    coefficients: dict[str, int] = {}
    spaces: list[str] = []
    for tensor in workload.tensors:
        spaces += [f"      - name: {tensor.name}", "        projection:"]
        for rank in tensor.ranks:
            terms = []
            for dim, value in rank:
                name = _coefficient(tensor.name, dim, len(rank), tuple(workload.dims))
                if value == 1 and name not in _STANDARD:
                    terms.append(f"[{dim}]")
                else:
                    coefficients[name] = value
                    terms.append(f"[{dim}, {name}]")
            spaces.append(f"          - [{', '.join(terms)}]")
        if tensor.is_output:
            spaces.append(f"        {'read_write' if version == '0.4' else 'read-write'}: true")
    title = re.sub(r"\W", "_", workload.name) or "layer"
    lines = [
        "problem:",
        *(["  version: 0.4"] if version == "0.4" else []),
        "  shape:",
        f'    name: "{title}"',
        f"    dimensions: [{', '.join(workload.dims)}]",
    ]
    lines.append("    coefficients:" if coefficients else "    coefficients: []")
    lines += [f"      - {{name: {name}, default: 1}}" for name in coefficients]
    lines += ["    data_spaces:" if version == "0.4" else "    data-spaces:", *spaces, "  instance:"]
    lines += [f"    {name}: {value}" for name, value in (*workload.dims.items(), *coefficients.items())]
    if bits:
        lines += ["    bitwidths:", *(f"      {tensor}: {width}" for tensor, width in bits.items())]
    return "\n".join(lines) + "\n"


_STANDARD = {"Wstride", "Hstride", "Wdilation", "Hdilation"}
_STANDARD_OF = {"P": "Wstride", "Q": "Hstride", "R": "Wdilation", "S": "Hdilation"}


def _coefficient(tensor: str, dim: str, terms: int, dims: tuple[str, ...]) -> str:
    """Timeloop's own names for the windows of a convolution, which its users know; else one of our making."""
    is_conv = set(CONV_DIMS) <= set(dims) and tensor == "Inputs" and terms == 2
    return _STANDARD_OF[dim] if is_conv and dim in _STANDARD_OF else f"{tensor}_{dim}"


def dump_mapping(mapping: Mapping, arch: Arch, workload: Workload) -> str:
    """The `mapping` section: what every level keeps, then its loops, with every dim's factor.

    Raises MappingError for a level where a dim has loops on both axes, which Timeloop cannot say.
    """
    dims = tuple(workload.dims)
    tensors = [tensor.name for tensor in workload.tensors]
    lines = ["mapping:"]
    for i, (level, here) in reversed(list(enumerate(zip(arch.levels, mapping.levels, strict=True)))):
        bypass = [tensor for tensor in tensors if tensor not in here.keep]
        lines += [
            f"  - target: {level.name}",
            "    type: bypass",
            f"    keep: [{', '.join(here.keep)}]",
            f"    bypass: [{', '.join(bypass)}]",
        ]
        lines += _directive(level.name, "temporal", here.temporal, dims)
        if arch.fanout_x(i) * arch.fanout_y(i) > 1 or here.spatial_x or here.spatial_y:
            lines += _spatial(level.name, here, dims)
    return "\n".join(lines) + "\n"


def unsaid(arch: Arch) -> list[str]:
    """What an architecture says that Timeloop v0.3 has no words for; its own default stands in."""
    notes = []
    for level in arch.levels:
        if level.packing not in (None, "word"):
            notes.append(f"{level.name}: packing {level.packing}; the fork packs whole elements, others do not pack")
        if not (level.multicast and level.reduction and not level.forwarding):
            notes.append(f"{level.name}: what its network can do; Timeloop multicasts, adds up and forwards on links")
        if level.bandwidth_in_bits:
            notes.append(f"{level.name}: bandwidth in bits, written as words of {level.word_bits} bits")
        if level.adder_energy_pj:
            notes.append(f"{level.name}: energy of additions on the network")
        if level.idle_energy_pj:
            notes.append(f"{level.name}: energy of idle instances")
        if level.is_dram and level.capacity_words is not None:
            notes.append(f"{level.name}: its capacity; DRAM has no limit in Timeloop")
    unit = arch.arithmetic
    if unit.mac_table is not None:
        notes.append(f"{unit.name}: energy and speed by bits; every multiply-accumulate costs {unit.energy_pj:g} pJ")
    if unit.psum_bits:
        notes.append(f"{unit.name}: the width of partial sums; they are as wide as the outputs")
    if unit.leak_energy_pj or unit.idle_energy_pj:
        notes.append(f"{unit.name}: leakage and idle energy of the units")
    if any(c.target == "utilization" for c in arch.constraints):
        notes.append("constraints on utilization and parallelism")
    if arch.relax_indivisible_factors:
        notes.append("relax_indivisible_factors: Timeloop stops at a fixed factor that does not divide a bound")
    return notes


def _component(unit: Level | Arithmetic, class_name: str, attributes: MappingType[str, str]) -> list[str]:
    instances = f"[0..{unit.instances - 1}]" if unit.instances > 1 else ""
    mesh = {"meshX": str(unit.mesh_x), "meshY": str(unit.mesh_y)}
    return [
        f'        - name: "{unit.name}{instances}"',
        f"          class: {class_name}",
        "          attributes:",
        *(f"            {key}: {value}" for key, value in {**attributes, **mesh}.items()),
    ]


def storage_attributes(level: Level) -> dict[str, str]:
    """The attributes of a component, by the names that v0.3 files use."""
    attributes = {
        "word-bits": str(level.word_bits),
        "block-size": str(level.block_words),
        "cluster-size": str(level.cluster_size),
        "width": str(level.word_bits * level.block_words * level.cluster_size),
    }
    if level.capacity_words is not None and not level.is_dram:
        attributes["entries"] = str(level.capacity_words)
    unit = level.word_bits if level.bandwidth_in_bits else 1
    rates = {"read": level.read_bandwidth, "write": level.write_bandwidth, "shared": level.shared_bandwidth}
    attributes |= {f"{key}_bandwidth": number(value / unit) for key, value in rates.items() if value is not None}
    if level.address_energy_pj is not None:
        attributes["addr_gen_energy"] = number(level.address_energy_pj)
    if level.hop_energy_pj:
        attributes["energy_per_hop"] = number(level.hop_energy_pj)
    if level.router_energy_pj:
        attributes["router_energy"] = number(level.router_energy_pj)
    return attributes


def _path(unit: Level | Arithmetic) -> str:
    return f"{_ROOT}.{unit.name}" + (f"[0..{unit.instances - 1}]" if unit.instances > 1 else "")


def _quoted_path(unit: Level | Arithmetic) -> str:
    return f'"{_path(unit)}"'


def action_line(name: str, energy_pj: float, source: str) -> str:
    """One action of an energy table, with the source of its energy as a comment."""
    printable = "".join(char if char.isprintable() else " " for char in source)
    comment = f"  # {printable}" if source else ""
    return f"        - {{name: {name}, arguments: {{}}, energy: {number(energy_pj)}}}{comment}"


def _target(constraint: Constraint) -> list[str]:
    lines = [f"    - target: {constraint.level}"]
    if constraint.target == "keep":
        lines += ["      type: bypass", f"      keep: [{', '.join(constraint.keep)}]"]
        return [*lines, f"      bypass: [{', '.join(constraint.bypass)}]"]
    lines.append(f"      type: {constraint.target}")
    if constraint.factors:
        lines.append(f"      factors: {' '.join(f'{d}{relation}{value}' for d, relation, value in constraint.factors)}")
    if constraint.has_permutation:
        inner, outer = _letters(constraint.permutation_inner), _letters(constraint.permutation_outer)
        lines.append(f'      permutation: "{inner}_{outer}"' if outer else f"      permutation: {inner}")
    if constraint.split is not None:
        lines.append(f"      split: {constraint.split}")
    return lines


def _letters(dims: Sequence[str]) -> str:
    """A permutation: letters behind each other, longer names with commas (newer Timeloop only)."""
    return ("" if all(len(dim) == 1 for dim in dims) else ",").join(dims)


def factors_and_order(loops: Sequence[tuple[str, int]], dims: Sequence[str]) -> tuple[list[str], list[str]]:
    """`C=4` for every dim, and the dims from inner to outer, as Timeloop has them. loops: from outer to inner."""
    factors = dict(loops)
    order = [dim for dim, _ in reversed(loops)] + [dim for dim in dims if dim not in factors]
    return [f"{dim}={factors.get(dim, 1)}" for dim in dims], order


def _directive(level: str, kind: str, loops: Sequence[tuple[str, int]], dims: Sequence[str]) -> list[str]:
    factors, order = factors_and_order(loops, dims)
    return [
        f"  - target: {level}",
        f"    type: {kind}",
        f"    factors: {' '.join(factors)}",
        f"    permutation: {_letters(order)}",
    ]


def _spatial(level: str, here: LevelMapping, dims: Sequence[str]) -> list[str]:
    both = {dim for dim, _ in here.spatial_x} & {dim for dim, _ in here.spatial_y}
    if both:
        message = f"dim {min(both)} has loops on both axes of {level}, which a Timeloop mapping cannot say"
        raise MappingError(message, hint="put the dim's whole spatial factor on one axis")
    # Permutations run from inner to outer: the x loops lie inside the y loops.
    loops = [*here.spatial_y, *here.spatial_x]
    return [*_directive(level, "spatial", loops, dims), f"    split: {len(here.spatial_x)}"]
