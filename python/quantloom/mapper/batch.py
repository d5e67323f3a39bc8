"""Many mappings of one layer at once: energy, cycles and validity as NumPy arrays, without a breakdown.

A batch comes from a mapspace (`Mapspace.batch`, `Mapspace.sample_batch`) or is built from arrays (`MappingBatch`):

>>> costs = evaluate_batch(arch, workload, Mapspace(arch, workload).sample_batch(10_000, seed=1), bits=8)
>>> best = int(costs.energy_pj.argmin())
"""

from __future__ import annotations

from enum import IntEnum

from quantloom import _core
from quantloom._core import BatchCosts, MappingBatch
from quantloom.mapper.optimize import Bits, tensor_bits

__all__ = ["BatchCosts", "BatchStatus", "MappingBatch", "evaluate_batch"]


class BatchStatus(IntEnum):
    """Values of BatchCosts.status; CAPACITY has the number of the level that is too small added to it."""

    VALID = 0
    FANOUT = 1
    MALFORMED = 2
    CAPACITY = 16


def evaluate_batch(
    arch: _core.Arch,
    workload: _core.Workload,
    batch: MappingBatch,
    *,
    bits: Bits = None,
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
    threads: int = 1,
) -> BatchCosts:
    """Cost of every mapping of a batch, equal to that of `evaluate`; options as there.

    Returns arrays with one entry per mapping: energy_pj (float64, over all instances), cycles (float64) and status
    (uint8, see BatchStatus). Energy and cycles are infinite where the mapping is not valid, which is no error.
    threads: 0 takes all of the machine; the result does not depend on it. Ctrl-C ends the call.

    Raises MappingError if the batch is not in nest order or not of the architecture or bits exceed a word, SpecError
    for options the model does not have, WorkloadError for a layer that the default model cannot count.
    """
    return _core.evaluate_batch(
        arch,
        workload,
        batch,
        bits=tensor_bits(workload, bits),
        model=model,
        packing=packing,
        psum_bits=psum_bits,
        threads=threads,
    )
