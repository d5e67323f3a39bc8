"""Samplers, and whole searches of small problems that can be enumerated."""

from __future__ import annotations

import dataclasses
import itertools
import sys

import numpy as np
import pytest

from quantloom.cli.main import build_parser
from quantloom.errors import InfeasibleError, SearchError, SpecError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.nsga2 import (
    Nsga2Sampler,
    Nsga3Sampler,
    PaperSampler,
    cross_layers,
    cross_uniformly,
    mutate,
    mutate_one_gene,
)
from quantloom.joint_search.optuna_sampler import OptunaSampler
from quantloom.joint_search.pareto import non_dominated
from quantloom.joint_search.problem import problem_from_config
from quantloom.joint_search.run import run_search
from quantloom.joint_search.samplers import RandomSampler
from quantloom.spec.search_config import parse_search_config
from quantloom.testing.samplers import check_sampler
from quantloom.testing.toy_search import ToyCosts, toy_inputs, toy_network

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=250, population=20)


def make_nsga2(problem, start, random):
    return Nsga2Sampler(
        problem, start, population=10, crossover_probability=0.9, mutation_probability=None, random=random
    )


def make_nsga3(problem, start, random):
    return Nsga3Sampler(
        problem, start, population=10, crossover_probability=0.9, mutation_probability=None, random=random
    )


def make_random(problem, start, random):
    return RandomSampler(problem, start, batch=10, random=random)


def make_paper(problem, start, random):
    return PaperSampler(
        problem, start, population=10, crossover_probability=0.95, mutation_probability=0.1, random=random
    )


def make_tpe(problem, start, random):
    return OptunaSampler(problem, start, batch=10, algorithm="tpe", random=random)


def make_optuna_nsgaii(problem, start, random):
    return OptunaSampler(problem, start, batch=10, algorithm="nsgaii", random=random)


@pytest.mark.parametrize("make", [make_nsga2, make_nsga3, make_paper, make_random, make_tpe, make_optuna_nsgaii])
def test_sampler_conforms_to_the_protocol(make):
    check_sampler(make)


def test_crossover_exchanges_genes_between_two_parents():
    parents = np.stack([np.zeros((200, 6), dtype=np.int64), np.ones((200, 6), dtype=np.int64)])
    children = cross_uniformly(parents, np.random.default_rng(0))
    assert (children.sum(axis=0) == 1).all()
    assert 0.4 < children[0].mean() < 0.6


def test_layers_are_exchanged_whole_or_reset():
    layer_of_gene = np.array([0, 1, 2, 0, 1])
    parents = np.stack([np.zeros((4000, 5), dtype=np.int64), np.ones((4000, 5), dtype=np.int64)])
    children = cross_layers(parents, layer_of_gene, np.full(5, 7), 0.95, np.random.default_rng(0))
    assert (children[:, :, 0] == children[:, :, 3]).all()
    assert (children[:, :, 1] == children[:, :, 4]).all()
    assert (children == 7).mean() == pytest.approx(0.05, abs=0.005)
    assert (children == 1).mean() == pytest.approx(0.475, abs=0.01)
    kept = (children != 7).all(axis=0)
    assert (children.sum(axis=0)[kept] == 1).all()


def test_one_gene_of_some_children_is_drawn_anew():
    counts = np.array([1, 2, 50, 50])
    candidates = np.random.default_rng(0).integers(counts, size=(20_000, 4))
    mutated = mutate_one_gene(candidates, counts, 0.1, np.random.default_rng(1))
    assert ((mutated >= 0) & (mutated < counts)).all()
    changed = (mutated != candidates).sum(axis=1)
    assert changed.max() == 1
    assert changed.mean() == pytest.approx(0.1 * (0 + 0.5 + 0.98 + 0.98) / 4, rel=0.1)


def test_the_preset_paper_is_the_search_of_the_released_code():
    """7 uniform individuals, then 25 broods of 10 over bits 2..8 of weights and inputs, the logits at 8."""
    network = toy_network(8)
    config = SearchConfig.preset("paper", model="toy", arch="toy", seed=1)
    costs = ToyCosts(network, tuple(range(2, 9)))
    inputs = dataclasses.replace(toy_inputs(8), costs=costs, evaluator=Wide(), sensitivity=None)
    front = run_search(config, inputs)
    problem = problem_from_config(network, inputs.costs, config)
    assert [gene.name for gene in problem.genes] == [f"{kind}{i}" for kind in ("layer", "edge") for i in range(8)]
    assert problem.fixed[-1] == 8
    assert [baseline.uniform_bits for baseline in front.baselines] == [2, 3, 4, 5, 6, 7, 8]
    assert (len(front.candidates), len(front.hypervolume)) == (7 + 25 * 10, 26)
    assert front.objectives == ("error", "sum_edp")
    assert front.seeds == ()


