"""The accuracy fronts of arXiv 2404.05368 (DDECS 2024): searches of bits in two columns, with all baselines and seeds.

`as in the paper`: costs by the compat model with depthwise layers as dense, sum of the layers' EDPs searched. `as it
is`: costs by the default model, energy searched. The accuracies are the same in both: quantized, batch normalisation
taken anew, nothing trained. Parts: `fronts` (every point) and `savings` (means with intervals), both of the same runs,
which are kept and gone on with.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from quantloom.assemble.network_and_data import DEMO
from quantloom.assemble.search import Measured, prepare_accuracies, with_bits
from quantloom.demo import DEMO_MODEL
from quantloom.errors import DataError, SearchError
from quantloom.joint_search.comparison import PROPOSED, UNIFORM, Comparison, Interval, compare_runs, interval_of
from quantloom.joint_search.config import RIVALS, Objective, SearchConfig
from quantloom.joint_search.journal import MANIFEST, read_manifest
from quantloom.joint_search.run import run_search
from quantloom.mapper.table import cost_table
from quantloom.quant.data import DATA_SETS
from quantloom.quant.fingerprint import fingerprint_of_files
from quantloom.report.plot import COST_FIELDS
from quantloom.report.results import Cell, ResultColumn, ResultTable
from quantloom.reproduce.ddecs2024 import AS_IN_PAPER, AS_IT_IS, Profile
from quantloom.reproduce.published import published
from quantloom.spec.arch import load_arch
from quantloom.store.database import Store
from quantloom.workload.network import BitAssignment
from quantloom.workload.paper import paper_workloads
from quantloom.zoo.trained import CIFAR10, PREFIX

__all__ = ["ACCURACY_PARTS", "FrontSettings", "Subject", "make_accuracy_part", "sized", "subjects_of"]

ACCURACY_PARTS: Final = ("fronts", "savings")
_ARCHS: Final = ("eyeriss", "simba")
_POPULATION: Final = 10
_SEEDS_OF_SEARCH: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A network by the text that names it, and the file of its weights; None for a model that has them itself."""

    model: str
    checkpoint: str | None


_DEMO: Final = Subject(model=DEMO_MODEL, checkpoint=DEMO)
_CIFAR10: Final = tuple(Subject(model=model, checkpoint=PREFIX + name) for name, model in CIFAR10.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """What is searched, and for how long.

    data: as on the command line. archs: accelerators. evaluations: of each search. seeds: runs that differ in their
    seed alone. images: validation images that decide; twice as many of the test split are for the report. directory:
    where the runs are kept. progress(done, total, text); note(text).
    """

    data: str
    subjects: tuple[Subject, ...]
    archs: tuple[str, ...]
    evaluations: int
    seeds: int
    images: int
    directory: Path
    threads: int
    store: Store | None
    progress: Callable[[int, int, str], None]
    note: Callable[[str], None]

    @property
    def test_images(self) -> int:
        """Of the test split, at most."""
        return 2 * self.images

    def depend_on(self) -> dict[str, object]:
        """All that the tables depend on. Data of a function are taken to be the same as long as its name is."""
        given = {name: getattr(self, name) for name in ("data", "evaluations", "seeds", "images")}
        networks = [[s.model, s.checkpoint, _files_behind(s, self.data)] for s in self.subjects]
        return {**given, "archs": list(self.archs), "networks": networks}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """One of the two columns."""

    name: str
    short: str
    cost_model: str
    objective: Objective
    is_dense: bool


_WAYS: Final = (
    _Way(name=AS_IN_PAPER, short="paper", cost_model="compat", objective="sum_edp", is_dense=True),
    _Way(name=AS_IT_IS, short="default", cost_model="default", objective="energy_pj", is_dense=False),
)


def sized(profile: Profile) -> dict[str, int]:
    """The sizes of a profile: evaluations, seeds and images of FrontSettings."""
    sizes = {
        "quick": {"evaluations": 40, "seeds": 3, "images": 500},
        "full": {"evaluations": 70, "seeds": 3, "images": 1000},
    }
    return sizes[profile]


def subjects_of(data: str, profile: Profile, model: str | None, checkpoint: str | None) -> tuple[Subject, ...]:
    """The networks that are searched on these data: the one given, else those that come with quantloom.

    Raises DataError where none comes for the data.
    """
    if model is not None:
        return (Subject(model=model, checkpoint=checkpoint),)
    kind = data.partition(":")[0]
    if kind in (DEMO, "fashion_mnist"):
        return (_DEMO,)
    if kind == "cifar10":
        return _CIFAR10 if profile == "full" else _CIFAR10[:1]
    message = f"--data {data}: quantloom comes with no network that was trained on these"
    raise DataError(message, hint="name one by --model and its weights by --checkpoint, or take demo or cifar10:DIR")


def _files_behind(subject: Subject, data: str) -> str:
    """SHA-256 that changes with the files that are named, as fingerprint_of_files() has it."""
    kind, _, place = data.partition(":")
    named = [
        subject.checkpoint,
        subject.model.partition(":")[0],
        place.partition(",")[0] if kind in DATA_SETS else None,
    ]
    files: list[Path] = []
    for path in (Path(name) for name in named if name):
        files += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] * path.is_file()
    return fingerprint_of_files(files)


