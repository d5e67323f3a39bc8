"""Accelerator files: the shipped ones equal the reference to the last bit; every mistake is told with its place."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.spec import arch as arch_module
from quantloom.spec.arch import arch_names, find_arch, load_arch, parse_arch

GOLDEN = Path(__file__).parents[1] / "golden"
ARCHS: dict[str, Any] = json.loads((GOLDEN / "archs.json").read_text())
CONSTRAINTS: dict[str, Any] = json.loads((GOLDEN / "constraints.json").read_text())

SMALL = """\
name: small
source: a test
levels:
  - name: DRAM
    technology: DRAM
    word_bits: 16
    block_words: 4
    energy_pj: {read: 512, write: 512, source: guess}
  - name: buffer
    word_bits: 16
    capacity_words: 64
    instances: {x: 2, y: 1}
    keep: [Weights]
    energy_pj: {read: 1, write: 2, source: guess}
arithmetic:
  name: mac
  word_bits: 16
  instances: {x: 4, y: 2}
  energy_pj: {mac: 0.5, source: guess}
constraints:
  architecture:
    buffer:
      spatial: {factors: {M: 4}, permutation: [C, M], split: 1}
  mapspace:
    DRAM:
      temporal: {factors: {R: all, Q: "<=4", P: ">=2"}, permutation: {inner: [R, S], outer: [N]}}
"""


def golden_arch(name: str) -> _core.Arch:
    return load_arch(GOLDEN / "tiny.yaml") if name == "tiny" else load_arch(name)


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_arch(text, "f.yaml")
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


@pytest.mark.parametrize("name", ["eyeriss", "simba", "tiny"])
def test_levels_equal_the_reference_to_the_last_bit(name: str) -> None:
    arch, reference = golden_arch(name), ARCHS[name]
    assert (arch.name, arch.source) == (name, reference["source"])
    assert len(arch.levels) == len(reference["levels"])
    for i, (level, expected) in enumerate(zip(arch.levels, reference["levels"], strict=True)):
        network = expected.get("network", {})
        assert {
            "name": level.name,
            "word_bits": level.word_bits,
            "block_size": level.block_words,
            "size": level.capacity_words,
            "instances": level.instances,
            "meshX": level.mesh_x,
            "meshY": level.mesh_y,
            "fanoutX": arch.fanout_x(i),
            "fanoutY": arch.fanout_y(i),
            "cluster_size": level.cluster_size,
            "read_bandwidth": level.read_bandwidth,
            "write_bandwidth": level.write_bandwidth,
            "no_reduction": level.is_dram,
            "technology": "DRAM" if level.is_dram else "SRAM",
            "area": level.area_um2,
            "energy": {
                "read": level.energy.read_pj,
                "fill": level.energy.fill_pj,
                "update": level.energy.update_pj,
            },
            "energy_source": {
                "read": level.energy.read_source,
                "fill": level.energy.fill_source,
                "update": level.energy.update_source,
            },
        } == {key: value for key, value in expected.items() if key not in ("network", "addr_gen_energy")}
        assert level.shared_bandwidth is None
        assert level.address_energy_pj == expected.get("addr_gen_energy")
        assert level.hop_energy_pj == network.get("energy_per_hop", 0.0)
        assert level.router_energy_pj == network.get("router_energy", 0.0)
        assert level.leak_energy_pj == 0.0


@pytest.mark.parametrize("name", ["eyeriss", "simba", "tiny"])
def test_arithmetic_equals_the_reference_to_the_last_bit(name: str) -> None:
    mac, expected = golden_arch(name).arithmetic, ARCHS[name]["arithmetic"]
    assert {
        "name": mac.name,
        "instances": mac.instances,
        "meshX": mac.mesh_x,
        "meshY": mac.mesh_y,
        "word_bits": mac.word_bits,
        "energy": mac.energy_pj,
        "energy_source": mac.energy_source,
        "area": mac.area_um2,
    } == expected


@pytest.mark.parametrize("name", ["eyeriss", "simba"])
def test_constraints_equal_the_reference(name: str) -> None:
    """Each target's constraints of the reference, written our way, are exactly those of the file."""
    expected = set()
    for entry in CONSTRAINTS[name]:
        target = entry["type"] if entry["type"] in ("temporal", "spatial") else "keep"
        factors = frozenset((dim, int(value)) for dim, value in re.findall(r"(\w)=(\d+)", entry.get("factors", "")))
        expected.add(
            (
                *(entry["kind"], entry["target"], target, factors),
                tuple(entry.get("permutation", "").replace(" ", "")),
                "permutation" in entry,
                entry.get("split"),
                frozenset(entry.get("keep", [])),
                frozenset(entry.get("bypass", [])),
            )
        )
    arch = load_arch(name)
    found = set()
    for constraint in arch.constraints:
        assert all(relation == "=" for _, relation, _ in constraint.factors)
        assert constraint.permutation_outer == []
        factors = frozenset((dim, value) for dim, _, value in constraint.factors)
        found.add(
            (
                *(constraint.origin, constraint.level, constraint.target, factors),
                tuple(constraint.permutation_inner),
                constraint.has_permutation,
                constraint.split,
                frozenset(constraint.keep),
                frozenset(constraint.bypass),
            )
        )
    assert found == expected
    assert len(arch.constraints) == len(CONSTRAINTS[name])
    assert arch.relax_indivisible_factors


