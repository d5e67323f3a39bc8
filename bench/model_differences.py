"""The default model against compat on the recorded mappings: the tables of docs/model.md, section 12.

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
from quantloom._core import Cost, check_fit, evaluate

WIDTHS = ("outputs' width", "derived width")


def compare_parts(ours: Cost, theirs: Cost, slides: bool, parts: dict[str, list[float]]) -> None:
    """Ratios default / compat of what one difference acts on, with partial sums as wide as the outputs."""
    links = any(part.link_transfers for level in theirs.levels.values() for part in level.network.values())

    def fetched(cost: Cost) -> float:
        """Words of inputs that buffers are filled with, over all levels and instances."""
        parts = [part for level in cost.levels.values() for part in level.tensors.values() if not part.update_elements]
        return sum(part.fills * part.utilized_instances for part in parts)

    def crossed(cost: Cost) -> float:
        return sum(level.network_energy_pj for level in cost.levels.values())

    if slides and not links and fetched(theirs):
        parts["input words filled: halos stay when the direction changes"].append(fetched(ours) / fetched(theirs))
    if links and fetched(theirs):
        parts["input words filled: neighbours hand on nothing unless declared"].append(fetched(ours) / fetched(theirs))
    if crossed(theirs):
        parts["network energy: hops from where loops put children, refills, no read-modify-write"].append(
            crossed(ours) / crossed(theirs)
        )
    parts["cycles: bandwidths exactly, and all of the above"].append(ours.cycles / theirs.cycles)


def main() -> int:
    """Print the table; 1 if mappings that must cost the same do not."""
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    parts: dict[str, list[float]] = defaultdict(list)
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
            if width == WIDTHS[0]:
                compare_parts(ours, theirs, slides, parts)
        if len(found) == len(WIDTHS):
            parts["energy: partial sums have their own width"].append(found[WIDTHS[1]] / found[WIDTHS[0]])
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
    print("\n| difference | cases where it acts | min, median, max |\n|---|---|---|")
    for name, ratios in sorted(parts.items()):
        acting = [ratio for ratio in ratios if not math.isclose(ratio, 1.0, rel_tol=1e-12)]
        sizes = f"{min(acting):.3f}, {statistics.median(acting):.3f}, {max(acting):.3f}" if acting else "-"
        print(f"| {name} | {len(acting)} of {len(ratios)} | {sizes} |")
    print(f"\n{unfit} mappings do not fit at one of the two widths; {wrong} that must cost the same do not")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
