"""Arithmetic units whose energy and speed depend on bits, and the other keys of the default cost model, from YAML."""

from __future__ import annotations

import pytest

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.spec.arch import parse_arch

TEXT = """\
name: bits
source: a test
levels:
  - name: DRAM
    technology: DRAM
    word_bits: 16
    energy_pj: {{read: 100, write: 100, source: guess}}
  - name: buffer
    word_bits: 16
    capacity_words: 64
    {level}
    energy_pj: {{read: 1, write: 2, {energy}source: guess}}
arithmetic:
  name: mac
  word_bits: 8
  instances: {{x: 4, y: 2}}
  energy_pj: {{mac: 1.6, {mac}source: guess}}
  {precision}
"""


def text(*, level: str = "keep: [Weights]", energy: str = "", mac: str = "", precision: str = "area_um2: 1") -> str:
    return TEXT.format(level=level, energy=energy, mac=mac, precision=precision)


def table_of(precision: str) -> _core.MacTable:
    table = parse_arch(text(precision=f"precision: {precision}"), "f.yaml").arithmetic.mac_table
    assert table is not None
    return table


def error_of(content: str) -> str:
    with pytest.raises(SpecError) as caught:
        parse_arch(content, "f.yaml")
    return str(caught.value)


def test_constant_units_have_no_table() -> None:
    assert parse_arch(text(), "f.yaml").arithmetic.mac_table is None
    assert parse_arch(text(precision="precision: {style: constant}"), "f.yaml").arithmetic.mac_table is None


def test_styles_are_those_of_the_core() -> None:
    bricks = _core.MacTable.bit_scalable(word_bits=8, brick_bits=4, energy_pj=1.6)
    assert table_of("{style: bit-scalable, brick_bits: 4}") == bricks
    serial = _core.MacTable.bit_serial(word_bits=8, serial="first", lanes=3, energy_pj=1.6)
    assert table_of("{style: bit-serial, serial: weights, lanes: 3}") == serial
    assert table_of("{style: bit-serial}") == _core.MacTable.bit_serial(word_bits=8, energy_pj=1.6)


def test_a_table_gives_energy_and_rate_of_every_pair() -> None:
    rows = "energy_pj: [[0.1, 0.2], [0.2, 0.4]], macs_per_cycle: [[4, 2.5], [1/3, 1/5]]"
    table = table_of(f"{{style: table, weights_bits: [2, 8], inputs_bits: [4, 8], {rows}, source: guess}}")
    assert (table.first_bits, table.second_bits) == ([2, 8], [4, 8])
    assert table.energy_pj == [0.1, 0.2, 0.2, 0.4]
    assert table.rate == [(4, 1), (5, 2), (1, 3), (1, 5)]


@pytest.mark.parametrize(
    ("precision", "told"),
    [
        ("{style: bitserial}", "did you mean `bit-serial`?"),
        ("{brick_bits: 2}", "key `style` is missing"),
        ("{style: bit-scalable, lanes: 2}", "arithmetic.precision.lanes: means nothing for the style bit-scalable"),
        ("{style: bit-scalable, brick_bits: 3}", "cannot be made of bricks of 3"),
        ("{style: bit-serial, serial: outputs}", "unknown serial operand"),
        ("{style: table, weights_bits: [8, 2], inputs_bits: [8], source: a}", "a list of bit-widths, ascending"),
        (
            "{style: table, weights_bits: [8], inputs_bits: [8], energy_pj: [[1, 2]], "
            "macs_per_cycle: [[1]], source: a}",
            "a list of 1 rows (weights_bits) of 1 numbers (inputs_bits)",
        ),
        (
            "{style: table, weights_bits: [8], inputs_bits: [8], energy_pj: [[1]], macs_per_cycle: [[1/0]], source: a}",
            "operations per cycle",
        ),
        (
            "{style: table, weights_bits: [4, 8], inputs_bits: [8], energy_pj: [[2], [1]], "
            "macs_per_cycle: [[1], [1]], source: a}",
            "8 x 8 bits take less energy than 4 x 8 bits",
        ),
    ],
)
def test_mistakes_are_told_with_their_place(precision: str, told: str) -> None:
    message = error_of(text(precision=f"precision: {precision}"))
    assert message.startswith("f.yaml:")
    assert told in message


def test_every_switch_of_the_default_model_reaches_the_record() -> None:
    network = "network: {multicast: false, reduction: false, forwarding: true}"
    level = f"packing: dense\n    bandwidth_bits_per_cycle: {{read: 24}}\n    {network}"
    content = text(
        level=level,
        energy="adder: 0.25, idle_per_cycle: 0.5, ",
        mac="leak_per_cycle: 0.125, idle_per_cycle: 0.0625, ",
        precision="psum_bits: 20",
    )
    arch = parse_arch(content, "f.yaml")
    buffer = arch.levels[0]
    assert (buffer.packing, buffer.read_bandwidth, buffer.bandwidth_in_bits) == ("dense", 24.0, True)
    assert (buffer.multicast, buffer.reduction, buffer.forwarding) == (False, False, True)
    assert (buffer.adder_energy_pj, buffer.idle_energy_pj) == (0.25, 0.5)
    assert (arch.arithmetic.leak_energy_pj, arch.arithmetic.idle_energy_pj) == (0.125, 0.0625)
    assert arch.arithmetic.psum_bits == 20
    plain = parse_arch(text(), "f.yaml").levels[0]
    assert (plain.packing, plain.multicast, plain.reduction, plain.forwarding) == (None, True, True, False)


def test_bandwidth_is_given_in_words_or_in_bits() -> None:
    both = "bandwidth_words_per_cycle: {read: 1}\n    bandwidth_bits_per_cycle: {read: 16}"
    assert "expected one of the two" in error_of(text(level=both))
