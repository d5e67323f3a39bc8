"""A mapping for readers: in one line, or as a loop nest with the tile that each level holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantloom.cli.output import wrapped
from quantloom.cli.units import plural
from quantloom.mapper.breakdown import tile_shapes

if TYPE_CHECKING:
    from quantloom._core import Arch, Cost, Mapping, Workload

__all__ = ["LEGEND", "nest_lines", "one_line"]

LEGEND = "mapping: levels from DRAM inwards, loops from outer to inner; x(...) and y(...) run in space"

_Loops = list[tuple[str, int]]


def one_line(mapping: Mapping, arch: Arch) -> str:
    """`DRAM M8 C4 > shared_glb P112 x(Q14) > weights_spad R3`: levels with loops only, outermost first."""
    parts = []
    for level, here in zip(reversed(arch.levels), reversed(mapping.levels), strict=True):
        loops = [_loops_text(here.temporal)]
        loops += [f"{axis}({_loops_text(found)})" for axis, found in _spatial(here.spatial_x, here.spatial_y) if found]
        text = " ".join(part for part in loops if part)
        if text:
            parts.append(f"{level.name} {text}")
    return " > ".join(parts) or "no loops: one multiply-accumulate"


def nest_lines(mapping: Mapping, arch: Arch, workload: Workload, cost: Cost | None = None) -> list[str]:
    """The loop nest, outermost loop first, with the tiles that each level holds; with a cost, also their words."""
    lines = []
    depth = 0
    shapes = tile_shapes(mapping, arch, workload)
    for level, here in zip(reversed(arch.levels), reversed(mapping.levels), strict=True):
        kept = [_tile_text(tensor, shapes[level.name][tensor], level.name, cost) for tensor in here.keep]
        head = f"[{level.name}] "
        lines += wrapped(head + (", ".join(kept) or "keeps nothing"), indent=2 * depth, hang=len(head))
        for dim, bound in here.temporal:
            lines.append(f"{'  ' * depth}  for {dim} in 0..{bound - 1}")
            depth += 1
        for axis, loops in reversed(_spatial(here.spatial_x, here.spatial_y)):
            for dim, bound in loops:
                lines.append(f"{'  ' * depth}  for {dim} in 0..{bound - 1} at once along {axis}")
                depth += 1
    lines.append(f"{'  ' * depth}[{arch.arithmetic.name}] multiply and accumulate")
    return lines


def _spatial(x: _Loops, y: _Loops) -> list[tuple[str, _Loops]]:
    return [("x", x), ("y", y)]


def _loops_text(loops: _Loops) -> str:
    return " ".join(f"{dim}{bound}" for dim, bound in loops if bound > 1)


def _tile_text(tensor: str, shape: tuple[int, ...], level: str, cost: Cost | None) -> str:
    """`Inputs 1x8x3x5 in 60 words`."""
    text = f"{tensor} {'x'.join(map(str, shape)) or '1'}"
    return text if cost is None else f"{text} in {plural(cost.levels[level].tensors[tensor].utilized_words, 'word')}"
