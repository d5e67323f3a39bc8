"""Hypothesis strategies for the hardware side: tiny workloads, accelerators, mappings and bit-widths.

Everything is small enough to check by brute force, and every feature of the cost model turns up: windows with stride
and dilation, spatial loops on both axes, bypassed levels, clusters, blocks, bandwidths, energies of networks and of
addresses. Loading this module loads hypothesis, which is in the `test` extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from hypothesis import strategies as st

from quantloom._core import AccessEnergy, Arch, Arithmetic, Level, LevelMapping, Mapping, TensorSpec, Workload

__all__ = ["Case", "bit_widths", "tiny_archs", "tiny_cases", "tiny_mappings", "tiny_workloads"]

_Loops = list[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What evaluate() takes. bits: width by tensor name, at most the narrowest word of arch."""

    arch: Arch
    workload: Workload
    mapping: Mapping
    bits: dict[str, int]


@st.composite
def tiny_workloads(draw: st.DrawFn) -> Workload:
    """One-dimensional convolutions with stride and dilation, inputs by C or (depthwise) by M; up to 648 MACs."""
    bounds = {dim: draw(_KERNEL if dim == "R" else _BOUND) for dim in ("M", "C", "P", "R")}
    channel, stride, dilation = draw(_CHANNEL), draw(_STRIDE), draw(_DILATION)
    tensors = [
        TensorSpec("Weights", [[("C", 1)], [("M", 1)], [("R", 1)]]),
        TensorSpec("Inputs", [[(channel, 1)], [("R", dilation), ("P", stride)]]),
        TensorSpec("Outputs", [[("M", 1)], [("P", 1)]], is_output=True),
    ]
    return Workload("tiny", [(dim, bounds[dim]) for dim in draw(_orders(tuple(bounds)))], tensors)


def _eighths(most: int) -> st.SearchStrategy[float]:
    """0 to `most` in steps of 1/8: sums of products with small counts are exact in binary."""
    return st.integers(0, 8 * most).map(lambda eighths: eighths / 8)


# Strategies are built once: building one costs as much as drawing from it.
_WORD_BITS = st.sampled_from((16, 24, 32))
_BLOCK_WORDS = st.sampled_from((1, 1, 2, 4))
_ACCESS_PJ = st.tuples(_eighths(50), _eighths(50), _eighths(50))
_BANDWIDTH = st.none() | st.integers(1, 8).map(lambda quarters: quarters / 4)
_BANDWIDTHS = st.tuples(_BANDWIDTH, _BANDWIDTH, _BANDWIDTH)
_ADDRESS_PJ = st.none() | _eighths(1)
_SMALL_PJ = _eighths(1)
_MAC_PJ = _eighths(4)
_BOUND = st.sampled_from((1, 1, 2, 3, 4, 6))
_KERNEL = st.integers(1, 3)
_STRIDE = st.integers(1, 3)
_DILATION = st.integers(1, 2)
_CHANNEL = st.sampled_from(("C", "M"))
_DEPTH = st.integers(2, 4)
_STEP = st.sampled_from((1, 1, 2, 3))
_YES = st.booleans()


@cache
def _one_of(choices: tuple[int, ...]) -> st.SearchStrategy[int]:
    return st.sampled_from(choices)


