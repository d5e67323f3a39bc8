"""Measure the ladder of docs/accuracy.md: what each rung costs and how far it ranks assignments as the top rung does.

    python bench/accuracy_ladder.py --model MODEL --checkpoint FILE --data DATA -o DIR

Every score is kept in DIR/ladder.jsonl as it is made: interrupted, the same command goes on. Prints a Markdown table
and how far apart the trained accuracies lie.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from quantloom.assemble.network_and_data import load_network_and_data
from quantloom.cli.progress import Progress
from quantloom.demo import DEMO_MODEL
from quantloom.errors import QuantloomError
from quantloom.quant.data import spread_subset
from quantloom.quant.ladder import RUNGS, Measurement, RungResult, budget_assignments, make_rung, measure, results_of
from quantloom.quant.qat import QAT_DEFAULTS, SWITCHABLE_DEFAULTS
from quantloom.quant.train import TrainConfig


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEMO_MODEL)
    parser.add_argument("--checkpoint", default="demo", help="weights of the float network (default: the demo's)")
    parser.add_argument("--data", default="demo")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--assignments", type=int, default=24)
    parser.add_argument("--widths", default="2,3,4,5", help="in equal shares, permuted over the tensors")
    parser.add_argument("--seeds", type=int, default=3, help="of everything that trains")
    parser.add_argument("--full-epochs", type=int, default=3)
    parser.add_argument("--short-epochs", type=int, default=1)
    parser.add_argument("--switchable-epochs", type=int, default=5)
    parser.add_argument("--switchable-widths", default="2,3,4,5,8", help="that shared weights are trained for")
    parser.add_argument("--learning-rate", type=float, default=QAT_DEFAULTS["learning_rate"], help="the peak of both")
    parser.add_argument("--images", type=int, help="train images of an epoch (default: all)")
    parser.add_argument("--rungs", default=",".join(RUNGS))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    try:
        print("\n".join(run(args)))
    except QuantloomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> list[str]:
    traced, data = load_network_and_data(args.model, checkpoint=args.checkpoint, data=args.data, threads=args.threads)
    data = replace(data, train=spread_subset(data.train, args.images))
    widths = [int(bits) for bits in args.widths.split(",")]
    switchable_widths = [int(bits) for bits in args.switchable_widths.split(",")]
    assignments = budget_assignments(traced.network, widths, args.assignments, seed=0)
    full = TrainConfig(**{**QAT_DEFAULTS, "epochs": args.full_epochs, "learning_rate": args.learning_rate})
    short = replace(full, epochs=args.short_epochs)
    switchable = TrainConfig(**{**SWITCHABLE_DEFAULTS, "epochs": args.switchable_epochs})

    def prepare(name: str, seed: int):
        return lambda: make_rung(
            name,
            traced,
            data,
            assignments,
            short=replace(short, seed=seed),
            full=replace(full, seed=seed),
            switchable=replace(switchable, seed=seed),
            switchable_widths=switchable_widths,
        )

    trains = {"switchable+bn", "qat-short", "qat"}
    rungs = [
        (name, seed, prepare(name, seed))
        for name in args.rungs.split(",")
        for seed in range(args.seeds if name in trains else 1)
    ]
    args.output.mkdir(parents=True, exist_ok=True)
    settings = {
        **{key: getattr(args, key) for key in ("model", "checkpoint", "data", "images")},
        **{key: getattr(args, key) for key in ("assignments", "widths", "switchable_widths")},
        **{"full": asdict(full), "short": asdict(short), "switchable": asdict(switchable)},
    }
    with Progress() as progress:
        found = measure(rungs, assignments, args.output / "ladder.jsonl", settings=settings, progress=progress)
    return [*table(results_of(found, "qat")), "", trained_spread(found, "qat")]


def table(results: Sequence[RungResult]) -> list[str]:
    lines = [
        "| rung | CPU s once | CPU s a candidate | Spearman (least, mean, most) | Kendall (least, mean, most) |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        cells = [result.rung, f"{result.prepare_s:.1f}", f"{result.cpu_s:.3g}"]
        cells += [spread(values) for values in (result.spearman, result.kendall)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def trained_spread(found: Sequence[Measurement], top: str) -> str:
    """How far apart the accuracies of the top rung lie: those of the assignments, and those of one with other seeds."""
    scores: dict[int, list[float]] = {}
    for item in found:
        if item.rung == top and item.assignment >= 0:
            scores.setdefault(item.assignment, []).append(100 * item.score)
    means = [statistics.fmean(values) for values in scores.values()]
    within = [statistics.variance(values) for values in scores.values() if len(values) > 1]
    seeds = f", {math.sqrt(statistics.fmean(within)):.1f} between the seeds of one" if within else ""
    minutes = sum(item.cpu_s for item in found) / 60
    return (
        f"{top} of {len(means)} assignments: {min(means):.1f} to {max(means):.1f} %, "
        f"standard deviation {statistics.stdev(means):.1f} points{seeds}; {minutes:.0f} minutes of CPU in all"
    )


def spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{min(values):.2f}, {math.fsum(values) / len(values):.2f}, {max(values):.2f}"


if __name__ == "__main__":
    sys.exit(main())
