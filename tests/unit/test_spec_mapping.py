"""Mapping files: the reference's records are read, a round trip changes nothing, mistakes are told with their place."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.spec.arch import load_arch
from quantloom.spec.mapping import dump_mapping, load_mapping, parse_mapping
from quantloom.spec.workload import parse_workload

GOLDEN = Path(__file__).parents[1] / "golden"
ARCHS = {"eyeriss": "eyeriss", "simba": "simba", "tiny": GOLDEN / "tiny.yaml"}
TINY = load_arch(GOLDEN / "tiny.yaml")
CONV, _ = parse_workload("{name: conv, dims: {C: 4, M: 6, P: 8}}", "w.yaml")

SMALL = """\
- level: Main
  temporal: [[P, 4], [C, 2]]
- level: Buf
  temporal: [[M, 3]]
  spatial: {x: [[C, 2]], y: [[M, 2]]}
  bypass: [Weights]
- level: Reg
  spatial: {x: [[P, 2]]}
  keep: [Outputs]
"""


def records() -> list[dict[str, Any]]:
    with gzip.open(GOLDEN / "fixed_mappings.json.gz", "rt") as stream:
        fixed: list[dict[str, Any]] = json.load(stream)["records"]
    invalid: list[dict[str, Any]] = json.loads((GOLDEN / "invalid_mappings.json").read_text())["records"]
    return fixed + invalid


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_mapping(text, "m.yaml", TINY, CONV)
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def test_small_file_gives_the_record_it_describes() -> None:
    mapping = parse_mapping(SMALL, "m.yaml", TINY, CONV)
    reg, buf, main = mapping.levels
    assert main == _core.LevelMapping(temporal=[("P", 4), ("C", 2)], keep=["Weights", "Inputs", "Outputs"])
    assert buf == _core.LevelMapping(
        temporal=[("M", 3)], spatial_x=[("C", 2)], spatial_y=[("M", 2)], keep=["Inputs", "Outputs"]
    )
    assert reg == _core.LevelMapping(spatial_x=[("P", 2)], keep=["Outputs"])


def test_records_of_the_reference_are_read_and_survive_a_round_trip() -> None:
    archs = {name: load_arch(source) for name, source in ARCHS.items()}
    for record in records():
        arch = archs[record["arch"]]
        # A whole record serves as a workload file and as a mapping file.
        text = json.dumps({key: value for key, value in record.items() if key != "outputs"})
        workload, _ = parse_workload(text, record["id"])
        mapping = parse_mapping(text, record["id"], arch, workload)
        expected = [
            _core.LevelMapping(
                temporal=[(dim, bound) for dim, bound in level["temporal"]],
                spatial_x=[(dim, bound) for dim, bound in level["spatial"]["X"]],
                spatial_y=[(dim, bound) for dim, bound in level["spatial"]["Y"]],
                keep=level["keep"],
            )
            for level in reversed(record["mapping"])
        ]
        assert mapping.levels == expected
        assert parse_mapping(json.dumps(record["mapping"]), record["id"], arch, workload) == mapping
        assert parse_mapping(dump_mapping(mapping, arch), record["id"], arch, workload) == mapping


def test_dumped_text_reads_well(tmp_path: Path) -> None:
    mapping = parse_mapping(SMALL, "m.yaml", TINY, CONV)
    text = dump_mapping(mapping, TINY)
    assert text == (
        "arch: tiny\n"
        "mapping:  # outermost level first, loops from outer to inner\n"
        "  - level: Main\n"
        "    temporal: [[P, 4], [C, 2]]\n"
        "    keep: [Weights, Inputs, Outputs]\n"
        "  - level: Buf\n"
        "    temporal: [[M, 3]]\n"
        "    spatial: {x: [[C, 2]], y: [[M, 2]]}\n"
        "    keep: [Inputs, Outputs]\n"
        "  - level: Reg\n"
        "    spatial: {x: [[P, 2]], y: []}\n"
        "    keep: [Outputs]\n"
    )
    path = tmp_path / "m.yaml"
    path.write_text(text)
    assert load_mapping(path, TINY, CONV) == mapping


def test_loops_of_bound_one_survive_a_round_trip() -> None:
    mapping = parse_mapping(changed("[[M, 3]]", "[[M, 3], [C, 1]]"), "m.yaml", TINY, CONV)
    assert mapping.levels[1].temporal == [("M", 3), ("C", 1)]
    assert parse_mapping(dump_mapping(mapping, TINY), "m.yaml", TINY, CONV) == mapping


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[P, 4]",
            "[P, 8]",
            "m.yaml:1:1: the factors of dim `P` multiply to 16, expected its bound, 8",
        ),
        (
            "[P, 4]",
            "[p, 4]",
            "m.yaml:2:15: [0].temporal[0][0]: unknown dim `p`\n  hint: did you mean `P`?",
        ),
        (
            "[P, 4]",
            "[P, 4, 2]",
            "m.yaml:2:14: [0].temporal[0]: read a list of 3, expected a loop: a dim and its bound, such as [P, 56]",
        ),
        (
            "[P, 4]",
            "[P, 0]",
            "m.yaml:2:18: [0].temporal[0][1]: read `0`, expected an integer 1..2147483648",
        ),
        (
            "[[P, 4], [C, 2]]",
            "[[P, 2], [C, 2], [P, 2]]",
            "m.yaml:2:31: [0].temporal[2][0]: dim `P` has two loops here\n"
            "  hint: merge them into one loop whose bound is the product",
        ),
        (
            "level: Buf",
            "level: Buff",
            "m.yaml:3:10: [1].level: read `Buff`, expected the level `Buf`\n  hint: did you mean `Buf`?",
        ),
        (
            "level: Buf",
            "level: Reg",
            "m.yaml:3:10: [1].level: read `Reg`, expected the level `Buf`\n  hint: from outside in: Main, Buf, Reg",
        ),
        (
            "- level: Reg\n  spatial: {x: [[P, 2]]}\n  keep: [Outputs]\n",
            "",
            "m.yaml:1:1: read a list of 2, expected the 3 levels of `tiny`\n  hint: from outside in: Main, Buf, Reg",
        ),
        (
            "temporal: [[M, 3]]",
            "temporal: [[M, 3]]\n  temporl: []",
            "m.yaml:5:3: [1].temporl: unknown key\n  hint: did you mean `temporal`?",
        ),
        (
            "{x: [[P, 2]]}",
            "{x: [[P, 2]], X: [[P, 2]]}",
            "m.yaml:8:29: [2].spatial.X: `x` is given twice",
        ),
        (
            "keep: [Outputs]",
            "keep: [Outputs, Outputs, Weigths]\n  bypass: [Outputs]",
            "m.yaml:9:19: [2].keep[1]: tensor `Outputs` is listed twice\n"
            "m.yaml:9:28: [2].keep[2]: unknown tensor `Weigths`\n"
            "  hint: did you mean `Weights`?\n"
            "m.yaml:10:11: [2].bypass: tensor `Outputs` is also in keep, expected it in one of them",
        ),
    ],
)
def test_mistakes_are_told_with_line_path_and_hint(old: str, new: str, message: str) -> None:
    assert error_of(changed(old, new)) == message


def test_a_mapping_for_another_architecture_is_refused() -> None:
    indented = SMALL.replace("\n", "\n  ")
    assert error_of(f"arch: simba\nmapping:\n  {indented}") == (
        "m.yaml:1:7: arch: read `simba`, expected the architecture in use, `tiny`"
    )


def test_a_file_of_another_kind_is_refused() -> None:
    assert error_of("3") == "m.yaml:1:1: read `3`, expected a list of levels, or a mapping with `mapping`"
    assert error_of("arch: tiny") == "m.yaml:1:1: key `mapping` is missing, expected a list of levels"


WORDS = ["", "0", "[]", "{}", "null", "'", "\t", "\n", ": ", "- ", "&a", "*a", "[P, 2]", "x", "9" * 30]


@settings(max_examples=200)
@given(st.data())
def test_any_change_of_a_file_gives_a_mapping_or_a_spec_error(data: st.DataObject) -> None:
    text = SMALL
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 20)))
        text = text[:start] + data.draw(st.sampled_from(WORDS) | st.text(max_size=5)) + text[end:]
    with contextlib.suppress(SpecError):
        parse_mapping(text, "m.yaml", TINY, CONV)
