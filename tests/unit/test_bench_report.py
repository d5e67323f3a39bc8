"""`bench/report.py` takes the figures of benchmarks apart and puts tables where the page has marks for them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_report", BENCH / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


def test_rows_are_an_accelerator_a_layer_and_figures(report: ModuleType) -> None:
    output = (
        "cost model default\n"
        "arch     layer                        one ms    priced    energy ms\n"
        "eyeriss  dw 96 s2 @56                   1.81       412  1.234e+05\n"
        "simba    first 3->32 s2 @112            5.20       nan        inf\n"
        "answers agree\n"
    )
    assert report.rows_of(output, 3) == {
        ("eyeriss", "dw 96 s2 @56"): ["1.81", "412", "1.234e+05"],
        ("simba", "first 3->32 s2 @112"): ["5.20", "nan", "inf"],
    }
    assert [report.number(text) for text in ("1.814", "23337.4", "0.0412", "99.96")] == [
        "1.81",
        "23,337",
        "0.0412",
        "100",
    ]


def test_the_spread_is_over_the_layers_that_mobilenets_have(report: ModuleType) -> None:
    default = {("eyeriss", "pw"): ["1", "2"], ("eyeriss", "dense 3x3"): ["90", "90"], ("simba", "pw"): ["4", "10.5"]}
    compat = {key: ["7"] for key in default}
    assert report.spread([default, compat], ["one", "many", "compat"]) == (
        "one: 2.5 ms in the median, 4 at most; many: 6.25 ms in the median, 10.5 at most; "
        "compat: 7 ms in the median, 7 at most"
    )
    dense = {("eyeriss", "dense 3x3"): ["90"]}
    assert report.spread([dense], ["one"]) == "none was measured"


def test_a_benchmark_that_did_not_check_its_answers_ends_the_report(report: ModuleType) -> None:
    assert report.checked("rows\nanswers agree\n") == "rows\nanswers agree\n"
    with pytest.raises(SystemExit, match="did not check its answers"):
        report.checked("rows\nANSWERS DISAGREE\n")
    with pytest.raises(SystemExit, match="no layer has that name"):
        report.table(["layer"], [])
    with pytest.raises(SystemExit, match=r"free_bench is not there: build it .* --build"):
        report.run_cpp(report.Asked(BENCH / "no such build", ""), "free_bench")


def test_a_name_is_no_pattern(report: ModuleType) -> None:
    assert report.escaped("pw 160->960 @7") == "pw 160->960 @7"
    assert report.escaped("a.b[c]*") == r"a\.b\[c\]\*"


def test_only_what_is_between_the_marks_is_replaced(report: ModuleType) -> None:
    page = "a\n<!-- report: free -->\nold\n<!-- end of report -->\nb\n<!-- report: table -->\n<!-- end of report -->\n"
    once = report.splice(page, "free", ["| 1 |", "", "Measured."])
    assert once == page.replace("old\n", "| 1 |\n\nMeasured.\n")
    assert report.splice(once, "free", ["old"]) == page
    with pytest.raises(SystemExit, match="has no place for the table `sweep`"):
        report.splice(page, "sweep", [])


def test_the_page_has_a_place_for_every_table(report: ModuleType) -> None:
    page = report.README.read_text()
    for name in report.SECTIONS:
        assert report.splice(page, name, ["x"]) != page
