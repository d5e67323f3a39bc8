"""Exhaustive searches that the reference tool recorded, as our records; see tests/golden/README.md."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from quantloom._core import Arch, Constraint, Mapspace
from quantloom.spec.arch import load_arch
from quantloom.spec.workload import parse_workload

GOLDEN = Path(__file__).parent / "golden"

Record = dict[str, Any]


def read_golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def read_records(name: str) -> list[Record]:
    records: list[Record] = read_golden(name)["records"]
    return records


SEARCHES = [
    record for name in ("small", "full_tool", "optimum", "scaled") for record in read_records(f"mapspace_{name}.json")
]
SIZES = read_records("mapspace_sizes.json")
PAPER = read_golden("mapspace_paper.json")


def tool_constraint(written: Record, position: int) -> Constraint:
    """A constraint from the tool's own notation."""
    place: dict[str, Any] = {"origin": "mapspace", "level": written["target"], "where": f"constraint {position}"}
    if written["type"] in ("bypass", "datatype"):
        return Constraint(**place, target="keep", keep=written.get("keep", []), bypass=written.get("bypass", []))
    factors = re.findall(r"([A-Z])\s*(<=|>=|=)\s*(\d+)", written.get("factors", ""))
    inner, _, outer = written.get("permutation", "").replace(" ", "").partition("_")
    return Constraint(
        **place,
        target=written["type"],
        factors=[(dim, relation, int(value)) for dim, relation, value in factors],
        permutation_inner=list(inner),
        permutation_outer=list(outer),
        has_permutation="permutation" in written,
        split=written.get("split"),
    )


@cache
def arch_named(name: str) -> Arch:
    return load_arch(GOLDEN / "tiny.yaml" if name == "tiny" else name)


def arch_of(record: Record) -> Arch:
    arch = arch_named(record["arch"])
    constraints = record.get("constraints", "")
    if isinstance(constraints, str):  # "framework arch+map constraints": those of the shipped file
        return arch
    return Arch(
        name=arch.name,
        levels=arch.levels,
        arithmetic=arch.arithmetic,
        constraints=[tool_constraint(written, i) for i, written in enumerate(constraints)],
    )


def space_of(record: Record) -> Mapspace:
    problem = {key: value for key, value in record["problem"].items() if key != "bitwidths"}
    return Mapspace(arch_of(record), parse_workload(json.dumps(problem), "record")[0])


def paper_space(shape: dict[str, int]) -> Mapspace:
    dims = {dim: shape.get(dim, 1) for dim in "CMRSNPQ"}
    stride = shape["stride"]
    return space_of({"arch": "eyeriss", "problem": {"dims": dims, "Wstride": stride, "Hstride": stride}})


def name_of(record: Record) -> str:
    bits = record["problem"].get("bitwidths") or {}
    return "-".join([record["name"], *(f"{tensor[0]}{width}" for tensor, width in bits.items())])
