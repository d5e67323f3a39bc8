"""A search killed at random moments, again and again, and resumed: is its result that of one that was never stopped?

    python bench/resume.py [--kills 100] [--evaluations 200] [--workers 1] [--seed 0]

Each life is a process of `quantloom search` with all its files and its store, of the toy network of quantloom.testing,
with promotion; it is ended by SIGKILL after a random time, wherever it is. Prints how the kills fell, fails if a byte
of a result differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from unittest import mock

import quantloom.joint_search.nsga2  # loaded here once, not in every life
from quantloom.cli.main import main as quantloom
from quantloom.joint_search.promotion import TrainedRung
from quantloom.testing.toy_search import ToyEvaluator, ToySensitivity, toy_inputs, toy_network

RESULTS = ("front.json", "front.csv", "mappings.json")
LAYERS = 6


@dataclasses.dataclass(frozen=True)
class Maker:
    """Makes the evaluator in a worker."""

    pause_s: float

    def __call__(self) -> ToyEvaluator:
        return Slow(ToySensitivity(toy_network(LAYERS)), pause_s=self.pause_s)


@dataclasses.dataclass
class Slow(ToyEvaluator):
    """Takes some time for each accuracy."""

    pause_s: float = 0.0

    def accuracy(self, assignment):
        time.sleep(self.pause_s)
        return ToyEvaluator.accuracy(self, assignment)


@dataclasses.dataclass(frozen=True)
class TrainerMaker:
    """Makes what stands for training: as slow, and half of the errors are gone."""

    pause_s: float

    def __call__(self, folder: Path) -> ToyEvaluator:
        return Trained(ToySensitivity(toy_network(LAYERS)), pause_s=self.pause_s)


class Trained(Slow):
    def accuracy(self, assignment):
        return 0.5 + 0.5 * Slow.accuracy(self, assignment)


def live(arguments: list[str], pause_s: float) -> int:
    """Start a process with the command line in it, and return its number; this one has everything loaded already."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    inputs = dataclasses.replace(
        toy_inputs(LAYERS),
        evaluator=Maker(pause_s)(),
        make_evaluator=Maker(pause_s),
        accuracy_depends_on={"evaluator": "toy", "model": "toy"},
        trained=TrainedRung(
            name="toy-trained",
            here=TrainerMaker(pause_s),
            elsewhere=TrainerMaker(pause_s),
            depends_on={"evaluator": "toy-trained"},
        ),
    )
    with (
        mock.patch("quantloom.assemble.prepare", return_value=inputs),
        mock.patch("quantloom.assemble._EvaluatorMaker", return_value=Maker(pause_s)),
        mock.patch("quantloom.joint_search.front.Front.plot", lambda front, path: path.write_bytes(b"")),
    ):
        os._exit(quantloom(arguments))


def ended(child: int) -> int:
    """How a process ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--pause-ms", type=float, default=2.0, help="of each accuracy")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    generator = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("toy.yaml").write_text(
            f"model: toy\narch: eyeriss\nevaluations: {args.evaluations}\npopulation: 20\ncheckpoint: demo\n"
            "promote: 8\n"
        )
        workers = ["--workers", str(args.workers)]
        began = time.monotonic()
        assert ended(live(["search", "toy.yaml", "-o", "whole", "--store", "none"], args.pause_ms / 1e3)) == 0
        whole_s = time.monotonic() - began
        expected = [Path("whole", name).read_bytes() for name in RESULTS]
        moments: Counter[str] = Counter()
        run = kills = 0
        while kills < args.kills:
            # several runs one after the other, each killed until it is through
            directory, run = Path(f"run-{run}"), run + 1
            while True:
                is_new = not (directory / "manifest.json").exists()
                start = ["search", "toy.yaml", "-o"] if is_new else ["search", "--resume"]
                child = live([*start, str(directory), "--store", "store.sqlite", *workers], args.pause_ms / 1e3)
                if kills < args.kills:
                    time.sleep(generator.uniform(0, 0.6 * whole_s))
                    os.kill(child, signal.SIGKILL)
                code = ended(child)
                if code == 0:
                    break
                assert code == -signal.SIGKILL, f"a run ended by itself with code {code}: {Path('said').read_text()}"
                kills += 1
                moments[moment(directory)] += 1
            found = [Path(directory, name).read_bytes() for name in RESULTS]
            assert found == expected, f"{directory}: the result differs after kills"
            Path("store.sqlite").unlink()  # so that the next run measures too
        print(f"{kills} kills over {run} runs of {args.evaluations} evaluations ({whole_s:.1f} s uninterrupted)")
        print("killed " + ", ".join(f"{when}: {count}" for when, count in sorted(moments.items())))
        print(f"{', '.join(RESULTS)} of every run are those of the uninterrupted one, byte by byte")


def moment(directory: Path) -> str:
    """Where a kill fell, by what is on disk."""
    if not (directory / "manifest.json").exists():
        return "before the run was begun"
    if (directory / "front.json").exists():
        return "while the last files were written"
    content = (directory / "evaluations.jsonl").read_bytes()
    return "inside a line of the journal" if not content.endswith(b"\n") and content else "between evaluations"


if __name__ == "__main__":
    main()
