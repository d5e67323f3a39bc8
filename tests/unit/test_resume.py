"""Real commands, killed at random moments, give the very same result in the end (bench/resume.py at length)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("what", "kills", "options"),
    [
        ("search", 5, ["--evaluations", "60", "--pause-ms", "5"]),
        ("search", 2, ["--evaluations", "60", "--pause-ms", "5", "--workers", "2"]),
        ("training", 2, []),
        ("bits", 3, []),
        ("begin", 2, []),
        ("table", 5, []),
        ("report", 2, []),
    ],
    ids=["search", "search by workers", "training", "training with bits", "begin", "table", "report"],
)
def test_a_command_killed_again_and_again_gives_the_same_bytes(what: str, kills: int, options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench/resume.py"), "--what", what, "--kills", str(kills), *options],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{what}: {kills} kills over ")
    assert done.stdout.rstrip().endswith("are those of the uninterrupted one, byte by byte")
