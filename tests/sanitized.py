"""What the Python suite asks of the core, with AddressSanitizer and UndefinedBehaviorSanitizer in the core.

    cmake --preset asan-python -Dpybind11_DIR=$(python -m pybind11 --cmakedir)
    cmake --build --preset asan-python
    python -m tests.sanitized [ARGUMENTS OF PYTEST]

A finding ends the run with the sanitizer's report. No test is out of time, as all take several times theirs. Leaks are
not looked for: the interpreter itself leaves memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "asan-python" / "cpp"
UNIT = ("batch", "bounded", "certificate", "concurrency", "count_valid", "counted_objectives", "einsums", "given")
UNIT += ("heuristics", "infeasible", "interrupt", "large_inputs", "mapper", "mapspace", "operator_traffic")
UNIT += ("shipped_archs", "spec_arch", "spec_mapping", "spec_workload", "stored", "sweep", "timeloop_read", "together")
ORACLE = ("core_equals_oracle", "default_laws", "limits")
FILES = [f"tests/unit/test_{name}.py" for name in UNIT] + [f"tests/oracle/test_{name}.py" for name in ORACLE]
TOO_LONG = "tests/unit/test_mapper.py::test_a_refused_layer_does_not_end_a_table"  # takes two minutes of CPU
FILES += ["tests/property", "tests/fuzz", "tests/differential/test_run.py", "tests/cli/test_evaluate.py"]


def link_package(folder: Path, extension: Path) -> None:
    """The package's Python files with this extension."""
    package = folder / "quantloom"
    package.mkdir()
    for source in (ROOT / "python" / "quantloom").iterdir():
        if source.suffix != ".so":
            (package / source.name).symlink_to(source)
    (package / extension.name).symlink_to(extension)


def runtime_libraries() -> str:
    """Those of the compiler that must be there before the interpreter starts."""
    found = (["g++", f"-print-file-name={name}"] for name in ("libasan.so", "libubsan.so", "libstdc++.so"))
    return " ".join(subprocess.check_output(command, text=True).strip() for command in found)


def main(arguments: list[str]) -> int:
    extension = next(BUILD.glob("_core*.so"), None)
    if extension is None:
        sys.exit(f"{BUILD}: no extension is there; build it: cmake --build --preset asan-python")
    with tempfile.TemporaryDirectory() as folder:
        link_package(Path(folder), extension)
        environment = os.environ | {
            "PYTHONPATH": folder,
            "LD_PRELOAD": runtime_libraries(),
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:handle_abort=1",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            "OMP_NUM_THREADS": "1",
        }
        named = any((ROOT / argument.partition("::")[0]).exists() for argument in arguments)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=0", *arguments]
        command += [] if named else [f"--deselect={TOO_LONG}", *FILES]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
