"""quantloom's records as Timeloop v0.4 files: nodes with their constraints, tables, mapping.

A fanout is a container between two levels. Timeloop puts a level `inter_<container>_spatial` that holds nothing in its
place, and so does `parse_timeloop`: what comes back has these levels more, and costs the same. Such levels themselves
are written as the containers that they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantloom._core import Arch, Arithmetic, Constraint, Level, Mapping, Workload
from quantloom.errors import MappingError
from quantloom.spec.arch_text import number
from quantloom.timeloop.write import action_line, check_name, factors_and_order, storage_attributes, unsaid

__all__ = ["dump_architecture_v04", "dump_constraints_v04", "dump_mapping_v04", "dump_tables_v04", "unsaid_v04"]

_ROOT = "system_top_level"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fanout:
    """A container: its name, how many of what it holds lie on x and y."""

    name: str
    x: int
    y: int


def dump_architecture_v04(arch: Arch) -> str:
    """The `architecture` section with the architecture's own constraints at its nodes.

    Raises SpecError for a level whose name Timeloop cannot read.
    """
    check_name(arch)
    lines = ["architecture:", "  version: 0.4", "  nodes:", "    - !Container", "      name: system"]
    constraints = [c for c in arch.constraints if c.origin == "architecture"]
    for index, level in reversed(list(enumerate(arch.levels))):
        own = [c for c in constraints if c.level == level.name]
        if not _is_container(level):
            lines += _component(level, [c for c in own if c.target in ("temporal", "keep")])
        fanout = _fanout(arch, index)
        if fanout is not None:
            lines += ["    - !Container", f"      name: {fanout.name}"]
            lines.append(f"      spatial: {{meshX: {fanout.x}, meshY: {fanout.y}}}")
            lines += _constraints([c for c in own if c.target == "spatial"])
    unit = arch.arithmetic
    lines += ["    - !Component", f"      name: {unit.name}", "      class: intmac", "      attributes:"]
    lines.append(f"        datawidth: {unit.word_bits}")
    return "\n".join(lines) + "\n"


def dump_constraints_v04(arch: Arch) -> str:
    """The `mapspace_constraints` section; those of the architecture stand at its nodes."""
    lines = ["mapspace_constraints:", "  version: 0.4"]
    found = []
    indices = {level.name: index for index, level in enumerate(arch.levels)}
    for constraint in arch.constraints:
        if constraint.origin != "mapspace" or constraint.target == "utilization":
            continue
        target: str | None = constraint.level
        if constraint.target == "spatial":
            fanout = _fanout(arch, indices[constraint.level])
            target = None if fanout is None else fanout.name
        elif _is_container(arch.levels[indices[constraint.level]]):
            target = None  # the container says it all
        if target is not None:
            found += [f"    - target: {target}", f"      type: {_kind(constraint)}"]
            found += [f"      {key}: {value}" for key, value in _body(constraint).items()]
    return "\n".join([*lines, "  targets:" if found else "  targets: []", *found]) + "\n"


def dump_tables_v04(arch: Arch) -> str:
    """The `ERT` and `ART` sections with the energies and areas of the architecture, each with its source behind it.

    `write` is the energy of a fill, for versions that know no `fill`.
    """
    parts = [level for level in reversed(arch.levels) if not _is_container(level)]
    lines = ["ERT:", "  version: 0.4", "  tables:"]
    for level in parts:
        e = level.energy
        lines += [f"    - name: {_path(level)}", "      actions:"]
        lines.append(action_line("read", e.read_pj, e.read_source))
        lines.append(action_line("write", e.fill_pj, e.fill_source))
        lines.append(action_line("fill", e.fill_pj, e.fill_source))
        lines.append(action_line("update", e.update_pj, e.update_source))
        lines.append(action_line("leak", level.leak_energy_pj, ""))
    unit = arch.arithmetic
    lines += [
        f"    - name: {_path(unit)}",
        "      actions:",
        action_line("compute", unit.energy_pj, unit.energy_source),
    ]
    lines.append(action_line("leak", unit.leak_energy_pj, ""))
    lines += ["ART:", "  version: 0.4", "  tables:"]
    every: list[Level | Arithmetic] = [*parts, unit]
    lines += [f'    - {{name: "{_path(part)}", area: {number(part.area_um2)}}}' for part in every]
    return "\n".join(lines) + "\n"


def dump_mapping_v04(mapping: Mapping, arch: Arch, workload: Workload) -> str:
    """The `mapping` section: what every level keeps and its loops; spatial loops are those of the containers.

    Raises MappingError for a container in which a dim has loops on both axes, which Timeloop cannot say.
    """
    dims = tuple(workload.dims)
    tensors = [tensor.name for tensor in workload.tensors]
    lines = ["mapping:"]
    for index, level in reversed(list(enumerate(arch.levels))):
        here = mapping.levels[index]
        if not _is_container(level):
            bypass = [tensor for tensor in tensors if tensor not in here.keep]
            lines += [f"  - target: {level.name}", "    type: dataspace"]
            lines += [f"    keep: [{', '.join(here.keep)}]", f"    bypass: [{', '.join(bypass)}]"]
            lines += _loops(level.name, "temporal", here.temporal, dims)
        fanout = _fanout(arch, index)
        if fanout is None:
            continue
        both = {dim for dim, _ in here.spatial_x} & {dim for dim, _ in here.spatial_y}
        if both:
            message = f"dim {min(both)} has loops on both axes of {level.name}, which a Timeloop mapping cannot say"
            raise MappingError(message, hint="put the dim's whole spatial factor on one axis")
        # Permutations run from inner to outer: the x loops lie inside the y loops.
        lines += _loops(fanout.name, "spatial", [*here.spatial_y, *here.spatial_x], dims)
        lines.append(f"    split: {len(here.spatial_x)}")
    return "\n".join(lines) + "\n"


def unsaid_v04(arch: Arch) -> list[str]:
    """What an architecture says that Timeloop v0.4 has no words for; its own default stands in."""
    notes = [text for text in unsaid(arch) if not text.endswith("leakage and idle energy of the units")]
    if arch.arithmetic.idle_energy_pj:
        notes.append(f"{arch.arithmetic.name}: idle energy of the units")
    for index, level in enumerate(arch.levels):
        if (
            _fanout(arch, index) is not None
            and not _is_container(level)
            and (level.hop_energy_pj or level.router_energy_pj)
        ):
            notes.append(f"{level.name}: energy of hops over its fanout, which becomes that of a container")
    return notes


def _is_container(level: Level) -> bool:
    """Whether a level is what stands for the fanout of a v0.4 container: it holds one bit, which costs nothing."""
    e = level.energy
    is_named = level.name.startswith("inter_") and level.name.endswith("_spatial")
    is_empty = level.word_bits == 1 and level.capacity_words == 1
    return is_named and is_empty and e.read_pj == e.fill_pj == e.update_pj == 0.0


def _fanout(arch: Arch, index: int) -> _Fanout | None:
    """The container below a level; None where one instance lies below one of this level."""
    x, y, level = arch.fanout_x(index), arch.fanout_y(index), arch.levels[index]
    if _is_container(level):
        return _Fanout(name=level.name.removeprefix("inter_").removesuffix("_spatial"), x=x, y=y)
    if x * y == 1:
        return None
    names = {other.name for other in arch.levels}
    name = f"{level.name}_array"
    while name in names or f"inter_{name}_spatial" in names:
        name += "_"
    return _Fanout(name=name, x=x, y=y)


def _component(level: Level, constraints: Sequence[Constraint]) -> list[str]:
    attributes = {
        "datawidth": str(level.word_bits),
        "width": str(level.word_bits * level.block_words * level.cluster_size),
        "block_size": str(level.block_words),
        "cluster_size": str(level.cluster_size),
    }
    if level.capacity_words is not None and not level.is_dram:
        attributes["depth"] = str(-(-level.capacity_words // level.block_words))
        if level.capacity_words % level.block_words:
            attributes["entries"] = str(level.capacity_words)
    for key, value in storage_attributes(level).items():  # bandwidths, energies of addresses, hops and routers
        if "_" in key:
            attributes[key] = value
    return [
        "    - !Component",
        f"      name: {level.name}",
        f"      class: {'DRAM' if level.is_dram else 'SRAM'}",
        "      attributes:",
        *(f"        {key}: {value}" for key, value in attributes.items()),
        *_constraints(constraints),
    ]


def _constraints(constraints: Sequence[Constraint]) -> list[str]:
    """The `constraints` of a node; several of one kind become one."""
    bodies: dict[str, dict[str, str]] = {}
    for constraint in constraints:
        body = bodies.setdefault(_kind(constraint), {})
        for key, value in _body(constraint).items():
            joined = f"{body[key][:-1]}, {value[1:]}" if key in body and body[key] != "[]" and value != "[]" else value
            body[key] = joined if value != "[]" else body.get(key, value)
    lines = []
    for kind, body in bodies.items():
        lines += [f"        {kind}:", *(f"          {key}: {value}" for key, value in body.items())] if body else []
    return ["      constraints:", *lines] if lines else []


def _kind(constraint: Constraint) -> str:
    return "dataspace" if constraint.target == "keep" else constraint.target


def _body(constraint: Constraint) -> dict[str, str]:
    if constraint.target == "keep":
        return {"keep": f"[{', '.join(constraint.keep)}]", "bypass": f"[{', '.join(constraint.bypass)}]"}
    body = {}
    if constraint.factors:
        body["factors"] = f"[{', '.join(f'{dim}{relation}{value}' for dim, relation, value in constraint.factors)}]"
    if constraint.has_permutation:
        inner, outer = ", ".join(constraint.permutation_inner), ", ".join(constraint.permutation_outer)
        body["permutation"] = f"[{inner}]" if not outer else f'"{inner} _ {outer}"'
    if constraint.split is not None:
        body["split"] = str(constraint.split)
    return body


def _loops(target: str, kind: str, loops: Sequence[tuple[str, int]], dims: Sequence[str]) -> list[str]:
    factors, order = factors_and_order(loops, dims)
    return [
        f"  - target: {target}",
        f"    type: {kind}",
        f"    factors: [{', '.join(factors)}]",
        f"    permutation: [{', '.join(order)}]",
    ]


def _path(unit: Level | Arithmetic) -> str:
    return f"{_ROOT}.{unit.name}[1..{unit.instances}]"
