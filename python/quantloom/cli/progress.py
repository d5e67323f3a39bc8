"""How far a long command is, on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich import progress as rich_progress

__all__ = ["Progress", "waiting"]

_BAR_AFTER_S: Final = 0.1  # what ends sooner shows nothing
_LINE_AFTER_S: Final = 1.0
_LINE_EVERY_S: Final = 5.0


class Progress:
    """A progress callback, `progress(done, total, text)`, that shows itself; use as a context manager.

    The bar is gone when the work is done. Nothing is shown if the work takes less than a tenth of a second
    (not on a terminal: a second), unless its end is unknown.
    """

    def __init__(self) -> None:
        self._began = self._part_began = time.monotonic()
        self._total = 0
        self._next_line = self._began + _LINE_AFTER_S
        self._is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._bar: rich_progress.Progress | None = None
        self._task: rich_progress.TaskID | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clear()

    def __call__(self, done: float, total: int, text: str) -> None:
        """Note that `done` of `total` are done; text says what is being done. A total of 0 is unknown."""
        now = time.monotonic()
        if total != self._total:  # another kind of work: its speed says nothing about this one's
            if bool(total) != bool(self._total):
                self.clear()
            self._total, self._part_began = total, now
            if self._bar is not None and self._task is not None:
                self._bar.reset(self._task, total=total or None)
        if self._is_terminal:
            if self._bar is not None or not total or now >= self._began + _BAR_AFTER_S:
                self._draw(done, total, text)
        elif now >= self._next_line:
            self._next_line = now + _LINE_EVERY_S
            print(self._line(done, total, text, now - self._part_began), file=sys.stderr, flush=True)

    def part(self, done: int, total: int, verb: str, name: str) -> Callable[[int, int, str], None]:
        """A callback for the work on one of `total` equal parts, after `done` of them; its texts follow the verb."""
        self(done, total, f"{verb} {name}")

        def report(part_done: int, part_total: int, text: str) -> None:
            self(done + part_done / part_total if part_total else done, total, f"{verb} {text}")

        return report

    def note(self, text: str) -> None:
        """A line that stays, above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the bar away; the next call draws it anew, with a time left of its own."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        self._began = self._part_began = time.monotonic()
        self._total = 0
        self._next_line = self._began + _LINE_AFTER_S

    def _draw(self, done: float, total: int, text: str) -> None:
        if self._bar is None or self._task is None:
            self._bar = _make_bar(is_open=not total)
            self._bar.start()
            self._task = self._bar.add_task(text, total=total or None)
            # the time left counts from when the work began, not from when the bar appeared
            self._bar.tasks[0].start_time = self._bar.get_time() - (time.monotonic() - self._began)
        self._bar.update(self._task, completed=done, total=total or None, description=text)

    @staticmethod
    def _line(done: float, total: int, text: str, elapsed_s: float) -> str:
        if not total:
            return f"{text} ..."
        left = f", about {elapsed_s * (total - done) / done:.0f} s left" if 0 < done < total else ""
        return f"{text}: {int(done)} of {total}{left}"


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show `text` with a running bar on a terminal while something of unknown length goes on."""
    with Progress() as progress:
        if progress._is_terminal:
            progress._draw(0, 0, text)
        yield


def _make_bar(*, is_open: bool) -> rich_progress.Progress:
    """A bar of rich; is_open: without an end, so without a time left."""
    from rich import progress as parts
    from rich.console import Console

    no_color = bool(os.environ.get("NO_COLOR"))
    left: list[parts.ProgressColumn]
    left = [parts.TimeElapsedColumn()] if is_open else [parts.MofNCompleteColumn(), parts.TimeRemainingColumn()]
    return parts.Progress(
        parts.TextColumn("{task.description}", markup=False),
        parts.BarColumn(bar_width=30),
        *left,
        console=Console(stderr=True, no_color=no_color, highlight=False),
        transient=True,
    )
