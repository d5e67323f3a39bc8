"""Exact seeds: against listing every candidate, and against an integer-programming solver that shares no code."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from quantloom.errors import InfeasibleError, SearchError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.elimination import Elimination, Factor
from quantloom.joint_search.exact_front import exact_front, hull
from quantloom.joint_search.problem import Gene, SearchProblem, problem_from_config
from quantloom.joint_search.run import run_search
from quantloom.joint_search.seeds import additive_trade, exact_seeds
from quantloom.testing.proxy_milp import least_proxy_by_milp
from quantloom.testing.toy_search import ToyCosts, ToySensitivity, toy_inputs, toy_network

CONFIG = SearchConfig(model="toy", arch="toy")


def all_candidates(problem):
    return np.array(list(itertools.product(*(range(n) for n in problem.choice_counts))), dtype=np.int64)


def proxy_and_cost(problem, sensitivity, candidates):
    bits = problem.bits(candidates)
    columns = np.searchsorted(sensitivity.bits, bits)
    table = np.vstack([sensitivity.weights, sensitivity.groups])
    searched = sorted(v for gene in problem.genes for v in gene.variables)
    proxy = table[np.arange(len(table)), columns][:, searched].sum(axis=1)
    hardware = problem.hardware(candidates)
    cost = np.where(np.isfinite(hardware.energy_pj), hardware[problem.hardware_objectives[0]], np.inf)
    return proxy, cost


def small_problem(seed, objective="energy_pj"):
    """A residual network with tied layers, a fixed edge, rough costs of which some settings fit nowhere."""
    random = np.random.default_rng(seed)
    network = toy_network(4, residual=True)
    costs = ToyCosts(network)
    costs.energy_pj *= random.uniform(0.3, 3, costs.energy_pj.shape)
    costs.cycles *= random.uniform(0.3, 3, costs.cycles.shape)
    costs.energy_pj[random.random(costs.energy_pj.shape) < 0.05] = np.inf
    config = dataclasses.replace(CONFIG, objectives=("error", objective), input_bits=None)
    problem = problem_from_config(network, costs, config)
    tied = Gene(name="tied", bits=(3, 5, 8), variables=(0, 3))
    genes = [tied, *(gene for gene in problem.genes if not {0, 3} & set(gene.variables))]
    problem = SearchProblem(network, costs, genes=genes, fixed=problem.fixed, objectives=config.objectives)
    sensitivity = ToySensitivity(network, seed=seed)
    rough = random.uniform(0.2, 2, sensitivity.weights.shape)  # not even monotone
    sensitivity.weights *= rough
    return problem, sensitivity


@pytest.mark.parametrize("objective", ["energy_pj", "cycles", "sum_edp", "weight_bits", "bops"])
@pytest.mark.parametrize("seed", range(4))
def test_every_budget_gets_the_least_proxy_of_all_candidates(seed, objective):
    problem, sensitivity = small_problem(seed, objective)
    proxy, cost = proxy_and_cost(problem, sensitivity, all_candidates(problem))
    fits = np.isfinite(cost)
    proxy, cost = proxy[fits], cost[fits]
    random = np.random.default_rng(seed)
    budgets = [cost.min(), *random.choice(cost, 10), *random.uniform(cost.min(), cost.max(), 10), 2 * cost.max()]
    found = exact_front(additive_trade(problem, sensitivity, objective), budgets)
    for optimum, budget in zip(found, budgets, strict=True):
        within = cost <= budget * (1 + 1e-12)
        assert optimum.is_proven
        assert optimum.proxy == pytest.approx(proxy[within].min(), rel=1e-12)
        own = proxy_and_cost(problem, sensitivity, optimum.candidate[np.newaxis])
        assert (optimum.proxy, optimum.cost) == pytest.approx((own[0][0], own[1][0]), rel=1e-12)
        assert optimum.cost <= budget * (1 + 1e-12)
    assert {optimum.method for optimum in found} == {"hull", "labels"}


@pytest.mark.parametrize("max_labels", [0, 3, 30])
def test_a_search_that_is_cut_short_claims_no_more_than_it_knows(max_labels):
    problem, sensitivity = small_problem(1)
    proxy, cost = proxy_and_cost(problem, sensitivity, all_candidates(problem))
    budgets = np.linspace(cost.min(), cost[np.isfinite(cost)].max(), 40)
    elimination = additive_trade(problem, sensitivity, "energy_pj")
    found = exact_front(elimination, budgets, max_labels=max_labels)
    for optimum, budget in zip(found, budgets, strict=True):
        best = proxy[cost <= budget * (1 + 1e-12)].min()
        assert optimum.lower_bound <= best * (1 + 1e-12)
        assert optimum.proxy >= best * (1 - 1e-12)


def test_integer_programming_agrees_on_a_deep_residual_network():
    network = toy_network(8, residual=True)
    problem = problem_from_config(network, ToyCosts(network), CONFIG)
    sensitivity = ToySensitivity(network, seed=5)
    elimination = additive_trade(problem, sensitivity, "energy_pj")
    _, cost, _ = hull(elimination, wanted=2)
    budgets = np.linspace(cost[0], cost[-1], 4)[1:-1]
    for optimum in exact_front(elimination, budgets):
        assert optimum.is_proven
        assert optimum.proxy == pytest.approx(
            least_proxy_by_milp(problem, sensitivity, "energy_pj", optimum.budget), rel=1e-6
        )


def test_integer_programming_agrees_with_listing_every_candidate():
    problem, sensitivity = small_problem(3, "sum_edp")
    proxy, cost = proxy_and_cost(problem, sensitivity, all_candidates(problem))
    budget = float(np.median(cost[np.isfinite(cost)]))
    found = least_proxy_by_milp(problem, sensitivity, "sum_edp", budget)
    assert found == pytest.approx(proxy[cost <= budget].min(), rel=1e-6)
    assert least_proxy_by_milp(problem, sensitivity, "sum_edp", cost.min() / 2) is None


@pytest.mark.parametrize("objectives", [("error", "energy_pj"), ("error", "weight_bits"), ("error", "sum_edp")])
def test_the_hull_is_that_of_all_candidates(objectives):
    network = toy_network(4, residual=True)
    problem = problem_from_config(network, ToyCosts(network), dataclasses.replace(CONFIG, objectives=objectives))
    sensitivity = ToySensitivity(network)
    proxy, cost = proxy_and_cost(problem, sensitivity, all_candidates(problem))
    _, hull_cost, hull_proxy = hull(additive_trade(problem, sensitivity, objectives[1]), wanted=10_000)
    assert hull_cost[0] == pytest.approx(cost.min())
    assert hull_proxy[-1] == pytest.approx(proxy.min())
    for (c0, p0), (c1, p1) in itertools.pairwise(zip(hull_cost, hull_proxy, strict=True)):
        below = (p0 - p1) * (cost - c0) + (c1 - c0) * (proxy - p0)  # negative: below the line through both
        assert below.min() >= -1e-9 * (p0 - p1 + 1) * (c1 - c0 + 1)


def test_slacks_of_partial_candidates_are_exact():
    network = toy_network(4, residual=True)
    config = dataclasses.replace(CONFIG, weight_bits=(2, 5), activation_bits=(2, 5, 8), input_bits=None)
    problem, sensitivity = problem_from_config(network, ToyCosts(network), config), ToySensitivity(network)
    elimination = additive_trade(problem, sensitivity, "energy_pj")
    candidates = all_candidates(problem)
    proxy, cost = proxy_and_cost(problem, sensitivity, candidates)
    value = proxy + 1e-4 * cost
    reduced, least = elimination.reduced(np.array([[1.0, 1e-4]]))
    assert least[0] == pytest.approx(value.min())
    slack, chosen = np.zeros(len(candidates)), []
    for k in elimination.descent:
        bucket = elimination.buckets[k]
        slack = slack + reduced[k][(0, *(candidates[:, g] for g in bucket.scope))]
        chosen.append(bucket.gene)
        _, group = np.unique(candidates[:, chosen], axis=0, return_inverse=True)
        completions = np.full(group.max() + 1, np.inf)
        np.minimum.at(completions, group.ravel(), value)
        assert least[0] + slack == pytest.approx(completions[group.ravel()], rel=1e-9)


def test_all_50_seeds_of_a_deep_residual_network_are_proven():
    network = toy_network(53, residual=True)
    problem = problem_from_config(network, ToyCosts(network), CONFIG)
    seeds = exact_seeds(problem, ToySensitivity(network), 50)
    assert len(seeds) == 50
    assert all(seed.optimum.is_proven for seed in seeds)


def test_seeds_for_edp_and_memory_together_are_all_different():
    network = toy_network(6)
    config = dataclasses.replace(CONFIG, objectives=("error", "edp", "weight_bits"))
    problem = problem_from_config(network, ToyCosts(network), config)
    seeds = exact_seeds(problem, ToySensitivity(network), 15)
    assert 10 <= len(seeds) <= 15
    assert len({seed.optimum.candidate.tobytes() for seed in seeds}) == len(seeds)
    assert {seed.cost_name for seed in seeds} == {"energy and cycles", "weight_bits"}


def test_seeds_end_at_a_bound_with_the_best_candidate_there():
    network = toy_network(3)
    free = problem_from_config(network, ToyCosts(network), CONFIG)
    proxy, cost = proxy_and_cost(free, ToySensitivity(network), all_candidates(free))
    bound = float(np.quantile(cost, 0.3))
    problem = problem_from_config(network, ToyCosts(network), dataclasses.replace(CONFIG, bounds={"energy_pj": bound}))
    seeds = exact_seeds(problem, ToySensitivity(network), 8)
    assert max(seed.optimum.cost for seed in seeds) <= bound
    assert min(seed.optimum.proxy for seed in seeds) == pytest.approx(proxy[cost <= bound].min())


def test_the_certificates_are_part_of_the_front():
    front = run_search(dataclasses.replace(CONFIG, evaluations=40), toy_inputs(4))
    written = front.to_json()["seeds"]
    assert len(written) == len(front.seeds) > 10
    assert all(seed["proven"] and seed["proxy"] == seed["proxy_lower_bound"] for seed in written)
    assert f"{len(written)} of {len(written)} seeds proven" in front.summary()


def test_a_budget_below_the_least_cost_is_refused():
    problem, sensitivity = small_problem(0)
    with pytest.raises(SearchError, match="below the least cost"):
        exact_front(additive_trade(problem, sensitivity, "energy_pj"), [1.0])


def test_sensitivities_of_another_network_are_refused():
    network = toy_network(4)
    problem = problem_from_config(network, ToyCosts(network), CONFIG)
    with pytest.raises(SearchError, match="sensitivity table must have shapes"):
        exact_seeds(problem, ToySensitivity(toy_network(3)), 5)


def test_settings_that_fit_each_layer_but_never_all_of_them_are_infeasible():
    network = toy_network(2)
    costs = ToyCosts(network)
    costs.energy_pj[0, :, :, 1:] = np.inf  # the edge between them: 2 bits for the first layer
    costs.energy_pj[1, :, :-1, :] = np.inf  # 8 bits for the second
    problem = problem_from_config(network, costs, CONFIG)
    with pytest.raises(InfeasibleError, match="fits all layers at once"):
        exact_seeds(problem, ToySensitivity(network), 5)


def test_genes_that_are_coupled_too_densely_are_refused():
    scope = tuple(range(12))
    dense = Factor(scope=scope, proxy=np.zeros((5,) + (1,) * 11), cost=np.zeros((5,) + (1,) * 11))
    with pytest.raises(SearchError, match="coupled too densely"):
        Elimination([5] * 12, [dense]).minimise(np.array([[1.0, 1.0]]))
