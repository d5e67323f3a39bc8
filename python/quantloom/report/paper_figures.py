"""Figures of reproduced tables: valid mappings by bits, EDP by weight bits, energy by level; known numbers as marks.

And of the searches: fronts of all seeds, and what each way to search saves, with intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantloom.report.plot import COLORS, literal, save_figure
from quantloom.report.results import ResultTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_reproduced"]


def draw_reproduced(table: ResultTable, path: Path) -> None:
    """Draw the table of a part (counts, energy, levels, fronts or savings) in the format of the path's suffix."""
    from matplotlib.figure import Figure

    draw: dict[str, Callable[[Figure, list[dict[str, Any]]], None]] = {
        "counts": _draw_counts,
        "energy": _draw_energy,
        "levels": _draw_levels,
        "fronts": _draw_fronts,
        "savings": _draw_savings,
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


_SEARCH_COLORS = {"front": COLORS[0], "memory_only": COLORS[2], "random": COLORS[3], "no_synergy": COLORS[1]}
_UNIFORM_COLOR = COLORS[5]
_SHOWN = 0.3  # below the best accuracy; nobody wants what is lower


def _panels(figure: Figure, rows: list[dict[str, Any]]) -> Iterator[tuple[Axes, str, list[dict[str, Any]]]]:
    """A row of panels for each network and accelerator, across the columns of the table: axes, title, rows."""
    lines = list(dict.fromkeys((row["network"], row["arch"]) for row in rows))
    columns = list(dict.fromkeys(row["column"] for row in rows))
    figure.set_size_inches(6.2 * len(columns), 3.9 * len(lines))
    grid = figure.subplots(len(lines), len(columns), squeeze=False)
    for i, (network, arch) in enumerate(lines):
        for k, column in enumerate(columns):
            chosen = [r for r in rows if (r["network"], r["arch"], r["column"]) == (network, arch, column)]
            yield grid[i][k], literal([f"{network.partition(':')[0]} on {arch}, {column}"])[0], chosen


def _draw_fronts(figure: Figure, rows: list[dict[str, Any]]) -> None:
    """What is searched across (energy, or as in the paper the sum of EDPs), test accuracy up; a line for each seed."""
    for axes, title, chosen in _panels(figure, rows):
        key = "sum_edp_j_cycles" if title.endswith("as in the paper") else "energy_uj"
        for search, color in _SEARCH_COLORS.items():
            points = [row for row in chosen if row["search"] == search]
            for n, seed in enumerate(dict.fromkeys(row["seed"] for row in points)):
                at = sorted((row[key], row["accuracy_test"]) for row in points if row["seed"] == seed)
                label = search.replace("_", " ") if n == 0 else None
                style, width = (".-", 2.4) if search == "front" else (".--", 1.0)  # others may lie on it
                costs, accuracies = [cost for cost, _ in at], [accuracy for _, accuracy in at]
                axes.plot(costs, accuracies, style, color=color, linewidth=width, markersize=5, label=label)
        first = min(row["seed"] for row in chosen)
        uniform = [row for row in chosen if row["uniform_bits"] is not None and row["seed"] == first]
        at = [row[key] for row in uniform]
        axes.plot(at, [r["accuracy_test"] for r in uniform], "D", color=_UNIFORM_COLOR, label="uniform bits", zorder=5)
        for row in uniform:
            axes.annotate(f" {row['uniform_bits']}", (row[key], row["accuracy_test"]), fontsize=8, va="top", zorder=6)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("sum of layer EDPs, J·cycles" if key == "sum_edp_j_cycles" else "energy, µJ")
        axes.set_ylabel("accuracy on test")
        axes.set_xlim(left=0)
        best = max(row["accuracy_test"] for row in chosen)
        lowest = min(row["accuracy_test"] for row in chosen)
        axes.set_ylim(max(lowest, best - _SHOWN) - 0.01, best + 0.01)
        axes.legend(fontsize=8, frameon=False, loc="lower right")


def _draw_savings(figure: Figure, rows: list[dict[str, Any]]) -> None:
    """Bars: what each way to search saves against uniform 8 bit, with its interval; under them the accuracy on test."""
    for axes, title, chosen in _panels(figure, rows):
        shown = [row for row in chosen if row["search"] in _SEARCH_COLORS]
        for i, row in enumerate(shown):
            color, saved = _SEARCH_COLORS[row["search"]], 100 * row["saved"]
            axes.bar(i, saved, color=color, width=0.7)
            if row["saved_low"] is not None:
                ends = [[saved - 100 * row["saved_low"]], [100 * row["saved_high"] - saved]]
                axes.errorbar(i, saved, yerr=ends, color="#333333", capsize=4)
        names = [f"{r['search'].replace('_', ' ')}\n{100 * r['test_gain']:+.2f} points on test" for r in shown]
        axes.set_xticks(range(len(shown)), names, fontsize=8)
        axes.axhline(0, color="#333333", linewidth=0.8)
        axes.set_title(title, loc="left", fontsize=10)
        what = "sum of EDPs" if chosen[0]["objective"] == "sum_edp" else "energy"
        axes.set_ylabel(f"{what} saved, %")
