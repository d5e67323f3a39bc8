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
    pj: dict[str, float]  # read, fill, update, address, leak, hop, router


@dataclass(frozen=True)
class Case:
    """A workload on an accelerator by a mapping, with bits."""

    dims: dict[str, int]
    tensors: tuple[Tensor, ...]
    levels: tuple[Level, ...]  # innermost first
    bits: dict[str, int]  # tensors left out: one element a word
    packing: str
    psum_bits: int | None  # None: derived
    mac_pj: float
    units: tuple[int, int]  # arithmetic units along X and Y


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
