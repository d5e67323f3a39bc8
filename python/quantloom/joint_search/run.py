"""One search from inputs to a written front: seeds, generations, a journal of all measurements, the report."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from quantloom.errors import InfeasibleError, SearchError
from quantloom.joint_search.accuracies import Accuracies, AccuracyStore
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.executors import Deferred, EvaluatorMaker, Executor, InProcess, Ready
from quantloom.joint_search.front import Curve, Front, FrontPoint, LayerChoice, TensorBits, labels
from quantloom.joint_search.journal import SCHEMA_VERSION, RunDirectory
from quantloom.joint_search.live_report import LiveReport
from quantloom.joint_search.operator_energy import OperatorEnergy
from quantloom.joint_search.optuna_sampler import OPTUNA_ALGORITHMS, OptunaSampler
from quantloom.joint_search.pareto import FloatArray, hypervolume, non_dominated
from quantloom.joint_search.problem import (
    AccuracyEvaluator,
    HardwareCosts,
    IntArray,
    SearchProblem,
    SensitivityTable,
    problem_from_config,
)
from quantloom.joint_search.promotion import TRAINING_FOLDER, TrainedRung, promote
from quantloom.joint_search.rivals import Rival, make_rival
from quantloom.joint_search.samplers import RandomSampler, Sampler
from quantloom.joint_search.seeds import Seed, exact_seeds
from quantloom.joint_search.switchable import SwitchableRung
from quantloom.mapper.breakdown import breakdown_json, mapping_json
from quantloom.mapper.energy_sources import energy_sources_json
from quantloom.mapper.optimize import evaluate
from quantloom.store.database import Store
from quantloom.workload.network import Network

if TYPE_CHECKING:
    from quantloom import _core

__all__ = ["Progress", "SearchInputs", "run_search"]

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, text)."""

_MAX_BARREN_GENERATIONS: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchInputs:
    """What a search works with. sensitivity: None to start without seeds.

    data: what the accuracies are measured on, for the reader.
    hashes: SHA-256 of what the results depend on, by name (architecture file, network, checkpoint, data); a run is only
    resumed with equal ones.
    make_evaluator: makes an equal evaluator in another process; None to send this one there as it is.
    accuracy_depends_on: hashes and settings of everything but the bits that accuracies depend on; None: not known, so
    that they are not kept in a store. trained: how promoted candidates are measured; None if they cannot be trained.
    switchable: measures all but these with weights that it trains first; None to ask the evaluator.
    """

    network: Network
    arch: _core.Arch
    costs: HardwareCosts
    evaluator: AccuracyEvaluator
    sensitivity: SensitivityTable | None = None
    data: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    make_evaluator: EvaluatorMaker | None = None
    accuracy_depends_on: Mapping[str, str] | None = None
    trained: TrainedRung | None = None
    switchable: SwitchableRung | None = None

    @property
    def accuracy_method(self) -> str:
        """The name of what measures accuracies."""
        return self.evaluator.name if self.switchable is None else self.switchable.name


