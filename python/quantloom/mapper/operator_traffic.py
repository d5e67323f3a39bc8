"""What the traffic of operators beside the layers would cost: their operands and results through the outermost level.

Pooling, normalisation, additions, lookups and the like are no workloads, so no mapping says where their operands are.
This is the price if all of them come from and go to the outermost level (DRAM): whole words after packing, in whole
blocks, at its energies of a read and an update. It is an upper bound for what is held on chip in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantloom._core import Arch, Level
from quantloom.spec.bits import BitsSpec
from quantloom.workload.network import Network, Operator

if TYPE_CHECKING:
    from quantloom.workload.network import Treatment

__all__ = ["OperatorTraffic", "edge_bits", "operator_traffic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTraffic:
    """One operator that moves elements. bits: of each element; reads, writes: block accesses of `level`."""

    name: str
    kind: str
    treatment: Treatment
    bits: int
    elements_read: int
    elements_written: int
    level: str
    reads: int
    writes: int
    energy_pj: float


def operator_traffic(
    network: Network, arch: Arch, bits: Sequence[int], *, packing: str = "word"
) -> list[OperatorTraffic]:
    """Every operator of the network that reads or writes, in its order, priced at the outermost level.

    bits: of each edge. Every element counts with the widest of the edges that its operator reads and writes. packing:
    as in evaluate(), where the level names none. Energies of addresses, leakage and cycles are not counted.
    """
    level = arch.levels[-1]
    return [
        _priced(operator, level, _widest(operator, bits), packing)
        for operator in network.operators
        if operator.elements_read + operator.elements_written > 0
    ]


def edge_bits(spec: BitsSpec, network: Network) -> list[int]:
    """Bits of every edge; bits such as a8w4o6 give each edge the wider of what is read and written."""
    if not spec.weights and not spec.activations:
        bits = spec.for_workload()
        return [max(bits.inputs, bits.outputs)] * len(network.edges)
    assignment = spec.for_network(network)
    return [assignment.groups[edge.group] for edge in network.edges]


def _widest(operator: Operator, bits: Sequence[int]) -> int:
    edges = set(operator.reads) | ({operator.writes} if operator.writes is not None else set())
    return max(bits[edge] for edge in edges)


def _priced(operator: Operator, level: Level, bits: int, packing: str) -> OperatorTraffic:
    reads, writes = (
        _ceil(_words(elements, bits, level, packing), level.block_words)
        for elements in (operator.elements_read, operator.elements_written)
    )
    return OperatorTraffic(
        name=operator.name,
        kind=operator.kind,
        treatment=operator.treatment,
        bits=bits,
        elements_read=operator.elements_read,
        elements_written=operator.elements_written,
        level=level.name,
        reads=reads,
        writes=writes,
        energy_pj=reads * level.energy.read_pj + writes * level.energy.update_pj,
    )


def _words(elements: int, bits: int, level: Level, packing: str) -> int:
    """Words of `level` that hold the elements: packed whole, bit after bit, or one element a word."""
    here = level.packing or packing
    if here == "dense":
        return _ceil(elements * bits, level.word_bits)
    if here == "word" and bits <= level.word_bits:
        return _ceil(elements, level.word_bits // bits)
    return elements * _ceil(bits, level.word_bits)


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
