"""What operators beside the layers cost at any bits: their traffic through the outermost level, as mapper prices it.

The energy of an operator depends on one width, the widest of the edges that it reads and writes. Operators over the
same edge groups are added up once, so that a population is priced by a look-up for each set of groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from quantloom.joint_search.pareto import FloatArray
from quantloom.mapper.operator_traffic import operator_traffic
from quantloom.workload.network import Network

if TYPE_CHECKING:
    from quantloom import _core

__all__ = ["OperatorEnergy", "OperatorTerm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTerm:
    """Operators over the same edge groups. energy_pj: of all of them, (B,), at each width as the widest."""

    groups: tuple[int, ...]
    energy_pj: FloatArray


class OperatorEnergy:
    """The energy of all operators that move elements. bits: the B widths that edges may have, ascending."""

    def __init__(self, network: Network, arch: _core.Arch, bits: Sequence[int]) -> None:
        self.bits = tuple(bits)
        moving = [o for o in network.operators if o.elements_read + o.elements_written > 0]
        by_width = [operator_traffic(network, arch, [b] * len(network.edges)) for b in self.bits]
        sums: dict[tuple[int, ...], FloatArray] = {}
        for i, operator in enumerate(moving):
            edges = operator.reads if operator.writes is None else (*operator.reads, operator.writes)
            groups = tuple(sorted({network.edges[edge].group for edge in edges}))
            energy_pj = np.array([traffic[i].energy_pj for traffic in by_width])
            sums[groups] = sums.get(groups, 0.0) + energy_pj
        self.operators = len(moving)
        """How many operators are charged."""
        self.terms = tuple(OperatorTerm(groups=groups, energy_pj=energy_pj) for groups, energy_pj in sums.items())

    def evaluate(self, group_bits: npt.NDArray[np.int64]) -> FloatArray:
        """Return the energies (N,) in pJ, at the bits (N, edge groups) of every group."""
        total: FloatArray = np.zeros(len(group_bits))
        for term in self.terms:
            widest = group_bits[:, list(term.groups)].max(axis=1)
            total += term.energy_pj[np.searchsorted(self.bits, widest)]
        return total
