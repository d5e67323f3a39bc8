"""Counts of mapspaces and runs of heuristics as result tables: the columns that docs/results.md documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantloom.mapper.heuristics import Comparison
from quantloom.report.results import Cell, ResultColumn, ResultTable

__all__ = ["CONVERGENCE_COLUMNS", "COUNT_COLUMNS", "convergence_results", "count_results"]


COUNT_COLUMNS = (
    ResultColumn("position", "int", "", "position of the layer, from 1"),
    ResultColumn("layer", "text", "", "name of the layer"),
    ResultColumn("bits_weights", "int", "bits", "of an element of Weights"),
    ResultColumn("bits_inputs", "int", "bits", "of an element of Inputs"),
    ResultColumn("bits_outputs", "int", "bits", "of an element of Outputs"),
    ResultColumn("size", "float", "mappings", "in the mapspace; exact below 2^53"),
    ResultColumn("visited", "int", "mappings", "that differ in more than loops of bound 1"),
    ResultColumn("valid", "int", "mappings", "of the visited ones that fit"),
    ResultColumn("invalid_fanout", "int", "mappings", "that ask for more instances than there are"),
    ResultColumn("invalid_capacity", "int", "mappings", "of which a tile exceeds its level"),
    ResultColumn("invalid_utilization", "int", "mappings", "that use less of a level than constraints ask for"),
)
CONVERGENCE_COLUMNS = (
    ResultColumn("heuristic", "text", "", "the search"),
    ResultColumn("seed", "int", "", "of its random choices"),
    ResultColumn(
        "looked_at", "int", "mappings", "looked at when the best so far was found; in a run's last row, in all"
    ),
    ResultColumn("best", "float", "", "the objective at the best mapping so far; missing if none fits"),
    ResultColumn("ratio", "float", "", "best over the proven optimum"),
)


def count_results(rows: Sequence[tuple[Cell, ...]], levels: Sequence[str], about: Mapping[str, str]) -> ResultTable:
    """A row for each layer and choice of bits: COUNT_COLUMNS, then how many mappings each level is too small for."""
    too_small = [
        ResultColumn(
            f"invalid_capacity:{level}", "int", "mappings", f"of which a tile exceeds {level}, and none further in"
        )
        for level in levels
    ]
    return ResultTable(name="counts", columns=(*COUNT_COLUMNS, *too_small), rows=tuple(rows), about=about)


def convergence_results(found: Comparison, about: Mapping[str, str]) -> ResultTable:
    """A row for each improvement of each run, and one at its end."""
    rows: list[tuple[Cell, ...]] = []
    for run in found.runs:
        result = run.result
        places = [*result.trace]
        if not places or places[-1][0] < result.looked_at:
            places.append((result.looked_at, result.objective))
        rows += [(run.heuristic, run.seed, place, best, best / found.least) for place, best in places]
    return ResultTable(name="convergence", columns=CONVERGENCE_COLUMNS, rows=tuple(rows), about=about)
