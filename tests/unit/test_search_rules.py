"""Rules on the bits of a search: what they make of the genes, that all proposals obey, and what is said of bad ones."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest

import quantloom as ql
from quantloom.cli.main import build_parser
from quantloom.cli.search import _read_config
from quantloom.errors import SearchError, SpecError
from quantloom.joint_search.config import RIVALS, SAMPLERS, SearchConfig
from quantloom.joint_search.exact_front import exact_front
from quantloom.joint_search.problem import problem_from_config
from quantloom.joint_search.rules import SearchRules
from quantloom.joint_search.run import run_search
from quantloom.joint_search.run_report import read_run
from quantloom.joint_search.seeds import additive_trade, exact_seeds
from quantloom.spec.search_config import parse_search_config
from quantloom.spec.search_rules import load_search_rules, parse_search_rules
from quantloom.testing.proxy_milp import least_proxy_by_milp
from quantloom.testing.toy_search import TOY_BITS, ToyCosts, ToySensitivity, toy_inputs, toy_network
from report_runs import StoppedError, StoppingEvaluator

RULES = """\
weights:
  first: 8
  layer2: [3, 5]
activations: {edge1: [2, 4, 8]}
ties:
  - weights: [layer1, layer3]
  - {weights: [4], activations: [edge3]}
