"""Figures of reproduced tables: valid mappings by bits, EDP by weight bits, energy by level; known numbers as marks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantloom.report.plot import COLORS, save_figure
from quantloom.report.results import ResultTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_reproduced"]


def draw_reproduced(table: ResultTable, path: Path) -> None:
    """Draw the table of a part (`counts`, `energy` or `levels`) in the format of the path's suffix."""
    from matplotlib.figure import Figure

    draw: dict[str, Callable[[Figure, list[dict[str, Any]]], None]] = {
        "counts": _draw_counts,
        "energy": _draw_energy,
        "levels": _draw_levels,
    }
    names = [column.name for column in table.columns]
    rows = [dict(zip(names, row, strict=True)) for row in table.rows]
    figure = Figure(layout="constrained")
    draw[table.name](figure, rows)
    save_figure(figure, path, dpi=150)


def _draw_counts(figure: Figure, rows: list[dict[str, Any]]) -> None:
    """Layers across, valid mappings up, a line for each uniform width; one panel for each column of the table."""
    rows = [row for row in rows if row["bits"].isdecimal() and row["network"] == rows[0]["network"]]
    figure.set_size_inches(11, 4.2)
    for axes, key, title in zip(
        figure.subplots(1, 2), ("paper_valid", "valid"), ("as in the paper", "as it is"), strict=True
    ):
        for color, bits in zip(COLORS, dict.fromkeys(row["bits"] for row in rows), strict=False):
            chosen = [row for row in rows if row["bits"] == bits]
            at = [row["position"] for row in chosen]
            axes.plot(at, [row[key] for row in chosen], color=color, label=f"{bits} bit")
            if key == "paper_valid":
                known = [row for row in chosen if row["independent"] is not None]
                axes.plot([r["position"] for r in known], [r["independent"] for r in known], "x", color=color)
        axes.set_title(f"Valid mappings on Eyeriss, {title}", loc="left", fontsize=10)
        axes.set_xlabel("layer of MobileNetV1")
        axes.legend(fontsize=8, frameon=False, title="x: counted apart" if key == "paper_valid" else None)


def _draw_energy(figure: Figure, rows: list[dict[str, Any]]) -> None:
    """Weight bits across, sum of layer EDPs up: the authors' (x) and the optima; beside it the network as it is."""
    figure.set_size_inches(11, 4.6)
    left, right = figure.subplots(1, 2)
    for color, arch in zip(COLORS, dict.fromkeys(row["arch"] for row in rows), strict=False):
        chosen = [row for row in rows if row["arch"] == arch]
        bits = [row["weight_bits"] for row in chosen]
        left.plot(bits, [row["paper_sum_edp_j_cycles"] for row in chosen], color=color, label=arch)
        left.plot(bits, [row["published_sum_edp_j_cycles"] for row in chosen], "x", color=color)
        right.plot(bits, [row["energy_uj"] for row in chosen], color=color, label=arch)
    left.set_title("Sum of layer EDPs as in the paper (x: published)", loc="left", fontsize=10)
    left.set_ylabel("J·cycles")
    right.set_title("Energy as it is", loc="left", fontsize=10)
    right.set_ylabel("µJ")
    for axes in (left, right):
        axes.set_xlabel("bits of the weights")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7, frameon=False)


def _draw_levels(figure: Figure, rows: list[dict[str, Any]]) -> None:
    """A panel for each accelerator and column; stacked shares of energy by level, weight bits across."""
    archs = list(dict.fromkeys(row["arch"] for row in rows))
    columns = list(dict.fromkeys(row["column"] for row in rows))
    figure.set_size_inches(6.5 * len(columns), 3.2 * len(archs))
    panels = figure.subplots(len(archs), len(columns), squeeze=False)
    for i, arch in enumerate(archs):
        for k, column in enumerate(columns):
            axes = panels[i][k]
            chosen = [row for row in rows if row["arch"] == arch and row["column"] == column]
            bits = list(dict.fromkeys(row["weight_bits"] for row in chosen))
            bottom = np.zeros(len(bits))
            for color, level in zip(COLORS, dict.fromkeys(row["level"] for row in chosen), strict=False):
                energy = np.array([row["energy_uj"] for row in chosen if row["level"] == level])
                if energy.any():
                    axes.bar(bits, energy, bottom=bottom, color=color, label=level)
                bottom += energy
            axes.set_title(f"{arch}, {column}", loc="left", fontsize=10)
            axes.set_xlabel("bits of the weights")
            axes.set_ylabel("µJ")
            axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
