"""Accelerators, networks and mappings as result tables: the columns that docs/results.md documents."""

from __future__ import annotations

from collections.abc import Callable

from quantloom._core import Arch, Arithmetic, Level, Mapping, Workload
from quantloom.mapper.energy_sources import NOT_SAID, energy_sources
from quantloom.report.results import Cell, ResultColumn, ResultTable
from quantloom.workload.network import Layer, Network

__all__ = ["DESCRIPTION_COLUMNS", "arch_results", "mapping_results", "network_results"]


_LAYERS = (
    ResultColumn("position", "int", "", "position of the layer, from 1"),
    ResultColumn("layer", "text", "", "name of the layer"),
    ResultColumn("kind", "text", "", "such as conv 3x3 s2, depthwise 3x3, linear, product, einsum"),
    ResultColumn("dims", "text", "", "loop dims with their bounds, such as C3 M32 R3 S3 P16 Q16"),
    ResultColumn("macs", "int", "", "multiply-accumulates of one sample"),
    ResultColumn(
        "weights_elements", "int", "elements", "of weights; 0 where they are another layer's or an activation"
    ),
    ResultColumn(
        "weights_from", "text", "", "the layer or the edge whose elements are its Weights; missing for its own"
    ),
    ResultColumn("reads", "text", "", "the edge that it reads"),
    ResultColumn("writes", "text", "", "the edge that it writes"),
)
_EDGES = (
    ResultColumn("edge", "text", "", "name of the stored activation"),
    ResultColumn("shape", "text", "", "without the batch, such as 3x224x224"),
    ResultColumn("elements", "int", "elements", "of one sample"),
    ResultColumn("bit_group", "int", "", "edges of one group share their bits"),
)
_OPERATORS = (
    ResultColumn("operator", "text", "", "name of the operator"),
    ResultColumn("kind", "text", "", "what it is in the model"),
    ResultColumn("treatment", "text", "", "fused, free, traffic or assumed"),
    ResultColumn("reads", "text", "", "edges that it reads, comma-separated"),
    ResultColumn("writes", "text", "", "the edge that it writes; missing where the result stays in what it reads"),
    ResultColumn("elements_read", "int", "elements", "moved to the units"),
    ResultColumn("elements_written", "int", "elements", "moved from the units"),
    ResultColumn("table_elements", "int", "elements", "of a stored table that rows are looked up in"),
)
_COMPONENTS = (
    ResultColumn("component", "text", "", "a level, from DRAM inwards, or the arithmetic units"),
    ResultColumn("kind", "text", "", "DRAM, level or arithmetic"),
    ResultColumn("word_bits", "int", "bits", "of a word; of an operand of arithmetic"),
    ResultColumn("block_words", "int", "words", "moved by an access"),
    ResultColumn("capacity_words", "int", "words", "of one instance; missing where there is no limit"),
    ResultColumn("instances", "int", "", "of the component"),
    ResultColumn("instances_x", "int", "", "along x"),
    ResultColumn("instances_y", "int", "", "along y"),
    ResultColumn("read_bandwidth", "float", "", "in a cycle, of one instance; missing where there is no limit"),
    ResultColumn("write_bandwidth", "float", "", "in a cycle, of one instance; missing where there is no limit"),
    ResultColumn("shared_bandwidth", "float", "", "of reads and writes together; missing where there is no limit"),
    ResultColumn("bandwidth_unit", "text", "", "words or bits"),
    ResultColumn("area_um2", "float", "um^2", "of one instance; missing where not known"),
)
_ENERGIES = (
    ResultColumn("component", "text", "", "a level, or the arithmetic units"),
    ResultColumn("action", "text", "", "read, fill, update, mac, and others where they are not 0"),
    ResultColumn("energy_pj", "float", "pJ", "of one action"),
    ResultColumn("per", "text", "", "what one action is, such as pJ per block access"),
    ResultColumn("energy_source", "text", "", "where the number is from"),
)
_LOOPS = (
    ResultColumn("position", "int", "", "from 1, outermost first"),
    ResultColumn("level", "text", "", "the level that it is at"),
    ResultColumn("kind", "text", "", "temporal, spatial x or spatial y; missing for a level without loops"),
    ResultColumn("dim", "text", "", "the dim that it runs over"),
    ResultColumn("bound", "int", "", "how often it runs"),
    ResultColumn("keeps", "text", "", "tensors that the level keeps, comma-separated"),
)
DESCRIPTION_COLUMNS = {
    "layers": _LAYERS,
    "edges": _EDGES,
    "operators": _OPERATORS,
    "components": _COMPONENTS,
    "energies": _ENERGIES,
    "loops": _LOOPS,
}
"""The columns by the names of the tables."""


