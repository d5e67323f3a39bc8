"""Starting points of the search: optima of an additive accuracy proxy, exact on the convex hull of its trade-off.

With a proxy that adds up over tensors and a cost that adds up over layers, minimising `a * proxy + b * cost` is a sum
of small functions: one of each gene alone (proxy) and one of each layer (cost, over its weights, input and output
gene). Eliminating gene after gene (min-sum variable elimination; Bertele and Brioschi, Nonserial Dynamic Programming,
1972) finds its true minimum, shared edges and residual joins included, because the graph of a network's edge groups
is narrow. Each pair (a, b) gives an assignment that nothing beats under the proxy at its cost: a vertex of the hull.
Between the vertices nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from quantloom.errors import InfeasibleError, SearchError
from quantloom.joint_search.config import Objective
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import IntArray, SearchProblem, SensitivityTable

__all__ = ["hull_seeds"]

_MAX_ENTRIES = 50_000_000  # of one elimination table: 400 MB
_END_WEIGHT = 1e-7  # of the other term at the two ends of the hull: makes them vertices, not just minima of one term
_MAX_ROUNDS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factor:
    """A function of a few genes: scope lists them, proxy and cost have one axis for each."""

    scope: tuple[int, ...]
    proxy: FloatArray
    cost: FloatArray


def hull_seeds(problem: SearchProblem, sensitivity: SensitivityTable, count: int) -> IntArray:
    """Return up to `count` candidates (N, genes), all different, along the hulls of proxy against each objective.

    Energy, cycles, weight bits and the sum of layer EDPs add up over layers; the network's EDP does not, so its hull
    is that of energy and cycles in equal parts. Deterministic; ordered from cheap to accurate within an objective.
    Raises SearchError if the sensitivities are of another network or lack bits, or the network is coupled too densely;
    InfeasibleError if no assignment fits every layer.
    """
    _check_sensitivity(problem, sensitivity)
    objectives = problem.hardware_objectives
    if count == 0 or not objectives:
        return np.empty((0, len(problem.genes)), dtype=np.int64)
    share = math.ceil(count / len(objectives))
    found: list[IntArray] = []
    for objective in objectives:
        factors = _factors(problem, sensitivity, objective)
        found.extend(_spread(_hull(problem, factors, wanted=4 * share), share))
    unique = {candidate.tobytes(): candidate for candidate in found}
    return np.array(list(unique.values())[:count], dtype=np.int64)


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


def _factors(problem: SearchProblem, sensitivity: SensitivityTable, objective: Objective) -> list[_Factor]:
    """Write proxy and cost as functions of few genes, both scaled so that a uniform assignment is about 1."""
    column = {b: i for i, b in enumerate(sensitivity.bits)}
    by_variable = np.vstack([sensitivity.weights, sensitivity.groups])
    factors = []
    for g, gene in enumerate(problem.genes):
        columns = [column[b] for b in gene.bits]
        proxy = np.sum([by_variable[v, columns] for v in gene.variables], axis=0)
        factors.append(_Factor(scope=(g,), proxy=proxy, cost=np.zeros(len(columns))))
    gene_of = {v: g for g, gene in enumerate(problem.genes) for v in gene.variables}
    layer_costs = _layer_costs(problem, objective)
    table_column = {b: i for i, b in enumerate(problem.costs.bits)}
    groups_from = len(problem.network.layers)
    for i, layer in enumerate(problem.network.layers):
        edges = (problem.network.edges[layer.input_edge], problem.network.edges[layer.output_edge])
        variables = (i, *(groups_from + edge.group for edge in edges))
        scope = tuple(sorted({gene_of[v] for v in variables if v in gene_of}))
        axes: list[IntArray] = []
        for v in variables:
            bits = problem.genes[gene_of[v]].bits if v in gene_of else (problem.fixed[v],)
            shape = [1] * len(scope)
            if v in gene_of:
                shape[scope.index(gene_of[v])] = len(bits)
            axes.append(np.array([table_column[b] for b in bits], dtype=np.int64).reshape(shape))
        cost = layer_costs[i][tuple(axes)]
        factors.append(_Factor(scope=scope, proxy=np.zeros(cost.shape), cost=cost))
    return _scaled(factors)


def _layer_costs(problem: SearchProblem, objective: Objective) -> FloatArray:
    """Cost of every layer for every bit setting, (L, B, B, B), of a cost that adds up over layers."""
    costs = problem.costs
    if objective == "energy_pj":
        return costs.energy_pj
    if objective == "cycles":
        return costs.cycles
    if objective == "weight_bits":
        elements = np.array([layer.weights_elements for layer in problem.network.layers], dtype=np.float64)
        bits = np.array(costs.bits, dtype=np.float64)
        return np.broadcast_to(np.multiply.outer(elements, bits)[:, :, None, None], costs.energy_pj.shape)
    if objective == "sum_edp":
        return costs.energy_pj * costs.cycles
    return costs.energy_pj / _typical_total(costs.energy_pj) + costs.cycles / _typical_total(costs.cycles)


def _typical_total(layer_costs: FloatArray) -> float:
    """Sum over layers of the median finite entry; the scale of a whole network."""
    return float(sum(np.median(row[np.isfinite(row)]) for row in layer_costs))


def _scaled(factors: Sequence[_Factor]) -> list[_Factor]:
    """Divide proxy and cost each by its largest possible range, so that end weights mean the same for every network."""
    ranges = [(np.ptp(f.proxy), np.ptp(f.cost[np.isfinite(f.cost)])) for f in factors]
    proxy_range = float(sum(r[0] for r in ranges)) or 1.0
    cost_range = float(sum(r[1] for r in ranges)) or 1.0
    return [_Factor(scope=f.scope, proxy=f.proxy / proxy_range, cost=f.cost / cost_range) for f in factors]


def _hull(problem: SearchProblem, factors: Sequence[_Factor], wanted: int) -> list[IntArray]:
    """Return hull vertices from cheapest to most accurate: all of them, or at least `wanted` if there are more.

    Each round asks, for every neighbouring pair of vertices, for the minimum in the direction normal to the line
    through them; either it is below that line, a new vertex, or the pair is an edge of the hull (Aneja and Nair
    1979).
    """
    ends = _minimise(problem, factors, np.array([[_END_WEIGHT, 1.0], [1.0, _END_WEIGHT]]))
    vertices = [(*_totals(factors, candidate), candidate) for candidate in ends]
    if not math.isfinite(vertices[0][0]):
        message = "no assignment of the allowed bits fits all layers at once"
        raise InfeasibleError(message, hint="allow fewer bits, or use an architecture with larger buffers")
    closed: set[tuple[float, float]] = set()
    for _ in range(_MAX_ROUNDS):
        directions = []
        for (cost_a, proxy_a, _), (cost_b, proxy_b, _) in pairwise(vertices):
            direction = (cost_b - cost_a, proxy_a - proxy_b)
            if direction not in closed and direction[0] > 0 and direction[1] > 0:
                closed.add(direction)
                directions.append(direction)
        if not directions or len(vertices) >= wanted:
            break
        known = {candidate.tobytes() for _, _, candidate in vertices}
        for candidate in _minimise(problem, factors, np.array(directions)):
            if candidate.tobytes() not in known:
                known.add(candidate.tobytes())
                vertices.append((*_totals(factors, candidate), candidate))
        vertices.sort(key=lambda vertex: (vertex[0], vertex[1]))
    return [candidate for _, _, candidate in vertices]


def _totals(factors: Sequence[_Factor], candidate: IntArray) -> tuple[float, float]:
    """Cost and proxy of one candidate, scaled."""
    at = [tuple(candidate[list(f.scope)]) for f in factors]
    cost = math.fsum(float(f.cost[i]) for f, i in zip(factors, at, strict=True))
    proxy = math.fsum(float(f.proxy[i]) for f, i in zip(factors, at, strict=True))
    return cost, proxy


def _minimise(problem: SearchProblem, factors: Sequence[_Factor], directions: FloatArray) -> IntArray:
    """Return the candidates (D, genes) that minimise a * proxy + b * cost for each direction (a, b) > 0 of (D, 2).

    Genes are eliminated one by one, always the one whose neighbours span the smallest table; then choices are read
    off backwards.
    """
    count = len(directions)
    live = [(f.scope, _combine(f, directions)) for f in factors]
    solved: list[tuple[int, tuple[int, ...], IntArray]] = []
    remaining = set(range(len(problem.genes)))
    while remaining:
        gene = min(remaining, key=lambda g: (_table_size(problem, live, g), g))
        remaining.remove(gene)
        touching = [item for item in live if gene in item[0]]
        live = [item for item in live if gene not in item[0]]
        scope = (gene, *sorted({g for s, _ in touching for g in s} - {gene}))
        if (entries := count * math.prod(len(problem.genes[g].bits) for g in scope)) > _MAX_ENTRIES:
            message = f"edges are coupled too densely for exact seeds: a table of {entries} entries would be needed"
            raise SearchError(message, hint="set seeds to 0, or tie more tensors together")
        zero = np.zeros((count,) + (1,) * len(scope))
        table = sum((_aligned(values, s, scope) for s, values in touching), start=zero)
        solved.append((gene, scope[1:], table.argmin(axis=1)))
        live.append((scope[1:], table.min(axis=1)))
    chosen = np.zeros((count, len(problem.genes)), dtype=np.int64)
    rows = np.arange(count)
    for gene, scope, best in reversed(solved):
        at = (rows, *(chosen[:, g] for g in scope))
        chosen[:, gene] = best[at]
    return chosen


def _combine(factor: _Factor, directions: FloatArray) -> FloatArray:
    """Return a * proxy + b * cost with the directions (D, 2) as a leading axis."""
    shape = (len(directions),) + (1,) * len(factor.scope)
    return directions[:, 0].reshape(shape) * factor.proxy + directions[:, 1].reshape(shape) * factor.cost


def _table_size(problem: SearchProblem, live: Sequence[tuple[tuple[int, ...], FloatArray]], gene: int) -> int:
    scope = {g for s, _ in live if gene in s for g in s}
    return math.prod(len(problem.genes[g].bits) for g in scope)


def _aligned(values: FloatArray, scope: tuple[int, ...], target: tuple[int, ...]) -> FloatArray:
    """Reorder the axes of values (D, *scope) as in (D, *target), with size 1 where scope lacks a gene."""
    order = sorted(range(len(scope)), key=lambda k: target.index(scope[k]))
    values = values.transpose((0, *(1 + k for k in order)))
    absent = tuple(1 + k for k, g in enumerate(target) if g not in scope)
    return np.expand_dims(values, absent)


def _spread(vertices: Sequence[IntArray], count: int) -> list[IntArray]:
    """Pick `count` of the vertices, both ends included, evenly by position along the hull."""
    if len(vertices) <= count:
        return list(vertices)
    picks = np.unique(np.linspace(0, len(vertices) - 1, count).round().astype(int))
    return [vertices[i] for i in picks]
