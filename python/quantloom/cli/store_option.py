"""Where the store of earlier results lies, and opening it for a command."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantloom.errors import StoreError

if TYPE_CHECKING:
    from quantloom.store.database import Store

__all__ = ["opened_store", "store_path"]

NONE: Final = "none"


def store_path(given: str | None) -> Path | None:
    """The file that --store names, by default the user's own; None for `none`.

    Raises StoreError for a directory.
    """
    if given == NONE:
        return None
    if given is not None:
        path = Path(given)
        if not given or path.is_dir():
            message = f"--store {given!r} is not a file"
            raise StoreError(message, hint="give a file, such as results.sqlite, or none")
        return path
    cache = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(cache) if cache.startswith("/") else Path("~/.cache").expanduser()
    return folder / "quantloom" / "store.sqlite"


@contextmanager
def opened_store(given: str | None, note: Callable[[str], None]) -> Iterator[Store | None]:
    """The store of a command while it runs. note: takes sentences for the user. Raises StoreError."""
    path = store_path(given)
    if path is None:
        yield None
        return
    from quantloom.store.database import Store

    with Store.open(path, note=note) as store:
        yield store
