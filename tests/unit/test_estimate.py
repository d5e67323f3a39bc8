"""Estimators: the laws they promise, how they are found, and what is said when one is missing."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pytest

import quantloom.estimate
from quantloom.errors import SpecError
from quantloom.estimate import MacEstimate, MacQuery, StorageEstimate, StorageQuery, estimator_names, find_estimator
from quantloom.estimate.hwcomponents import HwcomponentsEstimator

ANALYTIC = find_estimator("analytic")


def sram(width_bits: int = 64, rows: int = 1024, node_nm: float = 45) -> StorageEstimate:
    return ANALYTIC.storage(StorageQuery(kind="sram", width_bits=width_bits, rows=rows, node_nm=node_nm))


def test_an_access_of_sram_costs_its_width_times_the_root_of_the_capacity() -> None:
    assert sram(rows=4096).read_pj == pytest.approx(2 * sram(rows=1024).read_pj)
    assert sram(width_bits=128, rows=512).read_pj == pytest.approx(2 * sram(width_bits=64, rows=1024).read_pj)
    assert sram().read_pj < sram().write_pj


def test_more_never_costs_less() -> None:
    sizes = [16, 64, 4096, 1 << 16]
    for kind in ("sram", "regfile"):
        by_rows = [ANALYTIC.storage(StorageQuery(kind=kind, width_bits=16, rows=n)).read_pj for n in sizes]
        by_width = [ANALYTIC.storage(StorageQuery(kind=kind, width_bits=n, rows=16)).read_pj for n in sizes]
        assert by_rows == sorted(by_rows)
        assert by_width == sorted(by_width)
    macs = [ANALYTIC.mac(MacQuery(bits=b)).energy_pj for b in range(1, 33)]
    assert macs == sorted(macs)


def test_smaller_nodes_cost_less_but_dram_stays() -> None:
    assert sram(node_nm=7).read_pj == pytest.approx(sram().read_pj * (7 / 45) ** 0.6)
    assert sram(node_nm=22.5).area_um2 == pytest.approx((sram().area_um2 or 0) / 4)
    dram = [ANALYTIC.storage(StorageQuery(kind="dram", width_bits=64, rows=0, node_nm=nm)) for nm in (45, 7)]
    assert [found.read_pj for found in dram] == [512, 512]


def test_the_reference_macs_are_met() -> None:
    assert ANALYTIC.mac(MacQuery(bits=16)).energy_pj == pytest.approx(2.20035, rel=1e-3)
    assert ANALYTIC.mac(MacQuery(bits=8)).energy_pj == pytest.approx(0.5608, rel=1e-3)


def test_a_source_says_what_was_estimated() -> None:
    assert sram().source == "analytic: SRAM of 1024 x 64 bits at 45 nm, width x sqrt(capacity)"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (StorageQuery(kind="sram", width_bits=8, rows=8, node_nm=3), "a feature size of 3 nm is outside 5 to 90 nm"),
        (
            StorageQuery(kind="dram", width_bits=8, rows=0, dram_type="SDR"),
            "no energy of SDR DRAM is known, expected one",
        ),
    ],
)
def test_what_cannot_be_estimated_is_refused(query: StorageQuery, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ANALYTIC.storage(query)


class Mine:
    """An estimator as another package would bring it."""

    def storage(self, query: StorageQuery) -> StorageEstimate:
        return StorageEstimate(read_pj=1.0, write_pj=2.0, area_um2=None, source="mine")

    def mac(self, query: MacQuery) -> MacEstimate:
        return MacEstimate(energy_pj=3.0, area_um2=None, source="mine")


class Broken:
    """No estimator at all."""


def install(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = EntryPoint(name, value, quantloom.estimate.ENTRY_POINTS)
    found = EntryPoints([point])
    monkeypatch.setattr(quantloom.estimate, "entry_points", lambda **select: found.select(**select))
    find_estimator.cache_clear()


def test_estimators_of_other_packages_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "their_package", SimpleNamespace(Mine=Mine))
    install(monkeypatch, "mine", "their_package:Mine")
    assert estimator_names() == ["analytic", "timeloop", "hwcomponents", "mine"]
    assert find_estimator("mine").mac(MacQuery(bits=8)).energy_pj == 3.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_package:Mine", "estimator `x` .no_such_package:Mine. cannot be loaded: ModuleNotFoundError"),
        ("their_package:Broken", "estimator `x` .their_package:Broken. has no methods storage and mac"),
    ],
)
def test_estimators_that_do_not_work_are_refused(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    monkeypatch.setitem(sys.modules, "their_package", SimpleNamespace(Broken=Broken))
    install(monkeypatch, "x", value)
    with pytest.raises(SpecError, match=message):
        find_estimator("x")


def test_an_unknown_estimator_is_told_with_the_known_ones() -> None:
    with pytest.raises(SpecError) as caught:
        find_estimator("analitic")
    assert str(caught.value).startswith("unknown estimator `analitic`\n  hint: known: analytic, timeloop, hwcomponents")


def test_hwcomponents_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hwcomponents_cacti", None)  # as if it were not installed
    with pytest.raises(SpecError) as caught:
        HwcomponentsEstimator()
    needs = "Python 3.12 or later" if sys.version_info < (3, 12) else "the package hwcomponents-cacti"
    assert needs in caught.value.message


class FakeMemory:
    """A memory class as hwcomponents-cacti has it: joules, square metres, sizes in bits, nodes in metres."""

    area = 2e-9

    def __init__(self, *, width: int, depth: int = 0, tech_node: float = 0.0) -> None:
        self.width, self.depth, self.tech_node = width, depth, tech_node

    def read(self) -> SimpleNamespace:
        return SimpleNamespace(energy=self.width * 1e-13, latency=1e-9)

    def write(self) -> tuple[float, float]:
        return self.width * 2e-13, 1e-9


class FakeMemoryOfSize(FakeMemory):
    """As of hwcomponents-cacti 1.0.40, which wants the size beside width and depth."""

    def __init__(self, *, tech_node: float, width: int, depth: int, size: int | None = None) -> None:
        super().__init__(width=width, depth=depth, tech_node=tech_node)
        assert size is not None
        assert size == width * depth


def test_hwcomponents_gets_the_size_where_it_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hwcomponents_cacti", SimpleNamespace(SRAM=FakeMemoryOfSize))
    found = HwcomponentsEstimator().storage(StorageQuery(kind="sram", width_bits=64, rows=1024))
    assert found.read_pj == pytest.approx(6.4)


def test_hwcomponents_is_asked_in_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hwcomponents_cacti", SimpleNamespace(SRAM=FakeMemory, LPDDR4=FakeMemory))
    estimator = HwcomponentsEstimator()
    found = estimator.storage(StorageQuery(kind="sram", width_bits=64, rows=1024))
    assert (found.read_pj, found.write_pj, found.area_um2) == pytest.approx((6.4, 12.8, 2000))
    assert found.source == "hwcomponents-cacti: SRAM of 1024 rows, 64 bits at 45 nm"
    dram = estimator.storage(StorageQuery(kind="dram", width_bits=64, rows=0))
    assert (dram.read_pj, dram.area_um2) == (pytest.approx(6.4), None)
    assert estimator.mac(MacQuery(bits=8)).source.startswith("analytic")
    with pytest.raises(SpecError, match=r"hwcomponents-cacti cannot estimate .*HBM2"):
        estimator.storage(StorageQuery(kind="dram", width_bits=64, rows=0, dram_type="HBM2"))
