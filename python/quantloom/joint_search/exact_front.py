"""The least accuracy proxy at given budgets of a hardware cost, with a certificate for each.

The proxy P adds up over tensors, the cost C over layers. For a multiplier m >= 0 elimination finds L = min P + m * C
exactly, so no assignment within a budget B has a proxy below L - m * B: the Lagrangian bound. At a vertex of the convex
hull of all (C, P) the bound is met; in between, what is left of the gap is searched: an assignment that beats the best
one known has a slack P + m * C - L below the gap, and the slacks of partial assignments are exact bounds of their
completions, so only those below the gap are carried from bucket to bucket (labels), and of two that agree in all genes
still needed only the one that is not worse in both cost and proxy. When none is left, the best one is proven.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from quantloom.errors import SearchError
from quantloom.joint_search.elimination import Elimination
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import IntArray

__all__ = ["TOLERANCE", "ProxyOptimum", "exact_front", "hull"]

TOLERANCE = 1e-9
"""Share of the proxy's range over the front below which two proxies count as equal: double arithmetic adds up here."""

_END_WEIGHT = 1e-7  # of the other term at the two ends of the hull: makes them vertices, not just minima of one term
_BUDGET_SLACK = 1e-12  # relative: sums in another order differ by this
_FIRST_DEPTH, _DEEPEN = 1 / 64, 4.0  # shares of the gap searched first, and by how much more then
_MAX_ROUNDS = 60

Method = Literal["hull", "labels"]
"""hull: the Lagrangian bound is met. labels: the gap was searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptimum:
    """The best candidate known at a budget, and what is proven about it.

    candidate: (genes,). proxy, cost: its own. lower_bound: no candidate of cost <= budget has a lower proxy.
    multiplier: of the Lagrangian bound, in proxy per unit of cost. labels: partial candidates looked at.
    """

    candidate: IntArray
    budget: float
    cost: float
    proxy: float
    lower_bound: float
    multiplier: float
    method: Method
    labels: int

    @property
    def gap(self) -> float:
        """How much lower a proxy could be at most; 0 where the candidate is proven optimal."""
        return self.proxy - self.lower_bound

    @property
    def is_proven(self) -> bool:
        """Whether no candidate within the budget has a lower proxy."""
        return self.gap == 0


@dataclass(slots=True)
class _Query:
    """One budget on its way to a proof."""

    budget: float
    multiplier: float
    least: float  # minimum of proxy + multiplier * cost
    candidate: IntArray
    cost: float
    proxy: float
    searched: float = 0.0  # every candidate within the budget of at most this slack has been seen
    labels: int = 0
    given_up: bool = False

    @property
    def gap(self) -> float:
        return self.proxy + self.multiplier * self.budget - self.least


def hull(elimination: Elimination, *, wanted: int) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return vertices of the convex hull of (cost, proxy), cheapest first: candidates (V, genes), costs, proxies (V,).

    All of them, or at least `wanted` if there are more. An infinite first cost says that nothing fits. Each round asks,
    for every neighbouring pair of vertices, for the minimum in the direction normal to the line through them; either it
    is below that line, a new vertex, or the pair is an edge of the hull (Aneja and Nair 1979).
    """
    vertices = _Vertices(elimination)
    closed: set[tuple[float, float]] = set()
    for _ in range(_MAX_ROUNDS):
        if len(vertices.cost) >= wanted or not vertices.refine(range(len(vertices.cost) - 1), closed):
            break
    return np.array(vertices.candidates), np.array(vertices.cost), np.array(vertices.proxy)


def exact_front(elimination: Elimination, budgets: Sequence[float], *, max_labels: int = 20_000) -> list[ProxyOptimum]:
    """Return the candidate of least proxy whose cost is within each budget, in their order.

    max_labels: partial candidates carried at once for a budget; one that needs more keeps a gap.
    Raises SearchError if a budget is below the least cost there is.
    """
    vertices = _Vertices(elimination)
    least_cost = vertices.cost[0]
    limits = [budget * (1 + _BUDGET_SLACK) for budget in budgets]
    for budget, limit in zip(budgets, limits, strict=True):
        if not limit >= least_cost:
            message = f"a budget of {budget:g} is below the least cost there is, {least_cost:g}"
            raise SearchError(message, hint="give a larger budget")
    closed: set[tuple[float, float]] = set()
    for _ in range(_MAX_ROUNDS):
        if not vertices.refine({vertices.below(limit) for limit in limits}, closed):
            break
    tolerance = TOLERANCE * (max(vertices.proxy) - min(vertices.proxy))
    queries = _queries(elimination, vertices, limits)
    _close(elimination, queries, tolerance, max_labels)
    return [_certified(query, budget, tolerance) for query, budget in zip(queries, budgets, strict=True)]


