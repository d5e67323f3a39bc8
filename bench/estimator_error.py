"""How far the analytic estimator is from every figure it was checked with: `python bench/estimator_error.py`.

Figures: those in arch_specs/ (CACTI and Aladdin plug-ins of Accelergy v0.3, 45 nm), another estimator's (CACTI and
Aladdin as `hwcomponents` has them, 45 nm), Horowitz (ISSCC 2014, 45 nm) and Jouppi et al. (ISCA 2021, 7 nm). The laws
and constants are in python/quantloom/estimate/analytic.py; `fit` marks figures that a constant was taken from.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import exp, log
from statistics import fmean

from quantloom.estimate import MacQuery, StorageKind, StorageQuery, find_estimator


@dataclass(frozen=True)
class Figure:
    """One published or recorded number. quantity: read, write, mac (pJ) or area (um2)."""

    what: str
    quantity: str
    value: float
    source: str
    query: StorageQuery | MacQuery
    is_fit: bool = False


ACCELERGY, HWCOMPONENTS = "Accelergy v0.3", "hwcomponents"
HOROWITZ, JOUPPI = "Horowitz 2014", "Jouppi 2021"


def storage(
    what: str,
    kind: StorageKind,
    rows: int,
    width: int,
    source: str,
    fit: bool = False,
    node_nm: float = 45,
    **values: float,
) -> list[Figure]:
    query = StorageQuery(kind=kind, width_bits=width, rows=rows, node_nm=node_nm)
    return [Figure(what, quantity, value, source, query, fit) for quantity, value in values.items()]


def mac(bits: int, source: str, fit: bool = False, **values: float) -> list[Figure]:
    query = MacQuery(bits=bits)
    return [Figure(f"MAC {bits} bits", quantity, value, source, query, fit) for quantity, value in values.items()]


FIGURES = [
    *storage("SRAM 12800 x 64", "sram", 12800, 64, ACCELERGY, True, read=67.9377, write=68.7512, area=979377),
    *storage("SRAM 2048 x 256", "sram", 2048, 256, ACCELERGY, True, read=167.0908, write=182.7858, area=822637),
    *storage("SRAM 224 x 16", "sram", 224, 16, ACCELERGY, True, read=0.75891, write=1.17943, area=3474.22),
    *storage("SRAM 168 x 16", "sram", 168, 16, ACCELERGY, True, read=0.70363, write=1.01518, area=2800.08),
    *storage("SRAM 12800 x 64", "sram", 12800, 64, HWCOMPONENTS, True, read=28.3, write=23.4),
    *storage("SRAM 224 x 16", "sram", 224, 16, HWCOMPONENTS, True, read=1.01, write=1.43),
    *storage("SRAM 8 KB x 64", "sram", 1024, 64, HOROWITZ, True, read=10),
    *storage("SRAM 32 KB x 64", "sram", 4096, 64, HOROWITZ, True, read=20),
    *storage("SRAM 1 MB x 64", "sram", 131072, 64, HOROWITZ, True, read=100),
    *storage("SRAM 8 KB x 64, 7 nm", "sram", 1024, 64, JOUPPI, node_nm=7, read=7.5),
    *storage("SRAM 32 KB x 64, 7 nm", "sram", 4096, 64, JOUPPI, node_nm=7, read=8.5),
    *storage("SRAM 1 MB x 64, 7 nm", "sram", 131072, 64, JOUPPI, node_nm=7, read=14),
    *storage("register file 12 x 16", "regfile", 12, 16, ACCELERGY, True, read=0.23632, area=379.68),
    *storage("register file 16 x 16", "regfile", 16, 16, ACCELERGY, True, read=0.20203, area=235.68),
    *storage("register file 24 x 16", "regfile", 24, 16, ACCELERGY, True, read=0.30161, area=537.18),
    *storage("register file 128 x 16", "regfile", 128, 16, ACCELERGY, True, read=1.00522, area=2234.68),
    *storage("register file 3072 x 16", "regfile", 3072, 16, ACCELERGY, True, read=33.61808, area=80914.68),
    *storage("register file 4096 x 16", "regfile", 4096, 16, ACCELERGY, True, read=44.75984, area=107794.68),
    *storage("register file 8192 x 64", "regfile", 8192, 64, ACCELERGY, read=97.18672, area=233521.72),
    *storage("register 16", "regfile", 1, 16, HWCOMPONENTS, read=0.166),
    *storage("register 8", "regfile", 1, 8, HWCOMPONENTS, read=0.083),
    *mac(16, ACCELERGY, True, mac=2.20035, area=1239.5),
    *mac(8, ACCELERGY, True, mac=0.5608, area=332.25),
    *mac(16, HWCOMPONENTS, mac=3.89),
    *mac(8, HWCOMPONENTS, mac=1.03),
    *mac(4, HWCOMPONENTS, mac=0.349),
    *mac(2, HWCOMPONENTS, mac=0.178),
]


def estimate(figure: Figure, name: str) -> float:
    """What an estimator says of the figure's quantity."""
    estimator = find_estimator(name)
    if isinstance(figure.query, MacQuery):
        unit = estimator.mac(figure.query)
        return unit.energy_pj if figure.quantity == "mac" else unit.area_um2 or 0.0
    memory = estimator.storage(figure.query)
    return {"read": memory.read_pj, "write": memory.write_pj, "area": memory.area_um2 or 0.0}[figure.quantity]


def spread(ratios: list[float]) -> str:
    """The geometric mean factor by which estimates are off, and the range of estimate / figure."""
    off = exp(fmean(abs(log(ratio)) for ratio in ratios))
    return f"off by a factor of {off:.2f} on average, {min(ratios):.2f} to {max(ratios):.2f} of the figure"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--estimator", metavar="NAME", default="analytic", help="another one than the analytic")
    name = parser.parse_args().estimator
    print(f"| what | quantity | figure | source | {name} | {name} / figure |\n|---|---|---|---|---|---|")
    ratios: dict[tuple[str, bool], list[float]] = {}
    for figure in FIGURES:
        ours = estimate(figure, name)
        group = "area" if figure.quantity == "area" else figure.what.split(" ")[0]
        ratios.setdefault((group, figure.is_fit), []).append(ours / figure.value)
        mark = " (fit)" if figure.is_fit else ""
        print(
            f"| {figure.what} | {figure.quantity} | {figure.value:g} | {figure.source}{mark} "
            f"| {ours:.4g} | {ours / figure.value:.2f} |"
        )
    print()
    for (group, is_fit), values in ratios.items():
        print(f"{group}, {'figures fitted to' if is_fit else 'others'} ({len(values)}): {spread(values)}")


if __name__ == "__main__":
    main()
