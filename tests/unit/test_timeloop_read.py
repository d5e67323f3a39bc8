# ruff: noqa: E501  (tables of files and messages)
"""Timeloop's formats: every style that is read, and what is said about files that are wrong."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from textwrap import dedent

import pytest

from quantloom._core import Arch, Constraint, Mapping, Workload
from quantloom.errors import SpecError
from quantloom.timeloop.load import TimeloopDesign, load_timeloop, parse_timeloop

FILES = Path(__file__).parents[1] / "timeloop_files"

ARCH = """\
architecture:
  version: 0.3
  subtree:
    - name: sys
      attributes: {technology: 45nm}
      local:
        - {name: Main, class: DRAM, attributes: {width: 64, datawidth: 8}}
        - {name: Buf, class: SRAM, attributes: {depth: 256, width: 32, word_bits: 8}}
        - {name: "Reg[0..7]", class: regfile, attributes: {depth: 16, width: 8, word_bits: 8, meshX: 4}}
        - {name: "MAC[0..7]", class: intmac, attributes: {datawidth: 8, meshX: 4}}
"""
PROBLEM = """\
problem:
  shape:
    name: Conv1D
    dimensions: [K, R, P]
    coefficients: [{name: stride, default: 2}]
    data_spaces:
      - name: Weights
        projection: [[[K]], [[R]]]
      - name: Inputs
        projection: [[[R], [P, stride]]]
      - name: Outputs
        projection: [[[K]], [[P]]]
        read_write: True
  instance: {K: 4, R: 3, P: 16}
