"""Wrong input gives one clear error on stderr, exit code 1, nothing on stdout and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quantloom.spec.arch import find_arch

Run = Callable[..., Any]

MAP = ["map", "network.yaml", "--arch", "eyeriss"]
COUNT = ["count", "network.yaml", "--arch", "eyeriss", "--bits"]


@pytest.fixture
def fails(quantloom: Run, directory: Path) -> Callable[..., str]:
    """Runs a command line that must fail; returns its message."""

    def run(*arguments: str) -> str:
        before = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
        result = quantloom(*arguments)
        after = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}
        assert (result.code, result.out) == (1, ""), result.err
        assert "Traceback" not in result.err
        assert sum(line.startswith("error: ") for line in result.err.splitlines()) == 1
        assert after == before
        message: str = result.err
        return message

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["map", "mobilenet_v3", "--arch", "eyeriss"], "unknown model `mobilenet_v3`"),
        (["map", "mobilenet_v1:widht=0.5", "--arch", "eyeriss"], "did you mean `width`?"),
        (["map", "missing.yaml", "--arch", "eyeriss"], "missing.yaml"),
        (["map", "nowhere:model", "--arch", "eyeriss"], "cannot import nowhere"),
        (["map", "network.yaml", "--arch", "eyerisss"], "did you mean `eyeriss`?"),
        (["map", "network.yaml", "--arch", "missing.yaml"], "missing.yaml"),
        ([*MAP, "--layer", "3"], "two has no layer `3`"),
        ([*MAP, "--layer", "0"], "two has no layer `0`"),
        ([*MAP, "--layer", "cnov"], "did you mean `conv`?"),
        ([*MAP, "--bits", "x8"], "bits `x8`"),
        ([*MAP, "--bits", "0"], "bits `0`"),
        ([*MAP, "--bits", "33"], "bits `33`"),
        ([*MAP, "--bits", "missing.yaml"], "missing.yaml"),
        ([*MAP, "--bits", "17"], "17 bits do not fit the 16-bit words"),
        ([*COUNT, "17"], "17 bits do not fit the 16-bit words"),
        ([*COUNT, "8", "--layer", "nothing"], "two has no layer `nothing`"),
        (["table", "network.yaml", "--arch", "eyeriss", "--bits", "20", "-o", "t.csv"], "20 bits do not fit"),
        (["table", "network.yaml", "--arch", "eyeriss", "-o", "t.xls"], "the ending says no format of a table"),
        (["table", "network.yaml", "--arch", "eyeriss", "-o", "network.yaml/t.csv"], "is not a directory"),
        ([*MAP, "--save", "network.yaml/best"], "is not a directory"),
        (["show", "model", "mobilenet"], "unknown model `mobilenet`"),
        (["search", "missing.yaml"], "missing.yaml"),
        (["search", "--resume", "nothing"], "nothing does not hold a run"),
        (["search", "--demo", "-o", "network.yaml"], "no run can be started in network.yaml"),
        (["search", "--demo", "-o", "network.yaml/run"], "is not a directory"),
    ],
)
def test_one_clear_error(fails: Callable[..., str], arguments: list[str], said: str) -> None:
    assert said in fails(*arguments)


def test_a_typo_in_a_spec_is_found_with_its_line(fails: Callable[..., str], directory: Path) -> None:
    text = find_arch("eyeriss").read_text().replace("word_bits: 16", "word_bitz: 16", 1)
    (directory / "mine.yaml").write_text(text)
    line = text[: text.index("word_bitz")].count("\n") + 1
    message = fails("map", "network.yaml", "--arch", "mine.yaml")
    assert f"error: mine.yaml:{line}:5: " in message
    assert "did you mean `word_bits`?" in message


def test_unsupported_operators_are_listed(fails: Callable[..., str], directory: Path) -> None:
    (directory / "odd_model.py").write_text(
        "import torch\n"
        "class Odd(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv = torch.nn.Conv2d(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        return torch.linalg.det(torch.fft.fft2(self.conv(x)))\n"
    )
    for command in (["map", "--arch", "eyeriss"], ["count", "--arch", "eyeriss", "--bits", "8"], ["show"]):
        model = "odd_model:Odd:input=16"
        name, *rest = command
        arguments = ["show", "model", model] if name == "show" else [name, model, *rest]
        message = fails(*arguments)
        assert "node `fft_fft2`: fft_fft2" in message
        assert "node `linalg_det`: linalg_det" in message


def test_saved_mappings_never_replace_files(quantloom: Run, fails: Callable[..., str]) -> None:
    assert quantloom(*MAP, "--save", "best").code == 0
    assert "best/layer01.workload.yaml exists already" in fails(*MAP, "--save", "best")


def test_a_mapping_that_does_not_fit_names_the_level(
    quantloom: Run, fails: Callable[..., str], directory: Path
) -> None:
    quantloom(*MAP, "--bits", "2", "--save", "best")
    path = directory / "best" / "layer02.mapping.yaml"
    workload = directory / "best" / "layer02.workload.yaml"
    workload.write_text(workload.read_text().replace("M: 8", "M: 64").replace("C: 4", "C: 64"))
    levels = "\n".join(
        f"  - {{level: {level}{loops}}}"
        for level, loops in [
            ("DRAM", ""),
            ("shared_glb", ", temporal: [[P, 6], [Q, 6]]"),
            ("DummyBuffer", ", bypass: [Weights, Inputs, Outputs]"),
            ("ifmap_spad", ", keep: [Inputs]"),
            ("weights_spad", ", temporal: [[C, 64]], keep: [Weights]"),
            ("psum_spad", ", temporal: [[M, 64]], keep: [Outputs]"),
        ]
    )
    path.write_text(f"mapping:\n{levels}\n")
    files = ["--workload", str(workload), "--mapping", str(path)]
    message = fails("evaluate", "--arch", "eyeriss", *files, "--bits", "16")
    assert "level 'psum_spad': the tiles need 64 words, capacity is 24" in message


@pytest.mark.parametrize("kept", ["manifest.json", "evaluations.jsonl", "front.json"])
def test_a_directory_with_a_run_is_left_alone(fails: Callable[..., str], directory: Path, kept: str) -> None:
    (directory / "run").mkdir()
    (directory / "run" / kept).write_text("{}")
    message = fails("search", "--demo", "-o", "run")
    assert f"{kept} exists already" in message
    assert "--resume" in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("evaluations: 0", "evaluations"),
        ("evaluatons: 4", "did you mean `evaluations`?"),
        ("arch: eyerisss", "did you mean `eyeriss`?"),
        ("data: mnist", "unknown data set `mnist`"),
        ("checkpoint: missing.pt", "missing.pt"),
        ("model: mobilenet_v9", "unknown model `mobilenet_v9`"),
        ("model: network.yaml", "has no weights"),
        ("model: mobilenet_v1", "does not fit"),
        ("weight_bits: [4, 17]", "17"),
        ("cost_model: exact", "cost model"),
    ],
)
def test_a_wrong_configuration_starts_no_run(
    fails: Callable[..., str], directory: Path, change: str, said: str
) -> None:
    settings = {
        "model": "mobilenet_v1:width=0.25,input=28,classes=10,channels=1",
        "arch": "eyeriss",
        "data": "demo",
        "checkpoint": "demo",
    }
    key, _, value = change.partition(": ")
    lines = [f"{name}: {text}" for name, text in {**settings, key: value}.items()]
    (directory / "search.yaml").write_text("\n".join(lines) + "\n")
    assert said in fails("search", "search.yaml", "-o", "run")
    assert not (directory / "run").exists()


def test_mistakes_in_accelerator_bits_and_network_are_told_in_one_run(
    fails: Callable[..., str], directory: Path
) -> None:
    (directory / "mine.yaml").write_text("name: a\nlevls: []\n")
    (directory / "bits.yaml").write_text("default: w8\n")
    message = fails("map", "nonet", "--arch", "mine.yaml", "--bits", "bits.yaml")
    assert "mine.yaml:2:1: levls: unknown key" in message
    assert "bits.yaml:1:10: default: read `w8`" in message
    assert "nonet" in message
