"""Time of the cost table of a whole network: every layer at every packing class, proven, on one thread and on two.

    python bench/table.py [MODEL] [--rounds N] [--apart]

Both tables must be equal and every entry proven before a time is printed. Wall and CPU time, fastest of the rounds.
--apart adds what a process on one thread takes while another one does the same: they share nothing but the machine, so
what two threads take in CPU time beyond one is the mapper's only as far as it is more than that.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time

import numpy as np

import quantloom as ql
from quantloom.mapper.table import CostTable


def make_table(network: ql.Network, arch: ql.Arch, threads: int) -> tuple[CostTable, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    table = ql.cost_table(network, arch, threads=threads)
    return table, time.perf_counter() - wall, time.process_time() - cpu


def time_rounds(model: str, arch: str, rounds: int) -> tuple[float, float]:
    """Least wall and CPU time of a table on one thread."""
    network, hardware = ql.load_network(model), ql.load_arch(arch)
    timed = [make_table(network, hardware, 1)[1:] for _ in range(rounds)]
    return min(wall for wall, _ in timed), min(cpu for _, cpu in timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="mobilenet_v2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--apart", action="store_true", help="also in two processes at a time")
    args = parser.parse_args()
    network = ql.load_network(args.model)
    for name in ("eyeriss", "simba"):
        arch = ql.load_arch(name)
        first: CostTable | None = None
        for threads in (1, 2):
            rounds = [make_table(network, arch, threads) for _ in range(args.rounds)]
            for table, _, _ in rounds:
                first = first or table
                assert table.is_proven, name
                assert np.array_equal(table.energy_pj, first.energy_pj), name
                assert np.array_equal(table.cycles, first.cycles), name
            wall, cpu = min(r[1] for r in rounds), min(r[2] for r in rounds)
            print(f"{name:8} {threads} threads  wall {wall:6.3f} s  cpu {cpu:6.3f} s", flush=True)
        if args.apart:
            with multiprocessing.get_context("spawn").Pool(2) as pool:
                pair = pool.starmap(time_rounds, [(args.model, name, args.rounds)] * 2, chunksize=1)
            wall, cpu = (sum(timed[i] for timed in pair) / 2 for i in (0, 1))
            print(f"{name:8} each of 2 processes  wall {wall:6.3f} s  cpu {cpu:6.3f} s", flush=True)


if __name__ == "__main__":
    main()
