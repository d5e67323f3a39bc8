"""The mapper against brute force over the numbered mapspace, and what it says when nothing fits."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

import quantloom as ql
from quantloom import _core
from quantloom.errors import InfeasibleError, MappingError, SpecError
from quantloom.mapper import packing_class_bits
from quantloom.mapper.results import cost_table_results
from quantloom.store.database import Store
from quantloom.workload.bits import BitWidths
from quantloom.workload.layer import conv_workload, linear_workload

PE_WORDS = 8


def test_packing_classes_are_represented_by_their_largest_bits() -> None:
    def bits(*words: int, table: _core.MacTable | None = None, packing: str | None = None) -> tuple[int, ...]:
        energy = _core.AccessEnergy(read_pj=1.0, fill_pj=1.0, update_pj=1.0)
        units = _core.Arithmetic(
            name="mac", instances=1, mesh_x=1, mesh_y=1, word_bits=16, energy_pj=1.0, mac_table=table
        )
        levels = [_core.Level(name=f"L{w}", word_bits=w, energy=energy, packing=packing) for w in words]
        return packing_class_bits(_core.Arch(name="words", levels=levels, arithmetic=units))

    assert bits(16) == (2, 3, 4, 5, 8)
    assert bits(8) == (2, 4, 8)
    assert bits(32) == (2, 3, 4, 5, 6, 8)
    assert bits(16, 64) == (2, 3, 4, 5, 6, 7, 8)
    assert bits(16, packing="none") == (8,)
    assert bits(16, packing="dense") == (2, 3, 4, 5, 6, 7, 8)
    bricks = _core.MacTable.bit_scalable(word_bits=8, brick_bits=2, energy_pj=1.0)
    assert bits(16, packing="none", table=bricks) == (2, 4, 8)
    serial = _core.MacTable.bit_serial(word_bits=8, energy_pj=1.0)
    assert bits(16, packing="none", table=serial) == (2, 3, 4, 5, 6, 7, 8)


def small_arch(*, buffer_words: int = 64, constraints: list[_core.Constraint] | None = None) -> _core.Arch:
    energy = {"dram": (100.0, 110.0, 120.0), "buffer": (6.0, 7.0, 8.0), "pe": (0.5, 0.7, 0.9)}

    def level(name: str, instances: int, capacity: int | None) -> _core.Level:
        read, fill, update = energy[name]
        return _core.Level(
            name=name,
            word_bits=16,
            capacity_words=capacity,
            instances=instances,
            mesh_x=instances,
            read_bandwidth=2.0 if name == "buffer" else None,
            is_dram=name == "dram",
            energy=_core.AccessEnergy(read_pj=read, fill_pj=fill, update_pj=update),
        )

    return _core.Arch(
        name="small",
        levels=[level("pe", 4, PE_WORDS), level("buffer", 1, buffer_words), level("dram", 1, None)],
        arithmetic=_core.Arithmetic(name="mac", instances=4, mesh_x=4, mesh_y=1, word_bits=16, energy_pj=1.0),
        constraints=constraints or [],
    )


KEEP_ALL = [
    _core.Constraint(origin="architecture", level=level, target="keep", keep=["Weights", "Inputs", "Outputs"])
    for level in ("pe", "buffer", "dram")
]


def fixed_orders(workload: _core.Workload) -> list[_core.Constraint]:
    """The dims in the workload's order at every level: spaces small enough to evaluate point by point."""
    return [
        _core.Constraint(
            origin="mapspace",
            level=level,
            target="temporal",
            permutation_inner=list(workload.dims),
            has_permutation=True,
        )
        for level in ("pe", "buffer", "dram")
    ]


WORKLOADS = {
    "matrix": linear_workload("matrix", inputs=4, outputs=6),
    "window": conv_workload("window", inputs=1, outputs=2, output_size=(1, 4), kernel=(1, 3)),
    "depthwise": conv_workload("depthwise", inputs=4, outputs=4, output_size=(1, 2), kernel=(1, 2), groups=4),
}


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS.keys())
@pytest.mark.parametrize("objective", ["energy", "cycles", "edp", "ed2p"])
def test_optimum_is_the_least_of_all_points_of_the_mapspace(workload: _core.Workload, objective: str) -> None:
    arch = small_arch(constraints=[*KEEP_ALL, *fixed_orders(workload)])
    space = ql.Mapspace(arch, workload)
    bits = {"Weights": 4, "Inputs": 8, "Outputs": 16}
    values = []
    for i in range(space.size()):
        mapping = space.at(i)
        if _core.check_fit(arch, workload, mapping, bits=bits):
            cost = _core.evaluate(arch, workload, mapping, bits=bits, model="compat")
            energy, cycles = cost.energy_pj, cost.cycles
            values.append(
                {"energy": energy, "cycles": cycles, "edp": energy * cycles, "ed2p": energy * cycles**2}[objective]
            )
    [found] = _core.optimize(arch, workload, [bits], objective=objective, model="compat", threads=1)
    assert found.objective == pytest.approx(min(values), rel=1e-12)
    cost = ql.evaluate(arch, workload, found.mapping, bits=bits, model="compat")
    assert (cost.energy_pj, cost.cycles) == pytest.approx((found.energy_pj, found.cycles), rel=1e-12)


