"""Searches to compare with, in the same run: other ways to choose bits, at as many evaluations.

memory_only: searched for accuracy against the memory of all weights, blind to the accelerator, then charged what it
really costs ("naive" in arXiv 2404.05368). random: bits drawn at random, from no seeds. no_synergy: bits searched on
mappings fixed to those that are best at 8 bits, and charged what these cost at its bits.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from quantloom.errors import InfeasibleError, MappingError, SearchError
from quantloom.joint_search.config import Objective, RivalName, SearchConfig
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.problem import HardwareCosts, SearchProblem, problem_from_config
from quantloom.mapper.optimize import evaluate
from quantloom.workload.bits import BitWidths
from quantloom.workload.network import Network

if TYPE_CHECKING:
    from quantloom import _core

__all__ = ["FixedMappingCosts", "Rival", "make_rival"]

_FIXED_AT: Final = 8  # bits at which the mappings of no_synergy are best
_BLIND: tuple[Objective, ...] = ("error", "weight_bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A search to compare with. config, problem: what it searches; charged: by what its candidates are judged."""

    name: RivalName
    config: SearchConfig
    problem: SearchProblem
    charged: SearchProblem


def make_rival(name: RivalName, config: SearchConfig, problem: SearchProblem, arch: _core.Arch) -> Rival:
    """Return a rival of the search of `problem`, over the same genes.

    Raises SearchError if no_synergy finds a layer that has no mapping at 8 bits.
    """
    network, costs = problem.network, problem.costs
    if name == "random":
        return Rival(name=name, config=replace(config, sampler="random", seeds=0), problem=problem, charged=problem)
    if name == "memory_only":
        bounds = {objective: bound for objective, bound in config.bounds.items() if objective in _BLIND}
        blind = replace(config, objectives=_BLIND, bounds=bounds)
        blind_problem = problem_from_config(network, costs, blind, operators=problem.operators)
        return Rival(name=name, config=blind, problem=blind_problem, charged=problem)
    fixed_costs = FixedMappingCosts(network, arch, costs, model=config.cost_model)
    fixed = problem_from_config(network, fixed_costs, config, operators=problem.operators)
    return Rival(name=name, config=config, problem=fixed, charged=fixed)


class FixedMappingCosts:
    """What every layer costs at every bit setting under one mapping: the best one at 8 bits, or at the widest below.

    Infinite where that mapping does not fit. Raises SearchError if a layer has no mapping at those bits.
    """

    def __init__(self, network: Network, arch: _core.Arch, costs: HardwareCosts, *, model: str) -> None:
        self.layers = costs.layers
        self.bits = costs.bits
        at = max((b for b in costs.bits if b <= _FIXED_AT), default=costs.bits[0])
        self._mappings: dict[str, _core.Mapping] = {}
        tables: dict[tuple[_core.Workload, str], FloatArray] = {}
        rows = []
        for layer in network.layers:
            try:
                mapping = costs.mapping(layer.name, BitWidths.uniform(at))
            except InfeasibleError as error:
                message = f"no_synergy: layer {layer.name} has no mapping at {at} bits to fix"
                raise SearchError(message, hint="leave no_synergy out of `compare`") from error
            self._mappings[layer.name] = mapping
            key = (layer.workload.renamed("layer"), mapping.to_text(arch, layer.workload))
            if key not in tables:
                tables[key] = _price(arch, layer.workload, mapping, costs.bits, model)
            rows.append(tables[key])
        stacked = np.stack(rows)
        self.energy_pj: FloatArray = stacked[..., 0]
        self.cycles: FloatArray = stacked[..., 1]

    def mapping(self, layer: str, bits: BitWidths) -> _core.Mapping:
        """Return the layer's mapping, whatever the bits."""
        return self._mappings[layer]


def _price(
    arch: _core.Arch, workload: _core.Workload, mapping: _core.Mapping, bits: tuple[int, ...], model: str
) -> FloatArray:
    """Energy and cycles (B, B, B, 2) of a mapping by bits of weights, inputs and outputs."""
    table = np.full((len(bits),) * 3 + (2,), np.inf)
    for at in itertools.product(range(len(bits)), repeat=3):
        widths = BitWidths(weights=bits[at[0]], inputs=bits[at[1]], outputs=bits[at[2]])
        try:
            cost = evaluate(arch, workload, mapping, bits=widths, model=model)
        except (InfeasibleError, MappingError):  # wider than the mapping, or a word, has room for
            continue
        table[at] = cost.energy_pj, cost.cycles
    return table
