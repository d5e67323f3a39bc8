"""The store's file: nothing lost, nothing wrong, many processes at once, and work goes on where it cannot be used."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantloom.errors import StoreError
from quantloom.store.database import Record, Store
from quantloom.store.keys import key_of
from quantloom.store.schema import APPLICATION_ID, VERSION

FLOATS = [1 / 3, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0]


def record(name: object, value: object = 1) -> Record:
    return Record(key=key_of(name), kind="mapping", code="c0de", about={"name": name}, value=value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "store.sqlite"


class Opener:
    """Opens stores and remembers what they say."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, path: Path, timeout_s: float = 20.0) -> Store:
        return Store.open(path, timeout_s=timeout_s, note=self.notes.append)


@pytest.fixture
def opened() -> Iterator[Opener]:
    opener = Opener()
    yield opener
    assert len(opener.notes) <= 1, "said more than once"


def test_values_come_back_exactly(path: Path, opened: Opener) -> None:
    value = {"floats": FLOATS, "text": "µ \0 '; DROP TABLE results; --", "none": None, "deep": [[1, [True]]]}
    with opened(path) as store:
        store.put([record("a", value), record("b", 2)])
        assert store.get([key_of("a"), key_of("missing")]) == {key_of("a"): value}
    with opened(path) as store:
        assert store.get([key_of("a"), key_of("b")]) == {key_of("a"): value, key_of("b"): 2}
        assert str(store.get([key_of("a")])[key_of("a")]["floats"]) == str(FLOATS)
    assert opened.notes == []


def test_a_value_that_is_there_stays(path: Path, opened: Opener) -> None:
    with opened(path) as store:
        store.put([record("a", 1)])
        store.put([record("a", 2)])
        assert store.get([key_of("a")]) == {key_of("a"): 1}


def test_more_keys_than_one_question_holds(path: Path, opened: Opener) -> None:
    with opened(path) as store:
        store.put([record(i, i) for i in range(1200)])
        assert store.get([key_of(i) for i in range(1300)]) == {key_of(i): i for i in range(1200)}


def test_a_key_that_looks_like_sql_is_a_key(path: Path, opened: Opener) -> None:
    evil = "x'); DELETE FROM results; --"
    with opened(path) as store:
        store.put([record("a"), Record(key=evil, kind=evil, code=evil, about={evil: evil}, value=evil)])
        assert store.get([evil]) == {evil: evil}
        assert len(list(store.results())) == 2


def test_use_is_counted(path: Path, opened: Opener) -> None:
    with opened(path) as store:
        store.put([record("a"), record("b")])
    for _ in range(3):
        with opened(path) as store:
            store.get([key_of("a")])
    with opened(path) as store:
        found = {result.about: result for result in store.results()}
    assert {about: result.hits for about, result in found.items()} == {'{"name":"a"}': 3, '{"name":"b"}': 0}
    a = found['{"name":"a"}']
    assert time.time() - 60 < a.created_unix_s < a.used_unix_s <= time.time()


def test_removed_values_give_their_space_back(path: Path, opened: Opener) -> None:
    with opened(path) as store:
        store.put([record(i, "x" * 1000) for i in range(500)])
        store.remove([key_of(i) for i in range(499)])
        assert store.get([key_of(i) for i in range(500)]) == {key_of(499): "x" * 1000}
    assert path.stat().st_size < 50_000


def test_the_file_is_for_its_user_alone(path: Path, opened: Opener) -> None:
    before = os.umask(0)
    try:
        with opened(path) as store:
            store.put([record("a")])
            modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert len(modes) == 4  # the store, its log, its index and its lock
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


# ---- many processes --------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from quantloom.store.database import Record, Store
from quantloom.store.keys import key_of

