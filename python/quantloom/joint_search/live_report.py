"""The report of a run that is under way: written anew while the search goes on, at little cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from quantloom.errors import SearchError
from quantloom.joint_search.run_report import write_report

__all__ = ["LiveReport"]

_LEAST_S: Final = 10.0
"""Between two reports, at least; a page open in a browser reads itself anew so often."""

_SHARE: Final = 0.02
"""Of the time, at most, that may go into reports."""


class LiveReport:
    """A progress callback that passes on what it is told, and writes the report of the run when it is time to.

    A report that cannot be written is no reason to end a search: it is logged, and tried again later.
    """

    def __init__(
        self,
        directory: Path,
        progress: Callable[[int, int, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._progress = progress
        self._clock = clock
        self._due = clock() + _LEAST_S

    def __call__(self, done: int, total: int, text: str) -> None:
        """Pass it on; write the report if the last one is old enough."""
        self._progress(done, total, text)
        began = self._clock()
        if began < self._due:
            return
        self._write(reload_s=int(_LEAST_S), otherwise="the report is tried again later")
        took = self._clock() - began
        self._due = self._clock() + max(_LEAST_S, took / _SHARE)

    def finish(self) -> None:
        """Write the report of the finished run, whose other files are in place."""
        self._write(reload_s=None, otherwise=f"the rest of the run is; `quantloom report {self._directory}` writes it")

    def _write(self, *, reload_s: int | None, otherwise: str) -> None:
        try:
            write_report(self._directory, reload_s=reload_s)
        except SearchError as error:
            logging.getLogger(__name__).warning("no report is written: %s; %s", error.message, otherwise)
