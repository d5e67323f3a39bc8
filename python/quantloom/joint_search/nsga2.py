"""NSGA-II and NSGA-III over bit-widths, as samplers; survival, ranking and tournament are pymoo's, imported here alone.

Deb, Pratap, Agarwal and Meyarivan, A fast and elitist multiobjective genetic algorithm: NSGA-II, 2002;
Deb and Jain, An evolutionary many-objective optimization algorithm using reference-point-based nondominated sorting
approach, 2014. Genes are choice
indices; crossover exchanges genes uniformly, mutation moves a gene to a neighbouring bit-width or to any other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.nsga3 import NSGA3
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.evaluator import Evaluator
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.problems.static import StaticProblem
from pymoo.util.ref_dirs import get_reference_directions

from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import IntArray, SearchProblem
from quantloom.joint_search.samplers import unseen_candidates

__all__ = [
    *("Nsga2Sampler", "Nsga3Sampler", "PaperSampler", "cross_layers", "cross_uniformly", "mutate"),
    "mutate_one_gene",
]

_HUGE = 1e60  # stands for infinity in pymoo's arithmetic
_MAX_MATINGS = 20  # rounds in search of children never seen, before a smaller brood is taken
_RESET_BITS = 8  # of a layer that comes from no parent, in PaperSampler
_NEIGHBOUR_SHARE = 0.7  # of the mutations; the others draw any other bit-width


class Nsga2Sampler:
    """NSGA-II behind the Sampler protocol.

    start: (N, genes) different candidates of the first generation, seeds and uniforms; filled up at random to the
    population. population: survivors of a generation, and children in one ask. crossover_probability: of a pair of
    parents; the genes exchanged are then each drawn with 1/2. mutation_probability: of each gene of a child. No
    candidate is proposed twice in the life of the sampler; where mating finds no new one, random ones step in.
    """

    def __init__(
        self,
        problem: SearchProblem,
        start: IntArray,
        *,
        population: int,
        crossover_probability: float,
        mutation_probability: float | None,
        random: np.random.Generator,
    ) -> None:
        self._problem = problem
        self._population = population
        self._random = random
        self._seen: set[bytes] = {candidate.tobytes() for candidate in start}
        first = self._first(start)
        self._pymoo_problem = Problem(
            n_var=len(problem.genes),
            n_obj=len(problem.objectives),
            n_ieq_constr=1,
            xl=np.zeros(len(problem.genes), dtype=np.int64),
            xu=problem.choice_counts - 1,
            vtype=int,
        )
        self._algorithm = self._make_algorithm(
            pop_size=population,
            sampling=first,
            crossover=self._crossover(crossover_probability),
            mutation=self._mutation(mutation_probability),
            eliminate_duplicates=_NeverAgain(self._seen),
        )
        self._algorithm.mating.n_max_iterations = _MAX_MATINGS
        self._algorithm.termination = NoTermination()
        self._algorithm.setup(self._pymoo_problem, seed=int(random.integers(2**31)))
        self._pending: Any = None  # pymoo's Population, which is untyped

    def _make_algorithm(self, **options: Any) -> Any:  # pymoo is untyped
        return NSGA2(**options)

    def _first(self, start: IntArray) -> IntArray:
        """Return the first generation."""
        return self._filled_up(start)

    def _crossover(self, probability: float) -> Crossover:
        return _UniformCrossover(probability)

    def _mutation(self, probability: float | None) -> Mutation:
        rate = 1.0 / len(self._problem.genes) if probability is None else probability
        return _StepMutation(self._problem.choice_counts, rate)

    def ask(self) -> IntArray:
        """Return the first generation, then children that were never proposed before; empty once none are left."""
        genes = len(self._problem.genes)
        children = self._algorithm.ask()
        candidates = _genes_of(children, genes)
        self._seen.update(candidate.tobytes() for candidate in candidates)
        if len(candidates) == 0:
            self._algorithm.termination = NoTermination()  # pymoo takes a fruitless mating for the end
            candidates = self._filled_up(candidates)
            children = Population.new(X=candidates)
        self._pending = children
        return candidates

    def tell(self, candidates: IntArray, objectives: FloatArray, violations: FloatArray) -> None:
        """Let the fittest of parents and children survive."""
        finite = np.where(np.isfinite(objectives), objectives, _HUGE)
        bounds = np.where(np.isfinite(violations), violations, _HUGE)[:, np.newaxis]
        Evaluator().eval(StaticProblem(self._pymoo_problem, F=finite, G=bounds), self._pending)
        self._algorithm.tell(infills=self._pending)

    def _filled_up(self, candidates: IntArray) -> IntArray:
        """Add random unseen candidates up to the population, and note them as seen."""
        missing = self._population - len(candidates)
        if missing <= 0:
            return candidates
        extra = unseen_candidates(self._problem, self._seen, missing, self._random)
        self._seen.update(candidate.tobytes() for candidate in extra)
        return np.concatenate([candidates, extra])


class Nsga3Sampler(Nsga2Sampler):
    """NSGA-III: as NSGA-II, but survivors are spread along reference directions, at most as many as the population.

    Made for three objectives and more, where crowding no longer tells points apart.
    """

    def _make_algorithm(self, **options: Any) -> Any:
        objectives = len(self._problem.objectives)
        partitions = 1
        while math.comb(objectives + partitions, partitions + 1) <= self._population:
            partitions += 1
        return NSGA3(get_reference_directions("das-dennis", objectives, n_partitions=partitions), **options)


class PaperSampler(Nsga2Sampler):
    """NSGA-II with the operators of the released code of arXiv 2404.05368; the preset `paper` has its settings.

    The first generation is the start alone. A child has each layer (its weights, and the edge it reads unless an
    earlier layer does) from either parent, or with 1 - crossover_probability at 8 bits; with mutation_probability one
    of its genes is drawn anew. Unlike there no candidate is evaluated twice.
    """

    def _first(self, start: IntArray) -> IntArray:
        return start if len(start) else self._filled_up(start)

    def _crossover(self, probability: float) -> Crossover:
        return _LayerCrossover(_layer_of_genes(self._problem), self._problem.nearest(_RESET_BITS), probability)

    def _mutation(self, probability: float | None) -> Mutation:
        return _OneGeneMutation(self._problem.choice_counts, 0.1 if probability is None else probability)


def _layer_of_genes(problem: SearchProblem) -> IntArray:
    """Return for each gene the first layer whose weights or input it sets; genes of outputs alone follow the layers."""
    first: dict[int, int] = {}
    for i, (weights, inputs, _) in enumerate(problem.layer_variables):
        first.setdefault(weights, i)
        first.setdefault(inputs, i)
    unread = len(problem.network.layers)
    layers = [min(first.get(v, unread + g) for v in gene.variables) for g, gene in enumerate(problem.genes)]
    numbered: IntArray = np.unique(layers, return_inverse=True)[1].astype(np.int64)
    return numbered


def cross_layers(
    parents: IntArray, layer_of_gene: IntArray, reset: IntArray, kept: float, random: np.random.Generator
) -> IntArray:
    """Take each layer's genes from either parent, or with 1 - kept from `reset`. (2, pairs, genes) in and out."""
    shape = (*parents.shape[:2], int(layer_of_gene.max()) + 1)
    swap = (random.random(shape[1:]) < 0.5)[:, layer_of_gene]
    is_reset = (random.random(shape) >= kept)[:, :, layer_of_gene]
    children: IntArray = np.where(is_reset, reset, np.where(swap, parents[::-1], parents))
    return children


