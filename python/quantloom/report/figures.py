"""The plots of a run's report for papers: front, bits, energy, latency and hypervolume as PNG, SVG or PDF.

A run is taken as joint_search.run_report.read_run gives it. Energies and cycles are of one point under the best mapping
of every layer; what the run does not hold (an unfinished one has no mappings) is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from quantloom.report.plot import COLORS, COST_FIELDS, CostAxis, literal, plot_front, save_figure
from quantloom.whole_files import put_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FIGURE_FORMATS", "write_figures"]

FIGURE_FORMATS: Final = ("png", "svg", "pdf")
_Run: TypeAlias = Mapping[str, Any]  # Any: plain values of JSON
_OTHER: Final = "#7F7F7F"


def write_figures(run: _Run, point: Mapping[str, Any], directory: Path, form: str) -> list[Path]:
    """Write front, bits, energy_by_level, energy_by_layer, latency and hypervolume; return those that were drawn.

    point: one of the run's points or baselines, whose energy and latency are drawn. form: png, svg or pdf.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    if run["points"]:
        written.append(_draw_front(run, directory / f"front.{form}"))
        everything = [*run["points"], *run["baselines"]]
        size = (0.32 * len(run["layers"]) + 2, 0.24 * len(everything) + 2)
        written.append(_save(directory / f"bits.{form}", size, lambda axes: _draw_bits(axes, run, everything)))
    found = [run["mappings"][layer[-1]]["cost"] if layer[-1] >= 0 else None for layer in point["layers"]]
    costs = [cost for cost in found if cost is not None]
    if costs and len(costs) == len(found):
        tall = (8.0, 0.24 * len(costs) + 1.2)
        flat = (8.0, 0.35 * (len(costs[0]["levels"]) + 1) + 1.2)
        label = point["label"]
        written += [
            _save(directory / f"energy_by_level.{form}", flat, lambda axes: _draw_levels(axes, label, costs)),
            _save(directory / f"energy_by_layer.{form}", tall, lambda axes: _draw_layers(axes, run, label, costs)),
            _save(directory / f"latency.{form}", tall, lambda axes: _draw_latency(axes, run, label, costs)),
        ]
    if run["hypervolume"]:
        written.append(_save(directory / f"hypervolume.{form}", (7.0, 3.2), lambda axes: _draw_trace(axes, run)))
    return written


def _save(path: Path, size: tuple[float, float], draw: Callable[[Axes], None]) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    put_whole(path, lambda partial: save_figure(figure, partial, dpi=200))
    return path


def _draw_front(run: _Run, path: Path) -> Path:
    objective = next(name for name in run["objectives"] if name != "error")
    cost = COST_FIELDS[objective]
    column = 1 + run["candidate_costs"].index(cost)
    best = max(point["accuracy_validation"] for point in run["points"])
    unquantized = run["float_accuracy_validation"]

    def draw(partial: Path) -> None:
        plot_front(
            partial,
            axis=CostAxis.of(objective),
            title=f"{run['network']} on {run['arch']}",
            points=[(p[cost], p["accuracy_validation"]) for p in run["points"]],
            baselines=[(p["uniform_bits"] or 0, p[cost], p["accuracy_validation"]) for p in run["baselines"]],
            candidates=[(row[column], row[0]) for row in run["candidates"]],
            float_accuracy=best if unquantized is None else unquantized,
        )

    put_whole(path, draw)
    return path


def _draw_bits(axes: Axes, run: _Run, points: Sequence[Mapping[str, Any]]) -> None:
    bits = np.array([[layer[0] for layer in point["layers"]] for point in points])
    axes.imshow(bits, cmap="Blues", aspect="auto", vmin=0, vmax=max(8, bits.max()))
    for row, column in np.ndindex(bits.shape):
        is_dark = bits[row, column] > 5
        color = "white" if is_dark else "black"
        axes.text(column, row, str(bits[row, column]), ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(bits.shape[1]), literal(run["layers"]), rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(points)), literal(point["label"] for point in points), fontsize=7)
    axes.set_title("Bits of the weights", loc="left", fontsize=10)