class _Vertices:
    """Known vertices of the hull, cheapest first; the two ends at first."""

    def __init__(self, elimination: Elimination) -> None:
        self._elimination = elimination
        proxy_range, cost_range = _ranges(elimination)
        self.candidates: list[IntArray] = []
        self.cost: list[float] = []
        self.proxy: list[float] = []
        self._known: set[bytes] = set()
        ends = [[_END_WEIGHT / proxy_range, 1 / cost_range], [1 / proxy_range, _END_WEIGHT / cost_range]]
        self._add(elimination.minimise(np.array(ends)))

    def below(self, budget: float) -> int:
        """Position of the most accurate vertex within the budget."""
        return int(np.searchsorted(self.cost, budget, side="right")) - 1

    def refine(self, positions: Sequence[int] | range | set[int], closed: set[tuple[float, float]]) -> bool:
        """Look below the lines from the vertices at these positions to their right neighbours; True if some was new."""
        directions = []
        for i in sorted(positions):
            if i + 1 < len(self.cost):
                direction = (self.cost[i + 1] - self.cost[i], self.proxy[i] - self.proxy[i + 1])
                if direction not in closed and direction[0] > 0 and direction[1] > 0:
                    closed.add(direction)
                    directions.append(direction)
        if directions:
            self._add(self._elimination.minimise(np.array(directions)))
        return bool(directions)

    def _add(self, candidates: IntArray) -> None:
        new = [candidate for candidate in candidates if candidate.tobytes() not in self._known]
        unique = list({candidate.tobytes(): candidate for candidate in new}.values())
        if not unique:
            return
        self._known.update(candidate.tobytes() for candidate in unique)
        proxy, cost = self._elimination.totals(np.array(unique))
        rows = [*zip(self.cost, self.proxy, self.candidates, strict=True)]
        rows += [(float(c), float(p), x) for c, p, x in zip(cost, proxy, unique, strict=True)]
        rows.sort(key=lambda row: row[:2])
        self.cost, self.proxy = [row[0] for row in rows], [row[1] for row in rows]
        self.candidates = [row[2] for row in rows]


def _ranges(elimination: Elimination) -> tuple[float, float]:
    """Largest possible range of proxy and of cost, 1 where there is none: the scale of each."""
    proxy = math.fsum(float(np.ptp(f.proxy)) for f in elimination.factors)
    finite = [f.cost[np.isfinite(f.cost)] for f in elimination.factors]
    cost = math.fsum(float(np.ptp(values)) for values in finite if values.size)
    return proxy or 1.0, cost or 1.0


def _queries(elimination: Elimination, vertices: _Vertices, limits: Sequence[float]) -> list[_Query]:
    """Start each budget from the vertex below it and the multiplier of the edge that it lies under."""
    at = [vertices.below(limit) for limit in limits]
    multipliers = [0.0] * len(limits)
    for q, i in enumerate(at):
        if i + 1 < len(vertices.cost) and vertices.proxy[i] > vertices.proxy[i + 1]:
            multipliers[q] = (vertices.proxy[i] - vertices.proxy[i + 1]) / (vertices.cost[i + 1] - vertices.cost[i])
    _, least = elimination.reduced(_directions(multipliers))
    return [
        _Query(
            budget=limit,
            multiplier=multipliers[q],
            least=float(least[q]),
            candidate=vertices.candidates[at[q]],
            cost=vertices.cost[at[q]],
            proxy=vertices.proxy[at[q]],
        )
        for q, limit in enumerate(limits)
    ]


def _directions(multipliers: Sequence[float] | FloatArray) -> FloatArray:
    return np.column_stack([np.ones(len(multipliers)), multipliers])


def _close(elimination: Elimination, queries: Sequence[_Query], tolerance: float, max_labels: int) -> None:
    """Search the gap of every query, a small part of it first, until none is left or there are too many labels."""
    share = _FIRST_DEPTH
    while True:
        wanting = [q for q in queries if not q.given_up and q.gap > max(q.searched, tolerance)]
        if not wanting:
            return
        depths = [min(q.gap, max(q.searched * _DEEPEN, q.gap * share)) for q in wanting]
        _LabelSearch(elimination, wanting, depths, tolerance, max_labels).run()
        share = min(1.0, share * _DEEPEN)


def _certified(query: _Query, budget: float, tolerance: float) -> ProxyOptimum:
    proven = not query.given_up
    bound = query.least - query.multiplier * query.budget + query.searched
    return ProxyOptimum(
        candidate=query.candidate,
        budget=budget,
        cost=query.cost,
        proxy=query.proxy,
        lower_bound=query.proxy if proven else min(bound, query.proxy),
        multiplier=query.multiplier,
        method="labels" if query.labels else "hull",
        labels=query.labels,
    )


