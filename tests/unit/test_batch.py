"""The batch door: the same answers as evaluate() and check_fit(), and clear words for arrays it cannot take."""

from __future__ import annotations

import pickle
import threading
import time

import numpy as np
import pytest

from quantloom import _core
from quantloom._core import Arch, Mapspace, TensorSpec, Workload
from quantloom.errors import MappingError, SpecError
from quantloom.mapper import BatchStatus, MappingBatch, evaluate_batch
from quantloom.spec.arch import load_arch
from quantloom.workload.layer import conv_workload

BITS = {"Weights": 4, "Inputs": 8, "Outputs": 8}
DENSE = conv_workload("dense", inputs=32, outputs=64, output_size=(28, 28), kernel=(3, 3))
DEPTHWISE = Workload(
    "depthwise",
    {"G": 96, "R": 3, "S": 3, "P": 14, "Q": 14}.items(),
    [
        TensorSpec("Weights", [[("G", 1)], [("R", 1)], [("S", 1)]]),
        TensorSpec("Inputs", [[("G", 1)], [("R", 1), ("P", 2)], [("S", 1), ("Q", 2)]]),
        TensorSpec("Outputs", [[("G", 1)], [("P", 1)], [("Q", 1)]], is_output=True),
    ],
)


def check_equal(arch: Arch, workload: Workload, batch: MappingBatch, costs: _core.BatchCosts, model: str) -> int:
    """Compares every mapping and returns how many are valid."""
    for i, status in enumerate(costs.status):
        mapping = batch.mapping(workload, i)
        fit = _core.check_fit(arch, workload, mapping, bits=BITS, model=model)
        expected = {"fits": BatchStatus.VALID, "fanout": BatchStatus.FANOUT}.get(
            fit.reason, BatchStatus.CAPACITY + fit.level
        )
        assert status == expected
        if fit:
            cost = _core.evaluate(arch, workload, mapping, bits=BITS, model=model)
            assert (costs.energy_pj[i], costs.cycles[i]) == (cost.energy_pj, cost.cycles)
        else:
            assert np.isinf(costs.energy_pj[i])
            assert np.isinf(costs.cycles[i])
    return int((costs.status == BatchStatus.VALID).sum())


@pytest.mark.parametrize("model", _core.COST_MODELS)
@pytest.mark.parametrize("workload", [DENSE, DEPTHWISE], ids=lambda w: w.name)
@pytest.mark.parametrize("name", ["eyeriss", "simba"])
def test_equals_evaluate(name: str, workload: Workload, model: str) -> None:
    arch = load_arch(name)
    batch = Mapspace(arch, workload).sample_batch(1500, seed=3)
    costs = evaluate_batch(arch, workload, batch, bits=BITS, model=model)
    assert len(costs) == len(batch) == 1500
    assert check_equal(arch, workload, batch, costs, model) > 10


@pytest.mark.parametrize("selection", ["all", "free"])
def test_a_mapspace_gives_its_mappings_as_batches(selection: str) -> None:
    arch = load_arch("simba")
    space = Mapspace(arch, DENSE, selection=selection)
    batch = space.batch(space.size() - 20, 30)
    assert len(batch) == 20
    assert [batch.mapping(DENSE, i) for i in range(20)] == [space.at(space.size() - 20 + i) for i in range(20)]
    drawn = space.sample_batch(20, seed=5)
    assert [drawn.mapping(DENSE, i) for i in range(20)] == space.sample(20, seed=5)
    assert drawn.slots == batch.slots
    assert batch.mapping(DENSE, -1) == batch.mapping(DENSE, 19)
    with pytest.raises(IndexError, match="batch of 20 mappings has no mapping 20"):
        batch.mapping(DENSE, 20)
    for first in (-1, space.size() + 1):
        with pytest.raises(MappingError):
            space.batch(first, 1)


def test_threads_do_not_change_the_result() -> None:
    arch = load_arch("eyeriss")
    batch = Mapspace(arch, DENSE).sample_batch(20_000, seed=1)
    one, three, all_ = (evaluate_batch(arch, DENSE, batch, bits=8, threads=n) for n in (1, 3, 0))
    for field in ("energy_pj", "cycles", "status"):
        np.testing.assert_array_equal(getattr(one, field), getattr(three, field))
        np.testing.assert_array_equal(getattr(one, field), getattr(all_, field))


def arrays(**changes: object) -> MappingBatch:
    """A matrix product with M = 4, C = 6 as two mappings, or what is left of it after the changes."""
    fields = {
        "slots": [(1, "temporal"), (0, "temporal"), (0, "temporal")],
        "dims": np.array([[0, 1], [1, 0], [0, 1]], np.uint8),
        "bounds": np.array([[4, 2], [6, 4], [1, 3]], np.uint32),
        "keep": np.full((2, 2), 7, np.uint32),
    }
    fields.update(changes)
    return MappingBatch(fields.pop("slots"), **fields)


