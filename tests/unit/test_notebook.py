"""Results in notebooks: their numbers, and names that stay text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

import quantloom as ql
from quantloom import _core
from quantloom._core import Arch, Arithmetic
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.run import run_search
from quantloom.report.notebook import html_result, html_table
from quantloom.testing.toy_search import toy_inputs
from quantloom.workload.layer import conv_workload

HOSTILE = "<script>alert('1')</script>&"


class Reader(HTMLParser):
    """The tags and the texts of a piece of HTML; every tag must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_text_stays_text() -> None:
    found = Reader(html_result(HOSTILE, [HOSTILE], html_table([HOSTILE, "b"], [[HOSTILE, HOSTILE]])))
    assert "script" not in found.tags
    assert found.texts.count(HOSTILE) == 5


def test_a_front_shows_every_point() -> None:
    config = SearchConfig(model="toy", arch="toy", evaluations=20, population=6, seeds=3)
    inputs = toy_inputs(3)
    network = dataclasses.replace(inputs.network, name=HOSTILE)
    front = run_search(config, dataclasses.replace(inputs, network=network))
    found = Reader(front._repr_html_())
    assert "script" not in found.tags
    for point in (*front.points, *front.baselines):
        assert point.label in found.texts
    assert f"{HOSTILE} on toy" in found.texts
    assert f"{100 * front.points[0].accuracy_test:.2f} %" in found.texts


def leaking(arch: Arch) -> Arch:
    """An accelerator whose units take energy in every cycle."""
    unit = arch.arithmetic
    units = Arithmetic(
        **{name: getattr(unit, name) for name in ("name", "instances", "mesh_x", "mesh_y", "word_bits", "energy_pj")},
        leak_energy_pj=1.0,
    )
    return Arch(name=arch.name, levels=arch.levels, arithmetic=units, constraints=arch.constraints)


@pytest.mark.parametrize("change", [lambda arch: arch, leaking])
def test_an_optimum_shows_levels_that_add_up_and_its_proof(change: Callable[[Arch], Arch]) -> None:
    arch = change(ql.load_arch("eyeriss"))
    layer = conv_workload("layer", inputs=16, outputs=32, output_size=(8, 8), kernel=(3, 3))
    best = ql.optimize(arch, layer, bits=8, threads=1)
    found = Reader(best._repr_html_())
    text = " ".join(found.texts)
    assert "proven optimal" in text
    assert [level.name for level in reversed(arch.levels)] == [t for t in found.texts if t in best.cost.levels]
    energies = [float(found.texts[i]) for i, t in enumerate(found.texts) if t.replace(".", "").isdigit() and i > 5]
    assert np.isclose(sum(energies), best.cost.energy_pj, rtol=1e-4)


def test_a_cost_table_shows_uniform_bits() -> None:
    arch = ql.load_arch("eyeriss")
    network = toy_inputs(2).network
    table = ql.cost_table(network, arch, bits=(4, 8), threads=1)
    found = Reader(table._repr_html_())
    assert table.layers[0] in found.texts
    about = "2 layers at 8 combinations of 4, 8 bits: objective edp, default model, every entry is proven"
    assert repr(table) == f"<CostTable of {about}>"
    assert f"{table.energy_pj[0, 1, 1, 1]:.5g} / {table.cycles[0, 1, 1, 1]:.5g}" in found.texts
    impossible = dataclasses.replace(table, energy_pj=np.full_like(table.energy_pj, np.inf))
    assert Reader(impossible._repr_html_()).texts.count("nothing fits") == 4


