"""How each operator of a traced model acts on stored tensors; names only, no framework is imported here.

There is a vocabulary for each kind of graph. In torch.fx an operator is known by the class name of its module (`ReLU6`)
or by the name of its function or method without the in-place underscore (`relu`). What is absent is unsupported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from quantloom.workload.network import Treatment

__all__ = ["ATEN", "ONNX", "TRACED", "Action", "Vocabulary"]


class Action(Enum):
    """What an operator does with the stored tensors it reads."""

    LAYER = "layers with weights"  # a workload; its result is a new edge
    FUSE = "fused into their producer"  # element by element: the stored value moves behind it
    VIEW = "free of cost"  # the same elements: the edge stays as it is
    SELECT = "picking elements"  # picks or copies elements: a new edge in the same bit group
    JOIN = "joining activations"  # a new edge in one bit group with all its operands
    COMPUTE = "computed between layers"  # new values: a new edge with a bit group of its own


_NAMES: Mapping[Action, str] = {
    Action.LAYER: "Conv1d Conv2d Linear conv1d conv2d linear",
    Action.FUSE: (
        "BatchNorm1d BatchNorm2d BatchNorm3d CELU ELU GELU Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid Mish"
        " PReLU RReLU ReLU ReLU6 SELU Sigmoid SiLU Softplus Softsign Tanh Threshold"
        " abs add batch_norm celu clamp clip div elu exp gelu hardsigmoid hardswish hardtanh leaky_relu log maximum"
        " minimum mish mul neg pow prelu relu relu6 rsqrt selu sigmoid silu softplus softsign sqrt square sub tanh"
        " truediv"
    ),
    Action.VIEW: (
        "AlphaDropout ChannelShuffle ConstantPad1d ConstantPad2d Dropout Dropout1d Dropout2d Flatten Identity"
        " PixelShuffle PixelUnshuffle Unflatten ZeroPad1d ZeroPad2d"
        " alpha_dropout channel_shuffle chunk clone contiguous detach dropout dropout1d dropout2d flatten float pad"
        " permute pixel_shuffle pixel_unshuffle reshape split squeeze to transpose unflatten unsqueeze view"
    ),
    Action.SELECT: (
        "AdaptiveMaxPool1d AdaptiveMaxPool2d MaxPool1d MaxPool2d"
        " adaptive_max_pool1d adaptive_max_pool2d amax expand getitem max_pool1d max_pool2d narrow repeat select"
    ),
    Action.JOIN: "cat concat concatenate stack",
    Action.COMPUTE: (
        "AdaptiveAvgPool1d AdaptiveAvgPool2d AvgPool1d AvgPool2d GroupNorm InstanceNorm1d InstanceNorm2d LayerNorm"
        " LocalResponseNorm LogSoftmax Softmax Upsample UpsamplingBilinear2d UpsamplingNearest2d"
        " adaptive_avg_pool1d adaptive_avg_pool2d avg_pool1d avg_pool2d group_norm instance_norm interpolate layer_norm"
        " local_response_norm log_softmax mean softmax sum"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What the operators of one kind of graph do. one: those that read one stored tensor; several: two or more.

    free: those of a result in memory of its own that nevertheless move nothing: a part of what is stored, or a place
    that producers write into. listing: the operators for messages.
    """

    one: Mapping[str, Action]
    several: Mapping[str, Action]
    free: frozenset[str]
    listing: str
    can_share_weights: bool
    shapeless: str = " returns several tensors"

    def treatment(self, operator: str, action: Action) -> Treatment:
        """What an operator is taken to do to memory; of FUSE if it can be fused."""
        if action is Action.FUSE:
            return "fused"
        return "free" if action is Action.VIEW or operator in self.free else "traffic"


def _by_name(names: Mapping[Action, str]) -> dict[str, Action]:
    return {name: action for action, listed in names.items() for name in listed.split()}