me, path = int(sys.argv[1]), Path(sys.argv[2])
sys.stdin.readline()  # all begin at once, with opening the file that is not there
with Store.open(path, note=lambda text: sys.exit(text)) as store:
    for i in range(40):
        # half of the values are everybody's, half are mine alone
        for name in (["all", i], [me, i]):
            store.put([Record(key=key_of(name), kind="mapping", code="", about={}, value=name)])
        found = store.get([key_of(["all", j]) for j in range(i + 1)])
        assert [found[key_of(["all", j])] for j in range(i + 1)] == [["all", j] for j in range(i + 1)]
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_eight_processes_write_and_read_at_once(path: Path, opened: Opener) -> None:
    processes = [start(WRITER, me, path) for me in range(8)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert outcomes == [("", "", 0)] * 8
    with opened(path) as store:
        results = {result.key: json.loads(result.value) for result in store.results()}
    names = [[me, i] for me in ("all", *range(8)) for i in range(40)]
    assert results == {key_of(name): name for name in names}


ENDLESS = """
import sys
from pathlib import Path
from quantloom.store.database import Record, Store
from quantloom.store.keys import key_of

with Store.open(Path(sys.argv[1]), note=lambda text: sys.exit(text)) as store:
    for i in range(10**9):
        # two values in one transaction: both are there, or none
        store.put([Record(key=key_of([half, i]), kind="mapping", code="", about={}, value=i) for half in "ab"])
        print(i, flush=True)
"""


def test_a_process_killed_while_it_writes_leaves_whole_transactions(path: Path, opened: Opener) -> None:
    process = start(ENDLESS, path)
    lines = [process.stdout.readline() for _ in range(30)]
    process.kill()
    said = [*lines, *process.communicate()[0].splitlines()]
    with opened(path) as store:
        count = len(said)
        found = store.get([key_of([half, i]) for i in range(count + 1) for half in "ab"])
    assert len(found) % 2 == 0
    assert all(key_of([half, i]) in found for i in range(count - 1) for half in "ab")
    assert opened.notes == []


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another connection in the middle of writing."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    yield
    other.execute("ROLLBACK")
    other.close()


def test_a_store_held_by_another_process_is_an_error_after_a_while(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)  # so that opening has to write
    connection.close()
    with (
        held(path),
        pytest.raises(StoreError, match=r"in use by another process for more than 0\.2 s(.|\n)*--store none"),
    ):
        opened(path, timeout_s=0.2)


def test_a_store_held_later_is_left_out(path: Path, opened: Opener) -> None:
    with opened(path, timeout_s=0.1) as store:
        store.put([record("a")])
        with held(path):
            store.put([record("b")])
            store.put([record("c")])
        assert store.get([key_of("a")]) == {}
    assert opened.notes == [f"note: going on without the store {path}: database is locked"]


# ---- files that are not what they should be --------------------------------------------------------------------------


def filled(path: Path, count: int = 300) -> bytes:
    with Store.open(path, note=pytest.fail) as store:
        store.put([record(i, "x" * 200) for i in range(count)])
    return path.read_bytes()


def zeroed(content: bytes) -> bytes:
    return content[:8192] + bytes(8192) + content[16384:]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda content: b"not a database at all, but long enough to be read" * 40, "file is not a database"),
        (lambda content: content[: len(content) // 2], "malformed"),
        (lambda content: content[:5000], "malformed"),
        (zeroed, r"damaged|malformed|never used|btreeInitPage|Tree"),
        (lambda content: content[:100] + bytes(1000) + content[1100:], "malformed|database"),
        (lambda content: b"\xff" * 30, "not a database"),
    ],
    ids=["text", "half", "first pages", "zeroed pages", "zeroed schema", "short"],
)
def test_a_damaged_file_is_moved_aside_and_begun_anew(path: Path, opened: Opener, damage, why: str) -> None:
    content = damage(filled(path))
    path.write_bytes(content)
    with opened(path) as store:
        store.put([record("new", 7)])
        assert store.get([key_of("new")]) == {key_of("new"): 7}
    [note] = opened.notes
    assert note.startswith(f"note: the store {path} is damaged (")
    assert note.endswith("it is now store.sqlite.damaged-1, and begun anew")
    assert path.with_name("store.sqlite.damaged-1").read_bytes() == content
    with Opener()(path) as store:
        assert store.get([key_of("new")]) == {key_of("new"): 7}


def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path, opened: Opener) -> None:
    config = tmp_path / "search.yaml"
    config.write_text("model: mobilenet_v1\n" * 20)
    with pytest.raises(StoreError, match=r"search\.yaml is not a store"):
        opened(config)
    assert config.read_text() == "model: mobilenet_v1\n" * 20
    assert not list(tmp_path.glob("search.yaml.damaged*"))


