"""Exit codes, streams and signals of the command line as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantloom import __version__
from quantloom.cli import main as main_module
from quantloom.spec.arch import arch_names

Run = Callable[..., Any]
COMMAND = [sys.executable, "-m", "quantloom"]


def test_help_and_version_are_results(quantloom: Run) -> None:
    shown = quantloom("--help")
    assert shown.code == 0
    assert all(command in shown.out for command in main_module.COMMANDS)
    version = quantloom("--version")
    assert (version.code, version.out) == (0, f"quantloom {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["mpa"], "unknown command `mpa`, did you mean `map`?"),
        (
            ["count", "network.yaml", "--arhc", "eyeriss", "--bits", "8"],
            "unknown option `--arhc`, did you mean `--arch`?",
        ),
        (["map", "network.yaml", "--arch", "eyeriss", "--obj", "edp"], "unknown option `--obj`"),
        (["show", "arch", "eyeriss", "--force"], "hint: unknown option `--force`\n"),  # not: `--arch`
        (
            ["map", "network.yaml", "--arch", "eyeriss", "--objective", "epd"],
            "unknown objective `epd`, did you mean `edp`?",
        ),
        (["map", "network.yaml", "--arch", "eyeriss", "--cost-model", "compact"], "did you mean `compat`?"),
        (["map", "network.yaml", "--arch", "eyeriss", "--threads", "0"], "expected a whole number from 1, got `0`"),
        (["map", "network.yaml", "eyeriss", "--arch", "eyeriss"], "unexpected argument `eyeriss`"),
        (["map"], "the following arguments are required: MODEL, --arch"),
        (["show"], "the following arguments are required: KIND"),
        (["count", "network.yaml", "--arch", "eyeriss"], "the following arguments are required: --bits"),
        (["table", "network.yaml", "--arch", "eyeriss", "-o", "t.csv", "--bits", "2,x"], "got `x`"),
        (["search"], "give one of CONFIG.yaml, --demo and --resume DIR"),
        (["search", "--demo", "--resume", "runs/demo-1"], "give one of"),
        (["search", "--resume", "runs/demo-1", "--seed", "1"], "give nothing else"),
    ],
)
def test_wrong_usage_exits_with_2(quantloom: Run, arguments: list[str], said: str) -> None:
    result = quantloom(*arguments)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.startswith("usage: quantloom")


def test_an_error_is_told_in_words_and_exits_with_1(quantloom: Run) -> None:
    result = quantloom("show", "arch", "eyeris")
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "error: unknown architecture `eyeris`\n"
        f"  hint: did you mean `eyeriss`? known: {', '.join(arch_names())}; or give the path of a YAML file\n"
    )


@pytest.mark.parametrize("arguments", [["--debug", "show", "arch", "eyeris"], ["show", "arch", "eyeris", "--debug"]])
def test_debug_shows_the_traceback_of_an_error(quantloom: Run, arguments: list[str]) -> None:
    result = quantloom(*arguments)
    assert result.code == 1
    assert result.err.startswith("Traceback")
    assert "error: unknown architecture `eyeris`" in result.err


def test_a_bug_asks_for_a_report(quantloom: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        message = "surprise"
        raise ZeroDivisionError(message)

    monkeypatch.setattr("quantloom.spec.arch.arch_names", fail)
    result = quantloom("show", "arch")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("error: internal error: ZeroDivisionError: surprise\n")
    assert "report it with the command `quantloom show arch`" in result.err


def test_an_interrupted_command_exits_with_130(quantloom: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quantloom.spec.arch.arch_names", interrupt)
    result = quantloom("show", "arch")
    assert (result.code, result.out, result.err) == (130, "", "interrupted\n")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from quantloom.cli.main import main; code = main(['--help']);"
        "heavy = {'torch', 'matplotlib', 'pymoo', 'pandas', 'rich', 'hypothesis'} & set(sys.modules);"
        "sys.exit(f'{code} {heavy}' if heavy or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_of_torch_will_not_spin_whichever_command_loads_it() -> None:
    code = (
        "import os, sys; from quantloom.cli.main import main; assert not main(['show', 'arch', 'simba'])\n"
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.splitlines()[-1] == f"{expected} False"


def test_the_module_is_the_command() -> None:
    done = subprocess.run([*COMMAND, "show", "arch"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("bitfusion_like")


def test_a_reader_that_leaves_is_no_error() -> None:
    with subprocess.Popen(
        [*COMMAND, "show", "arch", "simba"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        code = process.wait(timeout=60)
    assert (code, err) == (0, b"")


def test_ctrl_c_ends_a_long_command_soon(directory: Path) -> None:
    edges = "edges: [{name: i, shape: [256, 58, 58]}, {name: o, shape: [256, 56, 56]}]"
    layers = "\n".join(
        f"  - {{name: conv{c}, reads: i, writes: o, dims: {{C: {c}, M: 240, R: 3, S: 3, P: 56, Q: 56}}}}"
        for c in range(240, 1240)
    )
    (directory / "long.yaml").write_text(f"name: long\ninput_shape: [256, 58, 58]\n{edges}\nlayers:\n{layers}\n")
    command = [*COMMAND, "map", "long.yaml", "--arch", "simba", "--cost-model", "compat"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("mapping conv"), "no progress"
        began = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        elapsed_s = time.monotonic() - began
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert elapsed_s < 5.0


def test_colours_are_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    from quantloom.cli.output import bold

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert bold("x") == "\x1b[1mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert bold("x") == "x"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert bold("x") == "x"
