"""Core against oracle on random cases: `python -m tests.oracle.run --cases 10000`; exit status 1 if any differs.

Case n is the same in every run, so what was interrupted goes on with the --seed that is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from .cases import random_case
from .compare import differences

CHUNK = 200  # cases that a process takes at a time
Found = list[tuple[int, list[str]]]  # differing cases by number


def check(seeds: range) -> tuple[int, Found]:
    """How many cases were compared, and which differ. A refusal by the core is a difference: all cases are valid."""
    found = []
    for seed in seeds:
        try:
            lines = differences(random_case(Random(seed)))
        except Exception as error:  # one of a million cases must not end the run
            lines = [f"{type(error).__name__}: {error}"]
        if lines:
            found.append((seed, lines))
    return len(seeds), found


@contextmanager
def results(seeds: range, processes: int) -> Iterator[Iterator[tuple[int, Found]]]:
    """The answers of `check` for all chunks, in order."""
    chunks = (seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK))
    if processes == 1:
        yield map(check, chunks)
        return
    with multiprocessing.Pool(processes, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        yield pool.imap(check, chunks)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="number of cases (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="the first case's number (default 0)")
    parser.add_argument("--processes", type=int, default=1, help="cases are shared out to so many (default 1)")
    parser.add_argument("--show", type=int, default=3, help="differing cases to print in full (default 3)")
    args = parser.parse_args()
    started = shown = time.monotonic()
    pause = 1.0 if sys.stderr.isatty() else 60.0  # seconds between progress lines
    done = failed = 0
    try:
        with results(range(args.seed, args.seed + args.cases), args.processes) as answers:
            for compared, found in answers:
                for seed, lines in found:
                    failed += 1
                    case = f"{random_case(Random(seed))}\n  " if failed <= args.show else ""
                    sys.stdout.write(f"case {seed}: {case}" + "\n  ".join(lines) + "\n")
                done += compared
                now = time.monotonic()
                if now - shown >= pause:
                    shown = now
                    line = f"{done} of {args.cases} cases, {failed} differ, {done / (now - started):.0f} cases/s"
                    sys.stderr.write(f"\r{line} " if pause == 1.0 else f"{line}\n")
                    sys.stderr.flush()
    except KeyboardInterrupt:
        rest = args.cases - done
        sys.stdout.write(f"\ninterrupted; the rest: --seed {args.seed + done} --cases {rest}\n")
    seconds = time.monotonic() - started
    sys.stdout.write(f"{done} cases from {args.seed}: {failed} differ, {seconds:.1f} s\n")
    if done < args.cases:
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
