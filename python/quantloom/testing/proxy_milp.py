"""The least accuracy proxy at a budget by integer programming (HiGHS, through SciPy): a check of the exact seeds.

Written from the problem's tables alone; it shares no code with quantloom.joint_search.elimination and exact_front.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from quantloom.joint_search.config import Objective
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import SearchProblem, SensitivityTable

__all__ = ["least_proxy_by_milp"]


def least_proxy_by_milp(
    problem: SearchProblem, sensitivity: SensitivityTable, objective: Objective, budget: float
) -> float | None:
    """Return the least sum of sensitivities of candidates whose cost is within the budget; None if there is none.

    objective: energy_pj, cycles, weight_bits, bops or sum_edp. HiGHS works to 1e-6 in the constraints, relative to the
    budget. Raises RuntimeError if it gives up.
    """
    columns: list[tuple[float, float]] = []  # proxy, cost
    rows: list[list[tuple[int, float]]] = []  # sums over columns, each equal to the right-hand side below
    right: list[float] = []
    choice: list[dict[int, int]] = []  # for each gene: bits -> column
    for gene in problem.genes:
        of_gene = {}
        for bits in gene.bits:
            at = sensitivity.bits.index(bits)
            table = (*sensitivity.weights, *sensitivity.groups)
            of_gene[bits] = len(columns)
            columns.append((float(sum(table[v][at] for v in gene.variables)), 0.0))
        choice.append(of_gene)
        rows.append([(column, 1.0) for column in of_gene.values()])
        right.append(1.0)
    for variables, cost_of in _parts(problem, objective):
        setters = [next((g for g, gene in enumerate(problem.genes) if v in gene.variables), None) for v in variables]
        genes = sorted({g for g in setters if g is not None})
        uses: dict[int, list[int]] = {column: [] for g in genes for column in choice[g].values()}
        used: list[int] = []
        for setting in itertools.product(*(problem.genes[g].bits for g in genes)):
            chosen = dict(zip(genes, setting, strict=True))
            widths = [problem.fixed[v] if g is None else chosen[g] for v, g in zip(variables, setters, strict=True)]
            cost = cost_of(widths)
            if np.isfinite(cost):
                used.append(len(columns))
                for g, b in chosen.items():
                    uses[choice[g][b]].append(len(columns))
                columns.append((0.0, cost))
        rows.append([(column, 1.0) for column in used])
        right.append(1.0)
        for column, entries in uses.items():
            rows.append([(column, -1.0), *((entry, 1.0) for entry in entries)])
            right.append(0.0)
    return _solve(np.array(columns), rows, np.array(right), budget)


def _parts(
    problem: SearchProblem, objective: Objective
) -> Iterator[tuple[Sequence[int], Callable[[Sequence[int]], float]]]:
    """Each layer, and each set of operators that is charged: its variables, and its cost at their widths."""
    groups, edges = len(problem.network.layers), problem.network.edges
    for i, layer in enumerate(problem.network.layers):
        variables = (i, groups + edges[layer.input_edge].group, groups + edges[layer.output_edge].group)
        yield variables, partial(_cost, problem, objective, i)
    if problem.operators is not None and objective == "energy_pj":
        for term in problem.operators.terms:
            table = dict(zip(problem.operators.bits, term.energy_pj.tolist(), strict=True))
            yield [groups + g for g in term.groups], partial(_at_widest, table)


def _at_widest(table: Mapping[int, float], widths: Sequence[int]) -> float:
    return table[max(widths)]


def _cost(problem: SearchProblem, objective: Objective, layer: int, widths: Sequence[int]) -> float:
    at = (layer, *(problem.costs.bits.index(b) for b in widths))
    energy, cycles = float(problem.costs.energy_pj[at]), float(problem.costs.cycles[at])
    if not np.isfinite(energy):
        return np.inf
    shape = problem.network.layers[layer]
    counts = {
        "weight_bits": float(shape.weights_elements * widths[0]),
        "bops": float(shape.workload.macs * widths[0] * widths[1]),
    }
    return {"energy_pj": energy, "cycles": cycles, "sum_edp": energy * cycles, **counts}[objective]


def _solve(columns: FloatArray, rows: list[list[tuple[int, float]]], right: FloatArray, budget: float) -> float | None:
    entries = [(r, column, value) for r, row in enumerate(rows) for column, value in row]
    at_row, at_column, values = zip(*entries, strict=True)
    matrix = coo_array((values, (at_row, at_column)), shape=(len(rows), len(columns)))
    scale = float(np.ptp(columns[:, 0])) or 1.0
    found = milp(
        columns[:, 0] / scale,
        integrality=np.ones(len(columns)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(matrix, right, right),
            LinearConstraint(columns[np.newaxis, :, 1] / budget, -np.inf, 1.0),
        ],
        options={"mip_rel_gap": 0.0},
    )
    if found.status == 2:  # infeasible
        return None
    if found.status != 0:
        message = f"HiGHS: {found.message}"
        raise RuntimeError(message)
    return float(found.fun) * scale
