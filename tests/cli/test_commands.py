"""What the commands print: the numbers, the shape of the JSON, and the files."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from quantloom import BitWidths, cost_table, evaluate, load_arch, load_network
from quantloom.cli.parsing import default_cost_model
from quantloom.spec.arch import arch_names
from quantloom.spec.mapping import load_mapping
from quantloom.zoo import MODEL_NAMES

Run = Callable[..., Any]
GOLDEN = Path(__file__).parents[1] / "golden"

COST_KEYS = {
    *("energy_pj", "latency_cycles", "edp_pj_cycles", "utilization", "macs", "energy_per_mac_pj", "compute_cycles"),
    *("arithmetic_energy_pj", "arithmetic_leak_energy_pj", "area_um2", "limited_by", "levels"),
}
LAYER_KEYS = {"position", "layer", "bits", "same_as", "mapping", "certificate", "notes", *COST_KEYS}


# ---- count -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "valid"), [("16", 11778), ("8", 15021), ("4", 16417), ("2", 16877), ("a8w4o8", 15054)]
)
def test_count_gives_the_recorded_numbers_of_the_paper(quantloom: Run, bits: str, valid: int) -> None:
    model = ["mobilenet_v1", "--arch", "eyeriss", "--paper-workloads", "--cost-model", "compat", "--layer", "2"]
    found = quantloom("count", *model, "--bits", bits, "--json").json
    assert (found["size"], found["valid"]) == (70560, valid)
    assert found["visited"] == found["valid"] + sum(found["invalid"].values())
    assert sum(found["invalid_capacity_by_level"].values()) == found["invalid"]["capacity"]


def test_count_lists_all_layers_without_layer(quantloom: Run) -> None:
    found = quantloom("count", "network.yaml", "--arch", "eyeriss", "--bits", "a8w4", "--json").json
    assert set(found) == {"schema_version", "command", "model", "arch", "cost_model", "layers"}
    assert [layer["layer"] for layer in found["layers"]] == ["conv", "point"]
    assert set(found["layers"][0]) == {
        *("layer", "position", "bits", "size", "visited", "valid", "invalid", "invalid_capacity_by_level", "notes"),
        "invalid_utilization_by_level",
    }
    assert found["layers"][1]["bits"] == {"Weights": 4, "Inputs": 8, "Outputs": 8}
    table = quantloom("count", "network.yaml", "--arch", "eyeriss", "--bits", "a8w4")
    assert f"{found['layers'][0]['valid']:,}" in table.out


def test_a_layer_is_named_or_numbered(quantloom: Run) -> None:
    by_name, by_number = (
        quantloom("count", "network.yaml", "--arch", "eyeriss", "--bits", "8", "--layer", layer, "--json").json
        for layer in ("point", "2")
    )
    assert by_name == by_number
    assert (by_name["layer"], by_name["position"]) == ("point", 2)


# ---- map and evaluate ------------------------------------------------------------------------------------------------


def test_count_takes_several_bits_in_one_pass(quantloom: Run) -> None:
    bits = ("16", "8", "4", "2", "a8w4o8")
    model = ["mobilenet_v1", "--arch", "eyeriss", "--paper-workloads", "--cost-model", "compat", "--layer", "2"]
    found = quantloom("count", *model, "--bits", *bits, "--json").json["layers"]
    assert [each["valid"] for each in found] == [11778, 15021, 16417, 16877, 15054]
    table = quantloom("count", *model, "--bits", *bits).out
    assert "16,417" in table
    assert "15,054" in table
    default = quantloom("count", "network.yaml", "--arch", "eyeriss", "--layer", "conv", "--bits", "8", "2", "--json")
    each = quantloom("count", "network.yaml", "--arch", "eyeriss", "--layer", "conv", "--bits", "2", "--json").json
    assert default.json["layers"][1]["valid"] == each["valid"]


def test_map_gives_every_layer_and_totals(quantloom: Run) -> None:
    found = quantloom("map", "network.yaml", "--arch", "eyeriss", "--bits", "8", "--json").json
    assert found["schema_version"] == 1
    assert (found["model"], found["arch"], found["objective"], found["space"]) == ("two", "eyeriss", "edp", "arch")
    assert found["cost_model"] == default_cost_model()
    assert all(set(layer) == LAYER_KEYS for layer in found["layers"])
    assert found["totals"]["energy_pj"] == pytest.approx(sum(layer["energy_pj"] for layer in found["layers"]))
    assert found["totals"]["edp_pj_cycles"] == found["totals"]["energy_pj"] * found["totals"]["latency_cycles"]
    assert all(layer["certificate"]["is_proven"] for layer in found["layers"])


def test_the_parts_of_a_cost_add_up(quantloom: Run) -> None:
    found = quantloom("map", "network.yaml", "--arch", "simba", "--layer", "conv", "--json").json
    assert set(found) > LAYER_KEYS
    levels = found["levels"]
    total_pj = found["arithmetic_energy_pj"] + sum(level["energy_pj"] + level["network_energy_pj"] for level in levels)
    assert total_pj == pytest.approx(found["energy_pj"])
    dram = levels[0]
    assert sum(tensor["energy_pj"] for tensor in dram["tensors"].values()) == pytest.approx(dram["energy_pj"])
    assert found["utilization"] == pytest.approx(found["macs"] / 256 / found["latency_cycles"])


def test_equal_layers_are_solved_once(quantloom: Run, directory: Path) -> None:
    text = (directory / "network.yaml").read_text()
    twin = "  - {name: again, reads: a, writes: b, dims: {C: 4, M: 8, P: 6, Q: 6}}\n"
    (directory / "network.yaml").write_text(text + twin)
    found = quantloom("map", "network.yaml", "--arch", "eyeriss", "--json").json
    assert [layer["same_as"] for layer in found["layers"]] == [None, None, 2]
    assert found["layers_solved"] == 2
    assert found["layers"][2]["energy_pj"] == found["layers"][1]["energy_pj"]
    assert "1 equal layer" in quantloom("map", "network.yaml", "--arch", "eyeriss").out


def test_the_answer_does_not_depend_on_threads(quantloom: Run) -> None:
    one, two = (
        quantloom("map", "network.yaml", "--arch", "simba", "--threads", threads, "--json").out for threads in "12"
    )
    assert one == two


def test_objectives_differ_and_each_is_best_at_its_own(quantloom: Run) -> None:
    def value(objective: str, key: str) -> float:
        arguments = ["map", "network.yaml", "--arch", "simba", "--objective", objective, "--layer", "1", "--json"]
        found: float = quantloom(*arguments).json[key]
        return found

    assert value("energy", "energy_pj") <= value("edp", "energy_pj")
    assert value("cycles", "latency_cycles") <= value("edp", "latency_cycles")
    assert value("edp", "edp_pj_cycles") <= min(value("energy", "edp_pj_cycles"), value("ed2p", "edp_pj_cycles"))


def test_what_map_saves_evaluate_reads(quantloom: Run) -> None:
    mapped = quantloom("map", "network.yaml", "--arch", "eyeriss", "--bits", "a8w4", "--save", "best", "--json").json
    files = ["--workload", "best/layer02.workload.yaml", "--mapping", "best/layer02.mapping.yaml"]
    found = quantloom("evaluate", "--arch", "eyeriss", *files, "--json").json
    about = {"schema_version", "command", "arch", "workload", "cost_model", "bits", "mapping", "tile_shapes"}
    assert set(found) == {*about, "energy_sources", *COST_KEYS}
    assert all(found[key] == mapped["layers"][1][key] for key in (*COST_KEYS, "mapping", "bits"))
    text = quantloom("evaluate", "--arch", "eyeriss", *files).out
    assert f"{found['latency_cycles']:,.0f}, limited by" in text
    shown = quantloom("show", "mapping", files[3], "--arch", "eyeriss", *files[:2])
    assert shown.code == 0
    assert "[mac] multiply and accumulate" in shown.out


def test_bits_on_the_command_line_stand_above_those_of_the_file(quantloom: Run, directory: Path) -> None:
    quantloom("map", "network.yaml", "--arch", "eyeriss", "--bits", "4", "--save", "best")
    files = ["--workload", "best/layer01.workload.yaml", "--mapping", "best/layer01.mapping.yaml"]
    four, two = (
        quantloom("evaluate", "--arch", "eyeriss", *files, *bits, "--json").json for bits in ([], ["--bits", "2"])
    )
    assert (four["bits"]["Weights"], two["bits"]["Weights"]) == (4, 2)
    assert two["energy_pj"] < four["energy_pj"]
    arch = load_arch("eyeriss")
    workload = load_network("network.yaml")["1"]
    mapping = load_mapping(directory / "best" / "layer01.mapping.yaml", arch, workload)
    cost = evaluate(arch, workload, mapping, bits=2, model=default_cost_model())
    assert cost.energy_pj == two["energy_pj"]


@pytest.mark.parametrize("width", ["80", "200"])
def test_tables_keep_to_the_width_of_the_terminal(quantloom: Run, monkeypatch: pytest.MonkeyPatch, width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    commands = (
        "map network.yaml --arch eyeriss",
        "map network.yaml --arch eyeriss --layer 1",
        "show arch simba",
        "show model network.yaml",
    )
    for arguments in map(str.split, commands):
        longest = max(map(len, quantloom(*arguments).out.splitlines()))
        assert longest <= int(width), arguments


# ---- show ------------------------------------------------------------------------------------------------------------


def test_show_arch_gives_every_number_with_its_source(quantloom: Run) -> None:
    found = quantloom("show", "arch", "eyeriss", "--json").json
    assert [level["name"] for level in found["levels"]][:2] == ["DRAM", "shared_glb"]
    glb = found["levels"][1]
    assert (glb["capacity_words"], glb["read_energy_pj"]) == (51200, 67.9377)
    text = quantloom("show", "arch", "eyeriss").out
    assert "51,200 words of 16 bits (100 KiB)" in text
    assert "67.9377 [1]" in text
    assert "[1] ERT:read (maximum over its argument combinations)" in text
    assert "14 along x" in text


def test_show_arch_draws_every_kind_of_energy(quantloom: Run) -> None:
    text = quantloom("show", "arch", str(GOLDEN / "tiny.yaml")).out
    assert "4 along x and 3 along y" in text
    assert "Buf: 0.37 pJ for a word and hop" in text


def test_show_without_a_name_lists_what_is_known(quantloom: Run) -> None:
    assert [arch["name"] for arch in quantloom("show", "arch", "--json").json["archs"]] == arch_names()
    assert quantloom("show", "model", "--json").json["models"] == list(MODEL_NAMES)
    assert "classes=1000" in quantloom("show", "model").out


def test_show_model_gives_layers_and_bit_groups(quantloom: Run) -> None:
    found = quantloom("show", "model", "mobilenet_v2:classes=100", "--json").json
    assert found["macs"] == 299_622_272
    assert len(found["layers"]) == 53
    assert found["layers"][1]["kind"] == "depthwise 3x3"
    groups = [edge["bit_group"] for edge in found["edges"]]
    joined = {edge["name"] for edge in found["edges"] if groups.count(edge["bit_group"]) > 1}
    assert {"features.2.conv.2", "features.3.conv.2"} < joined


# ---- table -----------------------------------------------------------------------------------------------------------


def test_table_writes_the_cost_table(quantloom: Run, directory: Path) -> None:
    result = quantloom("table", "network.yaml", "--arch", "eyeriss", "-o", "out/table.csv", "--bits", "8,4")
    assert result.code == 0
    assert result.out.startswith("16 rows for 2 layers at 4, 8 bits, all proven optimal, written to out/table.csv\n\n")
    assert "DRAM read 512" in result.out
    rows = list(csv.DictReader((directory / "out" / "table.csv").read_text().splitlines()))
    table = cost_table(load_network("network.yaml"), load_arch("eyeriss"), bits=(4, 8), model=default_cost_model())
    assert [float(row["energy_pj"]) for row in rows] == table.energy_pj.ravel().tolist()
    assert [float(row["latency_cycles"]) for row in rows] == table.cycles.ravel().tolist()
    last = rows[-1]
    assert (last["layer"], last["bits_weights"], last["bits_inputs"], last["bits_outputs"]) == ("point", "8", "8", "8")
    assert table.mapping("point", BitWidths.uniform(8)).levels


def test_table_takes_packing_classes_and_replaces_only_by_force(quantloom: Run, directory: Path) -> None:
    (directory / "t.csv").write_text("mine")
    arguments = ["table", "network.yaml", "--arch", "eyeriss", "-o", "t.csv", "--json"]
    assert quantloom(*arguments).code == 1
    assert (directory / "t.csv").read_text() == "mine"
    found = quantloom(*arguments, "--force").json
    assert (found["bits"], found["rows"], found["is_proven"]) == ([2, 3, 4, 5, 8], 250, True)
    assert (directory / "t.csv").read_text().startswith("position,layer,")


def test_table_as_parquet_holds_the_same(quantloom: Run, directory: Path) -> None:
    line = ("table", "network.yaml", "--arch", "eyeriss", "--bits", "8,4", "-o")
    assert quantloom(*line, "t.csv").code == 0
    result = quantloom(*line, "out/t.parquet")
    assert result.out.startswith("16 rows for 2 layers at 4, 8 bits, all proven optimal, written to out/t.parquet\n\n")
    table = parquet.read_table(directory / "out" / "t.parquet").to_pydict()
    rows = list(csv.DictReader((directory / "t.csv").read_text().splitlines()))
    assert list(table) == list(rows[0])
    assert [str(e) for e in table["energy_pj"]] == [row["energy_pj"] for row in rows]
    assert table["is_proven"] == [row["is_proven"] == "true" for row in rows]
    assert table["mapping"] == [row["mapping"] for row in rows]


def test_other_forms_of_tables_are_refused(quantloom: Run) -> None:
    result = quantloom("table", "network.yaml", "--arch", "eyeriss", "-o", "t.xlsx")
    assert result.code == 1
    assert "the ending says no format of a table" in result.err


# ---- switches of the default model -----------------------------------------------------------------------------------


def test_packing_and_widths_of_partial_sums_reach_the_model(quantloom: Run) -> None:
    def energy(*options: str) -> float:
        found = quantloom(
            "map", "network.yaml", "--arch", "eyeriss", "--bits", "5", "--layer", "conv", "--json", *options
        )
        return float(found.json["energy_pj"])

    assert energy("--packing", "dense") < energy() < energy("--packing", "none")
    assert energy("--psum-bits", "8") < energy("--psum-bits", "32")
    message = quantloom(
        "map",
        "network.yaml",
        "--arch",
        "eyeriss",
        "--cost-model",
        "compat",
        "--packing",
        "dense",
    )
    assert "--packing and --psum-bits are of the default cost model" in message.err


def test_an_accelerator_with_every_switch_is_shown_and_explained(quantloom: Run, directory: Path) -> None:
    text = """\
