"""Files that are used together, read together: the mistakes of all of them are told at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import NoReturn, TypeVar

from quantloom._core import Arch, Mapping, Workload
from quantloom.errors import QuantloomError, SpecError
from quantloom.spec.arch import load_arch
from quantloom.spec.bits import load_bits
from quantloom.spec.mapping import check_mapping_file, load_mapping
from quantloom.spec.workload import load_workload
from quantloom.workload.bits import BitWidths

__all__ = ["MappedLayer", "Together", "load_mapped_layer"]

T = TypeVar("T")


class Together:
    """Collects the errors of several readings, so that one wrong file does not hide what is wrong in the next."""

    def __init__(self) -> None:
        self._errors: list[QuantloomError] = []

    def read(self, load: Callable[[], T]) -> T | None:
        """What `load` returns; None, with its error kept, if it raises one of ours."""
        try:
            return load()
        except QuantloomError as error:
            self._errors.append(error)
            return None

    def raise_if_any(self) -> None:
        """Raise what was kept, if anything was."""
        if self._errors:
            self.raise_all()

    def raise_all(self) -> NoReturn:
        """Raise the one error that was kept as it is, or one that lists all of them in the order of reading."""
        if len(self._errors) == 1:
            raise self._errors[0]
        is_spec = all(isinstance(error, SpecError) for error in self._errors)
        message = "\n".join(str(error) for error in self._errors)
        raise SpecError(message) if is_spec else QuantloomError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedLayer:
    """A layer with one mapping of it on an accelerator. bits: None if no file gives any."""

    arch: Arch
    workload: Workload
    bits: BitWidths | None
    mapping: Mapping


def load_mapped_layer(
    arch: str | PathLike[str],
    workload: str | PathLike[str],
    mapping: str | PathLike[str],
    *,
    bits: str | None = None,
) -> MappedLayer:
    """Three files (the accelerator also by its name), and bits in place of the workload's own.

    Raises SpecError with every mistake of all of them. Where the accelerator or the layer is wrong, the mapping is
    judged by what does not depend on it.
    """
    together = Together()
    found = together.read(lambda: load_arch(arch))
    layer = together.read(lambda: load_workload(workload))
    given = None if bits is None else together.read(lambda: load_bits(bits).for_workload())
    if found is None or layer is None:
        together.read(lambda: check_mapping_file(mapping, found, None if layer is None else layer[0]))
        together.raise_all()
    nest = together.read(lambda: load_mapping(mapping, found, layer[0]))
    if nest is None or (bits is not None and given is None):
        together.raise_all()
    return MappedLayer(arch=found, workload=layer[0], bits=given or layer[1], mapping=nest)
