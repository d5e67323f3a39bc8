"""`quantloom show`: an accelerator, a model or a mapping in readable form."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantloom.cli.nest import nest_lines
from quantloom.cli.output import Column, TextTable, bold, print_json, print_lines, wrapped
from quantloom.cli.parsing import MODEL_HELP, Parser, Subparsers, add_arch, add_table_output
from quantloom.cli.units import bytes_text, count_text, plural

if TYPE_CHECKING:
    from quantloom._core import Arch, Constraint, Level, MacTable
    from quantloom.workload.network import Layer, Network, Operator, Treatment

__all__ = ["add_parser"]


def add_parser(commands: Subparsers) -> Parser:
    """Add the command with its three kinds of things."""
    parser = commands.add_parser(
        "show",
        help="an accelerator, a model or a mapping in readable form",
        description="Print what an accelerator, a model or a mapping consists of.",
        epilog="example:\n  quantloom show arch eyeriss",
    )
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True, title="kinds")
    arch = kinds.add_parser(
        "arch",
        help="levels, energies and constraints; without a name the known accelerators",
        description="Print the hierarchy of an accelerator with capacities, fanout, energies and their sources.",
        epilog="example:\n  quantloom show arch simba --svg simba.svg -o energies.csv --rows energies",
    )
    arch.add_argument("arch", metavar="ARCH", nargs="?", help="an accelerator by name, or a YAML file")
    arch.add_argument("--svg", metavar="FILE", help="draw it into an SVG file, which must not be there yet")
    _add_rows(arch, ("components", "energies"))
    arch.set_defaults(run=show_arch)
    model = kinds.add_parser(
        "model",
        help="layers, shapes, MACs, edges and bit groups",
        description="Print the layers of a network and the edges (stored activations) between them.",
        epilog="example:\n  quantloom show model mobilenet_v2:width=0.5,input=96 -o layers.csv",
    )
    model.add_argument("model", metavar="MODEL", nargs="?", help=f"{MODEL_HELP}; without it the zoo is listed")
    _add_rows(model, ("layers", "edges", "operators"))
    model.set_defaults(run=show_model)
    mapping = kinds.add_parser(
        "mapping",
        help="the loop nest of a mapping file",
        description="Print a mapping as a loop nest; `quantloom evaluate` adds what it costs.",
        epilog="example:\n"
        "  quantloom map mobilenet_v1 --arch eyeriss --bits 8 --layer 2 --save best\n"
        "  quantloom show mapping best/layer02.mapping.yaml --arch eyeriss"
        " --workload best/layer02.workload.yaml -o loops.csv",
    )
    mapping.add_argument("mapping", metavar="M.yaml", help="the mapping")
    add_arch(mapping)
    mapping.add_argument("--workload", metavar="W.yaml", required=True, help="its layer")
    add_table_output(mapping, "a row for each loop")
    mapping.set_defaults(run=show_mapping)
    return parser


def _add_rows(parser: Parser, kinds: Sequence[str]) -> None:
    """-o and what its rows are; the first kind if nothing is said."""
    add_table_output(parser, f"its {kinds[0]}, or what --rows names,")
    parser.add_argument("--rows", choices=kinds, help=f"what the rows of the table are (default: {kinds[0]})")
    parser.set_defaults(default_rows=kinds[0])


def _check_table_options(args: argparse.Namespace, named: str | None, metavar: str) -> None:
    """Refuse, before any work, what cannot be written. named: what is to be shown, None for a list of names."""
    from quantloom.cli.saved import check_table_file

    if args.output is None and args.rows is not None:
        args.parser.error("--rows needs -o FILE, the table that it is about")
    if args.output is not None and named is None:
        args.parser.error(f"-o needs {metavar}, what the table is of")
    check_table_file(args.output)


# ---- accelerators ----------------------------------------------------------------------------------------------------


def show_arch(args: argparse.Namespace) -> None:
    """Print one accelerator, or the names of all."""
    from quantloom.cli.saved import write_table
    from quantloom.mapper.description_results import arch_results
    from quantloom.spec.arch import arch_names, find_arch, load_arch

    if args.arch is None and args.svg is not None:
        args.parser.error("--svg needs ARCH, the accelerator to draw")
    _check_table_options(args, args.arch, "ARCH")
    if args.arch is None:
        if args.json:
            print_json("show arch", {"archs": [{"name": name, "file": str(find_arch(name))} for name in arch_names()]})
        else:
            print_lines([f"{name}  {find_arch(name)}" for name in arch_names()])
        return
    arch = load_arch(args.arch)
    if args.svg is not None:
        draw_arch(arch, Path(args.svg))
    if args.output is not None:
        write_table(args.output, arch_results(arch, args.rows or args.default_rows))
    if args.json:
        print_json("show arch", arch_json(arch))
    else:
        print_lines(arch_lines(arch))


def draw_arch(arch: Arch, path: Path) -> None:
    """Write the drawing of an accelerator as SVG."""
    from quantloom.cli.arch_rows import arch_rows
    from quantloom.cli.saved import check_writable, write_whole
    from quantloom.report.arch_drawing import draw_arch_svg

    check_writable(path)
    rows, sources = arch_rows(arch)
    write_whole(path, draw_arch_svg(arch.name, f"source: {arch.source}", rows, sources))


def arch_json(arch: Arch) -> dict[str, object]:
    """The accelerator, levels from DRAM inwards, with units in the keys."""
    unit = arch.arithmetic
    return {
        "name": arch.name,
        "source": arch.source,
        "levels": [_level_json(level) for level in reversed(arch.levels)],
        "arithmetic": {
            "name": unit.name,
            "word_bits": unit.word_bits,
            "instances": unit.instances,
            "instances_x": unit.mesh_x,
            "instances_y": unit.mesh_y,
            "mac_energy_pj": unit.energy_pj,
            "energy_source": unit.energy_source,
            "area_um2": unit.area_um2,
            "psum_bits": unit.psum_bits or None,
            "leak_energy_pj_per_cycle": unit.leak_energy_pj,
            "idle_energy_pj_per_cycle": unit.idle_energy_pj,
            "precision": _precision_json(unit.mac_table),
        },
        "constraints": [
            {"origin": c.origin, "level": c.level, "target": c.target, "limits": _constraint_text(c)}
            for c in arch.constraints
        ],
    }


def _precision_json(table: MacTable | None) -> dict[str, object] | None:
    """Energy and operations per cycle of each pair of widths, the second operand's index running faster."""
    if table is None:
        return None
    return {
        "first_bits": table.first_bits,
        "second_bits": table.second_bits,
        "energy_pj": table.energy_pj,
        "macs_per_cycle": [macs / cycles for macs, cycles in table.rate],
    }


