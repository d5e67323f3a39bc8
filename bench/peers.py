"""Peers' mappers beside quantloom's: CPU seconds for one layer at 8 bits, a process for each.

    pip install zigzag-dse==3.9.1 six    # beside quantloom, or elsewhere: --python PATH
    pip install accelforge==1.0.467      # Python 3.12, and Debian's graphviz: --accelforge-python PATH
    git clone https://github.com/Accelergy-Project/accelforge    # for its accelerators: --accelforge CHECKOUT
    python bench/peers.py [--layer TEXT] [--python PATH] [--accelforge CHECKOUT --accelforge-python PATH] [--limit S]

The peers search their own accelerators with their own cost models (ZigZag: eyeriss_like with the mapping it finds
itself, temporal mappings by LOMA, least EDP; accelforge: its Eyeriss and Simba, every trade-off of energy and latency,
exactly), so only the orders of magnitude compare; quantloom: least EDP. Seconds are of the search alone, without
starting Python and importing. A peer's answer must have an energy and a latency, quantloom's must be proven. A peer
that is not installed is left out, and named; one that takes more than --limit CPU seconds is stopped (>).
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from quantloom import Workload, load_arch, optimize
from quantloom._core import TensorSpec
from quantloom.workload.layer import conv_workload

ARCHS = ("eyeriss", "simba")
BITS = {"Weights": 8, "Inputs": 8, "Outputs": 8}
ZIGZAG = """
import contextlib, json, logging, pathlib, sys, tempfile, time
import zigzag
from zigzag.api import get_hardware_performance_zigzag

logging.disable(logging.CRITICAL)
inputs = pathlib.Path(zigzag.__file__).parent / "inputs"
layer, name, mapping = json.loads(sys.stdin.read()), "eyeriss_like", sys.argv[1]
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
    found = pathlib.Path(folder) / "mapping.yaml"
    found.write_text(mapping)
    began = time.process_time()
    energy, latency, _ = get_hardware_performance_zigzag(
        workload=[layer], accelerator=str(inputs / "hardware" / f"{name}.yaml"), mapping=str(found), opt="EDP",
        dump_folder=folder, loma_show_progress_bar=False,
    )
    seconds = time.process_time() - began
print(json.dumps({"seconds": seconds, "energy": float(energy), "latency": float(latency)}))
"""
ACCELFORGE = """
import contextlib, json, logging, pathlib, sys, tempfile, time
import accelforge

logging.disable(logging.CRITICAL)
accelforge.set_n_parallel_jobs(1)
with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
    workload = pathlib.Path(folder) / "workload.yaml"
    workload.write_text(sys.stdin.read())
    spec = accelforge.Spec.from_yaml(sys.argv[1], str(workload))
    spec.mapper.metrics = accelforge.Metrics.ENERGY | accelforge.Metrics.LATENCY
    began = time.process_time()
    found = spec.map_workload_to_arch(print_progress=False)
    seconds = time.process_time() - began
    energy, latency = found.energy(), found.latency()
    energy, latency = (min(x) if hasattr(x, "__iter__") else x for x in (energy, latency))