def test_damage_found_in_use_is_moved_aside_too(path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantloom.store.database._CHECKED_BYTES", 0)
    content = filled(path, 3000)
    path.write_bytes(content[:20000] + b"\xa5" * (len(content) - 20000))
    with opened(path) as store:
        keys = [key_of(i) for i in range(3000)]
        assert len(store.get(keys)) < 3000
        store.put([record("new", 7)])
        assert store.get([key_of("new")]) == {key_of("new"): 7}
    [note] = opened.notes
    assert "damaged-1" in note


def test_a_changed_byte_in_a_value_is_computed_anew(path: Path, opened: Opener) -> None:
    content = filled(path)
    place = content.index(b"x" * 100)
    path.write_bytes(content[:place] + b"y" + content[place + 1 :])
    with opened(path) as store:
        assert len(store.get([key_of(i) for i in range(300)])) == 299
        assert len(list(store.results())) == 299
    assert opened.notes == []


def test_a_database_of_another_program_is_left_alone(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(StoreError, match="database of another program"):
        opened(path)
    assert path.read_bytes() == content


def test_an_empty_file_becomes_a_store(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    path.touch()
    with opened(path) as store:
        store.put([record("a")])
        assert len(store.get([key_of("a")])) == 1
    assert opened.notes == []


def test_a_store_of_a_newer_version_is_left_alone(path: Path, opened: Opener) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(
        StoreError, match=rf"store of version {VERSION + 1}; this quantloom knows versions up to {VERSION}"
    ):
        opened(path)


# As version 1 made its files: written down here once, whatever the code does now.
VERSION_1 = f"""
CREATE TABLE results (key TEXT PRIMARY KEY, kind TEXT NOT NULL, code TEXT NOT NULL, about TEXT NOT NULL,
 value TEXT NOT NULL, created_unix_s REAL NOT NULL);
INSERT INTO results VALUES ('k1', 'mapping', 'c', '{{"arch":"simba"}}', '{{"energy_pj":0.30000000000000004}}', 1000.5);
INSERT INTO results VALUES ('k2', 'accuracy', 'c', '{{}}', '0.5', 2000.5);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = 1;
"""


def test_a_store_of_version_1_is_brought_up_to_date(path: Path, opened: Opener) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    connection.close()
    with opened(path) as store:
        assert store.get(["k1", "k2"]) == {"k1": {"energy_pj": 0.30000000000000004}, "k2": 0.5}
    with opened(path) as store:
        accuracy, mapping = store.results()
        store.put([record("a")])
        assert len(store.get([key_of("a")])) == 1
    assert (mapping.key, mapping.created_unix_s, mapping.hits) == ("k1", 1000.5, 1)
    assert (accuracy.key, accuracy.created_unix_s, accuracy.hits) == ("k2", 2000.5, 1)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()
    assert opened.notes == []


def test_a_migration_that_fails_changes_nothing(path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE results ADD COLUMN half INTEGER")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("quantloom.store.schema._STEPS", (None, fail))
    with opened(path) as store:
        assert store.get(["k1"]) == {}
    assert opened.notes == [f"note: going on without the store {path}: database or disk is full"]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert len(connection.execute("SELECT * FROM results").fetchone()) == 6
    connection.close()


# ---- places that cannot be written -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["/proc/quantloom/store.sqlite", "file/store.sqlite"])
def test_work_goes_on_where_no_file_can_be_made(tmp_path: Path, opened: Opener, place: str) -> None:
    (tmp_path / "file").touch()
    with opened(tmp_path / place) as store:
        store.put([record("a")])
        assert store.get([key_of("a")]) == {}
        with pytest.raises(StoreError, match="cannot be used"):
            store.remove([key_of("a")])
    [note] = opened.notes
    assert note.startswith("note: going on without the store")


def test_work_goes_on_with_a_file_that_may_only_be_read(path: Path, opened: Opener, monkeypatch) -> None:
    filled(path)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # as for a user who is not root
    with opened(path) as store:
        assert store.get([key_of(1)]) == {}
    assert opened.notes == [f"note: going on without the store {path}: Permission denied"]


def test_work_goes_on_when_the_disk_is_full(path: Path, opened: Opener) -> None:
    """A limit of the size of files stands for the end of the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with opened(path) as store:
        store.put([record("a")])
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 10, before[1]))
            store.put([record(i, "x" * 10_000) for i in range(100)])
            store.put([record("b")])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert store.get([key_of("a")]) == {}
    [note] = opened.notes
    assert note.startswith(f"note: going on without the store {path}: d")  # "disk I/O error", or "... disk is full"
    with Opener()(path) as store:
        assert store.get([key_of("a"), key_of("b")]) == {key_of("a"): 1}


def test_bytes_that_are_no_text_are_damage(path: Path, opened: Opener) -> None:
    """Found by tests.fuzz: SQLite's message quotes them, which Python cannot."""
    content = filled(path)
    schema = content.index(b"CREATE TABLE")
    path.write_bytes(content[: schema + 8] + b"\x8b\xff" + content[schema + 10 :])
    with opened(path) as store:
        store.put([record("new", 7)])
        assert store.get([key_of("new")]) == {key_of("new"): 7}
    [note] = opened.notes
    assert note.endswith("it is now store.sqlite.damaged-1, and begun anew")


def test_a_store_without_a_version_is_damaged(path: Path, opened: Opener) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 0")
    connection.close()
    with opened(path) as store:
        store.put([record("new", 7)])
        assert store.get([key_of("new")]) == {key_of("new"): 7}
    [note] = opened.notes
    assert "is damaged (it says no version, but holds tables)" in note