def test_shipped_names_load() -> None:
    assert {"eyeriss", "simba"} <= set(arch_names())
    for name in arch_names():
        assert load_arch(name).name == name
        assert find_arch(name).name == f"{name}.yaml"


def test_folder_of_the_package_is_used_without_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "quantloom"
    (package / "arch_specs").mkdir(parents=True)
    (package / "arch_specs" / "small.yaml").write_text(SMALL)
    monkeypatch.setattr(arch_module, "__file__", str(package / "spec" / "arch.py"))
    monkeypatch.setattr(arch_module.quantloom, "__path__", [str(package)])
    assert arch_names() == ["small"]
    assert load_arch("small").name == "small"


def test_small_file_gives_the_record_it_describes() -> None:
    arch = parse_arch(SMALL, "f.yaml")
    assert [level.name for level in arch.levels] == ["buffer", "DRAM"]
    buffer, dram = arch.levels
    assert (buffer.block_words, buffer.cluster_size, buffer.is_dram, buffer.read_bandwidth) == (1, 1, False, None)
    assert (dram.capacity_words, dram.is_dram, dram.block_words) == (None, True, 4)
    assert (buffer.energy.fill_pj, buffer.energy.update_pj, buffer.energy.update_source) == (2.0, 2.0, "guess")
    keep, spatial, temporal = arch.constraints
    assert (keep.level, keep.target, keep.keep, keep.bypass) == ("buffer", "keep", ["Weights"], [])
    assert (spatial.origin, spatial.factors, spatial.split) == ("architecture", [("M", "=", 4)], 1)
    assert temporal.origin == "mapspace"
    assert temporal.factors == [("R", "=", 0), ("Q", "<=", 4), ("P", ">=", 2)]
    assert (temporal.permutation_inner, temporal.permutation_outer) == (["R", "S"], ["N"])
    assert [constraint.where for constraint in arch.constraints] == ["f.yaml:13:11", "f.yaml:23:16", "f.yaml:26:17"]
    assert not arch.relax_indivisible_factors


def test_own_dims_and_tensors_may_be_named() -> None:
    text = "dims: [I, J, K]\ntensors: [A, B, Z]\n" + changed(SMALL[SMALL.index("constraints:") :], "")
    text = text.replace("keep: [Weights]", "keep: [A]\n    bypass: [Z]")
    text += "constraints:\n  mapspace:\n    buffer:\n      temporal: {permutation: [K, I]}\n"
    keep, temporal = parse_arch(text, "f.yaml").constraints
    assert (keep.keep, keep.bypass, temporal.permutation_inner) == (["A"], ["Z"], ["K", "I"])


