"""What quantloom exports for Timeloop is read back as the same hardware, layer and mapping, at the recorded cost."""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from quantloom._core import Arch, Constraint, Level, Workload, evaluate
from quantloom.spec.arch import arch_names, load_arch, parse_arch
from quantloom.spec.arch_text import dump_arch
from quantloom.spec.mapping import parse_mapping
from quantloom.spec.workload import parse_workload
from quantloom.timeloop import write
from quantloom.timeloop.load import TimeloopDesign, load_timeloop, parse_timeloop

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = Path(__file__).parents[1] / "timeloop_files"
with gzip.open(GOLDEN / "fixed_mappings.json.gz", "rt") as stream:
    RECORDS = {record["id"]: record for record in json.load(stream)["records"]}


@cache
def arch_named(name: str) -> Arch:
    return load_arch(GOLDEN / "tiny.yaml" if name == "tiny" else name)


@cache
def exported_arch(name: str) -> tuple[tuple[str, str], ...]:
    arch = arch_named(name)
    return (("architecture.yaml", write.dump_architecture(arch)), ("tables.yaml", write.dump_tables(arch)))


@cache
def workload_from(problem: str) -> Workload:
    return parse_workload(problem, "record")[0]


def reads(name: str, *texts: str) -> TimeloopDesign:
    return parse_timeloop([*exported_arch(name), *((f"{i}.yaml", text) for i, text in enumerate(texts))])


@pytest.mark.parametrize("name", RECORDS)
def test_an_exported_mapping_costs_the_same_when_read_back(name: str) -> None:
    record = RECORDS[name]
    arch, bits = arch_named(record["arch"]), record["problem"].get("bitwidths") or {}
    problem = {key: value for key, value in record["problem"].items() if key != "bitwidths"}
    workload = workload_from(json.dumps(problem))
    mapping = parse_mapping(json.dumps(record["mapping"]), name, arch, workload)
    found = reads(record["arch"], write.dump_problem(workload, bits), write.dump_mapping(mapping, arch, workload))
    assert found.arch is not None
    assert found.workload is not None
    assert (found.workload.dims, found.workload.tensors) == (workload.dims, workload.tensors)
    assert found.mapping == mapping
    assert found.bits == bits
    cost = evaluate(found.arch, found.workload, found.mapping, bits=found.bits, model="compat")
    assert cost.cycles == record["outputs"]["cycles"]
    assert math.isclose(cost.energy_pj, record["outputs"]["energy"], rel_tol=1e-9)


def without_places(constraints: list[Constraint]) -> dict[tuple[str, str, str], Any]:
    """What each block of each level is limited to, however the limits were spread over entries."""
    merged: dict[tuple[str, str, str], Any] = {}
    for c in constraints:
        here = merged.setdefault((c.origin, c.level, c.target), [set(), [], [], None, set(), set()])
        here[0] |= set(c.factors)
        here[1] += c.permutation_inner
        here[2] += c.permutation_outer
        here[3] = c.split if c.split is not None else here[3]
        here[4] |= set(c.keep)
        here[5] |= set(c.bypass)
    return merged


HARDWARE = (
    *("name", "word_bits", "block_words", "cluster_size", "capacity_words", "instances", "mesh_x", "mesh_y"),
    *("read_bandwidth", "write_bandwidth", "shared_bandwidth", "is_dram", "address_energy_pj", "hop_energy_pj"),
    *("router_energy_pj", "leak_energy_pj", "area_um2"),
)


def in_words(level: Level, field: str) -> Any:
    """A field of a level; bandwidths in words, as Timeloop has them."""
    value = getattr(level, field)
    is_in_bits = level.bandwidth_in_bits and field.endswith("bandwidth") and value is not None
    return value / level.word_bits if is_in_bits else value


def assert_same_hardware(ours: Arch, other: Arch, *, with_energies: bool = True) -> None:
    assert [level.name for level in ours.levels] == [level.name for level in other.levels]
    for a, b in zip(ours.levels, other.levels, strict=True):
        fields = [field for field in HARDWARE if with_energies or field != "area_um2"]
        assert {f: in_words(a, f) for f in fields} == {f: in_words(b, f) for f in fields}
        if with_energies:
            pj = ("read_pj", "fill_pj", "update_pj")
            assert [getattr(a.energy, f) for f in pj] == [getattr(b.energy, f) for f in pj]
    units = (
        "name",
        "instances",
        "mesh_x",
        "mesh_y",
        "word_bits",
        *(("energy_pj", "area_um2") if with_energies else ()),
    )
    for field in units:
        assert getattr(ours.arithmetic, field) == getattr(other.arithmetic, field)


@pytest.mark.parametrize("name", arch_names())
def test_an_exported_accelerator_is_read_back_with_its_constraints(name: str) -> None:
    arch = load_arch(name)
    found = reads(name, write.dump_constraints(arch)).arch
    assert found is not None
    assert_same_hardware(found, arch)
    assert without_places(found.constraints) == without_places(arch.constraints)


@pytest.mark.parametrize("name", [*arch_names(), "tiny"])
def test_an_accelerator_written_as_yaml_is_read_back_as_the_same(name: str) -> None:
    arch = arch_named(name)
    again = parse_arch(dump_arch(arch), f"{name}.yaml")
    assert again.levels == arch.levels
    assert again.arithmetic == arch.arithmetic
    assert (again.name, again.source, again.relax_indivisible_factors) == (
        *(arch.name, arch.source),
        arch.relax_indivisible_factors,
    )
    assert without_places(again.constraints) == without_places(arch.constraints)


@pytest.mark.parametrize("name", ["eyeriss", "simba", "tiny"])
def test_the_released_descriptions_are_read_as_recorded(name: str) -> None:
    found = load_timeloop([FILES / f"{name}.v03.yaml"]).arch
    assert found is not None
    assert_same_hardware(found, arch_named(name), with_energies=name == "tiny")


def constraints_text(name: str) -> str:
    """The recorded constraints as the files have them: two sections with targets."""
    targets = json.loads((GOLDEN / "constraints.json").read_text())[name]
    sections = {
        f"{kind}_constraints": {
            "targets": [{k: v for k, v in t.items() if k != "kind"} for t in targets if t["kind"] == kind]
        }
        for kind in ("architecture", "mapspace")
    }
    return json.dumps(sections, indent=1)


@pytest.mark.parametrize("name", ["eyeriss", "simba"])
def test_the_released_constraints_are_read_as_the_shipped_ones(name: str) -> None:
    text = (FILES / f"{name}.v03.yaml").read_text()
    found = parse_timeloop([("arch.yaml", text), ("constraints.yaml", constraints_text(name))]).arch
    assert found is not None
    assert without_places(found.constraints) == without_places(arch_named(name).constraints)