def arch_lines(arch: Arch) -> list[str]:
    """The accelerator as a drawing, a table of energies with sources, and its constraints."""
    lines = [bold(arch.name), *wrapped(f"source: {arch.source}"), "", *_drawing(arch), "", *_energy_table(arch)]
    if arch.constraints:
        lines += ["", *_constraint_table(arch)]
    return lines


def _drawing(arch: Arch) -> list[str]:
    """Levels below each other, further to the right where they fan out."""
    lines = []
    indent = ""
    for i in reversed(range(arch.num_levels)):
        level = arch.levels[i]
        lines += _hang(f"{indent}{level.name}  ", _level_text(level))
        x, y = arch.fanout_x(i), arch.fanout_y(i)
        if x * y > 1:
            each = " and ".join(f"{n} along {axis}" for n, axis in ((x, "x"), (y, "y")) if n > 1)
            lines.append(f"{indent}│ {each}")
            lines.append(f"{indent}└─┐")
            indent += "  "
        else:
            lines.append(f"{indent}│")
    unit = arch.arithmetic
    text = f"{_grid(unit.instances, unit.mesh_x, unit.mesh_y)}, {unit.word_bits}-bit operands"
    return [*lines, f"{indent}{unit.name}  {text}"]


def _hang(head: str, text: str) -> list[str]:
    """`head` and the text behind it, further lines under the text."""
    body = wrapped(text, indent=len(head))
    return [head + body[0].lstrip(), *body[1:]]


