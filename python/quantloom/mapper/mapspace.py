"""The mapspace as a Python user meets it: the core's, with bits in every form, and what is given of a mapping."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from quantloom import _core
from quantloom.errors import MappingError
from quantloom.mapper.given import fix_loops
from quantloom.mapper.optimize import Bits, tensor_bits
from quantloom.spec.partial_mapping import PartialMapping

__all__ = ["Mapspace"]

_MOST_COUNTED = 10**10  # factorizations: hours


class Mapspace(_core.Mapspace):
    """Every mapping of a workload that an architecture's constraints leave, numbered from 0.

    selection: "all" constraints of the architecture, only the "architecture" ones, or "free". fixed: loops and kept
    tensors that are given (`load_partial_mapping`); the space then holds the mappings that have them.

    >>> space = Mapspace(arch, layer)
    >>> space.size(), space.at(10**6), space.sample(100, seed=1)
    >>> space.count_valid(bits=8).valid

    Raises SpecError for contradictory constraints, InfeasibleError if no mapping obeys them.
    """

    def __init__(
        self,
        arch: _core.Arch,
        workload: _core.Workload,
        *,
        selection: str = "all",
        fixed: PartialMapping | None = None,
    ) -> None:
        """Resolve the constraints; nothing is listed."""
        if fixed is not None:
            arch, selection = fix_loops(arch, workload, fixed, selection=selection), "all"
        super().__init__(arch, workload, selection=selection)

    def count_valid(
        self,
        bits: Bits = None,
        *,
        model: str = _core.COST_MODELS[0],
        packing: str = "word",
        psum_bits: int = 0,
        threads: int = 1,
    ) -> _core.MapspaceCount:
        """How many mappings fit at these bits, and why the others do not.

        Options as for `evaluate`. The default model counts every different mapping once, the compat model as the
        reference tool's exhaustive search does. Ctrl-C ends the call. Raises MappingError if bits exceed a word or the
        space is too large to count, SpecError for options that the model does not have.
        """
        return self.count_valid_many([bits], model=model, packing=packing, psum_bits=psum_bits, threads=threads)[0]

    def count_valid_many(
        self,
        bits: Sequence[Bits],
        *,
        model: str = _core.COST_MODELS[0],
        packing: str = "word",
        psum_bits: int = 0,
        threads: int = 1,
    ) -> list[_core.MapspaceCount]:
        """`count_valid` for many settings in one pass over the space; those that pack alike are counted once."""
        factorizations = prod(self.factorizations.values())
        if factorizations > _MOST_COUNTED:
            message = f"layer '{self.workload.name}' has {factorizations:,} factorizations, too many to count what fits"
            raise MappingError(message, hint="add constraints, give loops (fixed=), or take a sample (sweep)")
        widths = [tensor_bits(self.workload, each) for each in bits]
        enumeration = "reference" if model == "compat" else "distinct"
        return self.count_many(
            widths, enumeration=enumeration, model=model, packing=packing, psum_bits=psum_bits, threads=threads
        )
