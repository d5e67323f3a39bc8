"""What an operator multiplies: convolutions of every kind, and products of two tensors in Einstein's notation.

Every product of two tensors sorts its axes into four: G, those that both operands and the result have; C, those that
are summed; N, those of the operand that is taken as Inputs; M, those of the one that is taken as Weights. It is then a
grouped linear layer, exactly, whatever the order of the axes.

A transposed convolution of stride s is run as convolutions of stride 1 over its input, one for each phase of the
output (sub-pixel form): output o gets the taps k with k*dilation = o + padding (mod s), all others would meet zeros.
Phases with equally many taps and outputs are one layer with so many times the output channels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as combinations

from quantloom._core import Workload
from quantloom.errors import WorkloadError
from quantloom.workload.layer import conv3d_workload, conv_workload

__all__ = ["Convolution", "Einsum", "Part", "Product", "matmul"]

_MAX_KERNEL = 1024  # of transposed convolutions, whose taps are sorted by phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One layer of a product. suffix: behind the product's name. weights_elements: its share of the weights."""

    suffix: str
    workload: Workload
    weights_elements: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A convolution of 1 to 3 axes. inputs, weights: names of the operands; shapes with the batch, as torch has them.

    weight_shape: (outputs, inputs / groups, *kernel); of a transposed one (inputs, outputs / groups, *kernel).
    padding: at the start of each axis, only needed by transposed ones.
    """

    inputs: str
    weights: str
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    is_transposed: bool = False
    padding: tuple[int, ...] = ()

    def parts(self, name: str) -> tuple[Part, ...]:
        """Its layers: one, or of a transposed convolution one for each kind of phase. Raises WorkloadError."""
        axes = len(self.weight_shape) - 2
        shapes = self.weight_shape, self.input_shape, self.output_shape
        if not 1 <= axes <= 3 or any(len(shape) != axes + 2 or min(shape) < 1 for shape in shapes):
            message = f"layer {name}: a convolution of weights {self.weight_shape} over {self.input_shape}"
            raise WorkloadError(message, hint="convolutions have 1 to 3 axes besides batch and channels")
        if min(*self.stride, *self.dilation, self.groups) < 1 or not len(self.stride) == len(self.dilation) == axes:
            message = f"layer {name}: stride {self.stride}, dilation {self.dilation}, {self.groups} groups"
            raise WorkloadError(message, hint=f"expected {axes} numbers from 1 each, and at least one group")
        channels = self.weight_shape[0] if self.is_transposed else self.weight_shape[1] * self.groups
        if self.input_shape[1] != channels or self.weight_shape[0] % self.groups:
            given = f"{self.groups} group(s) over {self.input_shape[1]} channels"
            message = f"layer {name}: weights {self.weight_shape} in {given}"
            raise WorkloadError(message, hint=f"these weights are for {channels} channels")
        if self.is_transposed and max(self.weight_shape[2:]) > _MAX_KERNEL:
            message = f"layer {name}: a transposed convolution with a kernel of {self.weight_shape[2:]}"
            raise WorkloadError(message, hint=f"kernels have up to {_MAX_KERNEL} taps along an axis")
        if self.is_transposed:
            return self._phases(name)
        workload = self._workload(name, self.weight_shape[0], self.weight_shape[2:], self.output_shape[2:])
        return (Part(suffix="", workload=workload, weights_elements=math.prod(self.weight_shape)),)

    def _phases(self, name: str) -> tuple[Part, ...]:
        kinds: dict[tuple[tuple[int, int], ...], int] = {}  # (taps, outputs) of each axis -> phases
        for phase in combinations(*map(self._phases_of_axis, range(len(self.stride)))):
            kinds[phase] = kinds.get(phase, 0) + 1
        if not kinds:
            message = f"layer {name}: no tap of the transposed convolution meets an output"
            raise WorkloadError(message, hint="its padding crops everything")
        inputs, outputs = self.weight_shape[0], self.weight_shape[1] * self.groups
        dilations = tuple(d // math.gcd(s, d) for s, d in zip(self.stride, self.dilation, strict=True))
        parts = []
        for phase, count in kinds.items():
            kernel, sizes = tuple(taps for taps, _ in phase), tuple(size for _, size in phase)
            suffix = "" if len(kinds) == 1 else f"[{'x'.join(map(str, kernel))} to {'x'.join(map(str, sizes))}]"
            workload = self._workload(f"{name}{suffix}", outputs * count, kernel, sizes, dilations=dilations)
            elements = math.prod((inputs, self.weight_shape[1], count, *kernel))
            parts.append(Part(suffix=suffix, workload=workload, weights_elements=elements))
        return tuple(parts)

    def _phases_of_axis(self, axis: int) -> list[tuple[int, int]]:
        """(taps, outputs) of each phase of an axis that has both."""
        kernel, size = self.weight_shape[2 + axis], self.output_shape[2 + axis]
        stride, dilation, padding = self.stride[axis], self.dilation[axis], self.padding[axis]
        taps = Counter(k * dilation % stride for k in range(kernel))
        outputs = {phase: len(range((phase - padding) % stride, size, stride)) for phase in taps}
        return [(taps[phase], outputs[phase]) for phase in sorted(taps) if outputs[phase]]

    def _workload(
        self,
        name: str,
        outputs: int,
        kernel: tuple[int, ...],
        sizes: tuple[int, ...],
        *,
        dilations: tuple[int, ...] | None = None,
    ) -> Workload:
        inputs = self.weight_shape[0] if self.is_transposed else self.weight_shape[1] * self.groups
        stride = (1,) * len(kernel) if self.is_transposed else self.stride
        dilation = dilations or self.dilation
        if len(kernel) == 3:
            return conv3d_workload(
                name,
                inputs=inputs,
                outputs=outputs,
                output_size=(sizes[0], sizes[1], sizes[2]),
                kernel=(kernel[0], kernel[1], kernel[2]),
                stride=(stride[0], stride[1], stride[2]),
                dilation=(dilation[0], dilation[1], dilation[2]),
                groups=self.groups,
                batch=self.input_shape[0],
            )
        return conv_workload(
            name,
            inputs=inputs,
            outputs=outputs,
            output_size=_height_width(sizes),
            kernel=_height_width(kernel),
            stride=_height_width(stride),
            dilation=_height_width(dilation),
            groups=self.groups,
            batch=self.input_shape[0],
        )


def _height_width(sizes: tuple[int, ...]) -> tuple[int, int]:
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Einsum:
    """A product of two tensors, summed over the labels that the result does not have.

    inputs, weights: names of the operands. inputs_labels, weights_labels, output_labels: one label for each axis.
    sizes: by label; an axis of size 1 that meets a longer one has a label of its own.
    """

    inputs: str
    weights: str
    inputs_labels: tuple[str, ...]
    weights_labels: tuple[str, ...]
    output_labels: tuple[str, ...]
    sizes: dict[str, int]

    @classmethod
    def parse(cls, equation: str, operands: tuple[str, str], shapes: Sequence[tuple[int, ...]]) -> Einsum:
        """The product that an equation such as "bhqd,bhkd->bhqk" writes; `...` stands for leading axes.

        Raises WorkloadError if it does not go with the shapes.
        """
        left, arrow, right = equation.replace(" ", "").partition("->")
        terms = left.split(",")
        if len(terms) != 2:
            message = f"the einsum `{equation}`, expected two operands"
            raise WorkloadError(message, hint="write it as products of two")
        sizes: dict[str, int] = {}
        labels: list[tuple[str, ...]] = []
        for term, shape in zip(terms, shapes, strict=True):
            spread = tuple(f"...{axis}" for axis in range(len(shape) - len(term.replace("...", "")), 0, -1))
            before, dots, after = term.partition("...")
            axes = (*before, *(spread if dots else ()), *after)
            if len(axes) != len(shape):
                message = f"the einsum `{equation}` over {shapes[0]} and {shapes[1]}"
                raise WorkloadError(message, hint="an operand needs one letter for each axis")
            for label, size in zip(axes, shape, strict=True):
                if 1 not in (size, sizes.get(label, size)) and sizes.get(label, size) != size:
                    message = f"the einsum `{equation}` over {shapes[0]} and {shapes[1]}"
                    raise WorkloadError(message, hint=f"`{label}` has two different sizes")
                sizes[label] = max(size, sizes.get(label, 1))
            labels.append(axes)
        letters = [label for term in labels for label in term]
        output = right
        if not arrow:
            output = "..." + "".join(sorted(label for label in set(letters) if letters.count(label) == 1))
        before, dots, after = output.partition("...")
        spread = tuple(sorted((label for label in sizes if label.startswith("...")), reverse=True)) if dots else ()
        kept = [
            tuple(label for label, size in zip(term, shape, strict=True) if size == sizes[label])
            for term, shape in zip(labels, shapes, strict=True)
        ]
        return cls(
            inputs=operands[0],
            weights=operands[1],
            inputs_labels=kept[0],
            weights_labels=kept[1],
            output_labels=tuple(label for label in (*before, *spread, *after) if label in sizes),
            sizes=sizes,
        )

    def swapped(self) -> Einsum:
        """The same product with its operands in each other's place."""
        return Einsum(
            inputs=self.weights,
            weights=self.inputs,
            inputs_labels=self.weights_labels,
            weights_labels=self.inputs_labels,
            output_labels=self.output_labels,
            sizes=self.sizes,
        )

    def parts(self, name: str) -> tuple[Part, ...]:
        """Its one layer. Raises WorkloadError for a label that is summed within one operand, or that stands twice."""
        first, second, result = set(self.inputs_labels), set(self.weights_labels), set(self.output_labels)
        repeated = len(first) < len(self.inputs_labels) or len(second) < len(self.weights_labels)
        alone = {label for label in (first ^ second) - result if self.sizes[label] > 1}
        if repeated or alone or not result <= first | second:
            message = f"layer {name}: an einsum that takes a diagonal or sums an axis of one operand alone"
            raise WorkloadError(message, hint="take the diagonal or the sum before the einsum")

        def size(labels: set[str]) -> int:
            return math.prod(self.sizes[label] for label in labels)

        groups = size(first & second & result)
        workload = conv_workload(
            name,
            inputs=size((first & second) - result) * groups,
            outputs=size((second - first) & result) * groups,
            output_size=(1, 1),
            kernel=(1, 1),
            groups=groups,
            batch=size((first - second) & result),
        )
        return (Part(suffix="", workload=workload, weights_elements=size(second)),)


