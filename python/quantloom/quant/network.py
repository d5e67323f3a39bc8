"""A traced network that computes with the bits of an assignment: each gene quantizes the tensor it is charged for."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from quantloom.errors import QuantError
from quantloom.quant.modules import ActivationQuantizer, QuantizedLayer, Quantizer, WeightQuantizer
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import TracedModel
from quantloom.workload.network import BitAssignment

__all__ = ["QuantizedNetwork", "load_tensors", "named_tensors"]

_LEAST_SCALE = 1e-6


class QuantizedNetwork(nn.Module):
    """The traced network with a fake-quantizer on every edge and on the weights of every layer.

    An edge's quantizer stands behind the node whose value is stored, once, so all readers see the quantized tensor.
    Scales of all widths exist side by side: changing bits selects among them. Until calibrate(), and after
    set_float(), the network computes in float.

    share_parameters: train the traced module itself; by default it is copied and never changed.
    """

    def __init__(
        self, traced: TracedModel, scheme: QuantScheme | None = None, *, share_parameters: bool = False
    ) -> None:
        super().__init__()
        self.network = traced.network
        self.scheme = QuantScheme() if scheme is None else scheme
        source = traced.graph_module if share_parameters else copy.deepcopy(traced.graph_module)
        # A GraphModule refers to the leaf modules of its source but has containers of its own, safe to rewrite.
        self.graph_module = fx.GraphModule(source, copy.deepcopy(source.graph))
        self._nodes = {node.name: node for node in self.graph_module.graph.nodes}
        self.activation_quantizers = [self._quantize_edge(index) for index in range(len(self.network.edges))]
        self.weights: list[nn.Parameter] = []
        self.weight_quantizers = [self._quantize_layer(index) for index in range(len(self.network.layers))]
        self.graph_module.graph.eliminate_dead_code()
        self.graph_module.graph.lint()
        self.graph_module.recompile()
        self._norms = [module for module in self.graph_module.modules() if isinstance(module, _BatchNorm)]
        self._norms = [norm for norm in self._norms if norm.track_running_stats]
        self._float_statistics = self._copy_statistics()
        self._quantizers: tuple[Quantizer, ...] = (*self.weight_quantizers, *self.activation_quantizers)
        self._learned_scales: list[Tensor] = []
        self._assignment: BitAssignment | None = None
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, *network.input_shape). Returns the network's output, quantized to the bits in force."""
        out: Tensor = self.graph_module(x)
        return out

    @property
    def is_calibrated(self) -> bool:
        """Whether every tensor has scales, so that bits can be set."""
        return all(quantizer.is_calibrated for quantizer in self._quantizers)

    @property
    def assignment(self) -> BitAssignment | None:
        """The assignment in force; None in float."""
        return self._assignment

    def calibrate(self, images: Tensor) -> None:
        """Choose all scales from the weights and from what the float network computes; then stay in float.

        images: (N, *network.input_shape) of the train split. Raises QuantError for NaN or infinite weights or
        activations.
        """
        self.set_float()
        self.forget_rounding()
        for quantizer, weights in zip(self.weight_quantizers, self.weights, strict=True):
            quantizer.calibrate(weights.detach())

        def observe(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            cast("ActivationQuantizer", module).calibrate(output)

        hooks = [quantizer.register_forward_hook(observe) for quantizer in self.activation_quantizers]
        try:
            with torch.no_grad(), self._training(on=False):
                self(images)
        finally:
            for hook in hooks:
                hook.remove()

    def set_bits(self, assignment: BitAssignment) -> None:
        """Put an assignment in force, with the float network's normalisation statistics.

        Statistics taken for another assignment are forgotten; reestimate() takes those of this one. Raises
        QuantError if the assignment does not fit the network or asks for widths without scales.
        """
        expected = len(self.network.layers), len(self.network.edge_groups)
        given = len(assignment.weights), len(assignment.groups)
        if given != expected:
            message = (
                f"the assignment has {given[0]} weight and {given[1]} activation genes,"
                f" {self.network.name} has {expected[0]} and {expected[1]}"
            )
            raise QuantError(message, hint="an assignment belongs to the network it was made for")
        for weight_quantizer, bits in zip(self.weight_quantizers, assignment.weights, strict=True):
            weight_quantizer.select(bits)
        for quantizer, edge in zip(self.activation_quantizers, self.network.edges, strict=True):
            quantizer.select(assignment.groups[edge.group])
        self._assignment = assignment
        self._restore_statistics()

    def set_float(self) -> None:
        """Compute in float again, with the float network's statistics."""
        for quantizer in self._quantizers:
            quantizer.select(None)
        self._assignment = None
        self._restore_statistics()

    def reestimate(self, *batches: Tensor) -> None:
        """Replace the normalisation statistics by those of the network as it computes now, bits included.

        batches: train images (N, *network.input_shape); the statistics of several batches are averaged. One pass is
        enough: each normalisation already sees inputs normalised with the new statistics of the layers before it.
        In float they become the float network's own, which set_bits() starts from.
        """
        momenta = [norm.momentum for norm in self._norms]
        with torch.no_grad(), self._training(on=False):
            for norm in self._norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain average over the batches
                norm.train()
            try:
                for images in batches:
                    self(images)
            finally:
                for norm, momentum in zip(self._norms, momenta, strict=True):
                    norm.momentum = momentum
        if self._assignment is None:
            self.keep_statistics()

    def keep_statistics(self) -> None:
        """Make the statistics in force those that set_bits() and set_float() start from: after training, say."""
        self._float_statistics = self._copy_statistics()

    def learn_scales(self, *, on: bool = True) -> list[nn.Parameter]:
        """Let gradients reach the scales and zero points of all widths, or stop; returns those that are learned.

        Call keep_scales_positive() after each step of an optimizer. Raises QuantError if there are no scales yet.
        """
        if not self.is_calibrated:
            message = "the network has no scales yet"
            raise QuantError(message, hint="calibrate the network before learning its scales")
        self.forget_rounding()
        learned = [parameter for quantizer in self._quantizers for parameter in quantizer.learns(on=on)]
        scales = [quantizer.scale(bits) for quantizer in self._quantizers for bits in quantizer.bits]
        self._learned_scales = scales if on else []
        return learned

    def forget_rounding(self) -> None:
        """Round each weight to the nearest again: after round_weights(), when weights or scales become others."""
        for module in self.graph_module.modules():
            if isinstance(module, QuantizedLayer):
                module.use_own()

    def keep_scales_positive(self) -> None:
        """Undo what a step of an optimizer may have done to learned scales: they must stay above 0."""
        with torch.no_grad():
            for scale in self._learned_scales:
                if scale.grad is not None:
                    scale.clamp_(min=_LEAST_SCALE)

    def use_channels_last(self) -> None:
        """Lay out convolution weights as the fast kernels read them; give images in torch.channels_last as well."""
        for weights in self.weights:
            if weights.ndim == 4:
                weights.data = weights.data.to(memory_format=torch.channels_last)

    # ---- rewriting the graph -------------------------------------------------------------------------------------

    def _quantize_edge(self, index: int) -> ActivationQuantizer:
        edge = self.network.edges[index]
        node = self._node(edge.node, f"edge {edge.name}")
        is_symmetric = self.scheme.activations == "symmetric"
        quantizer = ActivationQuantizer(f"edge {edge.name}", self.scheme.bits, symmetric=is_symmetric)
        path = f"activation_quantizers.{index}"
        self.graph_module.add_submodule(path, quantizer)
        with self.graph_module.graph.inserting_after(node):
            quantized = self.graph_module.graph.call_module(path, (node,))
        node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)
        return quantizer

    def _quantize_layer(self, index: int) -> WeightQuantizer:
        layer = self.network.layers[index]
        node = self._node(layer.node, f"layer {layer.name}")
        if node.op == "call_module":
            module = self.graph_module.get_submodule(str(node.target))
            quantizer = self._weight_quantizer(layer.name, cast("Tensor", module.weight))
            quantized_layer = QuantizedLayer(
                module,
                quantizer,
                norm=cast("_BatchNorm | None", self._absorb(node, _BatchNorm)),
                activation=cast("nn.ReLU | nn.ReLU6 | None", self._absorb(node, nn.ReLU, nn.ReLU6)),
                output=cast("ActivationQuantizer | None", self._absorb(node, ActivationQuantizer)),
            )
            path = f"layers.{index}"
            self.graph_module.add_submodule(path, quantized_layer)
            node.target = path
            self.weights.append(cast("nn.Parameter", module.weight))
            return quantizer
        source = next(arg for arg in node.all_input_nodes if arg.op == "get_attr" and self._parameter(arg).ndim > 1)
        quantizer = self._weight_quantizer(layer.name, self._parameter(source))
        path = f"weight_quantizers.{index}"
        self.graph_module.add_submodule(path, quantizer)
        with self.graph_module.graph.inserting_before(node):
            quantized = self.graph_module.graph.call_module(path, (source,))
        node.replace_input_with(source, quantized)
        self.weights.append(self._parameter(source))
        return quantizer

    def _weight_quantizer(self, layer: str, weights: Tensor) -> WeightQuantizer:
        return WeightQuantizer(f"layer {layer}", self.scheme.bits, weights, per_channel=self.scheme.per_channel)

    def _absorb(self, node: fx.Node, *kinds: type[nn.Module]) -> nn.Module | None:
        """Take the module that alone reads a node's value out of the graph, to be run by the node itself.

        Returns None, and leaves the graph alone, unless it is of these kinds and, if it has state, called only here.
        """
        readers = list(node.users)
        if len(readers) != 1 or readers[0].op != "call_module":
            return None
        reader = readers[0]
        module = self.graph_module.get_submodule(str(reader.target))
        calls = [other for other in self.graph_module.graph.nodes if other.target == reader.target]
        if not isinstance(module, kinds) or (len(calls) != 1 and isinstance(module, _BatchNorm)):
            return None
        reader.replace_all_uses_with(node)
        self.graph_module.graph.erase_node(reader)
        return module

    def _node(self, name: str, owner: str) -> fx.Node:
        if name not in self._nodes:
            message = f"{owner} names node `{name}`, which the traced graph does not have"
            raise QuantError(message, hint="network and graph must come from one trace")
        node: fx.Node = self._nodes[name]
        return node

    def _parameter(self, node: fx.Node) -> nn.Parameter:
        owner, _, attribute = str(node.target).rpartition(".")
        return cast("nn.Parameter", getattr(self.graph_module.get_submodule(owner), attribute))

    # ---- normalisation statistics --------------------------------------------------------------------------------

    @contextmanager
    def _training(self, *, on: bool) -> Iterator[None]:
        """Training flags all on or off inside, as they were afterwards."""
        flags = [(module, module.training) for module in self.modules()]
        self.train(on)
        try:
            yield
        finally:
            for module, was_on in flags:
                module.training = was_on

    def _statistics(self) -> list[Tensor]:
        return [cast("Tensor", value) for norm in self._norms for value in (norm.running_mean, norm.running_var)]

    def _copy_statistics(self) -> list[Tensor]:
        return [value.clone() for value in self._statistics()]

    def _restore_statistics(self) -> None:
        with torch.no_grad():
            for value, saved in zip(self._statistics(), self._float_statistics, strict=True):
                value.copy_(saved)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers of a module by name, each once; of a quantized network scales and statistics too."""
    root = module.graph_module if isinstance(module, QuantizedNetwork) else module
    return {name: tensor.detach() for name, tensor in (*root.named_parameters(), *root.named_buffers())}


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Take over what named_tensors() gave of an equal module; names and shapes must fit.

    A quantized network is calibrated afterwards, and starts from these statistics when bits are set.
    """
    with torch.no_grad():
        for name, tensor in named_tensors(module).items():
            tensor.copy_(tensors[name])
    if isinstance(module, QuantizedNetwork):
        module.forget_rounding()
        for quantizer in (*module.weight_quantizers, *module.activation_quantizers):
            quantizer.is_calibrated = True
        module.keep_statistics()
