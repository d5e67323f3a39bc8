"""`quantloom map`: the best mapping of every layer of a model, or of one layer in detail."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quantloom.cli.evaluate import cost_json, cost_lines, totals_lines
from quantloom.cli.nest import LEGEND, nest_lines, one_line
from quantloom.cli.operator_rows import operator_lines, operators_json
from quantloom.cli.output import Column, TextTable, bold, note_lines, print_json, print_lines, wrapped
from quantloom.cli.parsing import (
    SELECTIONS,
    Parser,
    Subparsers,
    add_arch,
    add_bits,
    add_budget,
    add_cost_model,
    add_fixed,
    add_layer,
    add_model,
    add_objective,
    add_space,
    add_threads,
    cost_options,
    count_from,
)
from quantloom.cli.progress import Progress
from quantloom.cli.sources import source_lines
from quantloom.cli.units import count_text, edp_text, energy_text, energy_unit, percent, plural
from quantloom.errors import InfeasibleError, InternalError
from quantloom.mapper.breakdown import mapping_json

if TYPE_CHECKING:
    from quantloom._core import Arch, Certificate, Tradeoff
    from quantloom.mapper.certificate import Verdict
    from quantloom.mapper.operator_traffic import OperatorTraffic
    from quantloom.mapper.optimize import Optimum
    from quantloom.spec.bits import BitsSpec
    from quantloom.workload.bits import BitWidths
    from quantloom.workload.network import Layer, Network

__all__ = ["add_parser"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _MappedLayer:
    """A layer with its best mapping. position: from 1. same_as: the position of the equal layer that was solved."""

    position: int
    layer: Layer
    bits: BitWidths
    best: Optimum
    same_as: int | None
    notes: tuple[str, ...]
    verdict: Verdict | None  # with --check


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "map",
        help="the best mapping of every layer of a model",
        description="Find the best mapping of every layer, and say over how many mappings it is proven. With --layer "
        "the mapping is printed as a loop nest with all accesses.",
        epilog="example:\n  quantloom map mobilenet_v2 --arch eyeriss --bits 8 --layer features.1.conv.0.0",
    )
    add_model(parser)
    add_arch(parser)
    add_bits(parser, default="8")
    add_objective(parser, with_pareto=True)
    add_layer(parser)
    add_cost_model(parser)
    add_space(parser)
    add_budget(parser)
    add_fixed(parser)
    parser.add_argument(
        "--save", metavar="DIR", help="write each layer and its mapping to DIR, as `quantloom evaluate` reads them"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write a row for each layer as a table too: .csv, .parquet, .arrow or .json; the columns are those of "
        "`quantloom table`",
    )
    parser.add_argument(
        "--check",
        metavar="N",
        type=count_from(1),
        default=0,
        help="check each result without the code that found it, against N mappings, or all if there are no more",
    )
    parser.add_argument(
        "--charge-operators",
        action="store_true",
        help="price the traffic of pooling, additions, normalisation, lookups, ... as if all of it came from and went "
        "to the outermost level; without it their elements are counted only",
    )
    add_threads(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> None:
    """Map and print."""
    from quantloom._core import Mapspace
    from quantloom.cli.inputs import positions, read_inputs, with_given_loops
    from quantloom.cli.saved import MappingFiles, check_writable
    from quantloom.report.results import format_of

    if args.charge_operators and args.layer is not None:
        args.parser.error("--charge-operators is for a whole network, not with --layer")
    arch, [bits], network = read_inputs(args.arch, [args.bits], args.model)
    indices = positions(network, args.layer)
    if args.output is not None:
        format_of(args.output)
        check_writable(Path(args.output))
    files = MappingFiles(Path(args.save), len(network.layers), indices) if args.save is not None else None
    searched, selection = with_given_loops(args.fixed, arch, network, args.layer, selection=SELECTIONS[args.space])
    try:
        with Progress() as progress:
            mapped = _map_layers(args, searched, selection, network, bits, indices, progress)
    except InfeasibleError as error:
        if args.json:
            print_json("map", {"model": network.name, "arch": arch.name, **_infeasible_json(error)})
        raise
    if args.fixed is not None:
        plain = Mapspace(arch, mapped[0].layer.workload, selection=SELECTIONS[args.space])
        mapped = [replace(mapped[0], notes=tuple(plain.notes))]
    if files is not None:
        files.write(arch, [(each.position, each.layer.workload, each.bits, each.best.mapping) for each in mapped])
    traffic = _traffic(args, arch, network, bits)
    if args.output is not None:
        _write_table(args, arch, network, mapped)
    if args.json:
        print_json("map", _json(args, arch, network, mapped, traffic))
    else:
        title = f"{network.name} on {arch.name}, least {args.objective}, cost model {args.cost_model}"
        title += "" if args.space == "arch" else ", free mapspace"
        title += "" if args.fixed is None else f", with what {args.fixed} gives"
        beside = operator_lines(traffic, is_charged=args.charge_operators)
        lines = _layer_report(arch, mapped[0]) if args.layer is not None else _network_report(arch, mapped, beside)
        print_lines([bold(title), *lines, *([] if files is None else ["", f"written to {files.directory}"])])


def _write_table(args: argparse.Namespace, arch: Arch, network: Network, mapped: list[_MappedLayer]) -> None:
    from quantloom.cli.saved import write_whole
    from quantloom.mapper.results import mapped_results
    from quantloom.report.results import format_of

    about = {"model": network.name, "cost_model": args.cost_model, "objective": args.objective}
    layers = [(each.position, each.layer.name, each.bits, each.best) for each in mapped]
    results = mapped_results(layers, arch, lambda mapping: one_line(mapping, arch), about)
    write_whole(Path(args.output), results.encode(format_of(args.output)))


def _traffic(args: argparse.Namespace, arch: Arch, network: Network, bits: BitsSpec) -> list[OperatorTraffic]:
    """What the operators beside the layers move; nothing where one layer is asked for."""
    from quantloom.mapper.operator_traffic import edge_bits, operator_traffic

    if args.layer is not None:
        return []
    return operator_traffic(network, arch, edge_bits(bits, network), packing=args.packing)


def _map_layers(
    args: argparse.Namespace,
    arch: Arch,
    selection: str,
    network: Network,
    bits: BitsSpec,
    indices: list[int],
    progress: Progress,
) -> list[_MappedLayer]:
    """Solve each layer; equal layers with equal bits once."""
    from quantloom._core import Mapspace
    from quantloom.cli.inputs import naming_layer
    from quantloom.mapper.optimize import optimize

    solved: dict[object, _MappedLayer] = {}
    mapped = []
    for done, index in enumerate(indices):
        layer, widths = network.layers[index], bits.for_layer(network, index)
        key = layer.workload.renamed("any"), widths
        twin = solved.get(key)
        if twin is None:
            with naming_layer(layer.name):
                best = optimize(
                    arch,
                    layer.workload,
                    bits=widths,
                    objective=args.objective,
                    **cost_options(args),
                    selection=selection,
                    threads=args.threads,
                    budget=args.budget,
                    progress=progress.part(done, len(indices), "mapping", layer.name),
                )
            notes = tuple(Mapspace(arch, layer.workload, selection=selection).notes)
            verdict = _check(args, arch, selection, layer, widths, best) if args.check else None
        else:
            best, notes, verdict = twin.best, twin.notes, twin.verdict
        each = _MappedLayer(
            position=index + 1,
            layer=layer,
            bits=widths,
            best=best,
            same_as=None if twin is None else twin.position,
            notes=notes,
            verdict=verdict,
        )
        solved.setdefault(key, each)
        mapped.append(each)
    return mapped


def _check(
    args: argparse.Namespace, arch: Arch, selection: str, layer: Layer, bits: BitWidths, best: Optimum
) -> Verdict:
    """Check a result apart from the search. Raises InternalError if it is wrong."""
    from quantloom.mapper.certificate import check_claim, claim_of

    verdict = check_claim(
        arch,
        layer.workload,
        claim_of(best),
        bits=bits,
        objective=args.objective,
        **cost_options(args),
        selection=selection,
        points=args.check,
    )
    if verdict.faults:
        message = f"layer {layer.name}: the result does not pass its check: {'; '.join(verdict.faults)}"
        raise InternalError(message, hint="please report this with the command and its files")
    return verdict


def _check_lines(verdicts: list[Verdict]) -> list[str]:
    """What --check found, over the different layers."""
    if not verdicts:
        return []
    compared, complete = sum(v.compared for v in verdicts), sum(v.is_complete for v in verdicts)
    text = f"{compared:,} mappings compared apart from the search, none contradicts"
    whole = f"; {complete} of {plural(len(verdicts), 'mapspace')} completely" if complete else ""
    return wrapped(f"checked      {text}{whole}", hang=13)


# ---- text ------------------------------------------------------------------------------------------------------------


def _layer_report(arch: Arch, mapped: _MappedLayer) -> list[str]:
    best = mapped.best
    return [
        f"layer {mapped.position}: {mapped.layer.name}, bits {mapped.bits}",
        "",
        *nest_lines(best.mapping, arch, mapped.layer.workload, best.cost),
        "",
        *cost_lines(arch, best.cost),
        "",
        *totals_lines(best.cost),
        *_front_lines(arch, best),
        *wrapped(f"certificate  {_certificate_text(best.certificate)}", hang=13),
        *_check_lines([] if mapped.verdict is None else [mapped.verdict]),
        *note_lines({note: [mapped.position] for note in mapped.notes}),
        "",
        *source_lines(arch),
    ]


def _front_lines(arch: Arch, best: Optimum) -> list[str]:
    """The trade-offs of energy and cycles, the fastest first."""
    if not best.front:
        return []
    unit = energy_unit([point.energy_pj for point in best.front])
    titles = ("cycles", f"energy {unit.name}", "EDP pJ*cycles")
    table = TextTable(columns=[Column(title=title, align="right") for title in titles], tail_title="mapping")
    for point in best.front:
        numbers = count_text(point.cycles), unit.text(point.energy_pj), edp_text(point.energy_pj * point.cycles)
        table.add(*numbers, tail=one_line(point.mapping, arch))
    above = f"Trade-offs of energy and cycles ({len(best.front)}); shown above is the one of least EDP:"
    return ["", above, *table.lines(), ""]


def _network_report(arch: Arch, mapped: list[_MappedLayer], operators: list[str]) -> list[str]:
    costs = [each.best.cost for each in mapped]
    unit = energy_unit([cost.energy_pj for cost in costs])
    titles = (f"energy {unit.name}", "cycles", "util.", "EDP pJ*cycles")
    columns = [Column(title="#", align="right"), Column(title="layer"), Column(title="bits")]
    table = TextTable(
        columns=[*columns, *(Column(title=title, align="right") for title in titles)], tail_title="mapping"
    )
    for each, cost in zip(mapped, costs, strict=True):
        numbers = unit.text(cost.energy_pj), count_text(cost.cycles), percent(cost.utilization), edp_text(cost.edp)
        text = f"as {each.same_as}" if each.same_as is not None else one_line(each.best.mapping, arch)
        table.add(str(each.position), each.layer.name, str(each.bits), *numbers, tail=text)
    notes: dict[str, list[int]] = {}
    for each in mapped:
        for note in each.notes:
            notes.setdefault(note, []).append(each.position)
    totals = [*_totals(arch, mapped), *operators, *note_lines(notes)]
    return [*table.lines(), *wrapped(LEGEND), "", *totals, "", *source_lines(arch)]


def _totals(arch: Arch, mapped: list[_MappedLayer]) -> list[str]:
    totals = _sums(arch, mapped)
    certificates = [each.best.certificate for each in mapped if each.same_as is None]
    reused = len(mapped) - len(certificates)
    equal = f"; {plural(reused, 'equal layer')} solved with them" if reused else ""
    summed = f"; the layers' own EDPs add up to {edp_text(totals['sum_edp_pj_cycles'])}"
    proven = sum(certificate.exhausted for certificate in certificates)
    looked_at = sum(int(certificate.space_size) for certificate in certificates)
    if proven == len(certificates):
        proof = f"all {proven} different layers proven optimal over {looked_at:,} mappings{equal}"
    else:
        proof = f"{proven} of {len(certificates)} different layers proven optimal, the others within the budget{equal}"
    return [
        f"energy       {energy_text(totals['energy_pj'])}",
        f"cycles       {count_text(totals['latency_cycles'])}",
        *wrapped(f"EDP          {edp_text(totals['edp_pj_cycles'])} pJ*cycles of the network{summed}", hang=13),
        f"utilization  {percent(totals['utilization'])}; {count_text(totals['macs'])} MACs",
        *wrapped(f"certificate  {proof}", hang=13),
        *_check_lines([each.verdict for each in mapped if each.verdict is not None and each.same_as is None]),
    ]


def _certificate_text(certificate: Certificate) -> str:
    size = int(certificate.space_size)
    looked = f"{certificate.considered:,} looked at, {certificate.fitting:,} of them fit"
    if certificate.exhausted:
        return f"proven optimal over {size:,} mappings ({certificate.method}: {looked})"
    bound = f"no mapping is below {certificate.lower_bound:.4g}"
    return f"not proven: {certificate.considered:,} of {size:,} mappings within the budget; {bound}"


# ---- JSON ------------------------------------------------------------------------------------------------------------


def _json(
    args: argparse.Namespace,
    arch: Arch,
    network: Network,
    mapped: list[_MappedLayer],
    traffic: list[OperatorTraffic],
) -> dict[str, object]:
    from quantloom.mapper.energy_sources import energy_sources_json

    body: dict[str, object] = {
        "model": network.name,
        "arch": arch.name,
        "cost_model": args.cost_model,
        "objective": args.objective,
        "space": args.space,
        "fixed": args.fixed,
        "energy_sources": energy_sources_json(arch),
    }
    layers = [_layer_json(arch, each) for each in mapped]
    if args.layer is not None:
        return {**body, **layers[0]}
    solved = sum(each.same_as is None for each in mapped)
    beside = operators_json(traffic, is_charged=args.charge_operators)
    return {**body, "totals": _sums(arch, mapped), "layers_solved": solved, "layers": layers, **beside}


def _infeasible_json(error: InfeasibleError) -> dict[str, object]:
    """The answer where nothing fits; infeasible is null where no reason was worked out."""
    report = error.report
    if report is None:
        return {"error": error.message, "infeasible": None}
    levers = [
        {"kind": lever.kind, "text": lever.text, "bits": lever.bits, "capacity_words": lever.capacity_words}
        for lever in report.levers
    ]
    body = {
        "level": report.level,
        "need_words": report.need_words,
        "have_words": report.have_words,
        "tensor_words": report.tensor_words,
        "levers": levers,
    }
    return {"error": error.message, "infeasible": body}


def _layer_json(arch: Arch, mapped: _MappedLayer) -> dict[str, object]:
    certificate = mapped.best.certificate
    return {
        "position": mapped.position,
        "layer": mapped.layer.name,
        "bits": {"Weights": mapped.bits.weights, "Inputs": mapped.bits.inputs, "Outputs": mapped.bits.outputs},
        "same_as": mapped.same_as,
        **cost_json(arch, mapped.best.cost),
        "mapping": mapping_json(mapped.best.mapping, arch),
        **({"front": [_tradeoff_json(arch, point) for point in mapped.best.front]} if mapped.best.front else {}),
        "certificate": {
            "method": certificate.method,
            "size": int(certificate.space_size),
            "considered": certificate.considered,
            "fitting": certificate.fitting,
            "pruned_by_bound": certificate.pruned_by_bound,
            "is_proven": certificate.exhausted,
            "lower_bound": certificate.lower_bound,
        },
        **({"check": _verdict_json(mapped.verdict)} if mapped.verdict is not None else {}),
        "notes": list(mapped.notes),
    }


def _verdict_json(verdict: Verdict) -> dict[str, object]:
    return {"compared": verdict.compared, "is_complete": verdict.is_complete}


def _tradeoff_json(arch: Arch, point: Tradeoff) -> dict[str, object]:
    return {
        "energy_pj": point.energy_pj,
        "latency_cycles": point.cycles,
        "mapping": mapping_json(point.mapping, arch),
    }


def _sums(arch: Arch, mapped: list[_MappedLayer]) -> dict[str, float]:
    costs = [each.best.cost for each in mapped]
    energy_pj, cycles = sum(cost.energy_pj for cost in costs), sum(cost.cycles for cost in costs)
    macs = sum(cost.macs for cost in costs)
    return {
        "energy_pj": energy_pj,
        "latency_cycles": cycles,
        "edp_pj_cycles": energy_pj * cycles,
        "sum_edp_pj_cycles": sum(cost.edp for cost in costs),
        "utilization": macs / arch.arithmetic.instances / cycles,
        "macs": macs,
    }
