"""Files that commands write: whole or not at all, and never over a file that is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantloom.errors import QuantloomError
from quantloom.whole_files import put_whole, way_out

if TYPE_CHECKING:
    from quantloom._core import Arch, Mapping, Workload
    from quantloom.report.results import ResultTable
    from quantloom.workload.bits import BitWidths

__all__ = ["MappingFiles", "check_table_file", "check_writable", "write_table", "write_whole"]


class MappingFiles:
    """A directory for layers and their mappings: `layer02.workload.yaml` and `layer02.mapping.yaml`.

    Raises QuantloomError, before anything is written, if one of the files is there or the directory cannot be made.
    """

    def __init__(self, directory: Path, layers: int, indices: Sequence[int]) -> None:
        self.directory = directory
        self._digits = max(2, len(str(layers)))
        for index in indices:
            for path in self._paths(index + 1):
                check_writable(path)

    def write(self, arch: Arch, mapped: Sequence[tuple[int, Workload, BitWidths, Mapping]]) -> None:
        """Write (position from 1, layer, its bits, its mapping) of all layers."""
        from quantloom.spec.mapping import dump_mapping
        from quantloom.spec.workload import dump_workload_keys
        from quantloom.spec.yaml_nodes import quote

        for position, workload, bits, mapping in mapped:
            workload_path, mapping_path = self._paths(position)
            lines = [f"name: {quote(workload.name)}", *dump_workload_keys(workload), f"bits: {bits}"]
            write_whole(workload_path, "\n".join(lines) + "\n")
            write_whole(mapping_path, dump_mapping(mapping, arch))

    def _paths(self, position: int) -> tuple[Path, Path]:
        stem = f"layer{position:0{self._digits}d}"
        return self.directory / f"{stem}.workload.yaml", self.directory / f"{stem}.mapping.yaml"


def check_table_file(name: str | None) -> None:
    """Raise QuantloomError, before any work, if no table can be written to this file; None is none."""
    from quantloom.report.results import format_of

    if name is not None:
        format_of(name)
        check_writable(Path(name))


def write_table(name: str, results: ResultTable) -> None:
    """Write a table in the format that the ending says."""
    from quantloom.report.results import format_of

    write_whole(Path(name), results.encode(format_of(name)))


def check_writable(path: Path, *, is_forced: bool = False, hint: str = "choose another name") -> None:
    """Raise QuantloomError if a file cannot be written at path, or is there already and must stay.

    hint: what to do about a file that is there.
    """
    if path.exists() and not (is_forced and path.is_file()):
        message = f"{path} exists already"
        raise QuantloomError(message, hint="choose another name" if path.is_dir() else hint)
    parent = next(parent for parent in path.absolute().parents if parent.exists() or parent.is_symlink())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        what = "cannot be written to" if parent.is_dir() else "is not a directory"
        message = f"cannot write {path}: {parent} {what}"
        raise QuantloomError(message, hint="choose a place that can be written")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write the content (text as UTF-8), whole or not at all; makes the directory. Raises QuantloomError."""
    body = content.encode() if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put_whole(path, lambda partial: partial.write_bytes(body))
    except OSError as error:
        message = f"cannot write {path}: {error.strerror or error}"
        raise QuantloomError(message, hint=way_out(error)) from error
