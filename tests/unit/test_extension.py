"""The compiled extension: what its ELF headers say about the flags of QUANTLOOM_HARDEN."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from quantloom import _core

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 1, 2, 0x6474E551, 0x6474E552
EXECUTABLE, WRITABLE = 1, 2
DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1 = 24, 30, 0x6FFFFFFB

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")


@pytest.fixture(scope="module")
def image() -> bytes:
    data = Path(_core.__file__).read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01", "not a little-endian ELF file of 64 bits"
    return data


@pytest.fixture(scope="module")
def segments(image: bytes) -> dict[int, list[tuple[int, int, int]]]:
    """Type -> (flags, offset, bytes in the file) of its program headers."""
    (table,) = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    found: dict[int, list[tuple[int, int, int]]] = {}
    for number in range(count):
        kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", image, table + number * size)
        found.setdefault(kind, []).append((flags, offset, length))
    return found


def test_relocations_are_done_and_read_only_before_any_code_runs(image: bytes, segments: dict) -> None:
    assert len(segments[PT_GNU_RELRO]) == 1
    (_, offset, length) = segments[PT_DYNAMIC][0]
    entries = dict(struct.iter_unpack("<qQ", image[offset : offset + length]))
    assert DT_BIND_NOW in entries or entries.get(DT_FLAGS, 0) & 8 or entries.get(DT_FLAGS_1, 0) & 1


def test_no_memory_is_writable_and_executable(segments: dict) -> None:
    assert [flags for flags, _, _ in segments[PT_GNU_STACK] if flags & EXECUTABLE] == []
    assert [flags for flags, _, _ in segments[PT_LOAD] if flags & EXECUTABLE and flags & WRITABLE] == []


def test_functions_with_arrays_have_stack_canaries(image: bytes) -> None:
    assert b"\0__stack_chk_fail\0" in image