def run_search(
    config: SearchConfig,
    inputs: SearchInputs,
    *,
    directory: Path | None = None,
    resume: bool = False,
    command: Sequence[str] = (),
    workers: int = 1,
    cluster: str | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Front:
    """Search, measure the front and the uniform baselines on the test split, and write everything to the directory.

    directory: where the run is kept; None to keep nothing. resume: go on with the run in it; the result is the same
    as if it had never stopped. command: the command line, for the manifest. workers: processes that measure
    accuracies, 1: this one alone; cluster: address of a Dask scheduler whose workers measure them instead. store: where
    accuracies are looked up and kept. Equal configuration and inputs give an equal front, bit by bit, wherever it is
    measured.
    Raises SearchError if the configuration does not fit the inputs or the directory cannot be used, InfeasibleError
    if nothing keeps the bounds; both before anything is measured, as far as that can be known.
    """
    operators = None
    if config.charge_operators:
        operators = OperatorEnergy(inputs.network, inputs.arch, inputs.costs.bits)
    problem = problem_from_config(inputs.network, inputs.costs, config, operators=operators)
    uniform = np.array([problem.uniform(b) for b in problem.uniform_bits], dtype=np.int64).reshape(
        -1, len(problem.genes)
    )
    uniform = uniform[np.isfinite(problem.hardware(uniform).energy_pj)]
    if config.evaluations < len(uniform):
        message = f"{config.evaluations} evaluations do not suffice for the {len(uniform)} uniform baselines"
        raise SearchError(message, hint=f"allow at least {len(uniform)} evaluations, better some hundreds")
    if config.promote and inputs.trained is None:
        message = "promote: these candidates cannot be trained"
        raise SearchError(message, hint="leave `promote` out, or give inputs with `trained`")
    seeds = _seeds(problem, config, inputs)
    rivals = [make_rival(name, config, problem, inputs.arch) for name in config.compare]
    seeds_of_rivals = [_seeds(rival.problem, rival.config, inputs) for rival in rivals]
    sampler = _make_sampler(problem, config, _start(problem, seeds, uniform))
    with ExitStack() as stack:
        run = None
        if directory is not None:
            open_directory = RunDirectory.resume if resume else RunDirectory.create
            run = stack.enter_context(open_directory(directory, _manifest(config, inputs, problem), _session(command)))
        began = time.monotonic()
        live = None if run is None else LiveReport(run.path, progress or _no_progress)
        report = live or progress or _no_progress

        def make_executor() -> Executor:
            if inputs.switchable is None:
                make_evaluator = inputs.make_evaluator or Ready(inputs.evaluator)
                return _make_executor(lambda: inputs.evaluator, make_evaluator, workers, cluster)
            rung = inputs.switchable
            weights = rung.train(problem, _training_folder(stack, run), report)
            return _make_executor(lambda: rung.here(weights), rung.elsewhere(weights), workers, cluster)

        executor = Deferred(make_executor)
        stack.callback(executor.close)
        depends_on = inputs.accuracy_depends_on
        if inputs.switchable is not None:
            depends_on = inputs.switchable.depends_on_all(problem)
        known = None if store is None or depends_on is None else AccuracyStore(store, depends_on)
        measure = Accuracies(problem, executor, run, name=inputs.accuracy_method, store=known)
        trace = _search(problem, config, sampler, uniform, measure, report)
        front = _final_front(problem, inputs, measure, uniform, trace, report)
        curves = [
            _curve(rival, its_seeds, measure, problem, uniform, report)
            for rival, its_seeds in zip(rivals, seeds_of_rivals, strict=True)
        ]
        if inputs.trained is not None and config.promote:
            executor.close()  # its processes make room
            chosen = measure.candidates()[_non_dominated(problem, measure)]
            rung, folder = inputs.trained, _training_folder(stack, run)
            here, elsewhere = partial(rung.here, folder), partial(rung.elsewhere or rung.here, folder)
            trainer = _make_executor(here, elsewhere, workers, cluster)
            stack.callback(trainer.close)
            known = None if store is None or rung.depends_on is None else AccuracyStore(store, rung.depends_on)
            trained = Accuracies(problem, trainer, run, name=rung.name, store=known, epochs=config.promote_epochs)
            front = promote(front, problem, trained, chosen, uniform, config=config, progress=report)
        front = replace(front, seeds=tuple(seeds), curves=tuple(curves))
        if run is not None and live is not None:
            _write(run, front, problem, inputs.arch, config.cost_model)
            run.finish(wall_s=time.monotonic() - began)
            live.finish()
            shutil.rmtree(run.path / TRAINING_FOLDER, ignore_errors=True)
    return front


def _training_folder(stack: ExitStack, run: RunDirectory | None) -> Path:
    """Where trainings stand: in the run directory, so that they go on when it is resumed."""
    if run is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory()))
    folder = run.path / TRAINING_FOLDER
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        message = f"cannot write {folder}: {error.strerror or error}"
        raise SearchError(message, hint="choose a directory that can be written") from error
    return folder


def _make_executor(
    here: Callable[[], AccuracyEvaluator], make_evaluator: EvaluatorMaker, workers: int, cluster: str | None
) -> Executor:
    """here: gives the evaluator of this process; make_evaluator: makes an equal one in another."""
    if cluster is not None:
        from quantloom.joint_search.cluster import DaskCluster

        return DaskCluster(make_evaluator, cluster)
    if workers > 1:
        from quantloom.joint_search.workers import LocalWorkers

        return LocalWorkers(make_evaluator, workers)
    return InProcess(here())


def _seeds(problem: SearchProblem, config: SearchConfig, inputs: SearchInputs) -> list[Seed]:
    """The proven optima to begin with; none without sensitivities."""
    return [] if inputs.sensitivity is None else exact_seeds(problem, inputs.sensitivity, config.seeds)


