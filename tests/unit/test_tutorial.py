"""The tutorial runs from its first cell to its last and prints what it was committed with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = DOCS / "tutorial.ipynb"
CELLS = [cell for cell in json.loads(TUTORIAL.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def run_cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The code cells, run in a kernel started by a process of its own: sockets and warnings of Jupyter stay there."""
    target = tmp_path_factory.mktemp("tutorial") / "run.ipynb"
    done = subprocess.run(
        [sys.executable, str(DOCS / "site" / "run_notebook.py"), str(TUTORIAL), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [cell for cell in json.loads(target.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def varies(cell: Any) -> bool:
    """Whether the output depends on torch's version or the machine."""
    return "varies" in cell["metadata"].get("tags", [])


def kinds(cell: Any) -> list[tuple[str, list[str]]]:
    """What kinds of outputs a cell has."""
    return [(output["output_type"], sorted(output.get("data", []))) for output in cell["outputs"]]


@pytest.mark.slow
def test_every_cell_gives_what_it_was_committed_with(run_cells: list[Any]) -> None:
    assert len(run_cells) == len(CELLS) > 10
    for committed, found in zip(CELLS, run_cells, strict=True):
        cell = "".join(committed["source"])
        assert found["execution_count"] == committed["execution_count"], cell
        assert kinds(found) == kinds(committed), cell
        if not varies(committed):
            assert found["outputs"] == committed["outputs"], cell


@pytest.mark.slow
def test_the_search_of_the_tutorial_ends_with_a_front(run_cells: list[Any]) -> None:
    [search] = [cell for cell in run_cells if "ql.search(" in "".join(cell["source"])]
    text = "".join(search["outputs"][0]["text"])
    assert "of 12 evaluated assignments" in text
    assert "5 of 5 seeds proven" in text


def test_only_what_depends_on_accuracies_may_vary() -> None:
    first = next(i for i, cell in enumerate(CELLS) if "ql.search(" in "".join(cell["source"]))
    assert [i for i, cell in enumerate(CELLS) if varies(cell)] == list(range(first, len(CELLS) - 1))


def test_every_picture_has_words_for_who_cannot_see_it() -> None:
    pictures = [o for cell in CELLS for o in cell["outputs"] if "image/png" in o.get("data", {})]
    assert pictures
    assert all(len(o["metadata"]["image/png"]["alt"]) > 20 for o in pictures)
