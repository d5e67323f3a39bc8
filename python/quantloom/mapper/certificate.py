"""An independent look at what the mapper claims: is the mapping in the space, does it cost that, is nothing better?

Shares no code with the search: membership and the number of points are worked out here from the resolved constraints,
mappings come from the numbering of the space, or from walking it, and are priced by `evaluate` one by one. A space of
no more points than asked for is proven anew; of a larger one random points, and the best that an annealing search
meets, are compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from quantloom import _core
from quantloom.errors import InfeasibleError
from quantloom.mapper.heuristics import search_heuristically
from quantloom.mapper.membership import count_points, find_misused, find_outside, find_too_small
from quantloom.mapper.optimize import Bits, Optimum, evaluate, tensor_bits

__all__ = ["Claim", "Verdict", "check_claim", "claim_of"]

_RELATIVE = 1e-9  # sums of the same terms in another order
_MOST_WALKED = 10**6  # factorizations; spaces of more are not walked to see whether they are small


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a result says. front: (mapping, energy pJ, cycles) of every trade-off, with the objective "pareto" only."""

    mapping: _core.Mapping
    energy_pj: float
    cycles: float
    space_size: int
    exhausted: bool
    lower_bound: float
    front: tuple[tuple[_core.Mapping, float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """faults: what is wrong, one sentence each. compared: mappings that fit and were priced. is_complete: these are all
    mappings of the space, so that the claim is proven anew.
    """

    faults: tuple[str, ...]
    compared: int
    is_complete: bool


def claim_of(found: Optimum) -> Claim:
    """The claim of a result of `optimize`."""
    return Claim(
        mapping=found.mapping,
        energy_pj=found.cost.energy_pj,
        cycles=found.cost.cycles,
        space_size=int(found.certificate.space_size),
        exhausted=found.certificate.exhausted,
        lower_bound=found.certificate.lower_bound,
        front=tuple((point.mapping, point.energy_pj, point.cycles) for point in found.front),
    )


def check_claim(
    arch: _core.Arch,
    workload: _core.Workload,
    claim: Claim,
    *,
    bits: Bits = None,
    objective: str = "edp",
    model: str = _core.COST_MODELS[0],
    packing: str = "word",
    psum_bits: int = 0,
    selection: str = "all",
    points: int = 1000,
    seed: int = 1,
) -> Verdict:
    """Look for faults in a claim; the arguments are those that the result was made with.

    points: mappings to compare with. Raises SpecError and MappingError as `optimize` does.
    """
    widths = tensor_bits(workload, bits)
    space = _core.Mapspace(arch, workload, selection=selection)

    def price(mapping: _core.Mapping) -> tuple[float, float] | None:
        try:
            cost = evaluate(
                space.arch, workload, mapping, bits=widths, model=model, packing=packing, psum_bits=psum_bits
            )
        except InfeasibleError:
            return None
        if find_misused(mapping, space) or find_too_small(cost, space):
            return None
        return cost.energy_pj, cost.cycles

    faults = _find_wrong_numbers(claim, space, objective)
    for mapping, energy_pj, cycles in ((claim.mapping, claim.energy_pj, claim.cycles), *claim.front):
        faults += _find_wrong_mapping(mapping, energy_pj, cycles, space, price(mapping))
    mappings, is_complete = _mappings_to_compare(space, points, seed)
    prices = [cost for cost in map(price, mappings) if cost is not None]
    if not is_complete:
        tried = search_heuristically(
            arch,
            workload,
            bits=widths,
            heuristic="annealing",
            seed=seed,
            objective="edp" if objective == "pareto" else objective,
            model=model,
            packing=packing,
            psum_bits=psum_bits,
            selection=selection,
            budget=points,
        )
        if tried.mapping is not None:
            prices.append((tried.energy_pj, tried.cycles))
    better = [cost for cost in prices if _is_better(cost, claim, objective)]
    if better:
        energy_pj, cycles = min(better, key=lambda cost: _value(objective, *cost))
        text = f"{len(better)} of {len(prices)} mappings compared are better than claimed possible"
        faults.append(f"{text}, one has {energy_pj:.6g} pJ and {cycles:.6g} cycles")
    return Verdict(faults=tuple(faults), compared=len(prices), is_complete=is_complete)


def _value(objective: str, energy_pj: float, cycles: float) -> float:
    return {"energy": energy_pj, "cycles": cycles, "ed2p": energy_pj * cycles**2}.get(objective, energy_pj * cycles)


def _is_better(cost: tuple[float, float], claim: Claim, objective: str) -> bool:
    """Whether a cost contradicts the claim: below the bound, or a trade-off that nothing of the whole front equals."""
    slack = 1 + _RELATIVE
    if objective != "pareto":
        return _value(objective, *cost) * slack < claim.lower_bound
    covered = any(energy <= cost[0] * slack and cycles <= cost[1] * slack for _, energy, cycles in claim.front)
    return claim.exhausted and not covered


def _find_wrong_numbers(claim: Claim, space: _core.Mapspace, objective: str) -> list[str]:
    faults = []
    size = count_points(space)
    if claim.space_size != size:
        faults.append(f"the space has {size:,} points, not {claim.space_size:,}")
    value = _value(objective, claim.energy_pj, claim.cycles)
    if objective != "pareto":
        if claim.lower_bound > value * (1 + _RELATIVE):
            faults.append(f"the lower bound {claim.lower_bound:.12g} is above the result {value:.12g}")
        elif claim.exhausted and not math.isclose(claim.lower_bound, value, rel_tol=_RELATIVE):
            faults.append(f"claimed optimal, but the lower bound is {claim.lower_bound:.12g}, the result {value:.12g}")
        return faults
    costs = [(energy, cycles) for _, energy, cycles in claim.front]
    if not any(math.isclose(_value(objective, *cost), value, rel_tol=_RELATIVE) for cost in costs):
        faults.append("the result is not on its front")
    if any(b[1] <= a[1] or b[0] >= a[0] for a, b in itertools.pairwise(costs)):
        faults.append("the front does not fall in energy and rise in cycles")
    return faults


def _find_wrong_mapping(
    mapping: _core.Mapping, energy_pj: float, cycles: float, space: _core.Mapspace, cost: tuple[float, float] | None
) -> list[str]:
    if cost is None:
        return ["the mapping does not fit"]
    faults = [f"the mapping is not in the space: {fault}" for fault in find_outside(mapping, space)]
    for name, claimed, true in (("pJ", energy_pj, cost[0]), ("cycles", cycles, cost[1])):
        if not math.isclose(claimed, true, rel_tol=_RELATIVE):
            faults.append(f"the mapping costs {true:.12g} {name}, not {claimed:.12g}")
    return faults


def _mappings_to_compare(space: _core.Mapspace, points: int, seed: int) -> tuple[Iterator[_core.Mapping], bool]:
    """Mappings of the space, and whether they are all of them."""
    size = int(space.size())
    if size <= points:
        return map(space.at, range(size)), True
    if math.prod(space.factorizations.values()) <= _MOST_WALKED:
        walked = space.mappings(limit=points + 1, enumeration="distinct")
        if len(walked) <= points:
            return iter(walked), True
    return iter(space.sample(points, seed)), False
