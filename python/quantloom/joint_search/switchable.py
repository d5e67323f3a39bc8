"""Weights trained once for all candidates of a search, so that each of them costs no more than a look at it.

Quantized without training, narrow bits cost more accuracy than they do once trained, and not all tensors alike: the
order of candidates is that of trained ones only in part. One set of weights and scales, trained with bits that change
from step to step, ranks them nearly as a training of each does (docs/accuracy.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from quantloom.joint_search.executors import EvaluatorMaker
from quantloom.joint_search.problem import AccuracyEvaluator, SearchProblem

__all__ = ["SwitchableRung"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchableRung:
    """How candidates are measured with weights that are trained once for all of them.

    train: trains them for the candidates of a problem, and returns them. It is given a folder in which the training
    may keep where it stands, to go on from there, and what to call as progress(done, total, text). here, elsewhere:
    from trained weights, an evaluator in this process and what makes equal ones in others.
    depends_on: as SearchInputs.accuracy_depends_on, but for the bits that candidates may have.
    """

    name: str
    train: Callable[[SearchProblem, Path, Callable[[int, int, str], None]], bytes]
    here: Callable[[bytes], AccuracyEvaluator]
    elsewhere: Callable[[bytes], EvaluatorMaker]
    depends_on: Mapping[str, str] | None = None

    def depends_on_all(self, problem: SearchProblem) -> Mapping[str, str] | None:
        """All that the accuracies of a search depend on but a candidate's bits; None where that is not known."""
        if self.depends_on is None:
            return None
        choices = [(gene.variables, gene.bits) for gene in problem.genes]
        return {**self.depends_on, "trained_for": f"{choices} {problem.fixed}"}
