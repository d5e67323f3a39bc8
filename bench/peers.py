"""A peer's mapper beside quantloom's: CPU seconds for one layer at 8 bits, least EDP, a process for each.

    pip install zigzag-dse==3.9.1 six    # beside quantloom, or elsewhere: --python PATH
    python bench/peers.py [--layer TEXT] [--python PATH]

The peers search their own accelerators with their own cost models (ZigZag: eyeriss_like with the mapping it finds
itself, temporal mappings by LOMA), so only the orders of magnitude compare. Seconds are of the search alone, without
starting Python and importing. A peer's answer must have an energy and a latency, quantloom's must be proven. A peer
that is not installed is left out, and named.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass

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


LAYERS = (
    Layer("first conv 3x3 s2, 3->32 @112", 3, 32, (112, 112), kernel=3, stride=2),
    Layer("depthwise 3x3, 32 @112", 32, 32, (112, 112), kernel=3, groups=32),
    Layer("pointwise 96->24 @56", 96, 24, (56, 56)),
    Layer("classifier 1280->1000", 1280, 1000, (1, 1)),
    Layer("GEMM 4096x4096x4096", 4096, 4096, (4096, 1)),
)


def zigzag_seconds(layer: Layer, python: str) -> float:
    """CPU seconds of ZigZag for a layer. Ends the program with ZigZag's own words if it fails."""
    command = [python, "-c", ZIGZAG, ZIGZAG_MAPPING]
    done = subprocess.run(command, input=json.dumps(layer.zigzag()), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"ZigZag failed on {layer.name} (exit {done.returncode}):\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    assert min(found["energy"], found["latency"]) > 0, found
    return found["seconds"]


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layer", default="", help="a part of the names of the layers to measure")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peers installed")
    parser.add_argument("--measure", choices=ARCHS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    layers = [layer for layer in LAYERS if options.layer in layer.name]
    if options.measure:
        print(measure(layers[0], options.measure))
        return
    asked = "import importlib.metadata as m; print(m.version('zigzag-dse'))"
    version = subprocess.run([options.python, "-c", asked], capture_output=True, text=True, check=False).stdout.strip()
    print(f"ZigZag {version}" if version else "ZigZag is not installed: pip install zigzag-dse")
    columns = [f"quantloom {arch}" for arch in ARCHS] + (["ZigZag eyeriss_like"] if version else [])
    print("| layer | " + " | ".join(f"{column}, s" for column in columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for layer in layers:
        seconds = [quantloom_seconds(layer, arch) for arch in ARCHS]
        if version:
            seconds.append(zigzag_seconds(layer, options.python))
        print(f"| {layer.name} | " + " | ".join(f"{figure:.4g}" for figure in seconds) + " |", flush=True)


if __name__ == "__main__":
    main()
