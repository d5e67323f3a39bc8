"""One HTML page for a run: template, style, scripts and data in one file that loads nothing.

Data is embedded as JSON in which no character can end the script element, and the scripts put text into the page as
text only, so names of layers, files or models cannot become markup. A policy in the page forbids all requests.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

__all__ = ["MAX_PAGE_BYTES", "embedded_json", "render_page"]

MAX_PAGE_BYTES: Final = 5_000_000
_SCRIPTS: Final = (
    "elements.js",
    "front_plot.js",
    "rivals.js",
    "bits_map.js",
    "breakdown.js",
    "loop_nest.js",
    "page.js",
)
# Every character that means something to an HTML parser inside a script element, or ends a line of JavaScript only.
_ESCAPES: Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render_page(run: Mapping[str, object], *, reload_s: int | None = None) -> str:
    """The page of a run as joint_search.run_report.read_run gives it. reload_s: the page reads itself anew so often."""
    folder = files("quantloom.report") / "page_files"
    title = f"{run['network']} on {run['arch']}"
    parts = {
        "RELOAD": "" if reload_s is None else f'\n<meta http-equiv="refresh" content="{reload_s}">',
        "TITLE": html.escape(title),
        "STYLE": (folder / "page.css").read_text(encoding="utf-8"),
        "SCRIPT": "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS),
        "DATA": embedded_json(run),
    }
    pieces = (folder / "page.html").read_text(encoding="utf-8").split("@@")  # text and names in turn
    return "".join(parts[piece] if i % 2 else piece for i, piece in enumerate(pieces))


def embedded_json(value: object) -> str:
    """JSON that can stand in a script element: no `<`, `>` or `&`, and NaN is refused with a ValueError."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES)
