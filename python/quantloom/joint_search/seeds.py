"""Starting points of the search: exact optima of an additive accuracy proxy, each with its certificate.

The proxy is the loss increase that a sensitivity table predicts, added up over all tensors that are searched. Against a
hardware objective that adds up over layers, the points lie along the front of (cost, proxy): vertices of its convex
hull where there are enough, else also the optima at budgets between them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantloom.errors import InfeasibleError, SearchError
from quantloom.joint_search.config import Objective
from quantloom.joint_search.elimination import Elimination, Factor
from quantloom.joint_search.exact_front import ProxyOptimum, exact_front, hull
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import IntArray, SearchProblem, SensitivityTable

__all__ = ["Seed", "additive_trade", "exact_seeds"]

_VERTICES_PER_SEED = 4  # of the hull are found before the seeds are picked, if there are as many


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A starting point and what is proven about it: no candidate whose cost is within the budget has a lower proxy.

    cost_name: what the budget is of; an objective, or "energy and cycles" (each over a typical one of the network, and
    added up) for the EDP of a network, which does not add up over layers.
    """

    objective: Objective
    cost_name: str
    optimum: ProxyOptimum

    def to_json(self) -> dict[str, object]:
        """Return the certificate as plain values; the candidate is among the evaluations of a run."""
        found = self.optimum
        return {
            "objective": self.objective,
            "cost": self.cost_name,
            "budget": found.budget,
            "cost_of_seed": found.cost,
            "proxy": found.proxy,
            "proxy_lower_bound": found.lower_bound,
            "gap": found.gap,
            "proven": found.is_proven,
            "multiplier": found.multiplier,
            "method": found.method,
            "labels": found.labels,
        }


def exact_seeds(problem: SearchProblem, sensitivity: SensitivityTable, count: int) -> list[Seed]:
    """Return up to `count` different seeds along the fronts of proxy against each hardware objective.

    They are shared out evenly between the objectives, and go from cheap to accurate within each; a bound on an
    objective ends its front, with the best candidate at the bound. Peak activation memory, the largest of many sums,
    does not add up over layers: it has no seeds of its own. Deterministic.
    Raises SearchError if the sensitivities are of another network or lack bits, or the network is coupled too densely;
    InfeasibleError if no assignment fits every layer.
    """
    _check_sensitivity(problem, sensitivity)
    objectives = [name for name in problem.hardware_objectives if name != "peak_activation_bits"]
    if count == 0 or not objectives:
        return []
    share = math.ceil(count / len(objectives))
    found: dict[bytes, Seed] = {}
    for objective in objectives:
        elimination = additive_trade(problem, sensitivity, objective)
        budgets = _budgets(elimination, share, problem.bounds.get(objective, math.inf))
        name = "energy and cycles" if objective == "edp" else objective
        for optimum in exact_front(elimination, budgets):
            seed = Seed(objective=objective, cost_name=name, optimum=optimum)
            found.setdefault(optimum.candidate.tobytes(), seed)
    return list(found.values())[:count]


def additive_trade(problem: SearchProblem, sensitivity: SensitivityTable, objective: Objective) -> Elimination:
    """Return proxy and hardware cost of the problem as sums of functions of few genes.

    The tensors that are not searched add nothing to the proxy; their part of the cost is there.
    """
    column = {b: i for i, b in enumerate(sensitivity.bits)}
    by_variable = np.vstack([sensitivity.weights, sensitivity.groups])
    factors = []
    for g, gene in enumerate(problem.genes):
        columns = [column[b] for b in gene.bits]
        proxy = np.sum([by_variable[v, columns] for v in gene.variables], axis=0)
        factors.append(Factor(scope=(g,), proxy=proxy, cost=np.zeros(len(columns))))
    layer_costs = _layer_costs(problem, objective)
    table_column = {b: i for i, b in enumerate(problem.costs.bits)}
    gene_of = {v: g for g, gene in enumerate(problem.genes) for v in gene.variables}
    for i, variables in enumerate(problem.layer_variables):
        scope = tuple(sorted({gene_of[v] for v in variables if v in gene_of})) or (0,)
        axes: list[IntArray] = []
        for v in variables:
            bits = problem.genes[gene_of[v]].bits if v in gene_of else (problem.fixed[v],)
            shape = [1] * len(scope)
            if v in gene_of:
                shape[scope.index(gene_of[v])] = len(bits)
            axes.append(np.array([table_column[b] for b in bits], dtype=np.int64).reshape(shape))
        sizes = tuple(len(problem.genes[g].bits) for g in scope)
        cost = np.broadcast_to(layer_costs[i][tuple(axes)], sizes)
        factors.append(_narrowed(scope, cost))
    factors += _operator_factors(problem, objective, gene_of)
    return Elimination(problem.choice_counts.tolist(), factors)


