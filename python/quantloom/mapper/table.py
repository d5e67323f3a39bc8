"""The cost table: every layer of a network at every combination of bit-widths, each with its best mapping."""

from __future__ import annotations

import itertools
import os
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantloom import _core
from quantloom.errors import InfeasibleError, MappingError
from quantloom.mapper.optimize import Progress, check_countable
from quantloom.mapper.stored import Question, TableEntry, recall, remember
from quantloom.report.notebook import html_result, html_table
from quantloom.store.database import Store
from quantloom.workload.bits import BitWidths
from quantloom.workload.network import Network

__all__ = ["CostTable", "cost_table", "packing_class_bits"]

_WAY_OUT: Final = "solve it with constraints that leave fewer mappings, or under a budget"
_Poll = Callable[[int, int, float, float], None]  # what the core calls while it searches


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTable:
    """Energy (pJ) and cycles of every layer at every combination of bits, under each layer's best mapping.

    layers: names in network order. bits: the widths tabulated, ascending. energy_pj, cycles: float64 arrays indexed
    [layer, weights, inputs, outputs] by positions in `bits`; infinite where no mapping fits.
    """

    layers: tuple[str, ...]
    bits: tuple[int, ...]
    objective: str
    model: str
    energy_pj: NDArray[np.float64]
    cycles: NDArray[np.float64]
    shape_of: tuple[int, ...]  # per layer: which of the distinct workloads it is
    entries: tuple[tuple[TableEntry, ...], ...]  # [distinct workload][weights, inputs, outputs flattened]

    def entry(self, layer: str, bits: BitWidths) -> TableEntry:
        """What the mapper found for a layer at these bits. Raises MappingError for a layer or bits not in the table."""
        try:
            shape = self.shape_of[self.layers.index(layer)]
            positions = [self.bits.index(b) for b in (bits.weights, bits.inputs, bits.outputs)]
        except ValueError:
            message = f"cost table: no entry for layer '{layer}' at bits {bits}"
            raise MappingError(message, hint=f"the table holds bits {', '.join(map(str, self.bits))}") from None
        width = len(self.bits)
        return self.entries[shape][(positions[0] * width + positions[1]) * width + positions[2]]

    def mapping(self, layer: str, bits: BitWidths) -> _core.Mapping:
        """The best mapping of a layer at these bits. Raises InfeasibleError if nothing fits there.

        MappingError if the combination was refused before anything was found.
        """
        found = self.entry(layer, bits)
        mapping = found.mapping
        if mapping is None and found.refusal:
            message = f"cost table: no mapping of layer '{layer}' at bits {bits}: {found.refusal}"
            raise MappingError(message, hint=_WAY_OUT)
        if mapping is None:
            message = f"cost table: no mapping of layer '{layer}' fits at bits {bits}"
            raise InfeasibleError(message, hint="use fewer bits")
        return mapping

    def __repr__(self) -> str:
        """What it is a table of, in a line: the entries themselves would be pages."""
        combinations = f"{len(self.bits) ** 3} combinations of {', '.join(map(str, self.bits))} bits"
        return f"<CostTable of {len(self.layers)} layers at {combinations}: {self._settings()}>"

    def _settings(self) -> str:
        proven = "every entry is proven" if self.is_proven else "not every entry is proven"
        return f"objective {self.objective}, {self.model} model, {proven}"

    def _repr_html_(self) -> str:
        """Energy and cycles of every layer at uniform bits, as a notebook shows them."""
        titles = ("layer", *(f"{bits} bit: pJ / cycles" for bits in self.bits))
        rows = [
            (
                layer,
                *(
                    f"{self.energy_pj[i, b, b, b]:.5g} / {self.cycles[i, b, b, b]:.5g}"
                    if np.isfinite(self.energy_pj[i, b, b, b])
                    else "nothing fits"
                    for b in range(len(self.bits))
                ),
            )
            for i, layer in enumerate(self.layers)
        ]
        note = f"Uniform bits of {len(self.bits) ** 3} combinations; {self._settings()}."
        return html_result(f"Cost table of {len(self.layers)} layers", [note], html_table(titles, rows))

    @property
    def refused(self) -> dict[tuple[str, BitWidths], str]:
        """Why there is no proven answer though no budget was given, by layer and bits; the others are solved."""
        combinations = list(itertools.product(self.bits, repeat=3))
        return {
            (layer, BitWidths(weights=weights, inputs=inputs, outputs=outputs)): found.refusal
            for layer, shape in zip(self.layers, self.shape_of, strict=True)
            for (weights, inputs, outputs), found in zip(combinations, self.entries[shape], strict=True)
            if found.refusal
        }

    def check_answered(self) -> None:
        """Raise MappingError if any combination was refused."""
        for (layer, bits), reason in self.refused.items():
            message = f"cost table, layer '{layer}' at bits {bits}: {reason}"
            raise MappingError(message, hint=_WAY_OUT)

    @property
    def is_proven(self) -> bool:
        """True if every entry is the optimum of its mapspace."""
        return all(found.exhausted for row in self.entries for found in row)