def _level_text(level: Level) -> str:
    parts = [_grid(level.instances, level.mesh_x, level.mesh_y)]
    if level.capacity_words is None:
        parts.append(f"unlimited {level.word_bits}-bit words")
    else:
        size = bytes_text(level.capacity_words * level.word_bits)
        parts.append(f"{plural(level.capacity_words, 'word')} of {level.word_bits} bits ({size})")
    if level.block_words > 1:
        parts.append(f"{level.block_words} words in a block")
    if level.cluster_size > 1:
        parts.append(f"clusters of {level.cluster_size}")
    rates = [("read", level.read_bandwidth), ("write", level.write_bandwidth), ("both", level.shared_bandwidth)]
    known = [f"{what} {rate:g}" for what, rate in rates if rate is not None]
    if known:
        parts.append(f"{'bits' if level.bandwidth_in_bits else 'words'} in a cycle: {', '.join(known)}")
    if level.packing is not None:
        parts.append(f"packing: {level.packing}")
    network = {"no multicast": not level.multicast, "no adders": not level.reduction, "forwarding": level.forwarding}
    parts += [f"network: {what}" for what, is_so in network.items() if is_so]
    return "; ".join(parts)


def _grid(instances: int, x: int, y: int) -> str:
    grid = f" ({x} x {y})" if x > 1 and y > 1 else ""
    return f"{plural(instances, 'instance')}{grid}"


def _energy_table(arch: Arch) -> list[str]:
    """Energy of one access of a block, with numbers that stand for the sources below the table."""
    sources: dict[str, int] = {}

    def cell(energy_pj: float, source: str) -> str:
        number = sources.setdefault(source or "no source given", len(sources) + 1)
        return f"{energy_pj:g} [{number}]"

    titles = ("read pJ", "fill pJ", "update pJ", "area µm²")
    table = TextTable(columns=[Column(title="level"), *(Column(title=t, align="right") for t in titles)])
    extras = []
    for level in reversed(arch.levels):
        e = level.energy
        cells = [cell(e.read_pj, e.read_source), cell(e.fill_pj, e.fill_source), cell(e.update_pj, e.update_source)]
        table.add(level.name, *cells, count_text(level.area_um2) if level.area_um2 else "-")
        more = {
            "pJ for an address": level.address_energy_pj,
            "pJ for a word and hop": level.hop_energy_pj,
            "pJ for a word and router": level.router_energy_pj,
            "pJ for an addition on the network": level.adder_energy_pj,
            "pJ leaked in a cycle": level.leak_energy_pj,
            "pJ leaked in a cycle when idle": level.idle_energy_pj,
        }
        extras += [f"{level.name}: {pj:g} {what}" for what, pj in more.items() if pj]
    unit = arch.arithmetic
    mac = cell(unit.energy_pj, unit.energy_source)
    table.add(unit.name, f"{mac} a MAC", "", "", count_text(unit.area_um2) if unit.area_um2 else "-")
    more = {"pJ leaked in a cycle": unit.leak_energy_pj, "pJ leaked in a cycle when idle": unit.idle_energy_pj}
    extras += [f"{unit.name}: {pj:g} {what}" for what, pj in more.items() if pj]
    if unit.psum_bits:
        extras.append(f"{unit.name}: partial sums of {unit.psum_bits} bits")
    footnotes = [line for source, n in sources.items() for line in _hang(f"[{n}] ", source)]
    lines = ["Energy of one access of a block:", *table.lines(), *extras, *footnotes]
    return lines if unit.mac_table is None else [*lines, "", *_mac_lines(unit.name, unit.mac_table)]


def _mac_lines(name: str, table: MacTable) -> list[str]:
    """PJ and operations per cycle of one unit, by the bits of the two operands, at most eight of each."""
    rows, columns = (_spread(len(bits)) for bits in (table.first_bits, table.second_bits))
    grid = TextTable(
        columns=[
            Column(title=f"{name}: pJ (MACs a cycle)"),
            *(Column(title=f"x {table.second_bits[j]} bits", align="right") for j in columns),
        ]
    )
    for i in rows:
        cells = []
        for j in columns:
            at = i * len(table.second_bits) + j
            macs, cycles = table.rate[at]
            cells.append(f"{table.energy_pj[at]:.3g} ({macs / cycles:.3g})")
        grid.add(f"{table.first_bits[i]} bits", *cells)
    return grid.lines()