def test_what_is_given_beside_a_preset_counts_more():
    text = "model: m\narch: a\npreset: paper\ngenerations: 3\n"
    read = parse_search_config(text, "c.yaml")
    assert read == SearchConfig.preset("paper", model="m", arch="a", generations=3)
    assert read.weight_bits == tuple(range(2, 9))
    with pytest.raises(SpecError, match=r"c.yaml:3:9: preset: unknown preset `papre`\n  hint: did you mean `paper`"):
        parse_search_config(text.replace("paper", "papre"), "c.yaml")
    with pytest.raises(SearchError, match="unknown preset 'papers'"):
        SearchConfig.preset("papers", model="m", arch="a")


class Wide:
    """An accuracy for all bits."""

    name = "wide"

    def accuracy(self, assignment):
        return 0.9 - sum(2.0**-b for b in (*assignment.weights, *assignment.groups)) / 20

    accuracy_test = accuracy

    def float_accuracy(self):
        return 0.9

    float_accuracy_test = float_accuracy


def test_mutation_stays_within_the_choices_and_changes_what_it_hits():
    counts = np.array([1, 2, 5])
    candidates = np.random.default_rng(0).integers(counts, size=(500, 3))
    mutated = mutate(candidates, counts, 1.0, np.random.default_rng(1))
    assert ((mutated >= 0) & (mutated < counts)).all()
    assert (mutated[:, 0] == 0).all()
    assert (mutated[:, 1:] != candidates[:, 1:]).all()
    assert np.array_equal(mutate(candidates, counts, 0.0, np.random.default_rng(1)), candidates)


def all_candidates(problem):
    return np.array(list(itertools.product(*(range(n) for n in problem.choice_counts))), dtype=np.int64)


def true_front(inputs, config):
    problem = problem_from_config(inputs.network, inputs.costs, config)
    every = all_candidates(problem)
    error = 1 - np.array([inputs.evaluator.accuracy(problem.assignment(c)) for c in every])
    objectives = problem.objective_values(problem.hardware(every), error)
    return np.unique(objectives[non_dominated(objectives)], axis=0)


def front_objectives(front):
    return np.unique([[1 - p.accuracy_validation, p.energy_pj] for p in front.points], axis=0)


def test_the_true_front_of_a_small_problem_is_found_without_enumerating_it():
    inputs = toy_inputs(2)  # 2 layers and one free edge: 125 candidates
    config = dataclasses.replace(CONFIG, evaluations=90)
    front = run_search(config, inputs)
    assert np.array_equal(front_objectives(front), true_front(inputs, config))


def test_a_search_of_everything_returns_the_true_front_and_stops():
    inputs = toy_inputs(2, seed=1)
    config = dataclasses.replace(CONFIG, evaluations=10_000)
    front = run_search(config, inputs)
    assert len(front.candidates) == 125
    assert np.array_equal(front_objectives(front), true_front(inputs, config))


@pytest.mark.parametrize("sampler", ["nsga2", "random"])
def test_equal_seeds_give_equal_fronts_and_others_do_not(sampler):
    config = dataclasses.replace(CONFIG, sampler=sampler, evaluations=120, seeds=0)
    one, two = (run_search(config, toy_inputs(8, residual=True)) for _ in range(2))
    assert one.to_json() == two.to_json()
    other = run_search(dataclasses.replace(config, seed=1), toy_inputs(8, residual=True))
    assert one.to_json() != other.to_json()


def test_no_assignment_is_measured_twice_and_the_budget_is_kept():
    inputs = toy_inputs(6)
    front = run_search(CONFIG, inputs)
    in_search = inputs.evaluator.asked[: len(front.candidates)]
    assert len(set(in_search)) == len(in_search) == CONFIG.evaluations
    reported = inputs.evaluator.asked[len(front.candidates) :]
    assert len(set(reported)) == len(reported) <= len(front.points) + len(front.baselines)


def test_nsga2_beats_random_search_at_equal_evaluations():
    config = dataclasses.replace(CONFIG, seeds=0)
    ours = run_search(config, toy_inputs(8)).hypervolume[-1]
    random = run_search(dataclasses.replace(config, sampler="random"), toy_inputs(8)).hypervolume[-1]
    assert ours > random


