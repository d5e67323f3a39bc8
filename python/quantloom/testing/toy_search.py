"""A search small enough to enumerate: a few layers, a cost table by formula, an accuracy by formula.

For trying samplers and everything around them without an accelerator, a data set or torch. Costs and accuracy grow
with bits, as real ones do, and adding the sensitivities gives the accuracy's logarithm, so the exact seeds of the toy
are truly good.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from quantloom._core import AccessEnergy, Arch, Arithmetic, Level, LevelMapping, Mapping
from quantloom.joint_search.pareto import FloatArray
from quantloom.joint_search.run import SearchInputs
from quantloom.workload.bits import BitWidths
from quantloom.workload.layer import conv_workload
from quantloom.workload.network import BitAssignment, Edge, Layer, Network

__all__ = [
    "TOY_BITS",
    "ToyCosts",
    "ToyEvaluator",
    "ToyEvaluatorMaker",
    "ToySensitivity",
    "toy_arch",
    "toy_inputs",
    "toy_network",
]

TOY_BITS = (2, 3, 4, 5, 8)


def toy_network(layers: int, *, residual: bool = False) -> Network:
    """Return a chain of 1x1 convolutions over an 8x8 map, one edge between neighbours.

    residual: the second and the last but one edge share their bits, as if added; needs three layers.
    """
    channels = [4 * (i + 1) for i in range(layers + 1)]
    groups = list(range(layers + 1))
    if residual:
        groups[layers - 1] = 1
        groups[layers] = layers - 1
    edges = tuple(
        Edge(name=f"edge{i}", node=f"edge{i}", elements=64 * c, shape=(c, 8, 8), group=groups[i])
        for i, c in enumerate(channels)
    )
    return Network(
        name=f"toy{layers}",
        layers=tuple(
            Layer(
                name=f"layer{i}",
                node=f"layer{i}",
                workload=conv_workload(
                    f"layer{i}", inputs=channels[i], outputs=channels[i + 1], output_size=(8, 8), kernel=(1, 1)
                ),
                weights_elements=channels[i] * channels[i + 1],
                input_edge=i,
                output_edge=i + 1,
            )
            for i in range(layers)
        ),
        edges=edges,
        input_shape=(channels[0], 8, 8),
    )


def toy_arch() -> Arch:
    """Return a memory and a buffer of 16-bit words under one multiplier."""
    energy = AccessEnergy(read_pj=1.0, fill_pj=1.0, update_pj=1.0)
    return Arch(
        name="toy",
        levels=[
            Level(name="buffer", word_bits=16, capacity_words=1 << 20, energy=energy),
            Level(name="memory", word_bits=16, is_dram=True, energy=energy),
        ],
        arithmetic=Arithmetic(name="mac", instances=1, mesh_x=1, mesh_y=1, word_bits=16, energy_pj=1.0),
        constraints=[],
    )


class ToyCosts:
    """A cost table in which every word of 16 bits moved costs 10 pJ and a cycle, and every multiplication 1 pJ."""

    def __init__(self, network: Network, bits: tuple[int, ...] = TOY_BITS) -> None:
        self.bits = bits
        self.layers = tuple(layer.name for layer in network.layers)
        self._workloads = {layer.name: layer.workload for layer in network.layers}
        per_word = np.array([16 // b for b in bits])
        tables = []
        for layer in network.layers:
            sizes = (
                layer.weights_elements,
                *(network.edges[e].elements for e in (layer.input_edge, layer.output_edge)),
            )
            weights, inputs, outputs = (np.ceil(n / per_word) for n in sizes)
            words = weights[:, None, None] + 2 * inputs[None, :, None] + 2 * outputs[None, None, :]
            tables.append((words, float(layer.workload.macs)))
        self.energy_pj: FloatArray = np.array([10 * words + macs for words, macs in tables])
        self.cycles: FloatArray = np.array([words + 100.0 for words, _ in tables])

    def mapping(self, layer: str, bits: BitWidths) -> Mapping:
        """Return all loops in the memory, whatever the bits."""
        workload = self._workloads[layer]
        everything = ["Weights", "Inputs", "Outputs"]
        return Mapping(
            levels=[
                LevelMapping(keep=everything),
                LevelMapping(temporal=list(workload.dims.items()), keep=everything),
            ]
        )


class ToySensitivity:
    """Loss increase of 4^-bits, times a weight that differs from tensor to tensor."""

    def __init__(self, network: Network, *, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.bits = TOY_BITS
        falling = 4.0 ** -np.array(self.bits, dtype=np.float64)
        self.weights: FloatArray = np.multiply.outer(10 ** random.uniform(-2, 0.5, len(network.layers)), falling)
        self.groups: FloatArray = np.multiply.outer(10 ** random.uniform(-2, 0.5, len(network.edge_groups)), falling)


@dataclass(slots=True)
class ToyEvaluator:
    """Accuracy 0.95 * exp(-loss) with the sensitivities' loss, after a pause; slightly less on the test split."""

    sensitivity: ToySensitivity
    name: str = "toy"
    asked: list[BitAssignment] = field(default_factory=list)
    """Every assignment whose accuracy was asked for, in order."""
    pause_s: float = 0.0

    def accuracy(self, assignment: BitAssignment) -> float:
        """Return the accuracy on the validation split, and remember the question."""
        self.asked.append(assignment)
        time.sleep(self.pause_s)
        column = {b: i for i, b in enumerate(self.sensitivity.bits)}
        loss = sum(self.sensitivity.weights[i, column[b]] for i, b in enumerate(assignment.weights))
        loss += sum(self.sensitivity.groups[i, column[b]] for i, b in enumerate(assignment.groups))
        return float(0.95 * np.exp(-loss))

    def accuracy_test(self, assignment: BitAssignment) -> float:
        """Return the accuracy on the test split, and remember the question."""
        return 0.99 * self.accuracy(assignment)

    def float_accuracy(self) -> float:
        """Return 0.95."""
        return 0.95

    def float_accuracy_test(self) -> float:
        """Return 0.99 * 0.95."""
        return 0.99 * 0.95


@dataclass(frozen=True, slots=True)
class ToyEvaluatorMaker:
    """Makes the toy's evaluator, in whatever process it is called."""

    layers: int
    pause_s: float = 0.0

    def __call__(self) -> ToyEvaluator:
        """Return an evaluator of its own."""
        return ToyEvaluator(ToySensitivity(toy_network(self.layers)), pause_s=self.pause_s)


def toy_inputs(layers: int = 3, *, residual: bool = False, seed: int = 0) -> SearchInputs:
    """Return everything a search needs; the evaluator's `asked` shows what was measured."""
    network = toy_network(layers, residual=residual)
    sensitivity = ToySensitivity(network, seed=seed)
    return SearchInputs(
        network=network,
        arch=toy_arch(),
        costs=ToyCosts(network),
        evaluator=ToyEvaluator(sensitivity),
        sensitivity=sensitivity,
        hashes={"arch": "0" * 64},
    )
