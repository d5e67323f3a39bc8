"""What the oracle is asked: a workload on an accelerator by a mapping, with bits. Plain records, no core in them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tensor:
    name: str
    ranks: tuple[tuple[tuple[str, int], ...], ...]
    is_output: bool = False


@dataclass(frozen=True)
class Level:
    """One storage level and what the mapping does there. Loops are (dim, bound), outermost first."""

    name: str
    temporal: tuple[tuple[str, int], ...]
    spatial_y: tuple[tuple[str, int], ...]
    spatial_x: tuple[tuple[str, int], ...]
    keep: frozenset[str]
    word_bits: int
    block_words: int
    cluster_size: int  # instances that share one physical access
    mesh: tuple[int, int]  # instances along X and Y
    bandwidth: tuple[float | None, float | None, float | None]  # read, write, shared
    pj: dict[str, float]  # read, fill, update, address, leak, idle, hop, router, adder
    bandwidth_in_bits: bool = False
    packing: str | None = None  # None: the case's
    multicast: bool = True  # one message for children with equal tiles
    reduction: bool = True  # sums for the same elements are added up on the way
    forwarding: bool = False  # children pass on what they have


@dataclass(frozen=True)
class MacTable:
    """What a MAC costs by the bits of its operands: widths, ascending; energy in pJ; (MACs, in so many cycles)."""

    first_bits: tuple[int, ...]
    second_bits: tuple[int, ...]
    energy_pj: tuple[tuple[float, ...], ...]
    rate: tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True)
class Case:
    """A workload on an accelerator by a mapping, with bits."""

    dims: dict[str, int]
    tensors: tuple[Tensor, ...]
    levels: tuple[Level, ...]  # innermost first
    bits: dict[str, int]  # tensors left out: one element a word
    packing: str
    psum_bits: int | None  # None: the accelerator's
    mac_pj: float
    units: tuple[int, int]  # arithmetic units along X and Y
    mac_table: MacTable | None = None
    arch_psum_bits: int | None = None  # None: derived
    unit_leak_pj: float = 0.0  # per cycle and unit in use
    unit_idle_pj: float = 0.0  # and not in use


@dataclass
class Counts:
    """One tensor at one level, in elements: over all instances while it is being counted, then per instance."""

    tile: int = 0
    reads: int = 0
    fills: int = 0
    updates: int = 0
    final_updates: int = 0
    distinct: int = 0  # elements that are ever here
    down: int = 0
    up: int = 0
    final_up: int = 0
    additions: int = 0
    links: int = 0  # elements that came from another child
    down_hops: float = 0  # means of one element
    up_hops: float = 0


@dataclass(frozen=True)
class Loop:
    dim: str
    bound: int
    level: int
    axis: str  # "t", "y" or "x"


def nest_of(case: Case) -> list[Loop]:
    loops = []
    for at in reversed(range(len(case.levels))):
        level = case.levels[at]
        for axis, named in (("t", level.temporal), ("y", level.spatial_y), ("x", level.spatial_x)):
            loops += [Loop(dim, bound, at, axis) for dim, bound in named]
    return loops
