"""Fronts of MobileNetV1-0.25 on CIFAR-10 for two accelerators and several seeds, with all baselines, and statistics.

    quantloom fetch cifar10 -o cifar10
    python bench/fronts.py --data cifar10:cifar10 -o DIR [--evaluations N] [--seeds N] [--arch ARCH ...]

The float weights come with quantloom. Every search (the proposed, memory-only, random,
bits on mappings fixed at 8 bits) gets as many evaluations; 10 seeds, a population of 10. Accuracies are those of the
cheap rung: quantized, batch normalisation taken anew (ptq+bn), on 1000 of the 5000 validation images; the fronts are
measured on 2000 of the 10,000 test images. Accuracies do not depend on the accelerator: a store in DIR shares them.
Interrupted at any moment, the same command goes on; runs that are complete are only read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import quantloom as ql
from quantloom.assemble import load_network_and_data, prepare, with_bits
from quantloom.cli.compare import print_comparison
from quantloom.errors import SearchError
from quantloom.joint_search.comparison import compare_runs
from quantloom.joint_search.config import RIVALS
from quantloom.joint_search.journal import read_manifest
from quantloom.joint_search.run import SearchInputs, run_search
from quantloom.quant.ptq import PtqConfig, PtqEvaluator
from quantloom.store.database import Store

MODEL = "mobilenet_v1:width=0.25,input=32,classes=10"
WEIGHTS = "zoo:mobilenet_v1_0.25_cifar10"
TEST_IMAGES = 2000


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="cifar10:DIR", required=True)
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True)
    parser.add_argument("--arch", action="append", help="default: eyeriss and simba")
    parser.add_argument("--seeds", metavar="N", type=int, default=3)
    parser.add_argument("--evaluations", metavar="N", type=int, default=50)
    args = parser.parse_args(argv)
    names = args.arch or ["eyeriss", "simba"]
    args.output.mkdir(parents=True, exist_ok=True)
    runs: dict[str, list[Path]] = {name: [] for name in names}
    with Store.open(args.output / "store.db", note=print) as store:
        prepared: dict[str, SearchInputs] = {}
        for seed in range(args.seeds):
            for name in names:
                runs[name].append(args.output / f"{name}-{args.evaluations}-seed{seed}")
                make_run(runs[name][-1], name, seed, args, store, prepared)
    for name, directories in runs.items():
        comparison = compare_runs(directories)
        comparison.plot(args.output / f"{name}-{args.evaluations}.png")
        print_comparison(comparison)
        print()


def make_run(
    directory: Path,
    arch_name: str,
    seed: int,
    args: argparse.Namespace,
    store: Store,
    prepared: dict[str, SearchInputs],
) -> None:
    """Make a run, go on with it, or leave it as it is if it is complete."""
    try:
        manifest = read_manifest(directory)
    except SearchError:
        manifest = {}
    if manifest.get("status") == "finished":
        return
    arch = ql.load_arch(arch_name)
    config = ql.SearchConfig(
        model=MODEL,
        arch=arch_name,
        data=args.data,
        checkpoint=WEIGHTS,
        evaluations=args.evaluations,
        population=10,
        seeds=10,
        seed=seed,
        compare=RIVALS,
    )
    config = with_bits(config, arch)
    if arch_name not in prepared:
        inputs = prepare(config, arch, threads=1, store=store)
        traced, data = load_network_and_data(MODEL, checkpoint=config.checkpoint, data=config.data, threads=1)
        evaluator = PtqEvaluator(traced, data, config=PtqConfig(test_images=TEST_IMAGES))
        settings = f"{evaluator.config} {evaluator.network.scheme}"
        depends_on = {**(inputs.accuracy_depends_on or {}), "settings": settings}
        prepared[arch_name] = replace(inputs, evaluator=evaluator, accuracy_depends_on=depends_on)
    inputs = prepared[arch_name]
    run_search(config, inputs, directory=directory, resume=bool(manifest), store=store)
    print(f"{directory} is complete", flush=True)


if __name__ == "__main__":
    main()
