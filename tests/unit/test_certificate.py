"""The checker passes what the mapper says and catches what is forged."""

from __future__ import annotations

from dataclasses import replace

import pytest

import quantloom as ql
from quantloom import _core
from quantloom.mapper.certificate import Claim, Verdict, check_claim, claim_of
from quantloom.mapper.membership import count_points, find_outside
from quantloom.workload.layer import conv_workload, linear_workload
from recorded_searches import SEARCHES, SIZES, name_of, space_of

EYERISS = ql.load_arch("eyeriss")
LAYER = conv_workload("layer", inputs=8, outputs=8, output_size=(6, 6), kernel=(3, 3))
TINY = linear_workload("tiny", inputs=2, outputs=3)


def small_arch(constraints: list[_core.Constraint] | None = None) -> _core.Arch:
    def level(name: str, instances: int, capacity: int | None, energy: float) -> _core.Level:
        return _core.Level(
            name=name,
            word_bits=16,
            capacity_words=capacity,
            instances=instances,
            mesh_x=instances,
            is_dram=name == "dram",
            energy=_core.AccessEnergy(read_pj=energy, fill_pj=energy, update_pj=energy),
        )

    units = _core.Arithmetic(name="mac", instances=3, mesh_x=3, mesh_y=1, word_bits=16, energy_pj=1.0)
    levels = [level("pe", 1, 8, 1.0), level("dram", 1, None, 100.0)]
    return _core.Arch(name="small", levels=levels, arithmetic=units, constraints=constraints or [])


def one_order(level: str) -> _core.Constraint:
    return _core.Constraint(
        origin="mapspace", level=level, target="temporal", permutation_inner=list(TINY.dims), has_permutation=True
    )


def claim(arch: _core.Arch = EYERISS, layer: _core.Workload = LAYER, **options: object) -> Claim:
    return claim_of(ql.optimize(arch, layer, bits=8, **options))  # type: ignore[arg-type]


