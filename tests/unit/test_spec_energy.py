# ruff: noqa: E501  (a table of messages)
"""The `estimator` of accelerator files: energies and areas worked out where no number is given."""

from __future__ import annotations

import pytest

from quantloom.errors import SpecError
from quantloom.estimate import MacQuery, StorageQuery, find_estimator
from quantloom.spec.arch import parse_arch
from quantloom.spec.arch_text import dump_arch
from quantloom.timeloop.write import dump_constraints, unsaid

TEXT = """\
name: small
source: a test
levels:
  - name: DRAM
    technology: DRAM
    word_bits: 8
    block_words: 8
    energy_pj: {estimator: analytic, dram_type: HBM2}
  - name: buffer
    word_bits: 8
    block_words: 4
    capacity_words: 1024
    energy_pj: {estimator: analytic, node_nm: 28, hop: 0.5}
  - name: registers
    word_bits: 8
    capacity_words: 16
    energy_pj: {estimator: analytic, kind: regfile}
    area_um2: 7
arithmetic:
  name: mac
  word_bits: 8
  energy_pj: {estimator: analytic, node_nm: 28}
"""


def test_energies_are_those_of_the_estimator() -> None:
    arch, analytic = parse_arch(TEXT, "f.yaml"), find_estimator("analytic")
    registers, buffer, dram = arch.levels
    found = analytic.storage(StorageQuery(kind="sram", width_bits=32, rows=256, node_nm=28))
    assert (buffer.energy.read_pj, buffer.energy.fill_pj, buffer.area_um2) == (
        *(found.read_pj, found.write_pj),
        found.area_um2,
    )
    assert buffer.energy.update_source == "analytic: SRAM of 256 x 32 bits at 28 nm, width x sqrt(capacity)"
    assert buffer.hop_energy_pj == 0.5
    assert registers.area_um2 == 7
    assert registers.energy.read_source.startswith("analytic: register file of 16 x 8 bits at 45 nm")
    assert (dram.energy.read_pj, dram.energy.read_source) == (
        pytest.approx(3.9 * 64),
        "analytic: HBM2 3.9 pJ/bit x 64 bits",
    )
    mac = analytic.mac(MacQuery(bits=8, node_nm=28))
    assert (arch.arithmetic.energy_pj, arch.arithmetic.area_um2) == (mac.energy_pj, mac.area_um2)


def test_what_was_estimated_is_written_as_numbers_with_their_source() -> None:
    arch = parse_arch(TEXT, "f.yaml")
    text = dump_arch(arch)
    assert "estimator" not in text
    again = parse_arch(text, "f.yaml")
    assert (again.levels, again.arithmetic) == (arch.levels, arch.arithmetic)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hop: 0.5", "read: 3", "f.yaml:13:57: levels[1].energy_pj.read: given beside `estimator`, expected one of the two"),
        ("kind: regfile", "kind: rgefile", "levels[2].energy_pj.kind: unknown kind of storage `rgefile`\n  hint: did you mean `regfile`?"),
        ("kind: regfile", "kind: dram", "levels[2].energy_pj.kind: kind dram does not go with the technology, expected sram"),
        ("capacity_words: 16", "capacity_words: unlimited", "levels[2].energy_pj: an unlimited level has no size to estimate from"),
        ("analytic, node_nm: 28, hop", "anlytic, node_nm: 28, hop", "levels[1].energy_pj.estimator: unknown estimator `anlytic`"),
        ("node_nm: 28, hop", "node_nm: 1, hop", "levels[1].energy_pj: a feature size of 1 nm is outside 5 to 90 nm"),
        ("{estimator: analytic, node_nm: 28}", "{mac: 1, source: x, node_nm: 28}", "arithmetic.energy_pj.node_nm: given without `estimator`, which it is for"),
        ("{estimator: analytic, node_nm: 28}", "{mac: 1, estimator: analytic}", "arithmetic.energy_pj.mac: given beside `estimator`"),
    ],
)  # fmt: skip
def test_mistakes_are_told(old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_arch(TEXT.replace(old, new), "f.yaml")
    assert message in str(caught.value)


def test_both_limits_of_a_factor_may_be_given() -> None:
    text = TEXT + 'constraints: {mapspace: {buffer: {temporal: {factors: {P: ">=2 <=8"}}}}}\n'
    assert parse_arch(text, "f.yaml").constraints[0].factors == [("P", ">=", 2), ("P", "<=", 8)]
    assert dump_arch(parse_arch(text, "f.yaml")).count('P: ">=2 <=8"') == 1
    for wrong in (">=2 >=3", ">=2 8", "<=2 <=3 >=1"):
        with pytest.raises(SpecError, match="expected a positive integer"):
            parse_arch(text.replace(">=2 <=8", wrong), "f.yaml")


def test_shares_of_what_must_be_used_are_written_and_not_exported() -> None:
    uses = "{min_parallelism: 0.5, mapspace: {buffer: {utilization: {min_capacity: 0.25, max_fanout: 1}}}}"
    arch = parse_arch(f"{TEXT}constraints: {uses}\n", "f.yaml")
    again = parse_arch(dump_arch(arch), "f.yaml").constraints
    shares = [(c.min_parallelism, c.min_capacity, c.max_fanout) for c in arch.constraints]
    assert [(c.min_parallelism, c.min_capacity, c.max_fanout) for c in again] == shares
    assert "utilization" not in dump_constraints(arch)
    assert "constraints on utilization and parallelism" in unsaid(arch)
