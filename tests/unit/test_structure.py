"""The shape of the package: who may import whom, what loads late, how long a file may grow, what a wheel must hold."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import quantloom
from quantloom.report import page
from quantloom.zoo.trained import CIFAR10

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "quantloom"

# Room -> rooms it may import; "quantloom" is the package itself (its version and its folders).
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "whole_files": set(),
    "report": {"errors", "whole_files"},
    "zoo": {"errors"},
    "workload": {"_core", "errors"},
    "store": {"_core", "errors"},
    "estimate": {"errors"},
    "spec": {"_core", "errors", "estimate", "quantloom", "workload"},
    "timeloop": {"_core", "errors", "estimate", "spec", "workload"},
    "mapper": {"_core", "errors", "report", "spec", "store", "workload"},
    "quant": {"errors", "whole_files", "workload", "zoo"},
    "joint_search": {"_core", "errors", "mapper", "quantloom", "report", "store", "whole_files", "workload"},
    "demo": {"errors", "quant", "workload", "zoo"},
    "assemble": {"_core", "demo", "errors", "joint_search", "mapper", "quant", "spec", "store", "workload", "zoo"},
    "reproduce": {
        *("_core", "assemble", "demo", "errors", "joint_search", "mapper", "quant", "report", "spec", "store"),
        *("workload", "zoo"),
    },
    "testing": {"_core", "errors", "mapper", "quant", "joint_search", "spec", "workload", "zoo"},
    "cli": {
        *(
            "_core",
            "assemble",
            "demo",
            "errors",
            "estimate",
            "mapper",
            "quant",
            "quantloom",
            "report",
            "reproduce",
            "joint_search",
            "spec",
            "store",
        ),
        *("timeloop", "whole_files", "workload", "zoo"),
    },
    "__init__": {"_core", "assemble", "errors", "joint_search", "mapper", "spec", "workload"},
    "__main__": {"cli"},
}
# Single modules that may do more: they join two rooms so that no other module has to.
JOINTS: dict[str, set[str]] = {
    "workload.load": {"spec", "zoo"},  # from what a user names, a network: by the zoo, a module or a file
    "spec.search_config": {"joint_search"},  # from YAML to the record of a search
    "spec.search_rules": {"joint_search"},  # the same of its rules
    "quant.data": {"demo"},  # "demo" is the name of a data set
}
# Third-party package -> modules or rooms that may load it.
LOADERS: dict[str, set[str]] = {
    "yaml": {"spec.yaml_nodes"},
    "torch": {
        "zoo",
        "quant",
        "demo",
        "workload.from_torch",
        "workload.from_export",
        "workload.torch_models",
        "workload.file_module",
        "workload.onnx_module",
        "workload.tflite_module",
        "assemble",
    },
    "onnx": {"workload.onnx_file", "quant.onnx_export"},
    "tflite": {"workload.tflite_file"},
    "onnxruntime": {"quant.onnx_export"},
    "PIL": {"quant.image_files"},
    "safetensors": {"quant.checkpoint"},
    "distributed": {"joint_search.cluster"},
    "pymoo": {"joint_search.nsga2"},
    "optuna": {"joint_search.optuna_sampler"},
    "matplotlib": {"report"},
    "pandas": {"report.results"},
    "pyarrow": {"report.results"},
    "xarray": {"report.results"},
    "rich": {"report", "cli"},
    "numpy": {"mapper", "joint_search", "quant", "report", "demo", "testing"},
    "hypothesis": {"testing.strategies"},
    "scipy": {"testing.proxy_milp"},
}
LATE = (
    *("torch", "distributed", "matplotlib", "pymoo", "onnx", "onnxruntime", "PIL", "pandas", "pyarrow", "hypothesis"),
    *("scipy", "optuna", "tflite"),
)


@dataclass(frozen=True)
class Import:
    """One import statement. importer: dotted name inside the package; for_types: under `if TYPE_CHECKING`."""

    importer: str
    imported: str
    line: int
    for_types: bool

    @property
    def room(self) -> str:
        return self.importer.split(".")[0]

    @property
    def imported_room(self) -> str:
        """The room of an import from the package itself."""
        inside = self.imported.split(".")[1:]
        is_room = bool(inside) and (inside[0] in ARROWS or inside[0] == "_core")
        return inside[0] if is_room else "quantloom"

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"line {node.lineno}: relative import"
        module = node.module or ""
        return [f"quantloom.{alias.name}" for alias in node.names] if module == "quantloom" else [module]
    return []


def imports_of(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        for name in imported_names(node):
            yield Import(module_name(path), name, getattr(node, "lineno", 0), id(node) in typing_only)


@cache
def all_imports() -> tuple[Import, ...]:
    return tuple(found for path in sorted(PACKAGE.rglob("*.py")) for found in imports_of(path))


def test_rooms_import_only_along_the_arrows() -> None:
    broken = [
        str(found)
        for found in all_imports()
        if found.imported.split(".")[0] == "quantloom"
        and found.imported_room != found.room
        and found.imported_room not in ARROWS[found.room] | JOINTS.get(found.importer, set())
    ]
    assert broken == []


def test_third_party_packages_load_only_where_they_belong() -> None:
    broken = []
    for found in all_imports():
        top = found.imported.split(".")[0]
        if top == "quantloom" or top in sys.stdlib_module_names or found.for_types:
            continue
        assert top in LOADERS, f"{found}: a package that nobody may load"
        if not {found.room, found.importer} & LOADERS[top]:
            broken.append(str(found))
    assert broken == []


def test_every_joint_is_needed() -> None:
    for module, rooms in JOINTS.items():
        used = {found.imported_room for found in all_imports() if found.importer == module}
        assert rooms <= used, f"{module} no longer imports {rooms - used}"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


PRINT_LATE = f"import sys; print('loaded:', *(name for name in {LATE!r} if name in sys.modules))"


@pytest.mark.parametrize(
    "code",
    [
        "import quantloom",
        "import quantloom; quantloom.load_arch('eyeriss')",
        "from quantloom.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "load_arch", "help"],
)
def test_heavy_packages_load_late(code: str) -> None:
    assert run_python(f"{code}\n{PRINT_LATE}").splitlines()[-1] == "loaded:"


def python_modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_module_says_what_it_is() -> None:
    silent = [str(path) for path in python_modules() if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_only_the_command_line_prints() -> None:
    printing = [
        f"{path}:{node.lineno}"
        for path in python_modules()
        if PACKAGE / "cli" not in path.parents
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert printing == []


def test_no_file_is_longer_than_600_lines() -> None:
    written = [
        path
        for folder in ("cpp", "python", "tests", "bench")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".cpp", ".hpp", ".txt", ".yaml") and "golden" not in path.parts
    ]
    assert len(written) > 50
    assert [str(path) for path in written if len(path.read_text(encoding="utf-8").splitlines()) > 600] == []


def installed(name: str) -> list[Path]:
    """Files of the installed package that match a pattern; an editable install has two folders."""
    return [path for base in quantloom.__path__ for path in Path(base).glob(name)]


def test_the_package_is_typed() -> None:
    assert installed("py.typed")
    assert installed("_core.pyi")


def test_the_package_holds_the_accelerators() -> None:
    shipped = {path.name: path.read_bytes() for path in installed("arch_specs/*.yaml")}
    assert shipped == {path.name: path.read_bytes() for path in (ROOT / "arch_specs").glob("*.yaml")}


def test_the_package_holds_the_files_of_the_report() -> None:
    names = {path.name for path in installed("report/page_files/*")}
    assert names == {path.name for path in (PACKAGE / "report" / "page_files").iterdir()}
    assert {"page.html", "page.css", *page._SCRIPTS} == names


def test_the_package_holds_the_trained_weights_of_the_zoo() -> None:
    shipped = {path.stem: path.stat().st_size for path in installed("zoo/*.pt")}
    assert shipped.keys() == set(CIFAR10)
    assert all(10**5 < size < 10**6 for size in shipped.values())


def test_the_package_holds_small_demo_data() -> None:
    data = [path for path in installed("demo/*") if path.suffix in (".npz", ".pt")]
    assert {path.suffix for path in data} == {".npz", ".pt"}
    assert sum(path.stat().st_size for path in data) <= 10 * 2**20