def _draw_levels(axes: Axes, label: str, costs: Sequence[Mapping[str, Any]]) -> None:
    levels = [level["level"] for level in costs[0]["levels"]]
    tensors = list(dict.fromkeys(t for cost in costs for level in cost["levels"] for t in level["tensors"]))
    energy_pj = np.zeros((len(levels) + 1, len(tensors) + 1))
    for cost in costs:
        for i, level in enumerate(cost["levels"]):
            for name, part in level["tensors"].items():
                energy_pj[i, tensors.index(name)] += part["energy_pj"]
            energy_pj[i, -1] += level["network_energy_pj"] + level["leak_energy_pj"]
        energy_pj[-1, -1] += cost["arithmetic_energy_pj"] + cost["arithmetic_leak_energy_pj"]
    names = [*tensors, "networks, leakage, arithmetic"]
    colors = [*COLORS[: len(tensors)], _OTHER]
    _stack(axes, [*levels, "arithmetic"], names, energy_pj, colors)
    axes.set_title(f"Energy of {label} by level and tensor", loc="left", fontsize=10)


def _draw_layers(axes: Axes, run: _Run, label: str, costs: Sequence[Mapping[str, Any]]) -> None:
    names = [*(level["level"] for level in costs[0]["levels"]), "arithmetic"]
    energy_pj = np.array(
        [
            [
                *(
                    sum(part["energy_pj"] for part in level["tensors"].values())
                    + level["network_energy_pj"]
                    + level["leak_energy_pj"]
                    for level in cost["levels"]
                ),
                cost["arithmetic_energy_pj"] + cost["arithmetic_leak_energy_pj"],
            ]
            for cost in costs
        ]
    )
    _stack(axes, run["layers"], names, energy_pj, [COLORS[i % len(COLORS)] for i in range(len(names))])
    axes.set_title(f"Energy of {label} by layer and level", loc="left", fontsize=10)


def _stack(
    axes: Axes, rows: Sequence[str], parts: Sequence[str], energy_pj: np.ndarray[Any, Any], colors: Sequence[str]
) -> None:
    """Horizontal bars, the first row on top."""
    factor, unit = CostAxis.of("energy_pj").scaled(float(energy_pj.sum(axis=1).max()))
    left = np.zeros(len(rows))
    for part, name in enumerate(literal(parts)):
        if energy_pj[:, part].any():
            axes.barh(range(len(rows)), energy_pj[:, part] * factor, left=left, color=colors[part], label=name)
        left += energy_pj[:, part] * factor
    _finish_bars(axes, rows, f"Energy ({unit})")
    axes.legend(fontsize=8, frameon=False)


def _draw_latency(axes: Axes, run: _Run, label: str, costs: Sequence[Mapping[str, Any]]) -> None:
    levels = [level["level"] for level in costs[0]["levels"]]
    for name in [None, *levels]:
        rows = [i for i, cost in enumerate(costs) if cost["limited_by"] == name]
        if rows:
            color = _OTHER if name is None else COLORS[levels.index(name) % len(COLORS)]
            text = "arithmetic" if name is None else f"waits for {name}"
            axes.barh(rows, [costs[i]["latency_cycles"] for i in rows], color=color, label=literal([text])[0])
    _finish_bars(axes, run["layers"], "Cycles")
    axes.legend(fontsize=8, frameon=False)
    axes.set_title(f"Latency of {label} and what binds it", loc="left", fontsize=10)


def _finish_bars(axes: Axes, rows: Sequence[str], label: str) -> None:
    axes.set_yticks(range(len(rows)), literal(rows), fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label)


def _draw_trace(axes: Axes, run: _Run) -> None:
    from matplotlib.ticker import MaxNLocator

    at, share = zip(*run["hypervolume"], strict=True)
    axes.plot(at, share, color=COLORS[0], marker="o", markersize=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(run["hypervolume_step"])
    axes.set_ylabel("dominated share")
    axes.grid(color="#E3E3E3", linewidth=0.7)
