"""The differential command, shortly; a long run is in docs/validation.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEAST = {"oracle": 40, "mapper": 10, "points": 5, "batch": 5, "threads": 5, "resume": 1}
"""Cases of one round that are compared, by kind: 40, 16, 8, 10, 10 and 1 in this round, the rest is skipped."""


def test_two_ways_to_each_answer_agree() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.differential.run", "--rounds", "1", "--first", "1000000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    compared = dict(re.findall(r"^(\w+) +(\d+) compared, 0 differ", done.stdout, re.MULTILINE))
    assert list(compared) == list(LEAST)
    assert all(int(compared[kind]) >= least for kind, least in LEAST.items()), done.stdout


def test_a_refusal_is_a_difference_where_none_may_be_and_skipped_elsewhere() -> None:
    program = """
from tests.differential import run
from quantloom.errors import MappingError

def refuse(rng):
    raise MappingError("no")

run.differences = run.random_space = refuse
print(run.check("oracle", 0), run.check("batch", 0))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['refused: MappingError: no'] None\n", "")
