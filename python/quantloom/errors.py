"""The exception tree: every mistake a user can make raises one of these, with the place and a way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "DataError",
    "Infeasibility",
    "InfeasibleError",
    "InternalError",
    "Lever",
    "MappingError",
    "QuantError",
    "QuantloomError",
    "SearchError",
    "SpecError",
    "StoreError",
    "UnsupportedOpError",
    "WorkloadError",
    "first_line",
    "is_out_of_memory",
]


class QuantloomError(Exception):
    """Base of all errors that quantloom raises on purpose; the command line turns it into exit code 1.

    message: what was read and what was expected. hint: what to do about it, shown on a line of its own.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class SpecError(QuantloomError):
    """A file (architecture, network, mapping, bits, configuration) says something impossible; names file:line."""


class WorkloadError(QuantloomError):
    """A workload or network is malformed: unknown dim, impossible bound, unknown layer."""


class UnsupportedOpError(QuantloomError):
    """A model contains operators that quantloom cannot read; lists all of them with their nodes."""


class MappingError(QuantloomError):
    """A mapping does not belong to the workload and the architecture it is used with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """Something that alone would make a mapping fit; it was tried. kind: "bits", "capacity" or "constraint".

    bits: by tensor name. capacity_words: by level name.
    """

    kind: str
    text: str
    bits: Mapping[str, int] = field(default_factory=dict)
    capacity_words: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Infeasibility:
    """Why nothing fits. level: the one that is too small, None if constraints and fanout alone leave nothing.

    need_words: the least that the level must have; tensor_words: each tensor's share of it in a mapping that then fits.
    """

    level: str | None
    need_words: int
    have_words: int
    tensor_words: Mapping[str, int]
    levers: tuple[Lever, ...]


class InfeasibleError(QuantloomError):
    """Nothing fits: names the level, the words needed and available, and the levers that would make it fit.

    report: the same as data, where it was worked out; None otherwise.
    """

    def __init__(self, message: str, *, hint: str | None = None, report: Infeasibility | None = None) -> None:
        super().__init__(message, hint=hint)
        self.report = report


class QuantError(QuantloomError):
    """A bit-width, a checkpoint or a network cannot be quantized as asked."""


class DataError(QuantloomError):
    """A data set is missing, corrupt, or does not match the network."""


class SearchError(QuantloomError):
    """A search cannot start or go on: bad configuration, unusable run directory."""


class StoreError(QuantloomError):
    """The store of earlier results cannot be used: held by another process for too long, or of a newer version."""


class InternalError(QuantloomError):
    """A bug in quantloom itself; please report it with the command and the files that caused it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory (also for a thread or a library) was missing: torch and the system say so in words only."""
    texts = (
        *("out of memory", "allocate memory", "start new thread", "Resource temporarily unavailable"),
        "failed to map segment",
    )
    is_worded = isinstance(error, RuntimeError | ImportError) and any(text in str(error) for text in texts)
    return isinstance(error, MemoryError) or is_worded


def first_line(error: Exception) -> str:
    """The first line of an error's text that says something, else the name of its class."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