def _listing(names: Mapping[Action, str], skipped: frozenset[str] = frozenset()) -> str:
    """Operators by what they do, one line each."""
    return "\n".join(
        f"    {action.value}: {', '.join(name for name in listed.split() if name not in skipped)}"
        for action, listed in names.items()
    )


_MODULES = frozenset(name.lower() for names in _NAMES.values() for name in names.split() if name[0].isupper())
_FUNCTIONS_OF_MODULES = frozenset(
    name
    for names in _NAMES.values()
    for name in names.split()
    if name[0].islower() and name.replace("_", "") in _MODULES
)
_FREE_NAMES = "cat chunk concat concatenate expand getitem narrow select slice split stack"

TRACED = Vocabulary(
    one=_by_name(_NAMES),
    several={
        **dict.fromkeys(("add", "sub", "maximum", "minimum", *_NAMES[Action.JOIN].split()), Action.JOIN),
        **dict.fromkeys(("mul", "div", "truediv"), Action.COMPUTE),
    },
    free=frozenset(_FREE_NAMES.split()),
    listing="modules, and functions of the same meaning,\n" + _listing(_NAMES, _FUNCTIONS_OF_MODULES),
    can_share_weights=False,
)
"""Of torch.fx: what the quantizer of `quantloom search` can compute with."""

_ATEN_NAMES: Mapping[Action, str] = {
    Action.LAYER: (
        "addmm baddbmm bmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution"
        " addmv dot einsum gru gru_cell linear lstm lstm_cell matmul mm mv rnn_relu rnn_relu_cell rnn_tanh"
        " rnn_tanh_cell scaled_dot_product_attention"
    ),
    Action.FUSE: (
        _NAMES[Action.FUSE].partition("Threshold ")[2]
        + " acos addcdiv addcmul asin atan atan2 bitwise_and bitwise_not bitwise_or bitwise_xor ceil clamp_max"
        " clamp_min copy cos cosh eq erf erfc erfinv exp2 expm1 fill floor floor_divide fmod and or xor frac ge gt"
        " hardshrink heaviside index_fill index_put isfinite isinf isnan le lerp log10 log1p log2 log_sigmoid"
        " logical_and logical_not logical_or logical_xor logit lt masked_fill masked_scatter nan_to_num"
        " native_batch_norm ne reciprocal remainder round rsub scatter select_scatter sgn sign sin sinh slice_scatter"
        " softshrink tan threshold tril triu trunc where xlogy zero"
    ),
    Action.VIEW: (
        _NAMES[Action.VIEW].partition("ZeroPad2d ")[2] + " alias constant_pad_nd expand_as flip"
        " lift_fresh_copy movedim native_dropout reflection_pad1d reflection_pad2d replication_pad1d"
        " replication_pad2d reshape_alias reshape_as roll split_with_sizes swapaxes t tensor_split to_copy type_as"
        " unbind unsafe_chunk unsafe_split unsafe_view view_as"
    ),
    Action.SELECT: (
        "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax amin as_strided diagonal expand"
        " diag gather getitem im2col index index_select max max_pool1d max_pool2d max_pool3d median min narrow repeat"
        " repeat_interleave select slice sort take_along_dim tile topk unfold"
    ),
    Action.JOIN: "cat concat concatenate stack",
    Action.COMPUTE: (
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d all any argmax argmin avg_pool1d avg_pool2d"
        " avg_pool3d argsort col2im cummax cumprod cumsum embedding embedding_bag glu grid_sampler grid_sampler_2d"
        " grid_sampler_3d group_norm index_add instance_norm layer_norm linalg_vector_norm local_response_norm"
        " log_softmax logcumsumexp logsumexp mean nansum native_group_norm native_layer_norm norm one_hot prod rms_norm"
        " fused_rms_norm safe_softmax scatter_add scatter_reduce softmax std sum upsample_bicubic2d"
        " upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d"
        " upsample_nearest_exact1d upsample_nearest_exact2d upsample_nearest_exact3d upsample_trilinear3d var"
        " var_mean"
    ),
}
_ATEN_SEVERAL = (
    "and or xor addcdiv addcmul atan2 bitwise_and bitwise_or bitwise_xor copysign div eq floor_divide fmod gather"
    " ge grid_sampler grid_sampler_2d grid_sampler_3d gt hypot index index_put index_select le lerp logical_and"
    " logical_or logical_xor lt masked_fill masked_scatter mul ne pow remainder repeat_interleave scatter"
    " scatter_add take_along_dim truediv where xlogy"
)

