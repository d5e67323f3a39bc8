"""`quantloom reproduce --part fronts savings`: what the tables say is what the runs found, and no kill changes it."""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quantloom.cli.main import main
from quantloom.joint_search.comparison import compare_runs

Run = Callable[..., Any]
COMMAND = (
    *("reproduce", "ddecs2024", "--part", "fronts", "savings", "--arch", "eyeriss", "--evaluations", "25"),
    *("--model", "toys:depthwise_net:input=8,channels=1", "--data", "toys:data", "--seeds", "2", "--images", "40"),
    *("--threads", "1"),
)
KILLED = """
import os, signal, sys
from quantloom.cli.main import main
from quantloom.joint_search.journal import RunDirectory
append, left = RunDirectory.append, int(sys.argv[1])
def append_and_die(run, evaluation):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    append(run, evaluation)
RunDirectory.append = append_and_die
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("made")
    assert main([*COMMAND, "-o", str(folder / "out"), "--store", str(folder / "store.sqlite")]) == 0
    return folder / "out"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def runs_of(out: Path, way: str) -> list[Path]:
    return sorted(out.glob(f"runs/*/eyeriss-{way}-seed*"))


def test_the_tables_say_what_the_runs_found_in_both_columns(made: Path) -> None:
    ways = {"as in the paper": ("paper", "sum_edp"), "as it is": ("default", "energy_pj")}
    savings, fronts = rows_of(made / "savings.csv"), rows_of(made / "fronts.csv")
    assert {row["column"] for row in savings} == {row["column"] for row in fronts} == set(ways)
    for row in savings:
        short, objective = ways[row["column"]]
        compared = compare_runs(runs_of(made, short))
        saved = compared.saved(row["search"], objective)  # type: ignore[arg-type]  # one of the objectives
        assert (row["seeds"], row["objective"]) == ("2", objective)
        assert float(row["saved"]) == pytest.approx(saved.mean)
        assert float(row["dominated_test"]) == pytest.approx(compared.volume(row["search"], "test").mean)
        if objective == "energy_pj":
            assert row["energy_saved"] == row["saved"]
        else:
            assert row["search"] == "uniform bits" or row["energy_saved"] != row["saved"]
    for column, (short, _) in ways.items():
        for seed, run in enumerate(runs_of(made, short)):
            front = json.loads((run / "front.json").read_text())
            here = [r for r in fronts if (r["column"], r["seed"], r["search"]) == (column, str(seed), "front")]
            assert [float(r["energy_uj"]) for r in here] == pytest.approx(
                [p["energy_pj"] * 1e-6 for p in front["points"]]
            )
            assert [float(r["accuracy_test"]) for r in here] == [p["accuracy_test"] for p in front["points"]]
    for name in ("fronts", "savings"):
        assert (made / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_columns_differ_in_costs_and_share_accuracies(made: Path) -> None:
    uniform = [row for row in rows_of(made / "fronts.csv") if row["uniform_bits"] and row["seed"] == "0"]
    by_column = {
        column: {row["uniform_bits"]: row for row in uniform if row["column"] == column}
        for column in ("as in the paper", "as it is")
    }
    paper, real = by_column["as in the paper"], by_column["as it is"]
    assert paper.keys() == real.keys() == {"2", "3", "4", "5", "8"}
    for bits in paper:
        for accuracy in ("accuracy_validation", "accuracy_test"):
            assert paper[bits][accuracy] == real[bits][accuracy]
        assert float(paper[bits]["sum_edp_j_cycles"]) != float(real[bits]["sum_edp_j_cycles"])


def test_a_command_killed_again_and_again_goes_on_to_the_same_tables(
    made: Path, directory: Path, quantloom: Run
) -> None:
    command = [*COMMAND, "-o", "out", "--store", "none"]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    draw = random.Random(8)
    for _ in range(2):
        dies_at = str(draw.randint(2, 60))  # a run journals some 80 accuracies
        done = subprocess.run(
            [sys.executable, "-c", KILLED, dies_at, *command], env=path, capture_output=True, text=True
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not (directory / "out" / "fronts.csv").exists()
    begun = runs_of(directory / "out", "paper")[-1] / "manifest.json"
    assert json.loads(begun.read_text())["status"] == "unfinished"
    again = quantloom(*command)
    assert again.code == 0, again.err
    assert len(json.loads(begun.read_text())["sessions"]) > 1
    for name in ("fronts.csv", "savings.csv"):
        assert (directory / "out" / name).read_bytes() == (made / name).read_bytes()


def test_finished_runs_are_only_read(made: Path, quantloom: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        pytest.fail("searched again")

    command = [*COMMAND, "-o", str(made), "--store", "none"]
    before = (made / "savings.csv").read_bytes()
    monkeypatch.setattr("quantloom.reproduce.fronts.run_search", refuse)
    monkeypatch.setattr("quantloom.reproduce.fronts.prepare_accuracies", refuse)
    kept = quantloom(*command)
    assert kept.code == 0
    assert "savings.csv, .txt, .json, .png, kept from before" in kept.out
    (made / "savings.json").unlink()
    made_anew = quantloom(*command)
    assert made_anew.code == 0, made_anew.err
    assert "Saved at no lower accuracy on validation than uniform 8 bit: means of 2 seeds" in made_anew.out
    assert (made / "savings.csv").read_bytes() == before
    manifest = runs_of(made, "default")[0] / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"population": 10', '"population": 11'))
    monkeypatch.undo()
    (made / "savings.json").unlink()
    refused = quantloom(*command)
    manifest.write_text(text)
    assert refused.code == 1
    assert "seed0 was searched with another config" in refused.err
    assert "choose another directory by -o, or remove that one" in refused.err


def test_tables_of_images_that_were_replaced_are_made_anew(quantloom: Run, directory: Path) -> None:
    draw = np.random.default_rng(0)
    for part, name in itertools.product(("train", "test"), ("dark", "light")):
        (directory / "images" / part / name).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(128, size=(8, 8, 3), dtype=np.uint8) + np.uint8(100 * (name == "light"))
            Image.fromarray(pixels).save(directory / "images" / part / name / f"{number}.png")
    command = [
        *("reproduce", "ddecs2024", "--part", "savings", "--arch", "eyeriss", "--evaluations", "12", "--seeds", "1"),
        *("--model", "toys:colour_net:input=8,channels=3", "--data", "folder:images,size=8", "--threads", "1"),
        *("-o", "out", "--store", "store.sqlite"),
    ]
    made = quantloom(*command)
    assert made.code == 0, made.err
    assert "kept from before" in quantloom(*command).out
    Image.new("RGB", (9, 9)).save(directory / "images" / "test" / "light" / "0.png")
    made_anew = quantloom(*command)
    assert made_anew.code == 0, made_anew.err
    assert "kept from before" not in made_anew.out
    assert len(runs_of(directory / "out", "paper")) == 2  # those of the old images stay
    about = json.loads(quantloom("store", "ls", "--store", "store.sqlite", "--json").out)
    assert "accuracy" in json.dumps(about)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (["--data", "cifar10:nowhere"], "nowhere", "fetch cifar10"),
        (
            ["--data", "folder:nowhere"],
            "--data folder:nowhere: quantloom comes with no network that was trained on these",
            "name one by --model and its weights by --checkpoint",
        ),
        (
            ["--model", "mobilenet_v1:width=0.25,input=28,channels=1"],
            "no checkpoint is given",
            "name a file of trained weights",
        ),
        (
            ["--model", "mobilenet_v1:width=0.25,input=28,channels=1", "--checkpoint", "no.pt"],
            "no.pt: no such checkpoint file",
            "expected a state dict",
        ),
        (
            ["--model", "mobilenet_v1:width=0.25,input=28,channels=1", "--checkpoint", "demo"],
            "does not fit MobileNetV1",
            "classes",
        ),
        (
            ["--model", "mobilenet_v1:width=0.25,input=32,classes=10", "--checkpoint", "zoo:mobilenet_v1_0.25_cifar10"],
            "demo: train images have shape (1, 28, 28)",
            "build the network for this image size",
        ),
        (
            ["--model", "mobilenet_v1:width=0.25,input=32,classes=10", "--checkpoint", "zoo:mobilenet_v1_cifar10"],
            "zoo:mobilenet_v1_cifar10: the zoo has no weights of this name",
            "did you mean zoo:mobilenet_v1_0.25_cifar10?",
        ),
        (["--arch", "eyeris"], "eyeris", "eyeriss"),
    ],
)
def test_what_cannot_be_searched_is_one_clear_error(
    quantloom: Run, directory: Path, options: list[str], message: str, hint: str
) -> None:
    refused = quantloom("reproduce", "ddecs2024", "--part", "savings", *options, "-o", "out", "--store", "none")
    assert refused.code == 1, refused.err
    assert message in refused.err
    assert hint in refused.err
    assert "Traceback" not in refused.err
    assert not (directory / "out").exists()


def test_a_checkpoint_needs_its_network(quantloom: Run) -> None:
    refused = quantloom("reproduce", "ddecs2024", "--checkpoint", "zoo:x")
    assert refused.code == 2
    assert "--checkpoint: name its network by --model" in refused.err