def _operator_factors(problem: SearchProblem, objective: Objective, gene_of: Mapping[int, int]) -> list[Factor]:
    """Return what the operators that are charged add to the cost, as functions of the genes of their edges."""
    if problem.operators is None or objective not in ("energy_pj", "edp"):
        return []
    typical_pj = 1.0 if objective == "energy_pj" else _typical_energy_pj(problem)
    factors = []
    for term in problem.operators.terms:
        variables = [len(problem.network.layers) + group for group in term.groups]
        scope = tuple(sorted({gene_of[v] for v in variables if v in gene_of})) or (0,)
        sizes = tuple(len(problem.genes[g].bits) for g in scope)
        widest = np.full(sizes, max((problem.fixed[v] for v in variables if v not in gene_of), default=0))
        for g in {gene_of[v] for v in variables if v in gene_of}:
            shape = [1] * len(scope)
            shape[scope.index(g)] = sizes[scope.index(g)]
            widest = np.maximum(widest, np.array(problem.genes[g].bits).reshape(shape))
        cost = term.energy_pj[np.searchsorted(problem.operators.bits, widest)] / typical_pj
        factors.append(_narrowed(scope, cost))
    return factors


def _narrowed(scope: tuple[int, ...], cost: FloatArray) -> Factor:
    """Return a cost as a factor of those genes alone that change it; of one gene at least."""
    for axis, gene in reversed(list(enumerate(scope))):
        first = cost.take([0], axis=axis)
        if cost.ndim > 1 and (cost == first).all():
            cost, scope = cost[(slice(None),) * axis + (0,)], tuple(g for g in scope if g != gene)
    return Factor(scope=scope, proxy=np.zeros(cost.shape), cost=cost)


def _budgets(elimination: Elimination, count: int, bound: float) -> list[float]:
    """Return up to `count` ascending budgets up to the bound: costs of vertices of the hull, else also between them."""
    _, cost, _ = hull(elimination, wanted=_VERTICES_PER_SEED * count)
    if not math.isfinite(cost[0]):
        message = "no assignment of the allowed bits fits all layers at once"
        raise InfeasibleError(message, hint="allow fewer bits, or use an architecture with larger buffers")
    if bound < cost[0]:
        return []
    if bound < cost[-1]:
        cost = np.append(cost[cost < bound], bound)
    positions = np.linspace(0, len(cost) - 1, count)
    if len(cost) > count:
        positions = positions.round()
    budgets: list[float] = np.unique(np.interp(positions, np.arange(len(cost)), cost)).tolist()
    return budgets


def _check_sensitivity(problem: SearchProblem, sensitivity: SensitivityTable) -> None:
    layers, groups = len(problem.network.layers), len(problem.network.edge_groups)
    width = len(sensitivity.bits)
    if sensitivity.weights.shape != (layers, width) or sensitivity.groups.shape != (groups, width):
        message = (
            f"the sensitivity table must have shapes {(layers, width)} and {(groups, width)}, "
            f"got {sensitivity.weights.shape} and {sensitivity.groups.shape}"
        )
        raise SearchError(message, hint="measure the sensitivities of the same network")
    wanted = {b for gene in problem.genes for b in gene.bits}
    if missing := sorted(wanted.difference(sensitivity.bits)):
        message = f"the sensitivity table holds {list(sensitivity.bits)} bits but {missing} are to be searched"
        raise SearchError(message)
    if not (np.isfinite(sensitivity.weights).all() and np.isfinite(sensitivity.groups).all()):
        message = "the sensitivity table holds values that are not finite"
        raise SearchError(message)


def _layer_costs(problem: SearchProblem, objective: Objective) -> FloatArray:
    """Cost of every layer for every bit setting, (L, B, B, B), of a cost that adds up over layers; infinite: unfit."""
    energy, cycles = problem.costs.energy_pj, problem.costs.cycles
    elements = np.array([layer.weights_elements for layer in problem.network.layers], dtype=np.float64)
    bits = np.array(problem.costs.bits, dtype=np.float64)
    weight_bits = np.multiply.outer(elements, bits)[:, :, None, None]
    macs = np.array([layer.workload.macs for layer in problem.network.layers], dtype=np.float64)
    bops = np.multiply.outer(macs, np.multiply.outer(bits, bits))[..., None]
    with np.errstate(invalid="ignore"):
        costs = {
            "energy_pj": energy,
            "cycles": cycles,
            "sum_edp": energy * cycles,
            "weight_bits": np.broadcast_to(weight_bits, energy.shape),
            "bops": np.broadcast_to(bops, energy.shape),
            "edp": energy / _typical_energy_pj(problem) + cycles / _typical_total(cycles),
        }
    return np.where(np.isfinite(energy), costs[objective], np.inf)


def _typical_energy_pj(problem: SearchProblem) -> float:
    """The scale of a network's energy, operators included if they are charged."""
    terms = () if problem.operators is None else problem.operators.terms
    return _typical_total(problem.costs.energy_pj) + float(sum(np.median(term.energy_pj) for term in terms))


def _typical_total(layer_costs: FloatArray) -> float:
    """Sum over layers of the median finite entry; the scale of a whole network."""
    rows: Sequence[FloatArray] = [row[np.isfinite(row)] for row in layer_costs]
    return float(sum(np.median(row) for row in rows if row.size))
