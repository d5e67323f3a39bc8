"""Memory that ends: one error that says so, files whole, and the work goes on to the same result."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .children import RESULTS, environment, refused, run, write_inputs

# The limit is set when everything is loaded: what counts is what the command itself takes.
LIMITED = """
import resource, sys
from pathlib import Path
import quantloom.cli.main
from quantloom.cli.main import main
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + int(sys.argv[1]),) * 2)
sys.exit(main(sys.argv[2:]))
"""
SHORT = """
import resource
from quantloom.testing.toy_search import ToyEvaluator
measured = []
def accuracy(self, assignment, of=ToyEvaluator.accuracy):
    measured.append(assignment)
    if len(measured) > 20:
        {take}
    return of(self, assignment)
ToyEvaluator.accuracy = accuracy
resource.setrlimit(resource.RLIMIT_AS, (8 << 30,) * 2)
"""
TAKES = {
    "Python": "bytearray(9 << 30)",
    "NumPy": "__import__('numpy').zeros(9 << 30, dtype='uint8').fill(1)",
    "torch": "__import__('torch').ones(9 << 30, dtype=__import__('torch').uint8)",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("expected")
    write_inputs(folder)
    done = run("search", str(folder / "toy.yaml"), "-o", str(folder / "run"), "--store", "none", toy=True)
    assert done.returncode == 0, done.stderr
    return [(folder / "run" / name).read_bytes() for name in RESULTS]


@pytest.mark.parametrize("kib", [100, 4000])
def test_a_core_without_memory_is_one_error(kib: int) -> None:
    command = ["map", "network.yaml", "--arch", "eyeriss", "--bits", "8", "--threads", "2"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(kib << 10), *command],
        capture_output=True, text=True, timeout=100, check=False, env=environment(),
    )  # fmt: skip
    assert refused(done) == (
        "error: there is not enough memory\n"
        "  hint: take fewer workers or threads, or a smaller batch, or free memory; files that are written are whole\n"
    )


@pytest.mark.parametrize("who", TAKES)
def test_a_search_that_meets_the_limit_keeps_what_it_measured(folder: Path, expected: list[bytes], who: str) -> None:
    search = ["search", "toy.yaml", "-o", "run", "--store", "none"]
    done = run(*search, toy=True, before=SHORT.format(take=TAKES[who]))
    assert refused(done).startswith("error: there is not enough memory\n  hint: take fewer workers")
    assert "everything measured is kept; go on with `quantloom search --resume run`" in done.stderr
    lines = (folder / "run" / "evaluations.jsonl").read_bytes().splitlines()
    assert len(lines) == 21  # the network in float, and what was asked for before
    resumed = run("search", "--resume", "run", "--store", "none", toy=True)
    assert resumed.returncode == 0, resumed.stderr
    assert [(folder / "run" / name).read_bytes() for name in RESULTS] == expected
    assert (folder / "run" / "evaluations.jsonl").read_bytes().splitlines()[:21] == lines
