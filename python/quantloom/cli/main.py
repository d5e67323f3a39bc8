"""`quantloom COMMAND ...`: parses, runs one command, and turns every outcome into an exit code.

0 done; 1 an error (message on stderr; --debug adds the traceback); 2 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Any, Final, NoReturn

from quantloom import __version__
from quantloom.cli.parsing import Parser, add_common_options, closest
from quantloom.errors import InternalError, QuantloomError, is_out_of_memory
from quantloom.whole_files import way_out

__all__ = ["COMMANDS", "build_parser", "entry_point", "main"]

# Each command is the module of its name in this package, with add_parser(subparsers), in the order of the help text;
# behind a word of Python stands a `_`.
COMMANDS: Final = (
    "map",
    "converge",
    "evaluate",
    "count",
    "table",
    "search",
    "report",
    "compare",
    "reproduce",
    "quantize",
    "fetch",
    "show",
    "import",
    "export",
    "store",
)

_MACHINE: Final = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    *(errno.EACCES, errno.EPERM, errno.ESTALE),
)

EXIT_DONE, EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130


def build_parser() -> Parser:
    """The parser of all commands; `run` in a parsed namespace is the function that does the work."""
    parser = Parser(
        prog="quantloom",
        description="Bit-widths and loop mappings of a neural network on an accelerator, searched together.",
        epilog="`quantloom COMMAND --help` explains a command and ends in an example.",
    )
    parser.add_argument("--version", action="version", version=f"quantloom {__version__}")
    parser.add_argument("--debug", action="store_true", default=False, help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name in COMMANDS:
        command = import_module(f"quantloom.cli.{name}{'_' * iskeyword(name)}")
        add_common_options(command.add_parser(commands))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: sys.argv) and return its exit code; nothing is raised."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    is_debug = "--debug" in arguments
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _silence(sys.stdout)  # nobody reads it any more: Python's own flush at exit is to be quiet too
        return EXIT_DONE
    except Exception as error:
        _show_traceback(is_debug)
        _say(f"error: {_in_words(error, arguments)}")
        return EXIT_ERROR


def entry_point() -> NoReturn:
    """The console script."""
    try:
        code = main()
    except KeyboardInterrupt:  # a second one, while the first was told
        code = EXIT_INTERRUPTED
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done but Python's own end, which is not to be interrupted
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # network_and_data.py says why; torch is not loaded yet
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without µ shows ? instead of failing
    parser = build_parser()
    try:
        _check_command(parser, arguments)
        args = parser.parse(arguments)
    except SystemExit as exit_:  # argparse has said why
        return exit_.code if isinstance(exit_.code, int) else EXIT_USAGE
    args.arguments = arguments
    run: Any = args.run
    try:
        run(args)
    except SystemExit as exit_:  # usage that only the command itself can judge
        return exit_.code if isinstance(exit_.code, int) else EXIT_USAGE
    return EXIT_DONE


def _check_command(parser: Parser, arguments: list[str]) -> None:
    """Refuse an unknown command with the nearest known one."""
    word = next((argument for argument in arguments if not argument.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        known = ", ".join(COMMANDS)
        parser.error(f"unknown command `{word}`{closest(word, COMMANDS)}\n  hint: the commands are {known}")


def _in_words(error: Exception, arguments: list[str]) -> QuantloomError:
    """What went wrong: a mistake of the user, the machine at its end, or else a bug of ours."""
    if isinstance(error, QuantloomError):
        return error
    if is_out_of_memory(error):
        hint = "take fewer workers or threads, or a smaller batch, or free memory; files that are written are whole"
        return QuantloomError("there is not enough memory", hint=hint)
    if isinstance(error, OSError) and error.errno in _MACHINE:
        if error.filename is None:
            _silence(sys.stdout)  # most likely its disk is full: Python's own flush at exit would fail again
        what = "the output cannot be written" if error.filename is None else str(error.filename)
        return QuantloomError(f"{what}: {error.strerror}", hint=way_out(error))
    message = f"internal error: {type(error).__name__}: {error}"
    command = " ".join(["quantloom", *arguments])
    hint = f"this is a bug; please report it with the command `{command}`, its files, and what --debug shows"
    return InternalError(message, hint=hint)


def _show_traceback(is_debug: bool) -> None:
    if is_debug:
        _say(traceback.format_exc().rstrip())


def _say(text: str) -> None:
    """A message on stderr, if anybody listens there."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def _silence(stream: Any) -> None:
    """Point a stream of the process at the null device; streams without a descriptor (in tests) stay."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
