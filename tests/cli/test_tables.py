"""Tables that commands write: every format, the same numbers as the JSON, nothing overwritten."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

Run = Callable[..., Any]
TABLE = ("table", "network.yaml", "--arch", "eyeriss", "--bits", "4,8")


def test_a_cost_table_is_the_same_in_every_format(quantloom: Run) -> None:
    for name in ("t.csv", "t.json", "t.parquet"):
        assert quantloom(*TABLE, "-o", name).code == 0
    rows = json.loads(Path("t.json").read_text())["rows"]
    table = parquet.read_table("t.parquet")
    assert table.to_pylist() == rows
    assert table.schema.metadata[b"arch"] == b"eyeriss"
    with Path("t.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [float(row["energy_pj"]) for row in found] == [row["energy_pj"] for row in rows]
    assert [row["mapping"] for row in found] == [row["mapping"] for row in rows]


def test_the_parts_of_a_cost_are_written_as_a_table(quantloom: Run) -> None:
    quantloom("map", "network.yaml", "--arch", "eyeriss", "--bits", "8", "--layer", "conv", "--save", "best")
    layer = ("--workload", "best/layer01.workload.yaml", "--mapping", "best/layer01.mapping.yaml")
    result = quantloom("evaluate", "--arch", "eyeriss", *layer, "-o", "cost.csv", "--json")
    with Path("cost.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["energy_pj"]) for row in rows) == pytest.approx(result.json["energy_pj"], rel=1e-12)
    assert rows[-1]["energy_source"] == "ERT:mac_random"
    again = quantloom("evaluate", "--arch", "eyeriss", *layer, "-o", "cost.csv")
    assert (again.code, again.err.splitlines()[0]) == (1, "error: cost.csv exists already")


def test_map_writes_a_row_for_each_layer_with_the_columns_of_a_cost_table(quantloom: Run) -> None:
    command = ("map", "network.yaml", "--arch", "eyeriss", "--bits", "a8w4", "-o", "map.csv")
    layers = quantloom(*command, "--json").json["layers"]
    quantloom(*TABLE, "-o", "table.csv")
    with Path("map.csv").open() as file, Path("table.csv").open() as other:
        rows, table = list(csv.DictReader(file)), list(csv.DictReader(other))
    assert list(rows[0]) == list(table[0])
    assert [(row["layer"], float(row["energy_pj"]), row["bits_weights"]) for row in rows] == [
        (layer["layer"], layer["energy_pj"], "4") for layer in layers
    ]
    same = [row for row in table if (row["bits_weights"], row["bits_inputs"], row["bits_outputs"]) == ("4", "8", "8")]
    assert rows == same
    assert quantloom(*command).err.startswith("error: map.csv exists already")
    assert "the ending says no format of a table" in quantloom(*command[:-1], "map.txt").err
