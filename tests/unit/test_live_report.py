"""The live view: the report is written anew while a search goes on, seldom enough, and never ends it."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from quantloom.errors import SearchError
from quantloom.joint_search import live_report
from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.live_report import LiveReport
from quantloom.joint_search.run import run_search
from quantloom.joint_search.run_report import write_report
from quantloom.testing.toy_search import toy_inputs


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_reports_take_a_fiftieth_of_the_time_at_most(tmp_path, monkeypatch):
    clock, written, told = Clock(), [], []

    def slow(directory, *, reload_s):
        written.append((clock.now, directory, reload_s))
        clock.now += 1.0

    monkeypatch.setattr(live_report, "write_report", slow)
    report = LiveReport(tmp_path, lambda *what: told.append(what), clock)
    for second in range(0, 200):
        clock.now = max(clock.now, float(second))
        report(second, 200, "generation 1")
    assert [moment for moment, _, _ in written] == [10.0, 61.0, 112.0, 163.0]
    assert written[0][1:] == (tmp_path, 10)
    assert told == [(second, 200, "generation 1") for second in range(200)]


def test_a_report_that_cannot_be_written_does_not_end_the_search(tmp_path, monkeypatch, caplog):
    clock = Clock()

    def fail(directory, *, reload_s):
        raise SearchError("the disk is full")

    monkeypatch.setattr(live_report, "write_report", fail)
    report = LiveReport(tmp_path, lambda *what: None, clock)
    clock.now = 11.0
    with caplog.at_level(logging.WARNING):
        report(1, 2, "")
    assert caplog.messages == ["no report is written: the disk is full; the report is tried again later"]


def test_a_finished_run_whose_report_cannot_be_written_is_finished(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
    write = Path.write_bytes

    def full(path, content):
        if path.suffix == ".html":
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    config = SearchConfig(model="toy", arch="toy", evaluations=20, population=10, seeds=6)
    front = run_search(config, toy_inputs(4), directory=tmp_path / "run")
    assert json.loads((tmp_path / "run/front.json").read_text()) == front.to_json()
    assert json.loads((tmp_path / "run/manifest.json").read_text())["status"] == "finished"
    assert not (tmp_path / "run/report.html").exists()
    assert caplog.messages == [
        f"no report is written: cannot write {tmp_path}/run/report.html: No space left on device; "
        f"the rest of the run is; `quantloom report {tmp_path}/run` writes it"
    ]
    monkeypatch.undo()
    assert '"status":"finished"' in write_report(tmp_path / "run").read_text()


def test_a_search_under_way_shows_its_front_so_far(tmp_path, monkeypatch):
    monkeypatch.setattr(live_report, "_LEAST_S", 0.0)
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
    pages, texts = [], []

    def progress(done: int, total: int, text: str) -> None:
        texts.append(text)
        path = tmp_path / "run/report.html"
        pages.append(path.read_text() if path.exists() else "")

    config = SearchConfig(model="toy", arch="toy", evaluations=30, population=10, seeds=6)
    run_search(config, toy_inputs(4), directory=tmp_path / "run", progress=progress)
    assert sum('"status":"unfinished"' in page for page in pages) >= 1
    assert all('http-equiv="refresh" content="0"' in page for page in pages if page)
    final = (tmp_path / "run/report.html").read_text()
    assert '"status":"finished"' in final
    assert 'http-equiv="refresh"' not in final
    generations = [text for text in texts if text.startswith("generation")]
    assert generations[0] == "generation 1"
    assert generations[-1].startswith("generation 3, hypervolume 0.")


@pytest.mark.parametrize("name", ["front.json", "front.csv"])
def test_the_live_report_changes_no_result(tmp_path, monkeypatch, name):
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
    config = SearchConfig(model="toy", arch="toy", evaluations=20, population=10, seeds=6)
    for seconds, directory in ((0.0, "often"), (1e9, "never")):
        monkeypatch.setattr(live_report, "_LEAST_S", seconds)
        run_search(config, toy_inputs(4), directory=tmp_path / directory)
    assert (tmp_path / "often" / name).read_bytes() == (tmp_path / "never" / name).read_bytes()
