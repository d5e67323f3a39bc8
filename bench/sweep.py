"""A sweep of a million mappings: time, and memory beside what it keeps.

python bench/sweep.py [--count 1000000] [--threads 1]

Draws mappings of a pointwise layer on Eyeriss, keeps the valid ones of at most twice the energy of the optimum, and
prints the growth of the peak resident set over that of one chunk.
"""

from __future__ import annotations

import argparse
import resource
import time

import quantloom as ql
from quantloom.mapper.sweep import CHUNK, sweep
from quantloom.workload.layer import conv_workload

KIB_A_MIB = 1024


def peak_mib() -> float:
    """Peak resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_A_MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    arch = ql.load_arch("eyeriss")
    layer = conv_workload("pw 24->144 @56", inputs=24, outputs=144, output_size=(56, 56), kernel=(1, 1))
    space = ql.Mapspace(arch, layer)
    limit = 2 * ql.optimize(arch, layer, bits=8).cost.energy_pj
    sweep(space, bits=8, count=CHUNK, seed=1, max_energy_pj=limit)
    before, began = peak_mib(), time.process_time()
    found = sweep(space, bits=8, count=chosen.count, seed=1, max_energy_pj=limit, threads=chosen.threads)
    spent = time.process_time() - began
    kept = sum(a.nbytes for a in (found.number, found.energy_pj, found.cycles))
    kept += sum(a.nbytes for a in (found.batch.dims, found.batch.bounds, found.batch.keep))
    print(f"{found.looked_at:,} mappings of {space.size():,}, {len(found):,} kept ({kept / 2**20:.1f} MiB of arrays)")
    print(f"{spent:.2f} s of CPU, {found.looked_at / spent / 1e6:.2f} M/s, peak grew by {peak_mib() - before:.1f} MiB")


if __name__ == "__main__":
    main()