def _spread(size: int) -> list[int]:
    """All positions, or the first of powers of two and the last."""
    return list(range(size)) if size <= 8 else sorted({2**k - 1 for k in range(size.bit_length())} | {size - 1})


def _constraint_table(arch: Arch) -> list[str]:
    columns = [Column(title="constraints of"), Column(title="level"), Column(title="on")]
    table = TextTable(columns=columns, tail_title="limits")
    for constraint in arch.constraints:
        table.add(constraint.origin, constraint.level, constraint.target, tail=_constraint_text(constraint))
    relax = "a fixed factor that does not divide the bound of its dim is lowered until it does"
    return [*table.lines(), *(wrapped(relax) if arch.relax_indivisible_factors else [])]


def _constraint_text(constraint: Constraint) -> str:
    parts = []
    if constraint.factors:
        factors = [
            f"{dim}{relation}{'all' if value == 0 and relation == '=' else value}"
            for dim, relation, value in constraint.factors
        ]
        parts.append(" ".join(factors))
    if constraint.permutation_inner:
        parts.append(f"innermost {' '.join(constraint.permutation_inner)}")
    if constraint.permutation_outer:
        parts.append(f"outermost {' '.join(constraint.permutation_outer)}")
    if constraint.split is not None:
        parts.append(f"first {constraint.split} on x")
    if constraint.keep:
        parts.append(f"keep {', '.join(constraint.keep)}")
    if constraint.bypass:
        parts.append(f"bypass {', '.join(constraint.bypass)}")
    return "; ".join(parts)


def _level_json(level: Level) -> dict[str, object]:
    unit = "bits" if level.bandwidth_in_bits else "words"
    return {
        "name": level.name,
        "is_dram": level.is_dram,
        "word_bits": level.word_bits,
        "block_words": level.block_words,
        "cluster_size": level.cluster_size,
        "capacity_words": level.capacity_words,
        "instances": level.instances,
        "instances_x": level.mesh_x,
        "instances_y": level.mesh_y,
        f"read_bandwidth_{unit}_per_cycle": level.read_bandwidth,
        f"write_bandwidth_{unit}_per_cycle": level.write_bandwidth,
        f"shared_bandwidth_{unit}_per_cycle": level.shared_bandwidth,
        "read_energy_pj": level.energy.read_pj,
        "fill_energy_pj": level.energy.fill_pj,
        "update_energy_pj": level.energy.update_pj,
        "read_energy_source": level.energy.read_source,
        "fill_energy_source": level.energy.fill_source,
        "update_energy_source": level.energy.update_source,
        "address_energy_pj": level.address_energy_pj,
        "hop_energy_pj": level.hop_energy_pj,
        "router_energy_pj": level.router_energy_pj,
        "adder_energy_pj": level.adder_energy_pj,
        "leak_energy_pj_per_cycle": level.leak_energy_pj,
        "idle_energy_pj_per_cycle": level.idle_energy_pj,
        "packing": level.packing,
        "multicast": level.multicast,
        "reduction": level.reduction,
        "forwarding": level.forwarding,
        "area_um2": level.area_um2,
    }


# ---- models ----------------------------------------------------------------------------------------------------------


def show_model(args: argparse.Namespace) -> None:
    """Print one network, or the zoo."""
    from quantloom.cli.inputs import read_network
    from quantloom.cli.saved import write_table
    from quantloom.mapper.description_results import network_results
    from quantloom.zoo import MODEL_NAMES, OPTIONS

    _check_table_options(args, args.model, "MODEL")
    if args.model is None:
        options = {key: {"default": option.default, "meaning": option.meaning} for key, option in OPTIONS.items()}
        if args.json:
            print_json("show model", {"models": list(MODEL_NAMES), "options": options})
        else:
            lines = [f"  {f'{key}={option.default:g}':<14}{option.meaning}" for key, option in OPTIONS.items()]
            title = "options with their defaults, as in mobilenet_v2:width=0.5,input=96"
            print_lines([*MODEL_NAMES, "", title, *lines])
        return
    network = read_network(args.model)
    if args.output is not None:
        write_table(args.output, network_results(network, args.rows or args.default_rows, kind_text))
    if args.json:
        print_json("show model", model_json(network))
    else:
        print_lines(model_lines(network))