def mutate_one_gene(
    candidates: IntArray, choice_counts: IntArray, probability: float, random: np.random.Generator
) -> IntArray:
    """Draw one gene of a candidate anew, among all its choices, with this probability for each candidate."""
    rows = np.flatnonzero(random.random(len(candidates)) < probability)
    genes = random.integers(len(choice_counts), size=len(rows))
    mutated: IntArray = candidates.copy()
    mutated[rows, genes] = random.integers(choice_counts[genes])
    return mutated


def cross_uniformly(parents: IntArray, random: np.random.Generator) -> IntArray:
    """Exchange each gene of two parents with probability 1/2. parents: (2, pairs, genes), returns the same shape."""
    swap = random.random(parents.shape[1:]) < 0.5
    return np.where(swap, parents[::-1], parents)


def mutate(candidates: IntArray, choice_counts: IntArray, rate: float, random: np.random.Generator) -> IntArray:
    """Change each gene with probability `rate`, mostly to a neighbouring choice, else to any other.

    candidates: (N, genes) choice indices; choice_counts: (genes,). A step over an end goes the other way. A gene with
    one choice stays.
    """
    hit = random.random(candidates.shape) < rate
    step = np.where(random.random(candidates.shape) < 0.5, 1, -1)
    near = candidates + step
    near = np.where((near < 0) | (near >= choice_counts), candidates - step, near)
    shift = random.integers(1, np.maximum(choice_counts, 2), size=candidates.shape)
    anywhere = (candidates + shift) % choice_counts
    moved = np.where(random.random(candidates.shape) < _NEIGHBOUR_SHARE, near, anywhere)
    return np.where(hit & (choice_counts > 1), moved, candidates)