ATEN = Vocabulary(
    one=_by_name(_ATEN_NAMES),
    several={
        **dict.fromkeys(_ATEN_NAMES[Action.LAYER].split(), Action.LAYER),
        **dict.fromkeys(["add", "maximum", "minimum", "rsub", "sub"], Action.JOIN),
        **dict.fromkeys([*_NAMES[Action.JOIN].split(), "select_scatter", "slice_scatter"], Action.JOIN),
        **dict.fromkeys(_ATEN_SEVERAL.split(), Action.COMPUTE),
    },
    free=frozenset(f"{_FREE_NAMES} as_strided diagonal unfold".split()),
    listing="\n" + _listing(_ATEN_NAMES),
    can_share_weights=True,
)
"""Of torch.export: ATen operators by their names without leading and trailing underscores."""

_ONNX_NAMES: Mapping[Action, str] = {
    Action.LAYER: (
        "Attention Conv ConvInteger ConvTranspose Einsum GRU Gemm LSTM MatMul MatMulInteger QLinearConv QLinearMatMul"
        " RNN"
    ),
    Action.FUSE: (
        "Abs Acos Acosh Add And Asin Asinh Atan Atanh BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr"
        " BitwiseXor Ceil Celu Clip Cos Cosh DequantizeLinear Div DynamicQuantizeLinear Elu Equal Erf Exp Floor Gelu"
        " Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Min Mish Mod Mul"
        " Neg Not Or PRelu Pow QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign"
        " Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Trilu Where Xor"
    ),
    Action.VIEW: (
        "Cast CastLike DepthToSpace Dropout Flatten Identity Pad Reshape ReverseSequence SpaceToDepth Split Squeeze"
        " Transpose Unsqueeze"
    ),
    Action.SELECT: (
        "CenterCropPad Compress Expand Gather GatherElements GatherND GlobalMaxPool MaxPool ReduceMax ReduceMin"
        " Slice Tile TopK"
    ),
    Action.JOIN: "Concat",
    Action.COMPUTE: (
        "ArgMax ArgMin AveragePool CumSum GlobalAveragePool GlobalLpPool GridSample GroupNormalization Hardmax"
        " InstanceNormalization LRN LayerNormalization LogSoftmax LpNormalization LpPool MeanVarianceNormalization"
        " RMSNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceProd ReduceSum"
        " ReduceSumSquare Resize RotaryEmbedding Softmax Upsample"
    ),
}
_ONNX_SEVERAL = (
    "And BitwiseAnd BitwiseOr BitwiseXor Div Equal Expand Gather GatherElements GatherND Greater GreaterOrEqual"
    " GridSample Less LessOrEqual Mod Mul Or PRelu Pow RotaryEmbedding ScatterElements ScatterND Where Xor"
)

ONNX = Vocabulary(
    one=_by_name(_ONNX_NAMES),
    several={
        **dict.fromkeys(_ONNX_NAMES[Action.LAYER].split(), Action.LAYER),
        **dict.fromkeys(["Add", "Concat", "Max", "Mean", "Min", "Sub", "Sum"], Action.JOIN),
        **dict.fromkeys(_ONNX_SEVERAL.split(), Action.COMPUTE),
    },
    free=frozenset(["CenterCropPad", "Concat", "Expand", "Gather", "Slice"]),
    listing="\n" + _listing(_ONNX_NAMES),
    can_share_weights=True,
    shapeless=" has a result of unknown shape (it depends on values, or on an operator before it)",
)
"""Of ONNX files: the operators of its standard domain."""
