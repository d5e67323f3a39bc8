"""The report of a run directory: what its files hold, put together for one page; also while the run is under way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from quantloom.errors import SearchError
from quantloom.joint_search.front import labels
from quantloom.joint_search.journal import (
    JOURNAL,
    MANIFEST,
    REPORT,
    SCHEMA_VERSION,
    Evaluation,
    put_in_place,
    read_evaluations,
    read_manifest,
)
from quantloom.joint_search.pareto import FloatArray, hypervolume, non_dominated
from quantloom.report.figures import write_figures
from quantloom.report.page import MAX_PAGE_BYTES, render_page
from quantloom.report.plot import COST_FIELDS
from quantloom.whole_files import way_out
from quantloom.workload.network import BitAssignment

__all__ = ["read_run", "write_report", "write_run_figures"]

_Read = TypeVar("_Read")
_Json: TypeAlias = dict[str, Any]  # Any: plain values as JSON has them, on their way to the page
_MAX_CANDIDATES: Final = 4000
_MAX_TRACE: Final = 200
_TOTALS: Final = (
    *("label", "uniform_bits", "accuracy_validation", "accuracy_test", "energy_pj", "latency_cycles", "edp_pj_cycles"),
    *("sum_edp_pj_cycles", "weight_memory_bits", "average_weight_bits", "average_activation_bits"),
)
_LATER_COSTS: Final = ("peak_activation_memory_bits", "bops")
_LATER_TOTALS: Final = (  # runs of quantloom before it had them do not
    *(*_LATER_COSTS, "operators_energy_pj", "trained_validation", "trained_test"),
)
_LAYER: Final = ("weight_bits", "input_bits", "output_bits", "energy_pj", "latency_cycles")


def write_report(run_directory: Path | str, *, reload_s: int | None = None) -> Path:
    """Write report.html, one page that needs nothing else, into a run directory, whole or not at all; return its path.

    A run that is under way or was interrupted gives a page that says so. A page that would be too large to be opened
    at once leaves out mappings of some points and says which; mappings.json has them all. reload_s: the page, open in a
    browser, reads itself anew so often.
    Raises SearchError if the directory holds no run, a file of it is damaged, or it cannot be written to.
    """
    directory = Path(run_directory)
    path = directory / REPORT
    page = _checked(lambda: _fitting_page(read_run(directory), reload_s=reload_s).encode("utf-8"), directory)

    def make(temporary: Path) -> None:
        temporary.write_bytes(page)

    put_in_place(path, make)
    return path


def write_run_figures(run_directory: Path | str, form: str, *, label: str | None = None) -> list[Path]:
    """Write the plots of the report as png, svg or pdf into the directory's folder `figures`; return their paths.

    label: the point whose energy and latency are drawn, by default the last of the front. Raises SearchError as
    write_report, or for a label that no point has.
    """
    directory = Path(run_directory)
    run = read_run(directory)
    everything = {point["label"]: point for point in (*run["points"], *run["baselines"])}
    if not everything:
        message = f"{directory}: nothing is measured yet, so there is nothing to draw"
        raise SearchError(message, hint="wait for the first evaluations")
    if label is not None and label not in everything:
        message = f"{directory} has no point {label!r}"
        raise SearchError(message, hint=f"the points are {', '.join(everything)}")
    point = everything[label] if label is not None else (run["points"] or run["baselines"])[-1]
    try:
        return _checked(lambda: write_figures(run, point, directory / "figures", form), directory)
    except OSError as error:
        message = f"cannot write {directory / 'figures'}: {error.strerror or error}"
        raise SearchError(message, hint=way_out(error, "directory")) from error


def read_run(directory: Path) -> _Json:
    """Return what the page of a run shows, as plain values. Raises SearchError as write_report."""
    manifest = read_manifest(directory)
    _check_plain(manifest, directory / MANIFEST)
    evaluations = _without_rivals(read_evaluations(directory))
    is_finished = manifest.get("status") == "finished"
    found = _finished(directory) if is_finished else _unfinished(directory, manifest, evaluations)
    measured = [e for e in evaluations if e.split == "validation" and e.assignment is not None]
    step = max(1, -(-len(measured) // _MAX_CANDIDATES))
    journal = directory / JOURNAL
    candidates = _checked(lambda: [[e.accuracy, *_costs_of(e).values()] for e in measured], journal)
    _check_plain(candidates, journal)
    config = manifest.get("config")
    return {
        "status": "finished" if is_finished else "unfinished",
        "network": str(manifest.get("network", "")),
        "accuracy_method": str(manifest.get("accuracy_method", "")),
        "data": str(manifest.get("data", "")),
        "evaluations": len(measured),
        "planned_evaluations": config.get("evaluations") if isinstance(config, dict) else None,
        "candidates": candidates[::step],
        "candidate_costs": list(COST_FIELDS.values()),
        "candidate_step": step,
        "energy_sources": manifest.get("energy_sources", []),
        "manifest": manifest,
        **found,
    }


def _without_rivals(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """What the search itself measured: what it compares with measures on validation after its own front was tested.

    What is trained is of the front that it found.
    """
    evaluations = [e for e in evaluations if not e.epochs]
    tested = next((i for i, e in enumerate(evaluations) if e.split == "test"), len(evaluations))
    return [e for i, e in enumerate(evaluations) if i < tested or e.split == "test"]


def _fitting_page(run: _Json, *, reload_s: int | None = None) -> str:
    """The page, with mappings of every 2nd, 4th, ... point only, then with such points only, if it is too large."""
    mappings_of_every = points_every = 1
    while True:
        page = render_page(_thinned(run, mappings_of_every, points_every), reload_s=reload_s)
        if len(page.encode()) <= MAX_PAGE_BYTES or points_every > len(run["points"]):
            return page
        if mappings_of_every <= len(run["points"]):
            mappings_of_every *= 2
        else:
            points_every *= 2


def _thinned(run: _Json, mappings_of_every: int, points_every: int) -> _Json:
    """The run with every n-th point of the front, mappings of every m-th and of the baselines, each mapping once."""
    kept: dict[int, int] = {}

    def point_with(point: _Json, *, is_drawn: bool) -> _Json:
        layers = [
            [*layer[:-1], kept.setdefault(layer[-1], len(kept)) if is_drawn and layer[-1] >= 0 else -1]
            for layer in point["layers"]
        ]
        return {**point, "layers": layers}

    points = [
        point_with(point, is_drawn=i % mappings_of_every == 0)
        for i, point in enumerate(run["points"])
        if i % points_every == 0
    ]
    baselines = [point_with(point, is_drawn=True) for point in run["baselines"]]
    return {
        **run,
        "points": points,
        "baselines": baselines,
        "mappings": [run["mappings"][old] for old in kept],
        "points_in_all": len(run["points"]),
        "points_every": points_every,
        "mappings_of_every": mappings_of_every,
    }


def _finished(directory: Path) -> _Json:
    """What front.json and mappings.json hold. A layer of a point is [bits w, i, o, energy, cycles, mapping]."""
    front = _read_json(directory / "front.json")
    stored = _read_json(directory / "mappings.json")

    details: list[_Json] = []
    index: dict[str, int] = {}

    def take_mappings() -> None:
        position: dict[str, int] = {}
        for key, entry in stored["mappings"].items():
            detail = {"mapping": entry["mapping"], "cost": entry.get("cost")}
            same = position.setdefault(json.dumps(detail), len(details))
            if same == len(details):
                details.append(detail)
            index[key] = same

    def take_front() -> _Json:
        points, baselines = front["points"], front["baselines"]
        return {
            "arch": front["arch"],
            "data": front["data"],
            "accuracy_method": front["accuracy_method"],
            "float_accuracy_validation": front["float_accuracy_validation"],
            "float_accuracy_test": front["float_accuracy_test"],
            "objectives": front["objectives"],
            "layers": [layer["name"] for layer in (points or baselines)[0]["layers"]],
            "activations": list((points or baselines)[0]["activation_bits"]),
            "points": [_stored_point(point, index) for point in points],
            "baselines": [_stored_point(point, index) for point in baselines],
            "mappings": details,
            "savings": front["savings"],
            "hypervolume": [[i, share] for i, share in enumerate(front["hypervolume_share"], start=1)],
            "hypervolume_step": "generation",
            "curves": [*(_stored_curve(curve) for curve in front.get("curves", [])), *_trained_curve(front)],
        }

    _checked(take_mappings, directory / "mappings.json")
    return _checked(take_front, directory / "front.json")


def _totals_of(point: _Json) -> _Json:
    return {**{key: point[key] for key in _TOTALS}, **{key: point.get(key) for key in _LATER_TOTALS}}


def _stored_curve(curve: _Json) -> _Json:
    """Totals of another search's points; its trace, which runs of older versions do not have."""
    return {
        "name": str(curve["name"]),
        "points": [_totals_of(point) for point in curve["points"]],
        "hypervolume": [[i, share] for i, share in enumerate(curve.get("hypervolume_trace", []), start=1)],
    }


