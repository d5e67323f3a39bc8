"""The figure of a front: cost against accuracy, the uniform baselines, everything evaluated.

Colours are those of Okabe and Ito, told apart by colour-blind readers; shapes differ too. Accuracy is drawn on a
logarithmic scale of the error, so that the upper end, where designs are chosen, is not crushed by the wreckage of
two-bit networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLORS", "COST_FIELDS", "CostAxis", "literal", "plot_front", "plot_seeds", "save_figure"]

COLORS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#B8A400")
COST_FIELDS: Final = {
    "energy_pj": "energy_pj",
    "cycles": "latency_cycles",
    "edp": "edp_pj_cycles",
    "sum_edp": "sum_edp_pj_cycles",
    "weight_bits": "weight_memory_bits",
    "peak_activation_bits": "peak_activation_memory_bits",
    "bops": "bops",
}
"""The field of a point, in Python and in front.json, that holds the cost of each objective."""

_CURVES = (("#009E73", (0, (6, 2))), ("#CC79A7", (0, (2, 1.5))), ("#E69F00", (0, (6, 2, 1.5, 2))))
_FRONT, _UNIFORM, _CANDIDATE, _TEXT = "#0072B2", "#D55E00", "#8C8C8C", "#333333"
_LEAST_ERROR = 1e-4  # an accuracy above 99.99 % is drawn there
_PERCENT_TICKS = (0, 20, 40, 50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 98.5, 99, 99.5, 99.9)
_PREFIXES = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9, "p": 1e-12}

_DATES: Final = {"svg": "Date", "pdf": "CreationDate"}
"""What a format calls the time of writing, which matplotlib notes unless it is told not to."""

CostPoint = tuple[float, float]
"""Cost in the unit of its axis, accuracy in 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostAxis:
    """A cost's name, its unit, and how many of that unit one step of the data is."""

    name: str
    unit: str
    per_unit: float

    @classmethod
    def of(cls, objective: str) -> CostAxis:
        """Return the axis of a hardware objective of the search, by its name there."""
        known = {
            "energy_pj": cls(name="Energy", unit="J", per_unit=1e-12),
            "cycles": cls(name="Latency", unit="cycles", per_unit=1.0),
            "edp": cls(name="Energy-delay product", unit="J·cycles", per_unit=1e-12),
            "sum_edp": cls(name="Sum of layer EDPs", unit="J·cycles", per_unit=1e-12),
            "weight_bits": cls(name="Weight memory", unit="bit", per_unit=1.0),
            "peak_activation_bits": cls(name="Peak activation memory", unit="bit", per_unit=1.0),
            "bops": cls(name="Bit operations", unit="BOP", per_unit=1.0),
        }
        return known[objective]

    def scaled(self, largest: float) -> tuple[float, str]:
        """Return the factor and the unit that bring values up to `largest` below 1000."""
        value = largest * self.per_unit
        prefix = next((p for p, size in _PREFIXES.items() if value >= size), "p")
        return self.per_unit / _PREFIXES[prefix], f"{prefix}{self.unit}"


def literal(texts: Iterable[str]) -> list[str]:
    """Texts as they stand: matplotlib would take what is between dollar signs for a formula."""
    return [text.replace("$", r"\$") for text in texts]


def save_figure(figure: Figure, path: Path, *, dpi: float | None = None) -> None:
    """Write a figure in the format of the path's suffix, by default PNG; the same figure gives the same bytes.

    dpi: by default the figure's.
    """
    from matplotlib import rc_context

    form = path.suffix[1:] or "png"
    with rc_context({"svg.hashsalt": "quantloom"}):  # names of parts in an SVG, which are random otherwise
        metadata = {_DATES[form]: None} if form in _DATES else {}
        figure.savefig(path, format=form, dpi=dpi or figure.dpi, metadata=metadata)


