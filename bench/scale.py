"""What a search over an ImageNet-size problem costs on 1, 8 and 1000 workers, and what is in the way first: simulated.

    python bench/scale.py [--evaluations 10000] [--evaluation-s S]

Measured here: seconds of one accuracy (post-training quantization of MobileNetV2 at 224 pixels, one thread; or given),
of the search itself for each candidate (a whole search of a toy with 105 genes), of a line of the journal and of a
value of the store, of handing a task to a local worker (up to 8 workers; above, --cluster-ms for Dask). Simulated:
generations with a barrier at their end, workers that take the next task when they are free, one process that hands
out tasks and takes in results one at a time.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.executors import Ready, Task
from quantloom.joint_search.journal import Evaluation, RunDirectory
from quantloom.joint_search.run import run_search
from quantloom.joint_search.workers import LocalWorkers
from quantloom.quant.network import QuantizedNetwork
from quantloom.store.database import Record, Store
from quantloom.store.keys import key_of
from quantloom.testing.toy_search import ToyEvaluator, ToySensitivity, toy_inputs, toy_network
from quantloom.workload.from_torch import trace
from quantloom.workload.load import find_model
from quantloom.workload.network import BitAssignment
from quantloom.workload.torch_models import build_model

IMAGES = {"1,000 images": 512 + 1000, "50,000 images": 512 + 50_000}  # statistics and validation
SPREAD = 0.1  # standard deviation of an evaluation's time, as a share


def image_s() -> float:
    """CPU seconds of one image through MobileNetV2 at 224 pixels with every tensor quantized, one thread."""
    torch.set_num_threads(1)
    source = find_model("mobilenet_v2")
    built = build_model(source.build, source.input_shape, source.name)
    traced = trace(built.module, built.image_shape, name=source.name)
    network = QuantizedNetwork(traced)
    images = torch.rand((8, *built.image_shape), generator=torch.Generator().manual_seed(0))
    network.calibrate(images)
    network.set_bits(BitAssignment.uniform(traced.network, 4))
    with torch.inference_mode():
        network(images)
        began = time.process_time()
        for _ in range(3):
            network(images)
    return (time.process_time() - began) / 3 / len(images)


def search_s(population: int, evaluations: int) -> float:
    """CPU seconds of the search itself for a candidate: everything but accuracy, journal, store and dispatch."""
    inputs = dataclasses.replace(toy_inputs(52), sensitivity=None)
    config = SearchConfig(model="toy", arch="toy", evaluations=evaluations, population=population, seeds=0)
    began = time.process_time()
    run_search(config, inputs)
    return (time.process_time() - began) / evaluations


def journal_s(folder: Path, lines: int = 300) -> float:
    """Seconds of a line of the journal on the disk."""
    evaluation = Evaluation(
        split="validation", assignment=BitAssignment(weights=(8,) * 53, groups=(8,) * 52), accuracy=0.5
    )
    with RunDirectory.create(folder / "run", {}, {}) as run:
        began = time.perf_counter()
        for _ in range(lines):
            run.append(evaluation)
    return (time.perf_counter() - began) / lines


def store_s(folder: Path, values: int = 300) -> float:
    """Seconds of a value of the store."""
    with Store.open(folder / "store.sqlite", note=print) as store:
        began = time.perf_counter()
        for i in range(values):
            store.put([Record(key=key_of(i), kind="accuracy", code="", about={"bits": [8] * 105}, value=0.5)])
    return (time.perf_counter() - began) / values


def dispatch_s(tasks: int = 500) -> float:
    """CPU seconds of this process for a task handed to one of two local workers, and its result."""
    network = toy_network(52)
    task = Task(split="validation", assignment=BitAssignment.uniform(network, 8))
    workers = LocalWorkers(Ready(ToyEvaluator(ToySensitivity(network))), 2)
    list(workers.run([task] * 2))  # until both are up
    began = time.process_time()
    assert len(list(workers.run([task] * tasks))) == tasks
    spent = time.process_time() - began
    workers.close()
    return spent / tasks


@dataclasses.dataclass(frozen=True)
class Simulated:
    """wall_s: of the search. busy: share of the workers' time spent on accuracies. parent: of the parent's own."""

    wall_s: float
    busy: float
    parent: float


def simulate(
    *, evaluations: int, population: int, workers: int, evaluation_s: float, result_s: float, candidate_s: float
) -> Simulated:
    """Run the generations. result_s: of the parent for each result; candidate_s: between generations, for each."""
    generator = random.Random(0)
    now = worked = parent = 0.0
    for size in sizes(evaluations, population):
        durations = [max(0.01, generator.gauss(1, SPREAD)) * evaluation_s for _ in range(size)]
        parent_free = now
        running: list[float] = []
        waiting = iter(durations)
        for duration in (d for _, d in zip(range(workers), waiting, strict=False)):
            heapq.heappush(running, parent_free + duration)
            worked += duration
        while running:
            done = heapq.heappop(running)
            parent_free = max(parent_free, done) + result_s
            parent += result_s
            duration = next(waiting, None)
            if duration is not None:
                heapq.heappush(running, parent_free + duration)
                worked += duration
        now = parent_free + candidate_s * size
        parent += candidate_s * size
    return Simulated(wall_s=now, busy=worked / (workers * now), parent=parent / now)


def sizes(evaluations: int, population: int) -> Iterator[int]:
    """Sizes of the generations."""
    for begin in range(0, evaluations, population):
        yield min(population, evaluations - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--evaluation-s", type=float, help="seconds of one accuracy, instead of measuring images")
    help_text = "of a task through Dask: CPU of client and scheduler by bench/cluster_engines.py (default: 2.11)"
    parser.add_argument("--cluster-ms", type=float, default=2.11, help=help_text)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = {"journal": journal_s(Path(folder)), "store": store_s(Path(folder)), "dispatch": dispatch_s()}
    candidate_s = {population: search_s(population, max(400, 2 * population)) for population in (40, 1000)}
    print("parent, for each result: " + ", ".join(f"{name} {1e3 * s:.2f} ms" for name, s in parts.items()))
    print("the search itself, for each candidate: ", end="")
    print(", ".join(f"{1e3 * s:.2f} ms in populations of {p}" for p, s in candidate_s.items()))
    if args.evaluation_s is None:
        each = image_s()
        print(f"MobileNetV2 at 224, every tensor quantized: {1e3 * each:.1f} ms of CPU an image")
        cases = {name: images * each for name, images in IMAGES.items()}
    else:
        cases = {f"{args.evaluation_s:g} s": args.evaluation_s}
    for name, evaluation_s in cases.items():
        print(f"\n{args.evaluations:,} evaluations of {name}, {evaluation_s:.1f} s each")
        print(f"{'workers':>8} {'population':>11} {'wall h':>9} {'speed-up':>9} {'busy':>7} {'parent':>7}")
        one = None
        for workers, population in ((1, 40), (8, 40), (1000, 40), (1000, 1000)):
            dispatch = parts["dispatch"] if workers <= 8 else args.cluster_ms / 1e3
            found = simulate(
                evaluations=args.evaluations,
                population=population,
                workers=workers,
                evaluation_s=evaluation_s,
                result_s=parts["journal"] + parts["store"] + dispatch,
                candidate_s=candidate_s[population],
            )
            one = one or found.wall_s
            print(
                f"{workers:8d} {population:11d} {found.wall_s / 3600:9.2f} {one / found.wall_s:9.1f}"
                f" {found.busy:7.1%} {found.parent:7.1%}"
            )


if __name__ == "__main__":
    main()