def test_bandwidths_are_read_by_direction() -> None:
    text = changed("    keep: [Weights]\n", "    bandwidth_words_per_cycle: {read: 2, shared: 2.5}\n")
    buffer = parse_arch(text, "f.yaml").levels[0]
    assert (buffer.read_bandwidth, buffer.write_bandwidth, buffer.shared_bandwidth) == (2.0, None, 2.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    capacity_words: 64\n",
            "    capacity_word: 64\n",
            "f.yaml:11:5: levels[1].capacity_word: unknown key\n  hint: did you mean `capacity_words`?",
        ),
        (
            "capacity_words: 64",
            "capacity_words: lots",
            "f.yaml:11:21: levels[1].capacity_words: read `lots`, expected an integer of at least 1",
        ),
        (
            "    word_bits: 16\n    capacity_words: 64\n",
            "    word_bits: 16\n    block_words: 128\n    capacity_words: 64\n",
            "f.yaml:12:21: levels[1].capacity_words: read `64`, expected at least one block, 128 words",
        ),
        (
            "technology: DRAM",
            "technology: dram",
            "f.yaml:5:17: levels[0].technology: unknown technology `dram`\n  hint: did you mean `DRAM`?",
        ),
        (
            "read: 1, write: 2, source: guess",
            "read: -1, write: 2, source: guess",
            "f.yaml:14:23: levels[1].energy_pj.read: read `-1`, expected a number of at least 0",
        ),
        (
            "read: 1, write: 2, source: guess",
            "read: 1, write: 2",
            "f.yaml:14:16: levels[1].energy_pj: key `source` is missing, expected where the energies come from: "
            "text, or "
            "text for each of read, write (or fill and update)",
        ),
        (
            "read: 1, write: 2, source: guess",
            "read: 1, write: 2, fill: 3, source: guess",
            "f.yaml:14:42: levels[1].energy_pj.fill: given beside `write`, which stands for it; expected `write`, or "
            "`fill` and `update`",
        ),
        (
            "{x: 2, y: 1}",
            "{x: 3, y: 1}",
            "f.yaml:16:3: arithmetic: 4 instances on x cannot spread evenly below the 3 of `buffer`\n"
            "  hint: levels are written from DRAM inwards; each needs a multiple of the next outer level's instances",
        ),
        (
            "{x: 2, y: 1}",
            "[2, 1]",
            "f.yaml:12:16: levels[1].instances: read a list of 2, expected a number, or x and y such as {x: 14, y: 12}",
        ),
        (
            "  - name: buffer",
            "  - name: DRAM",
            "f.yaml:9:5: levels[1]: a second level named `DRAM`, the first is on line 4\n"
            "f.yaml:22:5: constraints.architecture.buffer: unknown level `buffer`\n"
            "  hint: known levels: DRAM",
        ),
        (
            "keep: [Weights]",
            "keep: [Weight, Weights, Weights]\n    bypass: [Weights]",
            "f.yaml:13:12: levels[1].keep[0]: unknown tensor `Weight`\n"
            "  hint: did you mean `Weights`?\n"
            "f.yaml:13:29: levels[1].keep[2]: tensor `Weights` is listed twice\n"
            "f.yaml:14:13: levels[1].bypass: tensor `Weights` is also in keep, expected it in one of them",
        ),
        (
            "factors: {M: 4}",
            "factors: {m: 4}",
            "f.yaml:23:27: constraints.architecture.buffer.spatial.factors.m: unknown dim `m`\n  hint: did you "
            "mean `M`?",
        ),
        (
            "factors: {M: 4}",
            "factors: {M: 5}",
            "f.yaml:23:30: constraints.architecture.buffer.spatial.factors.M: read `5`, expected at most the fanout of "
            "`buffer`, 4",
        ),
        (
            "factors: {M: 4}",
            "factors: {M: 0}",
            "f.yaml:23:30: constraints.architecture.buffer.spatial.factors.M: read `0`, expected a positive integer, "
            '`all` for the whole bound, or a limit such as "<=4" or ">=2"\n'
            "  hint: write `all` for the whole bound of the dim",
        ),
        (
            "permutation: [C, M]",
            "permutation: [C, M, C]",
            "f.yaml:23:54: constraints.architecture.buffer.spatial.permutation[2]: dim `C` stands twice in one "
            "permutation",
        ),
        (
            "  mapspace:\n    DRAM:",
            "  mapspace:\n"
            "    buffer: {keep: [Weights], spatial: {factors: {M: 2}, split: 0, permutation: [C]}}\n"
            "    DRAM:",
            "f.yaml:25:13: constraints.mapspace.buffer: tensor `Weights` is fixed a second time, first at "
            "f.yaml:13:11\n"
            "f.yaml:25:54: constraints.mapspace.buffer.spatial.factors.M: the factor of dim `M` is fixed a second "
            "time, first at f.yaml:23:30\n"
            "f.yaml:25:65: constraints.mapspace.buffer.spatial.split: the split is fixed a second time, first at "
            "f.yaml:23:62\n"
            "f.yaml:25:81: constraints.mapspace.buffer.spatial.permutation: the permutation is fixed a second time, "
            "first at f.yaml:23:47",
        ),
        (
            "temporal: {factors: {R: all,",
            "temporal: {split: 1, factors: {R: all,",
            "f.yaml:26:18: constraints.mapspace.DRAM.temporal.split: unknown key\n"
            "  hint: known keys: factors, permutation",
        ),
        (
            "    capacity_words: 64\n",
            "",
            "f.yaml:9:5: levels[1]: key `capacity_words` is missing, expected the words of one instance, or "
            "`unlimited`",
        ),
        (
            "name: small\n",
            "",
            "f.yaml:1:1: key `name` is missing, expected the accelerator's name",
        ),
        (
            SMALL[SMALL.index("levels:") : SMALL.index("arithmetic:")],
            "levels: []\n",
            "f.yaml:3:9: levels: read a list of 0, expected 1 to 12 levels\n"
            "f.yaml:11:5: constraints.architecture.buffer: unknown level `buffer`\n"
            "  hint: known levels: none\n"
            "f.yaml:14:5: constraints.mapspace.DRAM: unknown level `DRAM`\n"
            "  hint: known levels: none",
        ),
    ],
)
def test_mistakes_are_told_with_line_path_and_hint(old: str, new: str, message: str) -> None:
    assert error_of(changed(old, new)) == message


