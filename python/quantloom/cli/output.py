"""What goes to stdout: text tables that suit the terminal, or one JSON document."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["SCHEMA_VERSION", "Column", "TextTable", "bold", "note_lines", "print_json", "print_lines", "wrapped"]

SCHEMA_VERSION: Final = 1

_GAP = "  "
_INDENT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a text table: its title and the side its cells stand on."""

    title: str
    align: Literal["left", "right"] = "left"


@dataclass(slots=True, kw_only=True)
class TextTable:
    """Rows of cells under titles. tail_title: names a last column of free text, one text for each row.

    The tail stands behind its row where the terminal is wide enough for all of them, else below it, indented.
    """

    columns: Sequence[Column]
    tail_title: str = ""
    rows: list[Sequence[str]] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    rules: list[int] = field(default_factory=list)

    def add(self, *cells: str, tail: str = "") -> None:
        """Add a row, with a cell for each column."""
        self.rows.append(cells)
        self.tails.append(tail)

    def rule(self) -> None:
        """Draw a line before the next row."""
        self.rules.append(len(self.rows))

    def lines(self) -> list[str]:
        """The table as lines without blanks at their ends."""
        widths = [max(map(len, cells)) for cells in zip([c.title for c in self.columns], *self.rows, strict=True)]
        title = self._line([column.title for column in self.columns], widths)
        body = [self._line(row, widths) for row in self.rows]
        wide = sum(widths) + len(_GAP) * (len(widths) - 1)
        longest = max((len(tail) for tail in self.tails), default=0)
        is_beside = bool(longest) and wide + len(_GAP) + longest <= terminal_width()
        rule = "─" * (wide + len(_GAP) + longest if is_beside else wide)
        lines = [bold((title.ljust(wide) + _GAP + self.tail_title if is_beside else title).rstrip())]
        for i, (line, tail) in enumerate(zip(body, self.tails, strict=True)):
            if i in self.rules:
                lines.append(rule)
            if is_beside and tail:
                lines.append(line.ljust(wide) + _GAP + tail)
            else:
                lines.append(line.rstrip())
                lines += wrapped(tail, indent=_INDENT) if tail else []
        return lines

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.rjust(width) if column.align == "right" else cell.ljust(width)
            for cell, width, column in zip(cells, widths, self.columns, strict=True)
        ]
        return _GAP.join(padded)


def terminal_width() -> int:
    """Columns of the terminal on stdout; no limit where stdout is a file or a pipe (COLUMNS counts everywhere)."""
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        return 1 << 30
    return shutil.get_terminal_size().columns


def wrapped(text: str, *, indent: int = 0, hang: int = 0) -> list[str]:
    """The text in lines no wider than the terminal, broken between words.

    indent: blanks before every line. hang: further blanks before all lines but the first.
    """
    width = max(20, terminal_width() - indent - hang)
    lines: list[str] = []
    line = text[:hang]
    for number, word in enumerate(text[hang:].split(" ")):
        if number and len(line) + 1 + len(word) > width + hang:
            lines.append(line)
            line = " " * hang + word
        else:
            line = f"{line} {word}" if number else line + word
    return [" " * indent + line for line in [*lines, line]]


def note_lines(notes: Mapping[str, Sequence[int]]) -> list[str]:
    """Sentences, each with the positions of the layers it holds for."""
    lines = []
    for note, layers in notes.items():
        first = ", ".join(map(str, layers[:8])) + (", ..." if len(layers) > 8 else "")
        lines += wrapped(f"note ({'layer' if len(layers) == 1 else 'layers'} {first}): {note}")
    return lines


def bold(text: str) -> str:
    """The text in bold on a terminal, unless NO_COLOR is set."""
    is_plain = not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return text if is_plain else f"\x1b[1m{text}\x1b[0m"


def print_lines(lines: Sequence[str]) -> None:
    """Lines to stdout."""
    print("\n".join(lines))


def print_json(command: str, body: Mapping[str, object]) -> None:
    """One JSON document to stdout: schema_version, the command, and the body; what is not finite becomes null."""
    document = {"schema_version": SCHEMA_VERSION, "command": command, **body}
    print(json.dumps(_finite(document), indent=2, allow_nan=False))


def _finite(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
