"""What docs/security.md promises about the package's own code and files."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from quantloom.joint_search.config import SearchConfig
from quantloom.joint_search.run import run_search
from quantloom.report.page import embedded_json
from quantloom.testing.toy_search import ToyCosts, toy_inputs

PACKAGE = Path(__file__).parents[2] / "python" / "quantloom"

# A call by the end of its dotted name -> why the package never makes it.
NEVER = {
    "eval": "runs text",
    "exec": "runs text",
    "compile": "runs text",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "pickle.load": "runs what a file says",
    "pickle.loads": "runs what a file says",
    "marshal.loads": "runs what a file says",
    "shelve.open": "runs what a file says",
    "yaml.load": "makes objects that a file names",
    "yaml.load_all": "makes objects that a file names",
    "yaml.unsafe_load": "makes objects that a file names",
    "yaml.full_load": "makes objects that a file names",
    "extractall": "writes where an archive says",
    "executescript": "runs several statements at once",
    "tempfile.mktemp": "is a name that others can take",
    "os.chmod": "loosens what the umask allows",
    "os.umask": "loosens what the umask allows",
}
# Between processes of one search, never from a file: docs/security.md, what is trusted.
AMONG_WORKERS = {"pickle.loads": ("joint_search/cluster.py", "joint_search/workers.py")}
PARTS_OF_SQL = {"marks", "APPLICATION_ID", "VERSION"}  # question marks, and two constants for PRAGMA, which takes none


@cache
def calls() -> tuple[tuple[str, str, ast.Call], ...]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found.append((f"{path.relative_to(PACKAGE)}:{node.lineno}", ast.unparse(node.func), node))
    return tuple(found)


def keyword(call: ast.Call, name: str) -> object:
    value = next((entry.value for entry in call.keywords if entry.arg == name), None)
    return value.value if isinstance(value, ast.Constant) else None


def named(end: str) -> Iterator[tuple[str, ast.Call]]:
    return ((place, call) for place, name, call in calls() if name == end or name.endswith(f".{end}"))


@pytest.mark.parametrize("end", NEVER)
def test_the_package_never_calls(end: str) -> None:
    """Functions by their whole name (`model.eval()` is another), methods by their last word."""
    is_method = end in ("extractall", "executescript")
    places = [place for place, name, _ in calls() if name == end or (is_method and name.endswith(f".{end}"))]
    assert [place for place in places if not place.startswith(AMONG_WORKERS.get(end, ("nowhere",)))] == [], NEVER[end]


def test_weights_are_loaded_without_code() -> None:
    found = list(named("torch.load"))
    assert found
    assert [place for place, call in found if keyword(call, "weights_only") is not True] == []
    assert [place for place, call in named("np.load") if keyword(call, "allow_pickle") is not False] == []


def test_programs_are_started_from_lists_without_a_shell() -> None:
    found = [*named("subprocess.run"), *named("subprocess.Popen"), *named("subprocess.check_output")]
    assert found
    assert [place for place, call in found if any(entry.arg == "shell" for entry in call.keywords)] == []
    assert [place for place, call in found if isinstance(call.args[0], ast.Constant | ast.JoinedStr)] == []


def test_values_reach_sql_as_parameters_only() -> None:
    statements = [*named("execute"), *named("executemany"), *named("_read"), *named("_write")]
    broken = []
    for place, call in statements:
        if not place.startswith("store/") or not call.args:
            continue
        for node in ast.walk(call.args[0]):
            if isinstance(node, ast.FormattedValue) and ast.unparse(node.value) not in PARTS_OF_SQL:
                broken.append(f"{place}: {ast.unparse(node.value)}")
            if isinstance(node, ast.BinOp) or (isinstance(node, ast.Attribute) and node.attr == "format"):
                broken.append(f"{place}: {ast.unparse(node)}")
    assert len(statements) > 10
    assert broken == []


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", "<!--", "&lt;", "\u2028", "' onload='x"])
def test_names_cannot_leave_the_data_of_a_page(name: str) -> None:
    text = embedded_json({"name": name, name: [name]})
    assert not set("<>&\u2028\u2029") & set(text)


def test_files_of_a_run_are_as_private_as_the_umask_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
    before = os.umask(0o077)
    try:
        config = SearchConfig(model="toy", arch="toy", evaluations=6, population=2, seeds=0)
        run_search(config, toy_inputs(3), directory=tmp_path / "run")
    finally:
        os.umask(before)
    paths = [tmp_path / "run", *(tmp_path / "run").iterdir()]
    assert len(paths) > 5
    loose = {path.name: oct(path.stat().st_mode) for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077}
    assert loose == {}


def test_a_name_from_a_run_never_becomes_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers and labels are named by files of others; files of a run have names of our own."""
    monkeypatch.setattr("quantloom.joint_search.front.Front.plot", lambda self, path: path.write_bytes(b""))
    inputs = toy_inputs(3)
    layers = tuple(replace(layer, name=f"../../{layer.name}/x") for layer in inputs.network.layers)
    network = replace(inputs.network, name="../../evil", layers=layers)
    config = SearchConfig(model="../../toy", arch="/etc/passwd", evaluations=6, population=2, seeds=0)
    run_search(
        config, replace(inputs, network=network, costs=ToyCosts(network)), directory=tmp_path / "a" / "b" / "run"
    )
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "run"]
    assert outside == []
