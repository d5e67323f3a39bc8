"""Where training stands, in one file that is replaced as a whole: killed at any moment, a run goes on from it.

The file holds tensors and plain values only and is read without executing anything. It names the settings of the run
that wrote it; a run with others does not go on from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from quantloom.errors import QuantError
from quantloom.whole_files import put_whole, remove_left_over

__all__ = ["StateFile", "write_atomically", "write_bytes_atomically"]

_FORMAT = 1


def write_atomically(path: Path, value: object) -> None:
    """torch.save() to path, complete and on the disk or not at all. Raises QuantError if it cannot."""

    def save(partial: Path) -> None:
        with partial.open("wb") as stream:
            torch.save(value, stream)

    _write(path, save)


def write_bytes_atomically(path: Path, body: bytes) -> None:
    """The same for bytes."""
    _write(path, lambda partial: partial.write_bytes(body))


def _write(path: Path, make: Callable[[Path], object]) -> None:
    try:
        put_whole(path, make)
    except (OSError, RuntimeError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or error
        message = f"{path}: cannot write the checkpoint: {why}"
        raise QuantError(message, hint="what was written before is untouched; make room and go on") from error


class StateFile:
    """The file of one run. every_s: seconds between writes; every_steps: writes after so many steps as well."""

    def __init__(self, path: Path, *, every_s: float = 60.0, every_steps: int | None = None) -> None:
        self.path = path
        self._every_s = every_s
        self._every_steps = every_steps
        self._written = time.monotonic()

    def is_due(self, step: int) -> bool:
        """Whether the state after this step (from 1) is to be written."""
        if self._every_steps is not None and step % self._every_steps == 0:
            return True
        return time.monotonic() - self._written >= self._every_s

    def write(self, settings: Mapping[str, object], state: Mapping[str, object]) -> None:
        """Replace the file. Raises QuantError if it cannot be written; the old file is then still there."""
        write_atomically(self.path, {"format": _FORMAT, "settings": dict(settings), "state": dict(state)})
        self._written = time.monotonic()

    def read(self, settings: Mapping[str, object]) -> Mapping[str, Any] | None:  # Any: tensors and plain values
        """The state to go on from; None if there is no file.

        Raises QuantError if the file is corrupt or was written by a run with other settings.
        """
        remove_left_over(self.path)
        if not self.path.exists():
            return None
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            if found["format"] != _FORMAT:
                message = f"{self.path}: state of training in format {found['format']!r}, expected {_FORMAT}"
                raise QuantError(message, hint="go on with the version of quantloom that wrote it")
            given, state = dict(found["settings"]), found["state"]
        except PermissionError as error:
            message = f"{self.path}: cannot read the state of training: {error.strerror}"
            raise QuantError(message) from error
        except QuantError:
            raise
        except Exception as error:  # torch's reader raises KeyError, IndexError and others at damaged files
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            message = f"{self.path}: corrupt state of training: {first}"
            raise QuantError(message, hint="delete it to start from the beginning") from error
        differing = [
            f"{key} {given.get(key, 'unknown')!r}, here {settings.get(key, 'unknown')!r}"
            for key in sorted({*given, *settings})
            if given.get(key) != settings.get(key)
        ]
        if differing:
            message = f"{self.path}: was written by a run with other settings: {'; '.join(differing[:3])}"
            raise QuantError(message, hint="give the settings of that run, or another directory")
        checked: Mapping[str, Any] = state
        return checked
