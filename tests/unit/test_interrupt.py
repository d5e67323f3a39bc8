"""Ctrl-C ends a long call of the core within a second, in every phase of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

SEARCH = """
import sys
import quantloom as ql
from quantloom.workload.layer import conv_workload

arch = ql.load_arch(sys.argv[1])
layer = conv_workload("layer", inputs=256, outputs=256, output_size=(28, 28), kernel=(3, 3))
print("ready", flush=True)
ql.optimize(arch, layer, bits=8, model=sys.argv[2], selection=sys.argv[3], objective=sys.argv[4])
"""
CASES = [  # which phase is long: walking outside of the fanout, branch and bound, pricing
    ("simba", "compat", "free", "edp"),
    ("simba", "default", "all", "energy"),
    ("eyeriss", "default", "free", "energy"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_sigint_ends_the_call(case: tuple[str, ...]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SEARCH, *case],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(1.0)
        if process.poll() is not None:
            assert process.returncode == 0  # a machine fast enough to finish has nothing to interrupt
            return
        process.send_signal(signal.SIGINT)
        process.wait(timeout=15)  # a second on an idle machine; without a look at the signal it would be minutes
        assert process.returncode in (-signal.SIGINT, 1)
        assert process.stderr is not None
        assert b"KeyboardInterrupt" in process.stderr.read()
