"""A search of a toy network, whole and killed: what was cut off at a byte of the journal resumes to the same files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from random import Random
from unittest import mock

from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.journal import JOURNAL, MANIFEST
from quantloom.joint_search.run import run_search
from quantloom.testing.toy_search import toy_inputs

RESULTS = ("front.json", "front.csv", "mappings.json")


def differing_resume(rng: Random) -> list[str]:
    """The files that differ after one search is killed at three places, each time resumed."""
    layers = rng.randint(3, 6)
    residual, seed = layers > 3 and rng.random() < 0.5, rng.randrange(1000)
    config = SearchConfig(
        model="toy",
        arch="toy",
        objectives=rng.choice((("error", "energy_pj"), ("error", "edp"), ("error", "energy_pj", "weight_bits"))),
        sampler=rng.choice(("nsga2", "nsga2", "random")),
        evaluations=rng.randint(10, 40),
        population=rng.randint(2, 10),
        seeds=rng.choice((0, 4)),
        seed=rng.randrange(1000),
    )
    found = []
    with tempfile.TemporaryDirectory() as folder, mock.patch("quantloom.joint_search.front.Front.plot", _no_picture):
        whole = Path(folder) / "whole"
        run_search(config, toy_inputs(layers, residual=residual, seed=seed), directory=whole)
        journal = (whole / JOURNAL).read_bytes()
        for cut in [rng.randrange(len(journal) + 1) for _ in range(3)]:
            killed = Path(folder) / f"cut{cut}"
            if killed.exists():
                continue
            killed.mkdir()
            shutil.copy(whole / MANIFEST, killed)
            (killed / JOURNAL).write_bytes(journal[:cut])
            run_search(config, toy_inputs(layers, residual=residual, seed=seed), directory=killed, resume=True)
            different = [name for name in RESULTS if (whole / name).read_bytes() != (killed / name).read_bytes()]
            if different:
                found.append(f"cut at byte {cut} of {len(journal)}: {', '.join(different)} differ; {config}")
    return found


def _no_picture(front: object, path: Path) -> None:
    del front
    path.write_bytes(b"")
