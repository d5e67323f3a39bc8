"""Result tables that leave quantloom: named, typed columns with units, as CSV, JSON, Parquet, Arrow, pandas or xarray.

The columns of each table are listed in docs/results.md; SCHEMA_VERSION grows when one of them goes or changes its
meaning.
CSV and JSON need nothing; pandas, pyarrow and xarray are loaded where they are used.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from quantloom.errors import QuantloomError

if TYPE_CHECKING:
    import pandas
    import pyarrow
    import xarray

__all__ = ["FORMATS", "SCHEMA_VERSION", "Cell", "Kind", "ResultColumn", "ResultTable", "format_of"]

SCHEMA_VERSION: Final = 1
FORMATS: Final = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}

Cell: TypeAlias = "int | float | str | bool | None"
Kind: TypeAlias = Literal["int", "float", "text", "bool"]


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column: kind of its cells (None stands for a missing one), unit (empty: none) and what it says."""

    name: str
    kind: Kind
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """Rows of cells under columns. about: what the table is of, such as the accelerator; in every format but CSV.

    Numbers that are not finite are missing cells in every format.
    """

    name: str
    columns: tuple[ResultColumn, ...]
    rows: tuple[tuple[Cell, ...], ...]
    about: Mapping[str, str] = field(default_factory=dict)

    def to_csv(self) -> str:
        """CSV with a title line; missing cells are empty, truths `true` and `false`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        writer.writerows([_csv_cell(cell) for cell in row] for row in self._finite_rows())
        return text.getvalue()

    def to_json(self) -> dict[str, object]:
        """Plain values: schema_version, table, about, columns with kind, unit and meaning, and rows as mappings."""
        names = [column.name for column in self.columns]
        return {
            "schema_version": SCHEMA_VERSION,
            "table": self.name,
            "about": dict(self.about),
            "columns": [{"name": c.name, "kind": c.kind, "unit": c.unit, "meaning": c.meaning} for c in self.columns],
            "rows": [dict(zip(names, row, strict=True)) for row in self._finite_rows()],
        }

    def to_frame(self) -> pandas.DataFrame:
        """A pandas frame with nullable types; `attrs` has schema_version, table and about."""
        pd = _load("pandas", "frames")
        types = {"int": "Int64", "float": "Float64", "text": "string", "bool": "boolean"}
        rows = self._finite_rows()
        frame: pandas.DataFrame = pd.DataFrame(
            {c.name: pd.array([row[i] for row in rows], dtype=types[c.kind]) for i, c in enumerate(self.columns)}
        )
        frame.attrs = self._metadata()
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """An Arrow table; fields carry unit and meaning, the schema carries schema_version, table and about."""
        pa = _load("pyarrow", "parquet")
        types = {"int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bool": pa.bool_()}
        fields = [
            pa.field(c.name, types[c.kind], metadata={"unit": c.unit, "meaning": c.meaning}) for c in self.columns
        ]
        rows = self._finite_rows()
        arrays = [pa.array([row[i] for row in rows], type=types[c.kind]) for i, c in enumerate(self.columns)]
        table: pyarrow.Table = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=self._metadata()))
        return table

    def to_xarray(self, index: Sequence[str]) -> xarray.Dataset:
        """A dataset with the columns `index` as dimensions and all numbers and truths as variables (missing: NaN).

        Raises QuantloomError if the rows are not all combinations of the index columns, each once.
        """
        xr = _load("xarray", "xarray")
        names = [column.name for column in self.columns]
        unknown = [name for name in index if name not in names]
        if unknown or not index:
            message = f"table {self.name} has no column {unknown[0]!r}" if unknown else "no index columns are given"
            raise QuantloomError(message, hint=f"columns: {', '.join(names)}")
        places = [names.index(name) for name in index]
        labels = [list(dict.fromkeys(row[place] for row in self.rows)) for place in places]
        shape = tuple(len(each) for each in labels)
        order = {tuple(row[place] for place in places): i for i, row in enumerate(self.rows)}
        if len(order) != len(self.rows) or len(self.rows) != math.prod(shape):
            message = f"the rows of table {self.name} are not all combinations of {', '.join(index)}, each once"
            raise QuantloomError(message, hint="name the columns that tell rows apart")
        at = [order[key] for key in _product(labels)]
        rows = self._finite_rows()
        variables = {
            c.name: (
                list(index),
                np.array([_number(rows[i][k]) for i in at], dtype=np.float64).reshape(shape),
                {"unit": c.unit, "meaning": c.meaning},
            )
            for k, c in enumerate(self.columns)
            if c.kind != "text" and c.name not in index
        }
        dataset: xarray.Dataset = xr.Dataset(
            variables, coords=dict(zip(index, labels, strict=True)), attrs=self._metadata()
        )
        return dataset

    def encode(self, form: str) -> bytes:
        """The table as a file of one of FORMATS."""
        if form == "csv":
            return self.to_csv().encode()
        if form == "json":
            return (json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n").encode()
        arrow, sink = self.to_arrow(), io.BytesIO()
        if form == "parquet":
            _load("pyarrow.parquet", "parquet").write_table(arrow, sink)
        else:
            _load("pyarrow.feather", "parquet").write_feather(arrow, sink, compression="uncompressed")
        return sink.getvalue()

    def _finite_rows(self) -> list[tuple[Cell, ...]]:
        return [tuple(None if isinstance(c, float) and not math.isfinite(c) else c for c in row) for row in self.rows]

    def _metadata(self) -> dict[str, str]:
        return {"schema_version": str(SCHEMA_VERSION), "table": self.name, **self.about}


def format_of(path: str) -> str:
    """The format that a file's ending asks for. Raises QuantloomError for an ending that is none of FORMATS."""
    for ending, form in FORMATS.items():
        if path.endswith(ending):
            return form
    message = f"{path}: the ending says no format of a table"
    raise QuantloomError(message, hint=f"give a name that ends in {', '.join(FORMATS)}")


def _csv_cell(cell: Cell) -> object:
    if isinstance(cell, bool):
        return str(cell).lower()
    return "" if cell is None else cell


def _number(cell: Cell) -> float:
    return math.nan if cell is None or isinstance(cell, str) else float(cell)


def _product(labels: Sequence[Sequence[Cell]]) -> list[tuple[Cell, ...]]:
    keys: list[tuple[Cell, ...]] = [()]
    for values in labels:
        keys = [(*key, value) for key in keys for value in values]
    return keys


def _load(name: str, extra: str):  # type: ignore[no-untyped-def]  # a package that may be missing: no types to give
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        message = f"this needs {package}, which is not installed"
        raise QuantloomError(message, hint=f'pip install "quantloom[{extra}]"') from error
