"""The hardware tables of arXiv 2404.05368 (DDECS 2024) made again, each number in two columns.

`as in the paper`: the compat cost model, depthwise layers taken as dense, partial sums stored at the bits of the
outputs, the sum of the layers' EDPs. `as it is`: the default cost model, depthwise layers as they are, partial sums at
their own width. Parts: `counts` (valid mappings by bits), `energy` (by weight bits, beside the authors' outputs),
`levels` (where it goes).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from quantloom.mapper.mapspace import Mapspace
from quantloom.report.results import Cell, ResultColumn, ResultTable
from quantloom.reproduce.published import Committed, published
from quantloom.reproduce.solved import Column, Totals, solve_layers
from quantloom.spec.arch import load_arch
from quantloom.spec.bits import load_bits
from quantloom.store.database import Store
from quantloom.workload.load import load_network
from quantloom.workload.network import Network
from quantloom.workload.paper import paper_workloads

__all__ = ["AS_IN_PAPER", "AS_IT_IS", "PARTS", "PROFILES", "Profile", "Settings", "make_part"]

Profile = Literal["quick", "full"]
PROFILES: Final = ("quick", "full")
PARTS: Final = ("counts", "energy", "levels")
AS_IN_PAPER: Final = "as in the paper"
AS_IT_IS: Final = "as it is"

_NETWORK: Final = "mobilenet_v1:classes=100"  # the network of the counts; that of the authors' outputs is in the file
_UNIFORM: Final = ("16", "8", "4", "2")
_WEIGHT_BITS: Final = (2, 3, 4, 5, 6, 7, 8)
_ACTIVATION_BITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a part is made. quick: what was published; full: also mixed bits of every layer, and MobileNetV2.

    progress(done, total, text).
    """

    profile: Profile
    threads: int
    store: Store | None
    progress: Callable[[int, int, str], None]


def make_part(name: str, settings: Settings) -> ResultTable:
    """Make one of PARTS."""
    makers = {"counts": _counts, "energy": _energy, "levels": _levels}
    return makers[name](settings)


_COUNT_COLUMNS: Final = (
    ResultColumn("network", "text", "", "MobileNetV1 or V2 for 100 classes, images of 224 x 224"),
    ResultColumn("position", "int", "", "of the layer, from 1"),
    ResultColumn("layer", "text", "", "its name"),
    ResultColumn("bits", "text", "", "of all tensors, or aA wW oO: activations in, weights, activations out"),
    ResultColumn("independent", "int", "", "valid mappings, counted apart from both tools; missing: not counted"),
    ResultColumn("paper_valid", "int", "", f"valid mappings {AS_IN_PAPER}"),
    ResultColumn("paper_visited", "int", "", f"mappings looked at {AS_IN_PAPER}"),
    ResultColumn("valid", "int", "", f"valid mappings {AS_IT_IS}"),
    ResultColumn("visited", "int", "", f"mappings looked at {AS_IT_IS}"),
)


def _counts(settings: Settings) -> ResultTable:
    known = published()
    mixed = tuple(bits for bits in known.valid_layer_2 if bits not in _UNIFORM)
    names = [_NETWORK] if settings.profile == "quick" else [_NETWORK, _NETWORK.replace("v1", "v2")]
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        network = load_network(name)
        dense = paper_workloads(network)
        for i, layer in enumerate(network.layers):
            settings.progress(i, len(network.layers), f"counting {name.partition(':')[0]} {layer.name}")
            is_second = name == _NETWORK and i == 1
            bits = (*_UNIFORM, *mixed) if settings.profile == "full" or is_second else _UNIFORM
            paper = _count(dense, i, bits, "compat", settings.threads)
            real = _count(network, i, bits, "default", settings.threads)
            for each, ours, ours_now in zip(bits, paper, real, strict=True):
                there = (known.valid_layer_2 if is_second else known.valid[i]) if name == _NETWORK else {}
                rows.append((name.partition(":")[0], i + 1, layer.name, each, there.get(each), *ours, *ours_now))
    about = {"accelerator": "eyeriss", "independent": "counted apart from both tools, from the released files"}
    return ResultTable(name="counts", columns=_COUNT_COLUMNS, rows=tuple(rows), about=about)


def _count(network: Network, index: int, bits: Sequence[str], model: str, threads: int) -> list[tuple[int, int]]:
    """(valid, visited) of a layer on Eyeriss at each setting."""
    widths = [load_bits(each).for_layer(network, index) for each in bits]
    tensors = [{"Weights": each.weights, "Inputs": each.inputs, "Outputs": each.outputs} for each in widths]
    space = Mapspace(load_arch("eyeriss"), network.layers[index].workload)
    found = space.count_valid_many(tensors, threads=threads, model=model)
    return [(each.valid, each.considered) for each in found]


