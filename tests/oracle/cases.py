"""Random cases: tiny accelerators, workloads, mappings and bits, and the same in the core's words.

`rng` is a random.Random, or hypothesis' stand-in for one, so that failing cases shrink.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from random import Random

from quantloom import _core

from .records import Case, Level, MacTable, Tensor

BANDWIDTHS = (None, None, 0.5, 1.0, 3.0)  # words per cycle
RATES = ((8, 1), (5, 1), (4, 1), (3, 2), (2, 2), (2, 3), (1, 2), (1, 4), (2, 11))  # MACs in cycles, falling
CASE_MACS = (24, 48, 96, 240)  # a case takes milliseconds


def conv(rng: Random) -> tuple[list[str], list[Tensor]]:
    strides = {dim: rng.choice((1, 1, 2, 3)) for dim in "PQRS"}
    channel, output = rng.choice((("C", "M"), ("G", "G")))
    tensors = [
        Tensor("Weights", ((("C", 1),), ((output, 1),), (("R", 1),), (("S", 1),))),
        Tensor("Inputs", ((("N", 1),), ((channel, 1),), window("R", "P", strides), window("S", "Q", strides))),
        Tensor("Outputs", ((("N", 1),), ((output, 1),), (("Q", 1),), (("P", 1),)), is_output=True),
    ]
    return ["N", "M" if output == "M" else "G", "C" if channel == "C" else "N", "R", "S", "P", "Q"], tensors


def window(kernel: str, position: str, factors: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return ((kernel, factors[kernel]), (position, factors[position]))


def conv_1d(rng: Random) -> tuple[list[str], list[Tensor]]:
    factors = {"R": rng.choice((1, 2)), "P": rng.choice((1, 2, 3))}
    tensors = [
        Tensor("W", ((("C", 1),), (("M", 1),), (("R", 1),))),
        Tensor("I", ((("C", 1),), window("R", "P", factors))),
        Tensor("O", ((("M", 1),), (("P", 1),)), is_output=True),
    ]
    return ["C", "M", "R", "P"], tensors


def attention(rng: Random) -> tuple[list[str], list[Tensor]]:
    del rng
    tensors = [
        Tensor("K", ((("B", 1),), (("L", 1),), (("E", 1),))),
        Tensor("Q", ((("B", 1),), (("T", 1),), (("E", 1),))),
        Tensor("A", ((("B", 1),), (("T", 1),), (("L", 1),)), is_output=True),
    ]
    return ["B", "L", "T", "E"], tensors


def three_inputs(rng: Random) -> tuple[list[str], list[Tensor]]:
    del rng
    tensors = [
        Tensor("X", ((("I", 1),), (("J", 1),))),
        Tensor("Y", ((("J", 1),), (("K", 1),))),
        Tensor("Z", ((("I", 1), ("K", 2)),)),
        Tensor("O", ((("I", 1),), (("K", 1),)), is_output=True),
    ]
    return ["I", "J", "K"], tensors


def pooling(rng: Random) -> tuple[list[str], list[Tensor]]:
    factors = {"R": 1, "P": rng.choice((1, 2, 3))}
    tensors = [
        Tensor("I", ((("C", 1),), window("R", "P", factors))),
        Tensor("O", ((("C", 1),), (("P", 1),)), is_output=True),
    ]
    return ["C", "R", "P"], tensors


def transposed(rng: Random) -> tuple[list[str], list[Tensor]]:
    """Windows on the output: a transposed convolution in one or two dimensions."""
    factors = {dim: rng.choice((1, 1, 2, 3)) for dim in "PQRS"}
    pairs = ("RP",) if rng.random() < 0.5 else ("RP", "SQ")
    channels = (("M", rng.choice((1, 1, 2))),)
    tensors = [
        Tensor("W", ((("C", 1),), (("M", 1),), *(((kernel, 1),) for kernel, _ in pairs))),
        Tensor("I", ((("C", 1),), *(((at, rng.choice((1, 2))),) for _, at in pairs))),
        Tensor("O", (channels, *(window(kernel, at, factors) for kernel, at in pairs)), is_output=True),
    ]
    return ["C", "M", *"".join(pairs)], tensors


def tied_ranks(rng: Random) -> tuple[list[str], list[Tensor]]:
    factor = rng.choice((1, 2))
    tensors = [
        Tensor("D", ((("I", 1), ("J", factor)), (("I", 1), ("K", 1)))),
        Tensor("O", ((("I", 1),), (("K", 1),)), is_output=True),
    ]
    return ["I", "J", "K"], tensors


SHAPES = (conv, conv, conv_1d, attention, three_inputs, pooling, tied_ranks, transposed)


def random_case(rng: Random) -> Case:
    names, tensors = rng.choice(SHAPES)(rng)
    related = {dim for tensor in tensors for rank in tensor.ranks for dim, _ in rank}
    names = sorted(set(names) | related)
    bounds = dict.fromkeys(names, 1)
    limit = rng.choice(CASE_MACS)
    for _ in range(rng.randint(1, 12)):
        dim, prime = rng.choice(names), rng.choice((2, 2, 2, 3, 3, 5))
        if math.prod(bounds.values()) * prime <= limit:
            bounds[dim] *= prime
    return mapped_case(rng, bounds, tensors)


def mapped_case(rng: Random, bounds: dict[str, int], tensors: list[Tensor], depth: int | None = None) -> Case:
    """A workload on a random accelerator, of 2 to 4 levels unless `depth` says how many, by a random mapping."""
    depth = depth or rng.randint(2, 4)
    slots = [dict.fromkeys(bounds, 1) for _ in range(3 * depth)]  # temporal, y, x of each level
    likely = [0] * 6 + [1, 2] if rng.random() < 0.5 else [0, 0, 1, 2]
    for dim, bound in bounds.items():
        for prime in factors_of(bound):
            slots[3 * rng.randrange(depth) + rng.choice(likely)][dim] *= prime
    levels = [random_level(rng, at, at == depth - 1, slots[3 * at : 3 * at + 3], tensors) for at in range(depth)]
    units = place_on_meshes(rng, levels)
    bits = {tensor.name: rng.randint(1, 16) for tensor in tensors if rng.random() < 0.9}
    case = Case(
        dims=bounds,
        tensors=tuple(tensors),
        levels=tuple(levels),
        bits=bits,
        packing=rng.choice(("word", "word", "dense", "none")),
        psum_bits=rng.choice((None, None, rng.randint(1, 40))),
        mac_pj=1.5,
        units=units,
    )
    return case if rng.random() < 0.5 else with_extras(rng, case)


def with_extras(rng: Random, case: Case) -> Case:
    """The same with some of what most accelerators do not have."""
    forwards = all(len(dims) == len(set(dims)) for dims in ([d for r in t.ranks for d, _ in r] for t in case.tensors))
    levels = tuple(
        replace(
            level,
            bandwidth_in_bits=rng.random() < 0.3,
            packing=rng.choice((None, None, None, "word", "dense", "none")),
            multicast=rng.random() < 0.7,
            reduction=rng.random() < 0.7,
            forwarding=forwards and rng.random() < 0.3,
            pj=level.pj | {kind: rng.choice((0.0, rng.randint(1, 64) / 8)) for kind in ("adder", "idle")},
        )
        for level in case.levels
    )
    return replace(
        case,
        levels=levels,
        mac_table=random_table(rng) if rng.random() < 0.5 else None,
        arch_psum_bits=rng.choice((None, None, rng.randint(1, 40))),
        unit_leak_pj=rng.choice((0.0, rng.randint(1, 64) / 8)),
        unit_idle_pj=rng.choice((0.0, rng.randint(1, 64) / 8)),
    )


def random_table(rng: Random) -> MacTable:
    """More bits are never cheaper or faster."""
    first, second = (sorted({16, *(rng.randint(1, 15) for _ in range(rng.randint(0, 3)))}) for _ in range(2))
    energy: dict[tuple[int, int], float] = {}
    slowness: dict[tuple[int, int], int] = {}
    for at in itertools.product(range(len(first)), range(len(second))):
        narrower = [(at[0] - 1, at[1]), (at[0], at[1] - 1)]
        energy[at] = max([energy.get(other, 0.0) for other in narrower]) + rng.randint(0, 16) / 8
        slowness[at] = max([slowness.get(other, 0) for other in narrower]) + rng.choice((0, 0, 1, 2))
    rows = [[(row, column) for column in range(len(second))] for row in range(len(first))]
    return MacTable(
        first_bits=tuple(first),
        second_bits=tuple(second),
        energy_pj=tuple(tuple(energy[at] for at in row) for row in rows),
        rate=tuple(tuple(RATES[min(slowness[at], len(RATES) - 1)] for at in row) for row in rows),
    )


def factors_of(bound: int) -> list[int]:
    found = []
    for prime in (2, 3, 5):
        while bound % prime == 0:
            found.append(prime)
            bound //= prime
    return found


def shuffled_loops(rng: Random, factors: dict[str, int]) -> tuple[tuple[str, int], ...]:
    loops = [(dim, bound) for dim, bound in factors.items() if bound > 1 or rng.random() < 0.1]
    rng.shuffle(loops)
    return tuple(loops)


def random_level(rng: Random, at: int, outermost: bool, factors: list[dict[str, int]], tensors: list[Tensor]) -> Level:
    likely = 0.97 if outermost else rng.choice((0.5, 0.8))
    word_bits = rng.choice((16, 16, 24, 32, 64))
    energies = ("read", "fill", "update", "address", "leak", "hop", "router")
    zero = {"address", "leak"} | (set() if rng.random() < 0.5 else {"hop", "router"})
    return Level(
        name=f"L{at}",
        temporal=shuffled_loops(rng, factors[0]),
        spatial_y=shuffled_loops(rng, factors[1]),
        spatial_x=shuffled_loops(rng, factors[2]),
        keep=frozenset(tensor.name for tensor in tensors if rng.random() < likely),
        word_bits=word_bits,
        block_words=rng.choice((1, 1, 2, 4)),
        cluster_size=1,  # both are settled by place_on_meshes
        mesh=(1, 1),
        bandwidth=(rng.choice(BANDWIDTHS), rng.choice(BANDWIDTHS), rng.choice(BANDWIDTHS)),
        pj={"adder": 0.0, "idle": 0.0}
        | {kind: 0.0 if kind in zero and rng.random() < 0.7 else rng.randint(1, 64) / 8 for kind in energies},
    )


def place_on_meshes(rng: Random, levels: list[Level]) -> tuple[int, int]:
    """Hardware that is as large as the mapping needs, sometimes twice; returns the arithmetic units."""
    x = y = 1
    for at in reversed(range(len(levels))):
        clusters = [size for size in (1, 1, 2, 3) if (x * y) % size == 0]
        levels[at] = replace(levels[at], mesh=(x, y), cluster_size=rng.choice(clusters))
        x *= math.prod(bound for _, bound in levels[at].spatial_x) * rng.choice((1, 1, 1, 2))
        y *= math.prod(bound for _, bound in levels[at].spatial_y) * rng.choice((1, 1, 1, 2))
    return x, y


def core_arch(case: Case, capacities: dict[int, int] | None = None) -> _core.Arch:
    """The accelerator; capacities in words by level, unlimited where none is given."""
    levels = []
    for at, level in enumerate(case.levels):
        read, write, shared = level.bandwidth
        levels.append(
            _core.Level(
                name=level.name,
                word_bits=level.word_bits,
                block_words=level.block_words,
                cluster_size=level.cluster_size,
                capacity_words=(capacities or {}).get(at),
                instances=math.prod(level.mesh),
                mesh_x=level.mesh[0],
                mesh_y=level.mesh[1],
                read_bandwidth=read,
                write_bandwidth=write,
                shared_bandwidth=shared,
                is_dram=at == len(case.levels) - 1,
                energy=access_energy(level),
                address_energy_pj=level.pj["address"],
                hop_energy_pj=level.pj["hop"],
                router_energy_pj=level.pj["router"],
                leak_energy_pj=level.pj["leak"],
                bandwidth_in_bits=level.bandwidth_in_bits,
                packing=level.packing,
                multicast=level.multicast,
                reduction=level.reduction,
                forwarding=level.forwarding,
                adder_energy_pj=level.pj["adder"],
                idle_energy_pj=level.pj["idle"],
            )
        )
    return _core.Arch(name="tiny", levels=levels, arithmetic=core_arithmetic(case), constraints=[])


def core_arithmetic(case: Case) -> _core.Arithmetic:
    x, y = case.units
    return _core.Arithmetic(
        name="mac",
        instances=x * y,
        mesh_x=x,
        mesh_y=y,
        word_bits=16,
        energy_pj=case.mac_pj,
        mac_table=core_table(case.mac_table) if case.mac_table else None,
        psum_bits=case.arch_psum_bits or 0,
        leak_energy_pj=case.unit_leak_pj,
        idle_energy_pj=case.unit_idle_pj,
    )


def core_table(table: MacTable) -> _core.MacTable:
    return _core.MacTable(
        first_bits=table.first_bits,
        second_bits=table.second_bits,
        energy_pj=list(itertools.chain(*table.energy_pj)),
        rate=list(itertools.chain(*table.rate)),
    )


def access_energy(level: Level) -> _core.AccessEnergy:
    return _core.AccessEnergy(read_pj=level.pj["read"], fill_pj=level.pj["fill"], update_pj=level.pj["update"])


def core_workload(case: Case) -> _core.Workload:
    tensors = [_core.TensorSpec(t.name, [list(rank) for rank in t.ranks], t.is_output) for t in case.tensors]
    return _core.Workload("case", list(case.dims.items()), tensors)


def core_mapping(case: Case) -> _core.Mapping:
    return _core.Mapping(
        [
            _core.LevelMapping(
                temporal=list(level.temporal),
                spatial_x=list(level.spatial_x),
                spatial_y=list(level.spatial_y),
                keep=sorted(level.keep),
            )
            for level in case.levels
        ]
    )
