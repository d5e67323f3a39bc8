"""What quantloom exports as Timeloop v0.4 is read back as hardware that costs the same for every recorded mapping."""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from pathlib import Path

import pytest

from quantloom._core import Arch, Level, TensorSpec, Workload, evaluate
from quantloom.errors import MappingError, SpecError
from quantloom.spec.arch import arch_names, load_arch, parse_arch
from quantloom.spec.mapping import parse_mapping
from quantloom.spec.workload import parse_workload
from quantloom.timeloop import write, write_v04
from quantloom.timeloop.load import TimeloopDesign, load_timeloop, parse_timeloop

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = Path(__file__).parents[1] / "timeloop_files"
with gzip.open(GOLDEN / "fixed_mappings.json.gz", "rt") as stream:
    RECORDS = {record["id"]: record for record in json.load(stream)["records"]}


SQUARE = """\
name: square
source: made up
levels:
  - {name: DRAM, technology: DRAM, word_bits: 16, energy_pj: {read: 1, write: 1, source: made up}}
arithmetic: {name: mac, word_bits: 16, instances: {x: 2, y: 2}, energy_pj: {mac: 1, source: made up}}
"""


@cache
def arch_named(name: str) -> Arch:
    return load_arch(GOLDEN / "tiny.yaml" if name == "tiny" else name)


def exported(arch: Arch) -> list[tuple[str, str]]:
    return [
        ("architecture.yaml", write_v04.dump_architecture_v04(arch)),
        ("constraints.yaml", write_v04.dump_constraints_v04(arch)),
        ("tables.yaml", write_v04.dump_tables_v04(arch)),
    ]


@cache
def exported_arch(name: str) -> tuple[tuple[str, str], ...]:
    return tuple(exported(arch_named(name)))


def reads(name: str, *texts: str) -> TimeloopDesign:
    return parse_timeloop([*exported_arch(name), *((f"{i}.yaml", text) for i, text in enumerate(texts))])


def stored(arch: Arch) -> list[Level]:
    return [level for level in arch.levels if not level.name.startswith("inter_")]


@pytest.mark.parametrize("name", RECORDS)
def test_an_exported_mapping_costs_the_same_when_read_back(name: str) -> None:
    record = RECORDS[name]
    arch, bits = arch_named(record["arch"]), record["problem"].get("bitwidths") or {}
    problem = {key: value for key, value in record["problem"].items() if key != "bitwidths"}
    workload = parse_workload(json.dumps(problem), "record")[0]
    mapping = parse_mapping(json.dumps(record["mapping"]), name, arch, workload)
    found = reads(
        record["arch"],
        write.dump_problem(workload, bits, version="0.4"),
        write_v04.dump_mapping_v04(mapping, arch, workload),
    )
    assert found.arch is not None
    assert found.workload is not None
    assert found.mapping is not None
    assert (found.workload.dims, found.workload.tensors) == (workload.dims, workload.tensors)
    assert found.bits == bits
    cost = evaluate(found.arch, found.workload, found.mapping, bits=found.bits, model="compat")
    assert cost.cycles == record["outputs"]["cycles"]
    if record["arch"] != "tiny":  # its hops are those of a container's fanout then, which the notes say
        assert math.isclose(cost.energy_pj, record["outputs"]["energy"], rel_tol=1e-9)


@pytest.mark.parametrize("name", [*arch_names(), "tiny"])
def test_an_exported_accelerator_is_read_back_and_written_as_the_same_text(name: str) -> None:
    arch = arch_named(name)
    found = reads(name).arch
    assert found is not None
    for ours, other in zip(stored(arch), stored(found), strict=True):
        fields = ("name", "word_bits", "block_words", "cluster_size", "capacity_words", "mesh_x", "mesh_y", "is_dram")
        assert [getattr(ours, field) for field in fields] == [getattr(other, field) for field in fields]
        for field in ("read_pj", "fill_pj", "update_pj"):
            assert getattr(ours.energy, field) == getattr(other.energy, field)
        assert (ours.area_um2, ours.leak_energy_pj) == (other.area_um2, other.leak_energy_pj)
    unit, units = arch.arithmetic, found.arithmetic
    assert (unit.mesh_x, unit.mesh_y, unit.energy_pj) == (units.mesh_x, units.mesh_y, units.energy_pj)
    assert (unit.area_um2, unit.leak_energy_pj) == (units.area_um2, units.leak_energy_pj)
    again = exported(found)
    assert again[0] == exported_arch(name)[0]
    assert again[1] == exported_arch(name)[1]


