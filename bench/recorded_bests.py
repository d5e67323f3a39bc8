"""The proven optima beside every best mapping on record, of random searches and those the paper's authors committed.

python bench/recorded_bests.py [--arch NAME ...]

Prints, for each source and accelerator, how many problems there are, how many optima lie above the recorded best (none
may: exit code 1), and recorded / optimum for EDP. Compat model, EDP, the constraints that the records were made under.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median

import quantloom as ql
from quantloom import _core
from quantloom.workload.layer import conv_workload

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
ROUNDING = 1 + 2e-6  # the committed outputs have six digits

Problem = tuple[str, str, str, _core.Workload, dict[str, int], float]  # source, arch, constraints, layer, bits, EDP


def random_searches() -> list[Problem]:
    """EDP in pJ*cycles."""
    found = []
    for record in json.loads((GOLDEN / "mapper_random_search.json").read_text())["records"]:
        problem = record["problem"]
        dims = problem["dims"]
        layer = conv_workload(
            record["name"],
            inputs=dims["C"],
            outputs=dims["M"],
            output_size=(dims["P"], dims["Q"]),
            kernel=(dims["R"], dims["S"]),
            stride=(problem.get("Wstride", 1), problem.get("Hstride", 1)),
        )
        found.append(("random searches", record["arch"], "all", layer, problem["bitwidths"], record["edp"]))
    return found


def committed_outputs() -> list[Problem]:
    """EDP in pJ*cycles, from J*cycles. Depthwise layers stand as dense there."""
    lists = json.loads((GOLDEN / "paper_layers.json").read_text())
    layers = []
    for row in lists["mobilenet_keras"]:
        of = dict(zip(lists["_columns"], row, strict=True))
        size = tuple(
            (of[extent] + 2 * of[pad] - of[kernel]) // of[stride] + 1
            for extent, pad, kernel, stride in (("W", "Wpad", "R", "Wstride"), ("H", "Hpad", "S", "Hstride"))
        )
        layers.append(
            conv_workload(
                f"layer {len(layers) + 1}",
                inputs=of["C"],
                outputs=of["M"],
                output_size=size,
                kernel=(of["R"], of["S"]),
                stride=(of["Wstride"], of["Hstride"]),
            )
        )
    found = []
    for record in json.loads((GOLDEN / "paper_searches.json").read_text())["records"]:
        for layer, edp in zip(layers, record["edp_j_cycles"], strict=True):
            problem = (record["arch"], record["constraints"], layer, record["bits"], edp * 1e12)
            found.append(("the authors' outputs", *problem))
    return found


def optima(problems: list[Problem]) -> dict[int, float]:
    """EDP of the optimum by the problem's number; all settings of a layer are solved in one call, equal layers once."""
    groups: dict[object, list[int]] = defaultdict(list)
    for number, (_, arch, constraints, layer, _, _) in enumerate(problems):
        groups[arch, constraints, layer.renamed("layer")].append(number)
    found: dict[int, float] = {}
    for (arch, constraints, layer), numbers in groups.items():
        settings = [problems[number][4] for number in numbers]
        results = _core.optimize(ql.load_arch(arch), layer, settings, model="compat", selection=constraints, threads=1)
        assert all(result.certificate.exhausted for result in results)
        found.update(zip(numbers, (result.objective for result in results), strict=True))
    return found


def compare(problems: list[Problem]) -> list[tuple[str, str, int, int, list[float]]]:
    """By source and accelerator: problems, optima above the recorded best, recorded / optimum ascending."""
    best = optima(problems)
    rows = []
    for source, arch in dict.fromkeys((problem[0], problem[1]) for problem in problems):
        numbers = [number for number, problem in enumerate(problems) if problem[:2] == (source, arch)]
        above = sum(best[number] > problems[number][5] * ROUNDING for number in numbers)
        rows.append((source, arch, len(numbers), above, sorted(problems[n][5] / best[n] for n in numbers)))
    return rows


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", metavar="NAME", help="only these accelerators")
    chosen = parser.parse_args(arguments).arch
    problems = [p for p in (*random_searches(), *committed_outputs()) if chosen is None or p[1] in chosen]
    print("| source | accelerator | problems | optima above | recorded / optimum: least | median | most |")
    print("|---|---|---|---|---|---|---|")
    failed = 0
    for source, arch, count, above, ratios in compare(problems):
        print(f"| {source} | {arch} | {count} | {above} | {ratios[0]:.4f} | {median(ratios):.3f} | {ratios[-1]:.2f} |")
        failed += above
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
