"""The seam between the search loop and what proposes candidates: ask for new ones, tell what they are worth."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import IntArray, SearchProblem

__all__ = ["RandomSampler", "Sampler", "unseen_candidates"]

_ENUMERABLE = 1 << 16
_MAX_DRAWS = 100


class Sampler(Protocol):
    """Proposes candidates.

    The same problem, seed and answers must lead to the same proposals, bit by bit: resuming relies on it.
    """

    def ask(self) -> IntArray:
        """Return new candidates (N, genes), none of them asked before; N = 0 when there is nothing left to propose."""

    def tell(self, candidates: IntArray, objectives: FloatArray, violations: FloatArray) -> None:
        """Take in the worth of all candidates of the last ask, in its order.

        objectives: (N, objectives), to minimise. violations: (N,), 0 where the candidate keeps all bounds; objectives
        of others mean nothing.
        """


class RandomSampler:
    """Every gene drawn uniformly among its bits: the baseline that a search must beat.

    start: (N, genes) candidates proposed first. batch: candidates in each later proposal.
    """

    def __init__(self, problem: SearchProblem, start: IntArray, *, batch: int, random: np.random.Generator) -> None:
        self._problem = problem
        self._start = start
        self._batch = batch
        self._random = random
        self._seen: set[bytes] = set()

    def ask(self) -> IntArray:
        """Return the start first, then random candidates that were not proposed before."""
        if len(self._start):
            candidates, self._start = self._start, self._start[:0]
        else:
            candidates = unseen_candidates(self._problem, self._seen, self._batch, self._random)
        self._seen.update(candidate.tobytes() for candidate in candidates)
        return candidates

    def tell(self, candidates: IntArray, objectives: FloatArray, violations: FloatArray) -> None:
        """Learn nothing."""


def unseen_candidates(problem: SearchProblem, seen: set[bytes], count: int, random: np.random.Generator) -> IntArray:
    """Return `count` different random candidates (N, genes) not in `seen`, by their bytes; fewer if few are left.

    A space of at most 65,536 candidates is listed and drawn from exactly; in a larger one a draw hardly ever repeats.
    """
    genes = len(problem.genes)
    if problem.size <= _ENUMERABLE:
        every = np.stack(np.unravel_index(np.arange(problem.size), problem.choice_counts), axis=1).astype(np.int64)
        left = np.array([i for i, candidate in enumerate(every) if candidate.tobytes() not in seen], dtype=np.int64)
        chosen: IntArray = every[random.permutation(left)[:count]]
        return chosen
    found: dict[bytes, IntArray] = {}
    for _ in range(_MAX_DRAWS):
        for candidate in random.integers(problem.choice_counts, size=(count, genes)):
            if candidate.tobytes() not in seen:
                found.setdefault(candidate.tobytes(), candidate)
        if len(found) >= count:
            break
    return np.array(list(found.values())[:count], dtype=np.int64).reshape(-1, genes)
