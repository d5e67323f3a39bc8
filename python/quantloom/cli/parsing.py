"""The argument parser with hints for misspelt words, and the arguments that several commands share."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias, TypedDict

from quantloom import _core
from quantloom.errors import SpecError

__all__ = [
    "BITS_HELP",
    "SELECTIONS",
    "CostOptions",
    "Parser",
    "Subparsers",
    "add_arch",
    "add_bits",
    "add_budget",
    "add_common_options",
    "add_cost_model",
    "add_fixed",
    "add_layer",
    "add_model",
    "add_objective",
    "add_space",
    "add_store",
    "add_table_output",
    "add_threads",
    "bits_list",
    "choice",
    "closest",
    "cost_options",
    "count_from",
    "default_cost_model",
]

Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"


SELECTIONS: Final = {"arch": "all", "free": "free"}


class CostOptions(TypedDict):
    """Keywords of the functions that price mappings."""

    model: str
    packing: str
    psum_bits: int


MODEL_HELP = (
    "a model of the zoo (mobilenet_v1, mobilenet_v2:width=0.5,input=96), package.module:function returning a"
    " torch.nn.Module, a model.onnx (model.onnx:batch=1,shape=3x224x224), a model.tflite, or a network.yaml"
)
BITS_HELP = "8 (all tensors), a8w4 (activations 8, weights 4), a8w4o6 (outputs 6), or a YAML file"


class _HelpFormatter(argparse.HelpFormatter):
    """Fits descriptions to the terminal and leaves examples, the texts of several lines, as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """An argument parser that takes whole option names only and says which one a misspelt one may mean."""

    def __init__(self, **options: Any) -> None:  # Any: the options of argparse
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", _HelpFormatter)
        super().__init__(**options)
        self._seen: Sequence[str] = ()

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments; exits with code 2 and a message if they are wrong."""
        self._seen = arguments
        args: argparse.Namespace
        args, rest = self.parse_known_args(arguments)
        if rest:
            args.parser.error(f"unexpected argument {', '.join(f'`{word}`' for word in rest)}")
        return args

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # Any: argparse's overloads
        """As argparse; remembers the arguments, which error() looks at."""
        self._seen = tuple(args or ())
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and, for each unknown option, the nearest known one; exit with code 2."""
        known = [option for action in self._actions for option in action.option_strings]
        names = {option.lstrip("-"): option for option in known}  # all options have dashes: they make none alike
        hints = [
            f"\n  hint: unknown option `{word}`{closest(word.lstrip('-'), names, names)}"
            for word in (word.partition("=")[0] for word in self._seen)
            if word.startswith("--") and word != "--" and word not in known
        ]
        self.exit(2, f"{self.format_usage()}{self.prog}: error: {message}{''.join(hints)}\n")


def closest(word: str, known: Iterable[str], shown: Mapping[str, str] | None = None) -> str:
    """`, did you mean `x`?`, or nothing if no known word is near. shown: what to say for a known word."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean `{near[0] if shown is None else shown[near[0]]}`?" if near else ""


def choice(what: str, known: Sequence[str]) -> Callable[[str], str]:
    """A converter for argparse that takes one of the known words."""

    def convert(text: str) -> str:
        if text in known:
            return text
        message = f"unknown {what} `{text}`{closest(text, known)} (known: {', '.join(known)})"
        raise argparse.ArgumentTypeError(message)

    return convert


def count_from(least: int) -> Callable[[str], int]:
    """A converter for argparse that takes a whole number from `least`."""

    def convert(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text) >= least):
            message = f"expected a whole number from {least}, got `{text}`"
            raise argparse.ArgumentTypeError(message)
        return int(text)

    return convert


def bits_list(text: str) -> tuple[int, ...]:
    """A converter for argparse that takes widths such as 2,4,8; what they may be is for the reader to judge."""
    read = count_from(1)
    return tuple(sorted({read(part.strip()) for part in text.split(",")}))


def add_common_options(parser: Parser) -> None:
    """What every command has: --json and --debug. A command of commands passes them on to its own."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in nested:
        for child in action.choices.values():
            add_common_options(child)
    if not nested:
        parser.add_argument("--json", action="store_true", help="print JSON (with schema_version; units in the keys)")
        parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        parser.set_defaults(parser=parser)


def add_model(parser: Parser) -> None:
    """The positional MODEL."""
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)


def add_arch(parser: Parser) -> None:
    """The required --arch."""
    parser.add_argument("--arch", metavar="ARCH", required=True, help="an accelerator by name (eyeriss) or a YAML file")


