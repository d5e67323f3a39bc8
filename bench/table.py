"""Time of the cost table of a whole network: every layer at every packing class, proven, on one thread and on two.

    python bench/table.py [MODEL] [--rounds N]

Both tables must be equal and every entry proven before a time is printed. Wall and CPU time, fastest of the rounds.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import quantloom as ql
from quantloom.mapper.table import CostTable


def make_table(network: ql.Network, arch: ql.Arch, threads: int) -> tuple[CostTable, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    table = ql.cost_table(network, arch, threads=threads)
    return table, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="mobilenet_v2")
    parser.add_argument("--rounds", type=int, default=3)
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


if __name__ == "__main__":
    main()