def _trained_curve(front: _Json) -> list[_Json]:
    """The front after training as a curve of its own, if there is one; runs of older versions have none."""
    promotion = front.get("promotion")
    if promotion is None:
        return []
    points = [
        {
            **_totals_of(point),
            "label": f"{point['label']}, trained",
            "accuracy_validation": point["trained_validation"],
            "accuracy_test": point["trained_test"],
        }
        for point in front["points"]
        if point["label"] in promotion["front"]
    ]
    return [{"name": f"front, trained (epochs: {promotion['epochs']})", "points": points, "hypervolume": []}]


def _stored_point(point: _Json, index: Mapping[str, int]) -> _Json:
    layers = [[*(layer[key] for key in _LAYER), index.get(layer["mapping"], -1)] for layer in point["layers"]]
    return {
        **_totals_of(point),
        "layers": layers,
        "activations": list(point["activation_bits"].values()),
    }


def _unfinished(directory: Path, manifest: Mapping[str, Any], evaluations: Sequence[Evaluation]) -> _Json:
    """The best so far by validation, from the journal: without mappings and without the test split."""

    def take() -> _Json:
        objectives = [str(name) for name in manifest["config"]["objectives"]]
        floating = [e for e in evaluations if e.assignment is None and e.split == "validation"]
        measured = [e for e in evaluations if e.assignment is not None and e.split == "validation"]
        uniform = [(i, bits) for i, e in enumerate(measured) if (bits := _uniform_bits(e, manifest)) is not None]
        values = np.array([_objectives_of(e, objectives) for e in measured]).reshape(len(measured), len(objectives))
        best = _distinct([measured[i] for i in np.flatnonzero(non_dominated(values))]) if measured else []
        best.sort(key=lambda e: (_costs_of(e)["energy_pj"], e.accuracy))
        names = [label.replace("front", "so-far") for label in labels(len(best))]
        return {
            "arch": str(manifest["config"]["arch"]),
            "float_accuracy_validation": floating[0].accuracy if floating else None,
            "float_accuracy_test": None,
            "objectives": objectives,
            "layers": [str(name) for name in manifest["layers"]],
            "activations": [str(edges[0]) for edges in manifest["groups"]],
            "points": [_measured_point(e, name, None) for e, name in zip(best, names, strict=True)],
            "baselines": [_measured_point(measured[i], f"uniform-{bits}", bits) for i, bits in uniform],
            "mappings": [],
            "savings": [],
            "hypervolume": _trace(values, [i for i, _ in uniform]),
            "hypervolume_step": "evaluation",
            "curves": [],
        }

    return _checked(take, directory / "manifest.json")


