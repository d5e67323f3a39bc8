"""Several runs of one search that differ in their seed alone: what each way to search found, with intervals."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, cast, get_args

import numpy as np

from quantloom.errors import SearchError
from quantloom.joint_search.config import Objective
from quantloom.joint_search.front import SCHEMA_VERSION, MeasuredOn
from quantloom.joint_search.journal import read_manifest
from quantloom.joint_search.pareto import FloatArray, best_point_at_least_as_accurate, hypervolume
from quantloom.report.plot import COST_FIELDS, CostAxis

__all__ = ["PROPOSED", "UNIFORM", "Comparison", "Interval", "Outcome", "compare_runs", "interval_of"]

PROPOSED: Final = "front"
UNIFORM: Final = "uniform bits"

_Json: TypeAlias = dict[str, Any]  # Any: plain values as JSON has them
_AGAINST_BITS: Final = 8
_T_95: Final = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604),
    *(2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555),
    *(2.0518, 2.0484, 2.0452, 2.0423),
)
"""Half widths of the 95 % interval in standard errors, Student's t for 1, 2, ... degrees of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over seeds. low, high: where the mean lies with 95 % (Student's t); None for one seed alone."""

    mean: float
    low: float | None
    high: float | None


def interval_of(values: Sequence[float]) -> Interval:
    """The mean of values of independent seeds with its interval. Beyond 31 values that of 31 is used, a little wide."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(mean=mean, low=None, high=None)
    half = _T_95[min(len(values) - 1, len(_T_95)) - 1] * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean=mean, low=mean - half, high=mean + half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one way to search found with one seed.

    search: PROPOSED, UNIFORM or the name of a search made beside it. volume_validation, volume_test: share dominated of
    the box from 0 to the reference. saved: for each hardware objective, share of the cost of the uniform bits that are
    compared with, saved by the cheapest point at least as accurate on validation; 0 where that are the uniform bits.
    gain_test: accuracy of that point minus that of the uniform bits on the test split, which did not choose it.
    """

    run: str
    seed: int
    search: str
    volume_validation: float
    volume_test: float
    saved: Mapping[Objective, float]
    gain_test: Mapping[Objective, float]
    points: tuple[tuple[float, float], ...]
    """(first hardware objective, accuracy on validation) of the points, cheapest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Outcomes of all runs and searches. against: label of the uniform bits that savings are counted from.

    reference: the corner of the box, the worst uniform bits of all runs in every objective.
    """

    network: str
    arch: str
    data: str
    accuracy_method: str
    evaluations: int
    objectives: tuple[Objective, ...]
    against: str
    reference: tuple[float, ...]
    outcomes: tuple[Outcome, ...]
    baselines: tuple[tuple[int, float, float], ...]
    """(bits, first hardware objective, accuracy on validation) of the uniform bits."""

    @property
    def searches(self) -> tuple[str, ...]:
        """Names of the ways to search, the proposed one first."""
        return tuple(dict.fromkeys(outcome.search for outcome in self.outcomes))

    @property
    def hardware_objectives(self) -> tuple[Objective, ...]:
        """The objectives other than the error."""
        return tuple(name for name in self.objectives if name != "error")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the runs, in their order."""
        return tuple(outcome.seed for outcome in self.outcomes if outcome.search == PROPOSED)

    def of(self, search: str) -> list[Outcome]:
        """The outcomes of one way to search."""
        return [outcome for outcome in self.outcomes if outcome.search == search]

    def volume(self, search: str, split: MeasuredOn) -> Interval:
        """The dominated share over seeds."""
        return interval_of([o.volume_validation if split == "validation" else o.volume_test for o in self.of(search)])

    def saved(self, search: str, objective: Objective) -> Interval:
        """What is saved over seeds."""
        return interval_of([o.saved[objective] for o in self.of(search)])

    def gain_test(self, search: str, objective: Objective) -> Interval:
        """By how much what saves is more accurate on the test split, over seeds."""
        return interval_of([o.gain_test[objective] for o in self.of(search)])

    def to_json(self) -> _Json:
        """Return plain values: every outcome, and the means with their intervals."""
        means = [
            {
                "search": name,
                "hypervolume_validation": _plain(self.volume(name, "validation")),
                "hypervolume_test": _plain(self.volume(name, "test")),
                "saved": {objective: _plain(self.saved(name, objective)) for objective in self.hardware_objectives},
                "gain_test": {o: _plain(self.gain_test(name, o)) for o in self.hardware_objectives},
            }
            for name in self.searches
        ]
        return {
            "schema_version": SCHEMA_VERSION,
            **{name: getattr(self, name) for name in ("network", "arch", "data", "accuracy_method", "evaluations")},
            "objectives": list(self.objectives),
            "seeds": list(self.seeds),
            "against": self.against,
            "reference": list(self.reference),
            "means": means,
            "outcomes": self._rows(),
        }

    def to_csv(self) -> str:
        """Return a table with a line for each run and way to search."""
        rows = self._rows()
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def plot(self, path: Path | str) -> None:
        """Draw the fronts of all seeds: the first hardware objective against accuracy on validation."""
        from quantloom.report.plot import plot_seeds

        plot_seeds(
            Path(path),
            axis=CostAxis.of(self.hardware_objectives[0]),
            title=f"{self.network} on {self.arch}, {len(self.seeds)} seeds",
            fronts=[(name, [o.points for o in self.of(name)]) for name in self.searches if name != UNIFORM],
            baselines=self.baselines,
        )

    def _rows(self) -> list[_Json]:
        return [
            {
                "schema_version": SCHEMA_VERSION,
                **{name: getattr(o, name) for name in ("run", "seed", "search")},
                "hypervolume_validation": o.volume_validation,
                "hypervolume_test": o.volume_test,
                **{f"saved:{name}": share for name, share in o.saved.items()},
                **{f"gain_test:{name}": gain for name, gain in o.gain_test.items()},
            }
            for o in self.outcomes
        ]


