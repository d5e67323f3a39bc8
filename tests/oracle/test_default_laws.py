"""Laws of the default cost model on random tiny cases: its relation to compat, its bounds, its sums, its monotony.

docs/model.md, section 12, says where the two models agree; the first test here is that statement.
"""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from quantloom import _core

from .cases import core_arch, core_mapping, core_workload, random_case
from .records import Case, Tensor

UNHURRIED = [HealthCheck.too_slow, HealthCheck.filter_too_much]
EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=UNHURRIED)
CASES = st.randoms(use_true_random=False).map(random_case)
COUNTS = ("kept", "tile_elements", "utilized_words", "reads", "fills", "updates", "energy_pj", "address_energy_pj")
PACKINGS = ("dense", "word", "none")


def evaluate(case: Case, model: str = "default", packing: str = "word", psum_bits: int = 0) -> _core.Cost:
    arch, workload, mapping = core_arch(case), core_workload(case), core_mapping(case)
    return _core.evaluate(arch, workload, mapping, bits=case.bits, model=model, packing=packing, psum_bits=psum_bits)


def evaluate_default(case: Case) -> _core.Cost:
    return evaluate(case, packing=case.packing, psum_bits=case.psum_bits or 0)


def output_of(case: Case) -> Tensor:
    return next(tensor for tensor in case.tensors if tensor.is_output)


def slides(case: Case) -> bool:
    return any(sum(case.dims[dim] > 1 for dim, _ in rank) > 1 for tensor in case.tensors for rank in tensor.ranks)


def without_network_energy(case: Case) -> Case:
    levels = tuple(replace(level, pj=level.pj | {"hop": 0.0, "router": 0.0}) for level in case.levels)
    return replace(case, levels=levels)


@EXAMPLES
@given(CASES)
def test_default_equals_compat_where_nothing_slides_and_no_neighbour_forwards(case: Case) -> None:
    """Same words, tiles and energies; cycles to one, because compat divides in doubles where the default is exact."""
    assume(not slides(case))
    case = without_network_energy(replace(case, bits=case.bits | {output_of(case).name: 8}))
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
    """Compulsory traffic: whatever is used must be filled once, and read at least once for each group below."""
    cost = evaluate_default(case)
    tied = {t.name for t in case.tensors if len({d for r in t.ranks for d, _ in r}) < sum(len(r) for r in t.ranks)}
    for tensor in case.tensors:
        kept = [level.name for level in case.levels if tensor.name in level.keep]
        for name in kept:
            stored = cost.levels[name].tensors[tensor.name]
            assert stored.tile_elements <= stored.partition_elements or tensor.name in tied
            if tensor.is_output:
                assert stored.update_elements >= stored.partition_elements
                assert stored.update_elements - stored.read_elements == stored.partition_elements
                assert stored.final_update_elements in (0, stored.partition_elements)
            elif name != kept[-1] and tensor.name not in tied:
                assert stored.fill_elements >= stored.partition_elements


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
    assert math.isclose(cost.energy_pj, levels + cost.arithmetic_energy_pj, rel_tol=1e-12)
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

    levels = [replace(at, temporal=padded(at.temporal), spatial_x=padded(at.spatial_x)) for at in case.levels]
    ours, theirs = evaluate_default(case), evaluate_default(replace(case, levels=tuple(levels)))
    assert (ours.energy_pj, ours.cycles) == (theirs.energy_pj, theirs.cycles)
