"""Files that appear whole or not at all: written beside their name, synced and renamed into place.

A process that is killed meanwhile leaves what it had written under a hidden name; the next one that writes the same
file removes it. One that is still being written is left alone: its writer holds a lock on it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["put_whole", "remove_left_over", "sync", "way_out"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def put_whole(path: Path, make: Callable[[Path], object]) -> None:
    """Have `make` write a file at the path it is given, then put it in place at `path`. Raises OSError."""
    remove_left_over(path)
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(6)}.part{path.suffix}")
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with suppress(OSError):  # a file system without locks: only what a kill leaves is then not found
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        make(partial)
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):  # of a disk that has become read-only: what matters is raised
            partial.unlink(missing_ok=True)
        os.close(descriptor)


def remove_left_over(path: Path) -> None:
    """Remove what processes left that were killed while they wrote the file at `path`. Raises nothing."""
    start, end = f".{path.stem}.", f".part{path.suffix}"
    with suppress(OSError):
        for found in list(path.parent.iterdir()):
            token = found.name[len(start) : -len(end)]
            if found.name.startswith(start) and found.name.endswith(end) and len(token) == 12:
                _remove_unlocked(found)


def _remove_unlocked(found: Path) -> None:
    with suppress(OSError):  # held by its writer, or gone
        descriptor = os.open(found, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.unlink()
        finally:
            os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def way_out(error: OSError, what: str = "place") -> str:
    """What to do where a file could not be written. what: the kind of place that could be chosen instead."""
    if error.errno in _FULL:
        return f"make room on that disk, or choose a {what} on another one"
    return f"choose a {what} that can be written"