def test_cluster_larger_than_the_level_is_refused() -> None:
    text = changed("    keep: [Weights]\n", "    cluster_size: 3\n")
    assert error_of(text) == "f.yaml:13:19: levels[1].cluster_size: read `3`, expected at most the level's 2 instances"


def test_a_file_of_another_kind_is_refused() -> None:
    assert error_of("- 1\n").startswith("f.yaml:1:1: read a list of 1, expected a mapping with the keys name, source")
    assert error_of("architecture: {version: 0.4}\n") == (
        "f.yaml:1:1: read `architecture`, as in a Timeloop file, expected name, source, levels, arithmetic\n"
        "  hint: convert it: quantloom import timeloop FILES -o DIR"
    )


def test_mistakes_only_the_core_finds_are_located(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arch_module, "_check_meshes", lambda *_: None)
    text = changed("instances: {x: 2, y: 1}", "instances: {x: 3, y: 1}")
    message = error_of(text[: text.index("constraints:")])
    assert message.startswith("f.yaml:9:5: levels[1]: architecture 'small': level 'buffer': its mesh of 3 x 1 does not")


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(SpecError) as caught:
        load_arch("eyerss")
    assert caught.value.message == "unknown architecture `eyerss`"
    known = ", ".join(arch_names())
    assert caught.value.hint == f"did you mean `eyeriss`? known: {known}; or give the path of a YAML file"


@pytest.mark.parametrize("name", ["", "../eyeriss", "no/such.yaml", "missing.yaml", "a\0b", "x" * 5000])
def test_impossible_names_are_spec_errors(name: str) -> None:
    with pytest.raises(SpecError):
        load_arch(name)


def test_message_starts_with_the_path_as_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chip.yaml").write_text(changed("word_bits: 16\n    block_words", "word_bitz: 16\n    block_words"))
    with pytest.raises(SpecError) as caught:
        load_arch("chip.yaml")
    assert str(caught.value) == "chip.yaml:6:5: levels[0].word_bitz: unknown key\n  hint: did you mean `word_bits`?"


WORDS = ["", "0", "-1", "1e999", "[]", "{}", "all", "null", "*ert", "'", '"', "\t", "\n", ": ", "- ", "&a", "é", "DRAM"]
FRAGMENTS = st.sampled_from([*WORDS, "9" * 30])


@settings(max_examples=300)
@given(st.data())
def test_any_change_of_a_file_gives_an_arch_or_a_spec_error(data: st.DataObject) -> None:
    text = SMALL
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + data.draw(FRAGMENTS | st.text(max_size=5)) + text[end:]
    with contextlib.suppress(SpecError):
        parse_arch(text, "f.yaml")


def test_example_of_the_docs_loads_and_its_error_is_real() -> None:
    page = (Path(__file__).parents[2] / "docs" / "accelerators.md").read_text()
    example, message = re.findall(r"```(?:yaml|text)\n(.*?)```", page, re.DOTALL)
    assert parse_arch(example, "my_chip.yaml").name == "my_chip"
    with pytest.raises(SpecError) as caught:
        parse_arch(example.replace("capacity_words: 65536", "capacity_word: 65536"), "my_chip.yaml")
    assert message.strip() == str(caught.value)