"""


def read(*texts: str) -> TimeloopDesign:
    return parse_timeloop([(f"{'abcdef'[i]}.yaml", dedent(text)) for i, text in enumerate(texts)])


def read_arch(*texts: str) -> Arch:
    arch = read(*texts).arch
    assert arch is not None
    return arch


def read_workload(*texts: str) -> Workload:
    workload = read(*texts).workload
    assert workload is not None
    return workload


def read_mapping(*texts: str) -> Mapping:
    mapping = read(*texts).mapping
    assert mapping is not None
    return mapping


def refusal(*texts: str) -> str:
    with pytest.raises(SpecError) as caught:
        read(*texts)
    return str(caught.value)


# ---- architectures ---------------------------------------------------------------------------------------------------


def test_sizes_follow_from_width_and_depth() -> None:
    reg, buf, main = read_arch(ARCH).levels
    assert (main.is_dram, main.word_bits, main.block_words, main.capacity_words) == (True, 8, 8, None)
    assert (buf.block_words, buf.capacity_words) == (4, 1024)
    assert (reg.instances, reg.mesh_x, reg.mesh_y, reg.capacity_words) == (8, 4, 2, 16)


@pytest.mark.parametrize(
    ("attributes", "block", "cluster", "words"),
    [
        ("{entries: 96, word-bits: 16}", 1, 1, 96),
        ("{sizeKB: 2, word-bits: 16}", 1, 1, 1024),
        ("{memory_depth: 10, memory_width: 64, word-bits: 16, n_words: 2}", 2, 2, 20),
        ("{memory_depth: 10, memory_width: 64, word-bits: 16, cluster-size: 2}", 2, 2, 20),
        ("{depth: 10, width: 64, word_bits: 16, block_size: 4, cluster_size: 1}", 4, 1, 40),
        ("{depth: 4 * rows, rows: 2**3, width: word_bits * 2, word_bits: 16}", 2, 1, 64),
        ("{depth: 'max(1, ceil(log2(1000)))', width: 16, word_bits: 16}", 1, 1, 10),
        ("{entries: 100, word-bits: 16, multiple-buffering: 2}", 1, 1, 50),
        ("{word-bits: 16, block-size: 4}", 4, 1, None),
    ],
)
def test_every_way_to_give_a_size_is_read(attributes: str, block: int, cluster: int, words: int | None) -> None:
    text = ARCH.replace("{depth: 256, width: 32, word_bits: 8}", attributes).replace(
        "class: SRAM", "class: DRAM" if words is None else "class: SRAM"
    )
    text = text.replace("name: Buf", "name: 'Buf[0..3]'").replace("meshX: 4", "meshX: 8") if cluster > 1 else text
    buf = read_arch(text).levels[1]
    assert (buf.block_words, buf.cluster_size, buf.capacity_words) == (block, cluster, words)


def test_the_oldest_form_lists_storage_from_the_inside() -> None:
    arch = read_arch(
        """\
        arch:
          arithmetic: {name: MACs, instances: 16, meshX: 4, word-bits: 8}
          storage:
            - {name: Regs, entries: 8, instances: 16, meshX: 4, word-bits: 8}
            - {name: Main, technology: DRAM, instances: 1, word-bits: 8}
        """
    )
    assert [(level.name, level.mesh_x, level.mesh_y) for level in arch.levels] == [("Regs", 4, 4), ("Main", 1, 1)]
    assert (arch.arithmetic.name, arch.arithmetic.instances) == ("MACs", 16)


def test_nodes_of_v04_fan_out_by_container() -> None:
    arch = read_arch((FILES / "row_stationary.v04.yaml").read_text())
    assert [(level.name, level.mesh_x, level.mesh_y) for level in arch.levels] == [
        *(("psums", 6, 4), ("filters", 6, 4), ("rows", 6, 4), ("inter_PE_spatial", 6, 1)),
        *(("inter_column_spatial", 1, 1), ("glb", 1, 1), ("DRAM", 1, 1)),
    ]
    assert arch.arithmetic.instances == 24
    assert (arch.levels[5].block_words, arch.levels[5].capacity_words) == (8, 8 * 2048)
    kept = {c.level: (c.keep, c.bypass) for c in arch.constraints if c.target == "keep"}
    assert kept["rows"] == (["Inputs"], ["Weights", "Outputs"])
    assert kept["inter_PE_spatial"] == ([], ["Weights", "Inputs", "Outputs"])
    spatial = {c.level: c for c in arch.constraints if c.target == "spatial"}
    assert spatial["inter_column_spatial"].split == 8  # 999 in the file: all dims
    assert spatial["inter_PE_spatial"].split == 0


def test_dumped_input_of_the_front_end_counts_from_one() -> None:
    arch = read_arch(ARCH.replace("[0..7]", "[1..8]"))
    assert [level.instances for level in arch.levels] == [8, 1, 1]


def test_merge_keys_and_anchors_are_read() -> None:
    arch = read_arch(
        """\
        shared_ignore: &regs {word-bits: 8, depth: 16}
        architecture:
          subtree:
            - name: s
              local:
                - {name: Main, class: DRAM, attributes: {word-bits: 8}}
                - {name: A, class: regfile, attributes: {<<: *regs, depth: 32}}
                - {name: M, class: mac, attributes: {datawidth: 8}}
        """
    )
    assert arch.levels[0].capacity_words == 32


def test_energies_are_the_largest_over_arguments_and_say_where_they_are_from() -> None:
    tiny = load_timeloop([FILES / "tiny.v03.yaml"])
    assert tiny.arch is not None
    reg = tiny.arch.levels[0].energy
    assert (reg.read_pj, reg.fill_pj, reg.update_pj) == (0.7, 0.9, 1.3)
    assert reg.read_source == "ERT:read of tiny.v03.yaml, maximum over 2 argument combinations"
    assert tiny.notes == ()


def test_a_hole_in_the_table_is_filled_as_timeloop_does_and_said() -> None:
    table = """\
    ERT:
      version: 0.4
      tables:
        - {name: "x.Main[1..1]", actions: [{name: read, energy: 9}, {name: write, energy: 8}, {name: leak, energy: 0.5}]}
        - {name: x.Buf, actions: [{name: read, energy: 3}, {name: write, energy: 4}, {name: update, energy: 5}]}
        - {name: x.MAC, actions: [{name: compute, energy: 0.25}]}
    """
    design = read(ARCH, table)
    assert design.arch is not None
    reg, buf, main = design.arch.levels
    assert (buf.energy.read_pj, buf.energy.fill_pj, buf.energy.update_pj) == (3, 4, 5)
    assert (main.leak_energy_pj, design.arch.arithmetic.energy_pj) == (0.5, 0.25)
    assert reg.energy.read_source == "Timeloop's built-in estimate (no energy table entry)"
    assert reg.energy.read_pj == (1 + (8 * 16 / 8192 - 0.5) * 5 / 99.5) * 8 / 16
    assert [note.text for note in design.notes] == [
        "Reg: not in the energy table, Timeloop's built-in estimate stands in"
    ]


def test_what_is_dropped_is_said() -> None:
    design = read(
        ARCH,
        "mapper: {optimization-metrics: [delay, energy], victory-condition: 500, algorithm: random-pruned}",
        PROBLEM.replace("P: 16}", "P: 16, densities: {}, H: 33}"),
        "sparse_optimizations: {targets: []}",
    )
    assert design.objective == "cycles"
    assert {note.text.split(":")[0] for note in design.notes if note.kind == "dropped"} == {
        *("sparse optimizations", "densities", "input sizes and padding of the instance"),
        *("metrics after the first", "settings of the search"),
    }


# ---- constraints -----------------------------------------------------------------------------------------------------


def limits(text: str, problem: str = PROBLEM) -> list[Constraint]:
    return list(read_arch(ARCH, problem, text).constraints)


def test_every_style_of_constraint_is_read() -> None:
    found = limits(
        """\
        architecture_constraints:
          targets:
            - {target: Buf, type: spatial, factors: "K=4, R<=3 P=0", permutation: KR P, split: 1}
            - {target: Reg, type: temporal, factors: [K >= 2, R=1], permutation: [R, P]}
        mapspace_constraints:
          - {target: Buf, type: datatype, keep: [Inputs, Outputs], bypass: [Weights]}
          - {target: Main, type: temporal, permutation: R_K}
        """
    )
    assert [(c.origin, c.level, c.target) for c in found] == [
        *(("architecture", "Buf", "spatial"), ("architecture", "Reg", "temporal")),
        *(("mapspace", "Buf", "keep"), ("mapspace", "Main", "temporal")),
    ]
    assert found[0].factors == [("K", "=", 4), ("R", "<=", 3), ("P", "=", 0)]
    assert (found[0].permutation_inner, found[0].split) == (["K", "R", "P"], 1)
    assert found[1].factors == [("K", ">=", 2), ("R", "=", 1)]
    assert (found[2].keep, found[2].bypass) == (["Inputs", "Outputs"], ["Weights"])
    assert (found[3].permutation_inner, found[3].permutation_outer) == (["R"], ["K"])


def test_dims_of_a_data_space_may_be_kept_out_of_a_block() -> None:
    text = ARCH.replace(
        'meshX: 4}}\n        - {name: "MAC',
        'meshX: 4}, constraints: {temporal: {no_iteration_over_dataspaces: [Weights]}}}\n        - {name: "MAC',
    )
    found = read_arch(text, PROBLEM).constraints
    assert [c.factors for c in found] == [[("K", "=", 1), ("R", "=", 1)]]


# ---- problems --------------------------------------------------------------------------------------------------------


def test_a_problem_is_read_with_coefficients_and_bits() -> None:
    design = read(PROBLEM.replace("P: 16}", "P: 16, stride: 3, bitwidths: {Weights: 4, Inputs: 8, Outputs: 8}}"))
    assert design.workload is not None
    assert design.workload.dims == {"K": 4, "R": 3, "P": 16}
    assert design.workload.tensors[1].ranks == [[("R", 1), ("P", 3)]]
    assert design.workload.tensors[2].is_output
    assert design.bits == {"Weights": 4, "Inputs": 8, "Outputs": 8}


def test_the_default_shape_is_a_convolution() -> None:
    workload = read_workload(
        "problem: {R: 3, S: 3, P: 8, Q: 8, C: 4, K: 1, M: 2, N: 1, Wstride: 2}".replace("K: 1, ", "")
    )
    assert workload.tensors[1].ranks[2:] == [[("R", 1), ("P", 2)], [("S", 1), ("Q", 1)]]


# ---- mappings --------------------------------------------------------------------------------------------------------

MAPPING = """\
mapping:
  - {target: Main, type: temporal, factors: K=1 R=1 P=4, permutation: RPK}
  - {target: Buf, type: spatial, factors: K=4 R=1 P=2, permutation: KPR, split: 1}
  - {target: Buf, type: bypass, keep: [Inputs, Outputs], bypass: [Weights]}
  - {target: Reg, type: temporal, factors: R3 K1 P2, permutation: R P K}
