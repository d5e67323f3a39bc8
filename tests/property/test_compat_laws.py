"""What holds for the compat cost model whatever the accelerator, the layer and the mapping are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantloom._core import AccessEnergy, Arch, Arithmetic, Cost, Level, LevelMapping, Mapping, check_fit, evaluate
from quantloom.testing.strategies import Case, bit_widths, tiny_cases

EXAMPLES = settings(max_examples=100, deadline=None)

LEVEL_FIELDS = (
    *("name", "word_bits", "block_words", "cluster_size", "capacity_words", "instances", "mesh_x", "mesh_y"),
    *("read_bandwidth", "write_bandwidth", "shared_bandwidth", "is_dram", "energy", "address_energy_pj"),
    *("hop_energy_pj", "router_energy_pj", "leak_energy_pj", "area_um2"),
)
ENERGIES = ("read_pj", "fill_pj", "update_pj")


def changed_level(level: Level, **changes: Any) -> Level:
    return Level(**{field: getattr(level, field) for field in LEVEL_FIELDS} | changes)


def changed_arch(arch: Arch, levels: list[Level], *, mac_pj: float | None = None) -> Arch:
    macs = arch.arithmetic
    arithmetic = Arithmetic(
        name=macs.name,
        instances=macs.instances,
        mesh_x=macs.mesh_x,
        mesh_y=macs.mesh_y,
        word_bits=macs.word_bits,
        energy_pj=macs.energy_pj if mac_pj is None else mac_pj,
    )
    return Arch(name=arch.name, levels=levels, arithmetic=arithmetic)


def scaled(arch: Arch, factor: float) -> Arch:
    """The same hardware with every energy `factor` times as large."""
    levels = [
        changed_level(
            level,
            energy=AccessEnergy(**{name: getattr(level.energy, name) * factor for name in ENERGIES}),
            address_energy_pj=None if level.address_energy_pj is None else level.address_energy_pj * factor,
            hop_energy_pj=level.hop_energy_pj * factor,
            router_energy_pj=level.router_energy_pj * factor,
            leak_energy_pj=level.leak_energy_pj * factor,
        )
        for level in arch.levels
    ]
    return changed_arch(arch, levels, mac_pj=arch.arithmetic.energy_pj * factor)


def cost_of(case: Case, *, arch: Arch | None = None, **options: Any) -> Cost:
    options.setdefault("bits", case.bits)
    return evaluate(arch or case.arch, case.workload, options.pop("mapping", case.mapping), model="compat", **options)


@cache
def public_names(kind: type) -> tuple[str, ...]:
    return tuple(name for name in dir(kind) if not name.startswith("_"))


def numbers(part: Any, where: str = "cost") -> Iterator[tuple[str, float]]:
    """Every number of a cost with its path."""
    for name in public_names(type(part)):
        value = getattr(part, name)
        if isinstance(value, int | float):
            yield f"{where}.{name}", value
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from numbers(inner, f"{where}.{name}[{key}]")


@EXAMPLES
@given(tiny_cases())
def test_parts_sum_to_totals(case: Case) -> None:
    cost = cost_of(case)
    levels = cost.levels.values()
    for level in levels:
        stored = sum(tensor.energy_pj + tensor.address_energy_pj for tensor in level.tensors.values())
        assert level.energy_pj == pytest.approx(stored + level.leak_energy_pj, rel=1e-12)
        assert level.network_energy_pj == pytest.approx(sum(t.energy_pj for t in level.network.values()), rel=1e-12)
        for tensor in level.tensors.values():
            actions = tensor.read_energy_pj + tensor.fill_energy_pj + tensor.update_energy_pj
            assert tensor.energy_pj == pytest.approx(actions, rel=1e-12)
    total = cost.arithmetic_energy_pj + sum(level.energy_pj + level.network_energy_pj for level in levels)
    assert cost.energy_pj == pytest.approx(total, rel=1e-12)
    assert cost.arithmetic_energy_pj == cost.macs * case.arch.arithmetic.energy_pj
    assert cost.macs == math.prod(case.workload.dims.values())
    assert cost.cycles == max(cost.compute_cycles, *(level.cycles for level in levels))
    assert cost.edp == cost.energy_pj * cost.cycles
    assert cost.utilization == pytest.approx(cost.macs / case.arch.arithmetic.instances / cost.cycles, rel=1e-12)


@EXAMPLES
@given(tiny_cases())
def test_what_is_bypassed_costs_nothing_there(case: Case) -> None:
    cost = cost_of(case)
    for level, mapped in zip(case.arch.levels, case.mapping.levels, strict=True):
        for name, tensor in cost.levels[level.name].tensors.items():
            assert tensor.kept == (name in mapped.keep)
            if not tensor.kept:
                assert tensor.reads == tensor.fills == tensor.updates == tensor.utilized_words == 0
                assert tensor.energy_pj == tensor.address_energy_pj == 0


def with_unit_loops(data: st.DataObject, mapping: Mapping, dims: list[str]) -> Mapping:
    """The mapping with loops of bound 1 strewn in wherever the axis has no loop of that dim."""

    def strewn(loops: list[tuple[str, int]]) -> list[tuple[str, int]]:
        absent = [dim for dim in dims if all(dim != other for other, _ in loops)]
        out = list(loops)
        for dim in data.draw(st.lists(st.sampled_from(absent), unique=True)) if absent else []:
            out.insert(data.draw(st.integers(0, len(out))), (dim, 1))
        return out

    return Mapping(
        [
            LevelMapping(
                temporal=strewn(level.temporal),
                spatial_x=strewn(level.spatial_x),
                spatial_y=strewn(level.spatial_y),
                keep=level.keep,
            )
            for level in mapping.levels
        ]
    )


@EXAMPLES
@given(tiny_cases(), st.data())
def test_loops_of_bound_1_change_nothing(case: Case, data: st.DataObject) -> None:
    mapping = with_unit_loops(data, case.mapping, list(case.workload.dims))
    assert dict(numbers(cost_of(case, mapping=mapping))) == dict(numbers(cost_of(case)))


@EXAMPLES
@given(tiny_cases(), st.data())
def test_capacity_decides_what_fits_and_nothing_else(case: Case, data: st.DataObject) -> None:
    cost = cost_of(case)
    needed = [sum(t.utilized_words for t in cost.levels[level.name].tensors.values()) for level in case.arch.levels]
    at = data.draw(st.integers(0, len(needed) - 1))

    def limited(words: int) -> Arch:
        levels = case.arch.levels
        levels[at] = changed_level(levels[at], capacity_words=words)
        return changed_arch(case.arch, levels)

    def fit(words: int) -> tuple[bool, int, int, int]:
        found = check_fit(limited(words), case.workload, case.mapping, bits=case.bits, model="compat")
        return found.fits, found.level, found.need, found.have

    if needed[at] > 1:
        assert fit(needed[at] - 1) == (False, at, needed[at], needed[at] - 1)
    enough = max(1, needed[at])
    for words in (enough, 2 * enough):
        assert fit(words)[0]
        assert dict(numbers(cost_of(case, arch=limited(words)))) == dict(numbers(cost))


@EXAMPLES
@given(tiny_cases(), st.sampled_from((0.0, 0.5, 2.0, 3.0)))
def test_energy_is_linear_in_the_table(case: Case, factor: float) -> None:
    cost, other = cost_of(case), cost_of(case, arch=scaled(case.arch, factor))
    assert other.energy_pj == pytest.approx(factor * cost.energy_pj, rel=1e-12)
    assert other.cycles == cost.cycles
    counts = {name: value for name, value in numbers(cost) if "_pj" not in name and not name.endswith(".edp")}
    assert counts == {name: value for name, value in numbers(other) if name in counts}


@EXAMPLES
@given(tiny_cases(), st.data())
def test_each_energy_adds_on_its_own(case: Case, data: st.DataObject) -> None:
    """One more pJ for an action costs as many pJ as blocks are moved by it."""
    at = data.draw(st.integers(0, case.arch.num_levels - 1))
    action = data.draw(st.sampled_from(ENERGIES))
    level = case.arch.levels[at]
    dearer = {name: getattr(level.energy, name) + (name == action) for name in ENERGIES}
    levels = case.arch.levels
    levels[at] = changed_level(level, energy=AccessEnergy(**dearer))
    cost, other = cost_of(case), cost_of(case, arch=changed_arch(case.arch, levels))
    words = {"read_pj": "reads", "fill_pj": "fills", "update_pj": "updates"}[action]
    blocks = sum(
        math.ceil(getattr(tensor, words) / level.block_words) * tensor.utilized_clusters
        for tensor in cost.levels[level.name].tensors.values()
    )
    assert other.energy_pj - cost.energy_pj == pytest.approx(blocks, rel=1e-9, abs=1e-6)


@EXAMPLES
@given(tiny_cases(routers=False), st.data())
def test_fewer_bits_never_cost_more(case: Case, data: st.DataObject) -> None:
    """For a fixed mapping. Not with energies of routers: the reference rounds the routers of an average word, so
    fewer words may pass more of them."""
    wider = data.draw(bit_widths(case.arch, case.workload))
    low = {name: min(width, wider[name]) for name, width in case.bits.items()}
    high = {name: max(width, wider[name]) for name, width in case.bits.items()}
    cheap, dear = cost_of(case, bits=low), cost_of(case, bits=high)
    assert cheap.energy_pj <= dear.energy_pj * (1 + 1e-12)
    assert cheap.cycles <= dear.cycles
    for name, level in dear.levels.items():
        for tensor, cost in level.tensors.items():
            fewer = cheap.levels[name].tensors[tensor]
            for field in ("utilized_words", "reads", "fills", "updates", "energy_pj", "address_energy_pj"):
                assert getattr(fewer, field) <= getattr(cost, field)


@EXAMPLES
@given(tiny_cases())
def test_a_word_wide_element_is_an_element_without_width(case: Case) -> None:
    levels = [changed_level(level, word_bits=16) for level in case.arch.levels]
    arch = changed_arch(case.arch, levels)
    full = dict.fromkeys(case.bits, 16)
    assert dict(numbers(cost_of(case, arch=arch, bits={}))) == {
        name: 0 if name.endswith(".stored_bits") else value
        for name, value in numbers(cost_of(case, arch=arch, bits=full))
    }


@EXAMPLES
@given(tiny_cases())
def test_stepping_equals_the_closed_form(case: Case) -> None:
    stepped, closed = dict(numbers(cost_of(case, always_step=True))), dict(numbers(cost_of(case)))
    assert stepped == pytest.approx(closed, rel=1e-12)
    exact = [name for name in closed if name.endswith((".reads", ".fills", ".updates", ".cycles"))]
    assert {name: stepped[name] for name in exact} == {name: closed[name] for name in exact}