@cache
def _orders(dims: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.permutations(dims)


@st.composite
def _levels(draw: st.DrawFn, name: str, mesh: tuple[int, int], *, is_dram: bool, routers: bool) -> Level:
    x, y = mesh
    read_pj, fill_pj, update_pj = draw(_ACCESS_PJ)
    read_bandwidth, write_bandwidth, shared_bandwidth = draw(_BANDWIDTHS)
    return Level(
        name=name,
        word_bits=draw(_WORD_BITS),
        block_words=draw(_BLOCK_WORDS),
        cluster_size=draw(_one_of(tuple(size for size in (1, 2, 3) if (x * y) % size == 0))),
        instances=x * y,
        mesh_x=x,
        mesh_y=y,
        read_bandwidth=read_bandwidth,
        write_bandwidth=write_bandwidth,
        shared_bandwidth=shared_bandwidth,
        is_dram=is_dram,
        energy=AccessEnergy(read_pj=read_pj, fill_pj=fill_pj, update_pj=update_pj),
        address_energy_pj=draw(_ADDRESS_PJ),
        hop_energy_pj=draw(_SMALL_PJ),
        router_energy_pj=draw(_SMALL_PJ) if routers else 0.0,
        leak_energy_pj=draw(_SMALL_PJ),
    )


@st.composite
def tiny_archs(draw: st.DrawFn, *, routers: bool = True) -> Arch:
    """Two to four levels, the outermost a DRAM, without limits of capacity; up to 9 x 9 multipliers.

    routers: whether networks may charge energy for each router that a word passes.
    """
    count = draw(_DEPTH)
    meshes = [(1, 1)]
    for _ in range(count):
        x, y = meshes[-1]
        wider = (x * draw(_STEP), y * draw(_STEP))
        meshes.append(wider if max(wider) <= 9 else (x, y))
    levels = [draw(_levels(f"L{count - 1 - i}", meshes[i], is_dram=i == 0, routers=routers)) for i in range(count)]
    x, y = meshes[count]
    macs = Arithmetic(name="mac", instances=x * y, mesh_x=x, mesh_y=y, word_bits=16, energy_pj=draw(_MAC_PJ))
    return Arch(name="tiny", levels=levels[::-1], arithmetic=macs)


def _divisors(number: int) -> list[int]:
    return [factor for factor in range(1, number + 1) if number % factor == 0]


@st.composite
def tiny_mappings(draw: st.DrawFn, arch: Arch, workload: Workload) -> Mapping:
    """Any mapping within the fanout: all factorizations, orders and choices of kept tensors; DRAM keeps everything.

    Loops of bound 1 are left out. Whether the tiles fit is not asked: tiny_archs() have room for all.
    """
    left = dict(workload.dims)
    tensors = [tensor.name for tensor in workload.tensors]
    levels: list[LevelMapping] = []
    for i in range(arch.num_levels):
        is_outermost = i == arch.num_levels - 1
        axes = [draw(_loops(left, room=room)) if room > 1 else [] for room in (arch.fanout_x(i), arch.fanout_y(i))]
        temporal = draw(_loops(left, rest=is_outermost))
        keep = tensors if is_outermost else [name for name in tensors if draw(_YES)]
        here = LevelMapping(temporal=temporal, spatial_x=axes[0], spatial_y=axes[1], keep=keep)
        levels.append(here)
    return Mapping(levels)


@st.composite
def _loops(draw: st.DrawFn, left: dict[str, int], *, room: int | None = None, rest: bool = False) -> _Loops:
    """Loops in any order over some (rest: all) of what is left of each dim, which they take away.

    room: the largest product of their bounds, None for any.
    """
    loops: _Loops = []
    for dim in draw(_orders(tuple(dim for dim, bound in left.items() if bound > 1))):
        factors = tuple(factor for factor in _divisors(left[dim]) if room is None or factor <= room)
        factor = left[dim] if rest else draw(_one_of(factors))
        if factor > 1:
            loops.append((dim, factor))
            left[dim] //= factor
            room = None if room is None else room // factor
    return loops


def bit_widths(arch: Arch, workload: Workload) -> st.SearchStrategy[dict[str, int]]:
    """A width for each tensor, 1 to the narrowest word of arch."""
    return _widths(tuple(tensor.name for tensor in workload.tensors), min(level.word_bits for level in arch.levels))


@cache
def _widths(tensors: tuple[str, ...], widest: int) -> st.SearchStrategy[dict[str, int]]:
    return st.fixed_dictionaries({tensor: st.integers(1, widest) for tensor in tensors})


@st.composite
def tiny_cases(draw: st.DrawFn, *, routers: bool = True) -> Case:
    """An accelerator, a layer, a mapping of it that fits, and bits."""
    arch, workload = draw(tiny_archs(routers=routers)), draw(tiny_workloads())
    return Case(
        arch=arch,
        workload=workload,
        mapping=draw(tiny_mappings(arch, workload)),
        bits=draw(bit_widths(arch, workload)),
    )
