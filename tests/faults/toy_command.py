"""`quantloom` in a process of its own, with the toy network of quantloom.testing in place of every model that is named.

    python toy_command.py [--pause-ms N] [--before CODE] COMMAND ...

CODE runs before the command does, in a module that has `quantloom` imported: where a test breaks what it wants broken.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from unittest import mock

from quantloom.cli.main import main
from quantloom.testing.toy_search import ToyEvaluatorMaker, toy_inputs

LAYERS = 4


def without_picture(front: object, path: Path) -> None:
    path.write_bytes(b"")


if __name__ == "__main__":
    arguments, pause_s = sys.argv[1:], 0.0
    while arguments[0] in ("--pause-ms", "--before"):
        option, value, *arguments = arguments
        if option == "--pause-ms":
            pause_s = float(value) / 1e3
        else:
            exec(value)
    maker = ToyEvaluatorMaker(LAYERS, pause_s)
    inputs = dataclasses.replace(
        toy_inputs(LAYERS),
        evaluator=maker(),
        make_evaluator=maker,
        accuracy_depends_on={"evaluator": "toy", "model": "toy"},
    )
    with (
        mock.patch("quantloom.assemble.search.prepare", return_value=inputs),
        mock.patch("quantloom.assemble.search._EvaluatorMaker", return_value=maker),
        mock.patch("quantloom.joint_search.front.Front.plot", without_picture),
    ):
        sys.exit(main(arguments))
