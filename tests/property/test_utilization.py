"""Limits on the use of fanouts and capacities, against a look at every mapping of small mapspaces one by one."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache

import pytest

from quantloom import evaluate, optimize
from quantloom._core import Arch, Mapping, Mapspace, Workload
from quantloom.errors import InfeasibleError, SpecError
from quantloom.mapper.certificate import check_claim, claim_of
from quantloom.mapper.heuristics import search_heuristically
from quantloom.spec.arch import parse_arch
from quantloom.spec.workload import parse_workload

ARCH = """\
name: small
source: made up
levels:
  - {name: DRAM, technology: DRAM, word_bits: 16, energy_pj: {read: 100, write: 100, source: made up}}
  - name: Buf
    word_bits: 16
    capacity_words: 20
    bypass: [Weights]
    energy_pj: {read: 5, write: 5, source: made up}
  - name: Reg
    word_bits: 16
    capacity_words: 9
    instances: {x: 2, y: 2}
    keep: [Outputs]
    energy_pj: {read: 1, write: 1, source: made up}
arithmetic: {name: mac, word_bits: 16, instances: {x: 4, y: 2}, energy_pj: {mac: 1, source: made up}}
constraints:
  architecture: {Reg: {temporal: {factors: {C: 1}}}}
"""
LIMITS = {
    "fanout": "mapspace: {Buf: {utilization: {min_fanout: 0.75}}, Reg: {utilization: {max_fanout: 0.5}}}",
    "parallelism": "min_parallelism: 0.4",
    "least capacity": "mapspace: {Reg: {utilization: {min_capacity: 0.3}}, Buf: {utilization: {min_capacity: 0.3}}}",
    "most capacity": "mapspace: {Reg: {utilization: {max_capacity: 0.5}}}",
    "all": "min_parallelism: 0.25\n  "
    "mapspace: {Reg: {utilization: {min_fanout: 1, min_capacity: 0.3, max_capacity: 0.8}}}",
}
CONV = parse_workload("{name: conv, dims: {C: 4, M: 2, P: 3}}", "w.yaml")[0]
BITS = [{}, {"Weights": 4, "Inputs": 8, "Outputs": 8}]


def arch_with(limits: str) -> Arch:
    return parse_arch(f"{ARCH}  {limits}\n", "a.yaml")


PLAIN = parse_arch(ARCH, "a.yaml")


@cache
def everything() -> tuple[Mapping, ...]:
    return tuple(Mapspace(PLAIN, CONV).mappings(limit=10**6))


def lanes_of(mapping: Mapping) -> dict[str, int]:
    names = ("Reg", "Buf", "DRAM")
    return {
        name: math.prod(bound for _, bound in (*level.spatial_x, *level.spatial_y))
        for name, level in zip(names, mapping.levels, strict=True)
    }


def reason(limits: str, mapping: Mapping, words: dict[str, int]) -> str:
    """Why a mapping within the fanouts does not count, written from the description of the limits."""
    lanes = lanes_of(mapping)
    capacity = {"Reg": 9, "Buf": 20}
    least = {"Reg": 0, "Buf": 0}
    if limits == "fanout" and lanes["Reg"] > 1:
        return "uses Reg"
    if limits == "fanout" and lanes["Buf"] < 3:
        return "uses Buf"
    if limits == "all" and lanes["Reg"] < 2:
        return "uses Reg"
    if limits in ("parallelism", "all") and math.prod(lanes.values()) < (4 if limits == "parallelism" else 2):
        return "parallelism"
    if limits == "least capacity":
        least = {"Reg": 3, "Buf": 6}
    if limits == "most capacity":
        capacity["Reg"] = 4
    if limits == "all":
        capacity["Reg"], least["Reg"] = 7, 3
    for level in ("Reg", "Buf"):
        if words[level] > capacity[level]:
            return f"over {level}"
        if words[level] < least[level]:
            return f"uses {level}"
    return "valid"


@cache
def words_of(setting: int, model: str = "compat") -> tuple[dict[str, int], ...]:
    """Words of every mapping at every level, on hardware without limits."""
    roomy = parse_arch(ARCH.replace("words: 20", "words: unlimited").replace("words: 9", "words: unlimited"), "a.yaml")
    found = []
    for mapping in everything():
        cost = evaluate(roomy, CONV, mapping, bits=BITS[setting], model=model)
        found.append(
            {name: sum(t.utilized_words for t in level.tensors.values()) for name, level in cost.levels.items()}
        )
    return tuple(found)


@pytest.mark.parametrize("model", ["compat", "default"])
@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("setting", [0, 1])
def test_counts_are_those_of_a_look_at_every_mapping(limits: str, setting: int, model: str) -> None:
    wanted = Counter(
        reason(limits, mapping, words) for mapping, words in zip(everything(), words_of(setting, model), strict=True)
    )
    space = Mapspace(arch_with(LIMITS[limits]), CONV)
    found = space.count(BITS[setting], enumeration="distinct", model=model, threads=2)
    assert found.valid == wanted["valid"] > 0
    assert found.invalid_capacity_by_level == {
        level: wanted[f"over {level}"] for level in ("Reg", "Buf") if wanted[f"over {level}"]
    }
    assert found.invalid_utilization_by_level == {
        level: wanted[f"uses {level}"] for level in ("Reg", "Buf") if wanted[f"uses {level}"]
    }
    assert found.considered - found.invalid_fanout == len(everything())
    assert found.valid + found.invalid_capacity + found.invalid_utilization == len(everything())
    reference = space.count(BITS[setting])
    parts = reference.valid + reference.invalid_fanout + reference.invalid_capacity + reference.invalid_utilization
    assert reference.considered == parts
    assert model != "compat" or reference.valid >= found.valid


@pytest.mark.parametrize("limits", LIMITS)
def test_optimum_is_the_best_mapping_within_the_limits(limits: str) -> None:
    arch = arch_with(LIMITS[limits])
    bits = BITS[1]
    valid = [
        evaluate(PLAIN, CONV, mapping, bits=bits, model="compat")
        for mapping, words in zip(everything(), words_of(1), strict=True)
        if reason(limits, mapping, words) == "valid"
    ]
    for objective in ("edp", "energy"):
        best = min(cost.edp if objective == "edp" else cost.energy_pj for cost in valid)
        found = optimize(arch, CONV, bits=bits, model="compat", objective=objective)
        assert found.certificate.exhausted
        assert (found.certificate.method == "exhaustive") == (limits in ("least capacity", "all"))
        assert (found.cost.edp if objective == "edp" else found.cost.energy_pj) == pytest.approx(best, rel=1e-12)
        claim = claim_of(found)
        assert check_claim(arch, CONV, claim, bits=bits, objective=objective, model="compat").faults == ()


@pytest.mark.parametrize("limits", LIMITS)
def test_both_searches_agree_in_the_default_model(limits: str) -> None:
    arch = arch_with(LIMITS[limits])
    found = optimize(arch, CONV, bits=8)
    walked = optimize(arch, CONV, bits=8, budget=10**9)
    assert walked.certificate.method == "exhaustive"
    assert (found.mapping, found.cost.energy_pj) == (walked.mapping, walked.cost.energy_pj)


@pytest.mark.parametrize("heuristic", ["random", "random-pruned", "annealing"])
@pytest.mark.parametrize("limits", LIMITS)
def test_heuristics_stay_within_the_limits(heuristic: str, limits: str) -> None:
    arch = arch_with(LIMITS[limits])
    found = search_heuristically(arch, CONV, bits=BITS[1], heuristic=heuristic, model="compat", budget=20_000)
    if found.mapping is None:
        assert heuristic == "random"  # of 20,000 points of the whole numbered space none may be valid
        return
    words = words_of(1)[everything().index(found.mapping)] if found.mapping in everything() else None
    assert words is not None
    assert reason(limits, found.mapping, words) == "valid"


def test_limits_do_not_hold_in_the_free_space() -> None:
    limited, plain = (Mapspace(arch, CONV, selection="free") for arch in (arch_with(LIMITS["all"]), PLAIN))
    assert limited.use == {}
    assert limited.min_units == 1
    assert limited.count().valid == plain.count().valid


def test_limits_that_nothing_obeys_are_infeasible() -> None:
    layer: Workload = parse_workload("{name: odd, dims: {C: 5, M: 7, P: 1}}", "w.yaml")[0]
    with pytest.raises(InfeasibleError):
        optimize(arch_with("min_parallelism: 1"), layer, bits=8)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (
            "min_parallelism: 1.5",
            "a.yaml:19:20: constraints.min_parallelism: read `1.5`, expected a share above 0, at most 1",
        ),
        ("mapspace: {Buf: {utilization: {min_fan: 1}}}", "min_fan: unknown key\n  hint: did you mean `min_fanout`?"),
        ("mapspace: {Buf: {utilization: {min_capacity: -1}}}", "read `-1`, expected a number above 0"),
        ("mapspace: {Buf: {utilization: {min_fanout: 0.5, max_fanout: 0.4}}}", "`min_fanout` is above `max_fanout`"),
    ],
)
def test_wrong_limits_are_located(limits: str, wanted: str) -> None:
    with pytest.raises(SpecError) as caught:
        arch_with(limits)
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (
            "mapspace: {DRAM: {utilization: {min_capacity: 0.5}}}",
            "a.yaml:19:34: constraint on 'DRAM': limits the use of a cap",
        ),
        (
            "mapspace: {DRAM: {utilization: {min_fanout: 0.5}}}",
            "a.yaml:19:34: constraint on 'DRAM': limits the use of a fan",
        ),
    ],
)
def test_limits_on_what_a_level_does_not_have_are_refused(limits: str, wanted: str) -> None:
    with pytest.raises(SpecError) as caught:
        Mapspace(arch_with(limits), CONV)
    assert wanted in str(caught.value)
