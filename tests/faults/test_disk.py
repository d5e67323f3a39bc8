"""Disks that are full, folders that may only be read, files that vanish: one clear error, nothing is half or lost."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest

from .children import (
    QUANTIZE,
    QUANTLOOM,
    RESULTS,
    TOY_COMMAND,
    as_one_who_may_not,
    disk_of,
    environment,
    refused,
    run,
    write_inputs,
)

FULL = "(No space left on device|File too large)"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a search that nothing disturbed."""
    folder = tmp_path_factory.mktemp("finished")
    write_inputs(folder)
    done = run("search", str(folder / "toy.yaml"), "-o", str(folder / "run"), "--store", "none", toy=True)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a training that nothing disturbed."""
    directory = tmp_path_factory.mktemp("quantized") / "job"
    done = run(*QUANTIZE, "-o", str(directory))
    assert done.returncode == 0, done.stderr
    return directory


def parts(directory: Path) -> list[str]:
    """What is not to be there: files that are being written."""
    return sorted(str(path) for path in directory.rglob("*") if ".part" in path.name)


def said_by(error: str, *words: str) -> bool:
    return all(re.search(word, error) for word in words)


@pytest.mark.parametrize(("kib", "name"), [(16, "evaluations.jsonl"), (64, "mappings.json")])
def test_a_search_on_a_full_disk_keeps_everything_and_goes_on(
    folder: Path, finished: Path, kib: int, name: str
) -> None:
    with disk_of(folder / "disk", kib) as disk:
        error = refused(disk.run("search", "toy.yaml", "-o", "disk/run", "--store", "none", toy=True))
        assert said_by(error, f"cannot write disk/run/{name}: {FULL}\n  hint: make room", "--resume disk/run` goes on")
        assert parts(disk.path) == []
        lines = (disk.path / "run" / "evaluations.jsonl").read_bytes().split(b"\n")[:-1]
        assert lines
        disk.make_room()
        resumed = run("search", "--resume", "disk/run", "--store", "none", toy=True)
        assert resumed.returncode == 0, resumed.stderr
        assert (disk.path / "run" / "evaluations.jsonl").read_bytes().split(b"\n")[: len(lines)] == lines
        for each in RESULTS:
            assert (disk.path / "run" / each).read_bytes() == (finished / each).read_bytes()


@pytest.mark.parametrize(("kib", "name"), [(4, "manifest.json"), (48, "training.state")])
def test_training_on_a_full_disk_goes_on_to_the_same_weights(
    folder: Path, quantized: Path, kib: int, name: str
) -> None:
    with disk_of(folder / "disk", kib) as disk:
        error = refused(disk.run(*QUANTIZE, "-o", "disk/job"))
        if disk.is_mounted:  # a limit of one file's size ends at another one
            assert name in error
        assert said_by(error, f"disk/job/.*cannot write.*{FULL}\n  hint: .*make room")
        assert parts(disk.path) == []
        disk.make_room()
        is_begun = (disk.path / "job" / "manifest.json").exists()
        again = ["quantize", "--resume", "disk/job", "--threads", "1"] if is_begun else [*QUANTIZE, "-o", "disk/job"]
        done = run(*again)
        assert done.returncode == 0, done.stderr
        for each in ("weights.pt", "float.pt", "model.onnx", "bits.yaml"):
            assert (disk.path / "job" / each).read_bytes() == (quantized / each).read_bytes(), each


def test_what_commands_write_to_a_full_disk_is_whole_or_absent(folder: Path, finished: Path) -> None:
    two = ["network.yaml", "--arch", "eyeriss"]
    commands = {
        "t.csv": ["table", *two, "--bits", "2,4,8", "-o", "disk/t.csv", "--store", "none"],
        "t.parquet": ["table", *two, "--bits", "4,8", "-o", "disk/t.parquet", "--store", "none"],
        "best": ["map", *two, "--bits", "8", "--save", "disk/best"],
        "simba.svg": ["show", "arch", "simba", "--svg", "disk/simba.svg"],
    }
    with disk_of(folder / "disk", 4) as disk:
        if disk.is_mounted:
            (disk.path / "filled").write_bytes(bytes(4 << 10))
        else:
            disk.kib = 0
        for name, command in commands.items():
            error = refused(disk.run(*command))
            assert said_by(error, rf"cannot write disk/{name}.*: {FULL}\n  hint: make room")
            assert not [path for path in disk.path.rglob("*") if path.is_file() and path.name != "filled"]


def test_a_report_on_a_full_disk_leaves_the_old_one(folder: Path, finished: Path) -> None:
    size = sum(-(-path.stat().st_size // 4096) * 4 for path in finished.iterdir())
    with disk_of(folder / "disk", size + 32) as disk:
        shutil.copytree(finished, disk.path / "run")
        before = (disk.path / "run" / "report.html").read_bytes()
        if not disk.is_mounted:
            disk.kib = 8
        error = refused(disk.run("report", "disk/run"))
        assert said_by(error, rf"cannot write disk/run/report.html: {FULL}\n  hint: make room")
        assert (disk.path / "run" / "report.html").read_bytes() == before
        (disk.path / "run" / "report.html").write_bytes(b"")
        (disk.path / "run" / "filled").write_bytes(bytes(20 << 10))
        error = refused(disk.run("report", "disk/run", "--figures", "svg"))
        assert said_by(error, f"cannot write .*: {FULL}\n  hint: make room")
        assert parts(disk.path) == []


def test_a_store_on_a_full_disk_is_left_out(folder: Path) -> None:
    with disk_of(folder / "disk", 8) as disk:
        command = ["table", "network.yaml", "--arch", "eyeriss", "--bits", "4,8", "-o", "t.csv"]
        done = disk.run(*command, "--store", "disk/store.sqlite")
        assert done.returncode == 0, done.stderr
        assert done.stderr.startswith("note: going on without the store disk/store.sqlite: d")
        assert "Traceback" not in done.stderr
        assert run(*command, "--force", "--store", "none").returncode == 0


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_to_a_full_device_is_one_error(options: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*QUANTLOOM, "show", "arch", "simba", *options],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment(),
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "error: the output cannot be written: No space left on device\n"
        "  hint: make room on that disk, or choose a place on another one\n"
    )


def test_folders_that_may_only_be_read_are_named_before_anything_is_done(folder: Path, finished: Path) -> None:
    shutil.copytree(finished, folder / "closed" / "run")
    for path in (folder / "closed").rglob("*"):
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)
    (folder / "closed").chmod(0o555)
    two = ["network.yaml", "--arch", "eyeriss", "--bits", "8"]
    for command, toy in (
        (["search", "toy.yaml", "-o", "closed/new", "--store", "none"], True),
        (["search", "--resume", "closed/run", "--store", "none"], True),
        ([*QUANTIZE, "-o", "closed/job"], False),
        (["table", *two, "-o", "closed/t.csv", "--store", "none"], False),
        (["report", "closed/run"], False),
        (["map", *two, "--save", "closed/best"], False),
    ):
        error = refused(run(*command, toy=toy, prepare=as_one_who_may_not))
        assert said_by(error, "cannot write closed|cannot be written to", "hint: choose ")
    table = ["table", *two, "-o", "t.csv", "--store", "closed/store.sqlite"]
    done = run(*table, prepare=as_one_who_may_not)
    assert done.returncode == 0
    assert done.stderr == "note: going on without the store closed/store.sqlite: Permission denied\n"
    assert sorted(path.name for path in (folder / "closed").iterdir()) == ["run"]
    assert parts(folder) == []


def test_a_run_that_is_removed_while_it_goes_on_is_an_error_at_the_next_measurement(folder: Path) -> None:
    command = [*TOY_COMMAND, "--pause-ms", "50", "search", "toy.yaml", "-o", "gone", "--store", "none"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        journal, deadline = folder / "gone" / "evaluations.jsonl", time.monotonic() + 100
        while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        shutil.rmtree(folder / "gone")
        out, err = process.communicate(timeout=100)
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    assert said_by(refused(done), "cannot write gone/evaluations.jsonl: it was removed while the search was running")
