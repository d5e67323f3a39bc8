"""Cost tables from the store: the same as computed, found again by what they depend on and by nothing else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import quantloom as ql
from quantloom import _core
from quantloom._core import AccessEnergy, Arch, Arithmetic, Constraint, Level
from quantloom.mapper.stored import Question, TableEntry, recall, remember
from quantloom.mapper.table import cost_table
from quantloom.store.database import Store
from quantloom.testing.toy_search import toy_network
from quantloom.workload.layer import conv_workload

OPTIONS = {
    "objective": "edp",
    "model": "default",
    "packing": "word",
    "psum_bits": 0,
    "selection": "all",
    "budget": 0,
}
BITS = {"Weights": 4, "Inputs": 8, "Outputs": 8}
WORKLOAD = conv_workload("a", inputs=4, outputs=8, output_size=(6, 6), kernel=(3, 3))


def level(name: str, **changes) -> Level:
    energy = changes.pop("energy", AccessEnergy(read_pj=1.0, fill_pj=2.0, update_pj=3.0, read_source="a table"))
    return Level(**{"name": name, "word_bits": 16, "capacity_words": 1024, "energy": energy, **changes})


def constraint(**changes) -> Constraint:
    values = {"origin": "mapspace", "level": "buffer", "target": "temporal", "where": "arch.yaml:7"}
    return Constraint(**{**values, "factors": [("R", "=", 3), ("M", "<=", 4)], **changes})


def arch(**changes) -> Arch:
    unit = changes.pop("unit", {})
    units = Arithmetic(
        **{"name": "mac", "instances": 1, "mesh_x": 1, "mesh_y": 1, "word_bits": 16, "energy_pj": 1.0, **unit}
    )
    memory = level("memory", capacity_words=None, is_dram=True)
    values = {"name": "one", "levels": [level("buffer"), memory], "constraints": [constraint()]}
    return Arch(**{**values, "arithmetic": units, "source": "one.yaml", **changes})


def key(arch: Arch = arch(), workload: _core.Workload = WORKLOAD, bits=BITS, settings=(), **options) -> str:  # noqa: B008
    return Question(arch, workload, settings, **{**OPTIONS, **options}).key(bits)


def test_names_sources_and_the_order_of_a_file_do_not_matter() -> None:
    other = AccessEnergy(read_pj=1.0, fill_pj=2.0, update_pj=3.0, read_source="another table")
    memory = level("outside", capacity_words=None, is_dram=True)
    renamed = arch(
        name="two",
        source="two.yaml",
        levels=[level("inside", energy=other, area_um2=5.0), memory],
        constraints=[constraint(level="inside", where="two.yaml:99", factors=[("M", "<=", 4), ("R", "=", 3)])],
        unit={"name": "units", "energy_source": "somewhere", "area_um2": 7.0},
    )
    assert key(renamed) == key()
    first, second = constraint(), constraint(target="keep", factors=[], keep=["Weights", "Inputs"])
    swapped = constraint(target="keep", factors=[], keep=["Inputs", "Weights"])
    assert key(arch(constraints=[first, second])) == key(arch(constraints=[swapped, first]))
    assert key(workload=WORKLOAD.renamed("b")) == key()
    assert key(bits=dict(reversed(BITS.items()))) == key()
    assert key(settings=[BITS]) == key()


def changed_keys() -> dict[str, str]:
    memory = level("memory", capacity_words=None, is_dram=True)
    energies = {name: 1.0 for name in ("read_pj", "fill_pj", "update_pj")}
    levels = {
        "word": {"word_bits": 32},
        "capacity": {"capacity_words": 1023},
        "bandwidth": {"read_bandwidth": 0.1},
        "packing": {"packing": "dense"},
        "multicast": {"multicast": False},
        "leak": {"leak_energy_pj": 0.1},
        **{f"energy {name}": {"energy": AccessEnergy(**{**energies, name: 1.5})} for name in energies},
    }
    units = {"mac": {"energy_pj": 1.0000000000000002}, "psum": {"psum_bits": 20}}
    constraints = {
        "factor": {"factors": [("R", "=", 1), ("M", "<=", 4)]},
        "relation": {"factors": [("R", "=", 3), ("M", ">=", 4)]},
        "level": {"level": "memory"},
        "origin": {"origin": "architecture"},
        "order": {"permutation_inner": ["R"], "has_permutation": True},
        "share": {"min_capacity": 0.5},
    }
    table = _core.MacTable(first_bits=[8], second_bits=[8], energy_pj=[1.0], rate=[(1, 1)])
    return {
        **{name: key(arch(levels=[level("buffer", **change), memory])) for name, change in levels.items()},
        **{name: key(arch(unit=change)) for name, change in units.items()},
        "mac table": key(arch(unit={"mac_table": table, "word_bits": 8})),
        **{f"constraint {name}": key(arch(constraints=[constraint(**change)])) for name, change in constraints.items()},
        "no constraint": key(arch(constraints=[])),
        "relaxed": key(arch(relax_indivisible_factors=True)),
        "dims": key(workload=conv_workload("a", inputs=4, outputs=8, output_size=(6, 7), kernel=(3, 3))),
        "stride": key(
            workload=conv_workload("a", inputs=4, outputs=8, output_size=(6, 6), kernel=(3, 3), stride=(2, 2))
        ),
        "bits": key(bits={**BITS, "Weights": 3}),
        "swapped bits": key(bits={"Weights": 8, "Inputs": 4, "Outputs": 8}),
        "objective": key(objective="energy"),
        "model": key(model="compat"),
        "packing option": key(packing="dense"),
        "psum option": key(psum_bits=24),
        "selection": key(selection="architecture", settings=[BITS]),
        "budget": key(budget=10, settings=[BITS]),
        "together": key(budget=10, settings=[BITS, {**BITS, "Weights": 3}]),
    }


def test_everything_that_a_result_depends_on_changes_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {"unchanged": key(), **changed_keys()}
    monkeypatch.setattr("quantloom.mapper.stored.core_code", lambda: "another build")
    keys["code"] = key()
    same = [(a, b) for a in keys for b in keys if a < b and keys[a] == keys[b]]
    assert same == []


@pytest.fixture(scope="module")
def tiny() -> ql.Network:
    return toy_network(3)


@pytest.mark.parametrize("name", ["eyeriss", "simba", "bitfusion_like"])
def test_a_table_from_the_store_is_the_computed_one(tmp_path: Path, tiny: ql.Network, name: str) -> None:
    accelerator = ql.load_arch(name)
    computed = cost_table(tiny, accelerator, bits=(2, 4, 8))
    with Store.open(tmp_path / "s", note=pytest.fail) as store:
        assert cost_table(tiny, accelerator, bits=(2, 4, 8), store=store).entries == computed.entries
    calls = []
    with Store.open(tmp_path / "s", note=pytest.fail) as store:
        found = cost_table(tiny, accelerator, bits=(2, 4, 8), store=store, progress=lambda *args: calls.append(args))
        assert calls == []  # nothing was solved
        assert found.entries == computed.entries
        assert (found.energy_pj == computed.energy_pj).all()
        assert (found.cycles == computed.cycles).all()
        # more bits: what is there is taken, the rest solved; and it is as if solved together
        more = cost_table(tiny, accelerator, bits=(2, 3, 4, 8), store=store)
    assert more.entries == cost_table(tiny, accelerator, bits=(2, 3, 4, 8)).entries


@pytest.mark.parametrize("budget", [0, 200])
def test_some_of_what_was_solved_together_is_not_taken_without_the_rest(
    tmp_path: Path, tiny: ql.Network, budget: int
) -> None:
    """At this budget the layers without the lost half of their bits get another mapping than with it."""
    accelerator = ql.load_arch("simba")
    computed = cost_table(tiny, accelerator, bits=(2, 8), budget=budget)
    with Store.open(tmp_path / "s", note=pytest.fail) as store:
        cost_table(tiny, accelerator, bits=(2, 8), budget=budget, store=store)
        kept = list(store.results())
        lost = [result.key for result in kept if json.loads(result.about)["bits"]["Weights"] == 8]
        assert 0 < len(lost) < len(kept)
        store.remove(lost)
        assert cost_table(tiny, accelerator, bits=(2, 8), budget=budget, store=store).entries == computed.entries


@pytest.mark.parametrize(("options", "is_joint"), [({}, False), ({"budget": 10}, True), ({"selection": "free"}, True)])
def test_a_joint_question_is_answered_as_a_whole_or_not(
    tmp_path: Path, options: dict[str, Any], is_joint: bool
) -> None:
    settings = [BITS, {**BITS, "Weights": 8}]
    question = Question(arch(), WORKLOAD, settings, **{**OPTIONS, **options})
    entry = TableEntry(energy_pj=1.0, cycles=2.0, mapping=None, exhausted=True, lower_bound=2.0)
    assert question.is_joint == is_joint
    with Store.open(tmp_path / "s", note=pytest.fail) as store:
        remember(store, question, {1: entry}, settings)
        assert recall(store, question, settings) == ({} if is_joint else {1: entry})
        remember(store, question, {0: entry}, settings)
        assert recall(store, question, settings) == {0: entry, 1: entry}


def test_what_fits_nowhere_is_stored_too(tmp_path: Path, tiny: ql.Network) -> None:
    small = arch(levels=[level("buffer", capacity_words=1), level("memory", capacity_words=40)], constraints=[])
    computed = cost_table(tiny, small, bits=(2, 8))
    assert math.isinf(computed.energy_pj.max())
    for _ in range(2):
        with Store.open(tmp_path / "s", note=pytest.fail) as store:
            assert cost_table(tiny, small, bits=(2, 8), store=store).entries == computed.entries


@pytest.mark.parametrize(
    "value",
    ["[]", "3", "null", '{"energy_pj": 1}', '{"energy_pj": "x", "cycles": 1, "lower_bound": 1, "mapping": null}',
     '{"energy_pj": 1, "cycles": 1, "lower_bound": 1, "exhausted": true, "mapping": "[[1]]"}',
     '{"energy_pj": 1, "cycles": 1, "lower_bound": 1, "exhausted": true, "mapping": "[["}'],
)  # fmt: skip
def test_a_value_of_another_kind_is_computed_anew(tmp_path: Path, tiny: ql.Network, monkeypatch, value: str) -> None:
    accelerator = arch(constraints=[])
    monkeypatch.setattr("quantloom.mapper.stored._encode", lambda entry: json.loads(value))
    with Store.open(tmp_path / "s", note=pytest.fail) as store:
        computed = cost_table(tiny, accelerator, bits=(8,), store=store)
        assert cost_table(tiny, accelerator, bits=(8,), store=store).entries == computed.entries


def test_an_entry_keeps_what_the_core_found() -> None:
    [found] = _core.optimize(arch(constraints=[]), WORKLOAD, [BITS])
    entry = TableEntry.of(found)
    assert (entry.energy_pj, entry.cycles, entry.mapping) == (found.energy_pj, found.cycles, found.mapping)
    assert entry.exhausted
    assert entry.lower_bound == pytest.approx(found.energy_pj * found.cycles)
