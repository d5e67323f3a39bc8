"""Words, energy and cycles of simulated counts: the oracle's own arithmetic, in fractions where it must be exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from .records import Case, Level, Tensor, nest_of
from .simulator import PerInstance, Simulator


@dataclass(frozen=True)
class Stored:
    counts: PerInstance
    partial: bool  # some update brought an incomplete sum
    words: int  # that the tile takes
    reads: int
    fills: int
    updates: int
    ingresses: int
    energy_pj: float
    network_pj: float


@dataclass(frozen=True)
class Priced:
    stored: dict[tuple[int, str], Stored]  # by (level, tensor)
    level_cycles: list[int]
    cycles: int
    energy_pj: float


def words_per_element(packing: str, word_bits: int, bits: int) -> Fraction:
    if bits in (0, word_bits) or word_bits == 1:
        return Fraction(1)
    if packing == "dense":
        return Fraction(bits, word_bits)
    if packing == "none" or bits > word_bits:
        return Fraction(-(-bits // word_bits))
    return Fraction(1, word_bits // bits)


def partial_sum_bits(case: Case, output: Tensor) -> int:
    if case.psum_bits:
        return case.psum_bits
    inputs = [case.bits.get(tensor.name, 0) for tensor in case.tensors if not tensor.is_output]
    if 0 in inputs:
        return 0
    related = {dim for rank in output.ranks for dim, _ in rank}
    products = math.prod(bound for dim, bound in case.dims.items() if dim not in related)
    bits = sum(inputs)
    while 2 ** (bits - sum(inputs)) < products:
        bits += 1
    accumulator = next((level for level in case.levels if output.name in level.keep), None)
    return min(bits, accumulator.word_bits) if accumulator and accumulator.word_bits > 1 else bits


def store(case: Case, tensor: Tensor, level: Level, counts: PerInstance, instances: int) -> Stored:
    own_bits = case.bits.get(tensor.name, 0)
    own = words_per_element(case.packing, level.word_bits, own_bits)
    part = words_per_element(case.packing, level.word_bits, partial_sum_bits(case, tensor)) if tensor.is_output else own
    partial = counts.updates > counts.final_updates

    def mixed(all_elements: int, complete: int) -> int:
        return math.ceil((all_elements - complete) * part + complete * own)

    reads, fills = math.ceil(counts.reads * part), math.ceil(counts.fills * part)
    updates = mixed(counts.updates, counts.final_updates)
    accesses = {"read": reads, "fill": fills, "update": updates}
    clusters = min(instances, math.prod(level.mesh) // level.cluster_size)
    blocks = sum(math.ceil(Fraction(words, level.block_words)) * level.pj[kind] for kind, words in accesses.items())
    addresses = (updates if tensor.is_output else reads) + fills
    ingresses = math.ceil(counts.down * part) + mixed(counts.up, counts.final_up)
    wire = counts.hops if level.pj["hop"] or level.pj["router"] else 0.0
    per_word = wire * level.pj["hop"] + (1 + wire) * level.pj["router"]
    return Stored(
        counts=counts,
        partial=partial,
        words=math.ceil(counts.tile * (part if partial else own)),
        reads=reads,
        fills=fills,
        updates=updates,
        ingresses=ingresses,
        energy_pj=blocks * clusters + addresses * level.pj["address"] * clusters,
        network_pj=ingresses * per_word * instances,
    )


def simulate(case: Case) -> Priced:
    """Counts and prices of every tensor at every level of a case."""
    loops = nest_of(case)
    steps = math.prod(loop.bound for loop in loops if loop.axis == "t")
    stored: dict[tuple[int, str], Stored] = {}
    for tensor in case.tensors:
        for at, counts in enumerate(Simulator(case, tensor).run()):
            instances = math.prod(loop.bound for loop in loops if loop.axis != "t" and loop.level > at)
            stored[at, tensor.name] = store(case, tensor, case.levels[at], counts, instances)
    energy = math.prod(case.dims.values()) * case.mac_pj
    level_cycles = []
    for at, level in enumerate(case.levels):
        here = [part for (where, _), part in stored.items() if where == at]
        reads = sum(part.reads for part in here)
        writes = sum(part.fills + part.updates for part in here)
        needed = [
            math.ceil(Fraction(words) / Fraction(bandwidth))
            for words, bandwidth in zip((reads, writes, reads + writes), level.bandwidth, strict=True)
            if bandwidth
        ]
        level_cycles.append(max([steps, *needed]))
        energy += sum(part.energy_pj + part.network_pj for part in here)
    cycles = max(level_cycles)
    for at, level in enumerate(case.levels):
        instances = math.prod(loop.bound for loop in loops if loop.axis != "t" and loop.level > at)
        energy += level.pj["leak"] * cycles * instances
    return Priced(stored, level_cycles, cycles, energy)
