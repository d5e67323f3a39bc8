"""The random cases see every switch of the model: a core that ignored any one would be found out by the fixed cases."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest

from quantloom import _core

from .cases import core_arch, core_mapping, core_workload, random_case
from .compare import compare
from .prices import Priced, simulate
from .records import Case, Level, Tensor

CASES = 400  # those that test_core_equals_oracle compares in every run
LEAST = 3  # of them, in which each switch must show


def at_every_level(change: Callable[[Level], Level]) -> Callable[[Case], Case]:
    return lambda case: replace(case, levels=tuple(change(level) for level in case.levels))


def level_without(**values: Any) -> Callable[[Case], Case]:
    return at_every_level(lambda level: replace(level, **values))


def without_energy(kind: str) -> Callable[[Case], Case]:
    return at_every_level(lambda level: replace(level, pj=level.pj | {kind: 0.0}))


def without_bandwidth(which: int) -> Callable[[Case], Case]:
    def change(level: Level) -> Level:
        read, write, shared = (None if at == which else limit for at, limit in enumerate(level.bandwidth))
        return replace(level, bandwidth=(read, write, shared))

    return at_every_level(change)


def case_without(**values: Any) -> Callable[[Case], Case]:
    return lambda case: replace(case, **values)


def with_plain_windows(*, outputs: bool) -> Callable[[Case], Case]:
    """Windows without strides and holes."""

    def changed(tensor: Tensor) -> Tensor:
        if tensor.is_output != outputs:
            return tensor
        ranks = (tuple((dim, 1) for dim, _ in rank) if len(rank) > 1 else rank for rank in tensor.ranks)
        return replace(tensor, ranks=tuple(ranks))

    return lambda case: replace(case, tensors=tuple(changed(tensor) for tensor in case.tensors))


def narrower_table(case: Case) -> Case:
    """Every MAC at the widths of the last row and column."""
    table = case.mac_table
    if table is None:
        return case
    last_energy, last_rate = table.energy_pj[-1][-1], table.rate[-1][-1]
    return replace(
        case,
        mac_table=replace(
            table,
            energy_pj=tuple(tuple(last_energy for _ in row) for row in table.energy_pj),
            rate=tuple(tuple(last_rate for _ in row) for row in table.rate),
        ),
    )


def without_slack(case: Case) -> Case:
    """Below each instance of the innermost level, only the arithmetic units that the mapping uses."""
    inner = case.levels[0]
    used_x = math.prod(bound for _, bound in inner.spatial_x)
    used_y = math.prod(bound for _, bound in inner.spatial_y)
    return replace(case, units=(inner.mesh[0] * used_x, inner.mesh[1] * used_y))


IGNORED: dict[str, Callable[[Case], Case]] = {
    "packing of the level": level_without(packing=None),
    "packing of the case": case_without(packing="word"),
    "packing dense": lambda case: replace(case, packing="word" if case.packing == "dense" else case.packing),
    "packing none": lambda case: replace(case, packing="word" if case.packing == "none" else case.packing),
    "multicast": level_without(multicast=True),
    "reduction on the way": level_without(reduction=True),
    "forwarding": level_without(forwarding=False),
    "bandwidth in bits": level_without(bandwidth_in_bits=False),
    "read bandwidth": without_bandwidth(0),
    "write bandwidth": without_bandwidth(1),
    "shared bandwidth": without_bandwidth(2),
    "blocks of words": level_without(block_words=1),
    "clusters": level_without(cluster_size=1),
    "width of words": level_without(word_bits=16),
    "hardware larger than the mapping": without_slack,
    **{
        f"{kind} energy": without_energy(kind)
        for kind in ("read", "fill", "update", "address", "leak", "idle", "hop", "router", "adder")
    },
    "bits": case_without(bits={}),
    "width of partial sums": case_without(psum_bits=None),
    "the accelerator's width of partial sums": case_without(arch_psum_bits=None),
    "MAC energy": case_without(mac_pj=1.0),
    "table of MACs": case_without(mac_table=None),
    "operand bits in the table of MACs": narrower_table,
    "leakage of units": case_without(unit_leak_pj=0.0),
    "idle energy of units": case_without(unit_idle_pj=0.0),
    "order of temporal loops": at_every_level(lambda level: replace(level, temporal=level.temporal[::-1])),
    "order of spatial loops": at_every_level(
        lambda level: replace(level, spatial_x=level.spatial_x[::-1], spatial_y=level.spatial_y[::-1])
    ),
    "strides and holes of windows on inputs": with_plain_windows(outputs=False),
    "strides and holes of windows on outputs": with_plain_windows(outputs=True),
}


@cache
def fixed_cases() -> list[tuple[Case, Priced]]:
    cases = [random_case(Random(seed)) for seed in range(CASES)]
    return [(case, simulate(case)) for case in cases]


def cost_of(case: Case) -> _core.Cost:
    options: dict[str, Any] = {"model": "default", "packing": case.packing, "psum_bits": case.psum_bits or 0}
    return _core.evaluate(core_arch(case), core_workload(case), core_mapping(case), bits=case.bits, **options)


@pytest.mark.parametrize("switch", IGNORED)
def test_a_core_that_ignores_it_is_found_out(switch: str) -> None:
    found = 0
    for case, oracle in fixed_cases():
        ignoring = IGNORED[switch](case)
        if ignoring != case and any(compare(case, cost_of(ignoring), oracle)):
            found += 1
            if found == LEAST:
                return
    pytest.fail(f"only {found} of {CASES} cases show it")
