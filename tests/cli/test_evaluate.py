"""`quantloom evaluate`: the parts of the report add up, and nothing a file may say breaks it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

ARCH = """\
name: small
source: invented
levels:
  - {name: DRAM, technology: DRAM, word_bits: 16, capacity_words: unlimited, energy_pj: {read: 8, write: 8, source: x}}
  - name: buffer
    word_bits: 16
    capacity_words: 4096
    bandwidth_bits_per_cycle: {read: 8, shared: 24}
    energy_pj: {read: 1, write: 2, address: 0.5, hop: 0.25, adder: 0.125, leak_per_cycle: 0.5, source: x}
  - name: registers
    word_bits: 16
    capacity_words: 64
    instances: {x: 4, y: 2}
    energy_pj: {read: 1, write: 1, source: x}
arithmetic:
  {name: mac, word_bits: 16, instances: {x: 4, y: 2}, energy_pj: {mac: 1, idle_per_cycle: 0.25, source: x}}
"""
WORKLOAD = "name: product\nshape: gemm\ndims: {C: 8, M: 16, N: 6}\nbits: a8w4\n"
MAPPING = """\
mapping:
  - {level: DRAM, temporal: [[N, 3]]}
  - {level: buffer, temporal: [[M, 4]], spatial: {x: [[M, 4]], y: [[C, 2]]}}
  - {level: registers, temporal: [[C, 4], [N, 2]]}
"""


@pytest.fixture
def files(directory: Path) -> list[str]:
    for name, text in (("arch", ARCH), ("w", WORKLOAD), ("m", MAPPING)):
        (directory / f"{name}.yaml").write_text(text)
    return ["--arch", "arch.yaml", "--workload", "w.yaml", "--mapping", "m.yaml"]


@pytest.mark.parametrize("model", ["default", "compat"])
def test_the_parts_add_up_to_the_totals(quantloom: Run, files: list[str], model: str) -> None:
    found = quantloom("evaluate", *files, "--cost-model", model, "--json").json
    levels = found["levels"]
    energy = sum(level["energy_pj"] + level["network_energy_pj"] for level in levels)
    energy += found["arithmetic_energy_pj"] + found["arithmetic_leak_energy_pj"]
    assert found["energy_pj"] == pytest.approx(energy, rel=1e-12)
    for level in levels:
        tensors = level["tensors"]
        parts = sum(part["energy_pj"] + part["address_energy_pj"] for part in tensors.values())
        assert level["energy_pj"] == pytest.approx(parts + level["leak_energy_pj"], rel=1e-12)
        assert level["network_energy_pj"] == pytest.approx(sum(n["energy_pj"] for n in level["networks"].values()))
        assert level["utilized_words"] == sum(part["utilized_words"] for part in tensors.values())
        for tensor, part in tensors.items():
            assert math.prod(found["tile_shapes"][level["level"]][tensor]) == part["tile_elements"]
            assert part["energy_share"] == pytest.approx(
                (part["energy_pj"] + part["address_energy_pj"]) / found["energy_pj"]
            )


def test_the_report_names_what_limits_and_how_full_levels_are(quantloom: Run, files: list[str]) -> None:
    found = quantloom("evaluate", *files, "--json").json
    assert found["limited_by"] == ["buffer"]
    text = quantloom("evaluate", *files).out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    buffer = next(level for level in found["levels"] if level["level"] == "buffer")
    assert buffer["bandwidth_words_per_cycle"] == {"read": 0.5, "shared": 1.5}
    assert any(
        line.startswith("buffer 1 of 1") and line.endswith("<- limits bandwidth: read 0.5, shared 1.5 words/cycle")
        for line in lines
    )
    assert f"buffer (all) {buffer['utilized_words']} {100 * buffer['capacity_share']:.1f} %" in lines
    assert any("[buffer] Weights 8x16x1x1 in 32 words, Inputs 2x8x1x1 in 8 words" in line for line in lines)
    assert "mac 8 of 8 96" in lines
    for word in ("network below", "(network)", "(leakage)", "limited by the bandwidth of buffer"):
        assert word in text


def test_energies_of_nothing_are_shares_of_nothing(quantloom: Run, files: list[str], directory: Path) -> None:
    free = "\n".join(
        line.split("energy_pj")[0] + "energy_pj: {read: 0, write: 0, source: x}" + "}" * line.startswith("  - {")
        if "read:" in line and "energy_pj" in line
        else line.replace("mac: 1, idle_per_cycle: 0.25", "mac: 0")
        for line in ARCH.splitlines()
    )
    (directory / "arch.yaml").write_text(free)
    found = quantloom("evaluate", *files, "--json").json
    assert found["energy_pj"] == 0
    assert found["levels"][0]["energy_share"] == 0
    assert "energy       0 pJ" in quantloom("evaluate", *files).out


def test_what_cannot_be_counted_is_infinite(quantloom: Run, files: list[str], directory: Path) -> None:
    (directory / "w.yaml").write_text(WORKLOAD.replace("C: 8, M: 16", f"C: {2**31}, M: {2**31}"))
    mapping = MAPPING.replace("[N, 3]", f"[N, 3], [M, {2**27}], [C, {2**28}]")
    (directory / "m.yaml").write_text(mapping)
    assert "energy and cycles are infinite" in quantloom("evaluate", *files).out
    found = quantloom("evaluate", *files, "--json").json
    assert (found["energy_pj"], found["latency_cycles"]) == (None, None)


def test_a_mapping_that_does_not_fit_says_what_fills_the_level(quantloom: Run, files: list[str]) -> None:
    Path("m.yaml").write_text(MAPPING.replace(", temporal: [[N, 3]]", "").replace("[N, 2]", "[N, 6]"))
    Path("arch.yaml").write_text(ARCH.replace("capacity_words: 64", "capacity_words: 18"))
    result = quantloom("evaluate", *files)
    assert result.code == 1
    assert "level 'registers': the tiles need 19 words, capacity is 18 (Weights 1, Inputs 12, Outputs 6)" in result.err
    assert "hint: take fewer bits" in result.err