def _measured_point(evaluation: Evaluation, label: str, uniform_bits: int | None) -> _Json:
    assignment = evaluation.assignment or BitAssignment(weights=(), groups=())
    return {
        "label": label,
        "uniform_bits": uniform_bits,
        "accuracy_validation": evaluation.accuracy,
        "accuracy_test": None,
        **_costs_of(evaluation),
        "average_weight_bits": None,
        "average_activation_bits": None,
        "operators_energy_pj": None,
        "layers": [[bits, None, None, None, None, -1] for bits in assignment.weights],
        "activations": list(assignment.groups),
    }


def _uniform_bits(evaluation: Evaluation, manifest: Mapping[str, Any]) -> int | None:
    """The bits of a uniform baseline: the same everywhere but where the settings fix them."""
    assignment = evaluation.assignment
    if assignment is not None and "uniform" in manifest:  # they keep rules
        found = {"weights": list(assignment.weights), "groups": list(assignment.groups)}
        return next((int(bits) for bits, baseline in manifest["uniform"].items() if baseline == found), None)
    if assignment is None or len(set(assignment.weights)) != 1:
        return None
    bits = assignment.weights[0]
    fixed = {manifest["config"]["input_bits"], manifest["config"]["output_bits"]}
    return bits if set(assignment.groups) <= {bits, *fixed} and bits in assignment.groups else None


