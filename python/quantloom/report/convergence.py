"""The figure of a comparison of heuristics: how near each came to the proven optimum, and after how many mappings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Trace", "median_trace", "plot_convergence"]

# Of Okabe and Ito, as in plot.py; the lines' dashes differ too.
_STYLES = (("#D55E00", (0, (1, 1.2))), ("#0072B2", (0, (6, 2))), ("#009E73", "solid"))
_OPTIMUM, _TEXT = "#333333", "#333333"
_RATIO_TICKS = (1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000, 10_000)

Trace = Sequence[tuple[int, float]]
"""(mappings looked at, best ratio to the optimum then) at each improvement."""


def median_trace(traces: Sequence[Trace]) -> list[tuple[int, float]]:
    """The median of the best so far over several runs, where it changes; infinite while half of them have nothing."""
    latest = [math.inf] * len(traces)
    out: list[tuple[int, float]] = []
    steps = sorted((place, run, ratio) for run, trace in enumerate(traces) for place, ratio in trace)
    for place, run, ratio in steps:
        latest[run] = ratio
        middle = median(latest) if sum(map(math.isinf, latest)) * 2 < len(latest) else math.inf
        if out and out[-1][0] == place:
            out.pop()
        if not out or middle != out[-1][1]:
            out.append((place, middle))
    return out


def plot_convergence(
    path: Path, *, title: str, subtitle: str, axis: str, traces: Mapping[str, Sequence[Trace]], budget: int, proof: str
) -> None:
    """Write a PNG of 1200 x 800 pixels: each run as a thin line, the median of each heuristic as a thick one.

    axis: what is minimised. traces: of each heuristic (three at most), one for each seed. proof: the optimum in words.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=400 / 3, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (colour, dashes), (name, runs) in zip(_STYLES, traces.items(), strict=False):
        for trace in runs:
            _draw_steps(axes, trace, budget, color=colour, linewidth=0.8, alpha=0.45, zorder=2)
        label = f"{name}, median of {len(runs)}" if len(runs) > 1 else name
        middle = [point for point in median_trace(runs) if math.isfinite(point[1])]
        _draw_steps(axes, middle, budget, color=colour, linewidth=2.4, linestyle=dashes, label=label, zorder=3)
    axes.axhline(1.0, color=_OPTIMUM, linewidth=1.6, label=proof, zorder=4)
    _set_scales(axes, [ratio for runs in traces.values() for trace in runs for _, ratio in trace], budget)
    axes.set_xlabel("Mappings looked at (log scale)", fontsize=13)
    axes.set_ylabel(f"Best {axis} so far / optimum (log scale)", fontsize=13)
    figure.suptitle(title, fontsize=14, x=0.01, ha="left")
    axes.set_title(subtitle, fontsize=11, loc="left", color=_TEXT)
    axes.legend(loc="upper right", fontsize=11, frameon=True, framealpha=0.95, edgecolor="none")
    figure.savefig(path, format="png")


def _draw_steps(axes: Axes, trace: Trace, budget: int, **style: Any) -> None:  # Any: matplotlib's
    """The best so far as steps up to the budget."""
    ends = [*trace, (budget, trace[-1][1])] if trace else []
    axes.step([place for place, _ in ends], [ratio for _, ratio in ends], where="post", **style)


def _set_scales(axes: Axes, ratios: Sequence[float], budget: int) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, budget)
    top = max([1.2, *ratios]) ** 1.06
    axes.set_ylim(top**-0.03, top)
    ticks = [tick for tick in _RATIO_TICKS if tick <= top]
    while len(ticks) > 2 and math.log(top) / math.log(ticks[1]) > 25:  # too near to 1 to be told apart
        del ticks[1]
    axes.set_yticks(ticks)
    axes.set_yticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda ratio, _: f"{ratio:,.4g}")
    axes.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
    axes.tick_params(labelsize=11)
    axes.grid(color="#E3E3E3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
