"""Two ways to each answer, on random cases: `python -m tests.differential.run --seconds 60`; status 1 if any differ.

oracle    one mapping: the core against the simulator that walks the nest
mapper    the mapper against the walk over all mappings, both models, spaces with constraints and free ones
points    sizes, counts and optima against every point of the space, evaluated one by one
batch     a batch in vector lanes against mapping by mapping
threads   one thread against many: optima, certificates, counts and batches, to the last bit
resume    a search of a toy network, whole against killed at a random byte of its journal and resumed

Case n of a kind is the same in every run. What a budget leaves unfinished is counted as skipped, as are cases that
the core refuses to map (the message is one of quantloom.errors; anything else is a difference). The oracle's cases are
drawn such that none may be refused.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import math
import pickle
import sys
import time
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

from tests.differential.resumed import differing_resume
from tests.differential.spaces import Space, random_space
from tests.oracle.cases import random_case
from tests.oracle.compare import differences

from quantloom import _core
from quantloom.errors import InternalError, QuantloomError

BUDGET = 60_000  # mappings that a walk may look at
POINTS = 3_000  # of a space that is looked at one by one
CLOSE = 2e-11  # shortest chains of tile shapes add energies up in another order
Skipped = None


def oracle(rng: Random) -> list[str] | None:
    return differences(random_case(rng))


def walked(space: Space, **options: Any) -> list[_core.Optimum]:
    given = {"objective": space.objective, "selection": space.selection} | space.options | options
    return _core.optimize(space.arch, space.workload, space.settings, **given)


def values(optimum: _core.Optimum, objective: str) -> list[float]:
    if objective == "pareto":
        front = [number for point in optimum.front for number in (point.cycles, point.energy_pj)]
        return [*front, optimum.energy_pj * optimum.cycles - min(p.energy_pj * p.cycles for p in optimum.front)]
    return [optimum.objective]


def same(ours: list[float], theirs: list[float]) -> bool:
    pairs = itertools.zip_longest(ours, theirs, fillvalue=math.nan)
    return all(math.isclose(a, b, rel_tol=CLOSE, abs_tol=0.0) for a, b in pairs)


def mapper(rng: Random) -> list[str] | None:
    space = random_space(rng)
    if space is None:
        return Skipped
    walks = walked(space, method="exhaustive", threads=1, budget=BUDGET)
    if not all(walk.certificate.exhausted for walk in walks):
        return Skipped
    found = []
    for walk, ours, bits in zip(walks, walked(space, threads=1), space.settings, strict=True):
        if not ours.certificate.exhausted or ours.found != walk.found:
            found.append(f"bits {bits}: found {ours.found}, walk {walk.found}; {ours.certificate}\n  {space}")
        elif walk.found and not same(values(ours, space.objective), values(walk, space.objective)):
            both = f"{ours.certificate.method} {values(ours, space.objective)}, walk {values(walk, space.objective)}"
            found.append(f"bits {bits}: {both}\n  {space}")
        elif walk.found:
            cost = _core.evaluate(space.arch, space.workload, ours.mapping, bits=bits, **space.options)
            if cost.cycles != ours.cycles or not math.isclose(cost.energy_pj, ours.energy_pj, rel_tol=CLOSE):
                priced = f"{cost.energy_pj} pJ, {cost.cycles} cycles"
                found.append(f"bits {bits}: {ours.energy_pj} pJ, {ours.cycles} cycles, priced anew {priced}\n  {space}")
    return found


def within_fanouts(arch: _core.Arch, mapping: _core.Mapping) -> bool:
    """What a mapspace asks of each instance of a level; compat asks it of all of them together (model.md 10)."""
    for at, level in enumerate(mapping.levels):
        x, y = (math.prod(bound for _, bound in loops) for loops in (level.spatial_x, level.spatial_y))
        if x > arch.fanout_x(at) or y > arch.fanout_y(at):
            return False
    return True


def points(rng: Random) -> list[str] | None:
    drawn = (random_space(rng) for _ in range(40))
    small = (s for s in drawn if s and s.objective != "pareto" and s.mapspace().size() <= POINTS)
    space = next(small, None)
    if space is None:
        return Skipped
    mapspace, bits, found = space.mapspace(), space.settings[0], []
    best, valid = math.inf, 0
    for index in range(mapspace.size()):
        mapping = mapspace.at(index)
        within = space.options["model"] != "compat" or within_fanouts(space.arch, mapping)
        if within and _core.check_fit(space.arch, space.workload, mapping, bits=bits, **space.options).fits:
            cost = _core.evaluate(space.arch, space.workload, mapping, bits=bits, **space.options)
            power = {"energy": 0, "cycles": 1, "edp": 1, "ed2p": 2}[space.objective]
            best = min(best, cost.cycles**power * (1 if space.objective == "cycles" else cost.energy_pj))
            valid += 1
    ours = walked(space, threads=1)[0]
    if ours.found != (valid > 0) or (valid and not math.isclose(ours.objective, best, rel_tol=CLOSE)):
        found.append(f"{ours.certificate.method}: {ours.objective if ours.found else None}, points {best}\n  {space}")
    if space.options["model"] == "compat":
        counted = mapspace.count(bits, enumeration="unpruned")
        if (counted.considered, counted.valid) != (mapspace.size(), valid):
            found.append(f"{counted}, points: {valid} of {mapspace.size()}\n  {space}")
    return found


def batch(rng: Random) -> list[str] | None:
    space = random_space(rng)
    if space is None:
        return Skipped
    from quantloom.mapper import evaluate_batch

    mapspace, bits, found = space.mapspace(), space.settings[0], []
    costs = evaluate_batch(space.arch, space.workload, mapspace.sample_batch(60, seed=1), bits=bits, **space.options)
    for at, mapping in enumerate(mapspace.sample(60, seed=1)):
        fits = _core.check_fit(space.arch, space.workload, mapping, bits=bits, **space.options).fits
        if fits != math.isfinite(costs.cycles[at]):
            found.append(f"mapping {at}: fits {fits}, batch {costs.status[at]}\n  {space}")
        elif fits:
            cost = _core.evaluate(space.arch, space.workload, mapping, bits=bits, **space.options)
            if cost.cycles != costs.cycles[at] or not math.isclose(cost.energy_pj, costs.energy_pj[at], rel_tol=1e-12):
                priced = f"{cost.energy_pj} pJ, {cost.cycles} cycles"
                found.append(f"mapping {at}: {priced}, batch {costs.energy_pj[at]}, {costs.cycles[at]}\n  {space}")
    return found


def frozen(optima: list[_core.Optimum]) -> bytes:
    """All that an answer says, floats to the last bit."""
    return pickle.dumps(
        [
            (
                (best.energy_pj, best.cycles, best.objective, best.mapping if best.found else None, best.found),
                [(point.energy_pj, point.cycles, point.mapping) for point in best.front],
                [getattr(best.certificate, name) for name in CERTIFICATE],
                (
                    best.near_miss_level,
                    best.near_miss_need_words,
                    best.near_miss_have_words,
                    best.near_miss_tensor_words,
                ),
            )
            for best in optima
        ]
    )


CERTIFICATE = ("method", "exhausted", "considered", "fitting", "lower_bound", "pruned_by_bound", "space_size")


def threads(rng: Random) -> list[str] | None:
    space = random_space(rng)
    if space is None:
        return Skipped
    many, found = rng.choice((2, 3, 8)), []
    walks = walked(space, method="exhaustive", threads=1, budget=BUDGET)
    asked: list[dict[str, Any]] = [{"method": "exhaustive", "budget": BUDGET}]
    if all(walk.certificate.exhausted for walk in walks):  # else it may take long
        asked.append({})
    for options in asked:
        if frozen(walked(space, threads=1, **options)) != frozen(walked(space, threads=many, **options)):
            found.append(f"{options}: {many} threads answer otherwise than one\n  {space}")
    if space.options["model"] == "compat":
        counts = [str(space.mapspace().count(space.settings[0], threads=n)) for n in (1, many)]
        if counts[0] != counts[1]:
            found.append(f"counts of 1 and {many} threads: {counts}\n  {space}")
    return found


def resume(rng: Random) -> list[str] | None:
    return differing_resume(rng)


KINDS: dict[str, tuple[int, Callable[[Random], list[str] | None]]] = {  # cases of a round: kinds take like time
    "oracle": (40, oracle),
    "mapper": (20, mapper),
    "points": (20, points),
    "batch": (10, batch),
    "threads": (10, threads),
    "resume": (1, resume),
}


def check(kind: str, number: int) -> list[str] | None:
    try:
        return KINDS[kind][1](Random(f"{kind} {number}"))
    except InternalError as error:
        return [f"InternalError: {error}"]
    except QuantloomError as error:
        # random_case draws what the core must take
        return [f"refused: {type(error).__name__}: {error}"] if kind == "oracle" else Skipped
    except Exception:
        return [traceback.format_exc()]


def run(kinds: list[str], *, rounds: int | None, seconds: float | None, first: int = 0) -> collections.Counter[str]:
    """Counts of "KIND compared", "KIND skipped" and "KIND differ"; differences go to stdout."""
    counts: collections.Counter[str] = collections.Counter()
    began = time.monotonic()
    for turn in itertools.count(first):
        if (rounds is not None and turn - first >= rounds) or (
            seconds is not None and time.monotonic() - began > seconds
        ):
            break
        for kind in kinds:
            size = KINDS[kind][0]
            for number in range(turn * size, (turn + 1) * size):
                lines = check(kind, number)
                counts[f"{kind} {'skipped' if lines is None else 'compared'}"] += 1
                if lines:
                    counts[f"{kind} differ"] += 1
                    sys.stdout.write(f"{kind} {number}: " + "\n  ".join(lines) + "\n")
                    sys.stdout.flush()
    counts["rounds"] = turn - first
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="stop after the round in which they are over")
    parser.add_argument("--rounds", type=int, help="stop after so many (default 1 if no seconds are given)")
    parser.add_argument("--first", type=int, default=0, help="the round to begin with (default 0)")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    args = parser.parse_args()
    rounds = 1 if args.rounds is None and args.seconds is None else args.rounds
    began = time.process_time()
    counts = run(args.kinds, rounds=rounds, seconds=args.seconds, first=args.first)
    for kind in args.kinds:
        line = f"{counts[f'{kind} compared']} compared, {counts[f'{kind} differ']} differ"
        sys.stdout.write(f"{kind:8} {line}, {counts[f'{kind} skipped']} skipped\n")
    used = time.process_time() - began
    sys.stdout.write(f"rounds {args.first} to {args.first + counts['rounds'] - 1}, {used:.0f} s of CPU\n")
    return 1 if any(counts[f"{kind} differ"] for kind in args.kinds) else 0


if __name__ == "__main__":
    sys.exit(main())
