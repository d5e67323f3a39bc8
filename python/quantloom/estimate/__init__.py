"""Energies and areas of memories and multiply-accumulators where no table has them: estimators, by name.

An estimator is any object with the two methods of `Estimator`. Those of other packages are found by the entry point
group `quantloom.estimators` (name = "package.module:Class", a class that is called without arguments).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Final, Literal, Protocol, runtime_checkable

from quantloom.errors import SpecError

__all__ = [
    "BUILT_IN",
    "ENTRY_POINTS",
    "Estimator",
    "MacEstimate",
    "MacQuery",
    "StorageEstimate",
    "StorageKind",
    "StorageQuery",
    "estimator_names",
    "find_estimator",
]

StorageKind = Literal["sram", "regfile", "dram"]
ENTRY_POINTS: Final = "quantloom.estimators"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageQuery:
    """A memory. width_bits: moved by one access; rows: accesses that it holds; cluster: instances that share one.

    node_nm: feature size. dram_type: such as LPDDR4, for kind dram only, which has no rows (0).
    """

    kind: StorageKind
    width_bits: int
    rows: int
    node_nm: float = 45.0
    cluster: int = 1
    dram_type: str = "LPDDR4"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageEstimate:
    """pJ of one access, um2 of one instance (None: not known), and in words where the numbers come from."""

    read_pj: float
    write_pj: float
    area_um2: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MacQuery:
    """An integer multiply-accumulate unit for operands of `bits` bits at a feature size of `node_nm`."""

    bits: int
    node_nm: float = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MacEstimate:
    """pJ of one multiply-accumulate, um2 of one unit (None: not known), and where the numbers come from."""

    energy_pj: float
    area_um2: float | None
    source: str


@runtime_checkable
class Estimator(Protocol):
    """What every estimator does; both raise SpecError for what it cannot estimate."""

    def storage(self, query: StorageQuery) -> StorageEstimate:
        """Energy and area of a memory."""

    def mac(self, query: MacQuery) -> MacEstimate:
        """Energy and area of a multiply-accumulate unit."""


def _analytic() -> Estimator:
    from quantloom.estimate.analytic import AnalyticEstimator

    return AnalyticEstimator()


def _timeloop() -> Estimator:
    from quantloom.estimate.timeloop import TimeloopEstimator

    return TimeloopEstimator()


def _hwcomponents() -> Estimator:
    from quantloom.estimate.hwcomponents import HwcomponentsEstimator

    return HwcomponentsEstimator()


BUILT_IN: Final[dict[str, Callable[[], Estimator]]] = {
    "analytic": _analytic,
    "timeloop": _timeloop,
    "hwcomponents": _hwcomponents,
}


def estimator_names() -> list[str]:
    """The names that find_estimator() knows: the built-in ones, then those of installed packages."""
    return [*BUILT_IN, *sorted({point.name for point in entry_points(group=ENTRY_POINTS)} - set(BUILT_IN))]


@cache
def find_estimator(name: str) -> Estimator:
    """The estimator with this name.

    Raises SpecError if there is none, if its package is missing or fails to load, or if it lacks a method.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]()
    points = entry_points(group=ENTRY_POINTS, name=name)
    if not points:
        message = f"unknown estimator `{name}`"
        raise SpecError(message, hint=f"known: {', '.join(estimator_names())}")
    point = next(iter(points))
    try:
        made = point.load()()
    except Exception as error:  # whatever a foreign package does when it is loaded
        message = f"estimator `{name}` ({point.value}) cannot be loaded: {type(error).__name__}: {error}"
        raise SpecError(message, hint="mend or remove the package that brings it") from error
    if not isinstance(made, Estimator):
        message = f"estimator `{name}` ({point.value}) has no methods storage and mac"
        raise SpecError(message, hint="quantloom.estimate.Estimator says what an estimator does")
    return made