def plot_front(
    path: Path,
    *,
    axis: CostAxis,
    title: str,
    points: Sequence[CostPoint],
    baselines: Sequence[tuple[int, float, float]],
    candidates: Sequence[CostPoint],
    float_accuracy: float,
    curves: Sequence[tuple[str, Sequence[CostPoint]]] = (),
    trained: Sequence[CostPoint] = (),
    trained_baselines: Sequence[CostPoint] = (),
) -> None:
    """Write a figure in the format of the path's suffix; a PNG has 1200 x 800 pixels.

    points: the front, cheapest first. baselines: (bits, cost, accuracy). candidates: everything evaluated. curves:
    fronts of other searches by name. trained, trained_baselines: what training made of the front and of the uniform
    bits. Costs in the unit of the data (pJ, cycles, pJ*cycles, bits), accuracies in 0..1.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=400 / 3, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = [cost for cost, _ in (*points, *((c, a) for _, c, a in baselines))]
    factor, unit = axis.scaled(max(shown))
    _draw_candidates(axes, candidates, factor)
    _draw_front(axes, points, factor, right_end=1.08 * max(shown))
    _draw_curves(axes, curves, factor, right_end=1.08 * max(shown))
    _draw_trained(axes, trained, trained_baselines, factor, right_end=1.08 * max(shown))
    _draw_baselines(axes, baselines, factor)
    _draw_saving(axes, points, baselines, factor)
    _set_scales(axes, [a for _, a in (*points, *trained)], float_accuracy, factor, shown)
    axes.set_xlabel(f"{axis.name} ({unit})", fontsize=13)
    axes.set_ylabel("Validation accuracy (%, log scale of the error)", fontsize=13)
    axes.set_title(literal([title])[0], fontsize=14, loc="left")
    axes.legend(loc="lower right", fontsize=11, frameon=True, framealpha=0.95, edgecolor="none")
    save_figure(figure, path)


def plot_seeds(
    path: Path,
    *,
    axis: CostAxis,
    title: str,
    fronts: Sequence[tuple[str, Sequence[Sequence[CostPoint]]]],
    baselines: Sequence[tuple[int, float, float]],
) -> None:
    """Write a figure with the fronts of several seeds of each search, as steps of one colour; PNG as plot_front.

    fronts: for each search its name and a front for each seed, cheapest point first; the first is the proposed one.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=400 / 3, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = [cost for cost, _ in (p for _, seeds in fronts for front in seeds for p in front)]
    shown += [cost for _, cost, _ in baselines]
    factor, unit = axis.scaled(max(shown))
    for i, (name, seeds) in reversed(list(enumerate(fronts))):
        color, dashes = (_FRONT, "-") if i == 0 else _CURVES[(i - 1) % len(_CURVES)]
        drawn = [front for front in seeds if front]
        for n, front in enumerate(drawn):
            _draw_steps(
                axes,
                front,
                factor,
                1.08 * max(shown),
                color=color,
                linestyle=dashes,
                linewidth=1.6 if i == 0 else 1.2,
                label=f"{name.replace('_', ' ')} ({len(drawn)} seeds)" if n == 0 else None,
                zorder=4 if i == 0 else 2.5,
            )
    _draw_baselines(axes, baselines, factor)
    accuracies = [a for _, _, a in baselines] + [a for _, seeds in fronts for front in seeds for _, a in front]
    spread = max(accuracies) - min(accuracies) or 0.01
    axes.set_ylim(min(accuracies) - 0.05 * spread, max(accuracies) + 0.05 * spread)
    axes.set_xlim(0, 1.08 * max(shown) * factor)
    axes.set_xlabel(f"{axis.name} ({unit})", fontsize=13)
    axes.set_ylabel("Validation accuracy", fontsize=13)
    axes.set_title(literal([title])[0], fontsize=14, loc="left")
    axes.legend(loc="lower right", fontsize=11, frameon=True, framealpha=0.95, edgecolor="none")
    save_figure(figure, path)


def _draw_candidates(axes: Axes, candidates: Sequence[CostPoint], factor: float) -> None:
    axes.scatter(
        [cost * factor for cost, _ in candidates],
        [accuracy for _, accuracy in candidates],
        s=14,
        color=_CANDIDATE,
        alpha=0.35,
        linewidths=0,
        label=f"evaluated ({len(candidates)})",
        zorder=1,
    )


def _draw_front(axes: Axes, points: Sequence[CostPoint], factor: float, right_end: float) -> None:
    """Draw the front as the accuracy that can be had up to a cost."""
    _draw_steps(axes, points, factor, right_end, color=_FRONT, linewidth=1.6, zorder=3)
    axes.plot(
        [c * factor for c, _ in points],
        [a for _, a in points],
        linestyle="none",
        marker="o",
        markersize=6,
        color=_FRONT,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=f"front ({len(points)})",
        zorder=4,
    )


def _draw_steps(
    axes: Axes, points: Sequence[CostPoint], factor: float, right_end: float, **look: Any
) -> None:  # Any: what axes.step() takes
    """Draw the accuracy that can be had up to a cost. points: cheapest first, at least one. look: of axes.step()."""
    best = [points[0]]
    for cost, accuracy in points[1:]:
        if accuracy > best[-1][1]:
            best.append((cost, accuracy))
    corners = [*best, (right_end, best[-1][1])]
    axes.step([cost * factor for cost, _ in corners], [accuracy for _, accuracy in corners], where="post", **look)


