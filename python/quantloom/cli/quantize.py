"""`quantloom quantize`: train a network for one assignment of bits, measure it, and write it to files."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantloom.cli.output import Column, TextTable, bold, print_json, print_lines
from quantloom.cli.parsing import BITS_HELP, Parser, Subparsers, add_threads, choice, count_from
from quantloom.cli.progress import Progress
from quantloom.cli.saved import check_writable
from quantloom.errors import QuantloomError

if TYPE_CHECKING:
    from quantloom.quant.data import DataSplits
    from quantloom.quant.job import JobResult, JobSettings
    from quantloom.workload.from_torch import TracedModel
    from quantloom.workload.network import BitAssignment

__all__ = ["add_parser"]

_RUNS: Final = Path("runs")
_MODEL_HELP: Final = "a model of the zoo (mobilenet_v1:width=0.25,input=32), or package.module:function"
# Options that become settings of the job under the same name.
_SETTINGS: Final = (
    *("checkpoint", "epochs", "float_epochs", "batch", "learning_rate", "float_learning_rate", "distillation"),
    *("label_smoothing", "ema_decay", "crop", "resized_crop", "seed", "device", "amp", "activations"),
)


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "quantize",
        help="train a network for one assignment of bits and export it",
        description="Train a network for the bits of one assignment (quantization-aware training with learned scales), "
        "measure its accuracy on test images that no decision saw, and write weights, bits, an ONNX file in QDQ form "
        "and a manifest to a directory. Interrupted at any moment, --resume goes on to the same result.",
        epilog="example:\n  quantloom quantize mobilenet_v1:width=0.25,input=28,classes=10,channels=1 --bits a4w3 "
        "--data demo --checkpoint demo --epochs 1 -o my-quantized",
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help=_MODEL_HELP)
    parser.add_argument("--bits", metavar="BITS", help=BITS_HELP)
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="demo, fashion_mnist[:DIR], cifar10:DIR, folder:DIR, or package.module:function (see docs/accuracy.md)",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="weights of the float network: a state dict, zoo:NAME, or demo"
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="where to write (default: runs/quantize-1, -2, ...)")
    parser.add_argument("--resume", metavar="DIR", help="go on with an interrupted job; give nothing else")
    _add_training(parser)
    add_threads(parser)
    parser.set_defaults(run=run)
    return parser


def _add_training(parser: Parser) -> None:
    whole, share, part, rate = count_from(0), _number(0, 1), _number(0.01, 1), _number(1e-9, 1e3)
    for name, kind, text in (
        ("--epochs", whole, "epochs of training with these bits; 0 only rounds the weights with care (default: 2)"),
        ("--float-epochs", whole, "first train the float network, from scratch or a checkpoint (default: 0)"),
        ("--batch", count_from(2), "images in a step (default: 128)"),
        ("--learning-rate", rate, "its peak, with these bits (default: 0.04)"),
        ("--float-learning-rate", rate, "its peak, in float (default: 0.2)"),
        ("--distillation", share, "weight of the float network's answers beside the labels (default: 0.5)"),
        ("--label-smoothing", share, "share of each label that all classes get (default: 0)"),
        ("--ema-decay", share, "keep a moving average of the weights (default: 0, the last ones)"),
        ("--crop", whole, "shift training images by up to N pixels (default: 0)"),
        ("--resized-crop", part, "cut out parts of at least this share of images (default: 1, none)"),
        ("--seed", whole, "seed of all random choices (default: 0)"),
    ):
        parser.add_argument(name, metavar="X" if kind in (share, part, rate) else "N", type=kind, help=text)
    parser.add_argument("--no-flip", action="store_true", help="do not mirror training images")
    parser.add_argument("--device", metavar="auto|cpu|cuda[:N]", help="where to train (default: auto)")
    precisions = ("off", "bfloat16", "float16")
    parser.add_argument(
        "--amp",
        metavar="|".join(precisions),
        type=choice("precision", precisions),
        help="half precision of layers in training (default: off)",
    )
    parser.add_argument("--safetensors", action="store_true", help="write the weights as weights.safetensors")
    parser.add_argument("--per-tensor", action="store_true", help="one scale for all output channels of a layer")
    kinds = ("affine", "symmetric")
    parser.add_argument(
        "--activations",
        metavar="|".join(kinds),
        type=choice("kind of activations", kinds),
        help="grids of activations of both signs (default: affine)",
    )


def run(args: argparse.Namespace) -> None:
    """Train, measure, write and print."""
    directory = _choose_directory(args)
    from quantloom.assemble.network_and_data import load_network_and_data

    if args.resume is not None:
        from quantloom.quant.job import BITS, read_settings

        settings, bits = read_settings(directory), str(directory / BITS)
    else:
        settings, bits = _read_settings(args), args.bits
    with Progress() as progress:
        traced, data = load_network_and_data(
            settings.model,
            checkpoint=settings.checkpoint,
            data=settings.data,
            threads=args.threads,
            untrained=settings.float_epochs > 0,
            seed=settings.seed,
            progress=progress,
        )
    assignment = _read_bits(bits, traced)
    from quantloom.quant.job import run_job

    if args.resume is None:
        _start(directory, settings, traced, data, assignment, args)
    with Progress() as progress:
        try:
            result = run_job(directory, settings, traced, data, assignment, progress=progress)
        except (KeyboardInterrupt, QuantloomError):
            progress.clear()
            progress.note(f"what is done is kept; go on with `quantloom quantize --resume {directory}`")
            raise
    _print(args, directory, settings, traced, data, result)


def _choose_directory(args: argparse.Namespace) -> Path:
    if args.resume is not None:
        given = [name for name in ("model", "bits", "data", "output", *_SETTINGS) if getattr(args, name) is not None]
        if given or args.no_flip or args.per_tensor or args.safetensors:
            args.parser.error("--resume goes on with the settings and in the directory of the job; give nothing else")
        return Path(args.resume)
    missing = [name for name in ("model", "bits", "data") if getattr(args, name) is None]
    if missing:
        named = ", ".join(name.upper() if name == "model" else f"--{name}" for name in missing)
        args.parser.error(f"the following arguments are required: {named} (or --resume DIR)")
    if args.output is not None:
        directory = Path(args.output)
        # not bits.yaml: a job killed before its manifest was there left it, and start_job() compares it
        for name in ("manifest.json", "weights.pt", "weights.safetensors", "model.onnx", "float.pt"):
            check_writable(directory / name, hint="choose another directory, or go on with --resume DIR")
        return directory
    number = 1
    while (_RUNS / f"quantize-{number}").exists():
        number += 1
    directory = _RUNS / f"quantize-{number}"
    check_writable(directory / "manifest.json")
    return directory


def _read_settings(args: argparse.Namespace) -> JobSettings:
    from quantloom.quant.job import JobSettings

    given = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    return JobSettings(
        model=args.model,
        data=args.data,
        flip=not args.no_flip,
        per_channel=not args.per_tensor,
        safetensors=args.safetensors,
        **given,
    )


def _read_bits(text: str, traced: TracedModel) -> BitAssignment:
    from quantloom.spec.bits import load_bits

    return load_bits(text).for_network(traced.network)


def _start(
    directory: Path,
    settings: JobSettings,
    traced: TracedModel,
    data: DataSplits,
    assignment: BitAssignment,
    args: argparse.Namespace,
) -> None:
    """Make the directory, once it is known that the parts fit each other."""
    from quantloom.quant.job import start_job
    from quantloom.quant.ptq import check_fit
    from quantloom.quant.qat import check_widths
    from quantloom.quant.train import find_device
    from quantloom.spec.bits import dump_bits

    find_device(settings.device)
    check_fit(traced, data)
    check_widths(traced.network, assignment)
    start_job(directory, settings, dump_bits(assignment, traced.network), ["quantloom", *args.arguments])


def _print(
    args: argparse.Namespace,
    directory: Path,
    settings: JobSettings,
    traced: TracedModel,
    data: DataSplits,
    result: JobResult,
) -> None:
    if args.json:
        body = {"model": traced.network.name, "data": data.description, "directory": str(directory)}
        print_json("quantize", {**body, **asdict(result)})
        return
    table = TextTable(columns=[Column(title=""), *(Column(title=t, align="right") for t in ("validation %", "test %"))])
    epochs = f"{settings.epochs} epoch{'s' if settings.epochs != 1 else ''}"
    made = f"trained with these bits, {epochs}" if settings.epochs else "rounded for the layers, if better"
    for name, validation, test in (
        ("float", result.float_validation, result.float_test),
        ("quantized, statistics anew", result.ptq_validation, result.ptq_test),
        (made, result.validation, result.test),
    ):
        table.add(name, f"{100 * validation:.2f}", f"{100 * test:.2f}")
    lines = [bold(traced.network.name), f"data: {data.description}", "", *table.lines(), ""]
    if result.onnx_top1 is not None:
        lines.append(
            f"onnxruntime: same answer on {100 * result.onnx_top1:.2f} % of {result.test_images:,} test images"
        )
    if result.integer_top1 is not None:
        lines.append(
            f"integers: same answer on {100 * result.integer_top1:.2f} % of {result.integer_images} test images"
        )
    from quantloom.quant.job import JOB_FILES

    files = ", ".join(name for name in JOB_FILES if (directory / name).exists())
    print_lines([*lines, *(f"note: {note}" for note in result.notes), f"written to {directory}: {files}"])


def _number(low: float, high: float) -> Callable[[str], float]:
    """A converter for argparse that takes a number of a range."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            message = f"expected a number in {low:g}..{high:g}, got `{text}`"
            raise argparse.ArgumentTypeError(message)
        return value

    return convert
