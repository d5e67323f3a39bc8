"""Random small mapspaces: the oracle's cases with tight capacities, constraints, and a second setting of bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.oracle.cases import core_arch, core_workload, random_case
from tests.oracle.records import Case

from quantloom import _core
from quantloom.errors import InfeasibleError, SpecError

OBJECTIVES = ("energy", "cycles", "edp", "ed2p", "pareto")


@dataclass(frozen=True)
class Space:
    """What the mapper is asked. options: model, packing, psum_bits."""

    case: Case
    arch: _core.Arch
    workload: _core.Workload
    settings: list[dict[str, int]]
    objective: str
    selection: str
    options: dict[str, Any]

    def mapspace(self) -> _core.Mapspace:
        return _core.Mapspace(self.arch, self.workload, selection=self.selection)

    def __str__(self) -> str:
        capacities = [level.capacity_words for level in self.arch.levels]
        text = f"{self.objective}, {self.selection}, {self.options}, bits {self.settings}, capacities {capacities}"
        limits = [
            (limit.level, limit.target, limit.factors, limit.keep, limit.bypass) for limit in limits_of(self.arch)
        ]
        return f"{text}, constraints {limits}\n  {self.case}"


def limits_of(arch: _core.Arch) -> list[_core.Constraint]:
    return list(arch.constraints)


def random_constraints(rng: Random, arch: _core.Arch, workload: _core.Workload) -> list[_core.Constraint]:
    """Some of what an accelerator may fix: factors, orders, kept tensors. Not all of it leaves a mapping."""
    dims, tensors = list(workload.dims), [tensor.name for tensor in workload.tensors]
    found = []
    for at, level in enumerate(arch.levels):
        if rng.random() < 0.7:
            order = rng.sample(dims, len(dims))
            found.append(
                _core.Constraint(
                    origin="mapspace",
                    level=level.name,
                    target="temporal",
                    factors=[(rng.choice(dims), rng.choice(("<=", "<=", "=")), rng.choice((1, 1, 2)))]
                    if at < arch.num_levels - 1 and rng.random() < 0.4
                    else [],
                    permutation_inner=order,
                    has_permutation=True,
                )
            )
        if at < arch.num_levels - 1:
            chosen = {name: rng.choice(("keep", "bypass", "open")) for name in tensors}
            found.append(
                _core.Constraint(
                    origin="architecture",
                    level=level.name,
                    target="keep",
                    keep=[name for name, choice in chosen.items() if choice == "keep"],
                    bypass=[name for name, choice in chosen.items() if choice == "bypass"],
                )
            )
    return found


def random_space(rng: Random) -> Space | None:
    """None where the constraints leave nothing, or contradict each other."""
    case = random_case(rng)
    workload = core_workload(case)
    elements = max(math.prod(case.dims.values()), 8)
    capacities = {at: rng.randint(2, elements) for at in range(len(case.levels) - 1) if rng.random() < 0.8}
    plain = core_arch(case, capacities)
    selection = rng.choice(("all", "all", "free"))
    model = rng.choice(_core.COST_MODELS)
    options: dict[str, Any] = {"model": model}
    if model == "default":
        options |= {"packing": case.packing, "psum_bits": case.psum_bits or 0}
    narrowest = min(16, *(level.word_bits for level in case.levels))
    settings = [{tensor.name: rng.randint(1, narrowest) for tensor in case.tensors} for _ in range(2)]
    try:
        arch = _core.Arch(
            name="tiny",
            levels=plain.levels,
            arithmetic=plain.arithmetic,
            constraints=random_constraints(rng, plain, workload),
        )
        _core.Mapspace(arch, workload, selection=selection)
    except (InfeasibleError, SpecError):
        return None
    return Space(case, arch, workload, settings, rng.choice(OBJECTIVES), selection, options)