def matmul(first: str, second: str, first_shape: Sequence[int], second_shape: Sequence[int]) -> Einsum:
    """The product `first @ second` with numpy's broadcasting; shapes with all axes. Raises WorkloadError."""
    if not first_shape or not second_shape or first_shape[-1] != second_shape[-2:][0]:
        message = f"a matrix product of shapes {tuple(first_shape)} and {tuple(second_shape)}"
        raise WorkloadError(
            message, hint="the last axis of the first must be as long as the last but one of the second"
        )
    rows = ("n",) if len(first_shape) > 1 else ()
    columns = ("m",) if len(second_shape) > 1 else ()
    first_batch, second_batch = first_shape[:-2], second_shape[:-2]
    sizes = dict(zip((*rows, "c"), first_shape[-2:], strict=True))
    sizes |= dict(zip(("c", *columns), second_shape[-2:], strict=True))
    axes = max(len(first_batch), len(second_batch))
    first_labels: list[str] = []
    second_labels: list[str] = []
    batch: list[str] = []
    for axis in range(-axes, 0):
        one = first_batch[axis] if -axis <= len(first_batch) else 1
        two = second_batch[axis] if -axis <= len(second_batch) else 1
        if one != two and 1 not in (one, two):
            message = f"a matrix product of shapes {tuple(first_shape)} and {tuple(second_shape)}"
            raise WorkloadError(message, hint="batch axes must be equally long, or 1")
        label = f"b{-axis}"
        sizes[label] = max(one, two)
        batch.append(label)
        if one > 1 or one == two:
            first_labels.append(label)
        if two > 1 or one == two:
            second_labels.append(label)
    return Einsum(
        inputs=first,
        weights=second,
        inputs_labels=(*first_labels, *rows, "c"),
        weights_labels=(*second_labels, "c", *columns),
        output_labels=(*batch, *rows, *columns),
        sizes=sizes,
    )


Product = Convolution | Einsum
