"""The differential command, shortly; a long run is in docs/validation.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def test_two_ways_to_each_answer_agree() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.differential.run", "--rounds", "1", "--first", "1000000"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    compared = dict(re.findall(r"^(\w+) +(\d+) compared, 0 differ", done.stdout, re.MULTILINE))
    assert list(compared) == ["oracle", "mapper", "points", "batch", "threads", "resume"]
    assert all(int(count) >= 1 for count in compared.values()), done.stdout
