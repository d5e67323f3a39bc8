"""Change what comes in at a border at random: `python -m tests.fuzz.run arch --seconds 60`, or all borders.

Every input must give a result or an error of quantloom.errors that names the file, within seconds, and memory must
not grow. What is found is written to --keep; tests/fuzz/test_borders.py has what was. Exit status 1 if anything is.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.fuzz.binary_borders import BORDERS
from tests.fuzz.borders import outcome, resident_mib

SLOW_S = 10.0  # of CPU for one input: a hang
GROWTH_MIB = 64.0  # from the first thousand inputs to the last
GUIDED = 400  # texts at most, seeds among them, that are changed: what was read leads further in than what was refused


class Hang(Exception):
    pass


@contextmanager
def alarm() -> Iterator[None]:
    def stop(number: int, frame: types.FrameType | None) -> None:
        del number, frame
        raise Hang

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, SLOW_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def fuzz(name: str, *, cases: int | None, seconds: float | None, seed: int, keep: Path) -> bool:
    """True if every input of one border gave what it may give. Changed texts that are read are changed on."""
    border, rng = BORDERS[name], Random(f"{name} {seed}")
    seeds = border.seeds()
    texts, kept = list(seeds), set[str]()
    counts, slowest, done, found = collections.Counter[str](), 0.0, 0, 0
    began, settled = time.monotonic(), 0.0
    while (cases is None or done < cases) and (seconds is None or time.monotonic() - began < seconds):
        text = border.change(rng.choice(texts), rng, seeds)
        start = time.process_time()
        try:
            with alarm():
                result = outcome(border, text)
        except (Hang, Exception) as error:
            found += 1
            path = keep / f"{name}-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:12]}.txt"
            path.write_text(text, encoding=border.encoding, errors="surrogateescape")
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename}:{place.lineno}"
            sys.stdout.write(f"{name}: {type(error).__name__} at {where}: {str(error)[:300]}; kept as {path}\n")
            result = type(error).__name__
        counts[result] += 1
        done += 1
        slowest = max(slowest, time.process_time() - start)
        if len(text) < 20_000 and len(texts) < GUIDED and result == "read" and text not in kept:
            kept.add(text)
            texts.append(text)
        if done == 1000:
            settled = resident_mib()
    grown = resident_mib() - settled if done > 1000 else 0.0
    outcomes = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
    line = f"{name}: {done} inputs: {outcomes}; {found} found; slowest {slowest:.2f} s of CPU, grown {grown:.0f} MiB"
    sys.stdout.write(f"{line}, {done / max(time.monotonic() - began, 1e-9):.0f} inputs/s\n")
    sys.stdout.flush()
    return found == 0 and grown < GROWTH_MIB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("borders", nargs="*", metavar="BORDER", help=f"of {', '.join(BORDERS)} (default: all)")
    parser.add_argument("--cases", type=int, help="inputs for each border (default 1000 if no seconds are given)")
    parser.add_argument("--seconds", type=float, help="for each border")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "quantloom-fuzz")
    args = parser.parse_args()
    unknown = [name for name in args.borders if name not in BORDERS]
    if unknown:
        parser.error(f"no border {unknown[0]}; there are {', '.join(BORDERS)}")
    cases = 1000 if args.cases is None and args.seconds is None else args.cases
    keep = args.keep.resolve()
    keep.mkdir(parents=True, exist_ok=True)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    good = True
    for name in args.borders or list(BORDERS):
        before = Path.cwd()
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            os.environ["XDG_CACHE_HOME"] = folder  # commands without --store
            try:
                good &= fuzz(name, cases=cases, seconds=args.seconds, seed=args.seed, keep=keep)
            finally:
                os.chdir(before)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