def make_accuracy_part(name: str, settings: FrontSettings) -> ResultTable:
    """Make one of ACCURACY_PARTS: go on with the runs, or only read those that are finished."""
    groups = _made_runs(settings)
    comparisons = [compare_runs(group.runs) for group in groups]
    make = {"fronts": _fronts, "savings": _savings}[name]
    first = comparisons[0]
    about = {
        "data": first.data,
        "accuracy": first.accuracy_method,
        "images": f"at most {settings.images} of validation, {settings.test_images} of test",
        "evaluations": f"{settings.evaluations} of each search",
        "objective": f"{AS_IN_PAPER}: sum of the layers' EDPs; {AS_IT_IS}: energy",
    }
    rows = [row for group, compared in zip(groups, comparisons, strict=True) for row in make(group, compared)]
    columns = {"fronts": _FRONT_COLUMNS, "savings": _SAVINGS_COLUMNS}[name]
    return ResultTable(name=name, columns=columns, rows=tuple(rows), about=about)


# ---- the runs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Runs that differ in their seed alone. label: the network and its options; arch: name of the accelerator."""

    subject: Subject
    arch: str
    way: _Way
    runs: tuple[Path, ...]


def _made_runs(settings: FrontSettings) -> list[_Group]:
    groups = [
        _Group(subject=subject, arch=arch, way=way, runs=tuple(_paths(settings, subject, files, arch, way)))
        for subject, files in ((one, _files_behind(one, settings.data)) for one in settings.subjects)
        for arch in settings.archs
        for way in _WAYS
    ]
    total = sum(len(group.runs) for group in groups)
    measured: dict[Subject, Measured] = {}
    done = 0
    for group in groups:
        for seed, path in enumerate(group.runs):
            config = _config(settings, group, seed)
            if not _is_finished(path, config):
                if group.subject not in measured:
                    measured[group.subject] = _measured(settings, config, groups)
                _make_run(settings, group, path, config, measured[group.subject], (done, total))
            done += 1
    return groups


def _paths(settings: FrontSettings, subject: Subject, files: str, arch: str, way: _Way) -> Iterator[Path]:
    """Where the runs are. files: _files_behind() the subject and the data."""
    kind = settings.data.partition(":")[0]
    given = f"{subject.model}-{kind}-{settings.evaluations}-{settings.images}-{files[:8]}"
    name = re.sub(r"[^\w.-]+", "_", given)[-120:]
    stem = re.sub(r"[^\w.-]+", "_", arch)
    return (settings.directory / "runs" / name / f"{stem}-{way.short}-seed{n}" for n in range(settings.seeds))


def _config(settings: FrontSettings, group: _Group, seed: int) -> SearchConfig:
    config = SearchConfig(
        model=group.subject.model,
        arch=group.arch,
        data=settings.data,
        checkpoint=group.subject.checkpoint,
        cost_model=group.way.cost_model,
        objectives=("error", group.way.objective),
        evaluations=settings.evaluations,
        population=_POPULATION,
        seeds=_SEEDS_OF_SEARCH,
        seed=seed,
        compare=RIVALS,
        accuracy_method="ptq+bn",  # all runs of a network share its evaluator, and training for each would take hours
    )
    return with_bits(config, load_arch(group.arch))


