"""How far the fake-quantized network agrees with integers alone, on test images of the demo; see docs/accuracy.md.

python bench/integer_agreement.py [--images N] [--bits 8,4,2]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

from quantloom.demo import load_demo
from quantloom.quant.data import spread_images
from quantloom.quant.integer import compare_with_integers
from quantloom.quant.network import QuantizedNetwork
from quantloom.workload.from_torch import trace
from quantloom.workload.network import BitAssignment


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--bits", default="8,6,4,3,2")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    demo = load_demo()
    network = QuantizedNetwork(trace(demo.module, (1, 28, 28), name=demo.model))
    calibration, _ = spread_images(demo.data.train, 256)
    network.calibrate(calibration)
    images, _ = spread_images(demo.data.test, args.images)
    print("| bits | elements of the worst edge that differ | by at most | same answer |")
    print("|---|---|---|---|")
    for bits in map(int, args.bits.split(",")):
        network.set_bits(BitAssignment.uniform(network.network, bits))
        network.reestimate(calibration)
        found = compare_with_integers(network, images)
        differing, furthest = 1 - min(found.equal.values()), max(found.furthest.values())
        print(
            f"| {bits} | {differing:.1e} | {furthest} | {round(found.top1 * len(images))} of {len(images)} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
