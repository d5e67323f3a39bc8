"""The largest inputs of docs/limits.md take bounded time and memory; what is larger is refused within them, too."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import quantloom as ql
from quantloom.errors import QuantloomError
from quantloom.mapper import cost_table
from quantloom.spec.arch import find_arch, parse_arch
from quantloom.spec.network import parse_network
from quantloom.spec.workload import parse_workload

LARGEST = 1 << 31
DIMS = [f"D{i}" for i in range(16)]
CPU_S, MIB = 30.0, 256.0  # of a slow machine; docs/limits.md has what they take


def eight_tensors() -> str:
    inputs = "".join(f"In{i}: [{', '.join(DIMS[2 * i : 2 * i + 2])}], " for i in range(7))
    dims = ", ".join(f"{dim}: 2" for dim in DIMS)
    return f"{{name: wide, dims: {{{dims}}}, tensors: {{{inputs}Outputs: [{', '.join(DIMS[:8])}]}}}}"


def bomb(depth: int) -> str:
    """Each line names the one before it ten times."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, depth)]
    return "\n".join(lines)


def long_network() -> str:
    edges = "".join(f"  - {{name: e{i}, shape: [4, 6, 6]}}\n" for i in range(2001))
    dims = "dims: {C: 4, M: 4, P: 6, Q: 6}"
    layers = "".join(f"  - {{name: l{i}, reads: e{i}, writes: e{i + 1}, {dims}}}\n" for i in range(2000))
    return f"name: long\ninput_shape: [4, 6, 6]\nedges:\n{edges}layers:\n{layers}"


def largest_dims() -> object:
    dims = ", ".join(f"{dim}: {LARGEST}" for dim in "CMPQN")
    workload = parse_workload(f"{{name: w, dims: {{{dims}}}}}", "w")[0]
    space = ql.Mapspace(ql.load_arch("simba"), workload, selection="free")
    assert space.size() > 10**60
    return space.at(space.size() - 1)


def one_megabyte() -> object:
    return parse_arch(find_arch("eyeriss").read_text() + "# " + "x" * (1 << 20) + "\n", "a.yaml")


def many_values() -> object:
    return parse_arch("\n".join(f"key{i}: [1, 2, 3, 4, 5]" for i in range(45_000)), "a.yaml")


def tabled() -> object:
    return cost_table(parse_network(long_network(), "n.yaml"), ql.load_arch("eyeriss"), bits=(4, 8), threads=1)


def wide() -> object:
    workload = parse_workload(eight_tensors(), "w.yaml")[0]
    assert len(workload.dims) == 16
    assert len(workload.tensors) == 8
    return workload


SEVENTEEN = f"{{name: w, dims: {{{', '.join(f'D{i}: 2' for i in range(17))}}}, tensors: {{A: [D0], Outputs: [D1]}}}}"
CASES: dict[str, tuple[Callable[[], object], str]] = {
    "dims of 2^31, a mapspace above 10^60": (largest_dims, ""),
    "an accelerator of 1 MiB": (one_megabyte, ""),
    "320,000 values": (many_values, "more than 200000 values"),
    "a network of 2,000 layers": (tabled, ""),
    "16 dims and 8 tensors": (wide, ""),
    "17 dims": (lambda: parse_workload(SEVENTEEN, "w"), "17 dims|16"),
    "YAML that names itself 10^12 times": (lambda: parse_network(bomb(12), "n.yaml"), "more than 200000 values"),
    "YAML nested 100,000 deep": (lambda: parse_network("[" * 100_000, "n.yaml"), "nested"),
}


def peak_mib() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text[text.index("VmHWM:") :].split()[1]) / 1024


@pytest.mark.parametrize("name", CASES)
def test_time_and_memory_are_bounded(name: str) -> None:
    make, refusal = CASES[name]
    ql.load_arch("eyeriss")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before, began = peak_mib(), time.process_time()
    if refusal:
        with pytest.raises(QuantloomError, match=refusal):
            make()
    else:
        assert make() is not None
    taken, grown = time.process_time() - began, peak_mib() - before
    assert taken < CPU_S
    assert grown < MIB
