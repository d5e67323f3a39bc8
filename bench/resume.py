"""Commands killed at random moments, again and again, and begun anew: is their result that of one never stopped?

    python bench/resume.py [--what search|training|bits|begin|table|report|all] [--kills 100] [--workers 1] [--seed 0]

search: `quantloom search` with its files, store and promotion, of the toy network of quantloom.testing, resumed.
training: `quantloom quantize` of a small network, in float and then with its bits, resumed; the state is written after
every step. bits: the same job once its float phase is done, killed only while it trains with bits. begin: the same job,
shorter, killed while it makes its directory, begun again there until it is made, then resumed. table: `quantloom table`
with a store, over and over. report: `quantloom report` with its figures, over an older report.

Each life is a process that is ended by SIGKILL: every other one after a random time, wherever it is, the others up to
30 ms after the first file that they begin to write, on a disk that takes 10 ms to sync (those of bits and begin at
random moments of what they are about). Prints how the kills fell, and fails if a byte of a result differs, a file is
there in part under its own name, or anything is left when all is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from torch import nn

import quantloom.joint_search.nsga2  # these are loaded here once, not in every life
import quantloom.quant.job
import quantloom.report.figures
from quantloom.cli.main import main as quantloom
from quantloom.joint_search.promotion import TrainedRung
from quantloom.quant.data import DataSplits, ImageDataset
from quantloom.testing.toy_search import ToyEvaluator, ToyEvaluatorMaker, ToySensitivity, toy_inputs, toy_network
from quantloom.whole_files import sync

WHATS = ("search", "training", "bits", "begin", "table", "report")
LAYERS = 6
DISK_S = 0.01  # that a sync takes longer than here
SEARCHED = ("front.json", "front.csv", "mappings.json")
TRAINED = ("weights.pt", "float.pt", "model.onnx", "bits.yaml")
DRAWN = tuple(f"figures/{name}.svg" for name in ("front", "bits", "energy_by_level", "energy_by_layer", "latency"))
NETWORK = "name: chain\ninput_shape: [4, 8, 8]\nedges:\n" + "".join(
    [f"  - {{name: e{i}, shape: [{4 + 2 * i}, 8, 8]}}\n" for i in range(7)]
    + ["layers:\n"]
    + [
        f"  - {{name: l{i}, reads: e{i}, writes: e{i + 1}, dims: {{C: {4 + 2 * i}, M: {6 + 2 * i}, P: 8, Q: 8}}}}\n"
        for i in range(6)
    ]
)


@dataclasses.dataclass(frozen=True)
class TrainerMaker:
    """Makes what stands for training: as slow, and half of the errors are gone."""

    pause_s: float

    def __call__(self, folder: Path) -> ToyEvaluator:
        return Trained(ToySensitivity(toy_network(LAYERS)), pause_s=self.pause_s)


class Trained(ToyEvaluator):
    def accuracy(self, assignment):
        return 0.5 + 0.5 * ToyEvaluator.accuracy(self, assignment)


def net() -> nn.Module:
    """Two classes from 8 x 8 pixels."""
    torch.manual_seed(0)
    first = nn.Conv2d(1, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU6()
    return nn.Sequential(*first, nn.Flatten(), nn.Dropout(0.2), nn.Linear(72, 2))


def data() -> DataSplits:
    """Images that are bright above or below."""

    def images(count: int, seed: int) -> ImageDataset:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(2, (count,), generator=generator)
        pixels = torch.randint(0, 100, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)
        for half in (0, 1):
            pixels[labels == half, :, 4 * half : 4 * half + 4] += 60
        return ImageDataset(pixels, labels, classes=2, mean=(0.3,), std=(0.2,))

    return DataSplits(
        name="halves",
        description="bright above or below",
        classes=("above", "below"),
        train=images(256, 0),
        validation=images(64, 1),
        test=images(64, 2),
    )


def partial_files(directory: Path) -> set[str]:
    """What is being written there, or was when a process was killed."""
    found: set[str] = set()
    for folder in (directory, directory / "figures"):
        if folder.is_dir():
            found |= {entry.path for entry in os.scandir(folder) if ".part" in entry.name}
    return found


@dataclasses.dataclass(frozen=True)
class Life:
    """A process that is to be killed. number: of the kill. whole_s: what an uninterrupted run takes."""

    child: int
    directory: Path
    number: int
    whole_s: float
    generator: random.Random
    is_new: bool

    def is_over(self) -> bool:
        """Whether the process ended by itself (it is then still to be waited for)."""
        return os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait_until(self, happened: Callable[[], object]) -> bool:
        """Until something happened; false if the process ended before."""
        while not self.is_over():
            if happened():
                return True
            time.sleep(0.001)
        return False

    def sleep_up_to(self, seconds: float) -> bool:
        time.sleep(self.generator.uniform(0, seconds))
        return True


def wait_for_writing(life: Life, seconds: float = 3 * DISK_S) -> bool:
    """Until up to so many seconds after a file is begun in the directory."""
    before = partial_files(life.directory)
    life.wait_until(lambda: partial_files(life.directory) - before)
    return life.sleep_up_to(seconds)


def wait_anywhere(life: Life) -> bool:
    return wait_for_writing(life) if life.number % 2 else life.sleep_up_to(0.6 * life.whole_s)


def wait_for_training_with_bits(life: Life) -> bool:
    """Until this life has written a state of training with bits, and some steps more."""
    path = life.directory / "training.state"

    def state() -> int | None:
        return path.stat().st_ino if path.exists() else None

    before = state()
    return life.wait_until(lambda: state() not in (None, before)) and life.sleep_up_to(20 * DISK_S)


def wait_for_beginning(life: Life) -> bool:
    """Until a directory is being made: four syncs, of two files and their names."""
    return life.is_new and wait_for_writing(life, 5 * DISK_S)


@dataclasses.dataclass(frozen=True)
class What:
    """A command to kill: the command lines that begin in a directory and go on there, and what they leave.

    moment: where a kill fell, by what is on disk. before: called with the directory before it is begun. wait: until the
    moment of a kill; false if this life is to be left alone.
    """

    begin: Callable[[Path], list[str]]
    go_on: Callable[[Path], list[str]]
    results: tuple[str, ...]
    begun_by: str
    moment: Callable[[Path, set[str]], str]
    before: Callable[[Path], object] = lambda directory: None
    wait: Callable[[Life], bool] = lambda life: wait_anywhere(life)


def search_moment(directory: Path, before: set[str]) -> str:
    if not (directory / "manifest.json").exists():
        return "before the run was begun"
    if (directory / "front.json").exists():
        return "while the last files were written"
    content = (directory / "evaluations.jsonl").read_bytes()
    return "inside a line of the journal" if not content.endswith(b"\n") and content else "between evaluations"


def training_moment(directory: Path, before: set[str]) -> str:
    if not (directory / "manifest.json").exists():
        return "before the job was begun"
    if (directory / "weights.pt").exists():
        return "while the last files were written"
    return "in training with bits" if (directory / "float.pt").exists() else "in training in float"


def bits_moment(directory: Path, before: set[str]) -> str:
    if (directory / "training.state").exists() and not (directory / "weights.pt").exists():
        written = any(Path(path).name.startswith(".training.") for path in partial_files(directory) - before)
        return "while the state of training with bits was written" if written else "in a step of training with bits"
    return "while the last files were written"


def beginning_moment(directory: Path, before: set[str]) -> str:
    if (directory / "manifest.json").exists():
        return "once the manifest was there"
    return "between bits.yaml and manifest.json" if (directory / "bits.yaml").exists() else "before bits.yaml"


def past_float(where: Path) -> None:
    """A job killed as soon as it trains with bits; the uninterrupted one begins at the beginning."""
    if where != Path("whole-bits"):
        shutil.copytree("floated", where)


def writing_moment(directory: Path, before: set[str]) -> str:
    return "while a file was written" if partial_files(directory) - before else "between files"


def kinds(args: argparse.Namespace) -> dict[str, What]:
    workers = ["--workers", str(args.workers), "--store", "store.sqlite"]
    table = ["table", "chain.yaml", "--arch", "eyeriss", "--bits", "2,4,8", "--threads", "1", "--store", "store.sqlite"]
    train = ["quantize", "resume:net:input=8,channels=1", "--bits", "a4w3", "--data", "resume:data"]
    train += ["--threads", "1", "--batch", "32", "--float-epochs", "3", "--epochs", "3"]
    quantize = What(
        begin=lambda where: [*train, "-o", str(where)],
        go_on=lambda where: ["quantize", "--resume", str(where), "--threads", "1"],
        results=TRAINED,
        begun_by="manifest.json",
        moment=training_moment,
    )
    return {
        "search": What(
            begin=lambda where: ["search", "toy.yaml", "-o", str(where), *workers],
            go_on=lambda where: ["search", "--resume", str(where), *workers],
            results=SEARCHED,
            begun_by="manifest.json",
            moment=search_moment,
        ),
        "training": quantize,
        "bits": dataclasses.replace(quantize, moment=bits_moment, before=past_float, wait=wait_for_training_with_bits),
        "begin": dataclasses.replace(
            quantize,
            begin=lambda where: [*train, "--float-epochs", "1", "--epochs", "1", "-o", str(where)],
            moment=beginning_moment,
            wait=wait_for_beginning,
        ),
        "table": What(
            begin=lambda where: [*table, "-o", str(where / "t.csv"), "--force"],
            go_on=lambda where: [*table, "-o", str(where / "t.csv"), "--force"],
            results=("t.csv",),
            begun_by="t.csv",
            moment=writing_moment,
        ),
        "report": What(
            begin=lambda where: ["report", str(where), "--figures", "svg"],
            go_on=lambda where: ["report", str(where), "--figures", "svg"],
            results=("report.html", *DRAWN),
            begun_by="manifest.json",
            moment=writing_moment,
            before=lambda where: where.exists() or shutil.copytree("searched", where),
        ),
    }


def slow_sync(path: Path) -> None:
    """As a slow disk does it, so that kills fall in the middle of writing, too."""
    time.sleep(DISK_S)
    sync(path)


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
        evaluator=ToyEvaluatorMaker(LAYERS, pause_s)(),
        make_evaluator=ToyEvaluatorMaker(LAYERS, pause_s),
        accuracy_depends_on={"evaluator": "toy", "model": "toy"},
        trained=TrainedRung(
            name="toy-trained",
            here=TrainerMaker(pause_s),
            elsewhere=TrainerMaker(pause_s),
            depends_on={"evaluator": "toy-trained"},
        ),
    )
    with (
        mock.patch("quantloom.assemble.search.prepare", return_value=inputs),
        mock.patch("quantloom.assemble.search._EvaluatorMaker", return_value=ToyEvaluatorMaker(LAYERS, pause_s)),
        mock.patch("quantloom.joint_search.front.Front.plot", lambda front, path: path.write_bytes(b"")),
        mock.patch("quantloom.quant.training_state.StateFile.is_due", return_value=True),
        mock.patch("quantloom.whole_files.sync", slow_sync),
    ):
        os._exit(quantloom(arguments))


def ended(child: int) -> int:
    """How a process ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def found_in(directory: Path, results: tuple[str, ...]) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in results if (directory / name).exists()}


