"""The energies that Timeloop takes where its energy table has no entry, to reproduce its results.

height h = rows, width w = bits of an access, x = w * h / 8192 (KB), y = 1 + (x - 0.5) * 5 / 99.5: y * w / 16 pJ, shared
by the instances of a cluster; DRAM 200 pJ for 16 bits; a multiplier (bits / 16)^2 pJ. No area, and the same
numbers for every feature size.
"""

from __future__ import annotations

from quantloom.estimate import MacEstimate, MacQuery, StorageEstimate, StorageQuery

__all__ = ["TimeloopEstimator"]

_SOURCE = "Timeloop's built-in estimate (no energy table entry)"


class TimeloopEstimator:
    """The built-in numbers of the reference tool."""

    def storage(self, query: StorageQuery) -> StorageEstimate:
        """One number for reads and writes."""
        width = query.width_bits
        if query.kind == "dram":
            pj = 200 * width / 16
        else:
            kilobytes = width * query.rows / 8192
            pj = (1 + (kilobytes - 0.5) * 5 / 99.5) * width / 16 / query.cluster
        return StorageEstimate(read_pj=pj, write_pj=pj, area_um2=None, source=_SOURCE)

    def mac(self, query: MacQuery) -> MacEstimate:
        """Quadratic in the bits."""
        return MacEstimate(energy_pj=(query.bits / 16) ** 2, area_um2=None, source=_SOURCE)