def test_any_number_of_threads_gives_the_same_answer() -> None:
    workload = conv_workload("layer", inputs=8, outputs=16, output_size=(6, 6), kernel=(3, 3))
    arch = ql.load_arch("eyeriss")
    settings = [{"Weights": w, "Inputs": 8, "Outputs": 8} for w in (2, 4, 8)]
    results = [_core.optimize(arch, workload, settings, threads=threads) for threads in (1, 2, 7)]
    described = [
        [
            (o.objective, o.energy_pj, o.cycles, o.mapping, o.certificate.considered, o.certificate.fitting)
            for o in result
        ]
        for result in results
    ]
    assert described[0] == described[1] == described[2]


def test_fewer_bits_never_cost_more() -> None:
    table = ql.cost_table(
        ql.Network(
            name="one",
            layers=ql.load_network("mobilenet_v1:width=0.25,input=32").layers[:3],
            edges=ql.load_network("mobilenet_v1:width=0.25,input=32").edges,
            input_shape=(3, 32, 32),
        ),
        ql.load_arch("eyeriss"),
        bits=(2, 3, 4, 8, 16),
    )
    edp = table.energy_pj * table.cycles
    for axis in (1, 2, 3):
        assert (np.diff(edp, axis=axis) >= 0).all()
    assert table.is_proven


def test_all_settings_at_once_equal_one_by_one() -> None:
    workload = conv_workload("layer", inputs=4, outputs=8, output_size=(5, 5), kernel=(3, 3), stride=(2, 2))
    arch = ql.load_arch("eyeriss")
    settings = [{"Weights": w, "Inputs": i, "Outputs": o} for w, i, o in itertools.product((2, 5, 16), repeat=3)]
    together = _core.optimize(arch, workload, settings)
    for setting, found in zip(settings, together, strict=True):
        [alone] = _core.optimize(arch, workload, [setting])
        assert (alone.objective, alone.mapping) == (found.objective, found.mapping)


def test_a_budget_gives_a_bound_instead_of_a_proof() -> None:
    workload = conv_workload("layer", inputs=16, outputs=16, output_size=(8, 8), kernel=(3, 3))
    arch = ql.load_arch("eyeriss")
    proven = ql.optimize(arch, workload, bits=8)
    cut = ql.optimize(arch, workload, bits=8, budget=64)
    assert proven.certificate.exhausted
    assert not cut.certificate.exhausted
    assert cut.certificate.lower_bound <= proven.cost.edp <= cut.cost.edp


def test_nothing_fits_says_where_and_what_would_help() -> None:
    workload = linear_workload("layer", inputs=4, outputs=6)
    fixed = _core.Constraint(
        origin="architecture", level="pe", target="temporal", factors=[("C", "=", 4), ("M", "=", 6)]
    )
    arch = small_arch(constraints=[*KEEP_ALL, fixed])
    with pytest.raises(InfeasibleError) as caught:
        ql.optimize(arch, workload, bits=16)
    assert str(caught.value) == (
        "layer 'layer' at bits Weights 16, Inputs 16, Outputs 16: nothing fits level 'pe' of 'small'; the nearest "
        "mapping needs 34 words (Weights 24, Inputs 4, Outputs 6), the level has 8\n"
        "  hint: each of these alone makes it fit: 2 bits for all tensors; capacity of 'pe' 8 -> 34 words; "
        "without pe: keep Weights, Inputs, Outputs"
    )


def test_bad_options_are_refused() -> None:
    workload = linear_workload("layer", inputs=4, outputs=6)
    with pytest.raises(SpecError, match="unknown objective 'speed'"):
        ql.optimize(small_arch(), workload, bits=8, objective="speed")
    with pytest.raises(MappingError, match="17 bits do not fit the 16-bit words of level 'pe'"):
        ql.optimize(small_arch(), workload, bits=17)
    with pytest.raises(MappingError, match="no entry for layer 'other'"):
        ql.cost_table(ql.load_network("mobilenet_v1:width=0.25,input=32"), ql.load_arch("eyeriss"), bits=(8,)).mapping(
            "other", ql.BitWidths.uniform(8)
        )


