"""Accelerators as YAML text: dump_arch() writes what load_arch() reads back into an equal record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from quantloom._core import AccessEnergy, Arch, Arithmetic, Constraint, Level, MacTable
from quantloom.spec.yaml_nodes import quote

__all__ = ["dump_arch"]

_DIMS = ("G", "C", "M", "R", "S", "N", "P", "Q")
_TENSORS = ("Weights", "Inputs", "Outputs")
_SHARES = ("min_fanout", "max_fanout", "min_capacity", "max_capacity")


def dump_arch(arch: Arch, *, header: Sequence[str] = ()) -> str:
    """YAML text that parse_arch() turns into an equal accelerator; `header`: lines of a comment above it.

    Only the places where constraints stood (`where`) are not kept.
    """
    lines = [f"# {line}".rstrip() for line in header]
    lines += [f"name: {quote(arch.name)}", f"source: {quote(arch.source or 'not given')}"]
    lines += _vocabulary(arch.constraints)
    lines += ["", "levels:  # from DRAM inwards"]
    for level in reversed(arch.levels):
        lines += _level(level)
    lines += ["", "arithmetic:", *_arithmetic(arch.arithmetic)]
    if arch.constraints or arch.relax_indivisible_factors:
        lines += ["", "constraints:", *_constraints(arch)]
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """The shortest text that is read back as this number."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _vocabulary(constraints: Sequence[Constraint]) -> list[str]:
    """The dims and tensors that constraints name, where they are not those of convolutions."""
    dims = {
        dim for c in constraints for dim in [*(f[0] for f in c.factors), *c.permutation_inner, *c.permutation_outer]
    }
    tensors = {tensor for c in constraints for tensor in [*c.keep, *c.bypass]}
    lines = []
    if not dims <= set(_DIMS):
        lines.append(f"dims: {_names(sorted(dims))}")
    if not tensors <= set(_TENSORS):
        lines.append(f"tensors: {_names(sorted(tensors))}")
    return lines


def _names(names: Sequence[str]) -> str:
    return "[" + ", ".join(quote(name) for name in names) + "]"


def _flow(values: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}"


def _level(level: Level) -> list[str]:
    lines = [f"  - name: {quote(level.name)}"]
    if level.is_dram:
        lines.append("    technology: DRAM")
    lines.append(f"    word_bits: {level.word_bits}")
    if level.block_words != 1:
        lines.append(f"    block_words: {level.block_words}")
    if level.cluster_size != 1:
        lines.append(f"    cluster_size: {level.cluster_size}")
    lines.append(f"    capacity_words: {'unlimited' if level.capacity_words is None else level.capacity_words}")
    lines += _instances(level)
    rates = {"read": level.read_bandwidth, "write": level.write_bandwidth, "shared": level.shared_bandwidth}
    known = {key: number(value) for key, value in rates.items() if value is not None}
    if known:
        unit = "bits" if level.bandwidth_in_bits else "words"
        lines.append(f"    bandwidth_{unit}_per_cycle: {_flow(known)}")
    if level.packing is not None:
        lines.append(f"    packing: {level.packing}")
    network = {"multicast": level.multicast, "reduction": level.reduction, "forwarding": level.forwarding}
    if network != {"multicast": True, "reduction": True, "forwarding": False}:
        lines.append(f"    network: {_flow({key: str(value).lower() for key, value in network.items()})}")
    lines += ["    energy_pj:", *_access_energy(level.energy)]
    more = {
        "address": level.address_energy_pj,
        "hop": level.hop_energy_pj or None,
        "router": level.router_energy_pj or None,
        "adder": level.adder_energy_pj or None,
        "leak_per_cycle": level.leak_energy_pj or None,
        "idle_per_cycle": level.idle_energy_pj or None,
    }
    lines += [f"      {key}: {number(value)}" for key, value in more.items() if value is not None]
    return [*lines, *([f"    area_um2: {number(level.area_um2)}"] if level.area_um2 else [])]


def _instances(unit: Level | Arithmetic, indent: str = "    ") -> list[str]:
    return [f"{indent}instances: {{x: {unit.mesh_x}, y: {unit.mesh_y}}}"] if unit.instances > 1 else []


