"""Ctrl-C ends a long call of the core within a second, in every phase of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

SEARCH = """
import os
import sys
import quantloom as ql
from quantloom import _core
from quantloom.workload.layer import conv_workload

arch = ql.load_arch(sys.argv[1])
layer = conv_workload("layer", inputs=256, outputs=256, output_size=(28, 28), kernel=(3, 3))
print("ready", flush=True)
bits = {"Weights": 8, "Inputs": 8, "Outputs": 8}
_core.optimize(arch, layer, [bits], model=sys.argv[2], selection=sys.argv[3], objective=sys.argv[4], method=sys.argv[5])
os._exit(0)  # finished: nothing is left that an interrupt could end
"""
BATCH = """
import os
import numpy as np
import quantloom as ql
from quantloom.mapper import evaluate_batch
from quantloom._core import MappingBatch, Mapspace
from quantloom.workload.layer import conv_workload

arch = ql.load_arch("simba")
layer = conv_workload("layer", inputs=64, outputs=64, output_size=(28, 28), kernel=(3, 3))
few = Mapspace(arch, layer).sample_batch(100_000, seed=2)
columns = {name: np.tile(getattr(few, name), 30) for name in ("dims", "bounds", "keep")}
batch = MappingBatch(few.slots, **columns)
print("ready", flush=True)
evaluate_batch(arch, layer, batch, model="compat", threads=2)
os._exit(0)  # finished: nothing is left that an interrupt could end
"""
CASES = [  # which phase is long: walking outside of the fanout, branch and bound, pricing
    ("simba", "compat", "free", "edp", "exhaustive"),
    ("simba", "default", "all", "energy", "automatic"),
    ("eyeriss", "default", "free", "energy", "exhaustive"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_sigint_ends_the_search(case: tuple[str, ...]) -> None:
    interrupt(SEARCH, *case, after_s=1.0)


def test_sigint_ends_a_batch() -> None:
    interrupt(BATCH, after_s=0.1)


def interrupt(script: str, *arguments: str, after_s: float) -> None:
    """Run a script, interrupt it some time after it says that it is ready, and see it end at once."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=15)  # a second on an idle machine; without a look at the signal it would be minutes
        if code == 0:
            return  # a machine fast enough to finish has nothing to interrupt
        assert code in (-signal.SIGINT, 1)
        assert process.stderr is not None
        assert b"KeyboardInterrupt" in process.stderr.read()
