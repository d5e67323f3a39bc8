"""Workloads beyond convolutions: attention, batched GEMM, 1-D and 3-D convolution, pooling, three inputs.

Each is written in YAML and in Python, evaluated under both models against counts worked out by hand for one mapping,
and compared with the simulator of tests/oracle on random ones. The mappings are of two levels that keep everything:
loops of the DRAM outside, loops of the buffer inside, one multiplier below each buffer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

import pytest

from oracle.cases import mapped_case
from oracle.compare import differences
from oracle.records import Tensor
from quantloom import _core
from quantloom.spec.workload import parse_workload
from quantloom.workload.layer import einsum_workload

Loops = list[tuple[str, int]]
Counts = dict[str, tuple[int, int, int, int, int]]


@dataclass(frozen=True)
class Einsum:
    """counts by tensor: reads, updates of DRAM; fills, reads, updates of one buffer, in elements, for both models."""

    text: str
    dims: dict[str, int]
    tensors: dict[str, list[str]]
    dram: Loops
    buffer: Loops
    counts: Counts
    spatial: Loops = field(default_factory=list)
    compat: Counts = field(default_factory=dict)  # where the reference counts otherwise

    @property
    def output(self) -> str:
        return list(self.tensors)[-1]

    def workload(self) -> _core.Workload:
        return einsum_workload("einsum", self.dims, self.tensors, output=self.output)


EINSUMS = {
    # 2*2*3*2*4 = 96 MACs. Queries: 4 elements (E) at each of the 12 steps of B, H, T. Keys: 2*4 (L, E), not moved by T:
    # 4 times. Scores: 2 (L) at each of 12 steps, complete when they leave. The buffer reads an operand for each MAC and
    # adds each product, all but the first of the 24 scores to a sum that it reads.
    "attention scores": Einsum(
        text="""
            dims: {B: 2, H: 2, T: 3, L: 2, E: 4}
            tensors: {Queries: [B, H, T, E], Keys: [B, H, L, E], Scores: [B, H, T, L]}
            output: Scores
        """,
        dims={"B": 2, "H": 2, "T": 3, "L": 2, "E": 4},
        tensors={"Queries": ["B", "H", "T", "E"], "Keys": ["B", "H", "L", "E"], "Scores": ["B", "H", "T", "L"]},
        dram=[("B", 2), ("H", 2), ("T", 3)],
        buffer=[("L", 2), ("E", 4)],
        counts={"Queries": (48, 0, 48, 96, 0), "Keys": (32, 0, 32, 96, 0), "Scores": (0, 24, 0, 72, 96)},
    ),
    # 96 MACs; the reduction L stands outside of T, so the sums leave and come back. Scores: 1 element at each of 24
    # steps. Values: 4 (E), not moved by T: 8 times. Context: 4 (E) at 24 steps = 96 updates of 48 elements, so 48 of
    # them come back: read in DRAM, filled in the buffer. There 48 products are first ones.
    "attention context": Einsum(
        text="""
            dims: {B: 2, H: 2, T: 3, L: 2, E: 4}
            tensors: {Scores: [B, H, T, L], Values: [B, H, L, E], Context: [B, H, T, E]}
            output: Context
        """,
        dims={"B": 2, "H": 2, "T": 3, "L": 2, "E": 4},
        tensors={"Scores": ["B", "H", "T", "L"], "Values": ["B", "H", "L", "E"], "Context": ["B", "H", "T", "E"]},
        dram=[("B", 2), ("H", 2), ("L", 2), ("T", 3)],
        buffer=[("E", 4)],
        counts={"Scores": (24, 0, 24, 96, 0), "Values": (32, 0, 32, 96, 0), "Context": (48, 96, 48, 48, 96)},
    ),
    # Two buffers, one for each column N; 24 MACs each. Left: 4 elements (K) at 6 steps, the same for both buffers, so
    # DRAM reads them once. Right: 4 (K), not moved by M: 2 times in each buffer, 16 reads in all. Product: 1 element at
    # 6 steps in each buffer.
    "batched GEMM": Einsum(
        text="""
            dims: {B: 2, M: 3, N: 2, K: 4}
            tensors: {Left: [B, M, K], Right: [B, K, N], Product: [B, M, N]}
            output: Product
        """,
        dims={"B": 2, "M": 3, "N": 2, "K": 4},
        tensors={"Left": ["B", "M", "K"], "Right": ["B", "K", "N"], "Product": ["B", "M", "N"]},
        dram=[("B", 2), ("M", 3)],
        buffer=[("K", 4)],
        spatial=[("N", 2)],
        counts={"Left": (24, 0, 24, 24, 0), "Right": (16, 0, 8, 24, 0), "Product": (0, 12, 0, 18, 24)},
    ),
    # 48 MACs, stride 2. Filter: all 12 stay. Signal: 2*3 (C, R); each of 3 further steps moves it by 2 of 3 and brings
    # 2*2: 6 + 3*4. Result: 2 (M) at 4 steps.
    "1-D convolution": Einsum(
        text="""
            dims: {M: 2, C: 2, R: 3, P: 4}
            tensors: {Filter: [M, C, R], Signal: [C, 2*P + R], Result: [M, P]}
            output: Result
        """,
        dims={"M": 2, "C": 2, "R": 3, "P": 4},
        tensors={"Filter": ["M", "C", "R"], "Signal": ["C", "2*P + R"], "Result": ["M", "P"]},
        dram=[("P", 4)],
        buffer=[("M", 2), ("C", 2), ("R", 3)],
        counts={"Filter": (12, 0, 12, 48, 0), "Signal": (18, 0, 18, 48, 0), "Result": (0, 8, 0, 40, 48)},
    ),
    # 24 MACs, stride 2. Filter: all 6 stay. Signal: 2 (C) at 4 steps. Result: 3 (R); each of 3 further steps moves it
    # by 2 of 3, so 2 leave and the third goes on: 3 + 3*2 sums, all complete when they leave. 9 products are first.
    "transposed convolution": Einsum(
        text="""
            dims: {C: 2, R: 3, P: 4}
            tensors: {Filter: [C, R], Signal: [C, P], Result: [2*P + R]}
            output: Result
        """,
        dims={"C": 2, "R": 3, "P": 4},
        tensors={"Filter": ["C", "R"], "Signal": ["C", "P"], "Result": ["2*P + R"]},
        dram=[("P", 4)],
        buffer=[("R", 3), ("C", 2)],
        counts={"Filter": (6, 0, 6, 24, 0), "Signal": (8, 0, 8, 24, 0), "Result": (0, 9, 0, 15, 24)},
    ),
    # 48 MACs, stride 2: 9 elements. R outside of P: a tile of 1 element is at 12 places, 3 of them twice, those of R=2
    # where the next P was at R=0; they come back from DRAM. Filter: 4 (C), not moved by P: 3 times.
    "transposed convolution, window outside": Einsum(
        text="""
            dims: {C: 4, R: 3, P: 4}
            tensors: {Filter: [C, R], Signal: [C, P], Result: [2*P + R]}
            output: Result
        """,
        dims={"C": 4, "R": 3, "P": 4},
        tensors={"Filter": ["C", "R"], "Signal": ["C", "P"], "Result": ["2*P + R"]},
        dram=[("R", 3), ("P", 4)],
        buffer=[("C", 4)],
        counts={"Filter": (12, 0, 12, 48, 0), "Signal": (48, 0, 48, 48, 0), "Result": (3, 12, 3, 39, 48)},
    ),
    # 2*8*8 = 128 MACs. Filter: all 16 stay. Volume: 3*2*2 = 12 (X + R, Y + S, Z + T); a step of Z brings 3*2*1 = 6; the
    # step of Y takes Z back by 1, so 3*1*1 are still there: 12 + 6 + 9 + 6 = 33. The reference forgets what it has
    # where the direction changes: 12 + 6 + 12 + 6 = 36. Result: 2*2 (M, X) at 4 steps.
    "3-D convolution": Einsum(
        text="""
            dims: {M: 2, R: 2, S: 2, T: 2, X: 2, Y: 2, Z: 2}
            tensors: {Filter: [M, R, S, T], Volume: [X + R, Y + S, Z + T], Result: [M, X, Y, Z]}
            output: Result
        """,
        dims={"M": 2, "R": 2, "S": 2, "T": 2, "X": 2, "Y": 2, "Z": 2},
        tensors={
            "Filter": ["M", "R", "S", "T"],
            "Volume": ["X + R", "Y + S", "Z + T"],
            "Result": ["M", "X", "Y", "Z"],
        },
        dram=[("Y", 2), ("Z", 2)],
        buffer=[("M", 2), ("X", 2), ("R", 2), ("S", 2), ("T", 2)],
        counts={"Filter": (16, 0, 16, 128, 0), "Volume": (33, 0, 33, 128, 0), "Result": (0, 16, 0, 112, 128)},
        compat={"Volume": (36, 0, 36, 128, 0)},
    ),
    # One input, summed over windows that do not overlap: 12 products of one factor. 2 elements (R) at 6 steps; a sum of
    # 2 at each.
    "average pooling": Einsum(
        text="""
            dims: {C: 2, P: 3, R: 2}
            tensors: {Pixels: [C, 2*P + R], Means: [C, P]}
            output: Means
        """,
        dims={"C": 2, "P": 3, "R": 2},
        tensors={"Pixels": ["C", "2*P + R"], "Means": ["C", "P"]},
        dram=[("C", 2), ("P", 3)],
        buffer=[("R", 2)],
        counts={"Pixels": (12, 0, 12, 12, 0), "Means": (0, 6, 0, 6, 12)},
    ),
    # Three inputs (the kernel of a tensor decomposition), 24 MACs. Data: 3 (K) at 4 steps of I, J. Rows: 2 (F), moved
    # by J at each of 4 steps: all 4 elements twice. Columns: 3*2 (K, F), which stay. Factor: 2 (F), not moved by J: 2
    # times.
    "three inputs": Einsum(
        text="""
            dims: {I: 2, J: 2, K: 3, F: 2}
            tensors: {Data: [I, J, K], Rows: [J, F], Columns: [K, F], Factor: [I, F]}
            output: Factor
        """,
        dims={"I": 2, "J": 2, "K": 3, "F": 2},
        tensors={"Data": ["I", "J", "K"], "Rows": ["J", "F"], "Columns": ["K", "F"], "Factor": ["I", "F"]},
        dram=[("I", 2), ("J", 2)],
        buffer=[("K", 3), ("F", 2)],
        counts={
            "Data": (12, 0, 12, 24, 0),
            "Rows": (8, 0, 8, 24, 0),
            "Columns": (6, 0, 6, 24, 0),
            "Factor": (0, 4, 0, 20, 24),
        },
    ),
}
BY_NAME = pytest.mark.parametrize("einsum", EINSUMS.values(), ids=EINSUMS.keys())


def two_levels(buffers: int) -> _core.Arch:
    def level(name: str, instances: int) -> _core.Level:
        energy = _core.AccessEnergy(read_pj=1.0, fill_pj=1.0, update_pj=1.0)
        return _core.Level(
            name=name, word_bits=16, instances=instances, mesh_x=instances, is_dram=name == "dram", energy=energy
        )

    units = _core.Arithmetic(name="mac", instances=buffers, mesh_x=buffers, mesh_y=1, word_bits=16, energy_pj=1.0)
    return _core.Arch(name="two levels", levels=[level("buffer", buffers), level("dram", 1)], arithmetic=units)


def mapping_of(einsum: Einsum) -> _core.Mapping:
    keep = list(einsum.tensors)
    inner = _core.LevelMapping(temporal=einsum.buffer, spatial_x=[], spatial_y=[], keep=keep)
    outer = _core.LevelMapping(temporal=einsum.dram, spatial_x=einsum.spatial, spatial_y=[], keep=keep)
    return _core.Mapping([inner, outer])


@BY_NAME
def test_file_gives_the_workload(einsum: Einsum) -> None:
    assert (
        parse_workload("name: einsum" + einsum.text.replace("\n            ", "\n"), "w.yaml")[0] == einsum.workload()
    )


@BY_NAME
@pytest.mark.parametrize("model", _core.COST_MODELS)
def test_counts_are_those_worked_out_by_hand(einsum: Einsum, model: str) -> None:
    buffers = math.prod(bound for _, bound in einsum.spatial)
    cost = _core.evaluate(two_levels(buffers), einsum.workload(), mapping_of(einsum), model=model)
    expected = einsum.counts | (einsum.compat if model == "compat" else {})
    found: Counts = {}
    for name in einsum.tensors:
        dram, buffer = (cost.levels[level].tensors[name] for level in ("dram", "buffer"))
        found[name] = (int(dram.reads), int(dram.updates), int(buffer.fills), int(buffer.reads), int(buffer.updates))
    assert found == expected
    macs = math.prod(einsum.dims.values())
    assert cost.macs == macs
    assert cost.cycles == macs // buffers
    of_buffers = buffers * sum(sum(counts[2:]) for counts in expected.values())
    assert cost.energy_pj == macs + sum(sum(counts[:2]) for counts in expected.values()) + of_buffers


@BY_NAME
def test_default_model_equals_the_oracle_on_random_mappings(einsum: Einsum) -> None:
    specs = einsum.workload().tensors
    tensors = [Tensor(spec.name, tuple(tuple(rank) for rank in spec.ranks), spec.is_output) for spec in specs]
    for seed in range(100):
        assert differences(mapped_case(Random(seed), einsum.dims, tensors)) == [], seed
