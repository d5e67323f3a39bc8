"""Bounds up to 2^31: a cost is what unlimited integers say, or infinite where counts pass 2^53; it never wraps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantloom._core import AccessEnergy, Arch, Arithmetic, Level, LevelMapping, Mapping, TensorSpec, Workload, evaluate

EXACT = 2**53  # integers up to here are doubles
TENSORS = {"A": ("M", "K"), "B": ("K", "N"), "C": ("M", "N")}
DEPTH = 3
READ_PJ, FILL_PJ, UPDATE_PJ, MAC_PJ = 1.0, 2.0, 4.0, 8.0
POWERS = {most: st.integers(0, most) for most in (16, 20, 31)}


@dataclass(frozen=True)
class Nest:
    loops: list[list[tuple[str, int]]]  # by level, innermost level first; outermost loop first

    def bound(self, dim: str) -> int:
        return math.prod(bound for level in self.loops for name, bound in level if name == dim)


@st.composite
def large_nests(draw: st.DrawFn) -> Nest:
    """Products of matrices; a bound of 2^31 or a little less is cut into a factor for each level."""
    factors: list[list[tuple[str, int]]] = [[] for _ in range(DEPTH)]
    power = POWERS[draw(st.sampled_from(sorted(POWERS)))]
    for dim in "MNK":
        cuts = sorted(draw(st.tuples(power, power, power)))
        odd = draw(st.sampled_from((1, 1, 3, 5))) if cuts[-1] <= 28 else 1
        for level, (low, high) in enumerate(zip((0, *cuts), cuts, strict=False)):
            factors[level].append((dim, 2 ** (high - low) * (odd if level == 1 else 1)))
    return Nest([list(draw(st.permutations(loops))) for loops in factors])


def passes(nest: Nest, tensor: str, level: int) -> int:
    """Elements that a level takes in all: its tile, once for each iteration of the loops that make it move."""
    related = TENSORS[tensor]
    tile = math.prod(bound for loops in nest.loops[: level + 1] for dim, bound in loops if dim in related)
    outside = [loop for loops in reversed(nest.loops[level + 1 :]) for loop in loops if loop[1] > 1]
    while outside and outside[-1][0] not in related:
        outside.pop()
    return tile * math.prod(bound for _, bound in outside)


def exact_counts(nest: Nest) -> tuple[int, list[int], int]:
    """MACs, all counts, and energy in pJ, in integers without limit."""
    macs = math.prod(nest.bound(dim) for dim in "MNK")
    counts, energy = [macs], macs * int(MAC_PJ)
    for tensor, related in TENSORS.items():
        size = math.prod(nest.bound(dim) for dim in related)
        moved = [macs, *(passes(nest, tensor, level) for level in range(DEPTH - 1))]  # by what is inside of each level
        for level in range(DEPTH):
            outermost = level == DEPTH - 1
            if tensor == "C":
                reads, fills = moved[level] - size, 0 if outermost else moved[level + 1] - size
                energy += int(UPDATE_PJ) * moved[level]
            else:
                reads, fills = moved[level], 0 if outermost else moved[level + 1]
            energy += int(READ_PJ) * reads + int(FILL_PJ) * fills
            counts += [reads, fills, moved[level]]
    return macs, counts, energy


def level(name: str, *, is_dram: bool = False) -> Level:
    energy = AccessEnergy(read_pj=READ_PJ, fill_pj=FILL_PJ, update_pj=UPDATE_PJ)
    return Level(name=name, word_bits=16, is_dram=is_dram, energy=energy)


@settings(max_examples=300, deadline=None)
@given(large_nests())
def test_a_cost_is_exact_or_infinite(nest: Nest) -> None:
    units = Arithmetic(name="mac", instances=1, mesh_x=1, mesh_y=1, word_bits=16, energy_pj=MAC_PJ)
    arch = Arch(name="large", levels=[level("pe"), level("buffer"), level("dram", is_dram=True)], arithmetic=units)
    tensors = [TensorSpec(name, [[(dim, 1)] for dim in dims], name == "C") for name, dims in TENSORS.items()]
    workload = Workload("product", [(dim, nest.bound(dim)) for dim in "MNK"], tensors)
    loops = [LevelMapping(temporal=loops, spatial_x=[], spatial_y=[], keep=list(TENSORS)) for loops in nest.loops]
    cost = evaluate(arch, workload, Mapping(loops))
    macs, counts, energy_pj = exact_counts(nest)
    if math.isinf(cost.energy_pj):
        assert max(counts) > EXACT
        assert math.isinf(cost.cycles)
        return
    assert macs <= EXACT
    assert cost.macs == cost.cycles == macs
    assert cost.energy_pj == pytest.approx(energy_pj, rel=1e-12)
