"""Files and tables of a front: well-formed, complete, true to the numbers."""

from __future__ import annotations

import csv
import io
import json
import struct

import numpy as np
import pytest

from quantloom.errors import SearchError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.run import run_search
from quantloom.report.plot import CostAxis
from quantloom.report.terminal import front_table, make_console
from quantloom.testing.toy_search import toy_inputs

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=150, population=20, objectives=("error", "energy_pj", "edp"))


@pytest.fixture(scope="module")
def inputs():
    return toy_inputs(6)


@pytest.fixture(scope="module")
def front(inputs):
    return run_search(CONFIG, inputs)


def test_json_holds_the_bits_of_every_tensor_by_name(front, inputs):
    stored = json.loads(json.dumps(front.to_json(), allow_nan=False))
    assert stored["schema_version"] == 1
    assert [b["uniform_bits"] for b in stored["baselines"]] == [2, 3, 4, 5, 8]
    for point in stored["points"]:
        assert [layer["name"] for layer in point["layers"]] == [layer.name for layer in inputs.network.layers]
        assert list(point["activation_bits"]) == [edge.name for edge in inputs.network.edges]
        assert sum(layer["energy_pj"] for layer in point["layers"]) == pytest.approx(point["energy_pj"])
        assert sum(layer["latency_cycles"] for layer in point["layers"]) == pytest.approx(point["latency_cycles"])
        weight_bits = sum(
            record["weight_bits"] * layer.weights_elements
            for record, layer in zip(point["layers"], inputs.network.layers, strict=True)
        )
        assert point["weight_memory_bits"] == weight_bits
        assert 0 <= point["accuracy_test"] < point["accuracy_validation"] <= 1


def test_csv_and_frame_have_a_row_for_each_point_and_baseline(front):
    rows = list(csv.DictReader(io.StringIO(front.to_csv())))
    frame = front.to_frame()
    assert len(rows) == len(frame) == len(front.points) + len(front.baselines)
    assert [row["label"] for row in rows] == list(frame["label"])
    assert float(rows[0]["energy_pj"]) == front.points[0].energy_pj
    assert {
        "latency_cycles",
        "weight_memory_bits",
        "accuracy_test",
        "weight_bits:layer0",
        "activation_bits:edge1",
    } <= set(rows[0])


def test_best_point_keeps_its_bound(front):
    middle = front.points[len(front.points) // 2]
    under = front.best(max_energy_pj=middle.energy_pj)
    assert under.energy_pj <= middle.energy_pj
    assert under.accuracy_validation >= middle.accuracy_validation
    above = front.best(min_accuracy=middle.accuracy_validation)
    assert above.accuracy_validation >= middle.accuracy_validation
    assert above.energy_pj <= middle.energy_pj
    with pytest.raises(SearchError, match="no point of the front keeps max_energy_pj=1"):
        front.best(max_energy_pj=1)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_savings_are_only_claimed_where_the_numbers_show_them(front, split):
    points = {p.label: p for p in front.points}
    baselines = {b.label: b for b in front.baselines}
    savings = {s.baseline: s for s in front.savings("energy_pj", split)}
    assert savings
    for label, baseline in baselines.items():
        better = [
            p
            for p in front.points
            if p.accuracy(split) >= baseline.accuracy(split) and p.energy_pj < baseline.energy_pj
        ]
        assert (label in savings) == bool(better)
        if better:
            saving = savings[label]
            assert points[saving.point].energy_pj == min(p.energy_pj for p in better)
            assert saving.saved == pytest.approx(1 - points[saving.point].energy_pj / baseline.energy_pj)
            assert (saving.gain_validation if split == "validation" else saving.gain_test) >= 0


def test_summary_chooses_on_validation_for_every_baseline(front):
    text = front.summary()
    for bits in (2, 3, 4, 5, 8):
        assert text.count(f"uniform-{bits} (") == 2  # once for each hardware objective
    assert text.count(" saves ") + text.count("no point of the front is as accurate on validation and cheaper") == 10
    assert "uniform-2" in text.split("no point of the front is as accurate on validation and cheaper")[0]


def test_the_picture_is_a_png_of_1200_by_800(front, tmp_path):
    path = tmp_path / "front.png"
    front.plot(path)
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == (1200, 800)
    front.plot(path, objective="edp")
    with pytest.raises(SearchError, match="not among the searched objectives"):
        front.plot(path, objective="cycles")


def test_drawing_does_not_touch_pyplot(front, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would fail
    front.plot(tmp_path / "front.png")


@pytest.mark.parametrize(
    ("objective", "largest", "unit"),
    [("energy_pj", 5e7, "µJ"), ("energy_pj", 5e9, "mJ"), ("cycles", 2.5e6, "Mcycles"), ("weight_bits", 9e5, "kbit")],
)
def test_axes_are_scaled_to_readable_units(objective, largest, unit):
    factor, text = CostAxis.of(objective).scaled(largest)
    assert text == unit
    assert 1 <= largest * factor < 1000


def rendered(front, **options):
    stream = io.StringIO()
    make_console(stream).print(front_table(front.points, front.baselines, **options))
    return stream.getvalue()


def test_the_table_shows_points_and_baselines_in_units(front):
    text = rendered(front, limit=1000)
    assert text.count("front-") == len(front.points)
    assert text.count("uniform-") == len(front.baselines)
    assert "nJ" in text
    assert f"{100 * front.points[0].accuracy_test:.2f}" in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_a_long_front_is_thinned_and_says_so(front):
    text = rendered(front, limit=7)
    labels = [line.split()[1] for line in text.splitlines() if "front-" in line]
    assert labels[0] == front.points[0].label
    assert labels[-1] == front.points[-1].label
    assert f"7 of {len(front.points)} points; front.csv has all" in text


def test_the_table_can_do_without_line_drawing(front):
    assert rendered(front, ascii_only=True).isascii()


def test_the_table_fits_a_stream_that_takes_ascii_only(front):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    make_console(stream).print(front_table(front.points, front.baselines))
    stream.seek(0)
    assert "uniform-8" in stream.read()


def test_candidates_hold_accuracy_and_costs_of_everything_evaluated(front):
    assert front.candidates.shape == (CONFIG.evaluations, 3)
    for point in front.points:
        match = np.isclose(
            front.candidates, [point.accuracy_validation, point.energy_pj, point.edp_pj_cycles], rtol=1e-12
        )
        assert match.all(axis=1).any()
