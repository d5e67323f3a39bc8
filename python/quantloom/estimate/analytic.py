"""Energies and areas by scaling laws, for accelerators that nobody has run a memory compiler for.

At 45 nm, w bits an access, C bits of capacity (`python bench/estimator_error.py` prints the error of each law at every
figure it was checked with; docs/energies.md has the table):

* SRAM: read 0.00075 * w * sqrt(C) pJ, write 0.0010 * w * sqrt(C) pJ. Word and bit lines grow with the side of the
  array, so an access costs its width times the square root of the capacity: Horowitz (ISSCC 2014, doi
  10.1109/ISSCC.2014.6757323) has 10, 20, 100 pJ for 64 bits from 8 KB, 32 KB and 1 MB. Constants: geometric means over
  the figures at 45 nm.
* register file: (0.011 + 0.0005 * rows) * w pJ, read and write: each bit passes a multiplexer as deep as the file.
  Constants: fitted to the Aladdin figures of 16-bit files.
* multiply-accumulate: 0.00843 * b^2 + 0.00268 * b pJ: an array of b x b adder cells and one adder. Constants: through
  the Aladdin figures of 8 and 16 bits (0.5608 and 2.20035 pJ).
* DRAM by the bit: LPDDR4 8 pJ (512 pJ for 64 bits in the reference's table), DDR3 20 pJ (Horowitz 2014: from 1.3 nJ
  for 64 bits), HBM2 3.9 pJ (O'Connor et al., MICRO 2017, doi 10.1145/3123939.3124545).
* area: SRAM 1.17, register file 1.3 um2 a bit; multiply-accumulate 5 * b^2 um2 (means of the same figures).

Node: energy times (nm / 45)^0.6, the mean slope between Horowitz's figures at 45 nm and those of Jouppi et al. at 7 nm
(ISCA 2021, doi 10.1109/ISCA52012.2021.00010: an 8-bit multiplication 0.2 -> 0.07 pJ, SRAM 8 KB 10 -> 7.5 pJ, 1 MB 100
-> 14 pJ: large arrays shrink more than this law says, small ones less). DRAM does not scale with the node. Area times
(nm / 45)^2, the ideal. Nothing leaks.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from quantloom.errors import SpecError
from quantloom.estimate import MacEstimate, MacQuery, StorageEstimate, StorageQuery

__all__ = ["DRAM_PJ_PER_BIT", "NODES_NM", "AnalyticEstimator"]

DRAM_PJ_PER_BIT: Final = {"LPDDR4": 8.0, "DDR3": 20.0, "HBM2": 3.9}
NODES_NM: Final = (5.0, 90.0)  # smallest and largest feature size the node law is offered for
_SRAM_READ_PJ, _SRAM_WRITE_PJ = 0.00075, 0.0010
_REGFILE_PJ, _REGFILE_ROW_PJ = 0.011, 0.0005
_MULTIPLIER_PJ, _ADDER_PJ = 0.00843, 0.00268
_SRAM_UM2, _REGFILE_UM2, _MAC_UM2 = 1.17, 1.3, 5.0
_ENERGY_EXPONENT = 0.6


class AnalyticEstimator:
    """The scaling laws above."""

    def storage(self, query: StorageQuery) -> StorageEstimate:
        """PJ of one access of `width_bits` and um2 of the whole memory."""
        width, node = query.width_bits, _node_text(query.node_nm)
        if query.kind == "dram":
            each = DRAM_PJ_PER_BIT.get(query.dram_type.upper())
            if each is None:
                message = f"no energy of {query.dram_type} DRAM is known, expected one of {', '.join(DRAM_PJ_PER_BIT)}"
                raise SpecError(message, hint="give its energy in pJ, or one of these types")
            source = f"analytic: {query.dram_type} {each:g} pJ/bit x {width} bits"
            return StorageEstimate(read_pj=each * width, write_pj=each * width, area_um2=None, source=source)
        scale, area_scale = _scales(query.node_nm)
        capacity = width * query.rows
        if query.kind == "sram":
            read, write = (c * width * sqrt(capacity) for c in (_SRAM_READ_PJ, _SRAM_WRITE_PJ))
            area = _SRAM_UM2 * capacity
            source = f"analytic: SRAM of {query.rows} x {width} bits at {node}, width x sqrt(capacity)"
        else:
            read = write = (_REGFILE_PJ + _REGFILE_ROW_PJ * query.rows) * width
            area = _REGFILE_UM2 * capacity
            source = f"analytic: register file of {query.rows} x {width} bits at {node}, width x (a + b rows)"
        share = scale / query.cluster
        return StorageEstimate(
            read_pj=read * share, write_pj=write * share, area_um2=area * area_scale / query.cluster, source=source
        )

    def mac(self, query: MacQuery) -> MacEstimate:
        """PJ of one multiply-accumulate of two operands of `bits` bits."""
        scale, area_scale = _scales(query.node_nm)
        b = query.bits
        source = f"analytic: {b}-bit multiply-accumulate at {_node_text(query.node_nm)}, a b^2 + c b"
        energy_pj = (_MULTIPLIER_PJ * b * b + _ADDER_PJ * b) * scale
        return MacEstimate(energy_pj=energy_pj, area_um2=_MAC_UM2 * b * b * area_scale, source=source)


def _scales(node_nm: float) -> tuple[float, float]:
    """Factors of energy and area against 45 nm."""
    if not NODES_NM[0] <= node_nm <= NODES_NM[1]:
        message = f"a feature size of {node_nm:g} nm is outside {NODES_NM[0]:g} to {NODES_NM[1]:g} nm"
        raise SpecError(message, hint="the scaling law holds within that range only; give energies in pJ")
    return (node_nm / 45) ** _ENERGY_EXPONENT, (node_nm / 45) ** 2


def _node_text(node_nm: float) -> str:
    return f"{node_nm:g} nm"