"""


def test_a_mapping_is_read_from_inner_to_outer() -> None:
    reg, buf, main = read_mapping(ARCH, PROBLEM, MAPPING).levels
    assert reg.temporal == [("P", 2), ("R", 3)]
    assert (buf.spatial_x, buf.spatial_y, buf.keep) == ([("K", 4)], [("P", 2)], ["Inputs", "Outputs"])
    assert (main.temporal, main.keep) == ([("P", 4)], ["Weights", "Inputs", "Outputs"])


def test_a_factor_of_zero_is_the_whole_bound() -> None:
    mapping = read_mapping(ARCH, PROBLEM, MAPPING.replace("R3 K1", "R=0 K=1"))
    assert mapping.levels[0].temporal == [("P", 2), ("R", 3)]


def test_a_mapping_names_containers_of_v04_by_either_name() -> None:
    arch, problem = (
        (FILES / "row_stationary.v04.yaml").read_text(),
        "problem: {C: 1, M: 6, R: 1, S: 4, N: 1, P: 2, Q: 1}",
    )
    for name in ("column", "inter_column_spatial"):
        mapping = read_mapping(
            arch,
            problem,
            f"mapping:\n  - {{target: {name}, type: spatial, factors: M=6, permutation: M}}\n"
            "  - {target: PE, type: spatial, factors: S=4, permutation: S, split: 0}\n"
            "  - {target: rows, type: temporal, factors: P=2, permutation: P}\n",
        )
        assert mapping.levels[4].spatial_x == [("M", 6)]
        assert mapping.levels[3].spatial_y == [("S", 4)]
        assert mapping.levels[4].keep == []


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("class: SRAM, attributes: {depth: 256, ", "class: SRUM, attributes: {", "a.yaml:8:30: architecture.subtree[0].local[1].class: unknown class `SRUM`, expected storage"),
        ("depth: 256, width: 32", "depht: 256, width: 33", "width: read `33`, expected a multiple of 8 bits"),
        ("meshX: 4}}\n        - {name: \"MAC", "meshX: 3}}\n        - {name: \"MAC", "a.yaml:9:102: architecture.subtree[0].local[2].attributes.meshX: read `3`, expected a divisor of the 8 instances of `Reg`"),
        ("Reg[0..7]", "Reg[7..0]", "read `\"Reg[7..0]\"`, expected a range that holds at least one instance"),
        ("attributes: {technology: 45nm}", "atributes: {technology: 45nm}", "unknown key\n  hint: did you mean `attributes`?"),
        ("depth: 256", "depth: 256 * heigth", "read `256 * heigth`, expected a whole number of at least 1"),
        ("depth: 256", "depth: __import__('os')", "unknown function `__import__`"),
        ("depth: 256", "depth: 9**9**9", "powers have a base of at least 0"),
        ("depth: 256", "depth: depth", "its names refer to each other without end"),
        ("  subtree:", "  subtre:", "a.yaml:2:3: architecture: read a mapping, expected an architecture with `nodes` (v0.4) or `subtree` (v0.3)\n  hint: did you mean `subtree`?"),
        ("architecture:", "architecure:", "a.yaml:1:1: architecure: unknown section\n  hint: did you mean `architecture`?"),
        ("name: Buf", "name: Main", "a.yaml:8:11: architecture.subtree[0].local[1]: a second level named `Main`, the first is at a.yaml:7:11"),
        ("45nm}", "2nm}", "a feature size of 2 nm is outside 5 to 90 nm"),
    ],
)  # fmt: skip
def test_mistakes_in_an_architecture_are_told_with_file_line_and_column(old: str, new: str, message: str) -> None:
    assert message in refusal(ARCH.replace(old, new))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mapspace_constraints: {targets: [{target: Bof, type: temporal}]}", "c.yaml:1:43: mapspace_constraints.targets[0].target: unknown level `Bof`\n  hint: did you mean `Buf`?"),
        ("mapspace_constraints: {targets: [{target: Buf, type: tempral}]}", "unknown type of constraint `tempral`\n  hint: did you mean `temporal`?"),
        ("mapspace_constraints: {targets: [{target: Buf, type: temporal, factors: K=4 Z=2}]}", "unknown dim `Z`"),
        ("mapspace_constraints: {targets: [{target: Buf, type: temporal, factors: K=a}]}", "read `K=a` in the factors, expected a dim and its factor such as C=4 or C<=4"),
        ("mapspace_constraints: {targets: [{target: Buf, type: temporal, factors: K=2, permutation: KK}]}", "dim `K` stands twice in one permutation"),
        ("mapspace_constraints: {targets: [{target: Buf, type: bypass, keep: [Weight]}]}", "unknown data space `Weight`\n  hint: did you mean `Weights`?"),
        ("mapspace_constraints: [{target: Buf, type: temporal, factors: K=1}, {target: Buf, type: temporal, factors: K=2}]", "the factor of dim `K` is fixed a second time, differently, first at c.yaml:1"),
        ("mapping: [{target: Buf, type: temporal, factors: K=4 R=3 P=8}]", "c.yaml:1:10: mapping: the factors of dim `P` multiply to 8, expected its bound, 16"),
        ("mapping: [{target: Buf, type: temporal, factors: 'K=4 R=3 P=10,3'}]", "read `3` in the factors"),
        ("mapper: {optimization_metric: [edpp]}", "unknown metric `edpp`\n  hint: did you mean `edp`?"),
        ("mapper: {victory-conditon: 1}", "unknown key\n  hint: did you mean `victory-condition`?"),
        ("problem: 3", "c.yaml:1:10: problem: a second `problem`, the first is at b.yaml:2:3"),
        ("{{include_text('x.yaml')}}", "c.yaml:1:1: in the template tag `{{include_text('x.yaml')}}`: no file `x.yaml`"),
        ("architecture_constraints: !Componnt {}", "c.yaml:1:27: tag \"!Componnt\" is not read\n  hint: did you mean `!Component`?"),
    ],
)  # fmt: skip
def test_mistakes_in_other_files_are_told_with_file_line_and_column(text: str, message: str) -> None:
    assert message in refusal(ARCH, PROBLEM, text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[K, R, P]", "[K, R]", "unknown dim `P`"),
        ("[P, stride]", "[P, strde]", "unknown coefficient `strde`\n  hint: did you mean `stride`?"),
        ("read_write: True", "read_write: False", "0 data spaces are written (none), expected one"),
        ("instance: {K: 4, ", "instance: {", "no bound of K, expected one of every dimension"),
        ("P: 16}", "P: 16, Stride: 2}", "instance.Stride: unknown key\n  hint: did you mean `stride`?"),
        ("P: 16}", "P: 16, bitwidths: {Weight: 3}}", "unknown data space `Weight`"),
        ("P: 16}", "P: 16, bitwidths: {Weights: 40}}", "read `40`, expected an integer 1..32"),
    ],
)
def test_mistakes_in_a_problem_are_told(old: str, new: str, message: str) -> None:
    assert message in refusal(PROBLEM.replace(old, new))


def test_all_mistakes_of_all_files_are_told_at_once() -> None:
    text = refusal(ARCH.replace("class: SRAM", "clas: SRAM"), PROBLEM.replace("K: 4", "K: 0"), "mapping: {}")
    assert [line.split(":")[0] for line in text.splitlines() if ".yaml:" in line] == ["a.yaml", "b.yaml"]


def test_a_mapping_alone_says_what_it_needs() -> None:
    assert refusal("mapping: [{target: Buf, type: temporal}]") == (
        "a.yaml:1:10: mapping: a mapping without its architecture and problem\n"
        "  hint: give those files too, or --arch and --workload"
    )


def test_files_with_damage_are_read_or_refused_but_never_crash() -> None:
    random = Random(7)
    texts = [path.read_text() for path in sorted(FILES.glob("*.yaml"))]
    spare = ("null", "[]", "{}", "-1", "0", "1e400", "''", "[[x]]", "99999999999", "x[0..2]", "!Component {}", "*")
    messages: list[str] = []
    for _ in range(400):
        lines = [*random.choice(texts).splitlines(), *PROBLEM.splitlines(), *MAPPING.splitlines()]
        for _ in range(random.randint(1, 3)):
            i = random.randrange(len(lines))
            words = re.findall(r"\s+|[\w.]+|[^\w\s.]", lines[i]) or [""]
            words[random.randrange(len(words))] = random.choice(spare)
            lines[i] = "".join(words)
        try:
            parse_timeloop([("damaged.yaml", "\n".join(lines))])
        except SpecError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert [message for message in messages if not message.startswith("damaged.yaml:")] == []


def test_a_mapping_is_judged_beside_an_architecture_that_is_wrong() -> None:
    arch = ARCH.replace("class: intmac", "class: intmak").replace("depth: 256", "depth: many")
    mapping = """\
    mapping:
      - {target: Buff, type: temporal, factors: K=4}
      - {target: Reg, type: temporal, factors: Z=3}
      - {target: Main, type: bypass, keep: [Weight]}
    """
    lines = [line for line in refusal(arch, PROBLEM, mapping).splitlines() if not line.startswith("  hint")]
    places = [line.split(": ", 1)[0] for line in lines]
    assert places == ["a.yaml:8:56", "a.yaml:10:38", "c.yaml:2:14", "c.yaml:3:44", "c.yaml:4:41"]
    assert "unknown level `Buff`" in lines[2]
    right = "mapping: [{target: Main, type: temporal, factors: K=4 R=3 P=16}, {target: Reg, type: temporal}]"
    assert "b.yaml" not in refusal(arch, PROBLEM, right)
    assert "c.yaml" not in refusal(arch, PROBLEM, right)
    wrong = "mapping: [{target: Main, type: temporal, factors: K=4 R=3 P=8}]"
    assert "c.yaml:1:10: mapping: the factors of dim `P` multiply to 8" in refusal(arch, PROBLEM, wrong)


def test_a_file_of_quantloom_is_told_to_need_no_import() -> None:
    message = refusal("name: a\nlevels: []\narithmetic: {}\n", "name: w\ndims: {C: 3}\n")
    assert message.splitlines() == [
        "a.yaml:1:1: no Timeloop file: read `name`, `levels`, `arithmetic`",
        "  hint: quantloom's own files need no import",
        "b.yaml:1:1: no Timeloop file: read `name`, `dims`",
        "  hint: quantloom's own files need no import",
    ]
