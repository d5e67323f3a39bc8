"""Bits are real: each gene alone changes what the network computes and what the hardware model charges for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

import quantloom as ql
from quantloom import zoo
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import trace

BITS = (2, 8)


@pytest.fixture(scope="module")
def quantized() -> QuantizedNetwork:
    torch.manual_seed(0)
    spec = zoo.parse_model("mobilenet_v2:width=0.25,input=32,classes=16")
    network = QuantizedNetwork(
        trace(zoo.build(spec.name, **spec.options).eval(), spec.input_shape), QuantScheme(bits=BITS)
    )
    network.reestimate(torch.randn(16, *spec.input_shape))
    network.calibrate(torch.randn(8, *spec.input_shape))
    return network


@pytest.fixture(scope="module")
def logits(quantized: QuantizedNetwork) -> dict[ql.BitAssignment, Tensor]:
    """What the network computes for one batch under 8 bits, and with each gene alone at 2."""
    images = torch.randn(2, *quantized.network.input_shape, generator=torch.Generator().manual_seed(1))
    found = {}
    for _, assignment in (("", ql.BitAssignment.uniform(quantized.network, 8)), *genes(quantized.network)):
        quantized.set_bits(assignment)
        with torch.inference_mode():
            found[assignment] = quantized(images).clone()
    return found


def genes(network: ql.Network) -> Iterator[tuple[str, ql.BitAssignment]]:
    uniform = ql.BitAssignment.uniform(network, 8)
    for kind in ("weights", "groups"):
        values = getattr(uniform, kind)
        for i in range(len(values)):
            yield f"{kind}[{i}]", replace(uniform, **{kind: (*values[:i], 2, *values[i + 1 :])})


@pytest.mark.parametrize("arch", ["eyeriss", "simba"])
@pytest.mark.parametrize("model", ["default", "compat"])
def test_each_gene_alone_changes_the_logits_and_the_cost(
    arch: str, model: str, quantized: QuantizedNetwork, logits: dict[ql.BitAssignment, Tensor]
) -> None:
    network = quantized.network
    table = ql.cost_table(network, ql.load_arch(arch), bits=BITS, model=model)

    def energy_pj(assignment: ql.BitAssignment) -> float:
        widths = [assignment.layer_bits(network, i) for i in range(len(network.layers))]
        columns = [tuple(BITS.index(b) for b in (w.weights, w.inputs, w.outputs)) for w in widths]
        return float(np.sum([table.energy_pj[(i, *column)] for i, column in enumerate(columns)]))

    uniform = ql.BitAssignment.uniform(network, 8)
    whole = energy_pj(uniform)
    for gene, assignment in genes(network):
        assert energy_pj(assignment) < whole, gene
        assert not torch.equal(logits[assignment], logits[uniform]), gene