def test_a_table_knows_equal_layers_once() -> None:
    network = ql.load_network("mobilenet_v1:width=0.25,input=32")
    steps: list[int] = []
    table = ql.cost_table(
        network, ql.load_arch("eyeriss"), bits=(8,), progress=lambda _done, total, _text: steps.append(total)
    )
    assert len(set(table.shape_of)) == steps[0] < len(network.layers)
    mapping = table.mapping(network.layers[0].name, ql.BitWidths.uniform(8))
    cost = ql.evaluate(ql.load_arch("eyeriss"), network.layers[0].workload, mapping, bits=8, model=table.model)
    assert math.isclose(cost.energy_pj, table.energy_pj[0, 0, 0, 0], rel_tol=1e-12)


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS.keys())
@pytest.mark.parametrize("model", _core.COST_MODELS)
def test_the_front_is_that_of_all_mappings(workload: _core.Workload, model: str) -> None:
    arch = small_arch(constraints=[*KEEP_ALL, *fixed_orders(workload)])
    space = _core.Mapspace(arch, workload)
    least: dict[float, float] = {}  # energy by cycles
    for i in range(space.size()):
        mapping = space.at(i)
        if _core.check_fit(arch, workload, mapping, model=model):
            cost = ql.evaluate(arch, workload, mapping, model=model)
            least[cost.cycles] = min(cost.energy_pj, least.get(cost.cycles, math.inf))
    expected: list[tuple[float, float]] = []
    for cycles, energy in sorted(least.items()):
        if not expected or energy < expected[-1][1] * (1 - 1e-12):
            expected.append((cycles, energy))
    found = ql.optimize(arch, workload, model=model, objective="pareto")
    assert [point.cycles for point in found.front] == [cycles for cycles, _ in expected]
    assert [point.energy_pj for point in found.front] == pytest.approx([energy for _, energy in expected])
    assert found.cost.edp == pytest.approx(min(cycles * energy for cycles, energy in expected))


def test_a_space_that_no_search_can_finish_is_refused() -> None:
    layer = conv_workload("layer", inputs=256, outputs=256, output_size=(28, 28), kernel=(3, 3))
    with pytest.raises(MappingError, match="too large to prove an optimum"):
        ql.optimize(ql.load_arch("eyeriss"), layer, bits=8, selection="free", model="compat")


def test_a_refused_layer_does_not_end_a_table(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(
        "name: n\ninput_shape: [256, 30, 30]\n"
        "edges: [{name: image, shape: [256, 30, 30]}, {name: a, shape: [256, 28, 28]}, {name: b, shape: [2, 1, 1]}]\n"
        "layers:\n"
        "  - {name: large, reads: image, writes: a, dims: {C: 256, M: 256, R: 3, S: 3, P: 28, Q: 28}}\n"
        "  - {name: small, reads: a, writes: b, dims: {C: 2, M: 2, R: 1, S: 1, P: 1, Q: 1}}\n"
    )
    network, arch = ql.load_network(str(tmp_path / "n.yaml")), ql.load_arch("eyeriss")
    options = {"bits": (4, 8), "selection": "free", "model": "compat"}
    with Store.open(tmp_path / "store.sqlite", note=pytest.fail) as store:
        table = ql.cost_table(network, arch, **options, store=store)
        assert ql.cost_table(network, arch, **options, store=store).entries == table.entries
    assert {layer for layer, _ in table.refused} == {"large"}
    assert len(table.refused) == 8
    assert all("too large to prove an optimum" in reason for reason in table.refused.values())
    bits = BitWidths.uniform(8)
    assert table.entry("small", bits).exhausted
    assert table.mapping("small", bits).levels
    assert table.entry("large", bits).lower_bound > 0
    with pytest.raises(MappingError, match=r"no mapping of layer 'large' at bits 8: .*too large"):
        table.mapping("large", bits)
    with pytest.raises(MappingError, match=r"cost table, layer 'large' at bits 4: .*too large"):
        table.check_answered()
    rows = cost_table_results(table, arch, lambda _: "-").rows
    reasons = [row[-1] for row in rows]
    assert all("too large" in str(reason) for reason in reasons[:8])
    assert reasons[8:] == [None] * 8