def model_json(network: Network) -> dict[str, object]:
    """Layers and edges; edges are named by the layers that read and write them."""
    return {
        "name": network.name,
        "input_shape": list(network.input_shape),
        "macs": network.macs,
        "weights_elements": network.weights,
        "table_elements": network.tables,
        "layers": [
            {
                "position": position,
                "name": layer.name,
                "kind": kind_text(layer),
                "dims": dict(layer.workload.dims),
                "macs": layer.workload.macs,
                "weights_elements": layer.weights_elements,
                "weights_edge": None if layer.weights_edge is None else network.edges[layer.weights_edge].name,
                "weights_of_layer": None if layer.weights_layer is None else network.layers[layer.weights_layer].name,
                "reads": network.edges[layer.input_edge].name,
                "writes": network.edges[layer.output_edge].name,
            }
            for position, layer in enumerate(network.layers, 1)
        ],
        "edges": [
            {"name": edge.name, "shape": list(edge.shape), "elements": edge.elements, "bit_group": edge.group}
            for edge in network.edges
        ],
        "operators": [
            {
                "name": operator.name,
                "kind": operator.kind,
                "treatment": operator.treatment,
                "assumption": _ASSUMPTIONS[operator.treatment],
                "reads": [network.edges[edge].name for edge in operator.reads],
                "writes": None if operator.writes is None else network.edges[operator.writes].name,
                "elements_read": operator.elements_read,
                "elements_written": operator.elements_written,
                "table_elements": operator.table_elements,
            }
            for operator in network.operators
        ],
    }


def model_lines(network: Network) -> list[str]:
    """The network as tables of layers, edges and operators."""
    shape = " x ".join(map(str, network.input_shape))
    total = f"{plural(len(network.layers), 'layer')}, {network.macs:,} MACs, {network.weights:,} weights"
    total += f", {network.tables:,} elements of tables" if network.tables else ""
    lines = [bold(network.name), f"input {shape}; {total}", "", *_layer_table(network), "", *_edge_table(network)]
    lines += wrapped("Edges of one bit group share their bits; MACs and elements are those of one sample.")
    return [*lines, *_operator_lines(network)]


def kind_text(layer: Layer) -> str:
    """What a layer is: `conv 3x3 s2`, `depthwise 3x3`, `linear`, `product` of two activations, or `einsum`."""
    workload, dims = layer.workload, layer.workload.dims
    if layer.weights_edge is not None:
        return "product"
    axes = [("S", "Q"), ("R", "P")]  # kernel and output dims
    if "T" in dims and "O" in dims:
        axes.insert(0, ("T", "O"))
    used = {dim for axis in axes for dim in axis}
    if {dim for dim in dims if dim != "G"} != {"C", "M", "N", *used}:
        return "einsum"
    if all(dims[dim] == 1 for dim in used):
        return f"linear in {dims['G']} groups" if "G" in dims else "linear"
    inputs = next(tensor for tensor in workload.tensors if tensor.name == "Inputs")
    factors = {dim: coefficient for rank in inputs.ranks for dim, coefficient in rank}
    kind = "conv" if "G" not in dims else "depthwise" if dims["C"] == dims["M"] == 1 else f"conv in {dims['G']} groups"
    text = f"{kind} {'x'.join(str(dims[kernel]) for kernel, _ in axes)}"
    for letter, which in (("s", 1), ("d", 0)):
        steps = [factors.get(axis[which], 1) for axis in axes]
        if max(steps) > 1:
            text += f" {letter}{steps[0]}" if len(set(steps)) == 1 else f" {letter}{'x'.join(map(str, steps))}"
    return text


