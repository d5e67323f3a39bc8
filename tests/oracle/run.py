"""Core against oracle on random cases: `python -m tests.oracle.run --cases 10000`; exit status 1 if any differs."""

from __future__ import annotations

import argparse
import sys
import time
from random import Random

from .cases import random_case
from .compare import differences


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="number of cases (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="the first case's number (default 0)")
    parser.add_argument("--show", type=int, default=3, help="differing cases to print in full (default 3)")
    args = parser.parse_args()
    started = time.monotonic()
    failed = 0
    for seed in range(args.seed, args.seed + args.cases):
        case = random_case(Random(seed))
        found = differences(case)
        if found:
            failed += 1
            if failed <= args.show:
                sys.stdout.write(f"case {seed}: {case}\n  " + "\n  ".join(found) + "\n")
    seconds = time.monotonic() - started
    sys.stdout.write(f"{args.cases} cases from {args.seed}: {failed} differ, {seconds:.1f} s\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
