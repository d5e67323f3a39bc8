"""The store's file: its marks, its versions, and how a file of an earlier version becomes one of this.

A file is one of ours if its application_id says so; its user_version is the version of its schema.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["APPLICATION_ID", "VERSION", "checksum_of", "migrate", "transaction"]

APPLICATION_ID: Final = 0x716C6F6D
""""qlom", in the header of every file of ours."""


def checksum_of(value: str) -> int:
    """CRC-32 of a stored value: SQLite does not notice a changed byte inside a text."""
    return zlib.crc32(value.encode())


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing. The connection must be in autocommit mode."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends some that fail by itself
            connection.execute("ROLLBACK")
        raise


def _create(connection: sqlite3.Connection) -> None:
    """Version 1: values by key, with what they are and which code made them."""
    connection.execute(
        "CREATE TABLE results (key TEXT PRIMARY KEY, kind TEXT NOT NULL, code TEXT NOT NULL, about TEXT NOT NULL,"
        " value TEXT NOT NULL, created_unix_s REAL NOT NULL)"
    )


def _add_use(connection: sqlite3.Connection) -> None:
    """Version 2: checksums of values, and how often and when last they were of use."""
    connection.create_function("checksum_of", 1, checksum_of, deterministic=True)
    connection.execute("ALTER TABLE results ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE results ADD COLUMN hits INTEGER NOT NULL DEFAULT 0")
    connection.execute("ALTER TABLE results ADD COLUMN used_unix_s REAL NOT NULL DEFAULT 0")
    connection.execute("UPDATE results SET checksum = checksum_of(value), used_unix_s = created_unix_s")


_STEPS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_create, _add_use)
"""From nothing to version 1, from 1 to 2, and so on."""

VERSION: Final = len(_STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an empty file, or one of an earlier version, to VERSION: all steps in one transaction, or none.

    The connection must be in autocommit mode.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    with transaction(connection):
        # read again: another process may have done it meanwhile
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for step in _STEPS[version:]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