def hostile_product() -> tuple[_core.Arch, _core.Workload]:
    """A product whose dims and tensors have names that are markup, on two levels that have such names too."""
    energy = _core.AccessEnergy(read_pj=2.0, fill_pj=2.0, update_pj=2.0)
    buffer = _core.Level(name=f"{HOSTILE}buffer", word_bits=16, capacity_words=64, energy=energy)
    dram = _core.Level(name=f"{HOSTILE}DRAM", word_bits=16, is_dram=True, energy=energy)
    macs = _core.Arithmetic(name="mac", instances=1, mesh_x=1, mesh_y=1, word_bits=16, energy_pj=1.0)
    m, k, n = (f"{HOSTILE}{dim}" for dim in "MKN")
    tensors = [
        _core.TensorSpec(f"{HOSTILE}A", [[(m, 1)], [(k, 1)]]),
        _core.TensorSpec(f"{HOSTILE}B", [[(k, 1)], [(n, 1)]]),
        _core.TensorSpec(f"{HOSTILE}Z", [[(m, 1)], [(n, 1)]], True),
    ]
    layer = _core.Workload(HOSTILE, [(m, 8), (k, 8), (n, 8)], tensors)
    return _core.Arch(name=HOSTILE, levels=[buffer, dram], arithmetic=macs), layer


def test_hostile_names_stay_text_in_an_optimum_a_mapping_and_a_cost() -> None:
    arch, layer = hostile_product()
    best = ql.optimize(arch, layer, bits=8, threads=1)
    for shown in (best, best.mapping, best.cost):
        found = Reader(shown._repr_html_())
        assert set(found.tags) == {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
        text = " ".join(found.texts)
        assert f"{HOSTILE}A" in text  # a tensor
    assert f"{HOSTILE}DRAM" in Reader(best.cost._repr_html_()).texts


def test_a_cost_shows_energies_that_add_up_and_what_leaks() -> None:
    arch, layer = hostile_product()
    cost = ql.optimize(leaking(arch), layer, bits=8, threads=1).cost
    rows = table_rows(cost._repr_html_())
    assert [row[0] for row in rows] == ["level", *cost.levels, "arithmetic"]
    assert rows[0][1:] == [*(f"{HOSTILE}{t}" for t in "ABZ"), "network", "leakage", "energy, pJ", "cycles needed"]
    energies = [[float(cell or 0) for cell in row[1:-1]] for row in rows[1:]]
    assert np.isclose(sum(row[-1] for row in energies), cost.energy_pj, rtol=1e-5)
    for *parts, total in energies[:-1]:
        assert np.isclose(sum(parts), total, rtol=1e-5)
    assert energies[-1][-2] == cost.arithmetic_leak_energy_pj == energies[-1][-1] - cost.macs
    assert [row[-1] for row in rows[1:]] == [
        *(f"{level.cycles:,.0f}" for level in cost.levels.values()),
        f"{cost.compute_cycles:,.0f}",
    ]


def test_a_mapping_shows_every_loop_once_outermost_level_first() -> None:
    arch = ql.load_arch("eyeriss")
    layer = conv_workload("layer", inputs=16, outputs=32, output_size=(8, 8), kernel=(3, 3))
    mapping = ql.optimize(arch, layer, bits=8, threads=1).mapping
    rows = table_rows(mapping._repr_html_())[1:]
    assert [row[0] for row in rows] == [str(i) for i in reversed(range(len(mapping.levels)))]
    bounds = dict.fromkeys(layer.dims, 1)
    for dim, bound in re.findall(r"([A-Z])(\d+)", " ".join(row[1] for row in rows)):
        bounds[dim] *= int(bound)
    assert bounds == dict(layer.dims)
    assert [row[2] for row in rows] == [", ".join(level.keep) for level in reversed(mapping.levels)]


def test_what_is_printed_says_what_it_is_and_nothing_of_the_memory_it_is_in() -> None:
    arch, layer = hostile_product()
    best = ql.optimize(arch, layer, bits=8, threads=1)
    proof = best.certificate
    assert repr(best.mapping) == "Mapping(2 levels)"
    assert repr(proof) == (
        f"Certificate(space_size={proof.space_size}, considered={proof.considered}, exhausted=True, "
        f"lower_bound={proof.lower_bound!r})"
    )
    assert " at 0x" not in repr(best)


def test_nothing_has_a_colour_of_its_own() -> None:
    """So that a result can be read in light and in dark notebooks alike."""
    arch, layer = hostile_product()
    best = ql.optimize(arch, layer, bits=8, threads=1)
    for shown in (best, best.mapping, best.cost):
        assert re.findall(r"style|class|color|<font", shown._repr_html_()) == []


def table_rows(text: str) -> list[list[str]]:
    """The cells of the only table of a piece of HTML, row by row."""
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]
