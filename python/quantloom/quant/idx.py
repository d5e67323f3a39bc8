"""Reader of IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped.

Layout (yann.lecun.com/exdb/mnist): two zero bytes, a type byte (8: unsigned byte), the number of axes, one big-endian
uint32 for each axis, then the elements in C order.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from quantloom.errors import DataError

__all__ = ["read_idx"]

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 8
_MOST_RECORDS = 10_000_000  # along the first axis; a larger header is taken for corruption before anything is allocated


def read_idx(path: Path, *, record_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes whose records have a known shape.

    record_shape: shape of one record, () for labels. Returns (records, *record_shape), writable.
    Raises DataError naming the path and what was expected if the file is missing, corrupt or of another shape.
    """
    expected = f"an IDX file of unsigned bytes with records of shape {record_shape}"
    try:
        with path.open("rb") as plain:
            is_gzip = plain.read(2) == _GZIP_MAGIC
            plain.seek(0)
            if not is_gzip:
                return _read_stream(plain, path, record_shape, expected)
            with gzip.open(plain) as unpacked:
                return _read_stream(unpacked, path, record_shape, expected)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"{path}: corrupt gzip data ({error}); expected {expected}"
        raise DataError(message, hint="the file is damaged or incomplete: fetch it again") from error
    except OSError as error:
        message = f"{path}: cannot read: {error.strerror or error}; expected {expected}"
        raise DataError(message) from error


def _read_stream(
    stream: IO[bytes] | gzip.GzipFile, path: Path, record_shape: tuple[int, ...], expected: str
) -> NDArray[np.uint8]:
    axes = 1 + len(record_shape)
    header = stream.read(4 + 4 * axes)
    if len(header) < 4 + 4 * axes or header[:4] != bytes((0, 0, _UNSIGNED_BYTE, axes)):
        message = f"{path}: starts with bytes {header[:4].hex(' ') or '(none)'}; expected {expected}"
        raise DataError(message, hint="is this the right file?")
    shape = struct.unpack(f">{axes}I", header[4:])
    if shape[1:] != record_shape or not 1 <= shape[0] <= _MOST_RECORDS:
        message = f"{path}: holds an array of shape {shape}; expected {expected}"
        raise DataError(message, hint="is this the right file?")
    size = math.prod(shape)
    body = stream.read(size + 1)
    if len(body) != size:
        found = f"only {len(body)}" if len(body) < size else "more"
        message = f"{path}: the header promises {size} bytes of shape {shape}, the file holds {found}"
        raise DataError(message, hint="the file is damaged or incomplete: fetch it again")
    array: NDArray[np.uint8] = np.frombuffer(body, dtype=np.uint8).reshape(shape).copy()
    return array
