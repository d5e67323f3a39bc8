"""Files that are used together: one error lists the mistakes of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantloom.errors import QuantloomError, SpecError, WorkloadError
from quantloom.spec.together import Together, load_mapped_layer

TINY = (Path(__file__).parents[1] / "golden" / "tiny.yaml").read_text()
LAYER = "name: l\ndims: {C: 2, M: 2, P: 2}\n"
NEST = (
    "- {level: Main, temporal: [[C, 2], [M, 2]]}\n- {level: Buf, temporal: [[P, 2]], keep: [Weights]}\n- {level: Reg}\n"
)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def error_of(arch: str, layer: str, nest: str, bits: str | None = None) -> list[str]:
    for name, text in (("a.yaml", arch), ("w.yaml", layer), ("m.yaml", nest)):
        Path(name).write_text(text)
    with pytest.raises(SpecError) as caught:
        load_mapped_layer("a.yaml", "w.yaml", "m.yaml", bits=bits)
    return [line for line in str(caught.value).splitlines() if not line.startswith("  hint")]


def test_right_files_give_the_layer_and_its_mapping() -> None:
    for name, text in (("a.yaml", TINY), ("w.yaml", LAYER), ("m.yaml", NEST)):
        Path(name).write_text(text)
    layer = load_mapped_layer("a.yaml", "w.yaml", "m.yaml", bits="a8w4")
    assert (layer.arch.name, layer.workload.name) == ("tiny", "l")
    assert layer.bits is not None
    assert (layer.bits.weights, layer.bits.inputs) == (4, 8)
    assert layer.mapping.levels[1].keep == ["Weights"]


def test_a_wrong_accelerator_does_not_hide_a_wrong_mapping() -> None:
    lines = error_of(
        TINY.replace("word_bits", "word_bitz", 1),
        LAYER,
        NEST.replace("[P, 2]", "[X, 2]").replace("[Weights]", "[Weight]").replace("level: Reg", "levl: Reg"),
    )
    assert lines[0].startswith("a.yaml:")
    assert "unknown key" in lines[0]
    assert [line for line in lines if line.startswith("m.yaml")] == [
        "m.yaml:2:28: [1].temporal[0][0]: unknown dim `X`",
        "m.yaml:2:43: [1].keep[0]: unknown tensor `Weight`",
        "m.yaml:3:4: [2].levl: unknown key",
    ]


def test_a_wrong_layer_does_not_hide_a_wrong_mapping_or_wrong_bits() -> None:
    lines = error_of(TINY, "dims: {C: 0}\n", NEST.replace("level: Buf", "level: Buff"), bits="w99")
    assert lines[0] == "w.yaml:1:11: dims.C: read `0`, expected an integer 1..2147483648"
    assert lines[1].startswith("bits `w99`: expected bits 1..32")
    assert lines[2:] == ["m.yaml:2:11: [1].level: read `Buff`, expected the level `Buf`"]


def test_with_a_wrong_accelerator_a_right_mapping_is_not_blamed() -> None:
    lines = error_of(TINY.replace("word_bits", "word_bitz", 1), LAYER, NEST)
    assert all(line.startswith("a.yaml:") for line in lines)


def test_one_error_keeps_its_class_and_several_become_one() -> None:
    def fails(error: QuantloomError) -> int:
        raise error

    together = Together()
    assert together.read(lambda: 3) == 3
    together.raise_if_any()
    assert together.read(lambda: fails(WorkloadError("no layer", hint="name one"))) is None
    with pytest.raises(WorkloadError, match="no layer"):
        together.raise_if_any()
    together.read(lambda: fails(SpecError("a.yaml:1:1: wrong")))
    with pytest.raises(QuantloomError) as caught:
        together.raise_if_any()
    assert str(caught.value) == "no layer\n  hint: name one\na.yaml:1:1: wrong"
