"""The accelerators that come with quantloom: they load, say where their numbers are from, and layers are mapped."""

from __future__ import annotations

import pytest

from quantloom import BitWidths, load_arch, optimize
from quantloom._core import Arch
from quantloom.spec.arch import arch_names, find_arch
from quantloom.workload.layer import conv_workload

# Layers of MobileNetV2 at an input of 224: expansion, depthwise and projection of a block with stride 2.
LAYERS = {
    "expand": conv_workload("expand", inputs=24, outputs=144, output_size=(56, 56), kernel=(1, 1)),
    "depthwise": conv_workload(
        "depthwise", inputs=144, outputs=144, output_size=(28, 28), kernel=(3, 3), stride=(2, 2), groups=144
    ),
    "project": conv_workload("project", inputs=144, outputs=32, output_size=(28, 28), kernel=(1, 1)),
}
NAMES = arch_names()


def test_these_are_shipped() -> None:
    assert [
        *("bitfusion_like", "edge_npu", "eyeriss", "eyeriss_8bit", "eyeriss_8bit_small_spad", "gemmini_like"),
        *("nvdla_like", "simba", "simba_8bit", "simba_8bit_small_buffer", "tpu_v1_like"),
    ] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_number_says_where_it_is_from(name: str) -> None:
    arch, text = load_arch(name), find_arch(name).read_text()
    assert arch.name == name
    assert text.startswith("# ")
    assert "# Source of" in text or "Source of the numbers" in text
    sources = [s for level in arch.levels for s in (level.energy.read_source, level.energy.update_source)]
    assert all([arch.source, arch.arithmetic.energy_source, *sources])
    known = [
        level.area_um2 > 0 for level in arch.levels if not level.is_dram and "nothing" not in level.energy.read_source
    ]
    assert all([arch.arithmetic.area_um2 > 0, *known])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "edge_npu"])
def test_a_layer_is_mapped_and_proven(name: str, layer: str) -> None:
    arch, workload = load_arch(name), LAYERS[layer]
    costs = []
    for bits in (8, 4):
        best = optimize(arch, workload, bits=BitWidths.uniform(bits))
        assert best.certificate.exhausted
        costs.append(best.cost.edp)
    assert costs[1] <= costs[0]


@pytest.mark.parametrize("layer", ["expand", "project"])
def test_the_edge_npu_maps_pointwise_layers(layer: str) -> None:
    best = optimize(load_arch("edge_npu"), LAYERS[layer], bits=BitWidths.uniform(8))
    assert best.certificate.exhausted


def capacity_bits(arch: Arch) -> dict[str, int]:
    return {level.name: (level.capacity_words or 0) * level.word_bits for level in arch.levels}


@pytest.mark.parametrize(("variant", "base"), [("eyeriss_8bit", "eyeriss"), ("simba_8bit", "simba")])
def test_the_8_bit_variants_have_the_memories_of_their_models(variant: str, base: str) -> None:
    ours, theirs = load_arch(variant), load_arch(base)
    different = {"PEAccuBuffer", "PEWeightRegs", "DummyBuffer"}  # 24-bit partial sums; registers and blocks of one word
    for name, bits in capacity_bits(theirs).items():
        assert name in different or capacity_bits(ours)[name] == bits
    energies = [{level.name: level.energy.read_pj for level in arch.levels} for arch in (ours, theirs)]
    assert {k: v for k, v in energies[0].items() if k != "PEWeightRegs"} == {
        k: v for k, v in energies[1].items() if k != "PEWeightRegs"
    }
    assert ours.arithmetic.energy_pj == 0.5608


def test_the_modified_memories_are_three_quarters_as_large() -> None:
    for variant, base, memory in (
        ("eyeriss_8bit_small_spad", "eyeriss_8bit", "weights_spad"),
        ("simba_8bit_small_buffer", "simba_8bit", "PEWeightBuffer"),
    ):
        small, large = capacity_bits(load_arch(variant)), capacity_bits(load_arch(base))
        assert 4 * small[memory] == 3 * large[memory]
        assert {k: v for k, v in small.items() if k != memory} == {k: v for k, v in large.items() if k != memory}


def test_bits_speed_up_the_array_that_splits() -> None:
    arch, layer = load_arch("bitfusion_like"), LAYERS["expand"]
    eight, two = (optimize(arch, layer, bits=BitWidths.uniform(bits), objective="cycles") for bits in (8, 2))
    assert two.cost.compute_cycles < eight.cost.compute_cycles / 4


def test_the_systolic_arrays_are_as_published() -> None:
    shapes = {name: (load_arch(name).arithmetic.mesh_x, load_arch(name).arithmetic.mesh_y) for name in NAMES}
    assert shapes["tpu_v1_like"] == (256, 256)
    assert shapes["nvdla_like"] == (32, 64)
    assert shapes["gemmini_like"] == (16, 16)
    assert shapes["bitfusion_like"] == (32, 16)
