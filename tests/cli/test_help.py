"""Every command explains itself, and the examples of its help text work as they stand."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantloom.cli.main import build_parser
from report_runs import finished_run


def _leaf_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in nested:
        for child in action.choices.values():
            yield from _leaf_parsers(child)
    if not nested:
        yield parser


def _example(parser: argparse.ArgumentParser) -> list[str]:
    """The command lines of a help text's example; it is the last thing there."""
    head, _, tail = (parser.epilog or "").partition("example:\n")
    assert not head, f"{parser.prog}: the help must end in its example"
    return [line.strip() for line in tail.splitlines()]


SLOW = ("quantloom search", "quantloom quantize")
PARSERS = list(_leaf_parsers(build_parser()))


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_the_help_text_says_what_every_argument_is(parser: argparse.ArgumentParser) -> None:
    assert parser.description
    undescribed = [action.dest for action in parser._actions if not action.help]
    assert undescribed == []
    assert "--json" in parser.format_help()


@pytest.mark.parametrize(
    "parser",
    [pytest.param(p, marks=[pytest.mark.slow] if p.prog in SLOW else [], id=p.prog) for p in PARSERS],
)
def test_the_example_of_the_help_text_works(
    parser: argparse.ArgumentParser, quantloom: Callable[..., Any], directory: Path
) -> None:
    lines = _example(parser)
    if parser.prog == "quantloom report":
        finished_run(directory / "runs" / "demo-1")
    if parser.prog == "quantloom compare":
        for seed in range(3):
            finished_run(directory / "runs" / f"demo-{seed + 1}", seed=seed)
    assert lines[-1].startswith(parser.prog)
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "quantloom"
        result = quantloom(*arguments)
        assert result.code == 0, result.err
        assert result.out
