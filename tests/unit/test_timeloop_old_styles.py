"""Timeloop's files from before v0.4: flat architectures, nested and named constraints, the shapes it ships."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.spec.arch import parse_arch
from quantloom.spec.arch_text import dump_arch
from quantloom.timeloop.load import TimeloopDesign, load_timeloop, parse_timeloop

FLAT = """\
arch:
  arithmetic: {instances: 8, meshX: 4, word-bits: 8}
  storage:
    - {name: Reg, entries: 16, instances: 8, meshX: 4, word-bits: 8}
    - {name: Spread, entries: 0, instances: 2, meshX: 2, word-bits: 8}
    - {name: Buf, entries: 1024, instances: 1, word-bits: 8, block-size: 4, num-banks: 2, bandwidth: 6}
    - {name: Main, technology: DRAM, instances: 1, word-bits: 8, bandwidth: 10.0}
"""
CONV = "problem: {shape: cnn_layer, R: 3, S: 3, P: 8, Q: 8, C: 4, K: 16, N: 1, Wstride: 2, Hstride: 1}\n"


def read(*texts: str) -> TimeloopDesign:
    return parse_timeloop([(f"{'abcdef'[i]}.yaml", dedent(text)) for i, text in enumerate(texts)])


def notes(design: TimeloopDesign) -> list[str]:
    return [f"{note.kind}: {note.text}" for note in design.notes]


def refusal(*texts: str) -> str:
    with pytest.raises(SpecError) as caught:
        read(*texts)
    return str(caught.value)


def test_flat_architecture_with_units_without_name_and_a_level_without_entries() -> None:
    design = read(FLAT)
    arch = design.arch
    assert arch is not None
    assert [level.name for level in arch.levels] == ["Reg", "Spread", "Buf", "Main"]  # innermost first
    assert (arch.arithmetic.name, arch.arithmetic.instances, arch.arithmetic.mesh_x) == ("MAC", 8, 4)
    spread, buffer, main = arch.levels[1], arch.levels[2], arch.levels[3]
    assert (spread.instances, spread.mesh_x, spread.energy.read_source) == (2, 2, "holds nothing: no entries")
    assert spread.energy.read_pj == spread.energy.fill_pj == spread.energy.update_pj == 0
    assert (buffer.read_bandwidth, buffer.write_bandwidth, buffer.block_words) == (3, 3, 4)
    assert (main.is_dram, main.read_bandwidth, main.write_bandwidth) == (True, 5, 5)
    kept = [c for c in arch.constraints if c.level == "Spread" and c.target == "keep"]
    assert [sorted(c.bypass) for c in kept] == [["Inputs", "Outputs", "Weights"]]
    assert "assumed: Buf: half of its `bandwidth` for reads, half for writes, as in Timeloop" in notes(design)


def test_what_files_say_again_of_a_level_without_entries_is_written_once() -> None:
    again = """\
        mapspace:
          constraints:
            - {target: Spread, type: datatype, bypass: [Inputs, Outputs, Weights]}
            - {target: Spread, type: temporal, factors: N1 K1 C1 P1 Q1 R1 S1, permutation: NKCPQRS}
            - {target: Spread, type: spatial, factors: N1 P1 Q1 R1 S1 C2, split: 4}
        """
    arch = read(FLAT, CONV, again).arch
    assert arch is not None
    assert parse_arch(dump_arch(arch), "written.yaml").constraints  # which refuses what is fixed twice
    other = again.replace("N1 K1 C1", "N1 K2 C1")
    assert "the factor of dim `K` is fixed a second time, differently" in refusal(FLAT, CONV, other)


@pytest.mark.parametrize("shape", ["shape: cnn_layer, ", "shape: cnn-layer.yaml, ", ""])
def test_the_convolution_that_timeloop_ships_has_its_outputs_in_k(shape: str) -> None:
    workload = read(CONV.replace("shape: cnn_layer, ", shape)).workload
    assert workload is not None
    assert workload.dims == {"C": 4, "K": 16, "R": 3, "S": 3, "N": 1, "P": 8, "Q": 8}
    assert workload.macs == 4 * 16 * 3 * 3 * 8 * 8
    assert workload.tensor_elements("Inputs") == 4 * (2 * 7 + 3) * (7 + 3)
    newer = read(CONV.replace("K: 16", "M: 16")).workload
    assert newer is not None
    assert "M" in newer.dims
    assert newer.macs == workload.macs


def test_the_matrix_product_that_timeloop_ships() -> None:
    workload = read("problem: {shape: gemm_ABZ, M: 4, N: 5, K: 6}").workload
    assert workload is not None
    assert (workload.macs, [tensor.name for tensor in workload.tensors]) == (120, ["A", "B", "Z"])
    assert [workload.tensor_elements(name) for name in "ABZ"] == [24, 30, 20]


def test_a_shape_in_a_file_of_its_own_is_the_one_that_the_problem_names() -> None:
    shape = """\
        shape:
          name: outer_product
          dimensions: [I, J]
          data_spaces:
            - {name: Weights, projection: [[[I]]]}
            - {name: Inputs, projection: [[[J]]]}
            - {name: Outputs, projection: [[[I]], [[J]]], read_write: True}
        """
    workload = read(shape, "problem: {shape: outer_product, I: 3, J: 7}").workload
    assert workload is not None
    assert (workload.macs, workload.tensor_elements("Outputs")) == (21, 21)
    assert "a shape without a problem of this shape\n  hint: give the file with the bounds too" in refusal(shape)
    assert "expected a shape: a mapping with dimensions and data_spaces, or cnn_layer or gemm_ABZ" in refusal(
        "problem: {shape: outer_product, I: 3, J: 7}"
    )


def test_constraints_nested_in_their_targets() -> None:
    nested = """\
        mapspace:
          targets:
            - name: Buf
              constraints:
                - {type: bypassing, attributes: {keep: [Inputs], bypass: [Outputs, Weights]}}
                - {type: spatial, factors: K=2 N=1, split: 1}
            - target: Main
              type: temporal
              attributes: {permutation: CRSKQPN}
            - {target: Reg, type: utilization, min: 0.5}
        """
    flat = """\
        mapspace:
          - {target: Buf, type: bypass, keep: [Inputs], bypass: [Outputs, Weights]}
          - {target: Buf, type: spatial, factors: K=2 N=1, split: 1}
          - {target: Main, type: temporal, permutation: CRSKQPN}
        """
    found = read(FLAT, CONV, nested)
    one, other = found.arch, read(FLAT, CONV, flat).arch
    assert one is not None
    assert other is not None
    assert dump_arch(one) == dump_arch(other)
    assert "dropped: utilization constraint of Reg: no mapping is left out for it" in notes(found)
    assert "unknown type of constraint `temporl`" in refusal(FLAT, nested.replace("type: temporal", "type: temporl"))


def test_constraints_without_a_problem_may_call_output_channels_k() -> None:
    for letter in "KM":
        arch = read(FLAT, f"mapspace: [{{target: Buf, type: temporal, factors_only: {letter}=4}}]").arch
        assert arch is not None
        factors = next(c.factors for c in arch.constraints if c.level == "Buf")
        assert (letter, "=", 4) in factors
        assert {dim for dim, _, _ in factors} == set("GCRSNPQ") | {letter}


def test_one_of_several_named_lists_of_constraints_is_chosen() -> None:
    named = """\
        mapspace:
          constraints_rows: [{target: Buf, type: bypass, keep: [Inputs]}]
          constraints_columns: [{target: Buf, type: bypass, keep: [Outputs]}]
          constraints: columns
        """
    design = read(FLAT, CONV, named)
    assert design.arch is not None
    assert [c.keep for c in design.arch.constraints if c.level == "Buf"] == [["Outputs"]]
    assert "dropped: the list `constraints_rows` of constraints, which is not chosen" in notes(design)
    wrong = refusal(FLAT, CONV, named.replace("constraints: columns", "constraints: colums"))
    assert "c.yaml:4:16: mapspace.constraints: no list `constraints_colums` of constraints" in wrong
    assert "hint: did you mean `columns`?" in wrong


def test_units_may_be_listed_before_the_registers_and_counts_given_as_attributes() -> None:
    tree = """\
        architecture:
          version: 0.3
          subtree:
            - name: system
              local:
                - {name: Main, class: DRAM, attributes: {word_bits: 8}}
                - {name: "MAC[0..15]", class: intmac, attributes: {meshX: 4, word_bits: 8}}
                - {name: Reg, class: regfile, attributes: {instances: 16, meshX: 4, depth: 4, width: 8, word_bits: 8}}
        """
    design = read(tree)
    assert design.arch is not None
    assert [level.name for level in design.arch.levels] == ["Reg", "Main"]
    assert (design.arch.levels[0].instances, design.arch.levels[0].mesh_x, design.arch.arithmetic.instances) == (
        16,
        4,
        16,
    )
    assert "assumed: MAC is innermost, wherever it is listed" in notes(design)


def test_metrics_without_a_counterpart_are_noted() -> None:
    design = read(FLAT, "mapper: {optimization-metrics: [last-level-accesses, accesses-1, delay, energy]}")
    assert design.objective == "cycles"
    assert "dropped: the metric `last-level-accesses`, which is no objective here" in notes(design)
    assert read(FLAT, "mapper: {optimization_metric: [last_level_accesses]}").objective is None
    assert "unknown metric `last-levl`" in refusal(FLAT, "mapper: {optimization_metric: [last-levl]}")


def test_a_file_for_libconfig_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "old.cfg"
    path.write_text('arch = { name = "x"; };\n')
    with pytest.raises(SpecError) as caught:
        load_timeloop([path])
    assert caught.value.message == f"{path}: a file for libconfig, expected YAML"


def test_a_flat_design_is_priced_by_hand() -> None:
    """Everything in the outermost level; of the lanes below the empty level one half is on each axis."""
    mapping = """\
        mapping:
          - {target: Main, type: temporal, factors: R3 S3 P8 Q8 C2 K2 N1, permutation: KRSPQCN}
          - {target: Main, type: bypass, keep: [Weights, Inputs, Outputs]}
          - {target: Buf, type: bypass, bypass: [Weights, Inputs, Outputs]}
          - {target: Spread, type: spatial, factors: C2 K2, permutation: KCRSPQN, split: 1}
          - {target: Reg, type: bypass, bypass: [Weights, Inputs, Outputs]}
          - {target: Buf, type: spatial, factors: K2, split: 7}
          - {target: Reg, type: temporal, factors: K2}
        """
    flat = FLAT.replace(", bandwidth: 6", "").replace(", bandwidth: 10.0", "")
    design = read(flat, CONV, mapping)
    assert design.arch is not None
    assert design.workload is not None
    assert design.mapping is not None
    cost = _core.evaluate(design.arch, design.workload, design.mapping, model="compat")
    assert cost.cycles == design.workload.macs // 8
