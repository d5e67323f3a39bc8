"""Workloads of the usual layers: convolution, linear, and any einsum with affine ranks.

Dims of a convolution, always in this order: C, M (input and output channels), R, S (kernel width and height),
N (batch), P, Q (output width and height). A grouped layer has G (groups) in front; its C and M count one group:
a depthwise convolution has G = channels and C = M = 1. P and R belong to the width, Q and S to the height.
A 3-D convolution has T (kernel depth) behind S and O (output depth) behind Q.
Padding is not part of a workload: the output size is given, and the Inputs tensor is what the windows touch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from quantloom._core import TensorSpec, Workload
from quantloom.errors import WorkloadError

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "WEIGHTS",
    "conv3d_workload",
    "conv_workload",
    "einsum_workload",
    "linear_workload",
]

WEIGHTS, INPUTS, OUTPUTS = "Weights", "Inputs", "Outputs"

_TERM = re.compile(r"\s*(?:(?P<coefficient>\d+)\s*\*\s*)?(?P<dim>[A-Za-z_]\w*)\s*")


def conv_workload(
    name: str,
    *,
    inputs: int,
    outputs: int,
    output_size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
    batch: int = 1,
) -> Workload:
    """The workload of a 2-D convolution; all pairs are (height, width), all channel counts those of the whole layer.

    Ranks: Weights [G?][C][M][R][S]; Inputs [N][G?][C][dilation*R + stride*P][dilation*S + stride*Q];
    Outputs [N][G?][M][Q][P]; the rank and the dim G exist only if groups > 1.
    Raises WorkloadError if a number is below 1 or the groups do not divide the channels.
    """
    pairs = {"output_size": output_size, "kernel": kernel, "stride": stride, "dilation": dilation}
    for what, pair in pairs.items():
        _check_pair(name, what, pair)
    counts = {"inputs": inputs, "outputs": outputs, "groups": groups, "batch": batch}
    axes = {f"{what} {axis}": pair[i] for what, pair in pairs.items() for i, axis in enumerate(("height", "width"))}
    for what, value in (counts | axes).items():
        _check_positive(name, what, value)
    if inputs % groups or outputs % groups:
        message = f"layer {name}: {groups} groups do not divide {inputs} input and {outputs} output channels"
        raise WorkloadError(message, hint="both channel counts must be multiples of the number of groups")
    group = ["G"] if groups > 1 else []
    dims = {
        **dict.fromkeys(group, groups),
        **{"C": inputs // groups, "M": outputs // groups, "R": kernel[1], "S": kernel[0]},
        **{"N": batch, "P": output_size[1], "Q": output_size[0]},
    }
    columns, rows = f"{dilation[1]}*R + {stride[1]}*P", f"{dilation[0]}*S + {stride[0]}*Q"
    ranks = {
        WEIGHTS: [*group, "C", "M", "R", "S"],
        INPUTS: ["N", *group, "C", columns, rows],
        OUTPUTS: ["N", *group, "M", "Q", "P"],
    }
    return einsum_workload(name, dims, ranks, output=OUTPUTS)


def conv3d_workload(
    name: str,
    *,
    inputs: int,
    outputs: int,
    output_size: tuple[int, int, int],
    kernel: tuple[int, int, int],
    stride: tuple[int, int, int] = (1, 1, 1),
    dilation: tuple[int, int, int] = (1, 1, 1),
    groups: int = 1,
    batch: int = 1,
) -> Workload:
    """The workload of a 3-D convolution: conv_workload() with depth, and triples (depth, height, width).

    Of kernel depth and output depth 1 it is the 2-D one. Raises WorkloadError as conv_workload().
    """
    flat = conv_workload(
        name,
        inputs=inputs,
        outputs=outputs,
        output_size=output_size[1:],
        kernel=kernel[1:],
        stride=stride[1:],
        dilation=dilation[1:],
        groups=groups,
        batch=batch,
    )
    for what, value in (("output", output_size), ("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        _check_positive(name, f"{what} depth", value[0])
    if kernel[0] == output_size[0] == 1:
        return flat
    dims = {**{d: flat.dims[d] for d in flat.dims if d not in "NPQ"}, "T": kernel[0]}
    dims |= {**{d: flat.dims[d] for d in "NPQ"}, "O": output_size[0]}
    group = ["G"] if groups > 1 else []
    columns, rows = f"{dilation[2]}*R + {stride[2]}*P", f"{dilation[1]}*S + {stride[1]}*Q"
    ranks = {
        WEIGHTS: [*group, "C", "M", "R", "S", "T"],
        INPUTS: ["N", *group, "C", columns, rows, f"{dilation[0]}*T + {stride[0]}*O"],
        OUTPUTS: ["N", *group, "M", "Q", "P", "O"],
    }
    return einsum_workload(name, dims, ranks, output=OUTPUTS)


def linear_workload(name: str, *, inputs: int, outputs: int, batch: int = 1) -> Workload:
    """A linear layer (matrix product) as a 1x1 convolution on one pixel: C = inputs, M = outputs, N = batch.

    Raises WorkloadError if a number is below 1.
    """
    return conv_workload(name, inputs=inputs, outputs=outputs, output_size=(1, 1), kernel=(1, 1), batch=batch)


def einsum_workload(
    name: str, dims: Mapping[str, int], tensors: Mapping[str, Sequence[str]], *, output: str
) -> Workload:
    """A workload from dims with their bounds and, for each tensor, its ranks as sums of dims like "2*P + R".

    output: the name of the tensor that is written. Example, a batched matrix product:
    einsum_workload("qk", {"B": 8, "I": 64, "J": 64, "K": 32}, {"Weights": ["B", "K", "J"], "Inputs": ["B", "I", "K"],
    "Outputs": ["B", "I", "J"]}, output="Outputs"). Raises WorkloadError naming the rank, dim or tensor that is wrong.
    """
    for dim, bound in dims.items():
        _check_positive(name, f"dim {dim}", bound)
    if output not in tensors:
        message = f"layer {name}: the output tensor `{output}` is not among {', '.join(tensors)}"
        raise WorkloadError(message, hint="name one of the tensors as output")
    specs = [
        TensorSpec(tensor, [_parse_rank(name, tensor, rank, dims) for rank in ranks], tensor == output)
        for tensor, ranks in tensors.items()
    ]
    return Workload(name, list(dims.items()), specs)


def _parse_rank(name: str, tensor: str, rank: str, dims: Mapping[str, int]) -> list[tuple[str, int]]:
    terms = []
    for text in rank.split("+"):
        match = _TERM.fullmatch(text)
        if match is None:
            message = f"layer {name}: tensor {tensor}: rank `{rank}`: cannot read the term `{text.strip()}`"
            raise WorkloadError(message, hint="a rank is a sum of dims with whole factors, like `2*P + R`")
        if match["dim"] not in dims:
            message = f"layer {name}: tensor {tensor}: rank `{rank}`: unknown dim `{match['dim']}`"
            raise WorkloadError(message, hint=f"dims are {', '.join(dims)}")
        terms.append((match["dim"], int(match["coefficient"] or 1)))
    return terms


def _check_pair(name: str, what: str, pair: object) -> None:
    if not isinstance(pair, tuple) or len(pair) != 2:
        message = f"layer {name}: {what} must be a pair (height, width), got {pair!r}"
        raise WorkloadError(message, hint="a 1-D convolution has height 1")


def _check_positive(name: str, what: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        message = f"layer {name}: {what} must be a whole number from 1, got {value!r}"
        raise WorkloadError(message, hint="sizes, strides, dilations and groups count from 1")
