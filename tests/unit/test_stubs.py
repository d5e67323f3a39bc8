"""The committed stub says what the built extension offers; CONTRIBUTING.md has the command that makes it anew."""

from __future__ import annotations

import ast
import difflib
import inspect
import subprocess
import sys
from pathlib import Path

STUB = Path(__file__).parents[2] / "python" / "quantloom" / "_core.pyi"


def outline(text: str) -> list[str]:
    """Names, parameters, defaults, results and docstrings; how types of parameters are spelt depends on pybind11."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = inspect.cleandoc(node.value)
        elif isinstance(node, ast.ClassDef):
            node.body.sort(key=lambda member: getattr(member, "name", ""))
    tree.body.sort(key=lambda member: getattr(member, "name", ""))
    return ast.unparse(tree).splitlines()


def test_the_stub_is_current(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pybind11_stubgen", "quantloom._core", "--output-dir", str(tmp_path)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    generated = outline((tmp_path / "quantloom" / "_core.pyi").read_text(encoding="utf-8"))
    difference = difflib.unified_diff(outline(STUB.read_text(encoding="utf-8")), generated, "committed", "built", n=1)
    assert "\n".join(difference) == ""