def _layer_table(network: Network) -> list[str]:
    columns = [
        Column(title="#", align="right"),
        Column(title="layer"),
        Column(title="kind"),
        Column(title="MACs", align="right"),
        Column(title="weights", align="right"),
        Column(title="reads", align="right"),
        Column(title="writes", align="right"),
    ]
    table = TextTable(columns=columns, tail_title="dims")
    for position, layer in enumerate(network.layers, 1):
        dims = " ".join(f"{dim}{bound}" for dim, bound in layer.workload.dims.items())
        edges = _edge_name(layer.input_edge), _edge_name(layer.output_edge)
        weights = f"{layer.weights_elements:,}"
        if layer.weights_edge is not None:
            weights = _edge_name(layer.weights_edge)
        elif layer.weights_layer is not None:
            weights += f" as {layer.weights_layer + 1}"
        table.add(str(position), layer.name, kind_text(layer), f"{layer.workload.macs:,}", weights, *edges, tail=dims)
    return table.lines()


def _edge_table(network: Network) -> list[str]:
    columns = [
        Column(title="edge"),
        Column(title="stored value"),
        Column(title="shape"),
        Column(title="elements", align="right"),
        Column(title="bit group", align="right"),
    ]
    table = TextTable(columns=columns, tail_title="shared with")
    for index, edge in enumerate(network.edges):
        others = _names(i for i in network.edge_groups[edge.group] if i != index)
        shape = " x ".join(map(str, edge.shape))
        table.add(_edge_name(index), edge.name, shape, f"{edge.elements:,}", str(edge.group), tail=others)
    return table.lines()


_ASSUMPTIONS: Final[dict[Treatment, str]] = {
    "fused": "done to the values as their producer writes them; free",
    "free": "a part, another shape or another place of what is stored; free",
    "traffic": "reads its operands and writes its result; the elements are counted here, their energy is not",
    "assumed": "unknown, taken as traffic because the model says unknown=traffic; it may multiply",
}


def _operator_lines(network: Network) -> list[str]:
    """What is assumed of every operator beside the layers: one row for equal kinds that move nothing."""
    if not network.operators:
        return []
    columns = [Column(title="operator"), Column(title="kind"), Column(title="assumed")]
    numbers = [Column(title=title, align="right") for title in ("reads", "writes", "table")]
    table = TextTable(columns=[*columns, *numbers], tail_title="edges")
    still: dict[tuple[str, str], list[Operator]] = {}
    for operator in network.operators:
        if operator.treatment in ("fused", "free"):
            still.setdefault((operator.kind, operator.treatment), []).append(operator)
            continue
        counts = [f"{n:,}" if n else "" for n in (operator.elements_read, operator.elements_written)]
        rows = f"{operator.table_elements:,}" if operator.table_elements else ""
        written = "" if operator.writes is None else f" to {_edge_name(operator.writes)}"
        edges = f"{_names(operator.reads)}{written}"
        table.add(operator.name, operator.kind, operator.treatment, *counts, rows, tail=edges)
    for (kind, treatment), operators in still.items():
        edges = _names(dict.fromkeys(edge for operator in operators for edge in operator.reads))
        name = operators[0].name if len(operators) == 1 else f"({len(operators)})"
        table.add(name, kind, treatment, "", "", "", tail=edges)
    used = {operator.treatment for operator in network.operators}
    notes = [line for key, text in _ASSUMPTIONS.items() if key in used for line in _hang(f"{key}: ", text)]
    return ["", *table.lines(), *notes]


def _names(edges: Iterable[int]) -> str:
    return " ".join(map(_edge_name, edges))


def _edge_name(index: int) -> str:
    return f"e{index}"


# ---- mappings --------------------------------------------------------------------------------------------------------


def show_mapping(args: argparse.Namespace) -> None:
    """Print the loop nest of a mapping file."""
    from quantloom.cli.saved import check_table_file, write_table
    from quantloom.mapper.breakdown import mapping_json
    from quantloom.mapper.description_results import mapping_results
    from quantloom.spec.together import load_mapped_layer

    check_table_file(args.output)
    layer = load_mapped_layer(args.arch, args.workload, args.mapping)
    arch, workload, mapping = layer.arch, layer.workload, layer.mapping
    if args.output is not None:
        write_table(args.output, mapping_results(mapping, arch, workload))
    if args.json:
        levels = mapping_json(mapping, arch)
        print_json("show mapping", {"arch": arch.name, "workload": workload.name, "mapping": levels})
    else:
        print_lines([bold(f"{workload.name} on {arch.name}"), *nest_lines(mapping, arch, workload)])
