"""Commands in processes of their own, and the faults that are injected into them for real."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from two_layers import NETWORK

TESTS = Path(__file__).parents[1]
QUANTLOOM = (sys.executable, "-m", "quantloom")
TOY_COMMAND = (sys.executable, str(TESTS / "faults" / "toy_command.py"))
SEARCH = "model: toy\narch: eyeriss\nevaluations: 60\npopulation: 10\ncheckpoint: demo\n"
QUANTIZE = (
    *("quantize", "toys:net:input=8,channels=1", "--bits", "a4w3", "--data", "toys:data", "--threads", "1"),
    *("--batch", "32", "--float-epochs", "1", "--epochs", "1"),
)
RESULTS = ("front.json", "front.csv", "mappings.json")
_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


def environment(**more: str) -> dict[str, str]:
    """That of a child: the same modules as here, one thread of torch."""
    path = os.pathsep.join([str(TESTS), *(entry for entry in sys.path if entry)])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}


def run(
    *arguments: str, toy: bool = False, prepare: Callable[[], object] | None = None, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end. toy: with the toy network of a search. prepare: called in the child before it
    becomes the command. before: code that it runs first; only of a toy."""
    command = [*(TOY_COMMAND if toy else QUANTLOOM), *(("--before", before) if before else ()), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env=environment(), preexec_fn=prepare
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one error of a command that failed as it should; whatever else it says are notes and progress."""
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    said = done.stderr[done.stderr.index("error: ") :]
    assert said.count("error: ") == 1
    assert all(line.startswith("  hint: ") for line in said.splitlines()[1:]), said
    return said


def as_one_who_may_not() -> None:
    """Modes of files hold for this process and what it becomes: root, too, has to keep to them then."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused to a user who has none of them anyway


def write_inputs(folder: Path) -> None:
    """The files that the commands of these tests read."""
    (folder / "toy.yaml").write_text(SEARCH)
    (folder / "network.yaml").write_text(NETWORK)


@dataclass
class Disk:
    """A folder on a file system that is full after some KiB; where none can be mounted, files of that size are."""

    path: Path
    kib: int
    is_mounted: bool = field(init=False)

    def __post_init__(self) -> None:
        self.path.mkdir()
        self.is_mounted = self._mount(f"size={self.kib}k")

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def run(self, *arguments: str, toy: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command line that writes here."""
        return run(*arguments, toy=toy, prepare=None if self.is_mounted else self._limit)

    def _limit(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.kib << 10, resource.RLIM_INFINITY))

    def make_room(self) -> None:
        self.kib = 1 << 14
        if self.is_mounted:
            assert self._mount(f"remount,size={self.kib}k")

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@contextmanager
def disk_of(path: Path, kib: int) -> Iterator[Disk]:
    disk = Disk(path, kib)
    try:
        yield disk
    finally:
        disk.close()
