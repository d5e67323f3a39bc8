"""`quantloom export`: quantloom's accelerators, layers and mappings as files of other tools."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from quantloom.cli.output import print_json, print_lines, wrapped
from quantloom.cli.parsing import BITS_HELP, Parser, Subparsers

if TYPE_CHECKING:
    from quantloom._core import Arch

__all__ = ["add_parser"]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command with its kinds of files."""
    parser = commands.add_parser(
        "export",
        help="accelerators, layers and mappings as files of other tools",
        description="Write what quantloom's files describe so that another tool reads it.",
        epilog="example:\n  quantloom export timeloop --arch simba -o timeloop",
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True, title="kinds")
    timeloop = kinds.add_parser(
        "timeloop",
        help="Timeloop v0.3 or v0.4: architecture, constraints, ERT and ART, problem, mapping",
        description="Write an accelerator as architecture.yaml, constraints.yaml and tables.yaml (ERT and ART), and "
        "where they are given a layer as problem.yaml and its mapping as mapping.yaml. timeloop-model wants all but "
        "the constraints, timeloop-mapper all but the mapping.",
        epilog="example:\n"
        "  quantloom map mobilenet_v1 --arch eyeriss --bits 8 --layer 2 --save best\n"
        "  quantloom export timeloop --arch eyeriss --workload best/layer02.workload.yaml"
        " --mapping best/layer02.mapping.yaml -o timeloop",
    )
    timeloop.add_argument("-o", "--output", metavar="DIR", required=True, help="where to write; nothing is overwritten")
    timeloop.add_argument("--arch", metavar="ARCH", required=True, help="an accelerator by name, or a YAML file")
    timeloop.add_argument("--workload", metavar="W.yaml", help="a layer")
    timeloop.add_argument("--mapping", metavar="M.yaml", help="a mapping of that layer")
    timeloop.add_argument(
        "--bits", metavar="BITS", help=f"the problem's bitwidths: {BITS_HELP}; default: the layer's own"
    )
    timeloop.add_argument(
        "--format",
        dest="version",
        choices=["0.3", "0.4"],
        default="0.3",
        help="version of the format: 0.3 (default), or 0.4, which Timeloop's Python front end reads",
    )
    timeloop.set_defaults(run=export_timeloop)
    return parser


def export_timeloop(args: argparse.Namespace) -> None:
    """Write all files, and say what the format has no words for."""
    from quantloom.cli.saved import check_writable, write_whole

    if args.mapping is not None and args.workload is None:
        args.parser.error("--mapping needs --workload, the layer that it is of")
    arch, texts, unsaid = _texts(args)
    directory = Path(args.output)
    for name in texts:
        check_writable(directory / name)
    for name, text in texts.items():
        write_whole(directory / name, text)
    files = [str(directory / name) for name in texts]
    if args.json:
        print_json("export timeloop", {"arch": arch.name, "written": files, "not_said": unsaid})
        return
    notes = [line for text in unsaid for line in wrapped(f"not in the files: {text}", hang=2)]
    print_lines([*notes, *(f"written: {file}" for file in files)])


def _texts(args: argparse.Namespace) -> tuple[Arch, dict[str, str], list[str]]:
    """(accelerator, text by name of file, what the format has no words for)."""
    from quantloom.cli.inputs import bits_by_tensor
    from quantloom.spec.arch import load_arch
    from quantloom.spec.bits import load_bits
    from quantloom.spec.together import load_mapped_layer
    from quantloom.spec.workload import load_workload
    from quantloom.timeloop import write, write_v04

    workload = mapping = bits = None
    if args.mapping is not None:
        layer = load_mapped_layer(args.arch, args.workload, args.mapping, bits=args.bits)
        arch, workload, mapping, bits = layer.arch, layer.workload, layer.mapping, layer.bits
    else:
        arch = load_arch(args.arch)
    if args.workload is not None and workload is None:
        workload, own_bits = load_workload(args.workload)
        bits = load_bits(args.bits).for_workload() if args.bits else own_bits
    is_new = args.version == "0.4"
    texts = {
        "architecture.yaml": write_v04.dump_architecture_v04(arch) if is_new else write.dump_architecture(arch),
        "constraints.yaml": write_v04.dump_constraints_v04(arch) if is_new else write.dump_constraints(arch),
        "tables.yaml": write_v04.dump_tables_v04(arch) if is_new else write.dump_tables(arch),
    }
    if workload is not None:
        texts["problem.yaml"] = write.dump_problem(workload, bits_by_tensor(bits, workload), version=args.version)
        if mapping is not None:
            dump = write_v04.dump_mapping_v04 if is_new else write.dump_mapping
            texts["mapping.yaml"] = dump(mapping, arch, workload)
    return arch, texts, write_v04.unsaid_v04(arch) if is_new else write.unsaid(arch)
