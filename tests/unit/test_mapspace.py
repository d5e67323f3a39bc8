"""What Python users of the mapspace rely on; tests/property and tests/differential check its numbers."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from quantloom._core import Constraint, Mapspace, TensorSpec, Workload
from quantloom.errors import InfeasibleError, MappingError, SpecError
from quantloom.spec.arch import load_arch


def conv(*, groups: int = 0, channels: int = 32, filters: int = 32, kernel: int = 3, size: int = 112) -> Workload:
    group = [[("G", 1)]] if groups else []
    dims = {"C": channels, "M": filters, "R": kernel, "S": kernel, "N": 1, "P": size, "Q": size}
    return Workload(
        "layer",
        [*([("G", groups)] if groups else []), *dims.items()],
        [
            TensorSpec("Weights", [*group, [("C", 1)], [("M", 1)], [("R", 1)], [("S", 1)]]),
            TensorSpec("Inputs", [[("N", 1)], *group, [("C", 1)], [("R", 1), ("P", 1)], [("S", 1), ("Q", 1)]]),
            TensorSpec("Outputs", [[("N", 1)], *group, [("M", 1)], [("Q", 1)], [("P", 1)]], is_output=True),
        ],
    )


DEPTHWISE = conv(groups=32, channels=1, filters=1)


def test_what_a_space_says_about_itself() -> None:
    space = Mapspace(load_arch("eyeriss"), conv())
    assert repr(space) == "Mapspace('eyeriss', 'layer', size=70560)"
    assert space.sizes == {"factorization": 70560, "permutation": 1, "split": 1, "bypass": 1}
    assert space.factorizations["M"] == 126
    assert [(block["level"], block["kind"]) for block in space.blocks][-3:] == [
        ("shared_glb", "spatial"),
        ("shared_glb", "temporal"),
        ("DRAM", "temporal"),
    ]
    array = space.blocks[3]
    assert (array["level"], array["fanout_x"], array["fanout_y"], array["split"]) == ("DummyBuffer", 1, 12, 4)
    assert array["factors"]["S"] == (3, 3)
    assert array["factors"]["C"] == (1, 32)
    assert array["inner"] == ["N", "P", "Q", "R", "S", "C", "M"]
    assert space.keep["shared_glb"] == {"Weights": "bypass", "Inputs": "keep", "Outputs": "keep"}
    assert space.keep["DRAM"] == {"Weights": "keep", "Inputs": "keep", "Outputs": "keep"}


def test_bits_by_name_or_in_order() -> None:
    space = Mapspace(load_arch("eyeriss"), conv())
    by_name = space.count({"Weights": 4, "Inputs": 8, "Outputs": 8})
    assert by_name.valid == space.count([4, 8, 8], threads=2).valid == 15_054
    assert repr(by_name) == (
        "MapspaceCount(considered=70560, valid=15054, invalid_fanout=53677, invalid_capacity=1829)"
    )
    assert sum(by_name.invalid_capacity_by_level.values()) == by_name.invalid_capacity
    assert space.count().valid == space.count([16, 16, 16]).valid == 11_778


def test_selections() -> None:
    arch, workload = load_arch("simba"), conv(kernel=1, size=14)
    sizes = [Mapspace(arch, workload, selection=selection).size() for selection in ("all", "architecture", "free")]
    assert sizes == sorted(sizes)
    assert sizes[2] > 10**30
    with pytest.raises(SpecError, match="unknown selection of constraints 'everything'"):
        Mapspace(arch, workload, selection="everything")


def test_a_depthwise_layer_uses_the_lanes_of_output_channels() -> None:
    for name in ("eyeriss", "simba"):
        space = Mapspace(load_arch(name), DEPTHWISE)
        assert space.count([8, 8, 8]).valid > 0
        for block in space.blocks:
            assert block["factors"]["M"] == (1, 1)
    lanes = {block["level"]: block for block in space.blocks if block["kind"] == "spatial"}
    assert lanes["PEInputBuffer"]["factors"]["G"] == (4, 4)  # where a dense layer has M = 4
    assert lanes["PEInputBuffer"]["inner"][:2] == ["G", "M"]
    assert space.notes == [note for note in space.notes if "C = 4 dropped: larger than the bound C = 1" in note]


def test_indices() -> None:
    space = Mapspace(load_arch("simba"), conv(), selection="free")
    assert len(space.at(space.size() - 1).levels) == 6
    for index in (space.size(), -1):
        with pytest.raises(MappingError):
            space.at(index)


def test_errors_have_the_class_of_their_kind() -> None:
    arch = load_arch("eyeriss")
    with pytest.raises(MappingError, match="bits of Inputs: 17 bits do not fit the 16-bit words of level 'psum_spad'"):
        Mapspace(arch, conv()).count({"Inputs": 17})
    with pytest.raises(MappingError, match="enumeration 'all', expected reference, distinct or unpruned"):
        Mapspace(arch, conv()).count(enumeration="all")
    stuck = Constraint(origin="mapspace", level="DRAM", target="temporal", factors=[("M", "=", 5)], where="x.yaml:3")
    odd = type(arch)(name="odd", levels=arch.levels, arithmetic=arch.arithmetic, constraints=[stuck])
    with pytest.raises(
        InfeasibleError, match=r"the fixed factors of M, 5 \(DRAM, temporal\), do not divide its bound 32"
    ):
        Mapspace(odd, conv())


def test_ctrl_c_stops_a_long_count() -> None:
    space = Mapspace(load_arch("eyeriss"), conv(size=64), selection="free")
    sender = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    sender.start()
    begin = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        space.count(threads=2)
    assert time.perf_counter() - begin < 10  # a second on an idle machine
