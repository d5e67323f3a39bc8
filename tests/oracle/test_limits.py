"""The largest cases there may be: 12 levels, 16 dims, 8 tensors of 8 ranks. Arrays too large to list are refused."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from quantloom import _core
from quantloom.errors import SpecError

from .cases import mapped_case
from .compare import differences
from .records import Case, Tensor

DIMS = "abcdefghijklmnop"


def largest_case(rng: Random) -> Case:
    """Nine dims of bound 2, wherever they are; inputs with windows, strides and dims in one rank only."""
    bounds = dict.fromkeys(DIMS, 1) | dict.fromkeys(rng.sample(DIMS, 9), 2)
    tensors = [Tensor(f"T{number}", random_ranks(rng)) for number in range(7)]
    output = tuple(((dim, 1),) for dim in rng.sample(DIMS, 8))
    return mapped_case(rng, bounds, [*tensors, Tensor("O", output, is_output=True)], depth=12)


def random_ranks(rng: Random) -> tuple[tuple[tuple[str, int], ...], ...]:
    dims = rng.sample(DIMS, rng.randint(8, 12))
    ends = [0, *sorted(rng.sample(range(1, len(dims)), 7)), len(dims)]
    steps = [tuple((dim, rng.choice((1, 1, 2, 3))) for dim in dims[a:b]) for a, b in itertools.pairwise(ends)]
    return tuple(steps)


def test_the_largest_cases_equal_the_oracle() -> None:
    assert [seed for seed in range(25) if differences(largest_case(Random(seed)))] == []


@pytest.mark.parametrize(("model", "hop_pj", "router_pj"), [("compat", 0, 0), ("default", 0.5, 0), ("default", 0, 0.5)])
def test_arrays_that_would_have_to_be_listed_are_refused(model: str, hop_pj: float, router_pj: float) -> None:
    side, tensors = 2**20, ("W", "I", "O")
    energy = _core.AccessEnergy(read_pj=1, fill_pj=1, update_pj=1)
    wires = {"hop_energy_pj": hop_pj, "router_energy_pj": router_pj}
    level = _core.Level(name="L", word_bits=16, energy=energy, **wires)
    mac = _core.Arithmetic(name="mac", instances=side * side, mesh_x=side, mesh_y=side, word_bits=16, energy_pj=1)
    arch = _core.Arch(name="vast", levels=[level], arithmetic=mac, constraints=[])
    specs = [_core.TensorSpec(name, [[("n", 1)]], name == "O") for name in tensors]
    workload = _core.Workload("n", [("n", side)], specs)
    mapping = _core.Mapping([_core.LevelMapping(spatial_x=[("n", side)], keep=list(tensors))])
    with pytest.raises(SpecError, match=f"{side * side} arithmetic units; .* one by one, at most 4194304"):
        _core.evaluate(arch, workload, mapping, model=model)
