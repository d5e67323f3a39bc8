"""Conformance of a sampler to the protocol: run `check_sampler` on yours in your own tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.problem import IntArray, SearchProblem, problem_from_config
from quantloom.joint_search.samplers import Sampler
from quantloom.testing.toy_search import ToyCosts, toy_network

__all__ = ["MakeSampler", "check_sampler"]

MakeSampler = Callable[[SearchProblem, IntArray, np.random.Generator], Sampler]
"""Makes a fresh sampler for a problem from starting candidates (N, genes) and a source of randomness."""

_GENERATIONS = 8


def check_sampler(make: MakeSampler) -> None:
    """Raise AssertionError where the sampler breaks the protocol.

    Checked on toy problems: candidates lie within the choices, the start comes first, nothing is proposed twice,
    equal seeds and answers give equal proposals (by which a run resumes: what was measured is told again), candidates
    that break all bounds, some or all of them, do no harm, and a small space is proposed in full.
    """
    problem = _problem(layers=5)
    start = np.array([problem.uniform(bits) for bits in problem.uniform_bits], dtype=np.int64)
    first = _proposals(problem, make(problem, start, np.random.default_rng(3)), _GENERATIONS)
    again = _proposals(problem, make(problem, start, np.random.default_rng(3)), _GENERATIONS)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True)), "equal seeds, different proposals"
    proposed = np.concatenate(first)
    assert proposed.dtype == np.int64, "candidates must be int64"
    assert ((proposed >= 0) & (proposed < problem.choice_counts)).all(), "choices out of range"
    assert np.array_equal(proposed[: len(start)], start), "the start must be proposed first"
    assert len(np.unique(proposed, axis=0)) == len(proposed), "a candidate was proposed twice"
    for share in (0.5, 1.0):
        some = _proposals(problem, make(problem, start, np.random.default_rng(4)), _GENERATIONS, infeasible=share)
        asked = np.concatenate(some)
        assert len(some) == _GENERATIONS, "infeasible candidates must not end the proposals"
        assert len(np.unique(asked, axis=0)) == len(asked), "a candidate was proposed twice after infeasible ones"

    small = _problem(layers=1)
    sampler = make(small, small.uniform(8)[np.newaxis], np.random.default_rng(5))
    everything = np.concatenate(_proposals(small, sampler, small.size + 1))
    assert len(everything) == small.size, "a small space must be proposed in full, then nothing"


def _problem(layers: int) -> SearchProblem:
    network = toy_network(layers)
    config = SearchConfig(model="toy", arch="toy", input_bits=None)
    return problem_from_config(network, ToyCosts(network), config)


def _proposals(
    problem: SearchProblem, sampler: Sampler, generations: int, *, infeasible: float = 0.0
) -> list[IntArray]:
    """Ask and tell; the error told is a smooth function of the genes. infeasible: share of candidates, as if unfit."""
    asked = []
    for _ in range(generations):
        candidates = sampler.ask()
        if len(candidates) == 0:
            break
        asked.append(candidates)
        hardware = problem.hardware(candidates)
        error = np.exp(-candidates.mean(axis=1))
        values = problem.objective_values(hardware, error)
        is_unfit = np.arange(len(candidates)) < infeasible * len(candidates)
        values[is_unfit] = np.inf
        sampler.tell(candidates, values, np.where(is_unfit, np.inf, 0.0))
    return asked