def add_bits(parser: Parser, *, default: str | None = None, required: bool = False) -> None:
    """--bits, with a default or required or neither."""
    note = f" (default: {default})" if default else ""
    parser.add_argument("--bits", metavar="BITS", default=default, required=required, help=BITS_HELP + note)


def add_layer(parser: Parser, *, required: bool = False) -> None:
    """--layer, one layer of a model."""
    note = "the layer" if required else "only this layer"
    parser.add_argument("--layer", metavar="L", required=required, help=f"{note}: its name, or its position from 1")


def add_space(parser: Parser) -> None:
    """--space, the mappings to choose from; SELECTIONS has what the core calls it."""
    parser.add_argument(
        "--space",
        metavar="|".join(SELECTIONS),
        type=choice("space", tuple(SELECTIONS)),
        default="arch",
        help="arch: what the accelerator's constraints leave; free: only its fanout and capacities (default: arch)",
    )


def add_fixed(parser: Parser) -> None:
    """--fixed, the given part of one layer's mapping; `inputs.with_given_loops` reads it."""
    parser.add_argument(
        "--fixed",
        metavar="M.yaml",
        help="loops and kept tensors of the mapping that are given, the rest is open: a mapping file with less in "
        "it, where `...` stands for what is open; with --layer",
    )


def add_cost_model(parser: Parser) -> None:
    """--cost-model; the core says which there are, so that a new one needs no change here."""
    known, default = _cost_models(), default_cost_model()
    parser.add_argument(
        "--cost-model",
        metavar="|".join(known),
        type=choice("cost model", known),
        default=default,
        help=f"how accesses are counted (default: {default})",
    )
    parser.add_argument(
        "--packing",
        metavar="word|dense|none",
        type=choice("packing", ("word", "dense", "none")),
        default="word",
        help="how elements lie in the words of levels whose architecture does not say: whole elements, bit after bit, "
        "or one a word; default cost model only (default: word)",
    )
    parser.add_argument(
        "--psum-bits",
        metavar="N",
        type=count_from(1),
        default=0,
        help="width of partial sums; default cost model only (default: the architecture's, or bits of the inputs + "
        "log2 of the sum's length)",
    )


def cost_options(args: argparse.Namespace) -> CostOptions:
    """What add_cost_model() read. Raises SpecError for options that the cost model does not have."""
    if args.cost_model == "compat" and (args.packing != "word" or args.psum_bits):
        message = "--packing and --psum-bits are of the default cost model, compat knows neither"
        raise SpecError(message, hint="leave them out, or leave --cost-model compat out")
    return {"model": args.cost_model, "packing": args.packing, "psum_bits": args.psum_bits}


def add_objective(parser: Parser, *, with_pareto: bool = False) -> None:
    """--objective, what a mapping is the best of."""
    known = ("edp", "energy", "cycles", "ed2p", *(("pareto",) if with_pareto else ()))
    more = "; pareto: every trade-off of energy and cycles" if with_pareto else ""
    parser.add_argument(
        "--objective",
        metavar="|".join(known),
        type=choice("objective", known),
        default="edp",
        help=f"what is minimised for each layer: energy*cycles, energy, cycles or energy*cycles^2{more} (default: edp)",
    )


def default_cost_model() -> str:
    """The cost model that is taken if none is asked for: `default` where the core has it."""
    known = _cost_models()
    return "default" if "default" in known else known[0]


def _cost_models() -> tuple[str, ...]:
    return tuple(getattr(_core, "COST_MODELS", ("compat",)))


def add_budget(parser: Parser) -> None:
    """--budget, a limit of the work that does not depend on the machine."""
    parser.add_argument(
        "--budget",
        metavar="N",
        type=count_from(1),
        default=0,
        help="mappings of a layer to look at, at most (in a free space: beginnings of mappings); the result is then not"
        " proven optimal (default: all)",
    )


def add_table_output(parser: Parser, rows: str) -> None:
    """-o, the file of a result table; `saved.check_table_file` and `saved.write_table` are for it."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help=f"write {rows} as a table: .csv, .parquet, .arrow or .json (docs/results.md), which must not be there yet",
    )


def add_threads(parser: Parser) -> None:
    """--threads, by default all cores this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument(
        "--threads",
        metavar="N",
        type=count_from(1),
        default=cores,
        help=f"worker threads; results do not depend on it (default: all cores, here {cores})",
    )


def add_store(parser: Parser) -> None:
    """--store, where results are kept between commands; cli.store_option opens it."""
    parser.add_argument(
        "--store",
        metavar="FILE|none",
        help="where results are kept and looked up first; they are the same with it and without (default: "
        "quantloom/store.sqlite in $XDG_CACHE_HOME or ~/.cache)",
    )
