"""Energy of the default model against compat on the recorded mappings: the table of docs/model.md, section 12.

    python bench/model_differences.py

Checks that mappings without a window, with partial sums as wide as the outputs and no network energy, cost the same.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from differential.test_compat_recorded import VALID, read_case
from quantloom._core import check_fit, evaluate

WIDTHS = ("outputs' width", "derived width")


def main() -> int:
    """Print the table; 1 if mappings that must cost the same do not."""
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    unfit = 0
    wrong = 0
    for record in VALID.values():
        arch, workload, mapping, bits = read_case(record)
        dims = workload.dims
        slides = any(sum(dims[d] > 1 for d, _ in rank) > 1 for tensor in workload.tensors for rank in tensor.ranks)
        theirs = evaluate(arch, workload, mapping, bits=bits, model="compat")
        output = next(tensor.name for tensor in workload.tensors if tensor.is_output)
        found: dict[str, float] = {}
        for width in WIDTHS:
            # An output without a width takes a word an element, as do its partial sums then.
            psum_bits = 0 if width == "derived width" else bits.get(output) or arch.levels[0].word_bits
            if not check_fit(arch, workload, mapping, bits=bits, psum_bits=psum_bits):
                unfit += 1
                continue
            ours = evaluate(arch, workload, mapping, bits=bits, psum_bits=psum_bits)
            found[width] = ours.energy_pj / theirs.energy_pj
        name = "tiny (hop energies, units below level 0)" if arch.name == "tiny" else arch.name
        rows[f"{name}, {'window' if slides else 'no window'}"].append(found)
        if arch.name != "tiny" and not slides and not math.isclose(found.get(WIDTHS[0], 1.0), 1.0, rel_tol=1e-12):
            wrong += 1
    print(f"| accelerator, workloads | cases | {' | '.join(WIDTHS)} |\n|---|---|---|---|")
    for name, cases in sorted(rows.items()):
        cells = []
        for width in WIDTHS:
            ratios = sorted(found[width] for found in cases if width in found)
            cells.append(f"{ratios[0]:.3f}, {statistics.median(ratios):.3f}, {ratios[-1]:.3f}")
        print(f"| {name} | {len(cases)} | {' | '.join(cells)} |")
    print(f"\n{unfit} mappings do not fit at one of the two widths; {wrong} that must cost the same do not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
