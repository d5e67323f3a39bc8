"""Train a network on CIFAR-10, then anew for each of nine assignments of bits, and print all test accuracies.

    quantloom fetch cifar10 -o cifar10
    python bench/cifar10.py --data cifar10:cifar10 -o DIR [--seeds N] [--float-epochs N] [--epochs N]

The assignments are uniform 8, 6, 5, 4, 3 and 2 bits, and three mixed ones that need as much memory as uniform 5, 4 and
3 bits, chosen by the Fisher table. Image and logits have 8 bits in all. Interrupted at any moment, the same command
goes on; with a larger --seeds it trains what is missing. The test split is looked at after everything is trained.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from quantloom.assemble.network_and_data import load_network_and_data
from quantloom.cli.progress import Progress
from quantloom.errors import QuantError, QuantloomError
from quantloom.quant.checkpoint import load_checkpoint, save_checkpoint
from quantloom.quant.data import DataSplits, length_of, spread_images, spread_subset
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.ptq import accuracy_of
from quantloom.quant.qat import QAT_DEFAULTS, quantize_for, train_bits
from quantloom.quant.sensitivity import FisherTable, fisher_table
from quantloom.quant.train import TrainConfig, train_float
from quantloom.quant.training_state import StateFile
from quantloom.workload.from_torch import TracedModel
from quantloom.workload.network import BitAssignment, Network

UNIFORM = (8, 6, 5, 4, 3, 2)
MIXED = (5, 4, 3)
_END_BITS = 8  # of the image and the logits, as the search has it
_SENSITIVITY_IMAGES = 256
_STATISTICS_IMAGES = 2048
_FLOAT_ON = "float trained on"


@dataclass(frozen=True)
class Run:
    """One training. assignment: None trains the float network on, for as long."""

    name: str
    assignment: BitAssignment | None
    seed: int

    @property
    def stem(self) -> str:
        return f"{self.name.replace(' ', '-')}-seed{self.seed}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilenet_v1:width=0.25,input=32,classes=10")
    parser.add_argument("--data", required=True, help="cifar10:DIR")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--checkpoint", help="trained float weights (default: trained here)")
    parser.add_argument("--float-epochs", type=int, default=10)
    parser.add_argument(
        "--epochs", type=int, default=1, help="with the bits of each assignment, from the float weights"
    )
    parser.add_argument("--learning-rate", type=float, default=0.01, help="its peak, with bits; with many epochs 0.04")
    parser.add_argument("--images", type=int, help="train images of such an epoch (default: all)")
    parser.add_argument("--rows", help="only these, separated by commas: uniform 4,mixed 4 (default: all)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each assignment")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    try:
        print("\n".join(run(args)))
    except QuantloomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def run(args: argparse.Namespace) -> list[str]:
    keep_settings(args)
    traced, data = load_network_and_data(
        args.model, checkpoint=args.checkpoint, data=args.data, threads=args.threads, untrained=True
    )
    with Progress() as progress:
        if args.checkpoint is None:
            train_float_network(args, traced, data, progress)
        rows = assignments(traced, data)
        names: list[tuple[str, BitAssignment | None]] = [*rows.items(), (_FLOAT_ON, None)]
        if args.rows is not None:
            names = [(name, dict(names)[name]) for name in chosen_rows(args.rows, [name for name, _ in names])]
        runs = [Run(name, assignment, seed) for seed in range(args.seeds) for name, assignment in names]
        for number, item in enumerate(runs):
            train_one(args, traced, data, item, progress.part(number, len(runs), f"{item.stem},", "begins"))
        return report(args, traced, data, runs)


def chosen_rows(text: str, known: Sequence[str]) -> list[str]:
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in known:
            message = f"--rows: unknown row `{name}`"
            raise QuantError(message, hint=f"the rows are {', '.join(known)}")
    return chosen


def keep_settings(args: argparse.Namespace) -> None:
    """Trained files do not say how they were trained: a directory is for one way only."""
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "settings.json"
    given = {
        key: getattr(args, key)
        for key in ("model", "data", "checkpoint", "float_epochs", "epochs", "learning_rate", "images")
    }
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != given:
        message = f"{path}: was written by a run with other settings"
        raise QuantError(message, hint="give the settings of that run, or another directory")
    path.write_text(json.dumps(given) + "\n", encoding="utf-8")


# ---- training --------------------------------------------------------------------------------------------------------


def train_float_network(args: argparse.Namespace, traced: TracedModel, data: DataSplits, progress: Progress) -> None:
    path = args.output / "float.pt"
    if not path.exists():
        config = TrainConfig(epochs=args.float_epochs, batch=128, learning_rate=0.2, weight_decay=2e-4, crop=2)
        state = StateFile(args.output / "float.state")
        report = progress.part(0, 1, "float,", "begins")
        train_float(traced.graph_module, data.train, config, state=state, progress=report)
        save_checkpoint(path, traced.graph_module)
        state.path.unlink(missing_ok=True)
    load_checkpoint(path, traced.graph_module)


def train_one(
    args: argparse.Namespace,
    traced: TracedModel,
    data: DataSplits,
    item: Run,
    progress: Callable[[int, int, str], None],
) -> None:
    path = args.output / f"{item.stem}.pt"
    if path.exists():
        return
    images = spread_subset(data.train, args.images)
    config = TrainConfig(
        **{**QAT_DEFAULTS, "epochs": args.epochs, "learning_rate": args.learning_rate, "crop": 2, "seed": item.seed}
    )
    state = StateFile(args.output / f"{item.stem}.state")
    network = network_of(traced, data, item)
    if isinstance(network, QuantizedNetwork):
        train_bits(network, images, config, state=state, progress=progress)
    else:
        train_float(network, images, replace(config, distillation=0.0), state=state, progress=progress)
    save_checkpoint(path, network)
    state.path.unlink(missing_ok=True)


def network_of(traced: TracedModel, data: DataSplits, item: Run) -> nn.Module:
    """The float weights, ready to be trained as the run says."""
    if item.assignment is None:
        return QuantizedNetwork(traced).graph_module  # a copy, which computes in float
    network = quantize_for(traced, data.train, [item.assignment])
    network.use_channels_last()
    return network


# ---- assignments -----------------------------------------------------------------------------------------------------


def assignments(traced: TracedModel, data: DataSplits) -> dict[str, BitAssignment]:
    network = QuantizedNetwork(traced)
    images, labels = spread_images(data.train, _SENSITIVITY_IMAGES)
    network.calibrate(images)
    table = fisher_table(network, images, labels)
    rows = {f"uniform {bits}": uniform(traced.network, bits) for bits in UNIFORM}
    return rows | {f"mixed {bits}": mixed(traced.network, table, bits) for bits in MIXED}


def uniform(network: Network, bits: int) -> BitAssignment:
    whole = BitAssignment.uniform(network, bits)
    return replace(
        whole, groups=tuple(_END_BITS if group in ends(network) else bits for group in range(len(whole.groups)))
    )


def ends(network: Network) -> set[int]:
    return {network.edges[0].group, network.edges[-1].group}


def mixed(network: Network, table: FisherTable, mean_bits: int) -> BitAssignment:
    """From 8 bits down, always where the predicted loss rises least for each bit of memory saved, until the weights,
    and likewise the activations, need no more memory than at uniform bits."""
    weight_sizes = [layer.weights_elements for layer in network.layers]
    group_sizes = [sum(network.edges[i].elements for i in members) for members in network.edge_groups]
    weights = lower(table.bits, table.weights, weight_sizes, mean_bits, fixed=set())
    groups = lower(table.bits, table.groups, group_sizes, mean_bits, fixed=ends(network))
    return BitAssignment(weights=weights, groups=groups)


def lower(widths: Sequence[int], rises, sizes: Sequence[int], mean_bits: int, fixed: set[int]) -> tuple[int, ...]:
    known = [bits for bits in widths if bits <= 8]
    chosen = [len(known) - 1] * len(sizes)
    free = [i for i in range(len(sizes)) if i not in fixed]
    budget = mean_bits * sum(sizes[i] for i in free)

    def price(i: int) -> float:
        saved = (known[chosen[i]] - known[chosen[i] - 1]) * sizes[i]
        return (rises[i][chosen[i] - 1] - rises[i][chosen[i]]) / saved

    while sum(known[chosen[i]] * sizes[i] for i in free) > budget:
        cheapest = min((i for i in free if chosen[i] > 0), key=price)
        chosen[cheapest] -= 1
    return tuple(known[column] for column in chosen)


# ---- the table -------------------------------------------------------------------------------------------------------


def report(args: argparse.Namespace, traced: TracedModel, data: DataSplits, runs: Sequence[Run]) -> list[str]:
    images, labels = spread_images(data.test)

    def accuracy(network: nn.Module) -> float:
        network.eval()
        return accuracy_of(network, images, labels, batch=250)

    whole = accuracy(QuantizedNetwork(traced))
    before: dict[str, float] = {}
    trained: dict[str, list[float]] = {}
    for item in runs:
        network = network_of(traced, data, item)
        if isinstance(network, QuantizedNetwork) and item.name not in before:
            network.reestimate(spread_images(data.train, min(_STATISTICS_IMAGES, length_of(data.train)))[0])
            before[item.name] = accuracy(network)
        load_checkpoint(args.output / f"{item.stem}.pt", network)
        if isinstance(network, QuantizedNetwork):
            network.set_bits(item.assignment)
        trained.setdefault(item.name, []).append(accuracy(network))
    found = {"test_images": len(labels), "float": whole, "quantized": before, "trained": trained}
    (args.output / "results.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    bits = {item.name: mean_bits(traced.network, item.assignment) for item in runs if item.assignment is not None}
    lines = [
        f"float: {100 * whole:.2f} % of {len(labels):,} test images",
        "",
        "| | bits of weights | of activations | quantized, test % | trained, test % | each seed | below float |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, values in trained.items():
        mean = 100 * statistics.fmean(values)
        each = ", ".join(f"{100 * value:.2f}" for value in values)
        quantized = f"{100 * before[name]:.2f}" if name in before else ""
        cells = [name, *bits.get(name, ("", "")), quantized, f"{mean:.2f}", each, f"{100 * whole - mean:+.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def mean_bits(network: Network, assignment: BitAssignment) -> tuple[str, str]:
    """Of an element of the weights, and of the activations without image and logits."""
    sizes = [layer.weights_elements for layer in network.layers]
    weights = sum(size * bits for size, bits in zip(sizes, assignment.weights, strict=True)) / sum(sizes)
    inner = [edge for edge in network.edges if edge.group not in ends(network)]
    activations = sum(edge.elements * assignment.groups[edge.group] for edge in inner) / sum(e.elements for e in inner)
    return f"{weights:.2f}", f"{activations:.2f}"


if __name__ == "__main__":
    sys.exit(main())