def packing_class_bits(arch: _core.Arch, *, least: int = 2, most: int = 8) -> tuple[int, ...]:
    """Return the largest bit-width of every packing class, ascending.

    Two bit-widths are in one class when every level packs elements of both alike and the arithmetic units treat them
    alike; they then cost the same, so only the larger, more accurate one is worth trying. Example: 16-bit words and
    2..8 bits give 2, 3, 4, 5, 8.
    """
    table = arch.arithmetic.mac_table

    def key(bits: int) -> tuple[int, ...]:
        packed = [bits if level.packing == "dense" else _elements_per_word(level, bits) for level in arch.levels]
        operands = () if table is None else (bisect_left(table.first_bits, bits), bisect_left(table.second_bits, bits))
        return (*packed, *operands)

    return tuple(sorted({key(bits): bits for bits in range(least, most + 1)}.values()))


def _elements_per_word(level: _core.Level, bits: int) -> int:
    return 1 if level.packing == "none" else level.word_bits // bits


def cost_table(
    network: Network,
    arch: _core.Arch,
    *,
    bits: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8),
    objective: str = "edp",
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
    selection: str = "all",
    threads: int = 0,
    budget: int = 0,
    store: Store | None = None,
    progress: Progress | None = None,
) -> CostTable:
    """Solve every layer at every combination of `bits`; equal layers and widths that pack alike are solved once.

    packing, psum_bits: as for `evaluate`. store: where results are looked up first and kept; the table is the same
    with it and without.

    Raises MappingError if a width exceeds a word of the architecture, WorkloadError for a layer of more than 2^53
    multiply-accumulates. Combinations that fit nowhere get infinite cost; those that cannot be proven without a budget
    are `refused`, each with the best that was found.
    """
    for layer in network.layers:
        check_countable(layer.workload)
    widths = tuple(sorted(set(bits)))
    settings = [{"Weights": w, "Inputs": i, "Outputs": o} for w, i, o in itertools.product(widths, repeat=3)]
    distinct: dict[_core.Workload, int] = {}
    shape_of = tuple(distinct.setdefault(layer.workload.renamed("layer"), len(distinct)) for layer in network.layers)
    first_layer = [network.layers[shape_of.index(shape)].name for shape in range(len(distinct))]

    questions = {
        workload: Question(
            arch,
            workload,
            settings,
            objective=objective,
            model=model,
            packing=packing,
            psum_bits=psum_bits,
            selection=selection,
            budget=budget,
        )
        for workload in (distinct if store is not None else ())
    }
    known = {} if store is None else {w: recall(store, question, settings) for w, question in questions.items()}
    missing = {w: [i for i in range(len(settings)) if i not in known.get(w, {})] for w in distinct}

    def solve(workload: _core.Workload, poll: _Poll) -> dict[int, TableEntry]:
        found = _core.optimize(
            arch,
            workload,
            [settings[i] for i in missing[workload]],
            objective=objective,
            model=model,
            packing=packing,
            psum_bits=psum_bits,
            selection=selection,
            threads=1,
            budget=budget,
            progress=poll,
        )
        return {i: TableEntry.of(optimum) for i, optimum in zip(missing[workload], found, strict=True)}

    def keep(workload: _core.Workload, results: dict[int, TableEntry]) -> None:
        known[workload] = {**known.get(workload, {}), **results}
        if store is not None:
            remember(store, questions[workload], results, settings)

    to_solve = {w: first_layer[shape] for w, shape in distinct.items() if missing[w]}
    _solve_all(solve, to_solve, keep, threads or os.cpu_count() or 1, progress)
    entries = tuple(tuple(known[workload][i] for i in range(len(settings))) for workload in distinct)
    cube = (len(widths),) * 3
    energy = np.array([[o.energy_pj for o in row] for row in entries]).reshape(len(distinct), *cube)
    cycles = np.array([[o.cycles for o in row] for row in entries]).reshape(len(distinct), *cube)
    index = np.array(shape_of)
    return CostTable(
        layers=tuple(layer.name for layer in network.layers),
        bits=widths,
        objective=objective,
        model=model,
        energy_pj=energy[index],
        cycles=cycles[index],
        shape_of=shape_of,
        entries=entries,
    )


class _Stopped(Exception):
    """Ends a layer that is being solved when the others are given up."""


def _solve_all(
    solve: Callable[[_core.Workload, _Poll], dict[int, TableEntry]],
    workloads: Mapping[_core.Workload, str],
    keep: Callable[[_core.Workload, dict[int, TableEntry]], None],
    threads: int,
    progress: Progress | None,
) -> None:
    """Solve every workload, `threads` of them at a time, and keep each result at once, in the calling thread.

    workloads: with their names. The first error, or Ctrl-C, stops the layers under way within some 50 ms and is raised.
    """
    stop = threading.Event()

    def poll(_done: int, _total: int, _best: float, _lower_bound: float) -> None:
        if stop.is_set():
            raise _Stopped

    with ThreadPoolExecutor(max_workers=max(1, min(threads, len(workloads)))) as pool:
        pending = {pool.submit(solve, workload, poll): workload for workload in workloads}
        try:
            for done, future in enumerate(as_completed(pending)):
                workload = pending[future]
                keep(workload, future.result())
                if progress is not None:
                    progress(done + 1, len(workloads), workloads[workload])
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
