"""Large inputs are exact or refused with a clear error; docs/limits.md has the limits."""

from __future__ import annotations

import math
from functools import cache

import pytest

import quantloom as ql
from quantloom import _core
from quantloom.errors import MappingError, SpecError, WorkloadError
from quantloom.mapper import cost_table
from quantloom.spec.arch import find_arch, parse_arch
from quantloom.spec.network import parse_network
from quantloom.spec.workload import parse_workload
from quantloom.workload.network import Network

LARGEST = 1 << 31
HUGE = parse_workload("{name: huge, dims: {C: 2147483648, M: 2147483648, P: 2147483648, Q: 2147483648}}", "w.yaml")[0]


@cache
def long_network() -> Network:
    edges = "".join(f"  - {{name: e{i}, shape: [4, 6, 6]}}\n" for i in range(2001))
    dims = "dims: {C: 4, M: 4, P: 6, Q: 6}"
    layers = "".join(f"  - {{name: l{i}, reads: e{i}, writes: e{i + 1}, {dims}}}\n" for i in range(2000))
    return parse_network(f"name: long\ninput_shape: [4, 6, 6]\nedges:\n{edges}layers:\n{layers}", "n.yaml")


def test_bounds_end_at_2_to_the_31() -> None:
    assert parse_workload(f"{{name: w, dims: {{C: {LARGEST}}}}}", "w.yaml")[0].dims["C"] == LARGEST
    with pytest.raises(SpecError, match=r"w.yaml:1:\d+: dims.C: read `2147483649`, expected an integer 1..2147483648"):
        parse_workload(f"{{name: w, dims: {{C: {LARGEST + 1}}}}}", "w.yaml")


def test_sizes_of_mapspaces_are_exact_beyond_10_to_the_30() -> None:
    space = ql.Mapspace(ql.load_arch("simba"), HUGE, selection="free")
    assert space.size() == math.prod(space.sizes.values()) > 10**30
    ways = space.factorizations
    blocks = len(space.blocks)
    assert ways["C"] == math.comb(31 + blocks - 1, blocks - 1)  # 31 factors of 2 over all blocks
    assert space.sizes["factorization"] == math.prod(ways.values())
    last = space.at(space.size() - 1)
    bounds = [
        bound
        for level in last.levels
        for loops in (level.temporal, level.spatial_x, level.spatial_y)
        for _, bound in loops
    ]
    assert math.prod(bounds) == LARGEST**4
    with pytest.raises(MappingError):
        space.at(space.size())


def test_what_cannot_be_counted_or_proven_says_how_much_there_is() -> None:
    arch = ql.load_arch("eyeriss")
    with pytest.raises(MappingError, match=r"layer 'huge' has [\d,]+ factorizations, too many to count"):
        ql.Mapspace(arch, HUGE).count_valid(8)
    for model in _core.COST_MODELS:
        with pytest.raises(
            WorkloadError, match=rf"layer 'huge' has {LARGEST**4:,} multiply-accumulates; costs are exact"
        ):
            ql.optimize(arch, HUGE, bits=8, model=model)


def test_a_layer_that_is_too_large_is_refused_before_a_table_is_made() -> None:
    text = "name: n\ninput_shape: [2147483647, 1, 1]\nedges:\n  - {name: a, shape: [2147483647, 1, 1]}\n"
    text += "  - {name: b, shape: [2147483647, 1, 1]}\nlayers:\n"
    text += "  - {name: l, reads: a, writes: b, dims: {C: 2147483647, M: 2147483647}}\n"
    with pytest.raises(WorkloadError, match="layer 'l' has 4,611,686,014,132,420,609 multiply-accumulates"):
        cost_table(parse_network(text, "n.yaml"), ql.load_arch("eyeriss"), bits=(8,))


def test_a_prime_bound_is_mapped() -> None:
    layer = parse_workload("{name: prime, dims: {C: 2147483647, M: 1009}}", "w.yaml")[0]
    best = ql.optimize(ql.load_arch("eyeriss"), layer, bits=8, threads=1)
    assert best.certificate.exhausted
    assert best.cost.macs == 2147483647 * 1009
    assert math.isfinite(best.cost.energy_pj)


def test_a_network_of_2000_layers_is_read_and_solved_once() -> None:
    network = long_network()
    assert len(network.layers) == 2000
    table = cost_table(network, ql.load_arch("eyeriss"), bits=(4, 8), threads=1)
    assert table.energy_pj.shape == (2000, 2, 2, 2)
    assert (table.energy_pj == table.energy_pj[0]).all()


def test_an_accelerator_file_of_a_mebibyte() -> None:
    text = find_arch("eyeriss").read_text()
    assert parse_arch(text + "# " + "x" * (1 << 20) + "\n", "a.yaml") == parse_arch(text, "a.yaml")
    with pytest.raises(SpecError, match=r"a.yaml:\d+:\d+: more than 200000 values"):
        parse_arch(text + "\n".join(f"key{i}: [1, 2, 3, 4, 5]" for i in range(45_000)), "a.yaml")
