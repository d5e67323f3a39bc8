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


def rows_of(name: str) -> list[dict[str, str]]:
    with Path(name).open() as file:
        return list(csv.DictReader(file))


def test_counts_are_written_with_a_column_for_each_level(quantloom: Run) -> None:
    command = ("count", "network.yaml", "--arch", "eyeriss", "--bits", "8", "a8w4", "-o")
    result = quantloom(*command, "counts.csv", "--json")
    rows = rows_of("counts.csv")
    assert len(rows) == 4
    for row, found in zip(rows, result.json["layers"], strict=True):
        assert (row["layer"], int(row["position"])) == (found["layer"], found["position"])
        assert [int(row[f"bits_{tensor.lower()}"]) for tensor in found["bits"]] == list(found["bits"].values())
        assert (float(row["size"]), int(row["visited"]), int(row["valid"])) == tuple(
            found[key] for key in ("size", "visited", "valid")
        )
        invalid = {reason: int(row[f"invalid_{reason}"]) for reason in found["invalid"]}
        assert invalid == found["invalid"]
        assert int(row["visited"]) == int(row["valid"]) + sum(invalid.values())
        by_level = {key.partition(":")[2]: int(n) for key, n in row.items() if key.startswith("invalid_capacity:")}
        assert list(by_level) == ["psum_spad", "weights_spad", "ifmap_spad", "DummyBuffer", "shared_glb", "DRAM"]
        assert {level: n for level, n in by_level.items() if n} == found["invalid_capacity_by_level"]
    assert quantloom(*command, "counts.parquet").out.endswith("written to counts.parquet\n")
    table = parquet.read_table("counts.parquet")
    assert [str(each) for each in table.schema.types[:2]] == ["int64", "string"]
    assert table.schema.metadata[b"cost_model"] == b"default"
    assert table.num_rows == 4


def test_a_comparison_of_heuristics_is_written_improvement_by_improvement(quantloom: Run) -> None:
    command = ("converge", "network.yaml", "--arch", "eyeriss", "--layer", "conv", "--budget", "300", "--seeds", "2")
    result = quantloom(*command, "-o", "runs.json", "--json")
    written = json.loads(Path("runs.json").read_text())
    assert written["about"]["objective"] == "edp"
    assert float(written["about"]["optimum"]) == result.json["optimum"]
    for run in result.json["runs"]:
        rows = [r for r in written["rows"] if (r["heuristic"], r["seed"]) == (run["heuristic"], run["seed"])]
        improved = [[row["looked_at"], row["best"]] for row in rows if row["best"] is not None]
        assert improved[: len(run["trace"])] == run["trace"]
        assert (rows[-1]["looked_at"], rows[-1]["best"]) == (run["looked_at"], run["objective"])
        for row in rows:
            expected = None if row["best"] is None else row["best"] / result.json["optimum"]
            assert row["ratio"] == (None if expected is None else pytest.approx(expected))
    assert quantloom(*command, "-o", "runs.json").err.startswith("error: runs.json exists already")


def test_what_is_shown_is_written_too(quantloom: Run) -> None:
    model = quantloom("show", "model", "mobilenet_v2:width=0.25,input=32", "-o", "layers.csv", "--json").json
    layers = rows_of("layers.csv")
    assert [(row["layer"], row["kind"], int(row["macs"])) for row in layers] == [
        (layer["name"], layer["kind"], layer["macs"]) for layer in model["layers"]
    ]
    assert layers[0]["dims"] == " ".join(f"{dim}{bound}" for dim, bound in model["layers"][0]["dims"].items())
    for kind, name in (("edges", "edge"), ("operators", "operator")):
        shown = quantloom("show", "model", "mobilenet_v2:width=0.25,input=32", "-o", f"{kind}.csv", "--rows", kind)
        assert shown.code == 0, shown.err
        assert [row[name] for row in rows_of(f"{kind}.csv")] == [each["name"] for each in model[kind]]
    assert [row["writes"] for row in rows_of("operators.csv")] == [each["writes"] or "" for each in model["operators"]]

    arch = quantloom("show", "arch", "simba", "-o", "components.csv", "--json").json
    levels = [row for row in rows_of("components.csv") if row["kind"] != "arithmetic"]
    assert [(row["component"], row["capacity_words"]) for row in levels] == [
        (level["name"], "" if level["capacity_words"] is None else str(level["capacity_words"]))
        for level in arch["levels"]
    ]
    assert quantloom("show", "arch", "simba", "-o", "energies.csv", "--rows", "energies").code == 0
    reads = {row["component"]: row for row in rows_of("energies.csv") if row["action"] == "read"}
    for level in arch["levels"]:
        row = reads[level["name"]]
        assert (float(row["energy_pj"]), row["energy_source"]) == (level["read_energy_pj"], level["read_energy_source"])


def test_the_loops_of_a_mapping_are_written(quantloom: Run) -> None:
    quantloom("map", "network.yaml", "--arch", "eyeriss", "--bits", "8", "--layer", "conv", "--save", "best")
    command = ("show", "mapping", "best/layer01.mapping.yaml", "--workload", "best/layer01.workload.yaml")
    found = quantloom(*command, "--arch", "eyeriss", "-o", "loops.csv", "--json").json["mapping"]
    expected = []
    for level in found:
        groups = (("temporal", level["temporal"]), *((f"spatial {axis}", level["spatial"][axis]) for axis in "xy"))
        loops = [(kind, dim, str(bound)) for kind, group in groups for dim, bound in group]
        expected += [(level["level"], *loop, ", ".join(level["keep"])) for loop in loops or [("", "", "")]]
    rows = rows_of("loops.csv")
    assert [tuple(row[key] for key in ("level", "kind", "dim", "bound", "keeps")) for row in rows] == expected
    assert [int(row["position"]) for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("show", "arch", "-o", "a.csv"), 2, "-o needs ARCH, what the table is of"),
        (("show", "model", "-o", "a.csv"), 2, "-o needs MODEL, what the table is of"),
        (("show", "arch", "simba", "--rows", "energies"), 2, "--rows needs -o FILE, the table that it is about"),
        (("show", "arch", "simba", "-o", "a.xls"), 1, "a.xls: the ending says no format of a table"),
        (("show", "model", "network.yaml", "-o", "network.yaml"), 1, "the ending says no format of a table"),
        (("count", "nowhere.yaml", "--arch", "eyeriss", "--bits", "8", "-o", "no/way.txt"), 1, "the ending says no"),
    ],
)
def test_a_table_that_cannot_be_is_refused_before_any_work(
    quantloom: Run, command: tuple[str, ...], code: int, message: str
) -> None:
    result = quantloom(*command)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