"""
CONFIG = SearchConfig(model="toy", arch="toy", evaluations=40, population=8, rules=parse_search_rules(RULES, "r.yaml"))
LAYERS = 5


def problem_of(rules, network=None, **changes):
    network = network or toy_network(LAYERS)
    config = dataclasses.replace(CONFIG, rules=rules, **changes)
    return problem_from_config(network, ToyCosts(network), config)


def obeys(assignment):
    """RULES once more, by hand."""
    weights, groups = assignment.weights, assignment.groups
    return (
        (weights[0] == 8 and weights[2] in (3, 5) and weights[1] == weights[3] == groups[3])
        and groups[1] in (2, 4, 8)
        and (groups[0], groups[LAYERS]) == (8, 8)
    )


def test_rules_fix_limit_and_tie_genes():
    problem = problem_of(CONFIG.rules)
    assert [(gene.name, gene.bits) for gene in problem.genes] == [
        ("layer1+layer3+edge3", TOY_BITS),  # position 4 is layer3, so that two ties meet
        ("layer2", (3, 5)),
        ("layer4", TOY_BITS),
        ("edge1", (2, 4, 8)),
        ("edge2", TOY_BITS),
        ("edge4", TOY_BITS),
    ]
    assert problem.fixed[0] == 8
    assert obeys(problem.assignment(np.zeros(6, dtype=np.int64)))


def test_no_rules_change_nothing():
    free, ruled = problem_of(SearchRules()), problem_of(SearchRules(weights={"*": TOY_BITS}, activations={}))
    assert [dataclasses.replace(gene, by_rule=False) for gene in ruled.genes] == list(free.genes)
    assert "rules" not in dataclasses.replace(CONFIG, rules=SearchRules()).to_dict()


def test_first_and_last_layers_of_eight_bits_take_two_lines():
    problem = problem_of(SearchRules(weights={"first": 8, "last": 8}))
    assert problem.assignment(problem.uniform(2)).weights == (8, 2, 2, 2, 8)
    assert [gene.name for gene in problem.genes][:3] == ["layer1", "layer2", "layer3"]


def test_a_rule_counts_more_than_the_settings_and_may_name_other_bits():
    rules = SearchRules(weights={"layer1": 4}, activations={"input": [2, 4], "output": 5})
    problem = problem_of(rules, weight_bits=(2, 8))
    by_name = {gene.name: gene.bits for gene in problem.genes}
    assert by_name["edge0"] == (2, 4)
    assert by_name["layer0"] == (2, 8)
    assert problem.assignment(problem.uniform(8)).groups[-1] == 5
    assert problem.assignment(problem.uniform(8)).weights == (8, 4, 8, 8, 8)


def test_edges_of_one_group_and_tensors_of_a_pattern_obey_all_their_rules():
    network = toy_network(4, residual=True)
    problem = problem_of(
        SearchRules(weights={"layer*": [2, 4, 8], "layer1": [4, 5, 8]}, activations={"edge1": [2, 4], "edge3": [4, 8]}),
        network,
    )
    assert {gene.name: gene.bits for gene in problem.genes}["layer1"] == (4, 8)
    assert problem.assignment(problem.uniform(2)).groups[network.edges[1].group] == 4


def test_uniform_bits_take_the_next_wider_ones_that_a_rule_allows():
    problem = problem_of(CONFIG.rules)
    assert problem.uniform_bits == TOY_BITS
    for bits, ruled, edge in ((2, 3, 2), (3, 3, 4), (4, 5, 4), (5, 5, 8), (8, 5, 8)):
        assignment = problem.assignment(problem.uniform(bits))
        assert obeys(assignment)
        assert (assignment.weights[2], assignment.groups[1]) == (ruled, edge)
        assert problem.uniform_bits_of(problem.uniform(bits)) == bits
    everywhere = problem_of(SearchRules(weights={"*": [4, 8]}, activations={"*": [8]}))
    assert everywhere.uniform_bits == (4, 8)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("seed", range(2))
def test_every_proposal_of_every_search_obeys(sampler, seed):
    inputs = toy_inputs(LAYERS)
    compare = tuple(rival for rival in RIVALS if rival != "no_synergy")  # the toy table has widths no mapping fits
    front = run_search(dataclasses.replace(CONFIG, sampler=sampler, seed=seed, compare=compare), inputs)
    assert len(inputs.evaluator.asked) > CONFIG.evaluations
    assert all(obeys(assignment) for assignment in inputs.evaluator.asked)
    assert [p.label for p in front.baselines] == [f"uniform-{b}" for b in TOY_BITS]


@pytest.mark.parametrize("objective", ["energy_pj", "cycles", "sum_edp", "weight_bits", "bops"])
def test_seeds_are_optimal_among_all_assignments_that_obey(objective):
    network = toy_network(4)
    random = np.random.default_rng(7)
    costs = ToyCosts(network)
    costs.energy_pj *= random.uniform(0.3, 3, costs.energy_pj.shape)
    costs.cycles *= random.uniform(0.3, 3, costs.cycles.shape)
    sensitivity = ToySensitivity(network, seed=3)
    rules = SearchRules(
        weights={"first": 4}, activations={"edge1": [3, 8]}, ties=[{"weights": ["layer1"], "activations": ["edge2"]}]
    )
    config = dataclasses.replace(CONFIG, rules=rules, objectives=("error", objective))
    problem = problem_from_config(network, costs, config)
    free = problem_from_config(network, costs, dataclasses.replace(config, rules=SearchRules()))
    every = np.array(list(itertools.product(range(5), repeat=len(free.genes))), dtype=np.int64)
    bits = free.bits(every)  # weights of four layers, then edges 0..4
    kept = (bits[:, 0] == 4) & np.isin(bits[:, 5], (3, 8)) & (bits[:, 1] == bits[:, 6])
    assert 0 < kept.sum() == problem.size
    hardware, table = free.hardware(every[kept]), np.vstack([sensitivity.weights, sensitivity.groups])
    columns = np.searchsorted(TOY_BITS, bits[kept])
    proxy = table[np.arange(9), columns][:, [1, 2, 3, 5, 6, 7]].sum(axis=1)  # what has a choice
    cost = hardware[objective]
    seeds = exact_seeds(problem, sensitivity, 12)
    assert len(seeds) >= 5
    for seed in seeds:
        within = cost <= seed.optimum.budget * (1 + 1e-12)
        assert seed.optimum.is_proven
        assert seed.optimum.proxy == pytest.approx(proxy[within].min(), rel=1e-12)
        by_milp = least_proxy_by_milp(problem, sensitivity, objective, seed.optimum.budget * (1 + 1e-9))
        assert by_milp == pytest.approx(seed.optimum.proxy, rel=1e-6)
    budgets = np.linspace(cost.min(), cost.max(), 15).tolist()
    for optimum in exact_front(additive_trade(problem, sensitivity, objective), budgets):
        assert optimum.proxy == pytest.approx(proxy[cost <= optimum.budget * (1 + 1e-12)].min(), rel=1e-12)


def test_a_killed_run_goes_on_under_its_rules_and_under_no_others(tmp_path):
    whole = run_search(CONFIG, toy_inputs(LAYERS))
    toy = toy_inputs(LAYERS)
    stopping = dataclasses.replace(toy, evaluator=StoppingEvaluator(toy.evaluator.sensitivity))
    with pytest.raises(StoppedError):
        run_search(CONFIG, stopping, directory=tmp_path / "run")
    unfinished = read_run(tmp_path / "run")
    assert [b["label"] for b in unfinished["baselines"]] == [f"uniform-{b}" for b in TOY_BITS]
    changed = dataclasses.replace(CONFIG, rules=SearchRules(weights={"first": 8}))
    with pytest.raises(SearchError, match=r"was searched with another config: rules was \{.*'layer2': \[3, 5\]"):
        run_search(changed, toy_inputs(LAYERS), directory=tmp_path / "run", resume=True)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    stored = SearchConfig.from_dict(manifest["config"])
    assert stored == CONFIG
    front = run_search(stored, toy_inputs(LAYERS), directory=tmp_path / "run", resume=True)
    assert front.to_json() == whole.to_json()


def test_rules_in_a_configuration_and_in_a_file_are_the_same(tmp_path):
    inside = "model: toy\narch: toy\nrules:\n" + "".join(f"  {line}\n" for line in RULES.splitlines())
    (tmp_path / "rules.yaml").write_text(RULES)
    assert parse_search_config(inside, "c.yaml").rules == load_search_rules(tmp_path / "rules.yaml") == CONFIG.rules
    assert CONFIG.rules == ql.SearchRules(
        weights={"first": 8, "layer2": [5, 3]},
        activations={"edge1": (2, 4, 8)},
        ties=[{"weights": ["layer1", "layer3"]}, {"weights": ["4"], "activations": ["edge3"]}],
    )
    assert SearchRules(**json.loads(json.dumps(CONFIG.rules.to_dict()))) == CONFIG.rules


def test_every_mistake_of_a_file_is_told_with_its_place():
    with pytest.raises(SpecError) as caught:
        parse_search_rules(
            "weigths: {a: 8}\nactivations: {b: 40, c: [], d: [8, 8]}\nties: [{weights: a}, {}]\n", "r.yaml"
        )
    assert str(caught.value).splitlines() == [
        "r.yaml:1:1: weigths: unknown key",
        "  hint: did you mean `weights`?",
        "r.yaml:2:18: activations.b: read `40`, expected an integer 1..32",
        "r.yaml:2:25: activations.c: read a list of 0, expected different bits 1..32 such as 8, or a list of them "
        "such as [2, 4, 8]",
        "r.yaml:2:32: activations.d: read a list of 2, expected different bits 1..32 such as 8, or a list of them "
        "such as [2, 4, 8]",
        "r.yaml:3:18: ties[0].weights: read `a`, expected a list of names",
        "r.yaml:3:22: ties[1]: read a mapping, expected layers under `weights`, edges under `activations`, or both",
    ]


def test_every_mistake_about_the_network_is_told_with_its_place():
    text = (
        "weights:\n  layr1: 8\n  layer2: 4\n  '*2': [5, 8]\nactivations: {egde1: 8}\n"
        "ties:\n  - weights: [layer1]\n  - activations: [nowhere*]\n"
    )
    with pytest.raises(SpecError) as caught:
        problem_of(parse_search_rules(text, "r.yaml"))
    assert str(caught.value).splitlines() == [
        "r.yaml:2:3: weights.layr1: toy5 has no layer `layr1`",
        "  hint: did you mean `layer1`? layers are named like `layer0` or numbered 1..5",
        "r.yaml:5:15: activations.egde1: toy5 has no edge `egde1`",
        "  hint: did you mean `edge1`?",
        "r.yaml:7:5: ties[0]: names a single tensor",
        "  hint: tie two or more; edges of one bit group are tied already",
        "r.yaml:8:5: ties[1]: toy5 has no edge `nowhere*`",
        "  hint: they are named like `edge0`",
        "r.yaml:4:3: weights.*2: no bits are left for layer2: weights.layer2 says 4; weights.*2 says 5, 8",
        "  hint: all rules hold together",
    ]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"weights": {"first": 64}}, r"rules.weights.first: expected bits 1..32 .* got 64"),
        ({"weights": {"first": True}}, "got True"),
        ({"activations": {"edge1": []}}, r"got \[\]"),
        ({"activations": {"edge1": "8"}}, "got '8'"),
        ({"weights": ["first"]}, "rules.weights: expected a mapping from names to bits"),
        ({"ties": [["layer1", "layer2"]]}, r"rules.ties\[0\]: expected a mapping such as \{'weights'"),
        ({"ties": [{"weights": "layer1"}]}, "expected a mapping such as"),
    ],
)
def test_what_can_be_no_rule_is_refused(rules, message):
    with pytest.raises(SearchError, match=message):
        SearchRules(**rules)


def test_rules_from_python_are_named_by_their_path():
    with pytest.raises(SearchError, match=r"^rules.weights.layer9: toy5 has no layer `layer9`") as caught:
        problem_of(SearchRules(weights={"layer9": 8}))
    assert not isinstance(caught.value, SpecError)


def test_rules_that_leave_no_choice_leave_nothing_to_search():
    with pytest.raises(SearchError, match="nothing to search"):
        problem_of(SearchRules(weights={"*": 8}, activations={"*": 8}))


def test_the_command_line_takes_a_file_of_rules(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES)
    args = build_parser().parse(["search", "--demo", "--rules", str(tmp_path / "rules.yaml")])
    assert _read_config(args).rules == CONFIG.rules


def test_the_command_line_takes_limits_and_presets(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("model: m\narch: a\nbounds: {edp: 5, cycles: 7}\n")
    words = ["--limit", "energy_pj<=2e7", "--limit", "edp <= 3", "--preset", "paper", "--evaluations", "20"]
    config = _read_config(build_parser().parse(["search", str(tmp_path / "c.yaml"), *words]))
    assert config.bounds == {"energy_pj": 2e7, "edp": 3.0, "cycles": 7.0}
    assert (config.evaluations, config.sampler, config.objectives) == (20, "nsga2_paper", ("error", "sum_edp"))
    for bad, said in (
        ("energy<=2", "unknown objective 'energy'; did you mean energy_pj?"),
        ("energy_pj<2", "expected OBJECTIVE<=VALUE with a value above 0, such as energy_pj<=2e7"),
        ("energy_pj<=0", "expected OBJECTIVE<=VALUE"),
        ("energy_pj<=nan", "expected OBJECTIVE<=VALUE"),
    ):
        with pytest.raises(SystemExit):
            build_parser().parse(["search", "--demo", "--limit", bad])
        assert said in capsys.readouterr().err
