"""`quantloom show arch --svg`: a drawing that holds every level, every energy and every source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from quantloom import load_arch
from quantloom.cli.arch_rows import arch_rows
from quantloom.spec.arch import arch_names

Run = Callable[..., Any]
GOLDEN = Path(__file__).parents[1] / "golden"


def texts(path: Path) -> list[str]:
    """The words of a drawing, which is read as XML."""
    return [element.text or "" for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", [*arch_names(), "tiny"])
def test_a_drawing_names_every_level_energy_and_source(quantloom: Run, name: str) -> None:
    file = str(GOLDEN / "tiny.yaml") if name == "tiny" else name
    result = quantloom("show", "arch", file, "--svg", "out.svg")
    assert result.code == 0, result.err
    arch, found = load_arch(file), texts(Path("out.svg"))
    for level in arch.levels:
        assert level.name in found
        assert any(f"read {level.energy.read_pj:.4g} pJ" in text for text in found)
        notes = " ".join(found)
        assert level.energy.update_source in notes
    assert arch.arithmetic.name in found


def test_tensors_are_kept_searched_or_left_out() -> None:
    by_name = {row.name: row.tensors for row in arch_rows(load_arch("eyeriss"))[0]}
    assert by_name["DRAM"] == {"Weights": "kept", "Inputs": "kept", "Outputs": "kept"}
    assert by_name["shared_glb"] == {"Weights": "bypassed", "Inputs": "kept", "Outputs": "kept"}
    assert set({row.name: row.tensors for row in arch_rows(load_arch("edge_npu"))[0]}["buffer"].values()) == {
        "searched"
    }


def test_names_are_escaped(quantloom: Run) -> None:
    text = (GOLDEN / "tiny.yaml").read_text().replace("name: Buf", 'name: "B<u>\'&f"')
    Path("odd.yaml").write_text(text)
    assert quantloom("show", "arch", "odd.yaml", "--svg", "out.svg").code == 0
    assert "B<u>'&f" in texts(Path("out.svg"))


def test_a_drawing_is_never_written_over_a_file(quantloom: Run) -> None:
    Path("out.svg").write_text("mine")
    result = quantloom("show", "arch", "eyeriss", "--svg", "out.svg")
    assert (result.code, result.err.splitlines()[0]) == (1, "error: out.svg exists already")


def test_a_drawing_needs_an_accelerator(quantloom: Run) -> None:
    result = quantloom("show", "arch", "--svg", "out.svg")
    assert result.code == 2
    assert "--svg needs ARCH" in result.err