def _draw_curves(
    axes: Axes, curves: Sequence[tuple[str, Sequence[CostPoint]]], factor: float, right_end: float
) -> None:
    """Draw the fronts of other searches as thin steps, told apart by colour and dashes."""
    for i, (name, points) in enumerate(curves):
        if not points:
            continue
        color, dashes = _CURVES[i % len(_CURVES)]
        label = name.replace("_", " ")
        look = {"color": color, "linestyle": dashes, "linewidth": 1.4, "label": label, "zorder": 2.5}
        _draw_steps(axes, sorted(points), factor, right_end, **look)


def _draw_trained(
    axes: Axes, front: Sequence[CostPoint], baselines: Sequence[CostPoint], factor: float, right_end: float
) -> None:
    """Draw what training made of points and baselines: a front of its own, in the shapes of before, hollow."""
    if front:
        _draw_steps(axes, front, factor, right_end, color=_FRONT, linewidth=1.6, linestyle="dotted", zorder=3)
    for shape, color, name, points in (
        ("o", _FRONT, "front, trained", front),
        ("s", _UNIFORM, "uniform bits, trained", baselines),
    ):
        if points:
            axes.plot(
                [c * factor for c, _ in points],
                [a for _, a in points],
                linestyle="none",
                marker=shape,
                markersize=7,
                color=color,
                markerfacecolor="white",
                label=f"{name} ({len(points)})",
                zorder=4.5,
            )


def _draw_baselines(axes: Axes, baselines: Sequence[tuple[int, float, float]], factor: float) -> None:
    from matplotlib.patheffects import withStroke

    axes.plot(
        [cost * factor for _, cost, _ in baselines],
        [accuracy for _, _, accuracy in baselines],
        linestyle="none",
        marker="s",
        markersize=8,
        color=_UNIFORM,
        markeredgecolor="white",
        markeredgewidth=0.8,
        label="uniform bits",
        zorder=5,
    )
    for bits, cost, accuracy in baselines:
        axes.annotate(
            f"{bits} bit",
            (cost * factor, accuracy),
            xytext=(8, -13),
            textcoords="offset points",
            fontsize=11,
            color=_UNIFORM,
            zorder=6,
            annotation_clip=True,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )


def _draw_saving(
    axes: Axes, points: Sequence[CostPoint], baselines: Sequence[tuple[int, float, float]], factor: float
) -> None:
    """Draw what the front saves against the most accurate baseline that it beats, at no lower accuracy."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground="white")]
    for bits, cost, accuracy in sorted(baselines, key=lambda b: -b[2]):
        cheapest = min((c for c, a in points if a >= accuracy), default=cost)
        if cheapest < cost:
            arrow = {"arrowstyle": "->", "color": _TEXT, "linewidth": 1.2, "shrinkA": 6, "shrinkB": 1}
            tip, tail = (cheapest * factor, accuracy), (cost * factor, accuracy)
            axes.annotate("", xy=tip, xytext=tail, arrowprops=arrow, zorder=4)
            axes.annotate(
                f"−{100 * (1 - cheapest / cost):.0f} % against {bits} bit",
                (cost * factor, accuracy),
                xytext=(-9, -14),
                textcoords="offset points",
                ha="right",
                fontsize=11,
                color=_TEXT,
                path_effects=halo,
                zorder=6,
            )
            return


def _set_scales(
    axes: Axes, front_accuracies: Sequence[float], float_accuracy: float, factor: float, shown: Sequence[float]
) -> None:
    import numpy as np

    axes.axhline(float_accuracy, color=_TEXT, linewidth=1, linestyle=(0, (5, 4)), label="not quantized", zorder=2)
    axes.set_yscale(
        "function",
        functions=(
            lambda accuracy: -np.log10(np.maximum(1.0 - np.asarray(accuracy), _LEAST_ERROR)),
            lambda level: 1.0 - 10.0 ** -np.asarray(level),
        ),
    )
    top = 1.0 - (1.0 - min(max(*front_accuracies, float_accuracy), 1 - _LEAST_ERROR)) / 1.12
    bottom = 1.0 - min((1.0 - min(front_accuracies)) * 1.08, 1.0)
    axes.set_ylim(bottom, top)
    axes.set_yticks([t / 100 for t in _PERCENT_TICKS if bottom <= t / 100 <= top])
    axes.set_yticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda accuracy, _: f"{100 * accuracy:.4g}")
    low, high = min(shown) * factor, max(shown) * factor
    axes.set_xlim(low - 0.06 * (high - low), high + 0.08 * (high - low))
    axes.tick_params(labelsize=11)
    axes.grid(color="#E3E3E3", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
