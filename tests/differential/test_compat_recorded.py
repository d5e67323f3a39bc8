"""The compat cost model equals the reference tool in every recorded field; see tests/golden/README.md.

Integers are equal, energies and ratios to 1e-9. A field of a record that no comparison knows fails the test, so nothing
is left out in silence.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from quantloom._core import Arch, Cost, Mapping, Workload, check_fit, evaluate
from quantloom.errors import InfeasibleError, MappingError
from quantloom.spec.arch import load_arch
from quantloom.spec.mapping import parse_mapping
from quantloom.spec.workload import parse_workload

GOLDEN = Path(__file__).parents[1] / "golden"
RELATIVE = 1e-9

Record = dict[str, Any]
Difference = tuple[str, Any, Any]  # field, ours, recorded
Same = Callable[[Any, Any], bool]


def _read_valid() -> dict[str, Record]:
    with gzip.open(GOLDEN / "fixed_mappings.json.gz", "rt") as file:
        return {record["id"]: record for record in json.load(file)["records"]}


VALID = _read_valid()
INVALID: dict[str, Record] = {
    record["id"]: record for record in json.loads((GOLDEN / "invalid_mappings.json").read_text())["records"]
}
TOO_WIDE = [name for name, record in INVALID.items() if record["kind"] == "bitwidth_exceeds_word"]
UNFIT = [name for name in INVALID if name not in TOO_WIDE]


@cache
def arch_named(name: str) -> Arch:
    return load_arch(GOLDEN / "tiny.yaml" if name == "tiny" else name)


@cache
def workload_from(problem: str) -> Workload:
    return parse_workload(problem, "record")[0]


def read_case(record: Record) -> tuple[Arch, Workload, Mapping, dict[str, int]]:
    """What evaluate() takes, read from the record by the readers that users have."""
    arch = arch_named(record["arch"])
    # Recorded widths may be too wide on purpose, so they do not pass through the reader.
    problem = {key: value for key, value in record["problem"].items() if key != "bitwidths"}
    workload = workload_from(json.dumps(problem))
    mapping = parse_mapping(json.dumps(record["mapping"]), record["id"], arch, workload)
    return arch, workload, mapping, record["problem"].get("bitwidths") or {}


def exact(ours: Any, recorded: Any) -> bool:
    return bool(ours == recorded)


def close(ours: Any, recorded: Any) -> bool:
    return math.isclose(ours, recorded, rel_tol=RELATIVE, abs_tol=0.0)


def same_area(ours: Any, recorded: Any) -> bool:
    return bool(round(ours / 1e6, 6) == recorded)  # um2 against mm2 with six digits


def same_to_two_digits(ours: Any, recorded: Any) -> bool:
    return abs(ours - recorded) <= 0.005 + 1e-12 * abs(recorded)


# recorded field -> (our attribute, when the two are the same)
TOTALS: dict[str, tuple[str, Same]] = {
    "energy": ("energy_pj", close),
    "cycles": ("cycles", exact),
    "edp": ("edp", close),
    "utilization": ("utilization", close),
    "energy_per_mac": ("energy_per_mac_pj", close),
    "macs": ("macs", exact),
    "compute_cycles": ("compute_cycles", exact),
    "arithmetic_energy": ("arithmetic_energy_pj", close),
    "area_csv_mm2": ("area_um2", same_area),
}
LEVEL: dict[str, tuple[str, Same]] = {
    "energy": ("energy_pj", close),
    "cycles": ("cycles", exact),
    "slowdown": ("slowdown", close),
}
STORED: dict[str, tuple[str, Same]] = {
    "utilized_capacity": ("utilized_words", exact),
    "reads": ("reads", exact),
    "fills": ("fills", exact),
    "updates": ("updates", exact),
    "partition_size": ("partition_elements", exact),
    "temporal_reductions": ("temporal_reductions", exact),
    "operands_per_word": ("elements_per_word", exact),
    "utilized_instances": ("utilized_instances", exact),
    "utilized_clusters": ("utilized_clusters", exact),
    "energy": ("energy_pj", close),
    "addr_gen_energy": ("address_energy_pj", close),
}
NETWORK: dict[str, tuple[str, Same]] = {"energy": ("network_energy_pj", close)}
CARRIED: dict[str, tuple[str, Same]] = {
    "fanout": ("fanout", exact),
    "multicast_factor": ("multicast_factor", exact),
    "link_transfers": ("link_transfers", exact),
    "spatial_reductions": ("spatial_reductions", exact),
    "num_hops": ("num_hops", close),
    "ingresses_2dp": ("ingresses", same_to_two_digits),
    "energy": ("energy_pj", close),
}


def compare(
    where: str, ours: Any, recorded: Record, table: dict[str, tuple[str, Same]], inner: tuple[str, ...] = ()
) -> Iterator[Difference]:
    """The fields of one part of a record that differ; fields named in `inner` are parts of their own."""
    for field, value in recorded.items():
        if field in inner:
            continue
        attribute, same = table[field]
        found = getattr(ours, attribute)
        if not same(found, value):
            yield f"{where}.{field}", found, value


def differences(cost: Cost, outputs: Record) -> list[Difference]:
    found = list(compare("total", cost, outputs, TOTALS, inner=("levels", "networks")))
    for name, level in outputs["levels"].items():
        found += compare(name, cost.levels[name], level, LEVEL, inner=("tensors",))
        for tensor, stored in level["tensors"].items():
            found += compare(f"{name}.{tensor}", cost.levels[name].tensors[tensor], stored, STORED)
    for name, network in outputs["networks"].items():
        found += compare(f"below {name}", cost.levels[name], network, NETWORK, inner=("tensors",))
        for tensor, carried in network["tensors"].items():
            found += compare(f"below {name}.{tensor}", cost.levels[name].network[tensor], carried, CARRIED)
    return found


def test_all_records_are_here() -> None:
    assert len(VALID) == 319
    assert len(INVALID) == 46
    assert {record["arch"] for record in VALID.values()} == {"eyeriss", "simba", "tiny"}


@pytest.mark.parametrize("always_step", [False, True], ids=["closed form", "stepped"])
@pytest.mark.parametrize("name", VALID)
def test_every_recorded_field_is_reproduced(name: str, always_step: bool) -> None:
    record = VALID[name]
    arch, workload, mapping, bits = read_case(record)
    assert check_fit(arch, workload, mapping, bits=bits, model="compat").fits
    cost = evaluate(arch, workload, mapping, bits=bits, model="compat", always_step=always_step)
    assert set(record["outputs"]["levels"]) == set(cost.levels) == {level.name for level in arch.levels}
    assert differences(cost, record["outputs"]) == []


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_fails_where_the_reference_fails(name: str) -> None:
    record = INVALID[name]
    arch, workload, mapping, bits = read_case(record)
    fit = check_fit(arch, workload, mapping, bits=bits, model="compat")
    need, have = (int(number) for number in re.findall(r"\d+", record["reasons"][0]))
    assert not fit.fits
    assert fit.reason == ("fanout" if record["kind"] == "fanout" else "capacity")
    assert (arch.levels[fit.level] if fit.level >= 0 else arch.arithmetic).name == record["fail_levels"][0]
    assert (fit.need, fit.have) == (need, have)
    with pytest.raises(InfeasibleError) as caught:
        evaluate(arch, workload, mapping, bits=bits, model="compat")
    assert caught.value.message == f"mapping does not fit: {fit.message}"


@pytest.mark.parametrize("name", [name for name in UNFIT if INVALID[name]["kind"] == "fits_at_low_bitwidth"])
def test_the_same_mapping_fits_at_fewer_bits(name: str) -> None:
    arch, workload, mapping, _ = read_case(INVALID[name])
    assert check_fit(arch, workload, mapping, bits=INVALID[name]["valid_at"]["bitwidths"], model="compat").fits


def test_bits_wider_than_a_word_are_refused() -> None:
    assert TOO_WIDE == ["eyeriss-mbv2_first-100000-toowide"]
    arch, workload, mapping, bits = read_case(INVALID[TOO_WIDE[0]])
    for refuse in (check_fit, evaluate):
        with pytest.raises(MappingError) as caught:
            refuse(arch, workload, mapping, bits=bits, model="compat")
        assert caught.value.message == "bits of Inputs: 24 bits do not fit the 16-bit words of level 'psum_spad'"
        assert caught.value.hint == "use at most 16 bits"
