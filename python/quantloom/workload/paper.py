"""Workloads as the paper's released tool takes them, for reproducing its figures only."""

from __future__ import annotations

from dataclasses import replace

from quantloom._core import TensorSpec, Workload
from quantloom.workload.network import Layer, Network

__all__ = ["paper_workloads"]


def paper_workloads(network: Network) -> Network:
    """The network with every grouped layer taken as dense: all input to all output channels, no dim G.

    A depthwise layer then has C = M = channels, that is C times too many multiply-accumulates (MobileNetV1 8.5 and
    V2 18.5 times too many in total). weights_elements stay those of the real layer. Source: honzastor/hw_mix_quant
    4ccb53c, parsed_models (arXiv 2404.05368).
    """
    return replace(network, layers=tuple(_take_as_dense(layer) for layer in network.layers))


def _take_as_dense(layer: Layer) -> Layer:
    workload = layer.workload
    groups = workload.dims.get("G", 1)
    if groups == 1:
        return layer
    dims = [(dim, bound * groups if dim in ("C", "M") else bound) for dim, bound in workload.dims.items() if dim != "G"]
    tensors = [
        TensorSpec(tensor.name, [rank for rank in tensor.ranks if rank != [("G", 1)]], tensor.is_output)
        for tensor in workload.tensors
    ]
    return replace(layer, workload=Workload(workload.name, dims, tensors))
