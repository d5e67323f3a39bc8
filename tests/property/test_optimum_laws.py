"""What holds at the optimum of small mapspaces: fewer bits and more room never cost more (both cost models)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantloom._core import AccessEnergy, Arch, Arithmetic, Level, MacTable, Optimum, Workload, optimize
from quantloom.workload.layer import conv_workload, einsum_workload, linear_workload

EXAMPLES = settings(max_examples=8, deadline=None)
TENSORS = ("Weights", "Inputs", "Outputs")
OBJECTIVES = ("energy", "cycles", "edp", "ed2p")
BITS = st.integers(1, 16)
UNITS = {
    "constant": None,
    "bit-scalable": MacTable.bit_scalable(word_bits=16, brick_bits=2, energy_pj=2.0),
    "bit-serial": MacTable.bit_serial(word_bits=16, serial="second", energy_pj=2.0),
    "both operands bit-serial": MacTable.bit_serial(word_bits=16, serial="both", lanes=32, energy_pj=2.0),
    "given": MacTable(
        first_bits=[3, 16],
        second_bits=[4, 8, 16],
        energy_pj=[0.25, 0.5, 1, 0.5, 1, 2],
        rate=[(4, 1), (3, 1), *[(1, 2)] * 4],
    ),
}
SCORES = {"Weights": ["B", "L", "E"], "Inputs": ["B", "T", "E"], "Outputs": ["B", "T", "L"]}
WORKLOADS = {
    "matrix": linear_workload("matrix", inputs=4, outputs=6),
    "window": conv_workload("window", inputs=1, outputs=2, output_size=(1, 4), kernel=(1, 3)),
    "depthwise": conv_workload("depthwise", inputs=4, outputs=4, output_size=(1, 2), kernel=(1, 2), groups=4),
    "attention": einsum_workload("scores", {"B": 2, "L": 2, "T": 3, "E": 2}, SCORES, output="Outputs"),
}


def small_arch(units: MacTable | None = None, *, pe_words: int = 8, buffer_words: int = 64) -> Arch:
    """Four units with a memory each, a buffer and a DRAM, narrow enough to be waited for."""

    def level(name: str, instances: int, capacity: int | None, access_pj: float) -> Level:
        return Level(
            name=name,
            word_bits=16,
            capacity_words=capacity,
            instances=instances,
            mesh_x=instances,
            read_bandwidth=None if name == "pe" else 1.0,
            is_dram=name == "dram",
            energy=AccessEnergy(read_pj=access_pj, fill_pj=1.125 * access_pj, update_pj=1.25 * access_pj),
            leak_energy_pj=0.125,
        )

    arithmetic = Arithmetic(
        name="mac",
        instances=4,
        mesh_x=4,
        mesh_y=1,
        word_bits=16,
        energy_pj=1.0,
        mac_table=units,
        leak_energy_pj=0.125,
        idle_energy_pj=0.0625,
    )
    levels = [level("pe", 4, pe_words, 0.5), level("buffer", 1, buffer_words, 6.0), level("dram", 1, None, 100.0)]
    return Arch(name="small", levels=levels, arithmetic=arithmetic)


def never_worse(better: Optimum, worse: Optimum) -> bool:
    """Nothing that fits is worse than anything."""
    if not (better.found and worse.found):
        return better.found or not worse.found
    return better.objective <= worse.objective * (1 + 1e-12)


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS.keys())
@EXAMPLES
@given(st.sampled_from(OBJECTIVES), st.sampled_from(list(WORKLOADS.values())), st.data())
def test_fewer_bits_never_cost_more(
    units: MacTable | None, objective: str, workload: Workload, data: st.DataObject
) -> None:
    """With any kind of arithmetic units; the compat model has one kind only."""
    model = data.draw(st.sampled_from(("default", "compat"))) if units is None else "default"
    packing = "word" if model == "compat" else data.draw(st.sampled_from(("word", "dense")))
    settings = [{tensor: data.draw(BITS) for tensor in TENSORS}]
    for _ in range(3):
        settings.append({tensor: data.draw(st.integers(1, bits)) for tensor, bits in settings[-1].items()})
    wide_to_narrow = optimize(
        small_arch(units), workload, settings, objective=objective, model=model, packing=packing, threads=1
    )
    for wider, narrower in itertools.pairwise(wide_to_narrow):
        assert never_worse(narrower, wider)


@EXAMPLES
@given(
    st.sampled_from(("default", "compat")),
    st.sampled_from(OBJECTIVES),
    st.sampled_from(list(WORKLOADS.values())),
    st.data(),
)
def test_twice_the_capacity_never_costs_more(
    model: str, objective: str, workload: Workload, data: st.DataObject
) -> None:
    words = {"pe_words": data.draw(st.integers(1, 12)), "buffer_words": data.draw(st.integers(1, 64))}
    larger = data.draw(st.sampled_from(sorted(words)))
    bits = {tensor: data.draw(BITS) for tensor in TENSORS}
    small, large = (
        optimize(small_arch(None, **room), workload, [bits], objective=objective, model=model, threads=1)[0]
        for room in (words, words | {larger: 2 * words[larger]})
    )
    assert never_worse(large, small)
