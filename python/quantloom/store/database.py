"""The store: values that were computed before, by the hash of what they depend on, in one SQLite file.

Many processes may use one file: readers never wait (WAL), writers wait for each other. A file that is damaged is moved
aside and begun anew. Where the file cannot be written, or fails later, work goes on without it and says so once. Values
are JSON. Nothing is ever computed from the store's state: with equal keys come equal values, or none.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quantloom.errors import StoreError
from quantloom.store.schema import APPLICATION_ID, VERSION, checksum_of, migrate, transaction

__all__ = ["Record", "Store", "StoredResult"]

_CHUNK: Final = 500  # keys in one question; SQLite allows 999 in old versions
STORE_SUFFIX: Final = ".sqlite"  # a damaged file with another name is taken for something else
_CHECKED_BYTES: Final = 64 << 20  # larger files are not read as a whole when they are opened
_POLL_S: Final = 0.02
_SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)  # the latter where a message names damaged bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A value to be stored. kind: "mapping" or "accuracy". code: hash of the code that computed it.

    about: what it is of, for readers only. value: plain values, ready for JSON.
    """

    key: str
    kind: str
    code: str
    about: Mapping[str, object]
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResult:
    """A row of the file. about and value are JSON texts; times in seconds since 1970; hits: times it was of use."""

    key: str
    kind: str
    code: str
    about: str
    value: str
    created_unix_s: float
    used_unix_s: float
    hits: int


