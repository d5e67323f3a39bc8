"""`quantloom search`: the joint search of bits and mappings, into a run directory."""

from __future__ import annotations

import argparse
import math
import re
import sys
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quantloom.cli.output import bold, print_json, print_lines
from quantloom.cli.parsing import Parser, Subparsers, add_store, add_threads, choice, count_from, default_cost_model
from quantloom.cli.progress import Progress
from quantloom.cli.saved import check_writable
from quantloom.cli.store_option import opened_store
from quantloom.errors import QuantloomError, SearchError
from quantloom.joint_search.config import ACCURACY_METHODS, OBJECTIVES, PRESETS, RIVALS, SAMPLERS

if TYPE_CHECKING:
    from quantloom.joint_search.config import SearchConfig
    from quantloom.joint_search.front import Front

__all__ = ["add_parser"]

_RUNS: Final = Path("runs")
_SETTINGS: Final = ("evaluations", "seed", "sampler", "promote", "promote_epochs", "accuracy_method")


def add_parser(commands: Subparsers) -> Parser:
    """Add the command."""
    parser = commands.add_parser(
        "search",
        help="the joint search of bits and mappings: the main job",
        description="Search the bits of every tensor of a network, each with its best mappings, for the best "
        "trade-offs between accuracy and hardware cost. Results go to a run directory: manifest.json, "
        "report.html (open it in a browser), front.json, front.csv, front.png, mappings.json and every "
        "measured accuracy.",
        epilog="example:\n  quantloom search --demo --evaluations 10 -o my-run",
    )
    parser.add_argument(
        "config", metavar="CONFIG.yaml", nargs="?", help="the settings of the search; docs/your-search.md lists them"
    )
    parser.add_argument(
        "--demo", action="store_true", help="search the network and data that come with quantloom, on eyeriss"
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="the run directory (default: runs/NAME-1, -2, ...; always a new one)"
    )
    parser.add_argument(
        "--resume", metavar="DIR", help="go on with an interrupted run; the result is as if it had never stopped"
    )
    parser.add_argument(
        "--evaluations", metavar="N", type=count_from(1), help="measure the accuracy of N assignments, at most"
    )
    parser.add_argument("--seed", metavar="N", type=count_from(0), help="seed of all random choices")
    parser.add_argument(
        "--compare",
        action="append",
        choices=RIVALS,
        help="search in this way too, with as many evaluations, and say what is saved against it; may be repeated",
    )
    parser.add_argument(
        "--sampler",
        metavar="NAME",
        type=_sampler,
        help=f"what proposes candidates: {', '.join(SAMPLERS)}; optuna is optuna:tpe (default: nsga2)",
    )
    parser.add_argument(
        "--accuracy-method",
        metavar="NAME",
        type=choice("accuracy method", ACCURACY_METHODS),
        help="what the search decides by: switchable+bn (train weights for all candidates first; the default but for "
        "the demo's weights, which are such), rounded+bn (the weights as they are, rounded for the least error of what "
        "layers compute) or ptq+bn (each weight rounded to the nearest)",
    )
    parser.add_argument(
        "--promote",
        metavar="N",
        type=count_from(0),
        help="train N points of the front, and the uniform bits, and measure them anew (default: 0)",
    )
    parser.add_argument(
        "--promote-epochs", metavar="N", type=count_from(1), help="for so many epochs each (default: 2)"
    )
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help="settings under a name, instead of those of CONFIG.yaml; paper: as in the code of arXiv 2404.05368",
    )
    parser.add_argument(
        "--limit",
        metavar="OBJECTIVE<=VALUE",
        action="append",
        type=_limit,
        help=f"only assignments with at most this value of one of {', '.join(OBJECTIVES)}, such as 'energy_pj<=2e7'; "
        "may be repeated",
    )
    parser.add_argument(
        "--rules",
        metavar="FILE",
        help="rules on the bits, a YAML file: fixed tensors, bits that single ones may have, ties; instead of those of "
        "CONFIG.yaml",
    )
    parser.add_argument(
        "--charge-operators",
        action="store_true",
        help="count in the energy the traffic of pooling, additions, ... too, as if all of it came from and went to "
        "the outermost level, as `quantloom map --charge-operators` prices it",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        metavar="N",
        type=count_from(1),
        default=1,
        help="measure accuracies in N processes, which share --threads; the result is the same (default: 1, this one)",
    )
    where.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="measure accuracies by the workers of a Dask scheduler, such as tcp://host:8786, each with all its cores; "
        "the result is the same",
    )
    add_threads(parser)
    add_store(parser)
    parser.set_defaults(run=run)
    return parser


def _sampler(text: str) -> str:
    """Read the name of a sampler."""
    return choice("sampler", SAMPLERS)("optuna:tpe" if text == "optuna" else text)


