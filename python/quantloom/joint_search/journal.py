"""The directory of a run: everything measured is on disk before the search goes on, and files are whole or absent.

`evaluations.jsonl` grows by one synced line for each accuracy measured; every other file is written beside its name,
synced and renamed into place. A run killed at any moment leaves at worst a last line without its end, which resuming
drops.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final, Literal, cast, get_args

from quantloom.errors import SearchError, WorkloadError
from quantloom.whole_files import put_whole, way_out
from quantloom.workload.network import BitAssignment

__all__ = [
    "JOURNAL",
    "MANIFEST",
    "REPORT",
    "RUN_FILES",
    "SCHEMA_VERSION",
    "Evaluation",
    "RunDirectory",
    "Split",
    "is_empty_journal",
    "put_in_place",
    "read_evaluations",
    "read_manifest",
]

SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
JOURNAL: Final = "evaluations.jsonl"
REPORT: Final = "report.html"
RUN_FILES: Final = (MANIFEST, JOURNAL, "front.json", "front.csv", "mappings.json", "front.png", REPORT)

Split = Literal["validation", "test"]
"""Where an accuracy was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One measured accuracy. assignment: None for the unquantized network. details: figures for readers only.

    epochs: of training for these bits before it was measured; 0 for none.
    """

    split: Split
    assignment: BitAssignment | None
    accuracy: float
    details: Mapping[str, float] | None = None
    epochs: int = 0

    def to_line(self) -> str:
        """Return the line of the journal, without its end; the accuracy survives the round trip exactly."""
        record: dict[str, object] = {"split": self.split, "accuracy": self.accuracy}
        if self.assignment is not None:
            record |= {"weights": list(self.assignment.weights), "groups": list(self.assignment.groups)}
        if self.epochs:
            record["epochs"] = self.epochs
        return json.dumps(record | dict(self.details or {}))

    @classmethod
    def from_line(cls, line: str) -> Evaluation:
        """Read a line of the journal. Raises ValueError, OverflowError, RecursionError or WorkloadError for another."""
        record = json.loads(line)
        if not isinstance(record, dict) or record.get("split") not in get_args(Split):
            message = "no split"
            raise ValueError(message)
        accuracy = record.get("accuracy")
        if isinstance(accuracy, bool) or not isinstance(accuracy, float | int) or not 0 <= accuracy <= 1:
            message = "no accuracy in 0..1"
            raise ValueError(message)
        assignment = None
        if "weights" in record or "groups" in record:
            weights, groups = record.get("weights"), record.get("groups")
            if not isinstance(weights, list) or not isinstance(groups, list):
                message = "no bits"
                raise ValueError(message)
            assignment = BitAssignment(weights=tuple(weights), groups=tuple(groups))
        epochs = record.get("epochs", 0)
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
            message = "no number of epochs"
            raise ValueError(message)
        known = ("split", "accuracy", "weights", "groups", "epochs")
        details = {key: float(value) for key, value in record.items() if key not in known} or None
        accuracy = float(accuracy)
        return cls(split=record["split"], assignment=assignment, accuracy=accuracy, details=details, epochs=epochs)


class RunDirectory:
    """An open run directory; one process at a time holds it. Use as a context manager.

    path: the directory. evaluations: what the journal held when it was opened, in order.
    """

    def __init__(
        self, path: Path, journal: FileIO, evaluations: Iterable[Evaluation], manifest: Mapping[str, object]
    ) -> None:
        self.path = path
        self._manifest = dict(manifest)
        self.evaluations = tuple(evaluations)
        self._journal = journal

    @classmethod
    def create(cls, path: Path, identity: Mapping[str, object], session: Mapping[str, object]) -> RunDirectory:
        """Start a run in a new, empty or foreign directory.

        identity: what the result depends on; a later resume must bring the same. session: when, how and with which
        versions it is started. Both go to the manifest.
        Raises SearchError if it holds a run already or cannot be written; nothing in it is touched then.
        """
        try:
            _refuse_run(path)
            path.mkdir(parents=True, exist_ok=True)
            journal = _open_locked(path)
        except OSError as error:
            raise _cannot_write(path, error) from error
        manifest = {"schema_version": SCHEMA_VERSION, "status": "unfinished", **identity, "sessions": []}
        run = cls(path, journal, (), manifest)
        try:
            _refuse_run(path)  # again, now that nobody else can be starting one
            run._begin(session)
        except BaseException:
            run.close()
            raise
        return run

    @classmethod
    def resume(cls, path: Path, identity: Mapping[str, object], session: Mapping[str, object]) -> RunDirectory:
        """Open a run to go on with it; the end of a line that was cut off is dropped. Arguments as for create.

        Raises SearchError if there is no run, it was made with something else, it is being written by another
        process, or its journal is damaged elsewhere than at its end.
        """
        manifest = read_manifest(path)
        for key, now in _plain(identity).items():
            if manifest.get(key) != now:
                message = f"{path} was searched with another {key}: {_difference(manifest.get(key), now)}"
                raise SearchError(message, hint="resume with what the run was started with, or start a new directory")
        try:
            journal = _open_locked(path)
        except OSError as error:
            raise _cannot_write(path, error) from error
        try:
            run = cls(path, journal, _read_journal(path, journal), manifest)
            run._begin(session)
        except BaseException:
            journal.close()
            raise
        return run

    def _begin(self, session: Mapping[str, object]) -> None:
        resumed_with = {"evaluations_before": len(self.evaluations)}
        sessions = [*cast("list[object]", self._manifest["sessions"]), {**session, **resumed_with}]
        self._manifest = {**self._manifest, "status": "unfinished", "sessions": sessions}
        self.write_json(MANIFEST, self._manifest)

    def finish(self, *, wall_s: float) -> None:
        """Note in the manifest that the run is complete, and how long its last session took."""
        *earlier, last = cast("list[dict[str, object]]", self._manifest["sessions"])
        sessions = [*earlier, {**last, "wall_s": round(wall_s, 3)}]
        self._manifest = {**self._manifest, "status": "finished", "sessions": sessions}
        self.write_json(MANIFEST, self._manifest)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory."""
        self._journal.close()

    def append(self, evaluation: Evaluation) -> None:
        """Add a line to the journal and wait until it is on disk. Raises SearchError if the disk refuses."""
        line = evaluation.to_line().encode() + b"\n"
        try:
            while line:
                line = line[self._journal.write(line) :]
            os.fsync(self._journal.fileno())
            if os.fstat(self._journal.fileno()).st_nlink == 0:
                raise FileNotFoundError(errno.ENOENT, "it was removed while the search was running")
        except OSError as error:
            raise _cannot_write(self.path / JOURNAL, error) from error

    def write_json(self, name: str, value: object, *, indent: int | None = 1) -> None:
        """Put a JSON file in place, whole."""
        text = json.dumps(value, indent=indent, allow_nan=False) + "\n"
        self.write(name, lambda path: _write_text(path, text))

    def write_text(self, name: str, text: str) -> None:
        """Put a text file in place, whole."""
        self.write(name, lambda path: _write_text(path, text))

    def write(self, name: str, make: Callable[[Path], None]) -> None:
        """Put in place the file that `make` writes at the path it is given. Raises SearchError if the disk refuses."""
        put_in_place(self.path / name, make)