class Store:
    """An open store; use as a context manager. Not safe to share between threads, nor across a fork.

    note: called with one sentence when a damaged file is begun anew, or when work goes on without the store.
    """

    def __init__(self, path: Path, *, timeout_s: float, note: Callable[[str], None]) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._note = note
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._hits: dict[str, int] = {}

    @classmethod
    def open(cls, path: Path, *, timeout_s: float = 30.0, note: Callable[[str], None]) -> Store:
        """Open the file, or make it (mode 0600). timeout_s: how long to wait for other processes, here and later.

        Raises StoreError if another process holds it for longer, if it was made by a newer version, or if it is a
        database of another program. If it cannot be written, the store is empty and keeps nothing.
        """
        store = cls(path, timeout_s=timeout_s, note=note)
        try:
            store._open()
        except (OSError, *_SQLITE_ERRORS) as error:
            if _is_lock(error):
                raise _held_error(path, timeout_s) from error
            store._give_up(error)
        return store

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Write down which values were of use, and let go of the file."""
        if self._connection is not None and self._hits:
            now = time.time()
            uses = [(count, now, key) for key, count in self._hits.items()]
            self._hits = {}
            self._write("UPDATE results SET hits = hits + ?, used_unix_s = ? WHERE key = ?", uses, say=False)
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, keys: Sequence[str]) -> dict[str, object]:
        """The values that are there, by key."""
        found: dict[str, object] = {}
        wanted = list(dict.fromkeys(keys))
        for begin in range(0, len(wanted), _CHUNK):
            chunk = wanted[begin : begin + _CHUNK]
            marks = ",".join("?" * len(chunk))
            for key, value, checksum in self._read(
                f"SELECT key, value, checksum FROM results WHERE key IN ({marks})", chunk
            ):
                if isinstance(value, str) and checksum_of(value) == checksum:
                    found[key] = json.loads(value)
                    self._hits[key] = self._hits.get(key, 0) + 1
                else:  # a changed byte: computed and stored anew
                    self._write("DELETE FROM results WHERE key = ?", [(key,)])
        return found

    def put(self, records: Sequence[Record]) -> None:
        """Store values, all of them in one transaction; a value that is there already stays."""
        now = time.time()
        rows = []
        for record in records:
            value = json.dumps(record.value, separators=(",", ":"), allow_nan=False)
            about = json.dumps(dict(record.about), separators=(",", ":"), allow_nan=False)
            rows.append((record.key, record.kind, record.code, about, value, now, checksum_of(value), now))
        if rows:
            self._write(
                "INSERT OR IGNORE INTO results (key, kind, code, about, value, created_unix_s, checksum, used_unix_s)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def results(self) -> Iterator[StoredResult]:
        """Everything stored, by kind and age."""
        for row in self._read(
            "SELECT key, kind, code, about, value, created_unix_s, used_unix_s, hits FROM results"
            " ORDER BY kind, created_unix_s, key",
            (),
        ):
            key, kind, code, about, value, created, used, hits = row
            yield StoredResult(
                key=key,
                kind=kind,
                code=code,
                about=about,
                value=value,
                created_unix_s=created,
                used_unix_s=used,
                hits=hits,
            )

    def remove(self, keys: Sequence[str]) -> None:
        """Remove values and give their space back to the disk. Raises StoreError if the file cannot be written."""
        try:
            connection = self._connected()
            with transaction(connection):
                connection.executemany("DELETE FROM results WHERE key = ?", [(key,) for key in keys])
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if _is_lock(error):
                raise _held_error(self.path, self._timeout_s) from error
            message = f"{self.path}: cannot write: {error}"
            raise StoreError(message, hint="see that the disk has room and the file may be written") from error

    def check_open(self) -> None:
        """Raise StoreError where work would go on without the store."""
        self._connected()

    # ---- opening -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone():
            self._make_file()
            connection = self._connect()
            damage = _damage(connection, self.path, self.path.stat().st_size)
            if damage is not None:
                connection.close()
                self._move_aside(damage)
                self._make_file()
                connection = self._connect()
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                connection.execute("PRAGMA synchronous = NORMAL")
                migrate(connection)
            except BaseException:
                connection.close()
                raise
        self._inode = self.path.stat().st_ino
        self._connection = connection

    def _connect(self) -> sqlite3.Connection:
        # isolation_level None: transactions begin where they are written down, nowhere else
        connection = sqlite3.connect(self.path, timeout=self._timeout_s, isolation_level=None)
        connection.text_factory = _text  # the checksum tells of bytes that are no text
        return connection

    def _make_file(self) -> None:
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            if not os.access(self.path, os.W_OK):
                raise PermissionError(13, "Permission denied") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from opening the file meanwhile. Raises StoreError if one does so for too long."""
        lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            deadline = time.monotonic() + self._timeout_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise _held_error(self.path, self._timeout_s) from None
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(lock)

    def _move_aside(self, damage: str) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.rename(aside)
        self._note(f"note: the store {self.path} is damaged ({damage}); it is now {aside.name}, and begun anew")

    # ---- use ---------------------------------------------------------------------------------------------------------

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            message = f"{self.path}: the store cannot be used"
            raise StoreError(message, hint="see the note above, or name another file with --store")
        return self._connection

    def _read(self, query: str, values: Sequence[object]) -> list[Any]:  # Any: the rows of SQLite
        """All rows; none without a file."""
        if self._connection is None:
            return []
        try:
            return self._connection.execute(query, values).fetchall()
        except _SQLITE_ERRORS as error:
            self._fail(error)
            return []

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]], *, say: bool = True) -> None:
        if self._connection is None:
            return
        try:
            with transaction(self._connection):
                self._connection.executemany(statement, rows)
        except _SQLITE_ERRORS as error:
            if say:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Begin a damaged file anew; else go on without the store."""
        assert self._connection is not None, "a failure without a connection"
        self._connection.close()
        self._connection = None
        if not _is_damage(error):
            self._give_up(error)
            return
        try:
            with self._alone():
                is_ours = self.path.exists() and self.path.stat().st_ino == self._inode
                if is_ours:  # else another process has begun it anew
                    self._move_aside(str(error))
            self._open()
        except (OSError, *_SQLITE_ERRORS, StoreError) as again:
            self._give_up(again)

    def _give_up(self, error: Exception) -> None:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._note(f"note: going on without the store {self.path}: {reason}")


def _damage(connection: sqlite3.Connection, path: Path, size: int) -> str | None:
    """What is wrong with a file, None if nothing is.

    Raises StoreError for a file that is none of our business: of a newer version, of another program, or
    no database and not named like one.
    """
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if application != APPLICATION_ID and not (is_empty and application == version == 0):
            connection.close()
            message = f"{path} is a database of another program"
            raise StoreError(message, hint="name another file with --store; this one is left as it is")
        if version > VERSION:
            connection.close()
            message = f"{path} is a store of version {version}; this quantloom knows versions up to {VERSION}"
            raise StoreError(message, hint="use the newer quantloom, or name another file with --store")
        if version == 0 and not is_empty:
            return "it says no version, but holds tables"
        if size <= _CHECKED_BYTES:
            [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                return str(found).replace("\n", " ")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if not _is_damage(error):
            raise
        if "not a database" in str(error) and path.suffix != STORE_SUFFIX:
            connection.close()
            message = f"{path} is not a store"
            hint = f"name a new file, or one that ends in {STORE_SUFFIX}, with --store; this one is left as it is"
            raise StoreError(message, hint=hint) from error
        return str(error)
    return None


def _text(found: bytes) -> str:
    return str(found, "utf-8", "replace")


def _is_lock(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _is_damage(error: Exception) -> bool:
    texts = ("malformed", "not a database", "no such table", "no such column")
    is_said = isinstance(error, sqlite3.DatabaseError) and any(text in str(error) for text in texts)
    return is_said or isinstance(error, UnicodeDecodeError)


def _held_error(path: Path, timeout_s: float) -> StoreError:
    message = f"{path}: the store is in use by another process for more than {timeout_s:g} s"
    return StoreError(message, hint="wait for that process, or go without the store: --store none")
