"""quantloom: bit-widths and loop mappings of a neural network on an accelerator, searched together."""

from __future__ import annotations

from quantloom._core import Arch, Cost, Mapping, Mapspace, Workload, __version__
from quantloom.mapper import CostTable, Optimum, cost_table, evaluate, optimize
from quantloom.spec.arch import arch_names, load_arch
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
    "Workload",
    "__version__",
    "arch_names",
    "cost_table",
    "evaluate",
    "load_arch",
    "load_network",
    "optimize",
]