def network_results(network: Network, rows: str, kind_of: Callable[[Layer], str]) -> ResultTable:
    """Layers, edges or operators of a network, as `rows` asks for; kind_of: what a layer is, in words."""
    found: list[tuple[Cell, ...]]
    if rows == "layers":
        found = [_layer_row(network, i, kind_of) for i in range(len(network.layers))]
    elif rows == "edges":
        found = [(e.name, "x".join(map(str, e.shape)), e.elements, e.group) for e in network.edges]
    else:
        found = _operator_rows(network)
    return _table(rows, found, {"model": network.name})


def arch_results(arch: Arch, rows: str) -> ResultTable:
    """Components or energies of an accelerator, as `rows` asks for."""
    found: list[tuple[Cell, ...]]
    if rows == "energies":
        found = [(e.component, e.action, e.energy_pj, e.unit, e.source) for e in energy_sources(arch)]
    else:
        found = _component_rows(arch)
    return _table(rows, found, {"arch": arch.name, "arch_source": arch.source or NOT_SAID})


def mapping_results(mapping: Mapping, arch: Arch, workload: Workload) -> ResultTable:
    """Every loop of a mapping, and a row for each level without one."""
    loops: list[tuple[Cell, ...]] = []
    for level, here in zip(reversed(arch.levels), reversed(mapping.levels), strict=True):
        kinds = (("temporal", here.temporal), ("spatial x", here.spatial_x), ("spatial y", here.spatial_y))
        own: list[tuple[Cell, ...]] = [(kind, dim, bound) for kind, group in kinds for dim, bound in group]
        loops += [(level.name, *loop, ", ".join(here.keep)) for loop in own or [(None, None, None)]]
    rows = [(position, *loop) for position, loop in enumerate(loops, 1)]
    return _table("loops", rows, {"arch": arch.name, "workload": workload.name})


def _table(name: str, rows: list[tuple[Cell, ...]], about: dict[str, str]) -> ResultTable:
    return ResultTable(name=name, columns=DESCRIPTION_COLUMNS[name], rows=tuple(rows), about=about)


def _layer_row(network: Network, index: int, kind_of: Callable[[Layer], str]) -> tuple[Cell, ...]:
    layer, edges = network.layers[index], network.edges
    dims = " ".join(f"{dim}{bound}" for dim, bound in layer.workload.dims.items())
    source = None
    if layer.weights_edge is not None:
        source = edges[layer.weights_edge].name
    elif layer.weights_layer is not None:
        source = network.layers[layer.weights_layer].name
    what = (index + 1, layer.name, kind_of(layer), dims, layer.workload.macs, layer.weights_elements, source)
    return (*what, edges[layer.input_edge].name, edges[layer.output_edge].name)


def _operator_rows(network: Network) -> list[tuple[Cell, ...]]:
    edges = network.edges
    return [
        (
            operator.name,
            operator.kind,
            operator.treatment,
            ", ".join(edges[edge].name for edge in operator.reads),
            None if operator.writes is None else edges[operator.writes].name,
            operator.elements_read,
            operator.elements_written,
            operator.table_elements,
        )
        for operator in network.operators
    ]


def _component_rows(arch: Arch) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = []
    for level in reversed(arch.levels):
        size = (level.word_bits, level.block_words, level.capacity_words)
        grid = (level.instances, level.mesh_x, level.mesh_y)
        rates = (level.read_bandwidth, level.write_bandwidth, level.shared_bandwidth)
        unit = "bits" if level.bandwidth_in_bits else "words"
        rows.append((level.name, "DRAM" if level.is_dram else "level", *size, *grid, *rates, unit, _area(level)))
    macs = arch.arithmetic
    grid = (macs.instances, macs.mesh_x, macs.mesh_y)
    rows.append((macs.name, "arithmetic", macs.word_bits, None, None, *grid, None, None, None, None, _area(macs)))
    return rows


def _area(part: Level | Arithmetic) -> float | None:
    return part.area_um2 or None
