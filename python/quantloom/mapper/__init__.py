"""The mapper: the best mapping of a layer or of every layer of a network, at one or at all bit-widths."""

from __future__ import annotations

from quantloom.mapper.optimize import Optimum, evaluate, optimize
from quantloom.mapper.table import CostTable, cost_table

__all__ = ["CostTable", "Optimum", "cost_table", "evaluate", "optimize"]
