"""The joint problem: which bits may be chosen, and what a whole population of choices costs in hardware.

A *variable* is a bit-width of the network: first one for each layer's weights, then one for each edge group. A *gene*
is what the search chooses: it sets one variable, or several that are tied; variables without a gene are fixed. A
candidate is a row of choice indices, one for each gene, into that gene's ascending bits. Hardware costs are looked up
in a table that holds the optimal mapping of every layer for every bit setting, so they are exact for the cost model
and cost no mapping search here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from quantloom.errors import InfeasibleError, SearchError
from quantloom.joint_search.activation_memory import PeakActivationMemory
from quantloom.joint_search.config import OBJECTIVES, Objective, SearchConfig
from quantloom.joint_search.genes import Gene, choose_genes
from quantloom.joint_search.operator_energy import OperatorEnergy
from quantloom.joint_search.pareto import FloatArray
from quantloom.workload.bits import BitWidths
from quantloom.workload.network import BitAssignment, Network

if TYPE_CHECKING:
    from quantloom import _core

__all__ = [
    "AccuracyEvaluator",
    "Gene",
    "HardwareCosts",
    "HardwareObjectives",
    "IntArray",
    "SearchProblem",
    "SensitivityTable",
    "problem_from_config",
]

IntArray = npt.NDArray[np.int64]

_CHUNK = 4096  # candidates looked up at once


class AccuracyEvaluator(Protocol):
    """Measures what the network still gets right with given bits; equal assignments must give equal accuracies."""

    @property
    def name(self) -> str:
        """What it does, e.g. "ptq+bn"; part of a run's manifest."""

    def accuracy(self, assignment: BitAssignment) -> float:
        """Return the accuracy in 0..1 on the validation split; the search decides by this alone."""

    def accuracy_test(self, assignment: BitAssignment) -> float:
        """Return the accuracy in 0..1 on the test split; asked for the final report only."""

    def float_accuracy(self) -> float:
        """Return the accuracy in 0..1 of the network that is not quantized, on the validation split."""

    def float_accuracy_test(self) -> float:
        """Return the accuracy in 0..1 of the network that is not quantized, on the test split."""


class SensitivityTable(Protocol):
    """Predicted loss increase when one tensor alone is quantized; the increases are taken to add up."""

    @property
    def bits(self) -> tuple[int, ...]:
        """The B bit-widths of the columns, ascending."""

    @property
    def weights(self) -> FloatArray:
        """(layers, B) loss increase of each layer's weights."""

    @property
    def groups(self) -> FloatArray:
        """(edge groups, B) loss increase of each edge group's activations."""