def kill_again_and_again(name: str, what: What, args: argparse.Namespace) -> None:
    pause_s, generator = args.pause_ms / 1e3, random.Random(f"{name} {args.seed}")
    whole = Path(f"whole-{name}")
    what.before(whole)
    began = time.monotonic()
    assert ended(live(what.begin(whole), pause_s)) == 0, Path("said").read_text()
    whole_s = time.monotonic() - began
    Path("store.sqlite").unlink(missing_ok=True)
    expected = found_in(whole, what.results)
    assert expected.keys() == set(what.results)
    moments: Counter[str] = Counter()
    run = kills = 0
    while kills < args.kills:
        # several runs one after the other, each killed until it is through
        directory, run = Path(f"{name}-{run}"), run + 1
        while True:
            if not (directory / what.begun_by).exists():
                what.before(directory)
            is_new = not (directory / what.begun_by).exists()
            left_before = partial_files(directory)
            child = live((what.begin if is_new else what.go_on)(directory), pause_s)
            life = Life(child, directory, kills, whole_s, generator, is_new)
            if kills < args.kills and what.wait(life):
                os.kill(child, signal.SIGKILL)
            code = ended(child)
            found = found_in(directory, what.results)
            wrong = [each for each in found if found[each] != expected[each]]
            if code == 0:
                break
            assert code == -signal.SIGKILL, f"a run ended by itself with code {code}: {Path('said').read_text()}"
            assert not wrong, f"{directory}: {', '.join(wrong)} is not whole after a kill"
            kills += 1
            moments[what.moment(directory, left_before)] += 1
        assert not wrong, f"{directory}: {', '.join(wrong)} differs after kills"
        assert found.keys() == expected.keys()
        left = partial_files(directory)
        assert not left, f"{directory}: {left} is left"
        for path in Path().glob("store.sqlite*"):  # so that the next run works too
            path.unlink()
    print(f"{name}: {kills} kills over {run} runs ({whole_s:.1f} s uninterrupted)")
    print("killed " + ", ".join(f"{when}: {count}" for when, count in sorted(moments.items())))
    print(f"{', '.join(what.results)} of every run are those of the uninterrupted one, byte by byte", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", default="search", choices=(*WHATS, "all"))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=200, help="of a search")
    parser.add_argument("--pause-ms", type=float, default=2.0, help="of each accuracy")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sys.modules["resume"] = sys.modules["__main__"]  # where `resume:net` is looked for
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("toy.yaml").write_text(
            f"model: toy\narch: eyeriss\nevaluations: {args.evaluations}\npopulation: 20\ncheckpoint: demo\n"
            "promote: 8\n"
        )
        Path("chain.yaml").write_text(NETWORK)
        if args.what in ("report", "all"):
            assert ended(live(["search", "toy.yaml", "-o", "searched", "--store", "none"], 0.0)) == 0
            (Path("searched") / "report.html").unlink()
            manifest = json.loads(Path("searched/manifest.json").read_text())
            assert manifest["status"] == "finished"
        asked = kinds(args)
        if args.what in ("bits", "all"):
            child = live(asked["training"].begin(Path("floated")), 0.0)
            life = Life(child, Path("floated"), 0, 0.0, random.Random(args.seed), is_new=True)
            assert life.wait_until(Path("floated/training.state").exists), "it ended before training with bits"
            os.kill(child, signal.SIGKILL)
            ended(child)
        for name, what in asked.items():
            if args.what in (name, "all"):
                kill_again_and_again(name, what, args)


if __name__ == "__main__":
    main()
