"""Heuristic searches of a layer's mapspace, beside the proven optimum that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantloom import _core
from quantloom.mapper.optimize import Bits, Optimum, Progress, optimize, tensor_bits

__all__ = ["HEURISTICS", "Comparison", "Run", "compare", "search_heuristically"]

HEURISTICS: tuple[str, ...] = _core.HEURISTICS


def search_heuristically(
    arch: _core.Arch,
    workload: _core.Workload,
    *,
    bits: Bits = None,
    heuristic: str = "random-pruned",
    seed: int = 1,
    streams: int = 1,
    objective: str = "edp",
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
    selection: str = "all",
    threads: int = 0,
    budget: int = 10_000,
    victory: int = 0,
    timeout: int | None = None,
    search_size: int = 0,
) -> _core.HeuristicResult:
    """The best mapping that a heuristic meets; never a claim that there is no better one.

    heuristic: "random" draws points of the whole space, "random-pruned" is the reference tool's search of that name,
    "annealing" simulated annealing. seed and streams (searches side by side, as the reference's threads) fix the
    result, threads do not. budget: mappings to look at, shared out among the streams; 0 for no limit. Of each stream,
    victory: fitting mappings in a row without improvement that end it; timeout: failing ones in a row (0: the first
    one, None: never); search_size: fitting mappings of all streams. The other arguments are those of `optimize`.
    Raises SpecError for unknown words, for options that may never end, and for the objective "pareto".
    """
    return _core.search_heuristically(
        arch,
        workload,
        tensor_bits(workload, bits),
        heuristic=heuristic,
        seed=seed,
        streams=streams,
        objective=objective,
        model=model,
        packing=packing,
        psum_bits=psum_bits,
        selection=selection,
        threads=threads,
        budget=budget,
        victory=victory,
        timeout=timeout,
        search_size=search_size,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one heuristic."""

    heuristic: str
    seed: int
    result: _core.HeuristicResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Runs of heuristics with equal budgets, and the optimum of the same space. least: the optimum's objective."""

    optimum: Optimum
    least: float
    budget: int
    runs: tuple[Run, ...]

    def of(self, heuristic: str) -> tuple[Run, ...]:
        """The runs of one heuristic, by seed."""
        return tuple(run for run in self.runs if run.heuristic == heuristic)

    def ratio(self, run: Run) -> float:
        """What the run found over the optimum: at least 1, infinite if it found nothing."""
        return run.result.objective / self.least


def compare(
    arch: _core.Arch,
    workload: _core.Workload,
    *,
    bits: Bits = None,
    heuristics: Sequence[str] = HEURISTICS,
    seeds: Sequence[int] = (1, 2, 3, 4, 5),
    budget: int = 10_000,
    objective: str = "edp",
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
    selection: str = "all",
    threads: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Run every heuristic with every seed for `budget` mappings, one stream each, and find the optimum of the space.

    Raises InfeasibleError if nothing fits, SpecError for the objective "pareto".
    """
    total = 1 + len(heuristics) * len(seeds)

    def report(done: int, text: str) -> None:
        if progress is not None:
            progress(done, total, text)

    runs: list[Run] = []
    for heuristic in heuristics:
        for seed in seeds:
            report(len(runs), f"{heuristic}, seed {seed}")
            found = search_heuristically(
                arch,
                workload,
                bits=bits,
                heuristic=heuristic,
                seed=seed,
                objective=objective,
                model=model,
                packing=packing,
                psum_bits=psum_bits,
                selection=selection,
                threads=threads,
                budget=budget,
            )
            runs.append(Run(heuristic=heuristic, seed=seed, result=found))
    report(len(runs), "the optimum")
    optimum = optimize(
        arch,
        workload,
        bits=bits,
        objective=objective,
        model=model,
        packing=packing,
        psum_bits=psum_bits,
        selection=selection,
        threads=threads,
    )
    report(total, "done")
    return Comparison(optimum=optimum, least=optimum.certificate.lower_bound, budget=budget, runs=tuple(runs))