class HardwareCosts(Protocol):
    """Cost of every layer under its optimal mapping for every bit setting."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the L layers, in the order of the network."""

    @property
    def bits(self) -> tuple[int, ...]:
        """The B bit-widths of each of the three tensor axes, ascending."""

    @property
    def energy_pj(self) -> FloatArray:
        """(L, B weights, B inputs, B outputs) energy; infinite where nothing fits."""

    @property
    def cycles(self) -> FloatArray:
        """(L, B weights, B inputs, B outputs) latency; infinite where nothing fits."""

    def mapping(self, layer: str, bits: BitWidths) -> _core.Mapping:
        """Return the mapping behind an entry of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareObjectives:
    """Hardware side of N candidates, each (N,): pJ, cycles, pJ*cycles (twice), bits; bit operations, bits.

    The last three are whole numbers, exact below 2^53. count: computes bops and peak_activation_bits, when asked for.
    """

    energy_pj: FloatArray
    cycles: FloatArray
    edp: FloatArray
    sum_edp: FloatArray
    weight_bits: FloatArray
    count: Callable[[Objective], FloatArray] = field(repr=False)

    @property
    def bops(self) -> FloatArray:
        """Bit operations."""
        return self.count("bops")

    @property
    def peak_activation_bits(self) -> FloatArray:
        """Peak activation memory in bits."""
        return self.count("peak_activation_bits")

    def __getitem__(self, name: Objective) -> FloatArray:
        """Return one hardware objective by name."""
        values: FloatArray = getattr(self, name)
        return values


class SearchProblem:
    """Genes, objectives and bounds of one search, with the hardware cost of whole populations by table look-up.

    fixed: bits of every variable, (layers + edge groups,); genes overwrite theirs. operators: charged beside the
    layers, in energy_pj and edp; None to charge layers alone. Raises SearchError if a bit-width is not in the cost
    table or the table is of another network, InfeasibleError if some layer fits with no allowed bits at all.
    """

    def __init__(
        self,
        network: Network,
        costs: HardwareCosts,
        *,
        genes: Sequence[Gene],
        fixed: Sequence[int],
        objectives: Sequence[Objective] = ("error", "energy_pj"),
        bounds: Mapping[Objective, float] | None = None,
        operators: OperatorEnergy | None = None,
    ) -> None:
        self.network = network
        self.costs = costs
        self.operators = operators
        self.genes = tuple(genes)
        self.fixed = tuple(fixed)
        self.objectives = tuple(objectives)
        self.bounds = dict(bounds or {})
        self._check(costs)
        widest = max((len(gene.bits) for gene in self.genes), default=1)
        self._gene_bits: FloatArray = np.zeros((len(self.genes), widest))
        for row, gene in zip(self._gene_bits, self.genes, strict=True):
            row[: len(gene.bits)] = gene.bits
        self.choice_counts: IntArray = np.array([len(gene.bits) for gene in self.genes], dtype=np.int64)
        self._table = _LayerTable(network, costs)
        self._macs = np.array([layer.workload.macs for layer in network.layers], dtype=np.float64)
        self._read = np.array(self.layer_variables)[:, :2].T
        allowed = self._allowed()
        self._memory = PeakActivationMemory(network, allowed[len(network.layers) :])
        self._check_fits(allowed)

    @property
    def size(self) -> int:
        """Number of different candidates, exact."""
        product = 1
        for gene in self.genes:
            product *= len(gene.bits)
        return product

    @property
    def widths(self) -> tuple[int, ...]:
        """All bit-widths that tensors have in some candidate, ascending."""
        return tuple(sorted({b for gene in self.genes for b in gene.bits}.union(self.fixed)))

    @property
    def layer_variables(self) -> tuple[tuple[int, int, int], ...]:
        """For each layer, which variables are the bits of its Weights, Inputs and Outputs."""
        groups, edges = len(self.network.layers), self.network.edges
        return tuple(
            (i, groups + edges[layer.input_edge].group, groups + edges[layer.output_edge].group)
            for i, layer in enumerate(self.network.layers)
        )

    @property
    def uniform_bits(self) -> tuple[int, ...]:
        """The bit-widths of the uniform baselines, ascending: those that every gene may take which no rule is about."""
        free = [gene.bits for gene in self.genes if not gene.by_rule]
        if free:
            return tuple(sorted(set(free[0]).intersection(*free)))
        every = sorted({b for gene in self.genes for b in gene.bits})
        different = {self.nearest(b).tobytes(): b for b in every}
        return tuple(different.values())

    @property
    def hardware_objectives(self) -> tuple[Objective, ...]:
        """The objectives that need no accuracy, in their order."""
        return tuple(name for name in self.objectives if name != "error")

    def uniform(self, bits: int) -> IntArray:
        """Return the candidate with these bits in every gene; fixed variables keep theirs.

        A gene that a rule is about takes the next wider bits it may have, or its widest.
        """
        if bits not in self.uniform_bits:
            message = f"{bits} bits are not allowed for every tensor; uniform baselines are {list(self.uniform_bits)}"
            raise SearchError(message)
        return self.nearest(bits)

    def uniform_bits_of(self, candidate: IntArray) -> int:
        """Return the bits of the uniform baseline that this candidate is."""
        return next(b for b in self.uniform_bits if np.array_equal(self.uniform(b), candidate))

    def nearest(self, bits: int) -> IntArray:
        """Return the candidate with these bits in every gene, or the next wider ones it may have, or its widest."""
        at = [min(bisect_left(gene.bits, bits), len(gene.bits) - 1) for gene in self.genes]
        return np.array(at, dtype=np.int64)

    def bits(self, candidates: IntArray) -> IntArray:
        """Return the bits of every variable, (N, layers + edge groups), of candidates (N, genes)."""
        chosen = self._gene_bits[np.arange(len(self.genes)), candidates].astype(np.int64)
        bits = np.tile(np.array(self.fixed, dtype=np.int64), (len(candidates), 1))
        for g, gene in enumerate(self.genes):
            bits[:, list(gene.variables)] = chosen[:, g : g + 1]
        return bits

    def assignment(self, candidate: IntArray) -> BitAssignment:
        """Return the bits of one candidate (genes,) as the record that accuracy evaluators take."""
        row = [int(b) for b in self.bits(candidate[np.newaxis])[0]]
        layers = len(self.network.layers)
        return BitAssignment(weights=tuple(row[:layers]), groups=tuple(row[layers:]))

    def hardware(self, candidates: IntArray) -> HardwareObjectives:
        """Return the hardware objectives of candidates (N, genes).

        A candidate's figures do not depend on its neighbours: layers are added in order, candidate by candidate.
        """
        totals = np.empty((len(candidates), 4))
        for begin in range(0, len(candidates), _CHUNK):
            chunk = candidates[begin : begin + _CHUNK]
            totals[begin : begin + _CHUNK] = self._table.evaluate(self._columns(chunk))
            if self.operators is not None:
                totals[begin : begin + _CHUNK, 0] += self.operators.evaluate(self._group_bits(chunk))
        energy, cycles, sum_edp, weight_bits = totals.T.copy()
        return HardwareObjectives(
            energy_pj=energy,
            cycles=cycles,
            edp=energy * cycles,
            sum_edp=sum_edp,
            weight_bits=weight_bits,
            count=lambda name: self._count(name, candidates),
        )

    def operators_energy_pj(self, candidate: IntArray) -> float | None:
        """Return what the operators beside the layers cost with one candidate (genes,); None if not charged."""
        if self.operators is None:
            return None
        return float(self.operators.evaluate(self._group_bits(candidate[np.newaxis]))[0])

    def _group_bits(self, candidates: IntArray) -> IntArray:
        """Return the bits of every edge group, (N, edge groups), of candidates (N, genes)."""
        return self.bits(candidates)[:, len(self.network.layers) :]

    def _count(self, name: Objective, candidates: IntArray) -> FloatArray:
        """Return the bit operations or the peak activation memory (N,) of candidates (N, genes)."""
        counts: FloatArray = np.empty(len(candidates))
        for begin in range(0, len(candidates), _CHUNK):
            bits = self._bits_by_variable(candidates[begin : begin + _CHUNK])
            if name == "bops":
                counts[begin : begin + _CHUNK] = self._macs @ (bits[self._read[0]] * bits[self._read[1]])
            else:
                groups = bits[len(self.network.layers) :][self._memory.groups]
                counts[begin : begin + _CHUNK] = self._memory.evaluate(groups)
        return counts

    def _bits_by_variable(self, candidates: IntArray) -> FloatArray:
        """Return the bits of every variable, (variables, N), of candidates (N, genes)."""
        bits: FloatArray = np.empty((len(self.fixed), len(candidates)))
        bits[:] = np.array(self.fixed, dtype=np.float64)[:, np.newaxis]
        for gene, table, choices in zip(self.genes, self._gene_bits, candidates.T, strict=True):
            for variable in gene.variables:
                table.take(choices, out=bits[variable], mode="clip")
        return bits

    def _columns(self, candidates: IntArray) -> npt.NDArray[np.signedinteger[Any]]:
        """Return the table column of every variable, (variables, N), of candidates (N, genes)."""
        fixed = self._table.columns(self.fixed)
        columns = np.repeat(fixed[:, np.newaxis], len(candidates), axis=1)
        for g, gene in enumerate(self.genes):
            chosen = self._table.columns(gene.bits).take(candidates[:, g])
            for variable in gene.variables:
                columns[variable] = chosen
        return columns

    def objective_values(self, hardware: HardwareObjectives, error: FloatArray) -> FloatArray:
        """Return the (N, objectives) table to minimise. error: (N,), 1 - accuracy."""
        return np.column_stack([error if name == "error" else hardware[name] for name in self.objectives])

    def violations(self, hardware: HardwareObjectives, error: FloatArray | None = None) -> FloatArray:
        """Return (N,) by how much bounds are exceeded, relative and summed; 0 is feasible, infinite where nothing fits.

        Without error only the bounds on hardware are looked at.
        """
        total = np.where(np.isfinite(hardware.energy_pj), 0.0, np.inf)
        for name, bound in self.bounds.items():
            if name != "error":
                total += np.maximum(hardware[name] / bound - 1.0, 0.0)
            elif error is not None:
                total += np.maximum(error / bound - 1.0, 0.0)
        return total

    def _check(self, costs: HardwareCosts) -> None:
        layers, variables = len(self.network.layers), len(self.network.layers) + len(self.network.edge_groups)
        if tuple(costs.layers) != tuple(layer.name for layer in self.network.layers):
            message = f"the cost table is not of network {self.network.name!r}: its layers differ"
            raise SearchError(message, hint="build the table from the same network")
        shape = (layers, len(costs.bits), len(costs.bits), len(costs.bits))
        if costs.energy_pj.shape != shape or costs.cycles.shape != shape:
            message = f"the cost table must have shape {shape}, got {costs.energy_pj.shape} and {costs.cycles.shape}"
            raise SearchError(message)
        if len(self.fixed) != variables:
            message = (
                f"expected the bits of {variables} tensors ({layers} weights, then edge groups), got {len(self.fixed)}"
            )
            raise SearchError(message)
        if not self.genes:
            message = "nothing to search: every bit-width is fixed"
            raise SearchError(message)
        set_by = [v for gene in self.genes for v in gene.variables]
        if len(set(set_by)) != len(set_by) or not all(0 <= v < variables for v in set_by):
            message = "each tensor may be set by one gene only, and must exist"
            raise SearchError(message)
        wanted = set(self.widths)
        if missing := sorted(wanted.difference(costs.bits)):
            message = f"the cost table holds {list(costs.bits)} bits but {missing} are to be searched"
            raise SearchError(
                message, hint="build the table with these bits, or restrict weight_bits and activation_bits"
            )
        for name in (*self.objectives, *self.bounds):
            if name not in OBJECTIVES:
                message = f"unknown objective {name!r}"
                raise SearchError(message, hint=f"choose among {', '.join(OBJECTIVES)}")

    def _allowed(self) -> list[tuple[int, ...]]:
        """Return what the bits of every variable may be."""
        allowed: list[tuple[int, ...]] = [(b,) for b in self.fixed]
        for gene in self.genes:
            for v in gene.variables:
                allowed[v] = gene.bits
        return allowed

    def _check_fits(self, allowed: Sequence[tuple[int, ...]]) -> None:
        """Raise InfeasibleError naming the layers that fit with none of the allowed bits."""
        column = {b: i for i, b in enumerate(self.costs.bits)}
        stuck = []
        for i, variables in enumerate(self.layer_variables):
            choices = np.ix_(*([column[b] for b in allowed[v]] for v in variables))
            if not np.isfinite(self.costs.energy_pj[i][choices]).any():
                stuck.append(self.network.layers[i].name)
        if stuck:
            message = f"no mapping fits at any allowed bits for {len(stuck)} layers: {', '.join(stuck[:5])}"
            raise InfeasibleError(message, hint="allow fewer bits, or use an architecture with larger buffers")


class _LayerTable:
    """The cost table laid out for look-up by population.

    A row of (energy, cycles, their product, weight bits) for each layer and setting, so that one gather fetches all
    four, and chunks of candidates small enough for their indices and sums to stay in the cache.
    """

    def __init__(self, network: Network, costs: HardwareCosts) -> None:
        layers, width = len(network.layers), len(costs.bits)
        self._width = width
        self._index: type[np.signedinteger[Any]] = np.int16 if width**3 <= np.iinfo(np.int16).max else np.int32
        self._column_of_bits = np.zeros(max(costs.bits) + 1, dtype=self._index)
        self._column_of_bits[list(costs.bits)] = np.arange(width)
        self._inputs = [layers + network.edges[layer.input_edge].group for layer in network.layers]
        self._outputs = [layers + network.edges[layer.output_edge].group for layer in network.layers]
        elements = np.array([layer.weights_elements for layer in network.layers], dtype=np.float64)
        weight_bits = np.multiply.outer(elements, np.array(costs.bits, dtype=np.float64))[:, :, None, None]
        with np.errstate(invalid="ignore", over="ignore"):
            terms = (costs.energy_pj, costs.cycles, costs.energy_pj * costs.cycles)
        stacked = np.stack([*terms, np.broadcast_to(weight_bits, costs.energy_pj.shape)], axis=-1)
        self._rows: FloatArray = stacked.reshape(layers, width**3, len(terms) + 1)

    def columns(self, bits: Sequence[int]) -> npt.NDArray[np.signedinteger[Any]]:
        """Return the columns of these bit-widths in the table."""
        return self._column_of_bits[list(bits)]

    def evaluate(self, columns: npt.NDArray[np.signedinteger[Any]]) -> FloatArray:
        """Sum over layers: (variables, N) columns in, (N, 4) energy, cycles, sum of layer EDPs and weight bits out."""
        total: FloatArray = np.zeros((columns.shape[1], self._rows.shape[2]))
        middle = columns * self._index(self._width)
        outer = columns[: len(self._rows)] * self._index(self._width**2)
        for i, (source, target) in enumerate(zip(self._inputs, self._outputs, strict=True)):
            entry = outer[i] + middle[source] + columns[target]
            total += self._rows[i].take(entry, axis=0, mode="clip")
        return total


def problem_from_config(
    network: Network, costs: HardwareCosts, config: SearchConfig, *, operators: OperatorEnergy | None = None
) -> SearchProblem:
    """Return the problem of a configuration: a gene for each weight tensor and each edge group that is not fixed.

    Bits left open in the configuration are those of the cost table up to 8. operators: as for SearchProblem. Raises the
    errors of choose_genes().
    """
    genes, fixed = choose_genes(network, config, tuple(b for b in costs.bits if b <= 8))
    return SearchProblem(
        network,
        costs,
        genes=genes,
        fixed=fixed,
        objectives=config.objectives,
        bounds=config.bounds,
        operators=operators,
    )
