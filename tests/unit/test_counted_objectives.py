"""Bit operations and peak activation memory: against plain counting, as objectives and as bounds."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest

from quantloom import load_network
from quantloom.errors import InfeasibleError
from quantloom.joint_search.activation_memory import PeakActivationMemory
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.problem import problem_from_config
from quantloom.joint_search.run import run_search
from quantloom.joint_search.run_report import read_run
from quantloom.joint_search.seeds import exact_seeds
from quantloom.testing.toy_search import TOY_BITS, ToyCosts, ToySensitivity, toy_inputs, toy_network
from quantloom.workload.network import BitAssignment, Operator

CONFIG = SearchConfig(model="toy", arch="toy", evaluations=40, population=10)


def simulated_peak(network, group_bits):
    """Execute the network: allocate what a step writes, look, free what no later step reads. Whole numbers."""
    work = []  # (what is written, what is read), in the order of the edges written
    for layer in network.layers:
        work.append((layer.output_edge, [e for e in (layer.input_edge, layer.weights_edge) if e is not None]))
    for operator in network.operators:
        if operator.reads:
            work.append((max(operator.reads) if operator.writes is None else operator.writes, list(operator.reads)))
    held, peak = set(), 0
    for step in range(len(network.edges)):
        held.add(step)
        peak = max(peak, sum(network.edges[e].elements * group_bits[network.edges[e].group] for e in held))
        later = {edge for written, reads in work if written > step for edge in reads}
        held &= later
    return peak


def with_operators():
    """Four layers; the first edge is read again at the end, and an operator works in place on two edges."""
    network = toy_network(4)
    operators = (
        Operator(name="in place", kind="mul", treatment="fused", reads=(1, 2)),
        Operator(name="skip", kind="add", treatment="traffic", reads=(0, 3), writes=4),
    )
    return dataclasses.replace(network, operators=operators)


@pytest.mark.parametrize("network", [toy_network(5), toy_network(5, residual=True), with_operators()])
def test_the_peak_is_that_of_an_execution_at_all_bits(network):
    groups = len(network.edge_groups)
    every = np.array(list(itertools.product((1, 2, 5, 16), repeat=groups)), dtype=np.int64)
    memory = PeakActivationMemory(network, [(1, 2, 5, 16)] * groups)
    assert memory.evaluate(every[:, memory.groups].T.astype(np.float64)).tolist() == [
        simulated_peak(network, bits) for bits in every.tolist()
    ]


@pytest.mark.parametrize("name", ["mobilenet_v2", "unet", "resnet18"])
def test_the_peak_of_real_networks_is_that_of_an_execution(name):
    network = load_network(name)
    random = np.random.default_rng(0)
    allowed = [tuple(sorted(random.choice(range(2, 9), 3, replace=False))) for _ in network.edge_groups]
    bits = np.array([random.choice(widths, 40) for widths in allowed], dtype=np.int64).T
    memory = PeakActivationMemory(network, allowed)
    assert len(memory.groups) < len(network.edge_groups)  # most moments cannot be the worst
    assert memory.evaluate(bits[:, memory.groups].T.astype(np.float64)).tolist() == [
        simulated_peak(network, row) for row in bits.tolist()
    ]


def test_the_peak_of_mobilenet_v2_at_8_bits_is_by_hand_that_of_its_second_block():
    """112x112x96 written by the expansion of 112x112x16; the depthwise layer after it writes 56x56x96."""
    network = load_network("mobilenet_v2")
    memory = PeakActivationMemory(network, [(8,)] * len(network.edge_groups))
    peak = memory.evaluate(np.full((len(memory.groups), 1), 8.0))[0]
    assert peak == 8 * max(112 * 112 * (96 + 16), 112 * 112 * 96 + 56 * 56 * 96)


def test_counts_of_a_population_are_those_of_each_assignment():
    network = with_operators()
    problem = problem_from_config(network, ToyCosts(network), CONFIG)
    candidates = np.random.default_rng(0).integers(problem.choice_counts, size=(5000, len(problem.genes)))
    hardware = problem.hardware(candidates)
    bops, peaks = hardware["bops"], hardware["peak_activation_bits"]
    for n in (*range(40), 4095, 4096, 4999):  # on both sides of a chunk
        assignment = problem.assignment(candidates[n])
        bits = [assignment.layer_bits(network, i) for i in range(len(network.layers))]
        expected = sum(la.workload.macs * b.weights * b.inputs for la, b in zip(network.layers, bits, strict=True))
        assert (bops[n], peaks[n]) == (expected, simulated_peak(network, assignment.groups))


def test_bit_operations_have_exact_seeds_and_peak_memory_has_none():
    network = toy_network(3)
    sensitivity = ToySensitivity(network)
    config = dataclasses.replace(CONFIG, objectives=("error", "peak_activation_bits", "bops"))
    problem = problem_from_config(network, ToyCosts(network), config)
    every = np.array(list(itertools.product(range(5), repeat=len(problem.genes))), dtype=np.int64)
    table = np.vstack([sensitivity.weights, sensitivity.groups])
    columns = np.searchsorted(TOY_BITS, problem.bits(every))
    proxy = table[np.arange(len(table)), columns][:, [0, 1, 2, 4, 5]].sum(axis=1)
    bops = problem.hardware(every)["bops"]
    seeds = exact_seeds(problem, sensitivity, 10)
    assert len(seeds) == 10
    for seed in seeds:
        assert (seed.objective, seed.optimum.is_proven) == ("bops", True)
        assert seed.optimum.proxy == pytest.approx(proxy[bops <= seed.optimum.budget * (1 + 1e-12)].min(), rel=1e-12)
    alone = dataclasses.replace(CONFIG, objectives=("error", "peak_activation_bits"))
    assert exact_seeds(problem_from_config(network, ToyCosts(network), alone), sensitivity, 10) == []


def test_a_search_for_both_keeps_bounds_on_both(tmp_path, monkeypatch):
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
    inputs = toy_inputs(4)
    problem = problem_from_config(inputs.network, inputs.costs, CONFIG)
    limit = problem.hardware(problem.uniform(4)[np.newaxis])
    bounds = {"peak_activation_bits": float(limit["peak_activation_bits"][0]), "bops": float(limit["bops"][0])}
    config = dataclasses.replace(CONFIG, objectives=("error", "peak_activation_bits", "bops"), bounds=bounds)
    front = run_search(config, inputs, directory=tmp_path / "run")
    assert len(front.points) > 3
    for point in front.points:
        assignment = BitAssignment(
            weights=tuple(layer.bits.weights for layer in point.layers), groups=tuple(e.bits for e in point.edges)
        )
        assert point.peak_activation_memory_bits == simulated_peak(inputs.network, assignment.groups)
        assert point.cost("peak_activation_bits") <= bounds["peak_activation_bits"]
        assert point.cost("bops") == point.bops <= bounds["bops"]
    stored = json.loads((tmp_path / "run/front.json").read_text())
    assert [p["bops"] for p in stored["points"]] == [p.bops for p in front.points]
    assert "bit operations saved against uniform bits" in front.summary()
    impossible = dataclasses.replace(config, bounds={"peak_activation_bits": 1.0})
    with pytest.raises(InfeasibleError, match="peak_activation_bits <= 1"):
        run_search(impossible, toy_inputs(4))


@pytest.mark.parametrize("status", ["finished", "unfinished"])
def test_a_run_from_before_they_were_counted_is_still_shown(tmp_path, monkeypatch, status):
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
    run_search(CONFIG, toy_inputs(3), directory=tmp_path)
    later = ("peak_activation_memory_bits", "bops")
    whole = read_run(tmp_path)
    front, manifest = (json.loads((tmp_path / name).read_text()) for name in ("front.json", "manifest.json"))
    for point in (*front["points"], *front["baselines"]):
        for name in later:
            del point[name]
    manifest["status"] = status
    lines = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    older = [json.dumps({key: value for key, value in line.items() if key not in later}) for line in lines]
    (tmp_path / "evaluations.jsonl").write_text("\n".join(older) + "\n")
    (tmp_path / "front.json").write_text(json.dumps(front))
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    found = read_run(tmp_path)
    assert {point[name] for point in found["points"] for name in later} == {None}
    assert all(point[name] > 0 for point in whole["points"] for name in later)
    assert len(found["points"]) == len(whole["points"])