def compare_runs(directories: Sequence[Path | str]) -> Comparison:
    """Compare finished runs of one search with different seeds.

    Raises SearchError if a run cannot be read or is not finished, or if the runs differ in more than the seed or have
    the same one.
    """
    runs = [_read(Path(directory)) for directory in directories]
    if not runs:
        message = "no runs to compare"
        raise SearchError(message, hint="give the directories that searches wrote")
    _check_alike(runs)
    first = runs[0].front
    objectives: tuple[Objective, ...] = tuple(first["objectives"])
    hardware = [name for name in objectives if name != "error"]
    uniform = [point for run in runs for point in run.front["baselines"]]
    reference = _table(uniform, objectives, "validation").max(axis=0)
    against = min(first["baselines"], key=lambda b: (abs(b["uniform_bits"] - _AGAINST_BITS), -b["uniform_bits"]))
    outcomes = []
    for run in runs:
        its_own = next(b for b in run.front["baselines"] if b["label"] == against["label"])
        for name, points in run.searches():
            outcomes.append(_outcome(run, name, points, objectives, reference, its_own))
    return Comparison(
        network=first["network"],
        arch=first["arch"],
        data=first["data"],
        accuracy_method=first["accuracy_method"],
        evaluations=max(run.front["evaluations"] for run in runs),
        objectives=objectives,
        against=against["label"],
        reference=tuple(reference.tolist()),
        outcomes=tuple(outcomes),
        baselines=tuple(
            (b["uniform_bits"], b[COST_FIELDS[hardware[0]]], b["accuracy_validation"]) for b in first["baselines"]
        ),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    path: Path
    seed: int
    identity: _Json
    """What the result depends on, but for the seed."""
    front: _Json

    def searches(self) -> list[tuple[str, list[_Json]]]:
        """Points by the name of the search that found them."""
        curves = [(str(curve["name"]), curve["points"]) for curve in self.front.get("curves", [])]
        return [(PROPOSED, self.front["points"]), (UNIFORM, self.front["baselines"]), *curves]


def _read(path: Path) -> _Run:
    manifest = read_manifest(path)
    if manifest.get("status") != "finished":
        message = f"{path}: the search is not finished"
        raise SearchError(message, hint=f"go on with it by `quantloom search --resume {path}`")
    try:
        front = json.loads((path / "front.json").read_text(encoding="utf-8"))
        config = dict(cast("_Json", manifest["config"]))
        seed = int(config.pop("seed"))
        identity = {
            "config": config,
            **{key: manifest[key] for key in ("network", "data", "accuracy_method", "inputs")},
        }
        for point in (*front["points"], *front["baselines"], *(p for c in front["curves"] for p in c["points"])):
            for key in ("accuracy_validation", "accuracy_test", *(COST_FIELDS[o] for o in _hardware(front))):
                float(point[key])
        if not front["baselines"]:
            message = f"{path}: has no uniform bits to compare with"
            raise SearchError(message, hint="allow some bits for every tensor")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        message = f"{path}: not as a search writes it ({type(error).__name__}: {error})"
        raise SearchError(message, hint="compare with the version of quantloom that wrote the run") from error
    return _Run(path, seed, identity, front)


def _hardware(front: _Json) -> list[Objective]:
    return [name for name in get_args(Objective) if name in front["objectives"] and name != "error"]


def _check_alike(runs: Sequence[_Run]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for key, value in first.identity.items():
            other = run.identity[key]
            if other == value:
                continue
            what = key
            if isinstance(value, dict) and isinstance(other, dict):
                what = ", ".join(sorted(k for k in {*value, *other} if value.get(k) != other.get(k)))
            message = f"{first.path} and {run.path} differ in more than the seed: {what}"
            raise SearchError(message, hint="compare runs of one search with different --seed")
    seeds: dict[int, Path] = {}
    for run in runs:
        if run.seed in seeds:
            message = f"{seeds[run.seed]} and {run.path} have the same seed {run.seed}"
            raise SearchError(message, hint="equal seeds give equal results, so the interval would be too narrow")
        seeds[run.seed] = run.path


def _outcome(
    run: _Run,
    name: str,
    points: Sequence[_Json],
    objectives: Sequence[Objective],
    reference: FloatArray,
    against: _Json,
) -> Outcome:
    hardware = [objective for objective in objectives if objective != "error"]
    accuracy = np.array([p["accuracy_validation"] for p in points])
    saved: dict[Objective, float] = {}
    gain: dict[Objective, float] = {}
    for objective in hardware:
        field = COST_FIELDS[objective]
        cost = np.array([p[field] for p in points], dtype=np.float64)
        at = best_point_at_least_as_accurate(accuracy, cost, against["accuracy_validation"])
        if at is None or cost[at] >= against[field]:
            saved[objective] = gain[objective] = 0.0
        else:
            saved[objective] = float(1.0 - cost[at] / against[field])
            gain[objective] = float(points[at]["accuracy_test"] - against["accuracy_test"])
    scale = np.where(reference > 0, reference, 1.0)
    volumes = {
        split: hypervolume(_table(points, objectives, split) / scale, reference / scale)
        for split in get_args(MeasuredOn)
    }
    return Outcome(
        run=str(run.path),
        seed=run.seed,
        search=name,
        volume_validation=volumes["validation"],
        volume_test=volumes["test"],
        saved=saved,
        gain_test=gain,
        points=tuple(sorted((float(p[COST_FIELDS[hardware[0]]]), float(p["accuracy_validation"])) for p in points)),
    )


def _table(points: Sequence[_Json], objectives: Sequence[Objective], split: MeasuredOn) -> FloatArray:
    """(points, objectives), to minimise."""
    rows = [
        [1.0 - p[f"accuracy_{split}"] if name == "error" else float(p[COST_FIELDS[name]]) for name in objectives]
        for p in points
    ]
    return np.array(rows, dtype=np.float64).reshape(len(points), len(objectives))


def _plain(interval: Interval) -> _Json:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}
