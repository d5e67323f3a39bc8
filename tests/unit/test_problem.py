"""Genes, hardware objectives by look-up, bounds, and the configuration of a search."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from quantloom.errors import InfeasibleError, SearchError, SpecError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.problem import Gene, SearchProblem, problem_from_config
from quantloom.spec.search_config import parse_search_config
from quantloom.testing.toy_search import ToyCosts, toy_network
from quantloom.workload.network import BitAssignment

CONFIG = SearchConfig(model="toy", arch="toy")


@pytest.fixture
def network():
    return toy_network(4, residual=True)


@pytest.fixture
def problem(network):
    return problem_from_config(network, ToyCosts(network), CONFIG)


def test_input_and_logits_are_fixed_and_every_other_tensor_is_a_gene(problem, network):
    assert [gene.name for gene in problem.genes] == ["layer0", "layer1", "layer2", "layer3", "edge1", "edge2"]
    assert problem.size == 5**6
    assignment = problem.assignment(problem.uniform(3))
    assert assignment.weights == (3, 3, 3, 3)
    assert assignment.groups[network.input_group] == 8
    assert assignment.groups[network.edges[1].group] == 3


def test_nothing_is_fixed_when_the_configuration_says_so(network):
    config = dataclasses.replace(CONFIG, input_bits=None, output_bits=None)
    problem = problem_from_config(network, ToyCosts(network), config)
    assert len(problem.genes) == 4 + len(network.edge_groups)
    assert problem.assignment(problem.uniform(5)) == BitAssignment.uniform(network, 5)


def test_hardware_of_a_population_is_the_sum_over_its_layers(problem, network):
    candidates = np.random.default_rng(0).integers(problem.choice_counts, size=(50, len(problem.genes)))
    hardware = problem.hardware(candidates)
    table = problem.costs
    for n, candidate in enumerate(candidates):
        assignment = problem.assignment(candidate)
        entries = []
        for i in range(len(network.layers)):
            bits = assignment.layer_bits(network, i)
            entries.append((i, *(table.bits.index(b) for b in (bits.weights, bits.inputs, bits.outputs))))
        energy = [table.energy_pj[e] for e in entries]
        cycles = [table.cycles[e] for e in entries]
        assert hardware.energy_pj[n] == pytest.approx(sum(energy), rel=1e-12)
        assert hardware.cycles[n] == pytest.approx(sum(cycles), rel=1e-12)
        assert hardware.edp[n] == pytest.approx(sum(energy) * sum(cycles), rel=1e-12)
        assert hardware.sum_edp[n] == pytest.approx(sum(e * c for e, c in zip(energy, cycles, strict=True)), rel=1e-12)
        weight_bits = sum(b * la.weights_elements for b, la in zip(assignment.weights, network.layers, strict=True))
        assert hardware.weight_bits[n] == weight_bits


def test_a_candidate_costs_the_same_bits_whatever_its_neighbours(problem):
    candidates = np.random.default_rng(1).integers(problem.choice_counts, size=(33, len(problem.genes)))
    together = problem.hardware(candidates).energy_pj
    alone = [problem.hardware(candidate[np.newaxis]).energy_pj[0] for candidate in candidates]
    assert together.tolist() == alone


def test_objectives_stand_in_the_order_asked_for(network):
    config = dataclasses.replace(CONFIG, objectives=("weight_bits", "error", "cycles"))
    problem = problem_from_config(network, ToyCosts(network), config)
    candidates = problem.uniform(4)[np.newaxis]
    hardware = problem.hardware(candidates)
    row = problem.objective_values(hardware, np.array([0.25]))[0]
    assert row.tolist() == [hardware.weight_bits[0], 0.25, hardware.cycles[0]]


def test_bounds_are_exceeded_relatively_and_only_known_ones_count(network):
    costs = ToyCosts(network)
    cheapest = problem_from_config(network, costs, CONFIG)
    energy = cheapest.hardware(cheapest.uniform(2)[np.newaxis]).energy_pj[0]
    config = dataclasses.replace(CONFIG, bounds={"energy_pj": energy / 2, "error": 0.1})
    problem = problem_from_config(network, costs, config)
    hardware = problem.hardware(problem.uniform(2)[np.newaxis])
    assert problem.violations(hardware)[0] == pytest.approx(1.0)
    assert problem.violations(hardware, np.array([0.2]))[0] == pytest.approx(2.0)
    assert cheapest.violations(hardware, np.array([0.9]))[0] == 0


def test_tied_tensors_share_a_gene(network):
    variables = len(network.layers) + len(network.edge_groups)
    gene = Gene(name="ends", bits=(4, 8), variables=(0, 3))
    problem = SearchProblem(network, ToyCosts(network), genes=[gene], fixed=[5] * variables)
    assert problem.assignment(np.array([0])).weights == (4, 5, 5, 4)


def test_a_setting_that_fits_nowhere_is_infeasible_and_others_are_not(network):
    costs = ToyCosts(network)
    costs.energy_pj[1, -1] = np.inf  # layer1 at 8-bit weights
    problem = problem_from_config(network, costs, CONFIG)
    hardware = problem.hardware(np.array([problem.uniform(8), problem.uniform(5)]))
    assert problem.violations(hardware).tolist() == [np.inf, 0]


def test_a_layer_that_never_fits_is_named(network):
    costs = ToyCosts(network)
    costs.energy_pj[2] = np.inf
    with pytest.raises(InfeasibleError, match="layer2"):
        problem_from_config(network, costs, CONFIG)


def test_bits_outside_the_table_are_refused(network):
    with pytest.raises(SearchError, match=r"holds \[2, 3, 4, 5, 8\] bits but \[6\]"):
        problem_from_config(network, ToyCosts(network), dataclasses.replace(CONFIG, weight_bits=(6, 8)))


def test_a_table_of_another_network_is_refused(network):
    with pytest.raises(SearchError, match="not of network"):
        problem_from_config(network, ToyCosts(toy_network(2)), CONFIG)


def test_a_problem_without_genes_is_refused(network):
    fixed = [8] * (len(network.layers) + len(network.edge_groups))
    with pytest.raises(SearchError, match="nothing to search"):
        SearchProblem(network, ToyCosts(network), genes=[], fixed=fixed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objectives": ("error",)}, "two or more"),
        ({"objectives": ("error", "energy")}, "unknown objective 'energy'"),
        ({"objectives": ("error", "edp", "edp")}, "two or more different"),
        ({"bounds": {"edp": 0.0}}, "bounds.edp must be above 0"),
        ({"sampler": "nsga4"}, "unknown sampler"),
        ({"population": 1}, "population must be at least 2"),
        ({"evaluations": 0}, "evaluations must be at least 1"),
        ({"weight_bits": (8, 2)}, "weight_bits must be"),
        ({"activation_bits": ()}, "activation_bits must be"),
        ({"input_bits": 33}, "input_bits must be"),
        ({"mutation_probability": 1.5}, "mutation_probability must be"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(SearchError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_a_misspelt_objective_gets_a_hint():
    with pytest.raises(SearchError, match="did you mean 'energy_pj'"):
        dataclasses.replace(CONFIG, objectives=("error", "energy_p"))


def test_a_configuration_is_read_from_yaml():
    text = """
