"""A real `quantloom search`, killed at random moments, resumes to the very same result (bench/resume.py at length)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("kills", "workers"), [(5, 1), (2, 2)])
def test_a_search_killed_again_and_again_gives_the_same_bytes(kills: int, workers: int) -> None:
    options = ["--kills", str(kills), "--evaluations", "60", "--workers", str(workers), "--pause-ms", "5"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/resume.py"), *options],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{kills} kills over ")
    assert done.stdout.rstrip().endswith("are those of the uninterrupted one, byte by byte")
