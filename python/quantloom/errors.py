"""The exception tree: every mistake a user can make raises one of these, with the place and a way out."""

from __future__ import annotations

__all__ = [
    "DataError",
    "InfeasibleError",
    "InternalError",
    "MappingError",
    "QuantError",
    "QuantloomError",
    "SearchError",
    "SpecError",
    "UnsupportedOpError",
    "WorkloadError",
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


class InfeasibleError(QuantloomError):
    """Nothing fits: names the level, the words needed and available, and the lever that would make it fit."""


class QuantError(QuantloomError):
    """A bit-width, a checkpoint or a network cannot be quantized as asked."""


class DataError(QuantloomError):
    """A data set is missing, corrupt, or does not match the network."""


class SearchError(QuantloomError):
    """A search cannot start or go on: bad configuration, unusable run directory."""


class InternalError(QuantloomError):
    """A bug in quantloom itself; please report it with the command and the files that caused it."""