def _genes_of(population: Any, genes: int) -> IntArray:
    """Genes (N, genes) of a pymoo Population, which is untyped and None when it has nothing to propose."""
    if population is None:
        return np.empty((0, genes), dtype=np.int64)
    values: IntArray = np.asarray(population.get("X"), dtype=np.int64).reshape(-1, genes)
    return np.ascontiguousarray(values)


class _UniformCrossover(Crossover):  # type: ignore[misc]  # pymoo is untyped
    def __init__(self, probability: float) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=probability)

    def _do(self, problem: Any, X: IntArray, *args: Any, random_state: Any = None, **kwargs: Any) -> IntArray:
        return cross_uniformly(X, random_state)


class _StepMutation(Mutation):  # type: ignore[misc]  # pymoo is untyped
    def __init__(self, choice_counts: IntArray, rate: float) -> None:
        super().__init__(prob=1.0)
        self._choice_counts = choice_counts
        self._rate = rate

    def _do(self, problem: Any, X: IntArray, *args: Any, random_state: Any = None, **kwargs: Any) -> IntArray:
        return mutate(X, self._choice_counts, self._rate, random_state)


class _LayerCrossover(Crossover):  # type: ignore[misc]  # pymoo is untyped
    def __init__(self, layer_of_gene: IntArray, reset: IntArray, kept: float) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=1.0)
        self._layer_of_gene = layer_of_gene
        self._reset = reset
        self._kept = kept

    def _do(self, problem: Any, X: IntArray, *args: Any, random_state: Any = None, **kwargs: Any) -> IntArray:
        return cross_layers(X, self._layer_of_gene, self._reset, self._kept, random_state)


class _OneGeneMutation(Mutation):  # type: ignore[misc]  # pymoo is untyped
    def __init__(self, choice_counts: IntArray, probability: float) -> None:
        super().__init__(prob=1.0)
        self._choice_counts = choice_counts
        self._probability = probability

    def _do(self, problem: Any, X: IntArray, *args: Any, random_state: Any = None, **kwargs: Any) -> IntArray:
        return mutate_one_gene(X, self._choice_counts, self._probability, random_state)


class _NeverAgain(DuplicateElimination):  # type: ignore[misc]  # pymoo is untyped
    """Drops children that were proposed before or that are in this brood already; the sampler adds to `seen`."""

    def __init__(self, seen: set[bytes]) -> None:
        super().__init__()
        self._seen = seen

    def do(self, pop: Any, *args: Any, **kwargs: Any) -> Any:
        if not args:  # the first generation, which is different candidates already
            return pop
        brood = {np.asarray(x, dtype=np.int64).tobytes() for other in args[1:] for x in other.get("X")}
        keep: npt.NDArray[np.bool_] = np.zeros(len(pop), dtype=np.bool_)
        for i, x in enumerate(pop.get("X")):
            key = np.asarray(x, dtype=np.int64).tobytes()
            keep[i] = key not in self._seen and key not in brood
            brood.add(key)
        return pop[keep]
