"""Sweeps: millions of mappings of one layer drawn or enumerated, priced, and sifted chunk by chunk.

Mappings stay arrays all the way: the core fills them and prices them over threads without the interpreter's lock, and
NumPy sees them without a copy. A sweep holds one chunk beside what it keeps: its memory is bounded by its result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.mapper.optimize import Bits, Progress, tensor_bits

__all__ = ["CHUNK", "Sweep", "sweep", "sweep_chunks"]

CHUNK = 1 << 16  # mappings; fixed, so that a sample does not depend on how it is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What a sweep, or one chunk of it, kept: arrays with one entry per mapping, in the order of the sweep.

    number: int64, the mapping's place in the sweep. energy_pj, cycles: float64, infinite where a mapping is not valid.
    batch: the mappings; `batch.mapping(workload, i)` is one of them. looked_at: how many were priced.
    """

    number: NDArray[np.int64]
    energy_pj: NDArray[np.float64]
    cycles: NDArray[np.float64]
    batch: _core.MappingBatch
    looked_at: int

    def __len__(self) -> int:
        return len(self.number)


def sweep(
    space: _core.Mapspace,
    *,
    bits: Bits = None,
    count: int,
    seed: int | None = None,
    first: int = 0,
    only_valid: bool = True,
    max_energy_pj: float | None = None,
    max_cycles: float | None = None,
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
    threads: int = 1,
    progress: Progress | None = None,
) -> Sweep:
    """Price `count` mappings of a space and keep those asked for, as one result.

    seed: draw them uniformly from the numbered space; None: take the points first, first + 1, ... of it, to its end at
    most. only_valid, max_energy_pj, max_cycles: what is kept. A mapping is valid if it fits the hardware and each
    level's own fanout and uses as many lanes as constraints ask for (their min_capacity is not looked at). The other
    options are those of `evaluate_batch`. The result does not depend on threads. Ctrl-C ends the call.

    Raises as `evaluate_batch` does, SpecError for a negative count, MappingError if first is above the space's size.
    """
    parts = list(
        sweep_chunks(
            space,
            bits=bits,
            count=count,
            seed=seed,
            first=first,
            only_valid=only_valid,
            max_energy_pj=max_energy_pj,
            max_cycles=max_cycles,
            model=model,
            packing=packing,
            psum_bits=psum_bits,
            threads=threads,
            progress=progress,
        )
    )
    batch = parts[0].batch
    if len(parts) > 1:
        batch = _core.MappingBatch(
            batch.slots,
            dims=np.concatenate([part.batch.dims for part in parts], axis=1),
            bounds=np.concatenate([part.batch.bounds for part in parts], axis=1),
            keep=np.concatenate([part.batch.keep for part in parts], axis=1),
        )
    return Sweep(
        number=np.concatenate([part.number for part in parts]),
        energy_pj=np.concatenate([part.energy_pj for part in parts]),
        cycles=np.concatenate([part.cycles for part in parts]),
        batch=batch,
        looked_at=sum(part.looked_at for part in parts),
    )


def sweep_chunks(
    space: _core.Mapspace,
    *,
    bits: Bits = None,
    count: int,
    seed: int | None = None,
    first: int = 0,
    only_valid: bool = True,
    max_energy_pj: float | None = None,
    max_cycles: float | None = None,
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
    threads: int = 1,
    progress: Progress | None = None,
) -> Iterator[Sweep]:
    """`sweep` piece by piece: yields what is kept of each CHUNK mappings, at least one piece."""
    if count < 0:
        message = f"sweep: count is {count}, expected 0 or more"
        raise SpecError(message, hint="give the number of mappings to look at")
    widths = tensor_bits(space.workload, bits)
    take = _taker(space, count, seed, first)
    fits_lanes = _LaneCheck(space)
    done = 0
    while True:
        batch = take(done)
        costs = _core.evaluate_batch(
            space.arch,
            space.workload,
            batch,
            bits=widths,
            model=model,
            packing=packing,
            psum_bits=psum_bits,
            threads=threads,
        )
        kept = np.ones(len(batch), dtype=bool)
        if only_valid:
            kept &= (costs.status == 0) & fits_lanes(batch)
        if max_energy_pj is not None:
            kept &= costs.energy_pj <= max_energy_pj
        if max_cycles is not None:
            kept &= costs.cycles <= max_cycles
        yield _sift(batch, costs, kept, done)
        done += len(batch)
        if progress is not None:
            progress(done, count, f"sweeping {space.workload.name}")
        if len(batch) < CHUNK or done >= count:
            return


def _taker(space: _core.Mapspace, count: int, seed: int | None, first: int) -> Callable[[int], _core.MappingBatch]:
    """The mappings of the sweep from a place on, CHUNK at most."""

    def take(done: int) -> _core.MappingBatch:
        size = min(CHUNK, count - done)
        if seed is None:
            return space.batch(first + done, size)
        # Every chunk has random numbers of its own.
        state = np.random.SeedSequence((seed, done // CHUNK)).generate_state(1, np.uint64)
        return space.sample_batch(size, int(state[0]))

    return take


def _sift(batch: _core.MappingBatch, costs: _core.BatchCosts, kept: NDArray[np.bool_], done: int) -> Sweep:
    return Sweep(
        number=np.flatnonzero(kept) + done,
        energy_pj=costs.energy_pj[kept],
        cycles=costs.cycles[kept],
        batch=_core.MappingBatch(
            batch.slots,
            dims=np.ascontiguousarray(batch.dims[:, kept]),
            bounds=np.ascontiguousarray(batch.bounds[:, kept]),
            keep=np.ascontiguousarray(batch.keep[:, kept]),
        ),
        looked_at=len(batch),
    )


class _LaneCheck:
    """Whether spatial loops are within each level's own fanout, not only the hardware as a whole, and its limits."""

    def __init__(self, space: _core.Mapspace) -> None:
        self._space = space

    def __call__(self, batch: _core.MappingBatch) -> NDArray[np.bool_]:
        fits = np.ones(len(batch), dtype=bool)
        units = np.ones(len(batch))
        for number, level in enumerate(self._space.arch.levels):
            rows = {kind: [i for i, slot in enumerate(batch.slots) if slot == (number, kind)] for kind in _AXES}
            on_x, on_y = (batch.bounds[rows[kind]].prod(axis=0, dtype=np.float64) for kind in _AXES)
            fits &= (on_x <= self._space.arch.fanout_x(number)) & (on_y <= self._space.arch.fanout_y(number))
            limit = self._space.use.get(level.name, {})
            lanes = on_x * on_y
            fits &= (lanes >= limit.get("min_lanes", 1)) & (lanes <= limit.get("max_lanes", np.inf))
            units *= lanes
        return fits & (units >= self._space.min_units)


_AXES = ("spatial_x", "spatial_y")