_ENERGY_COLUMNS: Final = (
    ResultColumn("arch", "text", "", "the accelerator"),
    ResultColumn("weight_bits", "int", "bits", "of every layer; activations have 8"),
    ResultColumn("published_energy_uj", "float", "uJ", "of the authors' best mappings"),
    ResultColumn("published_cycles", "float", "cycles", "of these"),
    ResultColumn("published_sum_edp_j_cycles", "float", "J*cycles", "of these, the layers' own EDPs added up"),
    ResultColumn("paper_energy_uj", "float", "uJ", f"of the proven optima (EDP), {AS_IN_PAPER}"),
    ResultColumn("paper_cycles", "float", "cycles", "of these"),
    ResultColumn("paper_sum_edp_j_cycles", "float", "J*cycles", "of these"),
    ResultColumn("published_over_optimum", "float", "", "ratio of the sums of EDPs: what the authors' search left"),
    ResultColumn("energy_uj", "float", "uJ", f"of the proven optima (EDP), {AS_IT_IS}"),
    ResultColumn("latency_cycles", "float", "cycles", "of these"),
    ResultColumn("edp_j_cycles", "float", "J*cycles", "energy x latency of the whole network"),
)


def _columns_of(constraints: str) -> tuple[Column, Column]:
    known = published()
    return (
        Column(name=AS_IN_PAPER, model="compat", layers=known.dense, selection=constraints),
        Column(name=AS_IT_IS, model="default", layers=known.exact, selection=constraints),
    )


def _solve_both(
    settings: Settings, arch_name: str, constraints: str, *, position: int, archs: int
) -> tuple[list[Totals], list[Totals]]:
    """Totals of both columns by weight bits, 2 to 8. position: of the accelerator among those of the part."""
    arch = load_arch(arch_name)
    bits = [{"Weights": w, "Inputs": _ACTIVATION_BITS, "Outputs": _ACTIVATION_BITS} for w in _WEIGHT_BITS]
    found = []
    for k, column in enumerate(_columns_of(constraints)):

        def report(done: int, total: int, name: str = column.name, before: int = 2 * position + k) -> None:
            settings.progress(before * total + done, 2 * archs * total, f"{arch_name}, {name}")

        found.append(solve_layers(arch, column, bits, threads=settings.threads, store=settings.store, progress=report))
    paper, real = found
    return paper, real


def _energy(settings: Settings) -> ResultTable:
    by_arch: dict[str, list[Committed]] = {}
    for row in published().committed:
        by_arch.setdefault(row.arch, []).append(row)
    rows: list[tuple[Cell, ...]] = []
    for position, (arch, committed) in enumerate(by_arch.items()):
        constraints = committed[0].constraints
        paper, real = _solve_both(settings, arch, constraints, position=position, archs=len(by_arch))
        for theirs in committed:
            i = _WEIGHT_BITS.index(theirs.weight_bits)
            optimum_j = paper[i].sum_edp_pj_cycles * 1e-12
            rows.append(
                (
                    *(arch, theirs.weight_bits, theirs.energy_uj, float(theirs.cycles), theirs.sum_edp_j_cycles),
                    *(paper[i].energy_pj * 1e-6, paper[i].cycles, optimum_j, theirs.sum_edp_j_cycles / optimum_j),
                    *(real[i].energy_pj * 1e-6, real[i].cycles, real[i].edp_pj_cycles * 1e-12),
                )
            )
    about = {"network": "28 layers of MobileNetV1 as in the released lists", "objective": "EDP of each layer"}
    return ResultTable(name="energy", columns=_ENERGY_COLUMNS, rows=tuple(rows), about=about)


_LEVEL_COLUMNS: Final = (
    ResultColumn("arch", "text", "", "the accelerator"),
    ResultColumn("weight_bits", "int", "bits", "of every layer; activations have 8"),
    ResultColumn("column", "text", "", f"{AS_IN_PAPER} or {AS_IT_IS}"),
    ResultColumn("level", "text", "", "a level, or the arithmetic units"),
    ResultColumn("energy_uj", "float", "uJ", "of the network there"),
    ResultColumn("share", "float", "", "of the network's energy"),
)


def _levels(settings: Settings) -> ResultTable:
    archs = dict.fromkeys(row.arch for row in published().committed)
    chosen = [arch for arch in archs if settings.profile == "full" or arch in ("eyeriss", "simba")]
    constraints = {row.arch: row.constraints for row in published().committed}
    rows: list[tuple[Cell, ...]] = []
    for position, arch in enumerate(chosen):
        both = _solve_both(settings, arch, constraints[arch], position=position, archs=len(chosen))
        for i, weight_bits in enumerate(_WEIGHT_BITS):
            for name, totals in zip((AS_IN_PAPER, AS_IT_IS), both, strict=True):
                for level, energy_pj in totals[i].by_level_pj.items():
                    share = energy_pj / totals[i].energy_pj
                    rows.append((arch, weight_bits, name, level, energy_pj * 1e-6, share))
    about = {"network": "28 layers of MobileNetV1 as in the released lists", "objective": "EDP of each layer"}
    return ResultTable(name="levels", columns=_LEVEL_COLUMNS, rows=tuple(rows), about=about)
