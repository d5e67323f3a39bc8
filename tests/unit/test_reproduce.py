"""The reproduction: what it ships is what is on record, its columns are what they say, and results are kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from quantloom import load_network
from quantloom.report.results import ResultTable
from quantloom.reproduce import ddecs2024
from quantloom.reproduce.ddecs2024 import Settings, make_part
from quantloom.reproduce.published import published
from quantloom.store.database import Store
from recorded_searches import read_golden


def settings(store: Store | None = None) -> Settings:
    return Settings(profile="quick", threads=1, store=store, progress=lambda done, total, text: None)


def rows_of(table: ResultTable) -> list[dict[str, Any]]:
    return [dict(zip((column.name for column in table.columns), row, strict=True)) for row in table.rows]


def test_the_shipped_numbers_are_those_on_record() -> None:
    known = published()
    records = read_golden("paper_searches.json")["records"]
    assert len(known.committed) == len(records) == 42
    for ours, theirs in zip(known.committed, records, strict=True):
        assert (ours.arch, ours.constraints) == (theirs["arch"], theirs["constraints"])
        assert {"Weights": ours.weight_bits, "Inputs": 8, "Outputs": 8} == theirs["bits"]
        assert ours.energy_uj == pytest.approx(sum(theirs["energy_uj"]), rel=1e-8)
        assert ours.cycles == sum(theirs["cycles"])
        assert ours.sum_edp_j_cycles == pytest.approx(sum(theirs["edp_j_cycles"]), rel=1e-9)
    counts = read_golden("mapspace_paper.json")
    for i, valid in enumerate(known.valid, start=1):
        assert valid == counts["layers"][f"mobilenetv1_layer{i}"]["valid"]
    assert sorted(known.valid_layer_2.values()) == sorted(counts["layer2"]["counts_X"].values())
    assert known.valid_layer_2["a16w8"] == counts["layer2"]["counts_X"]["16/8/16"]
    assert known.valid_layer_2["a8w16o16"] == counts["layer2"]["counts_X"]["8/16/16"]


def test_depthwise_layers_are_dense_in_one_column_and_exact_in_the_other() -> None:
    known = published()
    assert sum(layer.macs for layer in known.dense) == 4_248_293_376  # what the authors' outputs say
    assert sum(layer.macs for layer in known.exact) == 535_824_192
    changed = [(d, e) for d, e in zip(known.dense, known.exact, strict=True) if d != e]
    assert len(changed) == 13
    assert all(exact.dims["G"] == dense.dims["C"] == dense.dims["M"] for dense, exact in changed)
    zoo = load_network("mobilenet_v1").layers
    assert [layer.workload.dims.get("G", 1) for layer in zoo[:26]] == [e.dims.get("G", 1) for e in known.exact[:26]]


@pytest.fixture
def only_eyeriss(monkeypatch: pytest.MonkeyPatch) -> None:
    known = published()
    few = dataclasses.replace(known, committed=tuple(c for c in known.committed if c.arch == "eyeriss"))
    monkeypatch.setattr(ddecs2024, "published", lambda: few)


@pytest.mark.usefixtures("only_eyeriss")
def test_energy_and_levels_agree_and_come_back_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path / "store.sqlite", note=pytest.fail) as store:
        energy, levels = make_part("energy", settings(store)), make_part("levels", settings(store))

        def refuse(*arguments: object, **options: object) -> None:
            pytest.fail("searched again")

        monkeypatch.setattr("quantloom._core.optimize", refuse)
        assert make_part("energy", settings(store)) == energy
    by_bits = {row["weight_bits"]: row for row in rows_of(energy)}
    assert list(by_bits) == [2, 3, 4, 5, 6, 7, 8]
    for bits, row in by_bits.items():
        assert 1 <= row["published_over_optimum"] < 1.06
        assert row["edp_j_cycles"] == pytest.approx(row["energy_uj"] * 1e-6 * row["latency_cycles"])
        for column, key in (("as in the paper", "paper_energy_uj"), ("as it is", "energy_uj")):
            parts = [r for r in rows_of(levels) if r["weight_bits"] == bits and r["column"] == column]
            assert parts[-1]["level"] == "arithmetic"
            assert sum(part["energy_uj"] for part in parts) == pytest.approx(row[key], rel=1e-12)
            assert sum(part["share"] for part in parts) == pytest.approx(1)


def test_the_files_of_the_reproduction_are_shipped() -> None:
    data = json.loads((Path(ddecs2024.__file__).parent / "ddecs2024.json").read_text())
    for part in ("layers", "valid_mappings", "committed"):
        assert data[part]["source"]