@pytest.mark.parametrize("name", arch_names())
def test_every_constraint_is_read_back(name: str) -> None:
    """Spatial ones stand at the container of the level's fanout then."""
    arch = arch_named(name)
    found = reads(name).arch
    assert found is not None
    limits: list[dict[tuple[str, str, str], set[object]]] = [{}, {}]
    for side, constraints in zip(limits, (arch.constraints, found.constraints), strict=True):
        for c in constraints:
            level = c.level.removeprefix("inter_").removesuffix("_array_spatial")
            if c.level.startswith("inter_") and c.target != "spatial":
                continue  # a container holds nothing and loops over nothing in time
            here = side.setdefault((c.origin, level, c.target), set())
            here |= {("factor", *factor) for factor in c.factors}
            here |= {("keep", tensor) for tensor in c.keep} | {("bypass", tensor) for tensor in c.bypass}
            here |= {("order", *c.permutation_inner, "_", *c.permutation_outer)} if c.has_permutation else set()
            here |= {("split", c.split)} if c.split is not None else set()
    names = {level.name: index for index, level in enumerate(arch.levels)}
    fanless = {name for name, index in names.items() if arch.fanout_x(index) * arch.fanout_y(index) == 1}
    wanted = {
        key: value for key, value in limits[0].items() if value and not (key[2] == "spatial" and key[1] in fanless)
    }
    assert {key: value for key, value in limits[1].items() if value} == wanted


def test_a_design_of_v04_comes_back_as_it_was() -> None:
    arch = load_timeloop([FILES / "row_stationary.v04.yaml"]).arch
    assert arch is not None
    again = parse_timeloop(exported(arch)).arch
    assert again is not None
    assert [level.name for level in again.levels] == [level.name for level in arch.levels]
    for ours, other in zip(arch.levels, again.levels, strict=True):
        assert (ours.mesh_x, ours.mesh_y, ours.capacity_words) == (other.mesh_x, other.mesh_y, other.capacity_words)
        assert ours.energy.read_pj == other.energy.read_pj
    layer = Workload(
        "l",
        [("C", 4), ("M", 4), ("R", 1), ("S", 1), ("N", 1), ("P", 2), ("Q", 6)],
        [
            TensorSpec("Weights", [[("C", 1)], [("M", 1)], [("R", 1)], [("S", 1)]], False),
            TensorSpec("Inputs", [[("N", 1)], [("C", 1)], [("R", 1), ("P", 1)], [("S", 1), ("Q", 1)]], False),
            TensorSpec("Outputs", [[("N", 1)], [("M", 1)], [("Q", 1)], [("P", 1)]], True),
        ],
    )
    from quantloom.mapper.optimize import optimize

    one, two = (optimize(each, layer).cost for each in (arch, again))
    assert (one.energy_pj, one.cycles) == (two.energy_pj, two.cycles)


def test_what_the_format_cannot_say_is_said_or_refused() -> None:
    notes = write_v04.unsaid_v04(arch_named("tiny"))
    assert any(note.endswith("energy of hops over its fanout, which becomes that of a container") for note in notes)
    named = parse_arch((GOLDEN / "tiny.yaml").read_text().replace("name: Buf", 'name: "Buf 1"'), "t.yaml")
    with pytest.raises(SpecError, match="Timeloop cannot read the name 'Buf 1'"):
        write_v04.dump_architecture_v04(named)
    arch = parse_arch(SQUARE, "square.yaml")
    layer = parse_workload("dims: {M: 4}\n", "w")[0]
    nest = [{"level": "DRAM", "spatial": {"x": [["M", 2]], "y": [["M", 2]]}}]
    with pytest.raises(MappingError, match="dim M has loops on both axes of DRAM"):
        write_v04.dump_mapping_v04(parse_mapping(json.dumps(nest), "m", arch, layer), arch, layer)
