"""Many processes at one run directory and one store, also a damaged or a locked one; a clock that goes backwards."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from quantloom.cli.main import main
from quantloom.errors import StoreError
from quantloom.store.database import Record, Store
from quantloom.store.keys import key_of

from .children import QUANTIZE, QUANTLOOM, RESULTS, TOY_COMMAND, environment, run, write_inputs

VALUES = {key_of(i): {"number": i + 0.1, "text": "x" * 100} for i in range(200)}
READER = """
import json, sys
from pathlib import Path
from quantloom.store.database import Record, Store
path, keys = Path(sys.argv[1]), sys.stdin.readline().split()  # all begin at once
notes = []
with Store.open(path, note=notes.append) as store:
    found = store.get(keys)
    store.put([Record(key=f"own{sys.argv[2]}", kind="mapping", code="", about={}, value=int(sys.argv[2]))])
print(json.dumps([found, notes]))
"""
HOLDER = """
import fcntl, sqlite3, sys
if sys.argv[2] == "opening":
    lock = open(sys.argv[1] + ".lock", "r+b")
    fcntl.flock(lock, fcntl.LOCK_EX)
else:
    held = sqlite3.connect(sys.argv[1], isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""
HELD = {
    "opening": (
        1,
        "error: store.sqlite: the store is in use by another process for more than 0.3 s\n"
        "  hint: wait for that process, or go without the store: --store none\n",
    ),
    "writing": (0, "note: going on without the store store.sqlite: database is locked\n"),
}
BACKWARDS = """
import time
now = [2e9]
def backwards():
    now[0] -= 86400.0
    return now[0]
time.time = backwards
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    return tmp_path


def at_once(commands: list[list[str]], said: str = "") -> list[subprocess.CompletedProcess[str]]:
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment())
        for command in commands
    ]
    ended = [(process, process.communicate(said, timeout=250)) for process in started]
    return [subprocess.CompletedProcess(process.args, process.returncode, *both) for process, both in ended]


def filled(path: Path) -> bytes:
    with Store.open(path, note=pytest.fail) as store:
        store.put([Record(key=k, kind="mapping", code="c", about={"of": k}, value=v) for k, v in VALUES.items()])
    return path.read_bytes()


def test_of_eight_searches_in_one_directory_one_is_made_and_seven_are_refused(folder: Path) -> None:
    search = [*TOY_COMMAND, "--pause-ms", "20", "search", "toy.yaml", "-o", "run", "--store", "store.sqlite"]
    done = at_once([search] * 8)
    assert sorted(each.returncode for each in done) == [0, *[1] * 7]
    for each in done:
        if each.returncode:
            assert each.stdout == ""
            said = each.stderr.splitlines()
            assert any(
                text in said[-2] for text in ("in use by another process", "already holds a run", "exists already")
            )
            assert said[-2].startswith("error: ")
            assert said[-1].startswith("  hint: ")
    alone = run("search", "toy.yaml", "-o", "alone", "--store", "none", toy=True)
    assert alone.returncode == 0
    assert [Path("run", name).read_bytes() for name in RESULTS] == [
        Path("alone", name).read_bytes() for name in RESULTS
    ]


def test_eight_processes_meet_a_damaged_store_and_one_of_them_moves_it_aside(folder: Path) -> None:
    path = folder / "store.sqlite"
    content = filled(path)
    damaged = content[: len(content) // 2]
    path.write_bytes(damaged)
    for left in ("store.sqlite-wal", "store.sqlite-shm"):
        (folder / left).unlink(missing_ok=True)
    said = " ".join(VALUES) + "\n"
    done = at_once([[sys.executable, "-c", READER, str(path), str(i)] for i in range(8)], said)
    assert [(each.returncode, each.stderr) for each in done] == [(0, "")] * 8
    assert [path.name for path in folder.glob("*.damaged-*")] == ["store.sqlite.damaged-1"]
    assert (folder / "store.sqlite.damaged-1").read_bytes() == damaged
    assert sum("is damaged" in each.stdout for each in done) == 1
    with Store.open(path, note=pytest.fail) as store:
        own = [f"own{i}" for i in range(8)]
        assert store.get(own) == {name: i for i, name in enumerate(own)}


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_anywhere_gives_the_right_value_or_none(folder: Path, seed: int) -> None:
    path, draw = folder / "store.sqlite", random.Random(seed)
    content = filled(path)
    for _ in range(25):
        changed = bytearray(content)
        at = draw.randrange(len(changed))
        changed[at] ^= 1 << draw.randrange(8)
        for left in folder.glob("store.sqlite*"):
            left.unlink()
        path.write_bytes(changed)
        notes: list[str] = []
        if 60 <= at < 72:  # what the file is: a newer version, or of another program, which is left alone
            with suppress(StoreError):
                Store.open(path, note=notes.append).close()
            continue
        with Store.open(path, timeout_s=1.0, note=notes.append) as store:
            found = store.get(list(VALUES))
            store.put([Record(key="new", kind="mapping", code="", about={}, value=7)])
            assert store.get(["new"]) == {"new": 7}, f"byte {at}: {notes}"
        assert {key: value for key, value in found.items() if value != VALUES[key]} == {}, f"byte {at}"
        assert len(found) >= len(VALUES) - 1 or len(notes) == 1, f"byte {at}"


@pytest.mark.parametrize("what", HELD)
def test_a_store_held_by_another_process_for_too_long(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    path = folder / "store.sqlite"
    filled(path)
    monkeypatch.setitem(Store.open.__func__.__kwdefaults__, "timeout_s", 0.3)
    command = ["table", "network.yaml", "--arch", "eyeriss", "--bits", "8", "--store", "store.sqlite", "-o"]
    code, said = HELD[what]
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert main([*command, "held.csv"]) == code
        assert capsys.readouterr().err == said
        assert (folder / "held.csv").exists() == (code == 0)
        holder.communicate("")
    assert main([*command, "free.csv"]) == 0
    assert capsys.readouterr().err == ""
    if code == 0:
        assert (folder / "held.csv").read_bytes() == (folder / "free.csv").read_bytes()
    with Store.open(path, note=pytest.fail) as store:
        assert store.get(list(VALUES)) == VALUES


def test_a_clock_that_goes_backwards_changes_no_result(folder: Path) -> None:
    search = ["toy.yaml", "--store", "store.sqlite"]
    assert run("search", *search, "-o", "forwards", toy=True).returncode == 0
    back = run("search", *search, "-o", "backwards", toy=True, before=BACKWARDS)
    assert back.returncode == 0, back.stderr
    for name in RESULTS:
        assert Path("backwards", name).read_bytes() == Path("forwards", name).read_bytes()
    connection = sqlite3.connect("store.sqlite")
    assert connection.execute("SELECT count(*), min(hits) FROM results").fetchone()[1] == 1
    connection.execute("UPDATE results SET used_unix_s = 4e9, created_unix_s = 4e9")  # as before the clock went back
    connection.commit()
    connection.close()
    shown = run("store", "ls", "--store", "store.sqlite")
    assert shown.returncode == 0
    assert "now" in shown.stdout
    removed = run("store", "gc", "--unused-days", "0", "--store", "store.sqlite")
    assert removed.stdout.startswith("store.sqlite: removed ")
    assert "nothing is kept here" in run("store", "ls", "--store", "store.sqlite").stdout


LONG = {
    "map": ["map", "mobilenet_v2", "--arch", "simba", "--cost-model", "compat", "--threads", "1"],
    "table": ["table", "resnet50", "--arch", "simba", "-o", "t.csv", "--threads", "2", "--store", "s.sqlite"],
    "converge": ["converge", "mobilenet_v2", "--arch", "eyeriss", "--layer", "5"],
    "quantize": [*QUANTIZE[:-3], "50", "--epochs", "50", "-o", "job"],
    "reproduce": ["reproduce", "ddecs2024", "-o", "paper"],
}
LOADED = """
import sys
from quantloom.cli import main
print("loaded", file=sys.stderr, flush=True)
sys.argv[0] = "quantloom"
main.entry_point()
"""


@pytest.mark.parametrize("name", [*LONG, "search", "search by workers"])
def test_ctrl_c_at_any_moment_of_a_long_command(folder: Path, name: str) -> None:
    """From when the command is loaded; all processes get it, as from a terminal."""
    draw = random.Random(name)
    if name.startswith("search"):
        workers = ["--workers", "2"] if name.endswith("workers") else []
        before = "import sys; print('loaded', file=sys.stderr, flush=True)"
        command = [*TOY_COMMAND, "--pause-ms", "100", "--before", before, "search", "toy.yaml", *workers, "-o", "run"]
    else:
        command = [sys.executable, "-c", LOADED, *LONG[name]]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "loaded\n"
        time.sleep(draw.uniform(0, 3))
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert not list(folder.rglob(".*.part*"))
    for directory, again in (("run", "search"), ("job", "quantize")):
        if (folder / directory / "manifest.json").exists():
            assert f"go on with `quantloom {again} --resume {directory}`" in err


def test_a_reader_of_a_long_output_that_leaves_ends_the_command_quietly() -> None:
    command = [*QUANTLOOM, "show", "model", "mobilenet_v2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as one:
        assert one.stdout is not None
        assert one.stderr is not None
        assert one.stdout.readline() == "{\n"
        one.stdout.close()
        assert one.stderr.read() == ""
        assert one.wait(timeout=100) == 0
