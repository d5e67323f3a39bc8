"""What a search found: the front and the uniform baselines, complete enough to report without the network."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from quantloom.errors import SearchError
from quantloom.joint_search.config import Objective
from quantloom.joint_search.pareto import FloatArray, best_point_at_least_as_accurate
from quantloom.joint_search.seeds import Seed
from quantloom.report.notebook import html_result, html_table
from quantloom.report.plot import COST_FIELDS, CostAxis
from quantloom.report.results import Cell, Kind, ResultColumn, ResultTable
from quantloom.workload.bits import BitWidths

if TYPE_CHECKING:
    import pandas

__all__ = [
    *("COST_WORDS", "FRONT_COLUMNS", "SCHEMA_VERSION", "Curve", "CurveSaving", "Front", "FrontPoint"),
    *("LayerChoice", "MeasuredOn", "Saving", "TensorBits", "Trained"),
]

SCHEMA_VERSION = 1

MeasuredOn = Literal["validation", "test"]

COST_WORDS: dict[Objective, str] = {
    "energy_pj": "energy",
    "cycles": "latency",
    "edp": "EDP",
    "sum_edp": "sum of layer EDPs",
    "weight_bits": "weight memory",
    "peak_activation_bits": "peak activation memory",
    "bops": "bit operations",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChoice:
    """Bits of one layer's tensors and what its optimal mapping costs at them."""

    name: str
    bits: BitWidths
    energy_pj: float
    latency_cycles: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorBits:
    """Bits of one activation edge and how many elements it has for one sample."""

    name: str
    bits: int
    elements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Accuracies after training for these bits. test: None if training left the point off the front: not measured."""

    validation: float
    test: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One assignment of bits with its costs. uniform_bits: those of a uniform baseline, None for other points.

    operators_energy_pj: the part of energy_pj that is not of layers; None if operators are not charged. trained: what
    it is after training, if it was promoted (promotion.py).
    """

    label: str
    uniform_bits: int | None
    layers: tuple[LayerChoice, ...]
    edges: tuple[TensorBits, ...]
    accuracy_validation: float
    accuracy_test: float
    energy_pj: float
    latency_cycles: float
    edp_pj_cycles: float
    sum_edp_pj_cycles: float
    weight_memory_bits: float
    peak_activation_memory_bits: int
    bops: int
    average_weight_bits: float
    operators_energy_pj: float | None = None
    trained: Trained | None = None

    @property
    def average_activation_bits(self) -> float:
        """Bits of an activation element, averaged over all stored elements."""
        return sum(e.bits * e.elements for e in self.edges) / sum(e.elements for e in self.edges)

    def cost(self, objective: Objective) -> float:
        """Return a hardware objective in its unit. Raises SearchError for the error, which is none."""
        if objective not in COST_FIELDS:
            message = f"{objective!r} is not a hardware objective"
            raise SearchError(message)
        return float(getattr(self, COST_FIELDS[objective]))

    def accuracy(self, split: MeasuredOn) -> float:
        """Return the accuracy in 0..1 on a split."""
        return self.accuracy_validation if split == "validation" else self.accuracy_test

    def totals(self) -> dict[str, float | str | int | None]:
        """Return all but the bits, with units in the keys."""
        return {
            "label": self.label,
            "uniform_bits": self.uniform_bits,
            "accuracy_validation": self.accuracy_validation,
            "accuracy_test": self.accuracy_test,
            **{name: getattr(self, name) for name in COST_FIELDS.values()},
            "average_weight_bits": self.average_weight_bits,
            "average_activation_bits": self.average_activation_bits,
            "operators_energy_pj": self.operators_energy_pj,
            "trained_validation": None if self.trained is None else self.trained.validation,
            "trained_test": None if self.trained is None else self.trained.test,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What the front saves against one uniform baseline, at no loss of accuracy on the split it was chosen by.

    point: the cheapest point of the front at least as accurate as the baseline on `chosen_on`. saved: share of the
    baseline's cost, above 0. gain_validation, gain_test: accuracy of the point minus that of the baseline.
    """

    objective: Objective
    baseline: str
    chosen_on: MeasuredOn
    point: str
    saved: float
    gain_validation: float
    gain_test: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What another way to search found with evaluations of its own (rivals.py), as it is charged.

    points: its front, cheapest first; empty where nothing it found keeps the bounds. hypervolume: the share that it
    dominates of the box of Front.hypervolume; None without uniform baselines. trace: that share after each generation.
    """

    name: str
    evaluations: int
    points: tuple[FrontPoint, ...]
    hypervolume: float | None
    trace: tuple[float, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return plain values: totals and bits of every point."""
        points = [
            {
                **p.totals(),
                "weight_bits": {layer.name: layer.bits.weights for layer in p.layers},
                "activation_bits": {edge.name: edge.bits for edge in p.edges},
            }
            for p in self.points
        ]
        return {
            "name": self.name,
            "evaluations": self.evaluations,
            "hypervolume_share": self.hypervolume,
            "hypervolume_trace": list(self.trace),
            "points": points,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveSaving:
    """What the front saves against a point of another search, at no lower accuracy on validation.

    saved: share of that point's cost; below 0 where it is the cheaper one, None where no point of the front is as
    accurate. point: the cheapest point of the front that is.
    """

    objective: Objective
    curve: str
    curve_point: str
    point: str | None
    saved: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Result of a search.

    points: non-dominated on the validation split, cheapest first. baselines: uniform bits, ascending.
    candidates: (evaluated, 1 + hardware objectives) accuracy on validation and costs of everything evaluated.
    hypervolume: after each generation, the share dominated of the box from 0 to the worst baseline in every objective.
    seeds: the starting points with their certificates. curves: what other searches found in the same run.
    data: what the accuracies were measured on, for the reader. promote_epochs: for how many epochs points with
    `trained` were trained; 0 if none were.
    """

    network: str
    arch: str
    accuracy_method: str
    float_accuracy_validation: float
    float_accuracy_test: float
    objectives: tuple[Objective, ...]
    points: tuple[FrontPoint, ...]
    baselines: tuple[FrontPoint, ...]
    candidates: FloatArray
    hypervolume: tuple[float, ...] = field(default=())
    seeds: tuple[Seed, ...] = field(default=())
    curves: tuple[Curve, ...] = field(default=())
    data: str = ""
    promote_epochs: int = 0

    @property
    def trained_front(self) -> tuple[FrontPoint, ...]:
        """The trained points that no other trained point dominates on validation, cheapest first."""
        return tuple(p for p in self.points if p.trained is not None and p.trained.test is not None)

    def trained_savings(self, objective: Objective) -> tuple[Saving, ...]:
        """Return what the trained front saves against each baseline trained alike, chosen on validation."""
        return self._trained_alone().savings(objective, "validation")

    def _trained_alone(self) -> Front:
        """The trained front and baselines with their accuracies after training in place of those before."""

        def after(points: Sequence[FrontPoint]) -> tuple[FrontPoint, ...]:
            measured = ((p, p.trained.validation, p.trained.test) for p in points if p.trained is not None)
            return tuple(
                replace(p, accuracy_validation=validation, accuracy_test=test)
                for p, validation, test in measured
                if test is not None
            )

        return replace(self, points=after(self.points), baselines=after(self.baselines))

    @property
    def hardware_objectives(self) -> tuple[Objective, ...]:
        """The objectives other than the error."""
        return tuple(name for name in self.objectives if name != "error")

    def best(self, *, max_energy_pj: float | None = None, min_accuracy: float | None = None) -> FrontPoint:
        """Return the most accurate point within an energy, or the one of least energy above an accuracy.

        Accuracy is that on the validation split, so that the choice does not spoil the test split. With both bounds
        the most accurate point is returned. Raises SearchError if none keeps them.
        """
        kept = [
            p
            for p in self.points
            if (max_energy_pj is None or p.energy_pj <= max_energy_pj)
            and (min_accuracy is None or p.accuracy_validation >= min_accuracy)
        ]
        if not kept:
            least = min((p.energy_pj for p in self.points), default=float("nan"))
            most = max((p.accuracy_validation for p in self.points), default=float("nan"))
            message = f"no point of the front keeps max_energy_pj={max_energy_pj}, min_accuracy={min_accuracy}"
            raise SearchError(message, hint=f"the front starts at {least:.6g} pJ and reaches an accuracy of {most:.4f}")
        if max_energy_pj is None and min_accuracy is not None:
            return min(kept, key=lambda p: (p.energy_pj, -p.accuracy_validation))
        return max(kept, key=lambda p: (p.accuracy_validation, -p.energy_pj))

    def savings(self, objective: Objective, chosen_on: MeasuredOn) -> tuple[Saving, ...]:
        """Return what the front saves against each baseline; baselines that it does not beat are left out."""
        accuracy = np.array([p.accuracy(chosen_on) for p in self.points])
        cost = np.array([p.cost(objective) for p in self.points])
        found = []
        for baseline in self.baselines:
            at = best_point_at_least_as_accurate(accuracy, cost, baseline.accuracy(chosen_on))
            if at is None or cost[at] >= baseline.cost(objective):
                continue
            point = self.points[at]
            found.append(
                Saving(
                    objective=objective,
                    baseline=baseline.label,
                    chosen_on=chosen_on,
                    point=point.label,
                    saved=1.0 - point.cost(objective) / baseline.cost(objective),
                    gain_validation=point.accuracy_validation - baseline.accuracy_validation,
                    gain_test=point.accuracy_test - baseline.accuracy_test,
                )
            )
        return tuple(found)

    def curve_savings(self, objective: Objective) -> tuple[CurveSaving, ...]:
        """Return what the front saves against each point of each other search, chosen on the validation split."""
        accuracy = np.array([p.accuracy_validation for p in self.points])
        cost = np.array([p.cost(objective) for p in self.points])
        found = []
        for curve in self.curves:
            for beaten in curve.points:
                at = best_point_at_least_as_accurate(accuracy, cost, beaten.accuracy_validation)
                found.append(
                    CurveSaving(
                        objective=objective,
                        curve=curve.name,
                        curve_point=beaten.label,
                        point=None if at is None else self.points[at].label,
                        saved=None if at is None else float(1.0 - cost[at] / beaten.cost(objective)),
                    )
                )
        return tuple(found)

    def summary(self) -> str:
        """Say in words by how much the front beats uniform bits and other searches, chosen on the validation split."""
        lines = [
            f"{_of_points(len(self.points))} on the front of {len(self.candidates)} evaluated assignments "
            f"({self.network} on {self.arch}, accuracy by {self.accuracy_method})",
            f"not quantized: validation {_percent(self.float_accuracy_validation)}, "
            f"test {_percent(self.float_accuracy_test)}",
        ]
        lines += _operators_in_words(self.points)
        if self.seeds:
            proven = sum(seed.optimum.is_proven for seed in self.seeds)
            lines.append(
                f"{proven} of {len(self.seeds)} seeds proven: no assignment has a lower accuracy proxy at their cost"
            )
        for objective in self.hardware_objectives:
            lines.append(f"{COST_WORDS[objective]} saved against uniform bits, at no lower accuracy on validation:")
            found = {saving.baseline: saving for saving in self.savings(objective, "validation")}
            for baseline in self.baselines:
                accuracies = (
                    f"validation {_percent(baseline.accuracy_validation)}, test {_percent(baseline.accuracy_test)}"
                )
                lines.append(f"  {baseline.label} ({accuracies})")
                lines.append(f"    {_saving_in_words(found.get(baseline.label))}")
            if self.curves:
                word = COST_WORDS[objective]
                lines.append(f"{word} saved against other searches, at no lower accuracy on validation:")
            for curve in self.curves:
                against = [s.saved for s in self.curve_savings(objective) if s.curve == curve.name]
                lines += [f"  {_curve_in_words(curve, self.hypervolume)}", f"    {_savings_in_words(against)}"]
        return "\n".join([*lines, *self._training_in_words()])

    def _training_in_words(self) -> list[str]:
        if not self.promote_epochs:
            return []
        trained = sum(p.trained is not None for p in self.points)
        lines = [
            f"{_of_points(trained)} and the uniform bits trained (epochs: {self.promote_epochs}): "
            f"{len(self.trained_front)} of these points are on the front then"
        ]
        alone = self._trained_alone()
        for objective in self.hardware_objectives:
            word = COST_WORDS[objective]
            lines.append(f"{word} saved against uniform bits trained alike, at no lower accuracy on validation:")
            found = {saving.baseline: saving for saving in self.trained_savings(objective)}
            for b in alone.baselines:
                accuracies = f"validation {_percent(b.accuracy_validation)}, test {_percent(b.accuracy_test)}"
                lines += [f"  {b.label} ({accuracies})", f"    {_saving_in_words(found.get(b.label))}"]
        return lines

    def _promotion_to_json(self) -> dict[str, object] | None:
        if not self.promote_epochs:
            return None
        return {
            "epochs": self.promote_epochs,
            "front": [p.label for p in self.trained_front],
            "savings": [
                {name: getattr(s, name) for name in Saving.__slots__}
                for objective in self.hardware_objectives
                for s in self.trained_savings(objective)
            ],
        }

    def to_json(self) -> dict[str, object]:
        """Return plain values for JSON: totals, bits of every tensor by name, savings, hypervolume trace."""
        return {
            "schema_version": SCHEMA_VERSION,
            "network": self.network,
            "arch": self.arch,
            "data": self.data,
            "accuracy_method": self.accuracy_method,
            "float_accuracy_validation": self.float_accuracy_validation,
            "float_accuracy_test": self.float_accuracy_test,
            "objectives": list(self.objectives),
            "evaluations": len(self.candidates),
            "points": [_point_to_json(p) for p in self.points],
            "baselines": [_point_to_json(p) for p in self.baselines],
            "savings": [
                {name: getattr(s, name) for name in Saving.__slots__}
                for objective in self.hardware_objectives
                for split in ("validation", "test")
                for s in self.savings(objective, split)
            ],
            "hypervolume_share": list(self.hypervolume),
            "seeds": [seed.to_json() for seed in self.seeds],
            "curves": [curve.to_json() for curve in self.curves],
            "curve_savings": [
                {name: getattr(s, name) for name in CurveSaving.__slots__}
                for objective in self.hardware_objectives
                for s in self.curve_savings(objective)
            ],
            "promotion": self._promotion_to_json(),
        }

    def to_csv(self) -> str:
        """Return a table with a line for each point and baseline, the bits of every tensor in columns of their own."""
        rows = self._rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else ["schema_version"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def to_table(self) -> ResultTable:
        """Return the table of to_csv with typed columns, for Parquet, Arrow, xarray and JSON (docs/results.md)."""
        rows = self._rows()
        names = list(rows[0]) if rows else ["schema_version"]
        columns = tuple(_column_of(name) for name in names)
        about = {"network": self.network, "arch": self.arch, "accuracy_method": self.accuracy_method}
        return ResultTable(
            name="front", columns=columns, rows=tuple(tuple(row[name] for name in names) for row in rows), about=about
        )

    def to_frame(self) -> pandas.DataFrame:
        """Return the table as a pandas data frame. Raises QuantloomError if pandas is not installed."""
        return self.to_table().to_frame()

    def _repr_html_(self) -> str:
        """The points and baselines as a notebook shows them."""
        scale, unit = CostAxis.of("energy_pj").scaled(max(p.energy_pj for p in (*self.points, *self.baselines)))
        titles = ("point", "validation", "test", f"energy, {unit}", "cycles", "bits of weights", "bits of activations")
        rows = [
            (
                p.label,
                _percent(p.accuracy_validation),
                _percent(p.accuracy_test),
                f"{p.energy_pj * scale:.4g}",
                f"{p.latency_cycles:,.0f}",
                f"{p.average_weight_bits:.2f}",
                f"{p.average_activation_bits:.2f}",
            )
            for p in (*self.points, *self.baselines)
        ]
        return html_result(f"{self.network} on {self.arch}", self.summary().splitlines()[:2], html_table(titles, rows))

    def plot(self, path: Path | str, *, objective: Objective | None = None) -> None:
        """Draw a PNG: a hardware objective (by default the first of the search) against accuracy on validation."""
        from quantloom.report.plot import plot_front

        chosen = objective or self.hardware_objectives[0]
        if chosen not in self.hardware_objectives:
            message = f"{chosen!r} is not among the searched objectives {list(self.hardware_objectives)}"
            raise SearchError(message)
        column = 1 + self.hardware_objectives.index(chosen)
        plot_front(
            Path(path),
            axis=CostAxis.of(chosen),
            title=f"{self.network} on {self.arch}",
            points=[(p.cost(chosen), p.accuracy_validation) for p in self.points],
            baselines=[(p.uniform_bits or 0, p.cost(chosen), p.accuracy_validation) for p in self.baselines],
            candidates=[(row[column], row[0]) for row in self.candidates.tolist()],
            float_accuracy=self.float_accuracy_validation,
            curves=[(c.name, [(p.cost(chosen), p.accuracy_validation) for p in c.points]) for c in self.curves],
            trained=[(p.cost(chosen), p.trained.validation) for p in self.trained_front if p.trained is not None],
            trained_baselines=[(b.cost(chosen), b.trained.validation) for b in self.baselines if b.trained is not None],
        )

    def _rows(self) -> list[dict[str, Cell]]:
        return [
            {
                "schema_version": SCHEMA_VERSION,
                **p.totals(),
                **{f"weight_bits:{layer.name}": layer.bits.weights for layer in p.layers},
                **{f"activation_bits:{edge.name}": edge.bits for edge in p.edges},
            }
            for p in (*self.points, *self.baselines, *(p for curve in self.curves for p in curve.points))
        ]


_FRONT_COLUMNS: tuple[tuple[str, Kind, str, str], ...] = (
    ("schema_version", "int", "", "of this table"),
    (
        "label",
        "text",
        "",
        "front-... for points of the front, uniform-... for baselines, other names for other searches",
    ),
    ("uniform_bits", "int", "bits", "of a uniform baseline; missing for points of the front"),
    ("accuracy_validation", "float", "", "share of the validation split that is right, 0..1"),
    ("accuracy_test", "float", "", "of the test split, which no decision saw"),
    ("energy_pj", "float", "pJ", "of one sample"),
    ("latency_cycles", "float", "cycles", "of one sample, layer after layer"),
    ("edp_pj_cycles", "float", "pJ*cycles", "energy x latency of the network"),
    ("sum_edp_pj_cycles", "float", "pJ*cycles", "the layers' own EDPs added up"),
    ("weight_memory_bits", "float", "bits", "all weights at their widths"),
    ("peak_activation_memory_bits", "int", "bits", "edges alive at the same time, at the worst moment"),
    ("bops", "int", "bit operations", "multiplications x bits of weights x bits of inputs, over all layers"),
    ("average_weight_bits", "float", "bits", "of a weight"),
    ("average_activation_bits", "float", "bits", "of an activation"),
    (
        "operators_energy_pj",
        "float",
        "pJ",
        "the part of energy_pj that operators beside the layers have; missing unless they are charged",
    ),
    ("trained_validation", "float", "", "after training for these bits; missing where there was none"),
    ("trained_test", "float", "", "the same of the test split; missing of what training left off the front"),
)
FRONT_COLUMNS: Final = tuple(
    ResultColumn(name=name, kind=kind, unit=unit, meaning=meaning) for name, kind, unit, meaning in _FRONT_COLUMNS
)


def _column_of(name: str) -> ResultColumn:
    """A column of the table; those of single tensors are named weight_bits:LAYER and activation_bits:EDGE."""
    for column in FRONT_COLUMNS:
        if column.name == name:
            return column
    kind, _, tensor = name.partition(":")
    what = "weights of the layer" if kind == "weight_bits" else "activation edge"
    return ResultColumn(name=name, kind="int", unit="bits", meaning=f"of the {what} {tensor}")


def _point_to_json(point: FrontPoint) -> dict[str, object]:
    return {
        **point.totals(),
        "layers": [
            {
                "name": layer.name,
                "weight_bits": layer.bits.weights,
                "input_bits": layer.bits.inputs,
                "output_bits": layer.bits.outputs,
                "energy_pj": layer.energy_pj,
                "latency_cycles": layer.latency_cycles,
                "mapping": f"{layer.name} {layer.bits}",
            }
            for layer in point.layers
        ],
        "activation_bits": {edge.name: edge.bits for edge in point.edges},
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(gain: float) -> str:
    return f"{100 * gain:+.2f} points"


def _saving_in_words(saving: Saving | None) -> str:
    if saving is None:
        return "no point of the front is as accurate on validation and cheaper"
    return (
        f"{saving.point} saves {_percent(saving.saved)} "
        f"(accuracy validation {_points(saving.gain_validation)}, test {_points(saving.gain_test)})"
    )


def _operators_in_words(points: Sequence[FrontPoint]) -> list[str]:
    shares = [p.operators_energy_pj / p.energy_pj for p in points if p.operators_energy_pj is not None]
    if not shares:
        return []
    least, most = _percent(min(shares)), _percent(max(shares))
    return [f"operators beside the layers are charged: {least} to {most} of the energy of a point"]


def _curve_in_words(curve: Curve, trace: Sequence[float]) -> str:
    shares = ""
    if curve.hypervolume is not None and trace:
        shares = f"; it dominates {curve.hypervolume:.4f} of the box of the uniform bits, the front {trace[-1]:.4f}"
    return f"{curve.name} ({curve.evaluations} evaluations, {len(curve.points)} points{shares})"


def _of_points(count: int) -> str:
    return f"{count} point{'' if count == 1 else 's'}"


def _savings_in_words(against: Sequence[float | None]) -> str:
    """By how much the front beats the points of a curve, cheapest first."""
    saved = [s for s in against if s is not None]
    if not saved:
        return "no point of the front is as accurate on validation"
    more = len(against) - len(saved)
    tail = f"; {_of_points(more)} more accurate than the front" if more else ""
    return (
        f"median {_percent(float(np.median(saved)))} over {_of_points(len(saved))}, "
        f"least {_percent(min(saved))}, at the most accurate {_percent(saved[-1])}{tail}"
    )


def labels(count: int, prefix: str = "front") -> Sequence[str]:
    """Return the labels of a front's points, cheapest first, in equal width."""
    width = len(str(count))
    return [f"{prefix}-{i:0{width}d}" for i in range(1, count + 1)]
