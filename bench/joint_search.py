"""Speed of the joint search without its accuracies: hardware costs, exact seeds, and its overhead beside evaluation.

    python bench/joint_search.py [MODEL] [--arch ARCH]
    python bench/joint_search.py --overhead [EVALUATIONS]

Costs of candidates are compared with sums over the cost table, proven points with an integer-programming solver (HiGHS)
at three budgets and at three seeds for each objective, before a time is printed. The sensitivities are random: falling
as 4^-bits, of tensors that differ by 10^2.5. --overhead makes the search of the demo in a run directory, once its
inputs are prepared, and says which share of its CPU time is not in the accuracies. CPU time, one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import quantloom as ql
from quantloom.assemble.search import demo_config, prepare, with_bits
from quantloom.joint_search.exact_front import exact_front, hull
from quantloom.joint_search.problem import AccuracyEvaluator, SearchProblem, problem_from_config
from quantloom.joint_search.run import run_search
from quantloom.joint_search.seeds import additive_trade, exact_seeds
from quantloom.testing.proxy_milp import least_proxy_by_milp
from quantloom.testing.toy_search import TOY_BITS, ToySensitivity

POINTS = 50
CHECKED = (7, 25, 42)
CANDIDATES = 200_000


def check_hardware(problem: SearchProblem, candidates: np.ndarray) -> None:
    hardware = problem.hardware(candidates)
    table = problem.costs
    for n, candidate in enumerate(candidates):
        bits = [problem.assignment(candidate).layer_bits(problem.network, i) for i in range(len(table.layers))]
        at = [(i, *(table.bits.index(x) for x in (b.weights, b.inputs, b.outputs))) for i, b in enumerate(bits)]
        assert np.isclose(hardware.energy_pj[n], sum(table.energy_pj[entry] for entry in at), rtol=1e-12)
        assert np.isclose(hardware.cycles[n], sum(table.cycles[entry] for entry in at), rtol=1e-12)


def time_hardware(problem: SearchProblem) -> None:
    random = np.random.default_rng(0)
    candidates = random.integers(problem.choice_counts, size=(CANDIDATES, len(problem.genes)))
    check_hardware(problem, candidates[:20])
    times = []
    for _ in range(3):
        began = time.process_time()
        problem.hardware(candidates)
        times.append(time.process_time() - began)
    print(f"hardware costs      {CANDIDATES / min(times) / 1e6:8.2f} M candidates/s  ({len(problem.genes)} genes)")
    hardware = problem.hardware(candidates)
    for name in ("bops", "peak_activation_bits"):
        began = time.process_time()
        hardware[name]
        print(f"{name:20}{CANDIDATES / (time.process_time() - began) / 1e6:8.2f} M candidates/s")


def time_seeds(problem: SearchProblem, sensitivity: ToySensitivity, objective: str) -> None:
    began = time.process_time()
    seeds = exact_seeds(problem, sensitivity, POINTS)
    seeding = time.process_time() - began
    elimination = additive_trade(problem, sensitivity, objective)
    _, cost, _ = hull(elimination, wanted=2)
    budgets = np.linspace(cost[0], cost[-1], POINTS)
    began = time.process_time()
    front = exact_front(elimination, budgets.tolist())
    solving = time.process_time() - began
    checking, some = 0.0, seeds[:: max(1, len(seeds) // 2)]
    if objective != "edp":
        began = time.process_time()
        for optimum in (front[i] for i in CHECKED):
            by_milp = least_proxy_by_milp(problem, sensitivity, objective, optimum.budget)
            assert optimum.lower_bound * (1 - 1e-6) <= by_milp <= optimum.proxy * (1 + 1e-6), (objective, by_milp)
        for seed in some:
            by_milp = least_proxy_by_milp(problem, sensitivity, objective, seed.optimum.cost * (1 + 1e-9))
            assert np.isclose(by_milp, seed.optimum.proxy, rtol=1e-6), (objective, seed, by_milp)
        checking = (time.process_time() - began) / (len(CHECKED) + len(some))
    print(
        f"{objective:12} {sum(s.optimum.is_proven for s in seeds):3} of {len(seeds)} seeds proven in {seeding:5.2f} s; "
        f"{sum(o.is_proven for o in front):3} of {POINTS} even budgets in {solving:5.2f} s"
        + (f";  HiGHS {checking:5.2f} s for each" if checking else "")
    )


class Timed:
    """An evaluator that adds up the CPU time it takes."""

    def __init__(self, evaluator: AccuracyEvaluator) -> None:
        self._evaluator = evaluator
        self.name = evaluator.name
        self.taken_s = 0.0
        self.count = 0

    def __getattr__(self, name: str) -> Callable[..., float]:
        def timed(*assignment: ql.BitAssignment) -> float:
            began = time.process_time()
            accuracy = getattr(self._evaluator, name)(*assignment)
            self.taken_s += time.process_time() - began
            self.count += 1
            return accuracy

        return timed


def time_overhead(evaluations: int) -> None:
    arch = ql.load_arch("eyeriss")
    config = with_bits(dataclasses.replace(demo_config(), evaluations=evaluations), arch)
    inputs = prepare(config, arch, threads=1)
    timed = Timed(inputs.evaluator)
    inputs = dataclasses.replace(inputs, evaluator=timed, make_evaluator=None)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        run_search(config, inputs, directory=Path(folder) / "run")
        total = time.process_time() - began
    rest = total - timed.taken_s
    print(
        f"the demo, {timed.count} accuracies: {timed.taken_s:.1f} s; all else {rest:.1f} s, {rest / timed.taken_s:.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="mobilenet_v2")
    parser.add_argument("--arch", default="eyeriss")
    parser.add_argument("--overhead", metavar="EVALUATIONS", type=int, nargs="?", const=160)
    args = parser.parse_args()
    if args.overhead is not None:
        time_overhead(args.overhead)
        return
    network, arch = ql.load_network(args.model), ql.load_arch(args.arch)
    costs = ql.cost_table(network, arch, bits=TOY_BITS, threads=1)
    sensitivity = ToySensitivity(network)
    config = ql.SearchConfig(model=args.model, arch=args.arch, weight_bits=TOY_BITS, activation_bits=TOY_BITS)
    print(f"{args.model} on {args.arch}")
    time_hardware(problem_from_config(network, costs, config))
    for objective in ("energy_pj", "cycles", "sum_edp", "weight_bits", "bops", "edp"):
        chosen = dataclasses.replace(config, objectives=("error", objective))
        time_seeds(problem_from_config(network, costs, chosen), sensitivity, objective)


if __name__ == "__main__":
    main()