def put_in_place(path: Path, make: Callable[[Path], None]) -> None:
    """Have `make` write a file, whole or not at all. Raises SearchError if the disk refuses."""
    try:
        put_whole(path, make)
    except OSError as error:
        raise _cannot_write(path, error) from error


def read_manifest(path: Path) -> dict[str, object]:
    """Return the manifest of a run directory. Raises SearchError if there is none or it is not one of ours."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path} does not hold a run: {MANIFEST} cannot be read ({error})"
        raise SearchError(message, hint="give the directory that an earlier search wrote") from error
    readable = isinstance(manifest, dict) and isinstance(manifest.get("sessions"), list)
    if not readable or manifest.get("schema_version") != SCHEMA_VERSION:
        message = f"{path / MANIFEST} is not of schema_version {SCHEMA_VERSION}"
        raise SearchError(message, hint="resume with the version of quantloom that wrote it")
    return cast("dict[str, object]", manifest)


def is_empty_journal(path: Path) -> bool:
    """Whether a file is a journal without a line: what is left where starting a run failed or was cut short."""
    return path.name == JOURNAL and path.is_file() and path.stat().st_size == 0


def _refuse_run(path: Path) -> None:
    for name in RUN_FILES:
        if (path / name).exists() and not is_empty_journal(path / name):
            message = f"{path} already holds a run ({name})"
            raise SearchError(message, hint=f"continue it with `--resume {path}`, or choose another directory")


def read_evaluations(path: Path) -> list[Evaluation]:
    """Return what the journal of a run directory holds; a line whose end is not written yet is left out.

    Another process may be writing to it. Raises SearchError if it cannot be read or is damaged.
    """
    try:
        content = (path / JOURNAL).read_bytes()
    except OSError as error:
        message = f"{path / JOURNAL} cannot be read: {error.strerror or error}"
        raise SearchError(message, hint="give the directory that an earlier search wrote") from error
    return _parse_journal(path, content[: content.rfind(b"\n") + 1])


def _read_journal(path: Path, journal: FileIO) -> list[Evaluation]:
    """Read all whole lines and cut off the rest."""
    journal.seek(0)
    content = journal.read()
    whole = content.rfind(b"\n") + 1
    evaluations = _parse_journal(path, content[:whole])
    if whole < len(content):
        journal.truncate(whole)
        os.fsync(journal.fileno())
    return evaluations


def _parse_journal(path: Path, whole_lines: bytes) -> list[Evaluation]:
    evaluations = []
    for number, line in enumerate(whole_lines.split(b"\n")[:-1], start=1):
        try:
            evaluations.append(Evaluation.from_line(line.decode()))
        except (ValueError, TypeError, OverflowError, RecursionError, WorkloadError) as error:
            message = f"{path / JOURNAL}:{number}: not an evaluation ({error})"
            raise SearchError(message, hint="something else changed the file; remove the line to go on") from error
    return evaluations


def _open_locked(path: Path) -> FileIO:
    """Open the journal for appending, for this process alone."""
    journal = (path / JOURNAL).open("a+b", buffering=0)
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        journal.close()
        message = f"{path} is in use by another process"
        raise SearchError(message, hint="wait for that search, or choose another directory") from error
    return journal


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _cannot_write(path: Path, error: OSError) -> SearchError:
    message = f"cannot write {path}: {error.strerror or error}"
    kept = ""
    if (path.parent / MANIFEST).exists():
        kept = f"; everything measured is kept: `quantloom search --resume {path.parent}` goes on"
    return SearchError(message, hint=way_out(error, "directory") + kept)


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values as they are after a round trip through JSON."""
    return cast("dict[str, object]", json.loads(json.dumps(dict(values))))


def _difference(then: object, now: object) -> str:
    """Say what differs, by key where both are mappings."""
    if isinstance(then, dict) and isinstance(now, dict):
        keys = sorted(k for k in {*then, *now} if then.get(k) != now.get(k))
        return ", ".join(f"{k} was {then.get(k)!r}, is {now.get(k)!r}" for k in keys)
    return f"was {then!r}, is {now!r}"
