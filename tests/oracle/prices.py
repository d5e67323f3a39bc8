"""Words, energy and cycles of simulated counts: the oracle's own arithmetic, in fractions where it must be exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from .records import Case, Counts, Level, Tensor, nest_of
from .simulator import Simulator


@dataclass(frozen=True)
class Stored:
    counts: Counts
    partial: bool  # some update brought an incomplete sum
    words: int  # that the tile takes
    reads: int
    fills: int
    updates: int
    ingresses: int
    links: int
    energy_pj: float
    network_pj: float


@dataclass(frozen=True)
class Priced:
    stored: dict[tuple[int, str], Stored]  # by (level, tensor)
    level_cycles: list[int]
    compute_cycles: int
    cycles: int
    energy_pj: float


def ceil_div(number: int, divisor: int) -> int:
    return -(-number // divisor)


def words_per_element(packing: str, word_bits: int, bits: int) -> Fraction:
    if bits in (0, word_bits) or word_bits == 1:
        return Fraction(1)
    if packing == "dense":
        return Fraction(bits, word_bits)
    if packing == "none" or bits > word_bits:
        return Fraction(ceil_div(bits, word_bits))
    return Fraction(1, word_bits // bits)


def partial_sum_bits(case: Case, output: Tensor) -> int:
    given = case.psum_bits or case.arch_psum_bits
    if given:
        return given
    inputs = [case.bits.get(tensor.name, 0) for tensor in case.tensors if not tensor.is_output]
    if 0 in inputs:
        return 0
    related = {dim for rank in output.ranks for dim, _ in rank}
    products = math.prod(bound for dim, bound in case.dims.items() if dim not in related)
    for rank in output.ranks:  # at most: all but the largest dim of a sum may be chosen
        bounds = [case.dims[dim] for dim, _ in rank]
        products *= math.prod(bounds) // max(bounds)
    bits = sum(inputs)
    while 2 ** (bits - sum(inputs)) < products:
        bits += 1
    accumulator = next((level for level in case.levels if output.name in level.keep), None)
    return min(bits, accumulator.word_bits) if accumulator and accumulator.word_bits > 1 else bits


def store(case: Case, tensor: Tensor, level: Level, counts: Counts, instances: int) -> Stored:
    own_bits = case.bits.get(tensor.name, 0)
    packing = level.packing or case.packing
    own = words_per_element(packing, level.word_bits, own_bits)
    part = words_per_element(packing, level.word_bits, partial_sum_bits(case, tensor)) if tensor.is_output else own
    partial = counts.updates > counts.final_updates

    def mixed(all_elements: int, complete: int) -> int:
        parts, whole = (all_elements - complete) * part.numerator, complete * own.numerator
        return ceil_div(parts * own.denominator + whole * part.denominator, part.denominator * own.denominator)

    reads, fills = mixed(counts.reads, 0), mixed(counts.fills, 0)
    updates = mixed(counts.updates, counts.final_updates)
    accesses = {"read": reads, "fill": fills, "update": updates}
    clusters = min(instances, math.prod(level.mesh) // level.cluster_size)
    blocks = sum(ceil_div(words, level.block_words) * level.pj[kind] for kind, words in accesses.items())
    addresses = (updates if tensor.is_output else reads) + fills
    down, up, links = mixed(counts.down, 0), mixed(counts.up, counts.final_up), mixed(counts.links, 0)
    hop, router = level.pj["hop"], level.pj["router"]
    network = down * (counts.down_hops * hop + (1 + counts.down_hops) * router)
    network += up * (counts.up_hops * hop + (1 + counts.up_hops) * router)
    network += links * (hop + router) + counts.additions * level.pj["adder"]
    return Stored(
        counts=counts,
        partial=partial,
        words=mixed(counts.tile, 0 if partial else counts.tile),
        reads=reads,
        fills=fills,
        updates=updates,
        ingresses=down + up,
        links=links,
        energy_pj=blocks * clusters + addresses * level.pj["address"] * clusters,
        network_pj=network * instances,
    )


def mac_cost(case: Case) -> tuple[float, Fraction]:
    """Energy of a multiply-accumulate in pJ, and the cycles that a unit needs for it on average."""
    table = case.mac_table
    if table is None:
        return case.mac_pj, Fraction(1)
    bits = [case.bits.get(tensor.name, math.inf) for tensor in case.tensors if not tensor.is_output]
    row = entry(table.first_bits, bits[0])
    column = entry(table.second_bits, max(bits[1:], default=0))
    macs, cycles = table.rate[row][column]
    return table.energy_pj[row][column], Fraction(cycles, macs)


def entry(widths: tuple[int, ...], bits: float) -> int:
    """The narrowest width that holds the bits; the widest for bits that are not given."""
    return next((at for at, width in enumerate(widths) if width >= bits), len(widths) - 1)


def needed_cycles(level: Level, here: list[Stored]) -> list[int]:
    """What reads, writes and both together need, where their bandwidth is limited."""
    reads = sum(part.reads for part in here)
    writes = sum(part.fills + part.updates for part in here)
    size = level.word_bits if level.bandwidth_in_bits else 1
    return [
        math.ceil(Fraction(words * size) / Fraction(bandwidth))
        for words, bandwidth in zip((reads, writes, reads + writes), level.bandwidth, strict=True)
        if bandwidth
    ]


def simulate(case: Case) -> Priced:
    """Counts and prices of every tensor at every level of a case."""
    loops = nest_of(case)
    used = [
        math.prod(loop.bound for loop in loops if loop.axis != "t" and loop.level > at)
        for at in range(-1, len(case.levels))
    ]
    stored: dict[tuple[int, str], Stored] = {}
    for tensor in case.tensors:
        for at, counts in enumerate(Simulator(case, tensor).run()):
            stored[at, tensor.name] = store(case, tensor, case.levels[at], counts, used[at + 1])
    mac_pj, pace = mac_cost(case)
    compute_cycles = math.ceil(math.prod(loop.bound for loop in loops if loop.axis == "t") * pace)
    energy = math.prod(case.dims.values()) * mac_pj
    level_cycles = []
    for at, level in enumerate(case.levels):
        here = [part for (where, _), part in stored.items() if where == at]
        level_cycles.append(max([compute_cycles, *needed_cycles(level, here)]))
        energy += sum(part.energy_pj + part.network_pj for part in here)
    cycles = max(level_cycles)
    energy += (case.unit_leak_pj * used[0] + case.unit_idle_pj * (math.prod(case.units) - used[0])) * cycles
    for level, busy in zip(case.levels, used[1:], strict=True):
        energy += (level.pj["leak"] * busy + level.pj["idle"] * (math.prod(level.mesh) - busy)) * cycles
    return Priced(stored, level_cycles, compute_cycles, cycles, energy)
