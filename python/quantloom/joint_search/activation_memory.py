"""Peak activation memory: the bits of all edges that are alive at the same time, at the worst moment of an execution.

Edges stand in the order in which they are written. Edge e is alive from step e, which writes it, to the last step that
reads it (a step whose result stays in the edge it reads is that edge's own). At step t the memory holds

    M(t) = sum over edges e with e <= t <= last(e) of elements(e) * bits(e),    peak = max over t of M(t)

for one sample, with operands and result of a step both there: the working set of Liberis and Lane, Neural networks on
microcontrollers: saving memory at inference via operator reordering, arXiv 1910.05110, with the bits of each edge.
Every edge has memory of its own, also where a result is a part or another shape of an operand. Weights are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantloom.joint_search.pareto import FloatArray
from quantloom.workload.network import Network

__all__ = ["PeakActivationMemory", "last_steps"]


def last_steps(network: Network) -> list[int]:
    """Return for each edge the last step at which it is alive; the steps are the edges that they write."""
    last = list(range(len(network.edges)))
    for layer in network.layers:
        for edge in (layer.input_edge, layer.weights_edge):
            if edge is not None:
                last[edge] = max(last[edge], layer.output_edge)
    for operator in network.operators:
        step = max(operator.reads, default=0) if operator.writes is None else operator.writes
        for edge in operator.reads:
            last[edge] = max(last[edge], step)
    return last


class PeakActivationMemory:
    """The peak for many choices of bits at once.

    allowed: for each edge group, the bits it may have. A step that cannot be the worst one at any of them, as another
    needs more at the fewest bits than it does at the most, is left out.
    """

    def __init__(self, network: Network, allowed: Sequence[Sequence[int]]) -> None:
        groups = len(network.edge_groups)
        elements = np.zeros((len(network.edges), groups), dtype=np.int64)  # alive at each step
        for edge, last in enumerate(last_steps(network)):
            elements[edge : last + 1, network.edges[edge].group] += network.edges[edge].elements
        least = elements @ np.array([min(bits) for bits in allowed], dtype=np.int64)
        most = elements @ np.array([max(bits) for bits in allowed], dtype=np.int64)
        steps = np.unique(elements[most >= least.max()], axis=0)
        self.groups = np.flatnonzero(steps.any(axis=0))
        """The edge groups whose bits count, ascending."""
        self._steps = steps[:, self.groups].astype(np.float64)

    def evaluate(self, bits: FloatArray) -> FloatArray:
        """Return the peaks (N,), in bits, for the bits (len(groups), N) of the groups that count.

        Whole numbers; exact below 2^53, whatever the order in which they are added.
        """
        peaks: FloatArray = (self._steps @ bits).max(axis=0)
        return peaks