name: bricks
source: a test
levels:
  - {name: DRAM, technology: DRAM, word_bits: 16, energy_pj: {read: 100, write: 100, adder: 0.5, source: guess}}
  - name: buffer
    word_bits: 16
    capacity_words: 4096
    packing: dense
    keep: all
    bandwidth_bits_per_cycle: {read: 2, write: 4}
    network: {forwarding: true}
    energy_pj: {read: 1, write: 2, idle_per_cycle: 0.01, source: guess}
arithmetic:
  name: mac
  word_bits: 8
  instances: {x: 4, y: 2}
  precision: {style: bit-scalable, brick_bits: 2}
  psum_bits: 24
  energy_pj: {mac: 1.6, leak_per_cycle: 0.01, source: guess}
constraints:
  mapspace:
    DRAM: {temporal: {permutation: [C, M, R, S, N, P, Q]}}
    buffer:
      temporal: {permutation: [C, M, R, S, N, P, Q]}
      spatial: {permutation: [C, M, R, S, N, P, Q], factors: {R: 1, S: 1, P: 1, Q: 1}, split: 1}
"""
    (directory / "bricks.yaml").write_text(text)
    shown = quantloom("show", "arch", "bricks.yaml").out
    for words in (
        "packing: dense",
        "network: forwarding",
        "bits in a cycle: read 2, write 4",
        "partial sums of 24 bits",
        "(16)",
    ):
        assert words in shown, words
    precision = quantloom("show", "arch", "bricks.yaml", "--json").json["arithmetic"]["precision"]
    assert (precision["first_bits"], precision["energy_pj"][0]) == ([2, 4, 8, 16], pytest.approx(0.1))
    found = quantloom("map", "network.yaml", "--arch", "bricks.yaml", "--bits", "4", "--layer", "conv").out
    assert "limited by the bandwidth of buffer" in found
    assert "(leakage)" in found


def test_operators_of_one_layer_are_refused_before_anything_is_read(quantloom: Run) -> None:
    result = quantloom("map", "nowhere.yaml", "--arch", "nowhere", "--layer", "conv", "--charge-operators")
    assert result.code == 2
    assert "--charge-operators is for a whole network, not with --layer" in result.err


def test_map_prints_every_trade_off_of_energy_and_cycles(quantloom: Run) -> None:
    arguments = ("map", "network.yaml", "--arch", "simba", "--layer", "conv", "--objective", "pareto")
    front = quantloom(*arguments, "--json").json["front"]
    assert [p["latency_cycles"] for p in front] == sorted({p["latency_cycles"] for p in front})
    assert [p["energy_pj"] for p in front] == sorted((p["energy_pj"] for p in front), reverse=True)
    assert f"Trade-offs of energy and cycles ({len(front)})" in quantloom(*arguments).out
    for objective, key, best in (("energy", "energy_pj", front[-1]), ("cycles", "latency_cycles", front[0])):
        found = quantloom(*arguments[:-1], objective, "--json").json
        assert found[key] == pytest.approx(best[key])
