"""Memories by CACTI, through the package `hwcomponents-cacti`; optional (`pip install "quantloom[hwcomponents]"`).

The package needs Python 3.12 or later. Register files and multiply-accumulators, which CACTI does not know, are of the
analytic estimator; every number says which of the two it is from.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from inspect import signature
from pathlib import Path
from typing import Any, Final

from quantloom.errors import SpecError
from quantloom.estimate import MacEstimate, MacQuery, StorageEstimate, StorageQuery
from quantloom.estimate.analytic import AnalyticEstimator

__all__ = ["HwcomponentsEstimator"]

_PACKAGE: Final = "hwcomponents_cacti"
_OLDEST_PYTHON: Final = (3, 12)
_PICO, _SQUARE_MICRO, _NANO = 1e12, 1e12, 1e-9


class HwcomponentsEstimator:
    """SRAM and DRAM of hwcomponents-cacti. Raises SpecError, saying why, if the package cannot be used."""

    def __init__(self) -> None:
        try:
            self._package: Any = import_module(_PACKAGE)  # Any: a package without types
        except ImportError as error:
            if sys.version_info < _OLDEST_PYTHON:
                have = f"{sys.version_info.major}.{sys.version_info.minor}"
                message = f"the estimator hwcomponents needs Python 3.12 or later, this is {have}"
                raise SpecError(message, hint="use the estimator analytic, or a newer Python") from error
            message = f"the estimator hwcomponents needs the package hwcomponents-cacti: {error}"
            raise SpecError(message, hint='pip install "quantloom[hwcomponents]"') from error
        self._analytic = AnalyticEstimator()
        try:
            self._name = f"hwcomponents-cacti {version('hwcomponents-cacti')}"
        except PackageNotFoundError:
            self._name = "hwcomponents-cacti"

    def storage(self, query: StorageQuery) -> StorageEstimate:
        """CACTI's energy of one access; its area of the memory."""
        if query.kind == "regfile":
            return self._analytic.storage(query)
        model = self._model(query)
        try:
            read, write = (_joules(getattr(model, action)()) for action in ("read", "write"))
            area = None if query.kind == "dram" else float(model.area) * _SQUARE_MICRO / query.cluster
        except Exception as error:  # whatever the package or the CACTI program in it does
            raise self._failure(query, error) from error
        share = _PICO / query.cluster
        what = f"{query.dram_type} DRAM" if query.kind == "dram" else f"SRAM of {query.rows} rows"
        source = f"{self._name}: {what}, {query.width_bits} bits at {query.node_nm:g} nm"
        return StorageEstimate(read_pj=read * share, write_pj=write * share, area_um2=area, source=source)

    def mac(self, query: MacQuery) -> MacEstimate:
        """Of the analytic estimator."""
        return self._analytic.mac(query)

    def _model(self, query: StorageQuery) -> Any:  # Any: a class of the package
        try:
            if query.kind == "dram":
                return getattr(self._package, query.dram_type.upper())(width=query.width_bits)
            sram = self._package.SRAM
            sizes = {"width": query.width_bits, "depth": query.rows}
            if "size" in signature(sram).parameters:  # 1.0.40 compares it with the product, even if it is left out
                sizes["size"] = query.width_bits * query.rows
            return sram(tech_node=query.node_nm * _NANO, **sizes)
        except Exception as error:  # as above
            raise self._failure(query, error) from error

    def _failure(self, query: StorageQuery, error: Exception) -> SpecError:
        reason = f"{type(error).__name__}: {error}"
        hint = "use the estimator analytic"
        if "CACTI failed" in reason:
            sources = Path(str(self._package.__file__)).parent / "cacti"
            hint = (
                f"the package's program CACTI may be built for a newer system: build it with `make -C {sources} clean "
                f"all`, or {hint}"
            )
        return SpecError(f"{self._name} cannot estimate {query}: {reason}", hint=hint)


def _joules(cost: Any) -> float:  # Any: a float, an (energy, latency) pair or a record, by version of the package
    energy = getattr(cost, "energy", None)
    if energy is None:
        energy = cost[0] if isinstance(cost, tuple) else cost
    return float(energy)
