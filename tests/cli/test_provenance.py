"""Every pJ says where it is from, in every report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantloom import load_arch
from quantloom.mapper.energy_sources import energy_sources
from quantloom.spec.arch import arch_names, parse_arch

Run = Callable[..., Any]
GOLDEN = Path(__file__).parents[1] / "golden"
MAP = ("map", "network.yaml", "--arch", "simba", "--bits", "8")


@pytest.mark.parametrize("name", arch_names())
def test_every_energy_of_a_shipped_accelerator_has_a_source(name: str) -> None:
    arch = load_arch(name)
    found = energy_sources(arch)
    assert {entry.component for entry in found} == {*(level.name for level in arch.levels), arch.arithmetic.name}
    assert all(entry.source and entry.source != "no source given" for entry in found)


def test_energies_of_every_kind_are_listed() -> None:
    found = energy_sources(load_arch(GOLDEN / "tiny.yaml"))
    actions = {(entry.component, entry.action): (entry.energy_pj, entry.unit) for entry in found}
    assert actions["Buf", "update"] == (7.7, "pJ per block access")
    assert actions["Buf", "hop"] == (0.37, "pJ per word and hop")
    assert actions["Reg", "address"] == (0.05, "pJ per address")
    assert actions["MAC", "mac"] == (0.55, "pJ per multiply-accumulate")


def test_what_stands_beside_an_estimate_is_not_said_to_be_estimated() -> None:
    text = """\
    name: x
    source: of my data sheet
    levels: [{name: a, word_bits: 8, capacity_words: 64, energy_pj: {estimator: analytic, hop: 2}}]
    arithmetic: {name: m, word_bits: 8, energy_pj: {estimator: analytic, leak_per_cycle: 1}}
    """
    sources = {(e.component, e.action): e.source for e in energy_sources(parse_arch(text, "x.yaml"))}
    assert sources["a", "read"].startswith("analytic: SRAM of 64 x 8 bits")
    assert sources["a", "hop"] == sources["m", "leak"] == "of my data sheet"


def test_reports_end_with_the_sources(quantloom: Run) -> None:
    assert quantloom(*MAP, "--layer", "conv", "--save", "best").code == 0
    evaluate = ("evaluate", "--arch", "simba", "--workload", "best/layer01.workload.yaml")
    for command in (MAP, (*MAP, "--layer", "conv"), (*evaluate, "--mapping", "best/layer01.mapping.yaml")):
        text = quantloom(*command).out
        assert "LMAC mac 2.2 <- ERT:compute" in text
        assert "area " in text
        assert "; not given: DRAM" in " ".join(text.split())
        assert "PEWeightRegs read 0.9812, fill 0.9812, update 0.9812 <- built-in PAT fallback" in text
        sources = quantloom(*command, "--json").json["energy_sources"]
        assert {"component": "LMAC", "action": "mac", "energy_pj": 2.20035}.items() <= sources[-1].items()
        assert sources[-1]["source"] == "ERT:compute"


def test_a_table_says_it_too(quantloom: Run) -> None:
    command = ("table", "network.yaml", "--arch", "edge_npu", "--bits", "8", "-o", "t.csv", "--json")
    sources = quantloom(*command).json["energy_sources"]
    assert "DRAM read 512" in quantloom(*command[:-1], "--force").out
    assert "analytic: LPDDR4 8 pJ/bit x 64 bits" in {entry["source"] for entry in sources}
    assert json.dumps(sources)
