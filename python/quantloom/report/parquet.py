"""Tables as Parquet files, by pyarrow, which is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from quantloom.errors import QuantloomError

__all__ = ["write_parquet"]


def write_parquet(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    """Write columns of equal length, types as their values, None where there is none. Raises QuantloomError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        message = f"{path}: Parquet files need pyarrow, which is not installed"
        hint = "pip install 'quantloom[parquet]', or give a name that ends in .csv"
        raise QuantloomError(message, hint=hint) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        pyarrow.parquet.write_table(pyarrow.table(dict(columns)), part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