class _LabelSearch:
    """One pass over the buckets from the roots down: all candidates within the budget whose slack is within the depth.

    A label is a partial candidate of one query: its choices so far, its slack, and its cost above the least there is.
    """

    def __init__(
        self,
        elimination: Elimination,
        queries: Sequence[_Query],
        depths: Sequence[float],
        tolerance: float,
        max_labels: int,
    ) -> None:
        self._elimination = elimination
        self._queries = queries
        self._depths = np.array(depths)
        self._max_labels = max_labels
        self._multipliers = np.array([q.multiplier for q in queries])
        self._allowed = self._depths + tolerance
        self._reduced, _ = elimination.reduced(_directions(self._multipliers))
        self._extra_cost, least_cost = elimination.reduced(np.array([[0.0, 1.0]]))
        self._room = np.array([q.budget for q in queries]) - least_cost[0]
        self._query: IntArray = np.arange(len(queries))
        self._chosen: npt.NDArray[np.int8] = np.zeros((len(queries), len(elimination.sizes)), dtype=np.int8)
        self._slack: FloatArray = np.zeros(len(queries))
        self._cost: FloatArray = np.zeros(len(queries))

    def run(self) -> None:
        """Improve the queries, and note how deep they were searched or that they are given up."""
        live = _live_genes(self._elimination)
        sparse = 1024
        for k in self._elimination.descent:
            self._extend(k)
            if len(self._query) > sparse:
                self._drop_dominated(live[k])
                self._drop_overfull()
                sparse = max(1024, 2 * len(self._query))
        self._take_best()
        for query, depth in zip(self._queries, self._depths.tolist(), strict=True):
            if not query.given_up:
                query.searched = depth

    def _extend(self, k: int) -> None:
        """Choose the gene of bucket k in every label, in all ways that keep depth and budget."""
        bucket = self._elimination.buckets[k]
        context = tuple(self._chosen[:, g] for g in bucket.scope[1:])
        place: tuple[npt.NDArray[np.signedinteger[Any]], ...] = (self._query, *context)
        reduced = np.moveaxis(self._reduced[k], 1, -1)[place]
        extra = np.moveaxis(self._extra_cost[k][0], 0, -1)[context]
        slack, cost = self._slack[:, np.newaxis] + reduced, self._cost[:, np.newaxis] + extra
        allowed, room = self._allowed[self._query, np.newaxis], self._room[self._query, np.newaxis]
        label, choice = np.nonzero((slack <= allowed) & (cost <= room))
        self._slack, self._cost = slack[label, choice], cost[label, choice]
        self._query = self._query[label]
        self._chosen = self._chosen[label]
        self._chosen[:, bucket.gene] = choice
        for query, seen in enumerate(np.bincount(self._query, minlength=len(self._queries)).tolist()):
            self._queries[query].labels += seen

    def _drop_dominated(self, live: tuple[int, ...]) -> None:
        """Of labels of one query that agree in the live genes, keep those that no other equals or beats in both."""
        key = self._query
        for gene in live:  # numbered anew each time, so that keys stay below labels x choices
            _, key = np.unique(key * self._elimination.sizes[gene] + self._chosen[:, gene], return_inverse=True)
        proxy = self._slack - self._multipliers[self._query] * self._cost
        order = np.lexsort((proxy, self._cost, key))
        rank = np.empty(len(order), dtype=np.int64)
        rank[np.argsort(proxy[order], kind="stable")] = np.arange(len(order))
        rank -= key[order] * len(order)  # a later group ranks below all earlier ones, whatever its proxies
        self._keep(np.sort(order[rank == np.minimum.accumulate(rank)]))

    def _drop_overfull(self) -> None:
        counts = np.bincount(self._query, minlength=len(self._queries))
        for query in np.flatnonzero(counts > self._max_labels).tolist():
            self._queries[query].given_up = True
        self._keep(np.flatnonzero(counts[self._query] <= self._max_labels))

    def _keep(self, rows: IntArray) -> None:
        self._query, self._chosen = self._query[rows], self._chosen[rows]
        self._slack, self._cost = self._slack[rows], self._cost[rows]

    def _take_best(self) -> None:
        proxy = self._slack - self._multipliers[self._query] * self._cost
        order = np.lexsort((self._cost, proxy, self._query))
        queries, first = np.unique(self._query[order], return_index=True)
        best = order[first]
        if len(best) == 0:
            return
        candidates = self._chosen[best].astype(np.int64)
        proxies, costs = self._elimination.totals(candidates)
        for q, x, p, c in zip(queries.tolist(), candidates, proxies.tolist(), costs.tolist(), strict=True):
            query = self._queries[q]
            if c <= query.budget and (p, c) < (query.proxy, query.cost):
                query.candidate, query.proxy, query.cost = x, p, c


def _live_genes(elimination: Elimination) -> dict[int, tuple[int, ...]]:
    """For each bucket, which chosen genes are still needed after it, on the way down."""
    needed: set[int] = set()
    live = {}
    for k in reversed(elimination.descent):
        bucket = elimination.buckets[k]
        live[k] = tuple(sorted(needed))
        needed = (needed | set(bucket.scope[1:])) - {bucket.gene}
    return live
