"""quantloom: bit-widths and loop mappings of a neural network on an accelerator, searched together."""

from __future__ import annotations

from quantloom._core import Arch, Cost, Mapping, Workload, __version__
from quantloom.assemble.search import search
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.rules import SearchRules
from quantloom.mapper import (
    CostTable,
    Mapspace,
    Optimum,
    Sweep,
    cost_table,
    evaluate,
    evaluate_batch,
    fix_loops,
    optimize,
    sweep,
    sweep_chunks,
)
from quantloom.spec.arch import arch_names, load_arch
from quantloom.spec.partial_mapping import PartialMapping, load_partial_mapping
from quantloom.workload.bits import BitWidths
from quantloom.workload.load import load_network
from quantloom.workload.network import BitAssignment, Network

__all__ = [
    "Arch",
    "BitAssignment",
    "BitWidths",
    "Cost",
    "CostTable",
    "Mapping",
    "Mapspace",
    "Network",
    "Optimum",
    "PartialMapping",
    "SearchConfig",
    "SearchRules",
    "Sweep",
    "Workload",
    "__version__",
    "arch_names",
    "cost_table",
    "evaluate",
    "evaluate_batch",
    "fix_loops",
    "load_arch",
    "load_network",
    "load_partial_mapping",
    "optimize",
    "search",
    "sweep",
    "sweep_chunks",
]