model: mobilenet_v1:width=0.25
arch: eyeriss
objectives: [error, edp, weight_bits]
bounds: {weight_bits: 8e5, error: 0.5}
evaluations: 120
seeds: 0
weight_bits: [4, 8]
output_bits: searched
crossover_probability: 0
"""
    assert parse_search_config(text, "c.yaml") == SearchConfig(
        model="mobilenet_v1:width=0.25",
        arch="eyeriss",
        objectives=("error", "edp", "weight_bits"),
        bounds={"weight_bits": 8e5, "error": 0.5},
        evaluations=120,
        seeds=0,
        weight_bits=(4, 8),
        output_bits=None,
        crossover_probability=0.0,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: m\n", "c.yaml:1:1: key `arch` is missing"),
        (
            "model: m\narch: a\npopulatoin: 3\n",
            "c.yaml:3:1: populatoin: unknown key\n  hint: did you mean `population`",
        ),
        ("model: m\narch: a\nevaluations: many\n", "c.yaml:3:14: evaluations: read `many`, expected an integer"),
        ("model: m\narch: a\nbounds: {energy: 1}\n", r"c.yaml:3:10: bounds.energy: unknown key"),
        ("model: m\narch: a\ncrossover_probability: 2\n", "c.yaml:3:24: crossover_probability: .* at most 1"),
        ("model: m\narch: a\nweight_bits: [8, 2]\n", "weight_bits must be .* ascending"),
        ("[model, arch]\n", "c.yaml:1:1: .*expected a mapping"),
    ],
)
def test_mistakes_in_a_configuration_are_located(text, message):
    with pytest.raises(SpecError, match=message):
        parse_search_config(text, "c.yaml")
