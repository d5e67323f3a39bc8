"""What the store is worth and bears: a cost table computed, stored and found again; writes by 1 and 8 processes.

    python bench/store.py [--model mobilenet_v2] [--arch simba]

Times are CPU seconds of this process, except writes per second (wall; they wait for each other and for the disk).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quantloom import cost_table, load_arch, load_network
from quantloom.mapper.table import CostTable, packing_class_bits
from quantloom.store.database import Store

WRITES = 1000
WRITER = f"""
import sys, time
from pathlib import Path
from quantloom.store.database import Record, Store
from quantloom.store.keys import key_of

with Store.open(Path(sys.argv[1]), note=sys.exit) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range({WRITES}):
        key = key_of([sys.argv[2], i])
        store.put([Record(key=key, kind="accuracy", code="", about={{"bits": [8] * 100}}, value=i / {WRITES})])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--arch", default="simba")
    args = parser.parse_args()
    network, arch = load_network(args.model), load_arch(args.arch)

    def table(store: Store | None) -> tuple[CostTable, float]:
        began = time.process_time()
        made = cost_table(network, arch, bits=packing_class_bits(arch), threads=1, store=store)
        return made, time.process_time() - began

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        computed, computed_s = table(None)
        with Store.open(path, note=print) as store:
            stored, stored_s = table(store)
        with Store.open(path, note=print) as store:
            found, found_s = table(store)
        assert computed.entries == stored.entries == found.entries, "the store changes the table"
        entries = sum(map(len, computed.entries))
        print(f"{args.model} on {args.arch}: {entries:,} results, {path.stat().st_size / 2**20:.1f} MiB")
        print(f"computed {computed_s:.2f} s, computed and stored {stored_s:.2f} s, from the store {found_s:.2f} s")
        for processes in (1, 8):
            print(
                f"{processes} processes: {writes_per_s(Path(folder) / f'{processes}.sqlite', processes):,.0f} writes/s"
            )


def writes_per_s(path: Path, processes: int) -> float:
    """Transactions of one value each, all processes together."""
    command = [sys.executable, "-c", WRITER, str(path)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen([*command, str(i)], stdin=pipe, stdout=pipe, text=True) for i in range(processes)]
    for process in running:
        process.stdout.readline()
    began = time.perf_counter()
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        process.communicate()
        assert process.returncode == 0
    return processes * WRITES / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
