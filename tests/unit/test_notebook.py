"""Results in notebooks: their numbers, and names that stay text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest

import quantloom as ql
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
    assert f"{table.energy_pj[0, 1, 1, 1]:.5g} / {table.cycles[0, 1, 1, 1]:.5g}" in found.texts
    impossible = dataclasses.replace(table, energy_pj=np.full_like(table.energy_pj, np.inf))
    assert Reader(impossible._repr_html_()).texts.count("nothing fits") == 4
