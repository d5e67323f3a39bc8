"""Optuna's samplers behind the Sampler protocol; Optuna (extra `optuna`) is loaded only here.

A gene is an integer parameter of Optuna's, the index of its choice, as bits are ordered. Everything is told back to one
study in memory, so that equal seeds and answers give equal proposals.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import numpy as np

from quantloom.errors import SearchError
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import IntArray, SearchProblem
from quantloom.joint_search.samplers import unseen_candidates

__all__ = ["OPTUNA_ALGORITHMS", "OptunaAlgorithm", "OptunaSampler"]

OptunaAlgorithm = Literal["tpe", "nsgaii"]
OPTUNA_ALGORITHMS: Final[tuple[OptunaAlgorithm, ...]] = get_args(OptunaAlgorithm)

_HUGE: Final = 1e60  # stands for infinity in Optuna's arithmetic
_MAX_REPEATS: Final = 20  # proposals seen before, for each new one of a batch, before random ones step in


class OptunaSampler:
    """A multi-objective sampler of Optuna's.

    start: (N, genes) different candidates proposed first. batch: candidates in each later proposal. algorithm: tpe is
    the tree-structured Parzen estimator, nsgaii Optuna's own NSGA-II. Optuna proposes what it has proposed before; it
    is then told at once what that is worth, and asked again, so that nothing is evaluated twice.
    Raises SearchError if Optuna is not installed.
    """

    def __init__(
        self,
        problem: SearchProblem,
        start: IntArray,
        *,
        batch: int,
        algorithm: OptunaAlgorithm,
        random: np.random.Generator,
    ) -> None:
        try:
            import optuna
        except ImportError as error:
            message = f"the sampler optuna:{algorithm} needs Optuna, which is not installed"
            raise SearchError(message, hint='pip install "quantloom[optuna]"') from error
        self._optuna: Any = optuna  # Any: its typing is not strict
        self._problem = problem
        self._start = start
        self._batch = batch
        self._random = random
        seed = int(random.integers(2**31))
        samplers = optuna.samplers
        logging = optuna.logging
        before = logging.get_verbosity()
        logging.set_verbosity(logging.WARNING)  # else the study says that it is made
        self._study = optuna.create_study(
            directions=["minimize"] * len(problem.objectives),
            sampler=samplers.TPESampler(seed=seed)
            if algorithm == "tpe"
            else samplers.NSGAIISampler(seed=seed, population_size=max(2, batch)),
        )
        logging.set_verbosity(before)
        self._distributions: dict[str, Any] = {
            f"gene{g}": optuna.distributions.IntDistribution(0, len(gene.bits) - 1)
            for g, gene in enumerate(problem.genes)
        }
        self._worth: dict[bytes, tuple[list[float], float] | None] = {}
        """What was proposed, by its bytes, with objectives and violation once they are told."""
        self._trials: list[Any] = []
        """Of the last ask, in order; None for candidates that did not come from Optuna."""

    def ask(self) -> IntArray:
        """Return the start first, then what Optuna proposes that was not proposed before; random ones fill up."""
        genes = len(self._problem.genes)
        if len(self._start):
            candidates, self._start = self._start, self._start[:0]
            self._trials = [None] * len(candidates)
        else:
            candidates = self._from_optuna()
            missing = self._batch - len(candidates)
            if missing:
                seen = {*self._worth, *(candidate.tobytes() for candidate in candidates)}
                extra = unseen_candidates(self._problem, seen, missing, self._random)
                self._trials += [None] * len(extra)
                candidates = np.concatenate([candidates, extra.reshape(-1, genes)])
        self._worth.update((candidate.tobytes(), None) for candidate in candidates)
        return candidates

    def tell(self, candidates: IntArray, objectives: FloatArray, violations: FloatArray) -> None:
        """Tell the study."""
        for trial, candidate, values, violation in zip(self._trials, candidates, objectives, violations, strict=True):
            worth = [float(v) for v in np.where(np.isfinite(values), values, _HUGE)], float(min(violation, _HUGE))
            self._worth[candidate.tobytes()] = worth
            if trial is not None:
                self._tell(trial, worth)
                continue
            self._study.add_trial(
                self._optuna.trial.create_trial(
                    values=worth[0],
                    params={f"gene{g}": int(choice) for g, choice in enumerate(candidate)},
                    distributions=self._distributions,
                    constraints={"bounds": worth[1]},
                )
            )
        self._trials = []

    def _from_optuna(self) -> IntArray:
        """Up to a batch of candidates that were not proposed before, each with a trial that waits for its worth."""
        found: dict[bytes, IntArray] = {}
        self._trials = []
        for _ in range(self._batch * _MAX_REPEATS):
            if len(found) == self._batch or len(self._worth) + len(found) == self._problem.size:
                break
            trial = self._study.ask(self._distributions)
            candidate = np.array([trial.params[name] for name in self._distributions], dtype=np.int64)
            key = candidate.tobytes()
            if (worth := self._worth.get(key)) is not None:
                self._tell(trial, worth)
            elif key in found or key in self._worth:  # its worth is not known yet
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                found[key] = candidate
                self._trials.append(trial)
        return np.array(list(found.values()), dtype=np.int64).reshape(-1, len(self._problem.genes))

    def _tell(self, trial: Any, worth: tuple[list[float], float]) -> None:
        trial.set_constraint("bounds", worth[1])
        self._study.tell(trial, worth[0])
