"""Every gene of the network (test_quant_network.py sees its output change) is charged by the hardware model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import quantloom as ql

BITS = (2, 8)


@pytest.mark.parametrize("arch", ["eyeriss", "simba"])
@pytest.mark.parametrize("model", ["default", "compat"])
def test_each_gene_alone_changes_the_cost(arch: str, model: str) -> None:
    network = ql.load_network("mobilenet_v2:width=0.25,input=32,classes=16")
    table = ql.cost_table(network, ql.load_arch(arch), bits=BITS, model=model)

    def energy_pj(assignment: ql.BitAssignment) -> float:
        widths = [assignment.layer_bits(network, i) for i in range(len(network.layers))]
        columns = [tuple(BITS.index(b) for b in (w.weights, w.inputs, w.outputs)) for w in widths]
        return float(np.sum([table.energy_pj[(i, *column)] for i, column in enumerate(columns)]))

    uniform = ql.BitAssignment.uniform(network, 8)
    whole = energy_pj(uniform)
    for genes in ("weights", "groups"):
        values = getattr(uniform, genes)
        for i in range(len(values)):
            changed = replace(uniform, **{genes: (*values[:i], 2, *values[i + 1 :])})
            assert energy_pj(changed) < whole, f"{genes}[{i}]"
