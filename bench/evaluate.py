"""Mappings per second and core through the Python door of the batch evaluator, on one thread.

    python bench/evaluate.py [--mappings 65536] [--model default|compat] [--layer TEXT] [--valid N]

Mappings are drawn uniformly from the accelerator's mapspace: as drawn (valid or not), and the valid ones among them.
Where few are valid, the fixed part of a call weighs more than pricing: its last column is a call with one mapping, and
--valid N draws on until there are N valid ones. The first hundred of both are compared with evaluate() and check_fit()
before anything is timed. CPU time, fastest of three measurements of a fifth of a second.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from quantloom import _core
from quantloom._core import Arch, Mapspace, TensorSpec, Workload
from quantloom.mapper import BatchStatus, MappingBatch, evaluate_batch
from quantloom.spec.arch import load_arch
from quantloom.workload.layer import conv_workload

BITS = {"Weights": 8, "Inputs": 8, "Outputs": 8}
CHECKED = 100
SECONDS = 0.2  # of one measurement
MOST_DRAWS = 1000  # of --valid


def conv(name: str, inputs: int, outputs: int, kernel: int, size: int, *, stride: int = 1, groups: int = 1) -> Workload:
    return conv_workload(
        name,
        inputs=inputs,
        outputs=outputs,
        output_size=(size, size),
        kernel=(kernel, kernel),
        stride=(stride, stride),
        groups=groups,
    )


GEMM = Workload(
    "gemm 512x512x512",
    [("C", 512), ("M", 512), ("N", 512)],
    [
        TensorSpec("Weights", [[("C", 1)], [("M", 1)]]),
        TensorSpec("Inputs", [[("N", 1)], [("C", 1)]]),
        TensorSpec("Outputs", [[("N", 1)], [("M", 1)]], is_output=True),
    ],
)
LAYERS = [
    conv("MobileNetV2 first 3->32 s2 @112", 3, 32, 3, 112, stride=2),
    conv("MobileNetV2 pw 24->144 @56", 24, 144, 1, 56),
    conv("MobileNetV2 pw 160->960 @7", 160, 960, 1, 7),
    conv("MobileNetV2 dw 144 s1 @56", 144, 144, 3, 56, groups=144),
    conv("MobileNetV2 dw 144 s2 @28", 144, 144, 3, 28, stride=2, groups=144),
    conv("ResNet-50 3x3 256 @14", 256, 256, 3, 14),
    GEMM,
]


def select(batch: MappingBatch, chosen: np.ndarray) -> MappingBatch:
    """The mappings of a batch where `chosen` (bool, one per mapping) is true."""
    dims, bounds, keep = (np.ascontiguousarray(rows[:, chosen]) for rows in (batch.dims, batch.bounds, batch.keep))
    return MappingBatch(batch.slots, dims=dims, bounds=bounds, keep=keep)


def joined(batches: list[MappingBatch]) -> MappingBatch:
    """The mappings of all batches, one after the other."""
    names = ("dims", "bounds", "keep")
    rows = {name: np.concatenate([getattr(batch, name) for batch in batches], axis=1) for name in names}
    return MappingBatch(batches[0].slots, **rows)


def valid_ones(arch: Arch, workload: Workload, drawn: MappingBatch, wanted: int, model: str) -> MappingBatch:
    """The valid mappings among the drawn ones, or `wanted` of these and of further draws."""
    found: list[MappingBatch] = []
    for seed in range(2, 2 + MOST_DRAWS):
        costs = evaluate_batch(arch, workload, drawn, bits=BITS, model=model)
        found.append(select(drawn, costs.status == BatchStatus.VALID))
        if sum(map(len, found)) >= wanted:
            break
        drawn = Mapspace(arch, workload).sample_batch(len(drawn), seed=seed)
    valid = joined(found)
    return select(valid, np.arange(len(valid)) < wanted) if wanted else valid


def check(arch: Arch, workload: Workload, batch: MappingBatch, model: str) -> None:
    costs = evaluate_batch(arch, workload, batch, bits=BITS, model=model)
    for i in range(min(CHECKED, len(batch))):
        mapping = batch.mapping(workload, i)
        fits = bool(_core.check_fit(arch, workload, mapping, bits=BITS, model=model))
        assert fits == (costs.status[i] == BatchStatus.VALID), (workload.name, i)
        if fits:
            cost = _core.evaluate(arch, workload, mapping, bits=BITS, model=model)
            assert costs.cycles[i] == cost.cycles, (workload.name, i)
            assert abs(costs.energy_pj[i] - cost.energy_pj) <= 1e-12 * cost.energy_pj, (workload.name, i)


def rate(arch: Arch, workload: Workload, batch: MappingBatch, model: str) -> float:
    """Mappings per second of CPU time; nan for an empty batch."""
    check(arch, workload, batch, model)
    best = float("nan")
    for _ in range(3 if len(batch) else 0):
        passes, seconds, begin = 0, 0.0, time.process_time()
        while seconds < SECONDS:
            evaluate_batch(arch, workload, batch, bits=BITS, model=model)
            passes += 1
            seconds = time.process_time() - begin
        best = np.fmax(best, passes * len(batch) / seconds)
    return float(best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mappings", type=int, default=1 << 16)
    parser.add_argument("--model", choices=_core.COST_MODELS, default=_core.COST_MODELS[0])
    parser.add_argument("--layer", default="", metavar="TEXT", help="only layers with TEXT in their name")
    parser.add_argument("--valid", type=int, default=0, metavar="N", help="draw on until N mappings are valid")
    options = parser.parse_args()
    titles = ("drawn M/s", "valid M/s", "valid", "bytes/mapping", "call ms")
    print(f"{'arch':8} {'layer':32}" + "".join(f"{title:>14}" for title in titles))
    for name in ("eyeriss", "simba"):
        arch = load_arch(name)
        for workload in (layer for layer in LAYERS if options.layer in layer.name):
            drawn = Mapspace(arch, workload).sample_batch(options.mappings, seed=1)
            valid = valid_ones(arch, workload, drawn, options.valid, options.model)
            one = select(drawn, np.arange(len(drawn)) == 0)
            rates = [rate(arch, workload, batch, options.model) for batch in (drawn, valid, one)]
            size = (drawn.dims.nbytes + drawn.bounds.nbytes + drawn.keep.nbytes) / len(drawn)
            figures = (
                f"{rates[0] * 1e-6:14.3f}{rates[1] * 1e-6:14.3f}{len(valid):14d}{size:14.0f}{1e3 / rates[2]:14.3f}"
            )
            print(f"{name:8} {workload.name:32}{figures}", flush=True)


if __name__ == "__main__":
    main()
