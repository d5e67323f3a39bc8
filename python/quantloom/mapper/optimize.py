"""One layer: its best mapping, and the cost of a given one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quantloom import _core
from quantloom.errors import InfeasibleError, MappingError, WorkloadError
from quantloom.mapper.as_html import cost_in_words, loops_in_words
from quantloom.mapper.given import fix_loops
from quantloom.mapper.infeasible import Question, explain_infeasible
from quantloom.report.notebook import html_result, html_table
from quantloom.spec.partial_mapping import PartialMapping
from quantloom.workload.bits import BitWidths

__all__ = ["Bits", "Optimum", "Progress", "check_countable", "evaluate", "optimize", "tensor_bits"]

# How bits may be given: for the three tensors of a layer, one width for all of them, or by tensor name.
Bits = BitWidths | Mapping[str, int] | int | None
# progress(done, total, text), called from the calling thread.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The best mapping of a layer: its cost with breakdown, and the certificate that says what was looked at.

    front: with the objective "pareto", every mapping that no other one beats in both energy (pJ) and cycles, ascending
    in cycles; `mapping` and `cost` are then those of least energy * cycles.
    """

    mapping: _core.Mapping
    cost: _core.Cost
    certificate: _core.Certificate
    front: tuple[_core.Tradeoff, ...] = ()

    def _repr_html_(self) -> str:
        """Totals, and each level's loops, tensors and energies, as a notebook shows them."""
        cost = self.cost
        proof = "proven optimal" if self.certificate.exhausted else "not proven: stopped by the budget"
        notes = [f"{cost_in_words(cost)}; {proof}"]
        rows = [
            (name, loops_in_words(loops), ", ".join(loops.keep), f"{level.energy_pj + level.network_energy_pj:.6g}")
            for (name, level), loops in zip(cost.levels.items(), reversed(self.mapping.levels), strict=True)
        ]
        rows.append(("arithmetic", "", "", f"{cost.arithmetic_energy_pj + cost.arithmetic_leak_energy_pj:.6g}"))
        return html_result("Best mapping", notes, html_table(("level", "loops", "keeps", "energy, pJ"), rows))


def tensor_bits(workload: _core.Workload, bits: Bits) -> dict[str, int]:
    """Bits by tensor name; tensors left out take one word an element.

    Raises MappingError (from the core, when used) for names the workload does not have.
    """
    if bits is None:
        return {}
    if isinstance(bits, BitWidths):
        return {"Weights": bits.weights, "Inputs": bits.inputs, "Outputs": bits.outputs}
    if isinstance(bits, int):
        return {tensor.name: bits for tensor in workload.tensors}
    return dict(bits)


def evaluate(
    arch: _core.Arch,
    workload: _core.Workload,
    mapping: _core.Mapping,
    *,
    bits: Bits = None,
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
) -> _core.Cost:
    """Cost of one mapping, broken down by level, tensor and action. Energies in pJ over all instances.

    packing: how elements lie in the words of levels whose architecture says nothing: "word", "dense" or "none".
    psum_bits: width of partial sums; 0 for the architecture's, or what the bits of the inputs make. Both are of the
    default model. Raises MappingError if the mapping is malformed or bits exceed a word, InfeasibleError if it does
    not fit, SpecError for options the model does not have.
    """
    widths = tensor_bits(workload, bits)
    return _core.evaluate(arch, workload, mapping, bits=widths, model=model, packing=packing, psum_bits=psum_bits)


def check_countable(workload: _core.Workload) -> None:
    """Raise WorkloadError for a layer of more than 2^53 multiply-accumulates: every mapping would cost infinity.

    Source: docs/model.md section 11.
    """
    macs = math.prod(workload.dims.values())
    if macs > 1 << 53:
        message = f"layer '{workload.name}' has {macs:,} multiply-accumulates; costs are exact up to 2^53 of them"
        raise WorkloadError(message, hint="check its dims, or cut it into layers that are counted one by one")


def _in_words(progress: Progress, name: str) -> Callable[[int, int, float, float], None]:
    """The core's callback: how far it is, the objective of the best mapping so far and a bound below all of them."""

    def report(done: int, total: int, best: float, lower_bound: float) -> None:
        is_bounded = lower_bound > 0 and math.isfinite(best)
        progress(done, total, f"{name}, gap {100 * (best / lower_bound - 1):.3g} %" if is_bounded else name)

    return report


def optimize(
    arch: _core.Arch,
    workload: _core.Workload,
    *,
    bits: Bits = None,
    objective: str = "edp",
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
    selection: str = "all",
    fixed: PartialMapping | None = None,
    threads: int = 0,
    budget: int = 0,
    progress: Progress | None = None,
) -> Optimum:
    """The best mapping of a layer in the architecture's mapspace.

    objective: energy, cycles, edp, ed2p or pareto. packing, psum_bits: as for `evaluate`. selection: "all"
    constraints of the architecture, only the "architecture" ones, or "free". fixed: loops and kept tensors that are
    given, the rest is searched (`load_partial_mapping`). progress: its text is the layer's name and, where the search
    has bounds, the gap: how far above the least possible the best mapping found so far may be. budget: mappings to
    price at most, 0 for no limit (then the result is proven optimal).
    Raises SpecError if what is fixed contradicts the constraints, InfeasibleError naming the level, the words needed
    and a way out if nothing fits, MappingError for a space that no method can finish without a budget, WorkloadError
    for more than 2^53 multiply-accumulates.
    """
    check_countable(workload)
    if fixed is not None:
        arch, selection = fix_loops(arch, workload, fixed, selection=selection), "all"
    widths = tensor_bits(workload, bits)
    report = None if progress is None else _in_words(progress, workload.name)
    [found] = _core.optimize(
        arch,
        workload,
        [widths],
        objective=objective,
        model=model,
        packing=packing,
        psum_bits=psum_bits,
        selection=selection,
        threads=threads,
        budget=budget,
        progress=report,
    )
    if found.refusal:
        raise MappingError(found.refusal, hint=found.way_out)
    if not found.found and not found.certificate.exhausted:
        message = f"layer '{workload.name}': nothing fitting was found within the budget"
        raise InfeasibleError(message, hint="raise the budget, or search without one")
    if not found.found:
        raise explain_infeasible(
            Question(
                arch=arch,
                workload=workload,
                bits=widths,
                model=model,
                packing=packing,
                psum_bits=psum_bits,
                selection=selection,
                threads=threads,
            )
        )
    cost = _core.evaluate(arch, workload, found.mapping, bits=widths, model=model, packing=packing, psum_bits=psum_bits)
    return Optimum(mapping=found.mapping, cost=cost, certificate=found.certificate, front=tuple(found.front))
