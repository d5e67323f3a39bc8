"""Results in notebooks: a heading and tables as HTML, every text escaped, without a style of its own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

__all__ = ["html_result", "html_table"]


def html_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first cell of a row heads it."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_result(title: str, notes: Sequence[str], *tables: str) -> str:
    """A result: its title, notes as paragraphs of text, and finished tables."""
    text = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<div><p><b>{escape(title)}</b></p>{text}{''.join(tables)}</div>"
