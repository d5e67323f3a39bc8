"""The tables of bench/README.md, measured anew and printed, or written into it.

    python bench/report.py [--only evaluate mapper ...] [--build build/bench] [--match TEXT] [--write]

Runs the benchmarks one after another (those in C++ from --build), takes their figures apart, and prints each table with
the machine, the date and the load average before and after. A benchmark whose own check fails ends the report. --match
asks for the layers whose name has TEXT only. --write puts whole tables between the marks in bench/README.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
README = HERE / "README.md"
ARCHS = ("eyeriss", "simba")
MODELS = ("default", "compat")
CHECKED = "answers agree"  # the last line of the C++ benchmarks


@dataclass(frozen=True, slots=True)
class Asked:
    """build: folder of the C++ benchmarks. match: a part of the names of the layers to measure; empty for all."""

    build: Path
    match: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the report."""

    make: Callable[[Asked], list[str]]
    takes_match: bool = True


def run(command: list[str]) -> str:
    """What a benchmark prints. Ends the report if it is missing or fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        build = "cmake --preset bench && cmake --build --preset bench"
        sys.exit(f"{command[0]} is not there: build it ({build}), or say where with --build")
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed (exit {done.returncode}):\n{done.stdout}")
    return done.stdout


def run_cpp(asked: Asked, name: str, *options: str) -> str:
    """What a benchmark of bench/cpp prints."""
    return run([str(asked.build / "bench" / "cpp" / name), *options])


def run_python(name: str, *options: str) -> str:
    """What a benchmark of this folder prints."""
    return run([sys.executable, str(HERE / name), *options])


def number(text: str) -> str:
    """A figure with three digits, thousands set apart."""
    value = float(text)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rows_of(output: str, numbers: int) -> dict[tuple[str, str], list[str]]:
    """(arch, layer) and the figures of every row: an accelerator, a name of words, then `numbers` numbers."""
    pattern = re.compile(rf"({'|'.join(ARCHS)})\s+(\S.*?)((?:\s+[-+.\deinfa]+){{{numbers}}})\s*")
    found = (pattern.fullmatch(line) for line in output.splitlines())
    return {(row[1], row[2]): row[3].split() for row in found if row}


def table(titles: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    if not rows:
        sys.exit("nothing was measured: no layer has that name")
    return [f"| {' | '.join(cells)} |" for cells in [titles, ["---"] * len(titles), *rows]]


def joined(parts: list[dict[tuple[str, str], list[str]]], titles: list[str]) -> list[str]:
    """Tables of the same layers side by side."""
    return table(
        titles,
        [
            [f"{arch}, {layer}", *(number(cell) for part in parts for cell in part[arch, layer])]
            for arch, layer in parts[0]
        ],
    )


def evaluate(_: Asked) -> list[str]:
    found = [rows_of(run_python("evaluate.py", "--model", model), 5) for model in MODELS]
    rates = [{key: cells[:2] for key, cells in part.items()} for part in found]
    return joined(
        rates, ["accelerator, layer", *(f"{model}, {kind} M/s" for model in MODELS for kind in ("drawn", "valid"))]
    )


def mapper(asked: Asked) -> list[str]:
    found = []
    for model, columns in zip(MODELS, ((0, 2, 3), (0, 3)), strict=True):
        output = "".join(checked(run_cpp(asked, "mapper_bench", asked.match, arch, model)) for arch in ARCHS)
        found.append({key: [cells[i] for i in columns] for key, cells in rows_of(output, 6).items()})
    names = [("default", "one, EDP"), ("default", "one, energy"), ("default", "125, EDP")]
    names += [("compat", "one, EDP"), ("compat", "125, EDP")]
    titles = [f"{model}: {name}" if name == "one, EDP" else name for model, name in names]
    over = spread(found, [f"{name} ({model})" for model, name in names])
    return [*joined(found, ["accelerator, layer", *titles]), "", f"Over the layers of MobileNets: {over}."]


def spread(found: list[dict[tuple[str, str], list[str]]], titles: list[str]) -> str:
    """Median and most of every column of figures over all rows but those of `dense` layers, which MobileNets lack."""
    rows = [[cell for part in found for cell in part[key]] for key in found[0] if not key[1].startswith("dense")]
    columns = [[float(cell) for cell in column] for column in zip(*rows, strict=True)]
    parts = [
        f"{title}: {number(str(median(column)))} ms in the median, {number(str(max(column)))} at most"
        for title, column in zip(titles, columns, strict=bool(columns))
    ]
    return "; ".join(parts) or "none was measured"


def free(asked: Asked) -> list[str]:
    found: dict[str, list[str]] = {}
    for arch in ARCHS:
        rows = [line.split() for line in checked(run_cpp(asked, "free_bench", asked.match, arch)).splitlines()[1:-1]]
        for cells in rows:  # arch, the words of the layer, objective, cpu ms, wall ms and more
            least = next(i for i, cell in enumerate(cells) if cell in ("edp", "energy"))
            found.setdefault(" ".join(cells[1:least]), []).append(number(cells[least + 1]))
    return table(
        ["layer", *(f"{arch}, {least}" for arch in ARCHS for least in ("EDP", "energy"))],
        [[name, *cells] for name, cells in found.items()],
    )


def escaped(text: str) -> str:
    """A pattern of POSIX for just this text, which re.escape() does not make: it escapes blanks."""
    return re.sub(r"([][.^$*+?(){}|\\])", r"\\\1", text)


def compat(asked: Asked) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        options = ["--benchmark_repetitions=5", "--benchmark_out_format=json", f"--benchmark_out={out}"]
        if asked.match:
            options.append(f"--benchmark_filter={escaped(asked.match)}")
        run_cpp(asked, "compat_bench", *options)  # fails if a mapping costs something else when stepped through
        text = out.read_text()  # empty where no benchmark has that name
        runs = json.loads(text)["benchmarks"] if text else []
    medians = [run for run in runs if run.get("aggregate_name") == "median"]
    return table(
        ["accelerator, layer", "k/s"],
        [[run["run_name"].replace("/", ", ", 1), number(str(run["items_per_second"] * 1e-3))] for run in medians],
    )


def network(_: Asked) -> list[str]:
    pattern = re.compile(r"(\w+) +(\d+) threads +wall +([\d.]+) s +cpu +([\d.]+) s")
    found = [pattern.fullmatch(line) for line in run_python("table.py").splitlines()]
    return table(["accelerator", "threads", "wall s", "CPU s"], [list(row.groups()) for row in found if row])


def sweep(_: Asked) -> list[str]:
    return ["```", *run_python("sweep.py").splitlines(), "```"]


SECTIONS = {
    "evaluate": Section(evaluate, takes_match=False),
    "compat": Section(compat),
    "mapper": Section(mapper),
    "free": Section(free),
    "table": Section(network, takes_match=False),
    "sweep": Section(sweep, takes_match=False),
}


def checked(output: str) -> str:
    """The output of a C++ benchmark, if its own check passed."""
    if not output.rstrip().endswith(CHECKED):
        sys.exit(f"the benchmark did not check its answers:\n{output}")
    return output


def machine() -> str:
    """The processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
        return ", ".join(sorted(names)) or platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def measured(section: Section, asked: Asked) -> list[str]:
    """The table, and on what it was measured: a load well above 1 means that other programs took part of the time."""
    before = os.getloadavg()[0]
    lines = section.make(asked)
    load = f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after"
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    return [*lines, "", f"Measured {today} on {os.cpu_count()} x {machine()}, {platform.system()}; {load}."]


