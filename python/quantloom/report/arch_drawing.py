"""A drawing of an accelerator as SVG text: one row for each level, from DRAM inwards, the arithmetic units last.

Each row has a picture of how the instances lie, what one of them holds, which tensors it keeps, and its energies with a
number that stands for the source at the foot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final, Literal

__all__ = ["ArchRow", "TensorState", "draw_arch_svg"]

TensorState = Literal["kept", "searched", "bypassed"]

_WIDTH, _MARGIN = 900, 28
_ROW, _GAP, _HEAD, _LINE = 92, 40, 64, 17
_MESH = 76  # side of the picture of the instances
_LARGEST_GRID = 16
_LONGEST_BAR = 30
_INK, _PALE, _LINE_COLOUR, _FILL = "#1b2733", "#5d6b78", "#b9c3cc", "#f5f7f9"
# Of the palette of Okabe and Ito, told apart with every kind of colour vision.
_TENSOR_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchRow:
    """One level or the units. facts, energies: lines of text. tensors: by name; empty for units.

    fanout: to the next row, in words, empty for none. sources: footnote texts that `energies` refer to by position.
    """

    name: str
    instances_x: int
    instances_y: int
    facts: Sequence[str]
    energies: Sequence[str]
    tensors: Mapping[str, TensorState]
    fanout: str
    is_dram: bool = False


def draw_arch_svg(title: str, source: str, rows: Sequence[ArchRow], footnotes: Sequence[str]) -> str:
    """The drawing as one SVG document; footnotes are numbered from 1 in the order given."""
    notes = [line for i, note in enumerate(footnotes, start=1) for line in _wrapped(f"[{i}] {note}", 125)]
    head = _wrapped(source, 118)
    top = _HEAD + _LINE * len(head)
    height = top + len(rows) * (_ROW + _GAP) - _GAP + 24 + _LINE * len(notes) + _MARGIN
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH}' height='{height}'"
        f" viewBox='0 0 {_WIDTH} {height}' role='img' aria-label='{escape(title, quote=True)}'>",
        f"<rect width='{_WIDTH}' height='{height}' fill='white'/>",
        _text(_MARGIN, 38, title, size=22, weight="bold"),
        *(_text(_MARGIN, 60 + _LINE * i, line, size=12, colour=_PALE) for i, line in enumerate(head)),
    ]
    tensors = list(dict.fromkeys(tensor for row in rows for tensor in row.tensors))
    colours = {tensor: _TENSOR_COLOURS[i % len(_TENSOR_COLOURS)] for i, tensor in enumerate(tensors)}
    for i, row in enumerate(rows):
        y = top + i * (_ROW + _GAP)
        parts += _row(row, y, colours)
        if i + 1 < len(rows):
            parts += _arrow(y + _ROW, row.fanout)
    foot = top + len(rows) * (_ROW + _GAP) - _GAP + 30
    parts += [_text(_MARGIN, foot + _LINE * i, line, size=12, colour=_PALE) for i, line in enumerate(notes)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(row: ArchRow, y: int, colours: Mapping[str, str]) -> list[str]:
    outline = "#8a6d3b" if row.is_dram else _LINE_COLOUR
    parts = [
        f"<rect x='{_MARGIN}' y='{y}' width='{_WIDTH - 2 * _MARGIN}' height='{_ROW}' rx='8' fill='{_FILL}'"
        f" stroke='{outline}' stroke-width='1.5'/>",
        *_mesh(row, _MARGIN + 10, y + (_ROW - _MESH) // 2),
    ]
    left = _MARGIN + _MESH + 28
    parts.append(_text(left, y + 26, row.name, size=16, weight="bold"))
    if row.instances_x * row.instances_y > 1:
        parts.append(_text(572, y + 26, f"{row.instances_x} x {row.instances_y}", size=13, colour=_PALE, anchor="end"))
    parts += [_text(left, y + 46 + _LINE * i, line, size=12) for i, line in enumerate(row.facts)]
    right = 590
    parts += [_text(right, y + 46 + _LINE * i, line, size=12) for i, line in enumerate(row.energies)]
    x = right
    for tensor, state in row.tensors.items():
        if state == "bypassed":
            continue
        width = 16 + 7 * len(tensor)
        parts += _chip(x, y + 11, width, tensor, colours[tensor], is_filled=state == "kept")
        x += width + 8
    return parts


def _chip(x: int, y: int, width: int, tensor: str, colour: str, *, is_filled: bool) -> list[str]:
    """A label that is filled where the tensor is always kept, dashed where the mapper chooses."""
    fill, dash = (colour, "") if is_filled else ("white", " stroke-dasharray='4 3'")
    return [
        f"<rect x='{x}' y='{y}' width='{width}' height='20' rx='10' fill='{fill}' stroke='{colour}'{dash}/>",
        _text(x + width // 2, y + 14, tensor, size=12, colour="white" if is_filled else colour, anchor="middle"),
    ]


def _mesh(row: ArchRow, x: int, y: int) -> list[str]:
    """The instances as a grid, of large ones a corner; a single row or column is drawn as bars."""
    columns, rows = min(row.instances_x, _LARGEST_GRID), min(row.instances_y, _LARGEST_GRID)
    pitch = _MESH / max(columns, rows)
    wide, high = (min(_MESH / n, max(pitch, _LONGEST_BAR)) for n in (columns, rows))
    left, top = x + (_MESH - columns * wide) / 2, y + (_MESH - rows * high) / 2
    return [
        f"<rect x='{left + (i + 0.14) * wide:.1f}' y='{top + (j + 0.14) * high:.1f}' width='{wide * 0.72:.1f}'"
        f" height='{high * 0.72:.1f}' rx='1.5' fill='#dfe6ec' stroke='{_PALE}' stroke-width='0.7'/>"
        for j in range(rows)
        for i in range(columns)
    ]


def _arrow(y: int, fanout: str) -> list[str]:
    x = _MARGIN + 10 + _MESH // 2
    end = y + _GAP - 3
    parts = [
        f"<line x1='{x}' y1='{y + 3}' x2='{x}' y2='{end}' stroke='{_PALE}' stroke-width='1.5'/>",
        f"<path d='M {x - 5} {end - 7} L {x} {end} L {x + 5} {end - 7}' fill='none' stroke='{_PALE}'"
        " stroke-width='1.5'/>",
    ]
    if fanout:
        parts.append(_text(x + 14, y + _GAP // 2 + 4, fanout, size=12, colour=_PALE))
    return parts


def _text(
    x: float, y: float, text: str, *, size: int, colour: str = _INK, weight: str = "normal", anchor: str = "start"
) -> str:
    return (
        f"<text x='{x}' y='{y}' {_FONT} font-size='{size}' font-weight='{weight}' fill='{colour}'"
        f" text-anchor='{anchor}'>{escape(_printable(text))}</text>"
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _wrapped(text: str, columns: int) -> list[str]:
    """Lines of at most so many characters, broken between words (long words stay whole)."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > columns:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