def _access_energy(energy: AccessEnergy) -> list[str]:
    """`write` for both fill and update where they are the same."""
    is_same = (energy.fill_pj, energy.fill_source) == (energy.update_pj, energy.update_source)
    parts = {"read": (energy.read_pj, energy.read_source)}
    if is_same:
        parts["write"] = (energy.fill_pj, energy.fill_source)
    else:
        parts["fill"] = (energy.fill_pj, energy.fill_source)
        parts["update"] = (energy.update_pj, energy.update_source)
    lines = [f"      {key}: {number(pj)}" for key, (pj, _) in parts.items()]
    sources = {key: source or "not given" for key, (_, source) in parts.items()}
    if len(set(sources.values())) == 1:
        return [*lines, f"      source: {quote(sources['read'])}"]
    return [*lines, "      source:", *(f"        {key}: {quote(source)}" for key, source in sources.items())]


def _arithmetic(unit: Arithmetic) -> list[str]:
    lines = [f"  name: {quote(unit.name)}", f"  word_bits: {unit.word_bits}", *_instances(unit, "  ")]
    lines += ["  energy_pj:", f"    mac: {number(unit.energy_pj)}"]
    lines.append(f"    source: {quote(unit.energy_source or 'not given')}")
    more = {"leak_per_cycle": unit.leak_energy_pj, "idle_per_cycle": unit.idle_energy_pj}
    lines += [f"    {key}: {number(value)}" for key, value in more.items() if value]
    if unit.area_um2:
        lines.append(f"  area_um2: {number(unit.area_um2)}")
    if unit.psum_bits:
        lines.append(f"  psum_bits: {unit.psum_bits}")
    return lines if unit.mac_table is None else [*lines, *_precision(unit.mac_table)]


def _precision(table: MacTable) -> list[str]:
    """As a table, whatever style it was made with."""
    columns = len(table.second_bits)
    rates = [str(Fraction(*rate)) for rate in table.rate]
    energies = [number(pj) for pj in table.energy_pj]
    lines = ["  precision:", "    style: table", f"    weights_bits: {table.first_bits}"]
    lines.append(f"    inputs_bits: {table.second_bits}")
    for key, cells in (("energy_pj", energies), ("macs_per_cycle", rates)):
        lines.append(f"    {key}:")
        rows = [cells[i : i + columns] for i in range(0, len(cells), columns)]
        lines += [f"      - [{', '.join(row)}]" for row in rows]
    return [*lines, "    source: the table of the accelerator that this was written from"]


def _constraints(arch: Arch) -> list[str]:
    lines = ["  relax_indivisible_factors: true"] if arch.relax_indivisible_factors else []
    parallelism = [c.min_parallelism for c in arch.constraints if c.min_parallelism is not None]
    lines += [f"  min_parallelism: {number(share)}" for share in parallelism]
    for origin in ("architecture", "mapspace"):
        named = [c for c in arch.constraints if c.origin == origin and c.min_parallelism is None]
        if not named:
            continue
        lines.append(f"  {origin}:")
        for level in dict.fromkeys(c.level for c in named):
            lines.append(f"    {quote(level)}:")
            lines += _level_constraints([c for c in named if c.level == level])
    return lines


def _level_constraints(constraints: Sequence[Constraint]) -> list[str]:
    lines: list[str] = []
    for key in ("keep", "bypass"):
        tensors = [tensor for c in constraints for tensor in (c.keep if key == "keep" else c.bypass)]
        if tensors:
            lines.append(f"      {key}: {_names(tensors)}")
    shares = {key: getattr(c, key) for c in constraints for key in _SHARES if getattr(c, key) is not None}
    if shares:
        lines.append(f"      utilization: {_flow({key: number(share) for key, share in shares.items()})}")
    for target in ("temporal", "spatial"):
        blocks = [c for c in constraints if c.target == target]
        body = _block(blocks)
        if body:
            lines += [f"      {target}:", *body]
    return lines


def _block(blocks: Sequence[Constraint]) -> list[str]:
    """The constraints of one block, which several files may have given in parts."""
    lines = []
    factors: dict[str, list[str]] = {}
    for dim, relation, value in [f for c in blocks for f in c.factors]:
        text = ("all" if value == 0 else str(value)) if relation == "=" else f"{relation}{value}"
        factors.setdefault(quote(dim), []).append(text)
    if factors:
        # A fixed factor stands alone: what limits it as well says nothing more.
        texts = {
            dim: next((t for t in limits if t[0] not in "<>"), quote(" ".join(limits)))
            for dim, limits in factors.items()
        }
        lines.append(f"        factors: {_flow(texts)}")
    for c in blocks:
        if c.has_permutation:
            inner, outer = _names(c.permutation_inner), _names(c.permutation_outer)
            text = f"{{inner: {inner}, outer: {outer}}}" if c.permutation_outer else inner
            lines.append(f"        permutation: {text}")
        if c.split is not None:
            lines.append(f"        split: {c.split}")
    return lines