def _start(problem: SearchProblem, seeds: Sequence[Seed], uniform: IntArray) -> IntArray:
    """Return the different candidates to begin with: the uniform ones, then the seeds."""
    every = [*uniform, *(seed.optimum.candidate for seed in seeds)]
    unique = {candidate.tobytes(): candidate for candidate in every}
    return np.array(list(unique.values()), dtype=np.int64).reshape(-1, len(problem.genes))


def _make_sampler(problem: SearchProblem, config: SearchConfig, start: IntArray) -> Sampler:
    random = np.random.default_rng(config.seed)
    if config.sampler == "random":
        return RandomSampler(problem, start, batch=config.population, random=random)
    for algorithm in OPTUNA_ALGORITHMS:
        if config.sampler == f"optuna:{algorithm}":
            return OptunaSampler(problem, start, batch=config.population, algorithm=algorithm, random=random)
    from quantloom.joint_search.nsga2 import Nsga2Sampler, Nsga3Sampler, PaperSampler

    makers = {"nsga2": Nsga2Sampler, "nsga3": Nsga3Sampler, "nsga2_paper": PaperSampler}
    return makers[config.sampler](
        problem,
        start,
        population=config.population,
        crossover_probability=config.crossover_probability,
        mutation_probability=config.mutation_probability,
        random=random,
    )


def _search(
    problem: SearchProblem,
    config: SearchConfig,
    sampler: Sampler,
    uniform: IntArray,
    measure: Accuracies,
    progress: Progress,
    *,
    charged: SearchProblem | None = None,
    reference: FloatArray | None = None,
) -> tuple[float, ...]:
    """Run the generations; return the dominated share of the box under the worst uniform baseline after each.

    charged, reference: by what candidates are judged, and the corner of the box, where these are not of `problem`.
    """
    total = config.evaluations
    progress(0, total, "not quantized, uniform bits")
    measure.unquantized("validation")
    measure.validations(uniform, _reporter(progress, total, "uniform bits"))
    if reference is None and len(uniform):
        reference = _objectives_of(problem, measure, uniform).max(axis=0)
    trace: list[float] = []
    generation = barren = 0
    while len(measure.evaluated) < total and barren < _MAX_BARREN_GENERATIONS:
        if config.generations is not None and generation >= config.generations:
            break
        candidates = sampler.ask()
        if len(candidates) == 0:
            break
        generation += 1
        hardware = problem.hardware(candidates)
        accuracy: FloatArray = np.zeros(len(candidates))
        before = len(measure.evaluated)
        chosen = _affordable(candidates, problem.violations(hardware) == 0, measure, total)
        accuracy[chosen] = measure.validations(candidates[chosen], _reporter(progress, total, _text(generation, trace)))
        barren = 0 if len(measure.evaluated) > before else barren + 1
        error = 1.0 - accuracy
        sampler.tell(candidates, problem.objective_values(hardware, error), problem.violations(hardware, error))
        if reference is not None:
            trace.append(_dominated_share(charged or problem, measure, reference))
    return tuple(trace)


def _reporter(progress: Progress, total: int, text: str) -> Callable[[int], None]:
    return lambda done: progress(done, total, text)


def _text(generation: int, trace: Sequence[float]) -> str:
    return f"generation {generation}" + (f", hypervolume {trace[-1]:.4f}" if trace else "")


def _affordable(
    candidates: IntArray, feasible: npt.NDArray[np.bool_], measure: Accuracies, total: int
) -> npt.NDArray[np.int64]:
    """Return the positions of the feasible candidates, up to the first that would exceed `total` evaluations."""
    positions: list[int] = []
    new: set[bytes] = set()
    for i in np.flatnonzero(feasible):
        key = candidates[i].tobytes()
        if key not in measure.evaluated:
            new.add(key)
        if len(measure.evaluated) + len(new) > total:
            break
        positions.append(int(i))
    return np.array(positions, dtype=np.int64)


def _objectives_of(problem: SearchProblem, measure: Accuracies, candidates: IntArray) -> FloatArray:
    error = 1.0 - np.array([measure.validation(candidate) for candidate in candidates])
    return problem.objective_values(problem.hardware(candidates), error)


