"""The same bytes from 1, 2, 8 and 64 threads of the core, from many threads of Python, and from forked processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import quantloom as ql
from quantloom import _core
from quantloom.mapper import cost_table, evaluate_batch
from quantloom.mapper.sweep import sweep
from quantloom.spec.network import parse_network
from quantloom.workload.layer import conv_workload, linear_workload
from two_layers import NETWORK

THREADS = (1, 2, 8, 64)
CONV = conv_workload("conv", inputs=8, outputs=8, output_size=(6, 6), kernel=(3, 3))
GEMM = linear_workload("gemm", inputs=16, outputs=24, batch=8)
BITS = [{"Weights": w, "Inputs": a, "Outputs": a} for w, a in ((8, 8), (4, 8), (2, 2), (16, 16))]


def plain(optima: list[_core.Optimum]) -> list[object]:
    """All that optima say; floats by their bits."""
    names = ("method", "exhausted", "considered", "fitting", "lower_bound", "pruned_by_bound", "space_size")
    return [
        (
            *(best.found, best.energy_pj.hex(), best.cycles.hex(), best.objective.hex(), best.mapping),
            [(point.energy_pj.hex(), point.cycles.hex(), point.mapping) for point in best.front],
            [getattr(best.certificate, name) for name in names],
        )
        for best in optima
    ]


def optimized(threads: int, arch: str = "eyeriss", workload: _core.Workload = CONV, **options: Any) -> bytes:
    return pickle.dumps(plain(_core.optimize(ql.load_arch(arch), workload, BITS, threads=threads, **options)))


def counted(threads: int) -> bytes:
    space = ql.Mapspace(ql.load_arch("eyeriss"), CONV)
    reference = [str(space.count([8, 8, 8], threads=threads)), str(space.count([16, 4, 8], threads=threads))]
    return pickle.dumps([reference, str(space.count_valid(8, threads=threads))])


def swept(threads: int) -> bytes:
    found = sweep(_core.Mapspace(ql.load_arch("simba"), GEMM), bits=8, count=3000, seed=5, threads=threads)
    return pickle.dumps([(name, getattr(found, name).tobytes()) for name in ("energy_pj", "cycles")])


def batched(threads: int) -> bytes:
    arch = ql.load_arch("simba")
    batch = _core.Mapspace(arch, GEMM).sample_batch(3000, seed=2)
    found = evaluate_batch(arch, GEMM, batch, bits=8, model="compat", threads=threads)
    return b"".join(array.tobytes() for array in (found.energy_pj, found.cycles, found.status))


def tabled(threads: int) -> bytes:
    table = cost_table(parse_network(NETWORK, "n.yaml"), ql.load_arch("eyeriss"), bits=(2, 4, 8), threads=threads)
    return table.energy_pj.tobytes() + table.cycles.tobytes()


ANSWERS: dict[str, Callable[[int], bytes]] = {
    "branch and bound": lambda threads: optimized(threads),
    "pareto": lambda threads: optimized(threads, objective="pareto"),
    "exhaustive": lambda threads: optimized(threads, method="exhaustive", objective="energy"),
    "budget": lambda threads: optimized(threads, method="exhaustive", selection="free", budget=2000),
    "chains of tile shapes": lambda threads: optimized(threads, workload=GEMM, selection="free"),
    "compat": lambda threads: optimized(threads, arch="simba", model="compat"),
    "count": counted,
    "sweep": swept,
    "batch": batched,
    "table": tabled,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
def test_any_number_of_threads_gives_the_same_bytes(answer: Callable[[int], bytes]) -> None:
    found = {threads: answer(threads) for threads in THREADS}
    assert found[1]
    assert [threads for threads in THREADS if found[threads] != found[1]] == []


def test_many_mappers_run_side_by_side_in_threads_of_python() -> None:
    expected = [optimized(1), optimized(1, arch="simba")]
    found: dict[int, bytes] = {}

    def work(number: int) -> None:
        found[number] = optimized(2, arch=("eyeriss", "simba")[number % 2])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {number: expected[number % 2] for number in range(12)}


# One mapping is searched before the pool is started. The program has a process of its own, because a fork beside
# threads of other tests (of Dask, of numpy) may find their locks held. What the pool calls is an expression: a process
# that is started anew has no module to find it in.
POOL = """
import multiprocessing, warnings
import quantloom as ql
ask = '''(lambda ql: ql.optimize(
    ql.load_arch("eyeriss"), ql.load_network("mobilenet_v1:width=0.25,input=32").layers[2].workload, bits=8, threads={}
).cost.energy_pj)(__import__("quantloom"))'''
if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of any fork beside threads
    expected = eval(ask.format(2))
    with multiprocessing.get_context("%s").Pool(2) as pool:
        print(pool.map(eval, [ask.format(threads) for threads in (1, 2, 8)]) == [expected] * 3)
        pool.close()  # leaving the block kills its processes, and with them what they have to clean up
        pool.join()
"""


@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_processes_started_after_the_core_was_used_work(start: str) -> None:
    run = subprocess.run([sys.executable, "-c", POOL % start], capture_output=True, text=True, timeout=240, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "True\n", "")
