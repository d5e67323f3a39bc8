"""What tells one set of data from another that stands at the same place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, runtime_checkable

from quantloom.quant.data_splits import DataSplits

__all__ = ["Fingerprinted", "fingerprint_of", "fingerprint_of_files"]


@runtime_checkable
class Fingerprinted(Protocol):
    """A dataset that knows when it is another one."""

    def fingerprint(self) -> str:
        """Return a SHA-256, as hexadecimal digits, that changes with what the items are."""


def fingerprint_of(data: DataSplits) -> str | None:
    """SHA-256 of all three splits, as hexadecimal digits; None where one of them is not Fingerprinted."""
    found = hashlib.sha256(data.description.encode())
    for split in (data.train, data.validation, data.test):
        if not isinstance(split, Fingerprinted):
            return None
        found.update(split.fingerprint().encode())
    return found.hexdigest()


def fingerprint_of_files(paths: Iterable[Path]) -> str:
    """SHA-256 of the names, sizes and times of change of files, in the order given; they are not read.

    Raises OSError if one is not there.
    """
    found = hashlib.sha256()
    for path in paths:
        state = path.stat()
        found.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return found.hexdigest()