def _is_finished(path: Path, config: SearchConfig) -> bool:
    """Whether a run of these settings is there whole, so that it needs only be read."""
    if not (path / MANIFEST).exists():
        return False
    manifest = read_manifest(path)
    return manifest.get("status") == "finished" and manifest.get("config") == json.loads(json.dumps(config.to_dict()))


def _measured(settings: FrontSettings, config: SearchConfig, groups: Sequence[_Group]) -> Measured:
    """Load and calibrate a network, measure one accuracy, and say how long all of its runs may take."""
    from quantloom.quant.ptq import PtqConfig

    ptq = PtqConfig(validation_images=settings.images, test_images=settings.test_images)
    measured = prepare_accuracies(
        config, ptq=ptq, threads=settings.threads, store=settings.store, progress=settings.progress
    )
    began = time.monotonic()
    measured.evaluator.accuracy(BitAssignment.uniform(measured.network, 8))
    each_s = time.monotonic() - began
    runs = sum(len(group.runs) for group in groups if group.subject.model == config.model)
    searches = runs * (1 + len(RIVALS))
    settings.note(
        f"{config.model}: {searches} searches of {settings.evaluations} accuracies at {each_s:.2f} s each: at most "
        f"{searches * settings.evaluations * each_s / 60:.0f} min, and as long again for test images; what one search "
        "has measured is not measured again"
    )
    return measured


def _make_run(
    settings: FrontSettings,
    group: _Group,
    path: Path,
    config: SearchConfig,
    measured: Measured,
    position: tuple[int, int],
) -> None:
    """Make a run, or go on with it."""
    done, total = position

    def report(part: int, parts: int, text: str) -> None:
        which = f"{group.arch}, {group.way.name}, seed {config.seed}"
        settings.progress(done, total, f"{which}, {text}" + (f" ({part} of {parts})" if parts else ""))

    arch = load_arch(group.arch)
    network = paper_workloads(measured.network) if group.way.is_dense else measured.network
    bits = {*(config.weight_bits or ()), *(config.activation_bits or ()), config.input_bits, config.output_bits}
    selection = _constraints(group.arch)
    costs = cost_table(
        network,
        arch,
        bits=tuple(sorted(b for b in bits if b is not None)),
        objective=config.mapping_objective,
        model=config.cost_model,
        selection=selection,
        threads=settings.threads,
        store=settings.store,
        progress=lambda part, parts, text: report(part, parts, f"mapping {text}"),
    )
    costs.check_answered()
    inputs = replace(measured, network=network).inputs(config, arch, costs)
    counted = {
        "layers": "depthwise as dense" if group.way.is_dense else "as they are",
        "constraints": selection,
        "accuracies": str(measured.evaluator.config),
    }
    inputs = replace(inputs, hashes={**inputs.hashes, **counted})
    try:
        is_begun = (path / MANIFEST).exists()
        run_search(config, inputs, directory=path, resume=is_begun, store=settings.store, progress=report)
    except SearchError as error:
        if "was searched with another" not in error.message:
            raise
        hint = "choose another directory by -o, or remove that one"
        raise SearchError(error.message, hint=hint) from error


def _constraints(arch: str) -> str:
    """Those that the authors' own runs had on an accelerator; all of them on others."""
    return next((row.constraints for row in published().committed if row.arch == arch), "all")


# ---- the tables ------------------------------------------------------------------------------------------------------


