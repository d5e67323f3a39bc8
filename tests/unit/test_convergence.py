"""The figure of a comparison: the median over runs, and a PNG that is one."""

from __future__ import annotations

import math
import struct
from pathlib import Path

from quantloom.report.convergence import median_trace, plot_convergence


def test_the_median_changes_where_it_does() -> None:
    traces = [[(1, 8.0), (10, 2.0)], [(3, 4.0)], [(5, 6.0), (10, 1.0)]]
    assert median_trace(traces) == [(1, math.inf), (3, 8.0), (5, 6.0), (10, 2.0)]
    assert median_trace([[(2, 3.0)], []]) == [(2, math.inf)]
    assert median_trace([[(2, 3.0), (4, 1.5)]]) == [(2, 3.0), (4, 1.5)]


def test_the_figure_is_a_png_even_if_a_heuristic_found_nothing(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    traces = {"random": [[], []], "annealing": [[(1, 300.0), (40, 1.0)], [(7, 1.01)]]}
    plot_convergence(path, title="t", subtitle="s", axis="EDP", traces=traces, budget=100, proof="proven optimum")
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (1200, 800)
