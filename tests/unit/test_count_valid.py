"""Mapspace.count_valid: bits in every form, both models, given loops, and the count of the exhaustive walk."""

from __future__ import annotations

import itertools

import pytest

from quantloom import BitWidths, Mapspace, load_arch
from quantloom._core import optimize
from quantloom.errors import MappingError, SpecError
from quantloom.spec.partial_mapping import parse_partial_mapping
from quantloom.spec.workload import parse_workload

EYERISS = load_arch("eyeriss")
LAYER = parse_workload("{name: conv, dims: {C: 16, M: 32, P: 56, Q: 56}}", "w.yaml")[0]
SPACE = Mapspace(EYERISS, LAYER)


def test_bits_in_every_form() -> None:
    by_name = SPACE.count_valid({"Weights": 4, "Inputs": 8, "Outputs": 8}).valid
    assert SPACE.count_valid(BitWidths(weights=4, inputs=8, outputs=8)).valid == by_name
    assert SPACE.count_valid(8).valid <= by_name
    assert SPACE.count_valid(8).valid == SPACE.count_valid({"Weights": 8, "Inputs": 8, "Outputs": 8}).valid
    assert SPACE.count_valid().valid == SPACE.count_valid({}).valid


@pytest.mark.parametrize("name", ["eyeriss", "simba"])
@pytest.mark.parametrize("packing", ["word", "dense", "none"])
def test_every_packing_class_in_one_pass_equals_the_walk(name: str, packing: str) -> None:
    arch = load_arch(name)
    tensors = ("Weights", "Inputs", "Outputs")
    bits = [dict(zip(tensors, widths, strict=True)) for widths in itertools.product((2, 8), repeat=3)]
    counts = Mapspace(arch, LAYER).count_valid_many(bits, packing=packing, threads=2)
    walks = optimize(arch, LAYER, bits, objective="cycles", packing=packing, method="exhaustive")
    assert [count.valid for count in counts] == [walk.certificate.fitting for walk in walks]
    for count, walk in zip(counts, walks, strict=True):
        assert count.considered - count.invalid_fanout == walk.certificate.considered
        assert sum(count.invalid_capacity_by_level.values()) == count.invalid_capacity
    assert len({count.valid for count in counts}) > 1 or packing == "none"


def test_the_compat_model_counts_as_the_reference_does() -> None:
    assert SPACE.count_valid(8, model="compat").valid == SPACE.count([8, 8, 8]).valid
    wide = SPACE.count_valid(8, psum_bits=16)
    assert SPACE.count_valid(8, psum_bits=32).valid < wide.valid


def test_given_loops_leave_fewer() -> None:
    given = parse_partial_mapping("- {level: psum_spad, temporal: [[M, 2]]}", "m.yaml", EYERISS, LAYER)
    part = Mapspace(EYERISS, LAYER, fixed=given)
    assert 0 < part.size() < SPACE.size()
    others = [1, 4, 8, 16, 32]
    valid = [
        Mapspace(
            EYERISS,
            LAYER,
            fixed=parse_partial_mapping(f"- {{level: psum_spad, temporal: [[M, {m}]]}}", "m.yaml", EYERISS, LAYER),
        )
        .count_valid(8)
        .valid
        for m in others
    ]
    assert part.count_valid(8).valid + sum(valid) == SPACE.count_valid(8).valid


def test_mistakes_are_told() -> None:
    with pytest.raises(MappingError, match="17 bits do not fit"):
        SPACE.count_valid({"Weights": 17})
    with pytest.raises(SpecError, match="compat model packs by word only"):
        SPACE.count_valid(8, model="compat", packing="dense")
    huge = parse_workload("{name: huge, dims: {C: 4096, M: 4096, P: 4096}}", "w.yaml")[0]
    with pytest.raises(MappingError, match="too many to count what fits"):
        Mapspace(EYERISS, huge, selection="free").count_valid(8)
    with pytest.raises(SpecError, match="counts distinct mappings only"):
        SPACE.count([8, 8, 8], model="default")