def _limit(text: str) -> tuple[str, float]:
    """Read OBJECTIVE<=VALUE."""
    name, sign, value = (part.strip() for part in text.partition("<="))
    try:
        bound = float(value)
    except ValueError:
        bound = math.nan
    if not sign or not 0 < bound < math.inf:
        message = f"{text!r}: expected OBJECTIVE<=VALUE with a value above 0, such as energy_pj<=2e7"
        raise argparse.ArgumentTypeError(message)
    if name not in OBJECTIVES:
        near = get_close_matches(name, OBJECTIVES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"choose among {', '.join(OBJECTIVES)}"
        message = f"unknown objective {name!r}; {hint}"
        raise argparse.ArgumentTypeError(message)
    return name, bound


def run(args: argparse.Namespace) -> None:
    """Search, write and print."""
    from quantloom.assemble.search import search

    config = _read_config(args)
    directory = _choose_directory(args, config)
    with Progress() as progress, opened_store(args.store, progress.note) as store:
        try:
            front = search(
                config,
                directory=directory,
                resume=args.resume is not None,
                threads=args.threads,
                workers=args.workers,
                cluster=args.cluster,
                command=["quantloom", *args.arguments],
                store=store,
                progress=progress,
            )
        except (KeyboardInterrupt, MemoryError, RuntimeError):  # the latter two: torch out of memory, say
            progress.clear()
            if (directory / "manifest.json").exists():
                progress.note(f"everything measured is kept; go on with `quantloom search --resume {directory}`")
            raise
    if args.json:
        print_json("search", {"run_directory": str(directory), **front.to_json()})
    else:
        _print_front(front, directory)


def _read_config(args: argparse.Namespace) -> SearchConfig:
    """The settings, from where they are asked for, with what the command line says about them."""
    from quantloom.spec.search_config import load_search_config
    from quantloom.spec.search_rules import load_search_rules

    given = [args.config is not None, args.demo, args.resume is not None]
    if sum(given) != 1:
        args.parser.error("give one of CONFIG.yaml, --demo and --resume DIR")
    changes: dict[str, Any] = dict(PRESETS[args.preset]) if args.preset is not None else {}  # Any: as in PRESETS
    changes |= {key: getattr(args, key) for key in _SETTINGS if getattr(args, key) is not None}
    if args.compare is not None:
        changes["compare"] = tuple(dict.fromkeys(args.compare))
    if args.charge_operators:
        changes["charge_operators"] = True
    if args.rules is not None:
        changes["rules"] = load_search_rules(args.rules)
    if args.resume is not None:
        if changes or args.limit or args.output is not None:
            args.parser.error("--resume goes on with the settings and in the directory of the run; give nothing else")
        return _config_of_run(Path(args.resume))
    if args.demo:
        from quantloom.assemble.search import demo_config

        changes.setdefault("cost_model", default_cost_model())
        config = demo_config()
    else:
        config = load_search_config(args.config)
    return replace(config, **changes, bounds={**config.bounds, **dict(args.limit or ())})


def _config_of_run(directory: Path) -> SearchConfig:
    """The settings that a run was started with. Raises SearchError if its manifest does not hold them."""
    from quantloom.joint_search.config import SearchConfig
    from quantloom.joint_search.journal import read_manifest

    found = read_manifest(directory).get("config")
    known = {field.name for field in fields(SearchConfig)}
    message = f"{directory}: the manifest does not hold the settings of a search"
    hint = "resume with the version of quantloom that wrote it"
    if not isinstance(found, dict) or not {"model", "arch"} <= found.keys() <= known:
        raise SearchError(message, hint=hint)
    try:
        return SearchConfig.from_dict(found)
    except TypeError as error:  # a value of another type
        raise SearchError(message, hint=hint) from error


def _choose_directory(args: argparse.Namespace, config: SearchConfig) -> Path:
    """Where the run is kept. Raises SearchError, before anything is loaded, if no run can be started there."""
    from quantloom.joint_search.journal import RUN_FILES, is_empty_journal

    if args.resume is not None:
        return Path(args.resume)
    if args.output is None:
        name = "demo" if args.demo else re.sub(r"[^\w.-]+", "_", Path(args.config).stem)
        number = 1
        while (_RUNS / f"{name}-{number}").exists():
            number += 1
        directory = _RUNS / f"{name}-{number}"
    else:
        directory = Path(args.output)
    try:
        for name in RUN_FILES:
            if not is_empty_journal(directory / name):
                check_writable(directory / name)
    except QuantloomError as error:
        message = f"no run can be started in {directory}: {error.message}"
        raise SearchError(message, hint="choose another directory, or go on with a run by `--resume DIR`") from error
    return directory


def _print_front(front: Front, directory: Path) -> None:
    from quantloom.joint_search.journal import RUN_FILES
    from quantloom.report.terminal import front_table, make_console

    print_lines([bold(f"{front.network} on {front.arch}"), f"data: {front.data}", ""])
    ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
    make_console().print(front_table(front.points, front.baselines, ascii_only=ascii_only))
    files = ", ".join(name for name in RUN_FILES if (directory / name).exists())
    print_lines([front.summary(), "", f"written to {directory}: {files}"])