def _dominated_share(problem: SearchProblem, measure: Accuracies, reference: FloatArray) -> float:
    """Volume dominated by all feasible candidates, as a share of the box between 0 and the reference."""
    candidates, kept = _feasible(problem, measure)
    scale = np.where(reference > 0, reference, 1.0)
    points = _objectives_of(problem, measure, candidates[kept]) / scale
    return hypervolume(points, reference / scale)


def _feasible(problem: SearchProblem, measure: Accuracies) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Return everything evaluated and which of it keeps all bounds."""
    candidates = measure.candidates()
    error = 1.0 - np.array(list(measure.evaluated.values()))
    return candidates, problem.violations(problem.hardware(candidates), error) == 0


def _final_front(
    problem: SearchProblem,
    inputs: SearchInputs,
    measure: Accuracies,
    uniform: IntArray,
    trace: tuple[float, ...],
    progress: Progress,
) -> Front:
    """Pick the non-dominated candidates by validation, then measure them and the baselines on the test split."""
    evaluated, kept = _feasible(problem, measure)
    if not kept.any():
        bounds = ", ".join(f"{name} <= {bound:g}" for name, bound in problem.bounds.items())
        message = f"none of the {len(evaluated)} evaluated assignments keeps the bounds ({bounds})"
        raise InfeasibleError(message, hint="loosen the bounds, allow fewer bits, or allow more evaluations")
    hardware = problem.hardware(evaluated)
    order = _non_dominated(problem, measure)
    total = len(order) + len(uniform)
    names = [*labels(len(order)), *(f"uniform-{problem.uniform_bits_of(candidate)}" for candidate in uniform)]
    progress(0, total, "test split")
    measure.tests([*evaluated[order], *uniform], _reporter(progress, total, "test split"))
    points = []
    for i, candidate in enumerate([*evaluated[order], *uniform]):
        bits = problem.uniform_bits_of(candidate) if i >= len(order) else None
        points.append(_point(problem, measure, candidate, names[i], bits))
    accuracy = np.array(list(measure.evaluated.values()))
    return Front(
        network=problem.network.name,
        arch=inputs.arch.name,
        data=inputs.data,
        accuracy_method=inputs.accuracy_method,
        float_accuracy_validation=measure.unquantized("validation"),
        float_accuracy_test=measure.unquantized("test"),
        objectives=problem.objectives,
        points=tuple(points[: len(order)]),
        baselines=tuple(points[len(order) :]),
        candidates=np.column_stack([accuracy, *(hardware[name] for name in problem.hardware_objectives)]),
        hypervolume=trace,
    )


def _non_dominated(problem: SearchProblem, measure: Accuracies) -> npt.NDArray[np.int64]:
    """Return which of everything evaluated is on the front, cheapest first; of equal ones the first."""
    evaluated, kept = _feasible(problem, measure)
    objectives = _objectives_of(problem, measure, evaluated)
    order: npt.NDArray[np.int64] = np.flatnonzero(kept)
    order = order[non_dominated(objectives[order])]
    _, first = np.unique(objectives[order], axis=0, return_index=True)
    order = order[np.sort(first)]
    cheap = problem.hardware(evaluated)[problem.hardware_objectives[0]]
    return order[np.lexsort((objectives[order, 0], cheap[order]))]


def _curve(
    rival: Rival,
    seeds: Sequence[Seed],
    measure: Accuracies,
    problem: SearchProblem,
    uniform: IntArray,
    progress: Progress,
) -> Curve:
    """Make the search of a rival, and measure its front, as it is charged, on the test split."""
    own = measure.afresh()

    def report(done: int, total: int, text: str) -> None:
        progress(done, total, f"{rival.name}: {text}")

    sampler = _make_sampler(rival.problem, rival.config, _start(rival.problem, seeds, uniform))
    corner = _objectives_of(problem, measure, uniform).max(axis=0) if len(uniform) else None
    trace = _search(rival.problem, rival.config, sampler, uniform, own, report, charged=rival.charged, reference=corner)
    chosen = own.candidates()[_non_dominated(rival.charged, own)]
    own.tests(list(chosen), _reporter(report, len(chosen), "test split"))
    share = None if corner is None else _dominated_share(rival.charged, own, corner)
    evaluations = len(own.evaluated)
    points = [
        _point(rival.charged, own, candidate, label, None)
        for candidate, label in zip(chosen, labels(len(chosen), rival.name), strict=True)
    ]
    return Curve(name=rival.name, evaluations=evaluations, points=tuple(points), hypervolume=share, trace=trace)


def _point(
    problem: SearchProblem, measure: Accuracies, candidate: IntArray, label: str, uniform_bits: int | None
) -> FrontPoint:
    network, costs = problem.network, problem.costs
    assignment = problem.assignment(candidate)
    hardware = problem.hardware(candidate[np.newaxis])
    column = {b: i for i, b in enumerate(costs.bits)}
    layers = []
    for i, layer in enumerate(network.layers):
        bits = assignment.layer_bits(network, i)
        entry = (i, column[bits.weights], column[bits.inputs], column[bits.outputs])
        layers.append(
            LayerChoice(
                name=layer.name,
                bits=bits,
                energy_pj=float(costs.energy_pj[entry]),
                latency_cycles=float(costs.cycles[entry]),
            )
        )
    weight_memory_bits = float(hardware.weight_bits[0])
    return FrontPoint(
        label=label,
        uniform_bits=uniform_bits,
        layers=tuple(layers),
        edges=tuple(
            TensorBits(name=edge.name, bits=assignment.groups[edge.group], elements=edge.elements)
            for edge in network.edges
        ),
        accuracy_validation=measure.validation(candidate),
        accuracy_test=measure.test(candidate),
        energy_pj=float(hardware.energy_pj[0]),
        latency_cycles=float(hardware.cycles[0]),
        edp_pj_cycles=float(hardware.edp[0]),
        sum_edp_pj_cycles=float(hardware.sum_edp[0]),
        weight_memory_bits=weight_memory_bits,
        peak_activation_memory_bits=int(hardware.peak_activation_bits[0]),
        bops=int(hardware.bops[0]),
        average_weight_bits=weight_memory_bits / network.weights,
        operators_energy_pj=problem.operators_energy_pj(candidate),
    )


def _write(run: RunDirectory, front: Front, problem: SearchProblem, arch: _core.Arch, cost_model: str) -> None:
    run.write_json("mappings.json", _mappings(front, problem, arch, cost_model), indent=None)
    run.write_json("front.json", front.to_json())
    run.write_text("front.csv", front.to_csv())
    run.write("front.png", front.plot)


def _mappings(front: Front, problem: SearchProblem, arch: _core.Arch, cost_model: str) -> dict[str, object]:
    """Return the mappings behind the points by "layer bits": as text, as spec/mapping.py reads them, and their cost."""
    workloads = {layer.name: layer.workload for layer in problem.network.layers}
    wanted = {f"{c.name} {c.bits}": c for point in (*front.points, *front.baselines) for c in point.layers}
    mappings: dict[str, object] = {}
    for key, choice in wanted.items():
        mapping, workload = problem.costs.mapping(choice.name, choice.bits), workloads[choice.name]
        cost = evaluate(arch, workload, mapping, bits=choice.bits, model=cost_model)
        mappings[key] = {
            "text": mapping.to_text(arch, workload),
            "arch": arch.name,
            "mapping": mapping_json(mapping, arch),
            "cost": breakdown_json(cost, mapping, arch, workload),
        }
    return {"schema_version": SCHEMA_VERSION, "arch": arch.name, "mappings": mappings}


def _manifest(config: SearchConfig, inputs: SearchInputs, problem: SearchProblem) -> dict[str, object]:
    return {
        "kind": "quantloom search",
        "network": inputs.network.name,
        "data": inputs.data,
        "accuracy_method": inputs.accuracy_method,
        "layers": [layer.name for layer in inputs.network.layers],
        "groups": [[inputs.network.edges[e].name for e in group] for group in inputs.network.edge_groups],
        "inputs": dict(inputs.hashes),
        "config": config.to_dict(),
        "energy_sources": energy_sources_json(inputs.arch),
        **({"uniform": _uniform_json(problem)} if config.rules else {}),
    }


def _uniform_json(problem: SearchProblem) -> dict[str, object]:
    """The uniform baselines under rules, by which the report of an unfinished run knows them."""
    found = {bits: problem.assignment(problem.uniform(bits)) for bits in problem.uniform_bits}
    return {str(bits): {"weights": list(a.weights), "groups": list(a.groups)} for bits, a in found.items()}


def _session(command: Sequence[str]) -> dict[str, object]:
    return {
        "started_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": list(command),
        "versions": {"python": platform.python_version(), **_package_versions()},
        "platform": platform.platform(),
    }


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in ("quantloom", "numpy", "torch", "pymoo"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _no_progress(done: int, total: int, text: str) -> None:
    """Say nothing."""
