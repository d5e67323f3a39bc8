"""Products of two activations and layers that use weights again: their bits, files, genes, and cost."""

from __future__ import annotations

import numpy as np
import pytest

from quantloom._core import optimize
from quantloom.errors import SpecError, WorkloadError
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.problem import problem_from_config
from quantloom.mapper.table import cost_table
from quantloom.spec.arch import load_arch
from quantloom.spec.bits import dump_bits, load_bits, parse_bits_file
from quantloom.spec.network import dump_network, parse_network
from quantloom.workload.bits import BitWidths
from quantloom.workload.layer import conv_workload, linear_workload
from quantloom.workload.network import BitAssignment, Edge, Layer, Network, Operator


def attention() -> Network:
    """Queries and keys by one layer each (the second uses the first's weights), then their product."""
    shapes = {"x": (4, 8), "q": (4, 8), "k": (4, 8), "scores": (2, 4, 4)}
    edges = [
        Edge(name=name, node=name, elements=int(np.prod(shape)), shape=shape, group=group)
        for group, (name, shape) in enumerate(shapes.items())
    ]
    linear = linear_workload("q", inputs=8, outputs=8, batch=4)
    product = conv_workload("scores", inputs=8, outputs=8, output_size=(1, 1), kernel=(1, 1), groups=2, batch=4)
    layers = [
        Layer(name="q", node="q", workload=linear, weights_elements=64, input_edge=0, output_edge=1),
        Layer(
            name="k",
            node="k",
            workload=linear.renamed("k"),
            weights_elements=0,
            input_edge=0,
            output_edge=2,
            weights_layer=0,
        ),
        Layer(
            name="scores",
            node="scores",
            workload=product,
            weights_elements=0,
            input_edge=1,
            output_edge=3,
            weights_edge=2,
        ),
    ]
    operators = (
        Operator(name="pool", kind="MaxPool", treatment="traffic", reads=(3,), elements_read=32, elements_written=8),
        Operator(name="cut", kind="Slice", treatment="free", reads=(0, 1), writes=2),
        Operator(name="ids", kind="Gather", treatment="traffic", reads=(0,), writes=1, table_elements=100),
    )
    return Network(name="attention", layers=tuple(layers), edges=tuple(edges), input_shape=(4, 8), operators=operators)


def test_a_product_has_the_bits_of_both_its_edges_and_shared_weights_those_of_their_owner() -> None:
    network = attention()
    bits = BitAssignment(weights=(2, 7, 7), groups=(8, 4, 5, 6))
    assert bits.layer_bits(network, 0) == BitWidths(weights=2, inputs=8, outputs=4)
    assert bits.layer_bits(network, 1) == BitWidths(weights=2, inputs=8, outputs=5)
    assert bits.layer_bits(network, 2) == BitWidths(weights=5, inputs=4, outputs=6)
    assert (network.weights, network.tables, network.macs) == (64, 100, 2 * 256 + 2 * 4 * 4 * 4)


def test_network_file_keeps_products_shared_weights_and_operators() -> None:
    network = attention()
    assert parse_network(dump_network(network), "n.yaml") == network


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weights_edge: k", "weights_edge: w", "layers[2].weights_edge: unknown edge `w`"),
        ("weights_layer: q", "weights_layer: z", "layers[1].weights_layer: no earlier layer `z`"),
        ("weights_layer: q", "weights_layer: k", "layers[1].weights_layer: no earlier layer `k`"),
        ("treatment: free", "treatment: fre", "operators[1].treatment: unknown treatment `fre`"),
        ("writes: k}", "writes: kk}", "operators[1].writes: unknown edge `kk`"),
        ("treatment: free", "treatment: free, elements_read: 3", "operators[1]: operator cut: 3 elements moved by"),
    ],
)
def test_mistakes_in_these_keys_are_located(old: str, new: str, message: str) -> None:
    text = dump_network(attention())
    assert old in text
    with pytest.raises(SpecError) as caught:
        parse_network(text.replace(old, new, 1), "n.yaml")
    assert message in str(caught.value)


def test_contradictory_shares_are_refused() -> None:
    product = attention().layers[2]
    with pytest.raises(WorkloadError, match="its Weights tensor is an edge, yet it has weights"):
        Layer(
            name="p",
            node="p",
            workload=product.workload,
            weights_elements=4,
            input_edge=0,
            output_edge=1,
            weights_edge=0,
        )


def test_bits_on_the_command_line_are_those_of_activations_for_both_operands() -> None:
    network = attention()
    assert load_bits("a8w4").for_layer(network, 0) == BitWidths(weights=4, inputs=8, outputs=8)
    assert load_bits("a8w4").for_layer(network, 2) == BitWidths.uniform(8)


def test_bits_file_gives_a_shared_tensor_its_bits_once() -> None:
    network = attention()
    text = "weights: {q: 3}\nactivations: {x: 8, q: 4, k: 5, scores: 6}\n"
    assignment = parse_bits_file(text, "b.yaml").for_network(network)
    assert assignment == BitAssignment(weights=(3, 3, 5), groups=(8, 4, 5, 6))
    assert parse_bits_file(dump_bits(assignment, network), "b.yaml").for_network(network) == assignment
    with pytest.raises(SpecError, match="layer `scores` has no weights of its own"):
        parse_bits_file(f"{text}default: 8\n".replace("{q: 3}", "{scores: 3}"), "b.yaml").for_network(network)


def test_search_has_one_gene_for_what_is_one_tensor_and_charges_it_everywhere() -> None:
    network, arch = attention(), load_arch("eyeriss")
    costs = cost_table(network, arch, bits=(4, 8), threads=1)
    config = SearchConfig(model="m", arch="a", input_bits=None, output_bits=None)
    problem = problem_from_config(network, costs, config)
    assert [(gene.name, gene.variables) for gene in problem.genes] == [
        ("q", (0, 1)),
        ("x", (3,)),
        ("q", (4,)),
        ("k", (5, 2)),
        ("scores", (6,)),
    ]
    wide = problem.uniform(8)
    narrow = wide.copy()
    narrow[3] = 0
    changed = problem.hardware(np.stack([wide, narrow]))
    assert problem.assignment(narrow).layer_bits(network, 2) == BitWidths(weights=4, inputs=8, outputs=8)
    written, read = costs.energy_pj[1, 1, 1, :], costs.energy_pj[2, :, 1, 1]
    saved = written[1] - written[0], read[1] - read[0]
    assert changed.energy_pj[0] - changed.energy_pj[1] == pytest.approx(sum(saved))
    assert min(saved) > 0
    assert list(changed.weight_bits) == [64 * 8, 64 * 8]


def test_a_product_is_mapped_with_bits_on_both_operands() -> None:
    """Fewer bits of either operand cost less energy on a layer large enough to notice."""
    arch = load_arch("simba")
    workload = conv_workload("qk", inputs=4 * 64, outputs=4 * 96, output_size=(1, 1), kernel=(1, 1), groups=4, batch=96)
    settings = [
        {"Weights": weights, "Inputs": inputs, "Outputs": 8} for weights, inputs in ((8, 8), (4, 8), (8, 4), (4, 4))
    ]
    both, first, second, neither = (found.energy_pj for found in optimize(arch, workload, settings, objective="energy"))
    assert both > first > neither
    assert both > second > neither
