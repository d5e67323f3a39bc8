"""Keys of the store: a hash over everything that a value depends on, and over nothing else."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from quantloom import _core

__all__ = ["core_code", "key_of", "python_code"]


def key_of(parts: object) -> str:
    """SHA-256 (hex) of plain values: mappings, lists, texts, numbers, booleans and None.

    Mappings count by their keys, not by their order; floats by all their bits. Raises TypeError for anything else.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def core_code() -> str:
    """SHA-256 (hex) of the compiled core: what it computes is stored for this build alone."""
    return hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()


@cache
def python_code() -> str:
    """SHA-256 (hex) of the package's Python files: accuracies are stored for these alone."""
    folder = Path(__file__).parents[1]
    code = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        code.update(path.relative_to(folder).as_posix().encode() + b"\0")
        code.update(hashlib.sha256(path.read_bytes()).digest())
    return code.hexdigest()