def small() -> tuple[Arch, Workload]:
    energy = _core.AccessEnergy(read_pj=1, fill_pj=2, update_pj=3)
    levels = [
        _core.Level(name="buffer", word_bits=16, capacity_words=64, energy=energy),
        _core.Level(name="DRAM", word_bits=16, energy=energy),
    ]
    workload = Workload(
        "matmul",
        [("M", 4), ("C", 6)],
        [
            TensorSpec("Weights", [[("C", 1)], [("M", 1)]]),
            TensorSpec("Inputs", [[("C", 1)]]),
            TensorSpec("Outputs", [[("M", 1)]], is_output=True),
        ],
    )
    units = _core.Arithmetic(name="mac", instances=1, mesh_x=1, mesh_y=1, word_bits=16, energy_pj=0.5)
    return Arch(name="small", levels=levels, arithmetic=units), workload


def test_arrays_of_ones_own_are_not_copied() -> None:
    arch, workload = small()
    bounds = np.array([[4, 2], [6, 4], [1, 3]], np.uint32)
    batch = arrays(bounds=bounds)
    assert evaluate_batch(arch, workload, batch).status.tolist() == [0, 0]
    bounds[2, 1] = 6
    assert evaluate_batch(arch, workload, batch).status.tolist() == [0, BatchStatus.MALFORMED]
    assert np.shares_memory(batch.bounds, bounds)
    assert batch.slots == [(1, "temporal"), (0, "temporal"), (0, "temporal")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dims": np.zeros((3, 2), np.int64)}, "dims has dtype int64, expected uint8"),
        ({"bounds": np.ones((3, 2), np.int32)}, "bounds has dtype int32, expected uint32"),
        ({"keep": np.ones(2, np.uint32)}, r"keep has 1 axes, expected 2: \[row, mapping\]"),
        ({"bounds": np.ones((2, 3), np.uint32).T}, "bounds is not C-contiguous"),
        ({"bounds": np.ones((2, 2), np.uint32)}, "dims is 3 x 2 and bounds 2 x 2, expected a row for each of 3 slots"),
        ({"keep": np.ones((2, 3), np.uint32)}, "dims, bounds and keep have 2, 2 and 3 columns"),
        (
            {"slots": [(1, "time"), (0, "temporal"), (0, "temporal")]},
            "slot of kind 'time', expected temporal, spatial_y",
        ),
    ],
)
def test_arrays_that_make_no_batch(changes: dict[str, object], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        arrays(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": np.full((3, 2), 7, np.uint32)}, "keep has 3 rows, architecture 'small' has 2 levels"),
        ({"slots": [(0, "temporal"), (1, "temporal"), (0, "temporal")]}, "slot 1 is out of order"),
        ({"slots": [(2, "temporal"), (0, "temporal"), (0, "temporal")]}, "slot 0 is of level 2"),
    ],
)
def test_batches_of_another_architecture(changes: dict[str, object], message: str) -> None:
    arch, workload = small()
    with pytest.raises(MappingError, match=message):
        evaluate_batch(arch, workload, arrays(**changes))


def test_options_are_those_of_evaluate() -> None:
    arch, workload = small()
    batch = arrays()
    with pytest.raises(SpecError, match="the compat model packs by word only"):
        evaluate_batch(arch, workload, batch, model="compat", packing="dense")
    with pytest.raises(MappingError, match="17 bits do not fit"):
        evaluate_batch(arch, workload, batch, bits=17)
    with pytest.raises(SpecError, match="threads: -1, expected 1 or more"):
        evaluate_batch(arch, workload, batch, threads=-1)
    one_dim = Workload(
        "one", [("M", 4)], [TensorSpec("x", [[("M", 1)]]), TensorSpec("y", [[("M", 1)]], is_output=True)]
    )
    with pytest.raises(MappingError, match="has a loop over dim 1"):
        batch.mapping(one_dim, 0)
    packed = evaluate_batch(arch, workload, batch, bits=4, packing="dense", psum_bits=12)
    for i in range(2):
        cost = _core.evaluate(
            arch,
            workload,
            batch.mapping(workload, i),
            bits={"Weights": 4, "Inputs": 4, "Outputs": 4},
            packing="dense",
            psum_bits=12,
        )
        assert packed.energy_pj[i] == cost.energy_pj


def test_an_empty_batch() -> None:
    arch, workload = small()
    empty = MappingBatch(
        [], dims=np.empty((0, 0), np.uint8), bounds=np.empty((0, 0), np.uint32), keep=np.empty((2, 0), np.uint32)
    )
    assert len(evaluate_batch(arch, workload, empty)) == 0
    with pytest.raises(TypeError):
        pickle.dumps(empty)


def test_which_evaluations_are_vectorized() -> None:
    arch = load_arch("eyeriss")
    assert _core.is_batch_vectorized(arch, DENSE, bits=BITS)
    assert _core.is_batch_vectorized(arch, DENSE, bits=BITS, model="compat")


def test_other_python_threads_run_meanwhile() -> None:
    arch = load_arch("simba")
    batch = Mapspace(arch, DENSE).sample_batch(100_000, seed=2)
    evaluation = threading.Thread(target=lambda: evaluate_batch(arch, DENSE, batch, model="compat"))
    evaluation.start()
    turns = 0
    while evaluation.is_alive():
        turns += 1
        time.sleep(0)
    assert turns > 10
