"""Operators beside the layers that a search charges: against their prices one by one, in seeds, runs and files."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest

from quantloom.assemble import search as assemble
from quantloom.cli.main import build_parser, main
from quantloom.cli.search import _read_config
from quantloom.errors import SearchError, SpecError
from quantloom.joint_search.config import RIVALS, SearchConfig
from quantloom.joint_search.exact_front import exact_front, hull
from quantloom.joint_search.operator_energy import OperatorEnergy
from quantloom.joint_search.problem import SearchProblem, problem_from_config
from quantloom.joint_search.rivals import make_rival
from quantloom.joint_search.run import SearchInputs, run_search
from quantloom.joint_search.run_report import read_run
from quantloom.joint_search.seeds import additive_trade, exact_seeds
from quantloom.mapper.operator_traffic import operator_traffic
from quantloom.spec.search_config import parse_search_config
from quantloom.testing.proxy_milp import least_proxy_by_milp
from quantloom.testing.toy_search import TOY_BITS, ToyCosts, ToySensitivity, toy_arch, toy_inputs, toy_network
from quantloom.workload.network import Network, Operator

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=40, population=10, charge_operators=True)


def with_operators(layers: int, *, residual: bool = False) -> Network:
    """A toy network whose operators read one, two and three groups, one of them twice, and some that move nothing."""
    traffic: dict[str, Any] = {"kind": "op", "treatment": "traffic"}
    operators = (
        Operator(name="input", reads=(0,), elements_read=700, **traffic),
        Operator(name="relu", kind="ReLU", treatment="fused", reads=(1,)),
        Operator(name="pool", reads=(1,), writes=2, elements_read=2000, elements_written=501, **traffic),
        Operator(name="add", reads=(1, 3), writes=2, elements_read=900, elements_written=450, **traffic),
        Operator(name="pool again", reads=(1,), writes=2, elements_read=77, **traffic),
        Operator(name="lookup", reads=(), writes=3, elements_written=512, **{**traffic, "treatment": "assumed"}),
    )
    return dataclasses.replace(toy_network(layers, residual=residual), operators=operators)


def charged(network: Network, **changes: Any) -> SearchProblem:
    operators = OperatorEnergy(network, toy_arch(), TOY_BITS)
    config = dataclasses.replace(CONFIG, **changes)
    return problem_from_config(network, ToyCosts(network), config, operators=operators)


def inputs_of(layers: int) -> SearchInputs:
    network = with_operators(layers)
    return dataclasses.replace(toy_inputs(layers), network=network, costs=ToyCosts(network))


def price(problem: SearchProblem, candidate: Any) -> float:
    """What `quantloom map --charge-operators` says at the bits of a candidate."""
    groups = problem.assignment(candidate).groups
    bits = [groups[edge.group] for edge in problem.network.edges]
    return sum(each.energy_pj for each in operator_traffic(problem.network, toy_arch(), bits))


@pytest.mark.parametrize("residual", [False, True])
def test_a_population_is_charged_what_map_says_of_each_assignment(residual: bool) -> None:
    network = with_operators(4, residual=residual)
    problem, plain = charged(network), problem_from_config(network, ToyCosts(network), CONFIG)
    candidates = np.random.default_rng(0).integers(problem.choice_counts, size=(5000, len(problem.genes)))
    hardware, layers = problem.hardware(candidates), plain.hardware(candidates)
    for n in (*range(60), 4095, 4096, 4999):  # on both sides of a chunk
        expected = price(problem, candidates[n])
        assert problem.operators_energy_pj(candidates[n]) == pytest.approx(expected, rel=1e-12)
        assert hardware.energy_pj[n] == pytest.approx(layers.energy_pj[n] + expected, rel=1e-12)
    assert np.array_equal(hardware.edp, hardware.energy_pj * layers.cycles)
    for name in ("cycles", "sum_edp", "weight_bits", "bops", "peak_activation_bits"):
        assert np.array_equal(hardware[name], layers[name])
    assert plain.operators_energy_pj(candidates[0]) is None


def test_operators_over_the_same_groups_are_priced_once() -> None:
    energy = OperatorEnergy(with_operators(4), toy_arch(), TOY_BITS)
    assert energy.operators == 5
    assert [term.groups for term in energy.terms] == [(0,), (1, 2), (1, 2, 3), (3,)]


@pytest.mark.parametrize("residual", [False, True])
def test_every_budget_gets_the_least_proxy_of_all_candidates_and_integer_programming_agrees(residual: bool) -> None:
    problem = charged(with_operators(3, residual=residual), input_bits=None)
    sensitivity = ToySensitivity(problem.network, seed=3)
    every = np.array(list(itertools.product(*(range(n) for n in problem.choice_counts))), dtype=np.int64)
    table = np.vstack([sensitivity.weights, sensitivity.groups])
    columns = np.searchsorted(TOY_BITS, problem.bits(every))
    searched = [v for gene in problem.genes for v in gene.variables]
    proxy = table[np.arange(len(table)), columns][:, searched].sum(axis=1)
    cost = problem.hardware(every).energy_pj
    elimination = additive_trade(problem, sensitivity, "energy_pj")
    vertices = hull(elimination, wanted=8)[1]
    budgets = [cost.min(), *np.random.default_rng(1).choice(cost, 12), *vertices, 2 * cost.max()]
    for optimum, budget in zip(exact_front(elimination, budgets), budgets, strict=True):
        within = cost <= budget * (1 + 1e-12)
        assert optimum.is_proven
        assert optimum.proxy == pytest.approx(proxy[within].min(), rel=1e-12)
        assert optimum.cost == pytest.approx(problem.hardware(optimum.candidate[np.newaxis]).energy_pj[0], rel=1e-12)
    middle = float(np.median(cost))
    found = exact_front(elimination, [middle])[0].proxy
    assert least_proxy_by_milp(problem, sensitivity, "energy_pj", middle) == pytest.approx(found, rel=1e-5)


def test_seeds_of_edp_trade_the_energy_that_is_charged() -> None:
    problem = charged(with_operators(3), objectives=("error", "edp"))
    sensitivity = ToySensitivity(problem.network, seed=3)
    every = np.array(list(itertools.product(*(range(n) for n in problem.choice_counts))), dtype=np.int64)
    hardware = problem.hardware(every)
    assert problem.operators is not None
    typical_pj = sum(np.median(row) for row in problem.costs.energy_pj)
    typical_pj += sum(np.median(term.energy_pj) for term in problem.operators.terms)
    typical_cycles = sum(np.median(row) for row in problem.costs.cycles)
    parts = hardware.energy_pj / typical_pj + hardware.cycles / typical_cycles
    at = {candidate.tobytes(): cost for candidate, cost in zip(every, parts, strict=True)}
    seeds = exact_seeds(problem, sensitivity, 8)
    assert len(seeds) > 4
    for seed in seeds:
        assert seed.optimum.cost == pytest.approx(at[seed.optimum.candidate.tobytes()], rel=1e-12)


def test_a_run_says_what_it_charged(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
    inputs = inputs_of(4)
    front = run_search(CONFIG, inputs, directory=tmp_path / "run")
    for point in (*front.points, *front.baselines):
        bits = [edge.bits for edge in point.edges]
        expected = sum(each.energy_pj for each in operator_traffic(inputs.network, inputs.arch, bits))
        assert point.operators_energy_pj == pytest.approx(expected, rel=1e-12)
        assert point.energy_pj == pytest.approx(sum(la.energy_pj for la in point.layers) + expected, rel=1e-12)
        assert point.edp_pj_cycles == pytest.approx(point.energy_pj * point.latency_cycles, rel=1e-12)
    assert "operators beside the layers are charged: " in front.summary()
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["config"]["charge_operators"] is True
    page = read_run(tmp_path / "run")
    assert [p["operators_energy_pj"] for p in page["points"]] == [p.operators_energy_pj for p in front.points]
    with (tmp_path / "run/front.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["operators_energy_pj"]) == front.points[0].operators_energy_pj

    resumed = run_search(CONFIG, inputs_of(4), directory=tmp_path / "run", resume=True)
    assert resumed.to_json() == front.to_json()
    uncharged = dataclasses.replace(CONFIG, charge_operators=False)
    with pytest.raises(SearchError, match="charge_operators was True, is None"):
        run_search(uncharged, inputs, directory=tmp_path / "run", resume=True)


def test_the_whole_search_charges_what_its_settings_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "prepare", lambda *args, **options: inputs_of(3))
    config = dataclasses.replace(CONFIG, arch="eyeriss", weight_bits=TOY_BITS, activation_bits=TOY_BITS)
    front, plain = (
        assemble.search(each, threads=1) for each in (config, dataclasses.replace(config, charge_operators=False))
    )
    [dear], [cheap] = ([p for p in each.baselines if p.uniform_bits == 8] for each in (front, plain))
    assert dear.operators_energy_pj is not None
    assert dear.energy_pj == pytest.approx(cheap.energy_pj + dear.operators_energy_pj, rel=1e-12)


def test_without_it_nothing_is_charged_and_nothing_said(tmp_path: Any) -> None:
    uncharged = dataclasses.replace(CONFIG, charge_operators=False)
    front = run_search(uncharged, inputs_of(3))
    assert {point.operators_energy_pj for point in (*front.points, *front.baselines)} == {None}
    assert "operators beside" not in front.summary()
    assert "charge_operators" not in uncharged.to_dict()
    assert SearchConfig.from_dict(uncharged.to_dict()) == uncharged
    assert SearchConfig.from_dict(CONFIG.to_dict()) == CONFIG


def test_every_search_made_beside_it_is_charged_alike() -> None:
    inputs = inputs_of(3)
    config = dataclasses.replace(CONFIG, compare=RIVALS)
    operators = OperatorEnergy(inputs.network, inputs.arch, TOY_BITS)
    problem = problem_from_config(inputs.network, inputs.costs, config, operators=operators)
    for name in RIVALS:
        rival = make_rival(name, config, problem, inputs.arch)
        assert rival.problem.operators is operators
        assert rival.charged.operators is operators


def test_it_is_asked_for_on_the_command_line_and_in_the_file(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("model: m\narch: eyeriss\ncharge_operators: true\n")
    parse = build_parser().parse
    assert _read_config(parse(["search", str(path)])).charge_operators
    assert _read_config(parse(["search", "--demo", "--charge-operators"])).charge_operators
    assert not _read_config(parse(["search", "--demo"])).charge_operators
    with pytest.raises(SpecError) as caught:
        parse_search_config("model: m\narch: eyeriss\ncharge_operators: 2\n", "c.yaml")
    assert str(caught.value).startswith("c.yaml:3:19: charge_operators: read `2`, expected true or false")
    assert main(["search", "--resume", str(tmp_path), "--charge-operators"]) == 2
    assert "--resume goes on with the settings" in capsys.readouterr().err