def check(claimed: Claim, arch: _core.Arch = EYERISS, layer: _core.Workload = LAYER, **options: object) -> Verdict:
    return check_claim(arch, layer, claimed, bits=8, points=300, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("arch", ["eyeriss", "simba"])
@pytest.mark.parametrize("objective", ["edp", "energy", "cycles", "ed2p", "pareto"])
@pytest.mark.parametrize("model", ["default", "compat"])
def test_what_the_mapper_says_passes(arch: str, objective: str, model: str) -> None:
    options = {"objective": objective, "model": model}
    verdict = check(claim(ql.load_arch(arch), **options), ql.load_arch(arch), **options)
    assert verdict.faults == ()
    assert verdict.compared > 0


@pytest.mark.parametrize("selection", ["all", "architecture"])
def test_every_selection_passes(selection: str) -> None:
    assert check(claim(selection=selection), selection=selection).faults == ()


def test_a_small_space_is_proven_anew() -> None:
    arch = small_arch([one_order("pe"), one_order("dram")])
    claimed = claim(arch, TINY)
    assert claimed.space_size == 3 * 3 * 8 * 2**3  # factors of 2 and 3 over three blocks, splits, bypasses
    verdict = check_claim(arch, TINY, claimed, bits=8, points=claimed.space_size)
    assert verdict == Verdict(faults=(), compared=verdict.compared, is_complete=True)
    walked = check_claim(arch, TINY, claimed, bits=8, points=claimed.space_size - 1)
    assert walked.is_complete  # by the different mappings, of which there are fewer
    assert 0 < walked.compared < verdict.compared


def test_a_budgeted_result_passes_as_not_proven() -> None:
    claimed = claim(budget=50)
    assert not claimed.exhausted
    assert check(claimed).faults == ()


def test_a_worse_mapping_claimed_optimal_is_caught() -> None:
    arch = small_arch()
    best = claim(arch, TINY, selection="free")
    worse = None
    for mapping in _core.Mapspace(arch, TINY, selection="free").mappings(limit=10_000):
        try:
            cost = ql.evaluate(arch, TINY, mapping, bits=8)
        except ql.QuantloomError:
            continue
        if cost.edp > best.lower_bound * 1.5:
            worse = mapping, cost
    assert worse is not None
    mapping, cost = worse
    forged = replace(best, mapping=mapping, energy_pj=cost.energy_pj, cycles=cost.cycles, lower_bound=cost.edp)
    [fault] = check_claim(arch, TINY, forged, bits=8, selection="free", points=20_000).faults
    assert "are better than claimed possible" in fault
    [fault] = check_claim(arch, TINY, forged, bits=8, selection="free", points=20).faults  # by samples
    assert "are better than claimed possible" in fault


def test_forged_numbers_are_caught() -> None:
    true = claim()
    forged = {
        "the mapping costs": replace(true, energy_pj=true.energy_pj * 0.9, lower_bound=true.lower_bound * 0.9),
        "the space has": replace(true, space_size=true.space_size + 1),
        "is above the result": replace(true, lower_bound=true.lower_bound * 1.01),
        "claimed optimal, but the lower bound is": replace(true, lower_bound=true.lower_bound * 0.99),
    }
    for text, each in forged.items():
        assert any(text in fault for fault in check(each).faults), text
    assert check(replace(true, lower_bound=0.0, exhausted=False)).faults == ()


def test_a_front_without_one_of_its_points_is_caught() -> None:
    arch, options = small_arch(), {"objective": "pareto", "selection": "free"}
    layer = linear_workload("tiny", inputs=4, outputs=6)
    true = claim(arch, layer, **options)
    assert check_claim(arch, layer, true, bits=8, points=20_000, **options).faults == ()
    for gone in range(len(true.front)):
        forged = replace(true, front=true.front[:gone] + true.front[gone + 1 :])
        assert check_claim(arch, layer, forged, bits=8, points=20_000, **options).faults
    assert "does not fall" in " ".join(check(replace(true, front=true.front[:1] * 2), arch, layer, **options).faults)


def moved(mapping: _core.Mapping, position: int, **changes: object) -> _core.Mapping:
    levels = list(mapping.levels)
    old = levels[position]
    fields = {name: getattr(old, name) for name in ("temporal", "spatial_x", "spatial_y", "keep")}
    levels[position] = _core.LevelMapping(**{**fields, **changes})
    return _core.Mapping(levels)


def test_mappings_outside_of_the_space_are_caught() -> None:
    space = _core.Mapspace(EYERISS, LAYER)
    names = [level.name for level in EYERISS.levels]
    mapping = claim().mapping
    assert find_outside(mapping, space) == []
    for position, name in enumerate(names):
        for tensor, keep in space.keep[name].items():
            kept = set(mapping.levels[position].keep) ^ {tensor}
            faults = find_outside(moved(mapping, position, keep=sorted(kept)), space)
            assert bool(faults) == (keep != "open")
    assert find_outside(_core.Mapping(mapping.levels[:-1]), space) == ["it has 5 levels, the accelerator 6"]
    fixed = next(block for block in space.blocks if block["kind"] == "temporal" and (1, 1) in block["factors"].values())
    dim = next(dim for dim, limits in fixed["factors"].items() if limits == (1, 1))
    position = names.index(fixed["level"])
    loops = [loop for loop in mapping.levels[position].temporal if loop[0] != dim]
    faults = find_outside(moved(mapping, position, temporal=[*loops, (dim, 7)]), space)
    assert any(f"the factor of {dim} is 7, not in 1 to 1" in fault for fault in faults)
    assert any("a dim stands twice" in f for f in find_outside(moved(mapping, 0, temporal=[("C", 2), ("C", 2)]), space))
    swapped = moved(mapping, 0, temporal=[("C", 2), ("M", 2)][:: 1 if next(iter(LAYER.dims)) == "C" else -1])
    assert any("is not of the given one" in fault for fault in find_outside(swapped, space))


@pytest.mark.parametrize("record", SIZES, ids=lambda record: f"{record['arch']}-{record['layer']}")
def test_points_are_counted_as_the_reference_prints_them(record: dict[str, object]) -> None:
    space = space_of(record)
    assert count_points(space) == space.size()


@pytest.mark.parametrize("record", SEARCHES, ids=name_of)
def test_every_numbered_point_is_in_its_space(record: dict[str, object]) -> None:
    space = space_of(record)
    size = int(space.size())
    assert count_points(space) == size
    step = max(1, size // 200)
    for index in range(0, size, step):
        assert find_outside(space.at(index), space) == []
