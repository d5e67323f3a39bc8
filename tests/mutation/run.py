"""Do the core's tests notice when the core is wrong? `python -m tests.mutation.run --sample 200`.

Changes operators, numbers and conditions in cpp/src, one at a time, and runs the tests that reach the change: killed
if one fails, crashes or takes many times its time; survived if none does. All mutants of a sample are in one build
(switch.hpp), so a mutant costs its tests and no compiler. It checks indices as the sanitizers' build of the suite does.
Those that are known to be equal in effect (equivalent.py) are drawn and told, but not tried. Results are kept under
--work: what was interrupted goes on where it stopped. Exit status 1 if fewer than --least percent were killed of what
compiled and is not known to be equal.
"""

from __future__ import annotations

import argparse
import collections
import fnmatch
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .equivalent import EQUIVALENT
from .mutants import Mutant, find_mutants, switched

ROOT = Path(__file__).parents[2]
COST_MODEL = ["arch", "compat_*", "cost", "default_*", "fit", "mac_table", "mapping", "nest", "packing", "tensor_price"]
EXACT_MAPPER = ["exact_*", "incumbents", "mapper", "use_limits"]
SLOWER, SPARE_S = 6, 3  # a test under a mutant may take so many times its CPU seconds, and so many more
MEMORY = 6 << 30
THROUGH_PYTHON = {  # bounded runs of what the suite has
    "oracle": ("-m", "tests.oracle.run", "--cases", "400", "--show", "0"),
    "differential": ("-m", "tests.differential.run", "--first", "3", "--kinds", "mapper", "points", "batch", "threads"),
    "pytest": (
        *("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "tests/oracle/test_limits.py"),
        *("tests/property/test_overflow_laws.py", "tests/property/test_utilization.py", "tests/unit/test_einsums.py"),
        *("tests/unit/test_infeasible.py", "tests/unit/test_mapper.py", "tests/unit/test_count_valid.py"),
    ),
}


@dataclass(frozen=True)
class Test:
    name: str
    command: tuple[str, ...]
    seconds: float = 0.0  # of CPU, without a mutant
    reaches: frozenset[int] = frozenset()


def chosen(patterns: list[str], sample: int | None, seed: int) -> tuple[list[Mutant], int]:
    """The mutants to try, and how many there are in the files."""
    everything = []
    for path in sorted((ROOT / "cpp" / "src").glob("*.[chi]*")):
        if any(fnmatch.fnmatch(path.stem, pattern) for pattern in patterns):
            everything += find_mutants(path.name, path.read_text(encoding="utf-8"))
    drawn = everything if sample is None else random.Random(seed).sample(everything, min(sample, len(everything)))
    return sorted(drawn, key=lambda mutant: (mutant.path, mutant.line, mutant.column, mutant.kind)), len(everything)


def why_equal(mutant: Mutant) -> str | None:
    """Why no test can tell this mutant from the core, where that is known."""
    known = [each for each in EQUIVALENT if (each.path, each.kind) == (mutant.path, mutant.kind)]
    if not known:
        return None
    line = (ROOT / "cpp" / "src" / mutant.path).read_text(encoding="utf-8").splitlines()[mutant.line - 1].strip()
    return next((each.why for each in known if each.line == line), None)


class Build:
    """A copy of the sources with switches, and its build. A file is only written where it changes."""

    def __init__(self, work: Path, mutants: list[Mutant], known: Path, *, oracle: bool, jobs: int) -> None:
        self.tree, self.build, self.jobs = work / "tree", work / "build", jobs
        self.numbered = list(enumerate(mutants))
        self.known_refusals = known  # of earlier builds of the same sources
        keys = set(known.read_text().splitlines()) if known.exists() else set[str]()
        self.refused = {number for number, mutant in self.numbered if mutant.key in keys}
        self.oracle = oracle

    def write(self) -> None:
        sources = [ROOT / "CMakeLists.txt", *(ROOT / "cpp").rglob("*"), *(ROOT / "tests" / "cpp").iterdir()]
        sources += [*(ROOT / "arch_specs").iterdir(), *(ROOT / "tests" / "golden").iterdir()]
        sources += [*(ROOT / "tests" / "fuzz" / "cpp").iterdir(), *(ROOT / "tests" / "fuzz" / "corpus").iterdir()]
        by_path = collections.defaultdict(list)
        for number, mutant in self.numbered:
            if number not in self.refused:
                by_path[mutant.path].append((number, mutant))
        for source in sources:
            if source.is_file():
                data = source.read_bytes()
                if source.parent == ROOT / "cpp" / "src" and by_path[source.name]:
                    data = switched(data.decode(), by_path[source.name]).encode()
                self.put(self.tree / source.relative_to(ROOT), data)
        switch = Path(__file__).with_name("switch.hpp").read_bytes()
        self.put(self.tree / "cpp" / "src" / "quantloom_mutation_switch.hpp", switch)

    @staticmethod
    def put(path: Path, data: bytes) -> None:
        if not path.exists() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def configure(self) -> None:
        options = ["-DCMAKE_BUILD_TYPE=Release", "-DQUANTLOOM_BUILD_TESTS=ON"]
        options.append("-DCMAKE_CXX_FLAGS_RELEASE=-O1 -D_GLIBCXX_ASSERTIONS")
        if shutil.which("ccache"):
            options.append("-DCMAKE_CXX_COMPILER_LAUNCHER=ccache")
        if self.oracle:
            import pybind11

            options += ["-DQUANTLOOM_BUILD_PYTHON=ON", f"-DPython_EXECUTABLE={sys.executable}"]
            options.append(f"-Dpybind11_DIR={pybind11.get_cmake_dir()}")
        command = ["cmake", "-S", self.tree, "-B", self.build, "-G", "Ninja", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def make(self) -> None:
        """Build; mutants on lines that the compiler refuses are taken out until everything compiles."""
        while True:
            self.write()
            self.configure()
            command = ["ninja", "-C", str(self.build), "-j", str(self.jobs), "-k", "0"]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode == 0:
                return
            # of an error inside of a template, the lines that asked for it count too
            found = {(Path(p).name, int(line)) for p, line in re.findall(r"^(\S+?):(\d+):\d+:", done.stdout, re.M)}
            found |= {(Path(p).name, int(line)) for p, line in re.findall(r"from (\S+?):(\d+)", done.stdout)}
            broken = {number for number, mutant in self.numbered if (mutant.path, mutant.line) in found}
            if not broken - self.refused:
                sys.exit(f"the build fails, and not because of a mutant:\n{done.stdout[-4000:]}")
            self.refused |= broken
            self.known_refusals.write_text("".join(f"{self.numbered[number][1].key}\n" for number in self.refused))
            print(f"{len(self.refused)} mutants do not compile", flush=True)

    def tests(self) -> Iterator[Test]:
        for path in sorted((self.build / "tests" / "cpp").glob("*_test")):
            yield Test(path.stem, (str(path), "--gtest_fail_fast", "--gtest_brief=1"))
        if self.oracle:
            for name, arguments in THROUGH_PYTHON.items():
                yield Test(name, (sys.executable, *arguments))

    def environment(self) -> dict[str, str]:
        """With the package's Python files and the extension of this build."""
        if not self.oracle:
            return dict(os.environ)
        package = self.build / "package" / "quantloom"
        package.mkdir(parents=True, exist_ok=True)
        built = next((self.build / "cpp").glob("_core*.so"))
        for source in [*(ROOT / "python" / "quantloom").iterdir(), built]:
            if source.name.startswith("_core") and source != built:
                continue
            link = package / source.name
            if not link.is_symlink():
                link.symlink_to(source)
        return os.environ | {"PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1"}


def run_test(test: Test, environment: dict[str, str], seconds: float) -> tuple[str, float]:
    """How a test ends ("passed", "failed", "crashed", "too slow"), and its seconds of CPU."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            test.command,
            env=environment,
            cwd=ROOT,
            preexec_fn=limit,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=600,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "too slow", seconds
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode == 0:
        return "passed", used
    if done.returncode < 0:
        return ("too slow" if used >= seconds else "crashed"), used
    return "failed", used


def measured(build: Build, environment: dict[str, str], work: Path) -> list[Test]:
    """The tests with their time and the mutants they reach, cheapest first; all of them pass without a mutant."""
    tests = []
    for test in build.tests():
        hits = work / "hits"
        hits.unlink(missing_ok=True)
        verdict, seconds = run_test(test, environment | {"QUANTLOOM_MUTANT_HITS": str(hits)}, 600)
        if verdict != "passed":
            sys.exit(f"{test.name}: {verdict} without any mutant")
        reached = frozenset(map(int, hits.read_text().split())) if hits.exists() else frozenset[int]()
        tests.append(Test(test.name, test.command, seconds, reached))
    return sorted(tests, key=lambda test: test.seconds)


def try_mutant(number: int, tests: list[Test], environment: dict[str, str]) -> dict[str, str]:
    reaching = [test for test in tests if number in test.reaches]
    for test in reaching:
        limit = test.seconds * SLOWER + SPARE_S
        verdict, _ = run_test(test, environment | {"QUANTLOOM_MUTANT": str(number)}, limit)
        if verdict != "passed":
            return {"verdict": "killed", "by": test.name, "how": verdict}
    return {"verdict": "survived" if reaching else "not reached"}


def report(results: dict[str, dict[str, str]], of: int) -> float:
    counts = collections.Counter(result["verdict"] for result in results.values())
    ways = collections.Counter(result["how"] for result in results.values() if result["verdict"] == "killed")
    tried = len(results) - counts["not compiled"] - counts["equal"]
    share = 100 * counts["killed"] / max(tried, 1)
    for key, result in results.items():
        if result["verdict"] in ("survived", "not reached"):
            print(f"cpp/src/{key}: {result['verdict']}")
    killed = ", ".join(f"{how} {count}" for how, count in ways.most_common())
    print(f"{len(results)} mutants of {of}: {counts['not compiled']} not compiled, {counts['equal']} equal", end="; ")
    print(f"of {tried}: killed", end=" ")
    print(
        f"{counts['killed']} ({killed}), survived {counts['survived']}, not reached {counts['not reached']}", end="; "
    )
    print(f"{share:.1f} % killed")
    return share


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--files", nargs="+", default=COST_MODEL + EXACT_MAPPER, help="patterns of file names, no ending"
    )
    parser.add_argument("--sample", type=int, help="so many mutants drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="stop trying after so many, and report")
    parser.add_argument("--no-oracle", action="store_true", help="the C++ tests alone, without building the extension")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "mutation")
    parser.add_argument("--jobs", type=int, default=1, help="compilers at a time (default 1)")
    parser.add_argument("--least", type=float, default=90.0, help="percent killed to end with status 0 (default 90)")
    args = parser.parse_args()
    mutants, of = chosen(args.files, args.sample, args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    sources = [*(ROOT / "cpp" / "src").iterdir(), *(ROOT / "tests" / "cpp").iterdir()]
    sources += (ROOT / "tests" / "fuzz" / "cpp").iterdir()
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(sources))).hexdigest()[:12]
    known_refusals = args.work / f"refused-{digest}.txt"
    build = Build(args.work, mutants, known_refusals, oracle=not args.no_oracle, jobs=args.jobs)
    build.make()
    environment = build.environment()
    journal = args.work / f"results-{digest}.jsonl"
    known = {}
    if journal.exists():
        known = {entry.pop("key"): entry for entry in map(json.loads, journal.read_text().splitlines())}
    tests = measured(build, environment, args.work)
    print(", ".join(f"{test.name} {test.seconds:.1f} s" for test in tests), flush=True)
    results: dict[str, dict[str, str]] = {}
    began = time.monotonic()
    order = random.Random(args.seed).sample(build.numbered, len(build.numbered))  # any beginning is a sample too
    with journal.open("a") as file:
        for number, mutant in order:
            if args.seconds is not None and time.monotonic() - began > args.seconds:
                break
            if number in build.refused:
                results[mutant.key] = {"verdict": "not compiled"}
                continue
            if why_equal(mutant) is not None:
                results[mutant.key] = {"verdict": "equal"}
                continue
            if mutant.key not in known:
                known[mutant.key] = try_mutant(number, tests, environment)
                file.write(json.dumps({"key": mutant.key} | known[mutant.key]) + "\n")
                file.flush()
                print(
                    f"{len(results) + 1}/{len(mutants)} {mutant.key}: {' '.join(known[mutant.key].values())}",
                    flush=True,
                )
            results[mutant.key] = known[mutant.key]
    return 0 if report(results, of) >= args.least else 1


if __name__ == "__main__":
    sys.exit(main())
