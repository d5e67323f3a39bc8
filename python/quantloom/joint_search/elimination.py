"""Sums of functions of few genes, minimised exactly by eliminating gene after gene.

A network's accuracy proxy adds up over tensors and its hardware cost over layers, so any mix of the two is a sum of
functions of one to three genes. Min-sum variable elimination (Bertele and Brioschi, Nonserial Dynamic Programming,
1972) finds its true minimum, shared edges and residual joins included: a gene is replaced by the function that says,
for each choice of its neighbours, what the best choice of the gene is worth. The functions met on the way form a tree,
the *buckets*, one for each gene; going back through it from the roots, every partial choice is known to the last digit
in what its best completion is worth (its *slack* over the minimum).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantloom.errors import SearchError
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import IntArray

__all__ = ["Bucket", "Elimination", "Factor"]

_MAX_ENTRIES = 50_000_000  # of one elimination table: 400 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A function of a few genes: scope lists them ascending, proxy and cost have one axis for each."""

    scope: tuple[int, ...]
    proxy: FloatArray
    cost: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One gene as it is eliminated.

    scope: the gene, then those its best choice depends on; all of these are eliminated later. factors: functions (by
    position) that are added here. children: buckets (by position in the order of elimination) whose result enters here.
    """

    gene: int
    scope: tuple[int, ...]
    factors: tuple[int, ...]
    children: tuple[int, ...]


class Elimination:
    """The order of elimination of a sum of factors over genes with `sizes` choices, and what it computes.

    Always the gene whose neighbours span the smallest table is next. buckets: in the order of elimination. descent: the
    same buckets from the roots down, each after all it depends on; small branches first, among them those whose own
    choice changes the cost most.
    Raises SearchError if a table would exceed memory: the genes are coupled too densely.
    """

    def __init__(self, sizes: Sequence[int], factors: Sequence[Factor]) -> None:
        self.sizes = tuple(sizes)
        self.factors = tuple(factors)
        self.buckets = self._order()
        self.descent = self._descend()

    def minimise(self, directions: FloatArray) -> IntArray:
        """Return the candidates (D, genes) that minimise a * proxy + b * cost for each direction (a, b) >= 0 of (D, 2).

        Among equal choices of a gene the lowest is taken.
        """
        count = len(directions)
        best = [table.argmin(axis=1) for table in self._tables(directions)]
        chosen = np.zeros((count, len(self.sizes)), dtype=np.int64)
        rows = np.arange(count)
        for k in reversed(range(len(self.buckets))):
            bucket = self.buckets[k]
            at = (rows, *(chosen[:, g] for g in bucket.scope[1:]))
            chosen[:, bucket.gene] = best[k][at]
        return chosen

    def reduced(self, directions: FloatArray) -> tuple[list[FloatArray], FloatArray]:
        """Return each bucket's table above its best choice, (D, *scope) >= 0, and the minima (D,).

        The value of a complete choice is the minimum plus the sum of its entries, one of each bucket; a partial choice
        along `descent` can be completed at exactly the sum of its entries so far. Infinite where a choice fits nowhere.
        """
        tables = self._tables(directions)
        total = np.zeros(len(directions))
        reduced = []
        for bucket, table in zip(self.buckets, tables, strict=True):
            least = table.min(axis=1, keepdims=True)
            if len(bucket.scope) == 1:
                total += least[:, 0]
            with np.errstate(invalid="ignore"):
                reduced.append(np.where(np.isfinite(table), table - least, np.inf))
        return reduced, total

    def totals(self, candidates: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return proxy and cost (N,) of candidates (N, genes); sums are exact before they are rounded."""
        parts = [tuple(candidates[:, g] for g in f.scope) for f in self.factors]
        proxy = [f.proxy[at] for f, at in zip(self.factors, parts, strict=True)]
        cost = [f.cost[at] for f, at in zip(self.factors, parts, strict=True)]
        return _exact_sums(proxy), _exact_sums(cost)

    def _order(self) -> tuple[Bucket, ...]:
        neighbours = [set(f.scope) for f in self.factors]  # scopes alive: of factors, then of results
        source: list[int] = list(range(len(self.factors)))  # >= 0: a factor, < 0: the result of bucket -1 - source
        remaining = set(range(len(self.sizes)))
        buckets = []
        while remaining:
            gene = min(remaining, key=lambda g: (self._table_size(neighbours, g), g))
            remaining.remove(gene)
            touching = [i for i, scope in enumerate(neighbours) if gene in scope]
            scope = (gene, *sorted({g for i in touching for g in neighbours[i]} - {gene}))
            buckets.append(
                Bucket(
                    gene=gene,
                    scope=scope,
                    factors=tuple(source[i] for i in touching if source[i] >= 0),
                    children=tuple(-1 - source[i] for i in touching if source[i] < 0),
                )
            )
            neighbours = [s for i, s in enumerate(neighbours) if i not in touching]
            source = [s for i, s in enumerate(source) if i not in touching]
            if len(scope) > 1:
                neighbours.append(set(scope[1:]))
                source.append(-len(buckets))
        return tuple(buckets)

    def _table_size(self, neighbours: Sequence[set[int]], gene: int) -> int:
        scope = {g for s in neighbours if gene in s for g in s}
        return math.prod(self.sizes[g] for g in scope)

    def _descend(self) -> tuple[int, ...]:
        last: list[tuple[int, float]] = []  # of each bucket: size of its branch, and less what its choice costs
        for bucket in self.buckets:
            size = 1 + sum(last[child][0] for child in bucket.children)
            costs = [self.factors[f].cost for f in bucket.factors]
            swing = sum(float(np.ptp(cost[np.isfinite(cost)])) for cost in costs if np.isfinite(cost).any())
            last.append((size, -swing))
        pending = [k for k, bucket in enumerate(self.buckets) if len(bucket.scope) == 1]
        pending.sort(key=last.__getitem__, reverse=True)
        order = []
        while pending:
            k = pending.pop()
            order.append(k)
            pending.extend(sorted(self.buckets[k].children, key=last.__getitem__, reverse=True))
        return tuple(order)

    def _tables(self, directions: FloatArray) -> list[FloatArray]:
        """Return each bucket's table (D, *scope): the worth of its gene's choices with everything below at its best."""
        count = len(directions)
        tables: list[FloatArray] = []
        for bucket in self.buckets:
            shape = (count, *(self.sizes[g] for g in bucket.scope))
            if (entries := math.prod(shape)) > _MAX_ENTRIES:
                message = f"edges are coupled too densely for exact seeds: a table of {entries} entries would be needed"
                raise SearchError(message, hint="set seeds to 0, or tie more tensors together")
            table = np.zeros(shape)
            for f in bucket.factors:
                factor = self.factors[f]
                table += _aligned(_combine(factor, directions), factor.scope, bucket.scope)
            for child in bucket.children:
                table += _aligned(tables[child].min(axis=1), self.buckets[child].scope[1:], bucket.scope)
            tables.append(table)
        return tables


def _combine(factor: Factor, directions: FloatArray) -> FloatArray:
    """Return a * proxy + b * cost with the directions (D, 2) as a leading axis."""
    shape = (len(directions),) + (1,) * len(factor.scope)
    a, b = directions[:, 0].reshape(shape), directions[:, 1].reshape(shape)
    cost = np.where(np.isfinite(factor.cost), factor.cost, 0.0)
    return np.where(np.isfinite(factor.cost), a * factor.proxy + b * cost, np.inf)


def _aligned(values: FloatArray, scope: tuple[int, ...], target: tuple[int, ...]) -> FloatArray:
    """Reorder the axes of values (D, *scope) as in (D, *target), with size 1 where scope lacks a gene."""
    order = sorted(range(len(scope)), key=lambda k: target.index(scope[k]))
    values = values.transpose((0, *(1 + k for k in order)))
    absent = tuple(1 + k for k, g in enumerate(target) if g not in scope)
    return np.expand_dims(values, absent)


def _exact_sums(parts: Sequence[FloatArray]) -> FloatArray:
    """Add arrays (N,) element by element, each sum rounded once."""
    return np.array([math.fsum(column) for column in np.transpose(parts)], dtype=np.float64)