def _costs_of(evaluation: Evaluation) -> _Json:
    """Hardware costs by the names that points have. Raises KeyError if the journal does not have them.

    Those of _LATER_COSTS are None in the journal of an older run, which has other objectives.
    """
    details = evaluation.details or {}
    edp = details["energy_pj"] * details["latency_cycles"]
    found = {"edp_pj_cycles": edp, **dict.fromkeys(_LATER_COSTS), **details}
    return {name: found[name] for name in COST_FIELDS.values()}


def _objectives_of(evaluation: Evaluation, objectives: Sequence[str]) -> list[float]:
    costs = _costs_of(evaluation)
    return [1.0 - evaluation.accuracy if name == "error" else costs[COST_FIELDS[name]] for name in objectives]


def _distinct(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The first of those with equal accuracy and costs."""
    return list({(e.accuracy, *_costs_of(e).values()): e for e in reversed(evaluations)}.values())[::-1]


def _trace(values: FloatArray, uniform: Sequence[int]) -> list[list[float]]:
    """(evaluations, share dominated of the box up to the worst uniform baseline), at up to 200 evenly spread ends."""
    if not uniform:
        return []
    reference = values[list(uniform)].max(axis=0)
    scale = np.where(reference > 0, reference, 1.0)
    ends = np.unique(np.linspace(1, len(values), min(len(values), _MAX_TRACE)).astype(np.int64))
    trace = []
    for end in ends:
        seen = values[:end]
        trace.append([int(end), hypervolume(seen[non_dominated(seen)] / scale, reference / scale)])
    return trace


def _read_json(path: Path) -> _Json:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path} cannot be read ({error})"
        raise SearchError(message, hint="it is written when a search ends; resuming writes it again") from error
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        message = f"{path} is not of schema_version {SCHEMA_VERSION}"
        raise SearchError(message, hint="report with the version of quantloom that wrote it")
    _check_plain(found, path)
    return found


def _check_plain(value: object, path: Path) -> None:
    """Raise SearchError for what JSON can say but a page cannot hold: numbers without end, halves of characters."""
    _checked(lambda: json.dumps(value, allow_nan=False, ensure_ascii=False).encode(), path)


def _checked(take: Callable[[], _Read], path: Path) -> _Read:
    """Run a reader; what is missing or of another kind in the files becomes a SearchError."""
    try:
        return take()
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, RecursionError) as error:
        message = f"{path}: not as a search writes it ({type(error).__name__}: {error})"
        raise SearchError(message, hint="report with the version of quantloom that wrote the run") from error