def splice(text: str, name: str, lines: list[str]) -> str:
    """The text with these lines between its marks of that name. Ends the report if there are no such marks."""
    begin, end = f"<!-- report: {name} -->\n", "<!-- end of report -->\n"
    if text.count(begin) != 1 or end not in text.split(begin)[1]:
        sys.exit(f"{README} has no place for the table `{name}`: {begin.strip()} ... {end.strip()}")
    head, rest = text.split(begin)
    return head + begin + "\n".join(lines) + "\n" + end + rest.split(end, 1)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar="TABLE",
        help=f"some of {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--build", type=Path, default=HERE.parent / "build" / "bench", help="build folder of the C++ benchmarks"
    )
    parser.add_argument("--match", default="", metavar="TEXT", help="only layers with TEXT in their name")
    parser.add_argument("--write", action="store_true", help="put the tables into bench/README.md")
    args = parser.parse_args()
    if args.match and (args.write or not all(SECTIONS[name].takes_match for name in args.only)):
        parser.error("--match is for tables that are printed, of compat, mapper and free")
    for name in args.only:
        lines = measured(SECTIONS[name], Asked(args.build, args.match))
        print("\n".join([f"**{name}**", "", *lines, ""]), flush=True)
        if args.write:
            README.write_text(splice(README.read_text(), name, lines))


if __name__ == "__main__":
    main()