def test_hypervolume_never_falls():
    trace = run_search(CONFIG, toy_inputs(6)).hypervolume
    assert len(trace) > 3
    assert list(trace) == sorted(trace)


@pytest.mark.parametrize("sampler", ["nsga2", "nsga3"])
def test_three_objectives_and_a_generation_limit(sampler):
    objectives = ("error", "edp", "weight_bits")
    config = dataclasses.replace(CONFIG, objectives=objectives, generations=3, sampler=sampler)
    front = run_search(config, toy_inputs(5))
    assert len(front.hypervolume) == 3
    objectives = np.array([[1 - p.accuracy_validation, p.edp_pj_cycles, p.weight_memory_bits] for p in front.points])
    assert non_dominated(objectives).all()


def test_bounds_are_kept_on_the_front_and_bad_candidates_cost_no_evaluation():
    inputs = toy_inputs(6)
    problem = problem_from_config(inputs.network, inputs.costs, CONFIG)
    limit = float(problem.hardware(problem.uniform(4)[np.newaxis]).energy_pj[0])
    config = dataclasses.replace(CONFIG, bounds={"energy_pj": limit, "error": 0.9}, evaluations=100)
    front = run_search(config, inputs)
    assert all(p.energy_pj <= limit and p.accuracy_validation >= 0.1 for p in front.points)
    over = [b for b in front.baselines if b.energy_pj > limit]
    assert sum(front.candidates[:, 1] > limit) == len(over) > 0


def test_bounds_that_nothing_keeps_are_infeasible():
    with pytest.raises(InfeasibleError, match=r"keeps the bounds \(energy_pj <= 1\)"):
        run_search(dataclasses.replace(CONFIG, bounds={"energy_pj": 1.0}), toy_inputs(3))


def test_settings_that_fit_nowhere_are_never_measured():
    inputs = toy_inputs(4)
    inputs.costs.energy_pj[1, -1] = np.inf  # layer1 at 8-bit weights
    front = run_search(dataclasses.replace(CONFIG, evaluations=150), inputs)
    assert all(assignment.weights[1] != 8 for assignment in inputs.evaluator.asked)
    assert [b.uniform_bits for b in front.baselines] == [2, 3, 4, 5]


def test_too_few_evaluations_for_the_baselines_are_refused_before_any_is_made():
    inputs = toy_inputs(3)
    with pytest.raises(SearchError, match="5 uniform baselines"):
        run_search(dataclasses.replace(CONFIG, evaluations=4), inputs)
    assert not inputs.evaluator.asked


def test_an_accuracy_that_is_none_is_refused():
    inputs = toy_inputs(3)
    inputs.evaluator.sensitivity.weights[:] = np.nan
    inputs = dataclasses.replace(inputs, sensitivity=None)
    with pytest.raises(SearchError, match=r"accuracy must be in 0\.\.1, but toy measured nan"):
        run_search(CONFIG, inputs)


@pytest.mark.parametrize("name", ["optuna:tpe", "optuna:nsgaii"])
def test_a_search_with_optuna_is_resumed_to_the_same_front(name, tmp_path):
    config = dataclasses.replace(CONFIG, sampler=name, evaluations=60, seeds=3)
    front = run_search(config, toy_inputs(), directory=tmp_path / "whole")
    assert len(front.candidates) == 60
    assert front.hypervolume[-1] > front.hypervolume[0]
    whole = (tmp_path / "whole" / "front.json").read_bytes()
    journal = tmp_path / "whole" / "evaluations.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:41]))
    inputs = toy_inputs()
    run_search(config, inputs, directory=tmp_path / "whole", resume=True)
    assert (tmp_path / "whole" / "front.json").read_bytes() == whole
    assert 0 < len(inputs.evaluator.asked) < 60


def test_without_optuna_its_samplers_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    inputs = toy_inputs()
    with pytest.raises(SearchError, match="the sampler optuna:tpe needs Optuna, which is not installed") as refused:
        run_search(dataclasses.replace(CONFIG, sampler="optuna:tpe"), inputs)
    assert refused.value.hint == 'pip install "quantloom[optuna]"'
    assert inputs.evaluator.asked == []


def test_the_command_line_takes_optuna_for_its_tpe():
    parser = build_parser()
    assert parser.parse(["search", "--demo", "--sampler", "optuna"]).sampler == "optuna:tpe"
    assert parser.parse(["search", "--demo", "--sampler", "nsga3"]).sampler == "nsga3"
