"""The mapper: the best mapping of a layer or of every layer of a network, at one or at all bit-widths."""

from __future__ import annotations

from quantloom.mapper.batch import BatchCosts, BatchStatus, MappingBatch, evaluate_batch
from quantloom.mapper.given import fix_loops
from quantloom.mapper.mapspace import Mapspace
from quantloom.mapper.optimize import Optimum, evaluate, optimize
from quantloom.mapper.sweep import Sweep, sweep, sweep_chunks
from quantloom.mapper.table import CostTable, cost_table, packing_class_bits

__all__ = [
    "BatchCosts",
    "BatchStatus",
    "CostTable",
    "MappingBatch",
    "Mapspace",
    "Optimum",
    "Sweep",
    "cost_table",
    "evaluate",
    "evaluate_batch",
    "fix_loops",
    "optimize",
    "packing_class_bits",
    "sweep",
    "sweep_chunks",
]
