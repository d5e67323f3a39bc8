"""Infeasible is an answer: the level, the words, each share, and levers that were tried and hold when tried again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantloom import Mapspace, optimize
from quantloom._core import Arch
from quantloom.errors import Infeasibility, InfeasibleError
from quantloom.spec.arch import parse_arch
from quantloom.spec.workload import parse_workload

ARCH = """\
name: small
source: made up
levels:
  - {{name: DRAM, technology: DRAM, word_bits: 16, energy_pj: {{read: 100, write: 100, source: made up}}}}
  - name: Buf
    word_bits: 16
    capacity_words: {buf}
    keep: [Inputs, Outputs]
    bypass: [Weights]
    energy_pj: {{read: 5, write: 5, source: made up}}
  - name: Reg
    word_bits: 16
    capacity_words: {reg}
    instances: {{x: 2, y: 1}}
    keep: all
    energy_pj: {{read: 1, write: 1, source: made up}}
arithmetic: {{name: mac, word_bits: 16, instances: {{x: 2, y: 1}}, energy_pj: {{mac: 1, source: made up}}}}
constraints:
  architecture:
    Reg: {{temporal: {{factors: {{C: 4, M: 6}}}}}}
"""
GEMM = parse_workload("{name: gemm, dims: {C: 4, M: 6, P: 2}}", "w.yaml")[0]


def arch_of(*, reg: int, buf: int = 1000) -> Arch:
    return parse_arch(ARCH.format(reg=reg, buf=buf), "a.yaml")


def report_of(arch: Arch, bits: int, model: str) -> Infeasibility:
    with pytest.raises(InfeasibleError) as caught:
        optimize(arch, GEMM, bits=bits, model=model)
    assert caught.value.report is not None
    assert caught.value.report.level is None or f"nothing fits level '{caught.value.report.level}'" in str(caught.value)
    return caught.value.report


@pytest.mark.parametrize("model", ["default", "compat"])
def test_the_nearest_mapping_its_shares_and_levers(model: str) -> None:
    # C x M weights, C inputs and M outputs at 16 bits: 24 + 4 + 6 words.
    report = report_of(arch_of(reg=30), 16, model)
    assert (report.level, report.need_words, report.have_words) == ("Reg", 34, 30)
    assert report.tensor_words == {"Weights": 24, "Inputs": 4, "Outputs": 6}
    texts = [lever.text for lever in report.levers]
    assert "capacity of 'Reg' 30 -> 34 words" in texts
    assert "8 bits for Weights" in texts
    assert "without Reg, temporal: M = 6 (a.yaml:20:21)" in texts
    assert optimize(arch_of(reg=34), GEMM, bits=16, model=model).certificate.exhausted
    with pytest.raises(InfeasibleError):
        optimize(arch_of(reg=33), GEMM, bits=16, model=model)


@pytest.mark.parametrize("model", ["default", "compat"])
@pytest.mark.parametrize(("reg", "bits"), [(30, 16), (16, 8), (11, 5), (5, 4)])
def test_every_lever_holds_and_is_the_smallest(model: str, reg: int, bits: int) -> None:
    arch = arch_of(reg=reg)
    report = report_of(arch, bits, model)
    assert report.levers
    for lever in report.levers:
        if lever.kind == "bits":
            assert optimize(arch, GEMM, bits=lever.bits, model=model).certificate.exhausted
            changed = [name for name, width in lever.bits.items() if width < bits]
            more = {name: width + (name in changed) for name, width in lever.bits.items()}
            if more != dict.fromkeys(more, bits):
                with pytest.raises(InfeasibleError):
                    optimize(arch, GEMM, bits=more, model=model)
        if lever.kind == "capacity":
            assert optimize(arch_of(reg=lever.capacity_words["Reg"]), GEMM, bits=bits, model=model)
            with pytest.raises(InfeasibleError):
                optimize(arch_of(reg=lever.capacity_words["Reg"] - 1), GEMM, bits=bits, model=model)


def test_two_levels_that_are_too_small_are_both_named() -> None:
    report = report_of(arch_of(reg=30, buf=8), 16, "compat")
    [capacity] = [lever for lever in report.levers if lever.kind == "capacity"]
    assert capacity.capacity_words == {"Reg": 34, "Buf": 10}
    wider = arch_of(reg=34, buf=10)
    assert Mapspace(wider, GEMM).count_valid(16, model="compat").valid > 0


def test_constraints_that_leave_nothing_are_named() -> None:
    text = ARCH.format(reg=100, buf=1000) + "    Buf: {spatial: {factors: {C: 2}}}\n"
    arch = parse_arch(text.replace("C: 4, M: 6", "M: 6"), "a.yaml")
    odd = parse_workload("{name: odd, dims: {C: 4, M: 6, P: 2}}", "w.yaml")[0]
    assert optimize(arch, odd, bits=8)
    text = text.replace("C: 4, M: 6", "M: 6").replace("{C: 2}", "{C: 1, M: 1, P: 1}")
    limited = parse_arch(text + "  min_parallelism: 1\n", "a.yaml")
    with pytest.raises(InfeasibleError, match="no mapping satisfies the constraints and the fanout") as caught:
        optimize(limited, odd, bits=8)
    assert caught.value.report is not None
    assert caught.value.report.level is None
    texts = " ".join(lever.text for lever in caught.value.report.levers)
    assert "without Buf, spatial: C = 1 (a.yaml:21:20)" in texts
    assert "without DRAM, utilization (a.yaml:22:20)" in texts


def test_a_budget_that_finds_nothing_claims_nothing() -> None:
    with pytest.raises(InfeasibleError) as caught:
        optimize(arch_of(reg=30), GEMM, bits=16, budget=10**9)
    assert caught.value.report is not None  # the whole space was walked


def test_the_command_line_tells_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from quantloom.cli.main import main

    (tmp_path / "a.yaml").write_text(ARCH.format(reg=30, buf=1000))
    (tmp_path / "n.yaml").write_text(
        "name: one\ninput_shape: [4]\nedges:\n  - {name: x, shape: [4]}\n  - {name: y, shape: [6]}\n"
        "layers:\n  - {name: fc, reads: x, writes: y, dims: {C: 4, M: 6}}\n"
    )
    line = ["map", str(tmp_path / "n.yaml"), "--arch", str(tmp_path / "a.yaml"), "--bits", "16"]
    assert main(line) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing fits level 'Reg' of 'small'; the nearest mapping needs 34 words" in captured.err
    assert "each of these alone makes it fit: 8 bits for Weights;" in captured.err
    assert main([*line, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["infeasible"]["level"] == "Reg"
    assert found["infeasible"]["tensor_words"] == {"Inputs": 4, "Outputs": 6, "Weights": 24}
    assert {"bits", "capacity", "constraint"} == {lever["kind"] for lever in found["infeasible"]["levers"]}