_OF_GROUP: Final = (
    ResultColumn("network", "text", "", "name and options"),
    ResultColumn("arch", "text", "", "the accelerator"),
    ResultColumn("column", "text", "", f"{AS_IN_PAPER} or {AS_IT_IS}"),
    ResultColumn("search", "text", "", f"{PROPOSED}: the proposed one; {UNIFORM}; {', '.join(RIVALS)}: made beside it"),
)
_FRONT_COLUMNS: Final = (
    *_OF_GROUP,
    ResultColumn("seed", "int", "", "of the run"),
    ResultColumn("uniform_bits", "int", "bits", "missing: mixed ones"),
    ResultColumn("energy_uj", "float", "uJ", "of the network, as the column counts"),
    ResultColumn("latency_cycles", "float", "cycles", "of the network"),
    ResultColumn("sum_edp_j_cycles", "float", "J*cycles", "the layers' own EDPs added up"),
    ResultColumn("accuracy_validation", "float", "", "0..1, by which the search decided"),
    ResultColumn("accuracy_test", "float", "", "0..1, which no search saw"),
)


def _intervals(name: str, unit: str, meaning: str) -> tuple[ResultColumn, ...]:
    low = ResultColumn(f"{name}_low", "float", unit, "lower end of its 95 % interval; missing with one seed")
    high = ResultColumn(f"{name}_high", "float", unit, "upper end")
    return ResultColumn(name, "float", unit, meaning), low, high


_SAVINGS_COLUMNS: Final = (
    *_OF_GROUP,
    ResultColumn("seeds", "int", "", "runs that the means are over"),
    ResultColumn("objective", "text", "", "what is searched beside the error, and saved"),
    *_intervals("dominated", "", "share of the box from 0 to the worst uniform bits, on validation"),
    *_intervals("dominated_test", "", "the same on test"),
    *_intervals("saved", "", "share of the objective at uniform 8 bit, at no lower accuracy on validation"),
    *_intervals("energy_saved", "", "share of the energy that the same point saves"),
    *_intervals("test_gain", "", "accuracy of that point on test, minus that of uniform 8 bit"),
)


def _searches(run: Path) -> tuple[dict[str, Any], list[tuple[str, list[dict[str, Any]]]]]:  # Any: plain values of JSON
    """A run's front.json, and its points by search."""
    front = json.loads((run / "front.json").read_text(encoding="utf-8"))
    curves = [(curve["name"], curve["points"]) for curve in front["curves"]]
    return front, [(PROPOSED, front["points"]), (UNIFORM, front["baselines"]), *curves]


def _of_group(group: _Group, search: str) -> tuple[Cell, ...]:
    return (group.subject.model, group.arch, group.way.name, search)


def _fronts(group: _Group, compared: Comparison) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for seed, run in zip(compared.seeds, group.runs, strict=True):
        for search, points in _searches(run)[1]:
            for point in points:
                costs = (point["energy_pj"] * 1e-6, point["latency_cycles"], point["sum_edp_pj_cycles"] * 1e-12)
                accuracies = (point["accuracy_validation"], point["accuracy_test"])
                rows.append((*_of_group(group, search), seed, point.get("uniform_bits"), *costs, *accuracies))
    return rows


def _savings(group: _Group, compared: Comparison) -> list[tuple[Cell, ...]]:
    energies = [_energy_saved(run, compared.against, COST_FIELDS[group.way.objective]) for run in group.runs]
    rows: list[tuple[Cell, ...]] = []
    for search in compared.searches:
        means = (
            compared.volume(search, "validation"),
            compared.volume(search, "test"),
            compared.saved(search, group.way.objective),
            interval_of([saved[search] for saved in energies]),
            compared.gain_test(search, group.way.objective),
        )
        cells = [cell for mean in means for cell in _cells(mean)]
        rows.append((*_of_group(group, search), len(group.runs), group.way.objective, *cells))
    return rows


def _cells(interval: Interval) -> tuple[Cell, Cell, Cell]:
    return interval.mean, interval.low, interval.high


def _energy_saved(run: Path, against: str, field: str) -> Mapping[str, float]:
    """For each search the share of energy that the point saves which Outcome.saved is of."""
    front, searches = _searches(run)
    uniform = next(point for point in front["baselines"] if point["label"] == against)
    found = {}
    for search, points in searches:
        accurate = [p for p in points if p["accuracy_validation"] >= uniform["accuracy_validation"]]
        best = min(accurate, key=lambda p: (p[field], -p["accuracy_validation"]), default=uniform)
        found[search] = 1.0 - best["energy_pj"] / uniform["energy_pj"] if best[field] < uniform[field] else 0.0
    return found
