"""Sweeps: what is kept costs what evaluate says, nothing that should be kept is missing, threads change nothing."""

from __future__ import annotations

import numpy as np
import pytest

from quantloom import Mapspace, evaluate, load_arch, optimize
from quantloom.errors import InfeasibleError, MappingError, SpecError
from quantloom.mapper.membership import find_misused
from quantloom.mapper.sweep import CHUNK, sweep, sweep_chunks
from quantloom.spec.workload import parse_workload

ARCH = load_arch("eyeriss")
LAYER = parse_workload("{name: conv, dims: {C: 4, M: 8, R: 3, S: 3, P: 6, Q: 6}}", "w.yaml")[0]
SPACE = Mapspace(ARCH, LAYER)
SIZE = int(SPACE.size())


@pytest.mark.parametrize("model", ["default", "compat"])
def test_a_whole_space_has_the_optimum_and_every_valid_mapping(model: str) -> None:
    found = sweep(SPACE, bits=8, count=2 * SIZE, model=model)
    assert found.looked_at == SIZE
    expected = []
    for number in range(SIZE):
        mapping = SPACE.at(number)
        if find_misused(mapping, SPACE):
            continue
        try:
            cost = evaluate(ARCH, LAYER, mapping, bits=8, model=model)
        except InfeasibleError:
            continue
        expected.append((number, cost.energy_pj, cost.cycles))
    assert found.number.tolist() == [number for number, _, _ in expected]
    np.testing.assert_allclose(found.energy_pj, [energy for _, energy, _ in expected], rtol=1e-12)
    assert found.cycles.tolist() == [cycles for _, _, cycles in expected]
    best = int(np.argmin(found.energy_pj * found.cycles))
    optimum = optimize(ARCH, LAYER, bits=8, model=model)
    assert found.energy_pj[best] * found.cycles[best] == pytest.approx(optimum.cost.edp, rel=1e-12)
    assert found.batch.mapping(LAYER, best) == SPACE.at(int(found.number[best]))


def test_limits_keep_what_is_within_them() -> None:
    everything = sweep(SPACE, bits=8, count=SIZE)
    energy, cycles = float(np.median(everything.energy_pj)), float(np.median(everything.cycles))
    part = sweep(SPACE, bits=8, count=SIZE, max_energy_pj=energy, max_cycles=cycles)
    wanted = (everything.energy_pj <= energy) & (everything.cycles <= cycles)
    assert part.number.tolist() == everything.number[wanted].tolist()
    assert 0 < len(part) < len(everything)
    assert len(sweep(SPACE, bits=8, count=SIZE, only_valid=False)) == SIZE


def test_samples_depend_on_the_seed_alone() -> None:
    space = Mapspace(ARCH, LAYER, selection="free")
    count = CHUNK + 1000
    one = sweep(space, bits=8, count=count, seed=3)
    two = sweep(space, bits=8, count=count, seed=3, threads=2)
    assert one.number.tolist() == two.number.tolist()
    assert one.energy_pj.tolist() == two.energy_pj.tolist()
    assert (one.batch.bounds == two.batch.bounds).all()
    pieces = list(sweep_chunks(space, bits=8, count=count, seed=3))
    assert [piece.looked_at for piece in pieces] == [CHUNK, 1000]
    assert sum(map(len, pieces)) == len(one)
    assert sweep(space, bits=8, count=1000, seed=4).number.tolist() != one.number[one.number < 1000].tolist()


def test_progress_and_mistakes() -> None:
    told: list[tuple[int, int]] = []
    sweep(SPACE, count=SIZE, progress=lambda done, total, _text: told.append((done, total)))
    assert told == [(SIZE, SIZE)]
    with pytest.raises(SpecError, match="count is -1"):
        sweep(SPACE, count=-1)
    with pytest.raises(MappingError):
        sweep(SPACE, count=1, first=SIZE + 1)
    assert len(sweep(SPACE, count=0)) == 0
