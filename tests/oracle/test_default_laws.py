"""Laws of the default cost model on random tiny cases: its relation to compat, its bounds, its sums, its monotony.

docs/model.md, section 12, says where the two models agree; the first test here is that statement.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quantloom import _core, optimize

from .cases import core_arch, core_mapping, core_workload, mapped_case, random_case
from .records import Case, Tensor

UNHURRIED = [HealthCheck.too_slow, HealthCheck.filter_too_much]
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=UNHURRIED)
CASES = st.randoms(use_true_random=False).map(random_case)
COUNTS = ("kept", "tile_elements", "utilized_words", "reads", "fills", "updates", "energy_pj", "address_energy_pj")
PACKINGS = ("dense", "word", "none")
COUNTED = ("reads", "fills", "updates", "read_elements", "fill_elements", "update_elements", "utilized_words")
CROSSED = ("ingresses", "spatial_reductions", "link_transfers")


def evaluate(case: Case, model: str = "default", packing: str = "word", psum_bits: int = 0) -> _core.Cost:
    arch, workload, mapping = core_arch(case), core_workload(case), core_mapping(case)
    return _core.evaluate(arch, workload, mapping, bits=case.bits, model=model, packing=packing, psum_bits=psum_bits)


def evaluate_default(case: Case) -> _core.Cost:
    return evaluate(case, packing=case.packing, psum_bits=case.psum_bits or 0)


def output_of(case: Case) -> Tensor:
    return next(tensor for tensor in case.tensors if tensor.is_output)


def slides(case: Case) -> bool:
    return any(sum(case.dims[dim] > 1 for dim, _ in rank) > 1 for tensor in case.tensors for rank in tensor.ranks)


def has_holes(case: Case, tensor: Tensor) -> bool:
    """Tiles of strided ranks are boxes with elements that nothing touches; compat counts them as sums of outputs."""
    return any(factor > 1 and case.dims[dim] > 1 for rank in tensor.ranks for dim, factor in rank)


def tied_tensors(case: Case) -> set[str]:
    """Tensors with a dim in two ranks: not all of their box passes."""
    dims = {tensor.name: [dim for rank in tensor.ranks for dim, _ in rank] for tensor in case.tensors}
    return {name for name, used in dims.items() if len(set(used)) < len(used)}


def with_levels(case: Case, **changes: Any) -> Case:
    return replace(case, levels=tuple(replace(level, **changes) for level in case.levels))


def with_pj(case: Case, **pj: float) -> Case:
    return replace(case, levels=tuple(replace(level, pj=level.pj | pj) for level in case.levels))


def as_compat_knows_it(case: Case) -> Case:
    """Without what only the default model has, and without energy of networks."""
    case = with_pj(case, hop=0.0, router=0.0, adder=0.0, idle=0.0)
    case = with_levels(case, bandwidth_in_bits=False, packing=None, multicast=True, reduction=True, forwarding=False)
    return replace(case, mac_table=None, arch_psum_bits=None, unit_leak_pj=0.0, unit_idle_pj=0.0)


def numbers(cost: _core.Cost) -> list[float]:
    """Everything that a level counts or prices, and the totals."""
    found = [cost.energy_pj, cost.cycles, cost.compute_cycles]
    for level in cost.levels.values():
        found += [level.cycles, level.energy_pj, level.network_energy_pj]
    return found + counts(cost)


def counts(cost: _core.Cost) -> list[float]:
    stored = [part for level in cost.levels.values() for part in level.tensors.values()]
    wires = [part for level in cost.levels.values() for part in level.network.values()]
    return [getattr(part, field) for part in stored for field in COUNTED] + [
        getattr(part, field) for part in wires for field in CROSSED
    ]


@EXAMPLES
@given(CASES)
def test_default_equals_compat_where_nothing_slides_and_no_neighbour_forwards(case: Case) -> None:
    """Same words, tiles and energies; cycles to one, because compat divides in doubles where the default is exact."""
    assume(not slides(case) and not has_holes(case, output_of(case)))
    case = as_compat_knows_it(replace(case, bits=case.bits | {output_of(case).name: 8}))
    ours, theirs = evaluate(case, psum_bits=8), evaluate(case, "compat")
    assume(not any(network.link_transfers for level in theirs.levels.values() for network in level.network.values()))
    for name, level in ours.levels.items():
        for tensor, stored in level.tensors.items():
            other = theirs.levels[name].tensors[tensor]
            for field in COUNTS:
                assert getattr(stored, field) == getattr(other, field), (name, tensor, field)
        assert abs(level.cycles - theirs.levels[name].cycles) <= 1
    if not any(level.pj["leak"] for level in case.levels):
        assert math.isclose(ours.energy_pj, theirs.energy_pj, rel_tol=1e-12)


@EXAMPLES
@given(CASES)
def test_every_kept_level_moves_at_least_what_passes_through_it(case: Case) -> None:
    """Compulsory traffic: whatever is held must be filled once, and read once for it by the level outside."""
    cost = evaluate_default(case)
    tied = tied_tensors(case)
    for tensor in case.tensors:
        kept = [level.name for level in case.levels if tensor.name in level.keep]
        for at, name in enumerate(kept):
            stored = cost.levels[name].tensors[tensor.name]
            assert stored.tile_elements <= stored.partition_elements or tensor.name in tied
            if tensor.is_output and (slides(case) or has_holes(case, tensor)):
                assert stored.update_elements >= stored.read_elements  # elements of a box that nothing touches
            elif tensor.is_output:
                assert stored.update_elements >= stored.partition_elements
                assert stored.update_elements - stored.read_elements == stored.partition_elements
                assert stored.final_update_elements in (0, stored.partition_elements)
            elif name != kept[-1] and tensor.name not in tied:
                assert stored.fill_elements >= stored.partition_elements
                assert cost.levels[kept[at + 1]].tensors[tensor.name].read_elements >= stored.partition_elements


@EXAMPLES
@given(CASES)
def test_the_outermost_level_moves_every_element_at_least_once(case: Case) -> None:
    cost = evaluate_default(case)
    points = [dict(zip(case.dims, at, strict=True)) for at in itertools.product(*map(range, case.dims.values()))]
    for tensor in case.tensors:
        kept = [at for at, level in enumerate(case.levels) if tensor.name in level.keep]
        if not kept:
            continue
        used = {tuple(sum(point[dim] * factor for dim, factor in rank) for rank in tensor.ranks) for point in points}
        outer = [level for level in case.levels[kept[-1] + 1 :]]
        instances = math.prod(bound for level in outer for _, bound in (*level.spatial_x, *level.spatial_y))
        stored = cost.levels[case.levels[kept[-1]].name].tensors[tensor.name]
        moved = stored.update_elements if tensor.is_output else stored.read_elements
        assert moved * instances >= len(used)


@EXAMPLES
@given(CASES)
def test_parts_sum_up_to_totals(case: Case) -> None:
    cost = evaluate_default(case)
    for level in cost.levels.values():
        stored = sum(part.energy_pj + part.address_energy_pj for part in level.tensors.values())
        assert math.isclose(level.energy_pj, stored + level.leak_energy_pj, rel_tol=1e-12, abs_tol=1e-9)
        wires = sum(part.energy_pj for part in level.network.values())
        assert math.isclose(level.network_energy_pj, wires, rel_tol=1e-12, abs_tol=1e-9)
    levels = sum(level.energy_pj + level.network_energy_pj for level in cost.levels.values())
    units = cost.arithmetic_energy_pj + cost.arithmetic_leak_energy_pj
    assert math.isclose(cost.energy_pj, levels + units, rel_tol=1e-12)
    assert cost.cycles == max(cost.compute_cycles, *(level.cycles for level in cost.levels.values()))
    assert cost.edp == cost.energy_pj * cost.cycles


@EXAMPLES
@given(CASES, st.data())
def test_fewer_bits_never_cost_more(case: Case, data: st.DataObject) -> None:
    """For a fixed mapping, with derived widths of partial sums: energy, cycles and capacity of every level."""
    wide = replace(case, bits={tensor.name: data.draw(st.integers(1, 16)) for tensor in case.tensors}, psum_bits=None)
    narrow = replace(wide, bits={name: data.draw(st.integers(1, bits)) for name, bits in wide.bits.items()})
    more, less = evaluate_default(wide), evaluate_default(narrow)
    assert less.energy_pj <= more.energy_pj * (1 + 1e-12)
    assert less.cycles <= more.cycles
    for name, level in less.levels.items():
        for tensor, stored in level.tensors.items():
            assert stored.utilized_words <= more.levels[name].tensors[tensor].utilized_words


@EXAMPLES
@given(CASES)
def test_dense_takes_no_more_words_than_word_and_word_no_more_than_none(case: Case) -> None:
    words = []
    for packing in PACKINGS:
        cost = evaluate(case, packing=packing, psum_bits=case.psum_bits or 0)
        parts = [part for level in cost.levels.values() for part in level.tensors.values()]
        words.append([x for part in parts for x in (part.reads, part.fills, part.updates, part.utilized_words)])
    for dense, word, none in zip(*words, strict=True):
        assert dense <= word <= none


@EXAMPLES
@given(CASES, st.integers(0, 2**32))
def test_loops_of_bound_one_change_nothing(case: Case, seed: int) -> None:
    rng = Random(seed)

    def padded(loops: tuple[tuple[str, int], ...]) -> tuple[tuple[str, int], ...]:
        ones = [(dim, 1) for dim in case.dims if dim not in {d for d, _ in loops} and rng.random() < 0.5]
        mixed = list(loops)
        for one in ones:
            mixed.insert(rng.randint(0, len(mixed)), one)
        return tuple(mixed)

    levels = [
        replace(
            level,
            temporal=padded(level.temporal),
            spatial_x=padded(level.spatial_x),
            spatial_y=padded(level.spatial_y),
        )
        for level in case.levels
    ]
    ours, theirs = evaluate_default(case), evaluate_default(replace(case, levels=tuple(levels)))
    assert numbers(ours) == numbers(theirs)


@EXAMPLES
@given(CASES, st.sampled_from((0.0, 0.5, 2.0, 3.0)))
def test_energy_is_linear_in_the_table(case: Case, factor: float) -> None:
    table = case.mac_table
    dearer = replace(
        case,
        levels=tuple(replace(level, pj={kind: pj * factor for kind, pj in level.pj.items()}) for level in case.levels),
        mac_pj=case.mac_pj * factor,
        mac_table=table
        and replace(table, energy_pj=tuple(tuple(pj * factor for pj in row) for row in table.energy_pj)),
        unit_leak_pj=case.unit_leak_pj * factor,
        unit_idle_pj=case.unit_idle_pj * factor,
    )
    one, other = evaluate_default(case), evaluate_default(dearer)
    assert math.isclose(other.energy_pj, factor * one.energy_pj, rel_tol=1e-12)
    assert other.cycles == one.cycles
    assert counts(other) == counts(one)


@EXAMPLES
@given(CASES)
def test_twice_the_capacity_holds_whatever_fits_and_costs_the_same(case: Case) -> None:
    free = evaluate_default(case)
    needed = [sum(part.utilized_words for part in free.levels[level.name].tensors.values()) for level in case.levels]
    capacities = {at: int(words) for at, words in enumerate(needed) if words > 0}
    for room in (capacities, {at: 2 * words for at, words in capacities.items()}):
        cost = _core.evaluate(
            core_arch(case, room),
            core_workload(case),
            core_mapping(case),
            bits=case.bits,
            packing=case.packing,
            psum_bits=case.psum_bits or 0,
        )
        assert numbers(cost) == numbers(free)


def stored_inputs(case: Case, cost: _core.Cost) -> list[tuple[float, float]]:
    """Reads of every input at every level: elements, words."""
    inputs = [tensor.name for tensor in case.tensors if not tensor.is_output]
    parts = [level.tensors[name] for level in cost.levels.values() for name in inputs]
    return [(part.read_elements, part.reads) for part in parts]


@EXAMPLES
@given(CASES)
def test_forwarding_never_reads_more(case: Case) -> None:
    assume(not tied_tensors(case))
    apart, passing = (evaluate_default(with_levels(case, forwarding=forwarding)) for forwarding in (False, True))
    for less, more in zip(stored_inputs(case, passing), stored_inputs(case, apart), strict=True):
        assert less <= more
    assert passing.cycles <= apart.cycles


@EXAMPLES
@given(CASES, st.data())
def test_networks_that_cannot_share_never_move_less(case: Case, data: st.DataObject) -> None:
    """Without multicast inputs are read as often or more, without reduction outputs are updated as often or more."""
    case = with_levels(case, forwarding=False, multicast=True, reduction=True)
    at = data.draw(st.integers(0, len(case.levels) - 1))
    flag = data.draw(st.sampled_from(("multicast", "reduction")))
    level = case.levels[at]
    alone = replace(level, multicast=False) if flag == "multicast" else replace(level, reduction=False)
    lone = (*case.levels[:at], alone, *case.levels[at + 1 :])
    shared, single = evaluate_default(case), evaluate_default(replace(case, levels=lone))
    for less, more in zip(stored_inputs(case, shared), stored_inputs(case, single), strict=True):
        assert less <= more
    output = output_of(case).name
    for name in shared.levels:
        sums, parts = (cost.levels[name].tensors[output] for cost in (shared, single))
        assert sums.update_elements <= parts.update_elements
        assert sums.fill_elements == parts.fill_elements
    assert shared.cycles <= single.cycles


def test_optima_of_transposed_convolutions_are_those_of_the_whole_mapspace() -> None:
    """The branch and bound has no bound of its own for outputs with windows; here every mapping is priced."""
    compared = 0
    for seed in range(50):
        rng = Random(seed)
        bounds = {"C": 1, "M": 1, "R": rng.choice((2, 3)), "P": rng.choice((2, 2, 4))}
        stride = rng.choice((1, 2, 3))
        tensors = [
            Tensor("W", ((("C", 1),), (("M", 1),), (("R", 1),))),
            Tensor("I", ((("C", 1),), (("P", 1),))),
            Tensor("O", ((("M", 1),), (("R", 1), ("P", stride))), is_output=True),
        ]
        case = mapped_case(rng, bounds, tensors, depth=2)
        arch, workload = core_arch(case, {0: rng.choice((4, 9, 30))}), core_workload(case)
        space = _core.Mapspace(arch, workload)
        if int(space.size()) > 20_000:
            continue
        costs = _core.evaluate_batch(arch, workload, space.batch(0, int(space.size())), bits=case.bits)
        if not (costs.status == 0).any():
            continue
        for objective, values in (("energy", costs.energy_pj), ("edp", costs.energy_pj * costs.cycles)):
            best = optimize(arch, workload, bits=case.bits, objective=objective).cost
            found = best.energy_pj if objective == "energy" else best.edp
            assert math.isclose(found, values.min(), rel_tol=1e-12), (seed, objective)
            compared += 1
    assert compared > 20
