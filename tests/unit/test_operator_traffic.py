"""What operators beside the layers would cost if their traffic went through the outermost level."""

from __future__ import annotations

from typing import Any

import pytest

from quantloom._core import Arch
from quantloom.mapper.operator_traffic import edge_bits, operator_traffic
from quantloom.spec.arch import parse_arch
from quantloom.spec.bits import load_bits, parse_bits_file
from quantloom.spec.network import parse_network
from quantloom.workload.network import Network

NETWORK = """\
name: pooled
input_shape: [3, 8, 8]
edges:
  - {name: image, shape: [3, 8, 8]}
  - {name: conv, shape: [4, 6, 6]}
  - {name: pool, shape: [4, 3, 3]}
  - {name: logits, shape: [5]}
layers:
  - {name: conv, reads: image, writes: conv, dims: {C: 3, M: 4, R: 3, S: 3, P: 6, Q: 6}}
  - {name: fc, reads: pool, writes: logits, shape: gemm, dims: {C: 36, M: 5}}
operators:
  - {name: relu, kind: ReLU, treatment: fused, reads: [conv]}
  - {name: pool, kind: AvgPool2d, treatment: traffic, reads: [conv], writes: pool, elements_read: 144,
     elements_written: 36}
"""
ARCH = """\
name: small
source: made up
levels:
  - name: DRAM
    technology: DRAM
    word_bits: 16
    block_words: 4
    energy_pj: {read: 100, fill: 1, update: 200, source: made up}
arithmetic: {name: mac, word_bits: 16, energy_pj: {mac: 1, source: made up}}
"""


def network() -> Network:
    return parse_network(NETWORK, "n.yaml")


def arch(change: str = "") -> Arch:
    return parse_arch(ARCH.replace("    block_words: 4\n", f"    block_words: 4\n{change}"), "a.yaml")


def test_whole_blocks_of_packed_words_are_read_and_updated() -> None:
    [pool] = operator_traffic(network(), arch(), [8, 4, 8, 8])
    assert (pool.name, pool.kind, pool.treatment, pool.level) == ("pool", "AvgPool2d", "traffic", "DRAM")
    assert pool.bits == 8  # the widest of the edges it reads (4) and writes (8)
    assert (pool.reads, pool.writes) == (18, 5)  # 144 / 2 / 4, and 36 / 2 / 4 rounded up
    assert pool.energy_pj == 18 * 100 + 5 * 200


@pytest.mark.parametrize(
    ("bits", "change", "packing", "accesses"),
    [
        (3, "", "word", (8, 2)),  # 5 elements in 16 bits: 29 and 8 words
        (3, "", "dense", (7, 2)),  # 432 and 108 bits: 27 and 7 words
        (3, "", "none", (36, 9)),
        (3, "    packing: dense\n", "word", (7, 2)),
        (17, "", "word", (72, 18)),  # wider than a word: two words each
    ],
)
def test_packing_is_that_of_the_level_or_of_the_evaluation(
    bits: int, change: str, packing: str, accesses: tuple[int, int]
) -> None:
    [pool] = operator_traffic(network(), arch(change), [bits] * 4, packing=packing)
    assert (pool.reads, pool.writes) == accesses


def test_bits_of_edges_come_from_the_short_form_or_from_a_file() -> None:
    assert edge_bits(load_bits("a4w8o6"), network()) == [6, 6, 6, 6]
    text = "default: 8\nactivations: {conv: 4}\n"
    bits = edge_bits(parse_bits_file(text, "b.yaml"), network())
    groups = [edge.group for edge in network().edges]
    assert [b == 4 for b in bits] == [group == groups[1] for group in groups]


def test_map_says_what_is_not_charged_and_charges_it_on_request(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from quantloom.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "n.yaml").write_text(NETWORK)
    command = ["map", "n.yaml", "--arch", "eyeriss", "--bits", "8"]

    def output(*more: str) -> str:
        assert main([*command, *more]) == 0
        return capsys.readouterr().out

    plain = output()
    assert "180 elements are moved by 1 operator beside the layers, which is in none of" in " ".join(plain.split())
    assert "--charge-operators" in plain
    charged = " ".join(output("--charge-operators").split())
    assert "read from and written to DRAM" in charged
    assert "AvgPool2d" in charged
    import json

    body = json.loads(output("--charge-operators", "--json"))
    assert body["operators_charged"] is True
    assert body["operators_energy_pj"] == sum(row["energy_pj"] for row in body["operators"]) > 0
    assert "energy_pj" not in json.loads(output("--json"))["operators"][0]