print(json.dumps({"seconds": seconds, "energy": float(energy), "latency": float(latency)}))
"""
ZIGZAG_MAPPING = "- {name: default, memory_operand_links: {O: O, W: I2, I: I1}}"  # spatial: ZigZag's own choice


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of every tool. size: of the output. A matrix product is a convolution of 1x1 with one row."""

    name: str
    inputs: int
    outputs: int
    size: tuple[int, int]
    kernel: int = 1
    stride: int = 1
    groups: int = 1

    def workload(self) -> Workload:
        if self.kernel == 1 and 1 in self.size:
            return Workload(
                self.name,
                [("C", self.inputs), ("M", self.outputs), ("N", self.size[0])],
                [
                    TensorSpec("Weights", [[("C", 1)], [("M", 1)]]),
                    TensorSpec("Inputs", [[("N", 1)], [("C", 1)]]),
                    TensorSpec("Outputs", [[("N", 1)], [("M", 1)]], is_output=True),
                ],
            )
        return conv_workload(
            self.name,
            inputs=self.inputs,
            outputs=self.outputs,
            output_size=self.size,
            kernel=(self.kernel, self.kernel),
            stride=(self.stride, self.stride),
            groups=self.groups,
        )

    def zigzag(self) -> dict[str, object]:
        """One entry of ZigZag's workload file."""
        dims = {
            "B": 1,
            "G": self.groups,
            "K": self.outputs // self.groups,
            "C": self.inputs // self.groups,
            "OX": self.size[0],
            "OY": self.size[1],
            "FX": self.kernel,
            "FY": self.kernel,
        }
        halo = [(self.kernel - 1) // 2, (self.kernel - 1) // 2]
        return {
            "id": 0,
            "name": self.name,
            "operator_type": "Conv",
            "equation": "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]",
            "dimension_relations": [f"ix={self.stride}*ox+1*fx", f"iy={self.stride}*oy+1*fy"],
            "loop_dims": list(dims),
            "loop_sizes": list(dims.values()),
            "operand_precision": {"W": 8, "I": 8, "O": 16, "O_final": 8},
            "operand_source": {"I": 0, "W": 0},
            "pr_loop_dims": ["IX", "IY"],
            "pr_loop_sizes": [self.stride * extent for extent in self.size],
            "padding": [halo, halo],
        }

    def accelforge(self) -> str:
        """accelforge's workload file."""
        dims = {"g": self.groups, "c": self.inputs // self.groups, "m": self.outputs // self.groups}
        dims |= {"p": self.size[1], "q": self.size[0], "r": self.kernel, "s": self.kernel}
        dims = {dim: extent for dim, extent in dims.items() if extent > 1}
        windows = {
            axis: " + ".join(
                [f"{self.stride} * {position}"] * (position in dims) + [offset] * (offset in dims and position in dims)
            )
            for axis, position, offset in (("W", "p", "r"), ("H", "q", "s"))
        }
        ranks = {dim.upper(): dim for dim in "gc" if dim in dims} | {a: text for a, text in windows.items() if text}
        accesses = {
            "Inputs": ", ".join(f"{rank}: {text}" for rank, text in ranks.items()),
            "Weights": ", ".join(f"{dim.upper()}: {dim}" for dim in "gcmrs" if dim in dims),
            "Outputs": ", ".join(f"{dim.upper()}: {dim}" for dim in "gmpq" if dim in dims),
        }
        return "\n".join(
            [
                "workload:",
                "  iteration_space_shape:",
                *(f"    {dim}: 0 <= {dim} < {extent}" for dim, extent in dims.items()),
                "  bits_per_value: {All: 8}",
                "  einsums:",
                "  - name: Layer",
                "    tensor_accesses:",
                *(
                    f"    - {{name: {name}, projection: {{{text}}}{', output: True' if name == 'Outputs' else ''}}}"
                    for name, text in accesses.items()
                ),
                "    renames: {weight: Weights, input: Inputs, output: Outputs}",
            ]
        )


LAYERS = (
    Layer("first conv 3x3 s2, 3->32 @112", 3, 32, (112, 112), kernel=3, stride=2),
    Layer("depthwise 3x3, 32 @112", 32, 32, (112, 112), kernel=3, groups=32),
    Layer("pointwise 96->24 @56", 96, 24, (56, 56)),
    Layer("classifier 1280->1000", 1280, 1000, (1, 1)),
    Layer("GEMM 4096x4096x4096", 4096, 4096, (4096, 1)),
)


def peer_seconds(command: list[str], layer: str, text: str, limit: int) -> str:
    """CPU seconds of a peer for a layer, `>limit` if it was stopped. Ends with the peer's own words if it fails."""
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)),
    )
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f">{limit}"
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed on {layer} (exit {done.returncode}):\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    assert min(found["energy"], found["latency"]) > 0, found
    return f"{found['seconds']:.4g}"


def zigzag_seconds(layer: Layer, python: str, limit: int) -> str:
    return peer_seconds([python, "-c", ZIGZAG, ZIGZAG_MAPPING], layer.name, json.dumps(layer.zigzag()), limit)


def accelforge_seconds(layer: Layer, python: str, arch: Path, limit: int) -> str:
    return peer_seconds([python, "-c", ACCELFORGE, str(arch)], layer.name, layer.accelforge(), limit)


def quantloom_seconds(layer: Layer, arch: str) -> float:
    """CPU seconds of quantloom in a process of its own, so that nothing is remembered."""
    command = [sys.executable, __file__, "--measure", arch, "--layer", layer.name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def measure(layer: Layer, arch_name: str) -> float:
    arch, workload = load_arch(arch_name), layer.workload()
    began = time.process_time()
    found = optimize(arch, workload, bits=BITS, threads=1)
    seconds = time.process_time() - began
    assert found.certificate.exhausted, layer.name
    return seconds


def version_of(package: str, python: str) -> str:
    """A peer's version, empty and said so if it is not installed."""
    asked = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False).stdout.strip()
    print(f"{package} {found}" if found else f"{package} is not installed: pip install {package}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layer", default="", help="a part of the names of the layers to measure")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peers installed")
    parser.add_argument("--accelforge", metavar="CHECKOUT", type=Path, help="accelforge's repository")
    parser.add_argument("--accelforge-python", default=sys.executable, help="the Python that has accelforge installed")
    parser.add_argument("--limit", metavar="S", type=int, default=300, help="CPU seconds of a peer for a layer")
    parser.add_argument("--measure", choices=ARCHS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    layers = [layer for layer in LAYERS if options.layer in layer.name]
    if options.measure:
        print(measure(layers[0], options.measure))
        return
    zigzag = version_of("zigzag-dse", options.python)
    accelforge = version_of("accelforge", options.accelforge_python) if options.accelforge else ""
    columns = [f"quantloom {arch}" for arch in ARCHS]
    columns += ["ZigZag eyeriss_like"] if zigzag else []
    columns += [f"accelforge {arch}" for arch in ARCHS] if accelforge else []
    print("| layer | " + " | ".join(f"{column}, s" for column in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for layer in layers:
        seconds = [f"{quantloom_seconds(layer, arch):.4g}" for arch in ARCHS]
        if zigzag:
            seconds.append(zigzag_seconds(layer, options.python, options.limit))
        for arch in ARCHS if accelforge else ():
            file = options.accelforge / "examples" / "arches" / f"{arch}.yaml"
            seconds.append(accelforge_seconds(layer, options.accelforge_python, file, options.limit))
        print(f"| {layer.name} | " + " | ".join(seconds) + " |", flush=True)


if __name__ == "__main__":
    main()
