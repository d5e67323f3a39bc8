"""The table of a front for a terminal, a pipe or a log: plain text where there is no terminal or NO_COLOR is set."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO, Protocol

from rich.box import ASCII, ROUNDED
from rich.console import Console
from rich.table import Table

from quantloom.report.plot import CostAxis

__all__ = ["ReportedPoint", "front_table", "make_console"]

_WIDTH_WITHOUT_TERMINAL = 120


class ReportedPoint(Protocol):
    """A point of a front or a uniform baseline, as the search returns them."""

    @property
    def label(self) -> str:
        """Its name in all tables and files."""

    @property
    def accuracy_validation(self) -> float:
        """In 0..1, on the split the search decides by."""

    @property
    def accuracy_test(self) -> float:
        """In 0..1, on the split that no decision saw."""

    @property
    def energy_pj(self) -> float:
        """Energy of one sample."""

    @property
    def latency_cycles(self) -> float:
        """Latency of one sample."""

    @property
    def edp_pj_cycles(self) -> float:
        """Energy times latency of the network."""

    @property
    def weight_memory_bits(self) -> float:
        """Memory of all weights."""

    @property
    def average_weight_bits(self) -> float:
        """Bits of a weight, averaged over all of them."""

    @property
    def average_activation_bits(self) -> float:
        """Bits of an activation element, averaged over all stored ones."""


def make_console(file: IO[str] | None = None) -> Console:
    """Return a console that colours terminals only, obeys NO_COLOR, and is wide enough for tables in a pipe."""
    stream = sys.stdout if file is None else file
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(file=stream, width=width, highlight=False)


def front_table(
    points: Sequence[ReportedPoint], baselines: Sequence[ReportedPoint], *, limit: int = 20, ascii_only: bool = False
) -> Table:
    """Return a table of the front, cheapest first, and of the uniform baselines below it.

    limit: of a longer front as many points are shown, evenly spread, both ends included; the caption says so.
    ascii_only: draw lines with ASCII even where the stream could take more.
    """
    shown = _spread(points, limit)
    largest = max((*shown, *baselines), key=lambda p: p.energy_pj)
    energy_factor, energy_unit = CostAxis.of("energy_pj").scaled(largest.energy_pj)
    edp_factor, edp_unit = CostAxis.of("edp").scaled(max(p.edp_pj_cycles for p in (*shown, *baselines)))
    caption = None if len(shown) == len(points) else f"{len(shown)} of {len(points)} points; front.csv has all"
    table = Table(box=ASCII if ascii_only else ROUNDED, caption=caption, caption_justify="left")
    table.add_column("point", no_wrap=True)
    for header in (
        "accuracy\nval. %",
        "accuracy\ntest %",
        f"energy\n{energy_unit}",
        "latency\ncycles",
        f"EDP\n{edp_unit}",
        "weights\nKiB",
        "bits of\nweights",
        "bits of\nactivations",
    ):
        table.add_column(header.replace("µ", "u").replace("·", "*"), justify="right", no_wrap=True)
    for section in (shown, baselines):
        for point in section:
            table.add_row(
                point.label,
                f"{100 * point.accuracy_validation:.2f}",
                f"{100 * point.accuracy_test:.2f}",
                f"{point.energy_pj * energy_factor:#.4g}",
                f"{point.latency_cycles:,.0f}",
                f"{point.edp_pj_cycles * edp_factor:#.4g}",
                f"{point.weight_memory_bits / 8 / 1024:.1f}",
                f"{point.average_weight_bits:.2f}",
                f"{point.average_activation_bits:.2f}",
            )
        table.add_section()
    return table


def _spread(points: Sequence[ReportedPoint], limit: int) -> Sequence[ReportedPoint]:
    if len(points) <= limit:
        return points
    return [points[round(i * (len(points) - 1) / (limit - 1))] for i in range(limit)]
