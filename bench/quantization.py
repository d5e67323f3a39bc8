"""What quantization costs beside plain training and inference, on the CPU.

    python bench/quantization.py [--model MODEL] [--batch N] [--repeats N]
    python bench/quantization.py --kernels    # ns an element of quantizing, composed and by torch's kernels

CPU time of one thread; what is compared runs in turn and the least of the repeats is taken. Every case checks first
that what it measures computes the right thing.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from quantloom import zoo
from quantloom.quant.functional import fake_quantize, learned_quantize
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.scheme import Grid, QuantScheme
from quantloom.quant.sensitivity import fisher_table
from quantloom.workload.from_torch import TracedModel, trace
from quantloom.workload.network import BitAssignment, Network

_SENSITIVITY_IMAGES = 128
_MODELS = ("mobilenet_v1:width=0.25,input=28,classes=10,channels=1", "mobilenet_v2:width=0.5,input=32,classes=10")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help=f"default: {' and '.join(_MODELS)}")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--epoch-images", type=int, default=45_000, help="images of the epoch the table is compared with"
    )
    parser.add_argument("--kernels", action="store_true", help="only how long a tensor of activations takes")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.kernels:
        print("\n".join(kernels(args.repeats)))
        return 0
    titles = "QAT step / plain step, per channel", "per tensor", "switch of all bits", "Fisher table / epoch"
    print(f"| model | {' | '.join(titles)} | evaluation / float |")
    print("|---|---|---|---|---|---|")
    for text in args.model or _MODELS:
        print(f"| {text} | {' | '.join(row(text, args))} |")
    return 0


def row(text: str, args: argparse.Namespace) -> list[str]:
    torch.manual_seed(0)
    spec = zoo.parse_model(text)
    module = zoo.build(spec.name, **spec.options).to(memory_format=torch.channels_last)
    images = torch.randn(args.batch, *spec.input_shape).to(memory_format=torch.channels_last)
    labels = torch.randint(int(spec.options["classes"]), (args.batch,))
    for _ in range(3):  # statistics that are not those of initialisation
        module(images)
    traced = trace(module, spec.input_shape)
    four = [quantized(traced, images, per_channel=per_channel) for per_channel in (True, False)]
    check_learning(four[0], images)
    plain_s, *trained_s = least([training_step(net, images, labels) for net in (module, *four)], args.repeats)
    switch_s = switching(traced, images, args.repeats)
    table_s = fisher(traced, images, labels, args.repeats)
    evaluate_s, float_s = evaluation(traced, module, images, args.repeats)
    epoch_s = plain_s * args.epoch_images / args.batch
    return [
        *(f"{seconds / plain_s:.2f}" for seconds in trained_s),
        f"{1e3 * switch_s:.2f} ms",
        f"{100 * table_s / epoch_s:.2f} %",
        f"{evaluate_s / float_s:.2f}",
    ]


def quantized(traced: TracedModel, images: Tensor, *, per_channel: bool = True) -> QuantizedNetwork:
    network = QuantizedNetwork(traced, QuantScheme(bits=(4,), per_channel=per_channel))
    network.calibrate(images)
    network.set_bits(BitAssignment.uniform(network.network, 4))
    network.learn_scales()
    network.use_channels_last()
    return network


def check_learning(network: QuantizedNetwork, images: Tensor) -> None:
    learning = network(images)
    with torch.no_grad():
        assert float((network(images) != learning).float().mean()) < 0.05, "training and inference compute other things"


def training_step(network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None]:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)

    def step() -> None:
        network.train()
        loss = functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def switching(traced: TracedModel, images: Tensor, repeats: int) -> float:
    network = QuantizedNetwork(traced)
    network.calibrate(images[:8])
    draw = random.Random(0)
    assignments = [random_bits(traced.network, draw) for _ in range(2)]
    outputs = []
    for assignment in (*assignments, assignments[0]):
        network.set_bits(assignment)
        with torch.inference_mode():
            outputs.append(network(images[:8]).clone())
    assert torch.equal(outputs[0], outputs[2]), "switching there and back changes the network"
    turn = iter(range(1 << 30))
    return least([lambda: network.set_bits(assignments[next(turn) % 2])], 10 * repeats)[0]


def random_bits(network: Network, draw: random.Random) -> BitAssignment:
    layers, groups = len(network.layers), len(network.edge_groups)
    bits = [draw.choice((2, 3, 4, 5, 6, 7, 8)) for _ in range(layers + groups)]
    return BitAssignment(weights=tuple(bits[:layers]), groups=tuple(bits[layers:]))


def fisher(traced: TracedModel, images: Tensor, labels: Tensor, repeats: int) -> float:
    network = QuantizedNetwork(traced)
    network.calibrate(images)
    network.use_channels_last()
    many = images.repeat(-(-_SENSITIVITY_IMAGES // len(images)), 1, 1, 1)[:_SENSITIVITY_IMAGES]
    many_labels = labels.repeat(-(-_SENSITIVITY_IMAGES // len(labels)))[:_SENSITIVITY_IMAGES]
    table = fisher_table(network, many, many_labels)
    assert (table.weights[:, 0] > table.weights[:, -1]).all(), "fewer bits are not worse"
    return least([lambda: fisher_table(network, many, many_labels) and None], min(3, repeats))[0]


def evaluation(traced: TracedModel, module: nn.Module, images: Tensor, repeats: int) -> list[float]:
    network = QuantizedNetwork(traced)
    network.calibrate(images)
    network.use_channels_last()
    network.set_bits(BitAssignment.uniform(traced.network, 4))
    module.eval()

    def run(net: nn.Module) -> Callable[[], None]:
        def once() -> None:
            with torch.inference_mode():
                net(images)

        return once

    return least([run(network), run(module)], 3 * repeats)


def kernels(repeats: int) -> list[str]:
    """What a tensor of activations takes, 4 bits with one scale: in evaluation, and both ways in training."""
    grid, scale = Grid.affine(4), torch.tensor(0.1, requires_grad=True)
    x = torch.randn(64, 32, 28, 28, requires_grad=True)
    zero = torch.zeros(1)

    def evaluated(quantize: Callable[[], Tensor]) -> Callable[[], None]:
        def once() -> None:
            with torch.inference_mode():
                quantize()

        return once

    def trained(quantize: Callable[[], Tensor]) -> Callable[[], None]:
        gradient = torch.randn_like(x)
        return lambda: torch.autograd.grad(quantize(), (x, scale), gradient) and None

    ways: list[Callable[[], Tensor]] = [
        lambda: fake_quantize(x, scale, grid),
        lambda: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, grid.low, grid.high),
        lambda: learned_quantize(x, scale, grid),
        lambda: torch._fake_quantize_learnable_per_tensor_affine(x, scale.reshape(1), zero, grid.low, grid.high, 1.0),
    ]
    results = [way().detach() for way in ways]
    assert all(torch.equal(result, results[0]) for result in results), "the kernels compute other things"
    seconds = least([*map(evaluated, ways[:2]), *map(trained, ways[2:])], repeats)
    names = "evaluation, composed", "by torch's kernel", "learned, forward and backward, composed", "by torch's kernel"
    return [f"{1e9 * s / x.numel():6.1f} ns an element: {name}" for name, s in zip(names, seconds, strict=True)]


def least(functions: Sequence[Callable[[], None]], repeats: int) -> list[float]:
    """CPU seconds of each function: they run in turn, and the least of the repeats counts."""
    for function in functions:
        function()
    best = [float("inf")] * len(functions)
    for _ in range(repeats):
        for index, function in enumerate(functions):
            began = time.process_time()
            function()
            best[index] = min(best[index], time.process_time() - began)
    return best


if __name__ == "__main__":
    sys.exit(main())
