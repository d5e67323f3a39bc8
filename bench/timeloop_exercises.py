"""Reads the input files of a checkout of the public Timeloop exercises; prints what loads, and the errors of the rest.

    git clone https://github.com/Accelergy-Project/timeloop-accelergy-exercises
    python bench/timeloop_exercises.py timeloop-accelergy-exercises

The files themselves are not in this repository. Every design is read with its problem, constraints and each of its
mappings; a mapping is also priced. Layer shapes are counted by folder.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from quantloom import _core
from quantloom.errors import QuantloomError
from quantloom.timeloop.load import TimeloopDesign, load_timeloop

OUTPUTS = ("ref-output", "ref_outputs", "outputs", "output", "out_dir")


def cases(root: Path) -> Iterator[tuple[str, list[Path], dict[str, str]]]:
    """(name, files, variables of templates) of every design of the exercises."""
    designs = root / "example_designs" / "example_designs"
    for arch in sorted(designs.rglob("arch.yaml")):
        name = str(arch.parent.relative_to(designs))
        yield f"example {name}", [designs / "top.yaml.jinja2"], {"architecture": name}
    for mapping in sorted(designs.rglob("mapping.yaml")):
        files = [mapping.parent / "arch.yaml", mapping.parent / "problem.yaml", mapping]
        yield f"example {mapping.parent.name}, files by themselves", files, {}
    tutorials = root / "tutorial_exercises"
    yield "tutorial 02, top", [tutorials / "02_interface_and_design_space_exploration_2024" / "top.yaml.jinja"], {}
    for folder in sorted((tutorials / "01_accelergy_timeloop_2020_ispass").glob("timeloop*/*")):
        if not (folder / "arch").is_dir():
            continue
        yield from tutorial(folder)
    yield from tutorial(tutorials / "01_accelergy_timeloop_2020_ispass" / "timeloop+accelergy")


def tutorial(folder: Path) -> Iterator[tuple[str, list[Path], dict[str, str]]]:
    """Each architecture of a folder with its problem, and with each mapping or each file of constraints."""
    fixed = [*folder.glob("prob/*.yaml"), *folder.glob("arch/components/*.yaml"), *folder.glob("mapper/*.yaml")]
    for arch in sorted(folder.glob("arch/*.yaml")):
        others = sorted([*folder.glob("map/*.yaml"), *folder.glob("constraints/*.yaml")])
        for other in others or [None]:
            files = [arch, *fixed, *([] if other is None else [other])]
            yield f"{folder.name}, {arch.name}" + ("" if other is None else f", {other.name}"), files, {}


def printed(folder: Path) -> str:
    """Energy and cycles that Timeloop printed for a recorded run."""
    for stats in sorted(folder.glob("*.stats.txt")):
        text = stats.read_text()
        found = [re.findall(pattern, text, re.MULTILINE) for pattern in (r"^Energy: (\S+) uJ", r"^Cycles: (\d+)")]
        if all(found):
            return f"{float(found[0][-1]):.2f} uJ, {int(found[1][-1]):,} cycles"
    return "nothing"


def recorded(root: Path) -> Iterator[tuple[str, list[Path], dict[str, str]]]:
    """What Timeloop's front end and Accelergy wrote for the runs that the exercises record."""
    for parsed in sorted(root.rglob("parsed-processed-input.yaml")):
        folder = parsed.parent
        tables = [*folder.glob("*.ERT.yaml"), *folder.glob("*.ART.yaml")]
        mapping = [*folder.glob("*.map.yaml")]
        yield f"recorded {folder.relative_to(root)}", [parsed, *tables, *mapping], {}


def describe(design: TimeloopDesign) -> str:
    """What was read, and the cost in compat where there is a mapping."""
    parts = []
    if design.arch is not None:
        parts.append(f"{design.arch.num_levels} levels")
    if design.workload is not None:
        parts.append(f"{design.workload.macs:,} MACs")
    if design.mapping is not None and design.arch is not None and design.workload is not None:
        try:
            cost = _core.evaluate(design.arch, design.workload, design.mapping, bits=design.bits, model="compat")
            parts.append(f"mapping: {cost.energy_pj / 1e6:.2f} uJ, {cost.cycles:,.0f} cycles")
        except QuantloomError as error:
            parts.append(f"mapping read; no cost: {str(error).splitlines()[0]}")
    return ", ".join(parts) or "nothing to model"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="the exercises' repository")
    root = parser.parse_args().checkout / "workspace"
    counts: Counter[str] = Counter()
    for kind, found in (("design", cases(root)), ("recorded run", recorded(root))):
        for name, files, variables in found:
            try:
                result = describe(load_timeloop(files, variables=variables))
                counts[f"{kind} read"] += 1
                if kind == "recorded run":
                    wanted = printed(files[0].parent)
                    counts["recorded runs at the cost that Timeloop printed"] += result.endswith(f"mapping: {wanted}")
                    result += f"; Timeloop printed {wanted}"
            except QuantloomError as error:
                counts[f"{kind} refused"] += 1
                result = "refused: " + str(error).replace(f"{root}/", "").replace("\n", "\n    ")
            print(f"{name}: {result}")
    for folder in sorted((root / "example_designs" / "layer_shapes").rglob("*")):
        files = sorted(path for path in folder.glob("*.yaml")) if folder.is_dir() else []
        shapes: Counter[str] = Counter()
        for path in files:
            try:
                shapes["read"] += load_timeloop([path]).workload is not None
            except QuantloomError as error:
                shapes[str(error).replace(f"{root}/", "").splitlines()[0]] += 1
        if files:
            counts["layer shapes read"] += shapes["read"]
            counts["layer shapes refused"] += len(files) - shapes["read"]
            print(f"layer shapes {folder.name}: " + "; ".join(f"{count} {what}" for what, count in shapes.items()))
    print("; ".join(f"{count} {what}" for what, count in counts.items()))


if __name__ == "__main__":
    main()
