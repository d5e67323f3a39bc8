"""`quantloom import`: files of other tools as quantloom's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from quantloom.cli.output import print_json, print_lines, wrapped
from quantloom.cli.parsing import Parser, Subparsers
from quantloom.cli.units import plural

if TYPE_CHECKING:
    from quantloom._core import Workload
    from quantloom.timeloop.load import TimeloopDesign

__all__ = ["add_parser"]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command with its kinds of files."""
    parser = commands.add_parser(
        "import",
        help="files of other tools as quantloom's own",
        description="Read files of other tools and write what they describe as quantloom's files.",
        epilog="example:\n"
        "  quantloom export timeloop --arch eyeriss -o timeloop\n"
        "  quantloom import timeloop timeloop/architecture.yaml timeloop/tables.yaml -o mine",
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True, title="kinds")
    timeloop = kinds.add_parser(
        "timeloop",
        help="architectures (v0.3, v0.4), constraints, ERT and ART, problems, mappings, mapper settings",
        description="Read Timeloop files together, whatever is in which, and write arch.yaml, workload.yaml and "
        "mapping.yaml for what they describe. What had to be assumed and what was dropped is printed.",
        epilog="example:\n"
        "  quantloom export timeloop --arch eyeriss -o timeloop\n"
        "  quantloom import timeloop timeloop/architecture.yaml timeloop/tables.yaml -o mine",
    )
    timeloop.add_argument("files", metavar="FILES", nargs="+", help="Timeloop's YAML files, in any order")
    timeloop.add_argument("-o", "--output", metavar="DIR", required=True, help="where to write; nothing is overwritten")
    timeloop.add_argument("--arch", metavar="ARCH", help="the accelerator of a mapping, where no file describes it")
    timeloop.add_argument("--workload", metavar="W.yaml", help="the layer of a mapping, where no file describes it")
    timeloop.add_argument(
        "--estimator",
        metavar="NAME",
        default="analytic",
        help="where energies come from if no file is an energy table: analytic, timeloop (its built-in numbers), "
        "hwcomponents, or that of an installed package (default: analytic)",
    )
    timeloop.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a variable of Jinja templates, such as architecture=eyeriss_like; may be given several times",
    )
    timeloop.set_defaults(run=import_timeloop)
    return parser


def import_timeloop(args: argparse.Namespace) -> None:
    """Read all files, then write what they hold."""
    from quantloom.cli.saved import check_writable, write_whole
    from quantloom.spec.arch import load_arch
    from quantloom.spec.arch_text import dump_arch
    from quantloom.spec.mapping import dump_mapping
    from quantloom.spec.workload import load_workload
    from quantloom.timeloop.load import load_timeloop

    arch = None if args.arch is None else load_arch(args.arch)
    workload = None if args.workload is None else load_workload(args.workload)[0]
    design = load_timeloop(
        args.files, arch=arch, workload=workload, estimator=args.estimator, variables=_variables(args)
    )
    arch = design.arch or arch
    directory = Path(args.output)
    header = ["Read from Timeloop files: " + ", ".join(Path(file).name for file in args.files)]
    texts: dict[str, str] = {}
    if design.arch is not None:
        header += [f"{note.kind}: {note.text}" for note in design.notes]
        texts["arch.yaml"] = dump_arch(design.arch, header=header)
    dropped_bits = None
    if design.workload is not None:
        lines, dropped_bits = workload_lines(design.workload, design.bits)
        texts["workload.yaml"] = "\n".join(lines) + "\n"
    if design.mapping is not None and arch is not None:
        texts["mapping.yaml"] = dump_mapping(design.mapping, arch)
    for name in texts:
        check_writable(directory / name)
    for name, text in texts.items():
        write_whole(directory / name, text)
    files = [str(directory / name) for name in texts]
    notes: list[dict[str, str | None]] = [
        {"kind": note.kind, "where": note.where or None, "text": note.text} for note in design.notes
    ]
    if dropped_bits is not None:
        notes.append({"kind": "dropped", "where": None, "text": dropped_bits})
    if args.json:
        body = {"read": list(args.files), "written": files, "objective": design.objective, "notes": notes}
        print_json("import timeloop", body)
    else:
        print_lines(_report(design, files, notes, args))


def _variables(args: argparse.Namespace) -> dict[str, str]:
    """What --set gives."""
    pairs = [text.partition("=") for text in args.set]
    for text, (name, sign, _) in zip(args.set, pairs, strict=True):
        if not sign or not name.isidentifier():
            args.parser.error(f"--set {text}: expected NAME=VALUE")
    return {name: value for name, _, value in pairs}


def workload_lines(workload: Workload, bits: dict[str, int]) -> tuple[list[str], str | None]:
    """The lines of a workload file, and what it cannot say about the bits, if anything."""
    from quantloom.spec.workload import dump_workload_keys
    from quantloom.spec.yaml_nodes import quote

    lines = [f"name: {quote(workload.name)}", *dump_workload_keys(workload)]
    tensors = [tensor.name for tensor in workload.tensors]
    if set(bits) == {"Weights", "Inputs", "Outputs"}:
        return [*lines, f"bits: {{{', '.join(f'{tensor}: {width}' for tensor, width in bits.items())}}}"], None
    if set(bits) == set(tensors) and len(set(bits.values())) == 1:
        return [*lines, f"bits: {next(iter(bits.values()))}"], None
    if not bits:
        return lines, None
    given = ", ".join(f"{tensor} {width}" for tensor, width in bits.items())
    return lines, f"bitwidths ({given}): a workload file gives bits for Weights, Inputs and Outputs, or one for all"


def _report(
    design: TimeloopDesign, files: list[str], notes: list[dict[str, str | None]], args: argparse.Namespace
) -> list[str]:
    lines = []
    if design.arch is not None:
        units = f"{plural(design.arch.arithmetic.instances, 'unit')}"
        lines.append(f"architecture  {plural(design.arch.num_levels, 'level')}, {units} {design.arch.arithmetic.name}")
    if design.workload is not None:
        dims = " ".join(f"{dim}={bound}" for dim, bound in design.workload.dims.items())
        lines.append(f"problem       {design.workload.name}: {dims}, {design.workload.macs:,} MACs")
    if design.mapping is not None:
        lines.append("mapping       every factor multiplies to its bound")
    if not files:
        lines.append("nothing to write: the files describe no architecture, problem or mapping")
    for note in notes:
        where = f" ({note['where']})" if note["where"] else ""
        lines += wrapped(f"{note['kind']}: {note['text']}{where}", hang=2)
    lines += [f"written: {file}" for file in files]
    command = _next_command(design, files, args)
    return lines if command is None else [*lines, f"next: {command}"]


def _next_command(design: TimeloopDesign, files: list[str], args: argparse.Namespace) -> str | None:
    """The command that uses what was written."""
    by_name = {Path(file).name: file for file in files}
    arch, workload = by_name.get("arch.yaml", args.arch), by_name.get("workload.yaml", args.workload)
    if "mapping.yaml" in by_name:
        mapping = by_name["mapping.yaml"]
        return f"quantloom evaluate --arch {arch} --workload {workload} --mapping {mapping} --cost-model compat"
    tensors = [] if design.workload is None else sorted(tensor.name for tensor in design.workload.tensors)
    if arch is not None and tensors == ["Inputs", "Outputs", "Weights"] and not design.bits:
        return f"quantloom map {workload} --arch {arch} --cost-model compat"
    return f"quantloom show arch {arch}" if design.arch is not None else None
