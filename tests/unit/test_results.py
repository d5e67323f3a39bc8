"""Result tables: the same cells in every format, and a documented schema."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from quantloom import cost_table, evaluate, load_arch, load_network, optimize
from quantloom.errors import QuantloomError
from quantloom.joint_search.front import FRONT_COLUMNS
from quantloom.mapper.description_results import DESCRIPTION_COLUMNS
from quantloom.mapper.results import COST_COLUMNS, COST_TABLE_COLUMNS, cost_results, cost_table_results
from quantloom.mapper.space_results import CONVERGENCE_COLUMNS, COUNT_COLUMNS
from quantloom.report.results import FORMATS, SCHEMA_VERSION, ResultColumn, ResultTable, format_of
from quantloom.workload.bits import BitWidths
from quantloom.workload.layer import conv_workload

TABLE = ResultTable(
    name="small",
    columns=(
        ResultColumn(name="layer", kind="text", unit="", meaning="a layer"),
        ResultColumn(name="bits", kind="int", unit="bits", meaning="widths"),
        ResultColumn(name="energy_pj", kind="float", unit="pJ", meaning="energy"),
        ResultColumn(name="is_proven", kind="bool", unit="", meaning="proof"),
    ),
    rows=(("a", 4, 1.5, True), ("a", 8, 2.5, False), ("b", 4, math.inf, True), ("b", 8, 0.1, True)),
    about={"arch": "eyeriss"},
)
CELLS = [list(row) for row in TABLE.rows[:2]] + [["b", 4, None, True], ["b", 8, 0.1, True]]


def read_back(form: str) -> list[list[Any]]:
    data = TABLE.encode(form)
    if form == "json":
        return [list(row.values()) for row in json.loads(data)["rows"]]
    if form == "parquet":
        arrow = pyarrow.parquet.read_table(io.BytesIO(data))
    else:
        with pyarrow.ipc.open_file(io.BytesIO(data)) as file:
            arrow = file.read_all()
    assert arrow.schema.metadata == {b"schema_version": b"1", b"table": b"small", b"arch": b"eyeriss"}
    assert arrow.schema.field("energy_pj").metadata == {b"unit": b"pJ", b"meaning": b"energy"}
    return [list(row.values()) for row in arrow.to_pylist()]


@pytest.mark.parametrize("form", ["json", "parquet", "arrow"])
def test_every_format_has_the_same_cells(form: str) -> None:
    assert read_back(form) == CELLS


def test_csv_leaves_missing_cells_empty() -> None:
    assert TABLE.to_csv().splitlines() == [
        *("layer,bits,energy_pj,is_proven", "a,4,1.5,true", "a,8,2.5,false", "b,4,,true", "b,8,0.1,true"),
    ]


def test_json_says_what_the_columns_are() -> None:
    found = TABLE.to_json()
    assert (found["schema_version"], found["table"], found["about"]) == (SCHEMA_VERSION, "small", {"arch": "eyeriss"})
    assert found["columns"][2] == {"name": "energy_pj", "kind": "float", "unit": "pJ", "meaning": "energy"}  # type: ignore[index]


def test_frames_have_nullable_types() -> None:
    frame = TABLE.to_frame()
    assert list(map(str, frame.dtypes)) == ["string", "Int64", "Float64", "boolean"]
    assert frame["energy_pj"].isna().tolist() == [False, False, True, False]
    assert frame.attrs["arch"] == "eyeriss"


def test_datasets_have_the_index_as_dimensions() -> None:
    dataset = TABLE.to_xarray(["layer", "bits"])
    assert dict(dataset.sizes) == {"layer": 2, "bits": 2}
    assert float(dataset["energy_pj"].sel(layer="a", bits=8)) == 2.5
    assert math.isnan(float(dataset["energy_pj"].sel(layer="b", bits=4)))
    assert dataset["energy_pj"].attrs["unit"] == "pJ"


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (["layer"], "the rows of table small are not all combinations of layer, each once"),
        (["layer", "bit"], "table small has no column 'bit'"),
        ([], "no index columns are given"),
    ],
)
def test_an_index_that_does_not_tell_rows_apart_is_refused(index: list[str], message: str) -> None:
    with pytest.raises(QuantloomError) as caught:
        TABLE.to_xarray(index)
    assert caught.value.message == message


@pytest.mark.parametrize(("package", "extra"), [("pandas", "frames"), ("pyarrow", "parquet"), ("xarray", "xarray")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    calls = {"pandas": TABLE.to_frame, "pyarrow": TABLE.to_arrow, "xarray": lambda: TABLE.to_xarray(["layer", "bits"])}
    with pytest.raises(QuantloomError) as caught:
        calls[package]()
    assert (
        str(caught.value) == f'this needs {package}, which is not installed\n  hint: pip install "quantloom[{extra}]"'
    )


def test_endings_name_formats() -> None:
    assert {ending: format_of(f"x{ending}") for ending in FORMATS} == FORMATS
    with pytest.raises(QuantloomError, match="the ending says no format of a table"):
        format_of("table.xls")


def test_the_schema_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    described = (column for columns in DESCRIPTION_COLUMNS.values() for column in columns)
    others = (*COUNT_COLUMNS, *CONVERGENCE_COLUMNS, *described)
    for column in (*COST_TABLE_COLUMNS, *COST_COLUMNS, *FRONT_COLUMNS, *others):
        assert f"| `{column.name}` | {column.kind} | {column.unit} | {column.meaning} |" in page
    assert f"`schema_version` is {SCHEMA_VERSION}" in page


def test_the_rows_of_a_cost_add_up_to_it() -> None:
    layer = conv_workload("c", inputs=2, outputs=4, output_size=(2, 1), kernel=(1, 1))
    for name in ("eyeriss", "simba", Path(__file__).parents[1] / "golden" / "tiny.yaml"):
        arch = load_arch(name)
        best = optimize(arch, layer, bits=BitWidths.uniform(8))
        cost = evaluate(arch, layer, best.mapping, bits=BitWidths.uniform(8))
        rows = [
            dict(zip([c.name for c in COST_COLUMNS], row, strict=True)) for row in cost_results(arch, cost, {}).rows
        ]
        assert math.isclose(sum(float(row["energy_pj"] or 0) for row in rows), cost.energy_pj, rel_tol=1e-12)
        assert all(row["energy_source"] for row in rows)


def test_a_cost_table_becomes_a_cube(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(
        "name: n\ninput_shape: [3, 8, 8]\nedges: [{name: image, shape: [3, 8, 8]}, {name: a, shape: [4, 6, 6]}]\n"
        "layers:\n  - {name: conv, reads: image, writes: a, dims: {C: 3, M: 4, R: 3, S: 3, P: 6, Q: 6}}\n"
    )
    arch = load_arch("eyeriss")
    table = cost_table(load_network(str(tmp_path / "n.yaml")), arch, bits=(4, 8))
    results = cost_table_results(table, arch, lambda mapping: "-")
    cube = results.to_xarray(["layer", "bits_weights", "bits_inputs", "bits_outputs"])
    assert (cube["energy_pj"].values == table.energy_pj).all()
    assert results.about["arch"] == "eyeriss"
