"""A mapping for readers: in one line, or as a loop nest with the tile that each level holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantloom.cli.output import wrapped
from quantloom.cli.units import plural

if TYPE_CHECKING:
    from quantloom._core import Arch, Cost, Mapping, Workload

__all__ = ["LEGEND", "mapping_json", "nest_lines", "one_line"]

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
    """The loop nest, outermost loop first; with a cost, the tile and the words that each level holds of each tensor."""
    lines = []
    depth = 0
    for level, here in zip(reversed(arch.levels), reversed(mapping.levels), strict=True):
        kept = [_tile_text(tensor, level.name, cost) for tensor in here.keep]
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


def mapping_json(mapping: Mapping, arch: Arch) -> list[dict[str, object]]:
    """The levels from DRAM inwards, as a mapping file writes them."""
    return [
        {
            "level": level.name,
            "temporal": [list(loop) for loop in here.temporal],
            "spatial": {"x": [list(loop) for loop in here.spatial_x], "y": [list(loop) for loop in here.spatial_y]},
            "keep": list(here.keep),
        }
        for level, here in zip(reversed(arch.levels), reversed(mapping.levels), strict=True)
    ]


def _spatial(x: _Loops, y: _Loops) -> list[tuple[str, _Loops]]:
    return [("x", x), ("y", y)]


def _loops_text(loops: _Loops) -> str:
    return " ".join(f"{dim}{bound}" for dim, bound in loops if bound > 1)


def _tile_text(tensor: str, level: str, cost: Cost | None) -> str:
    if cost is None:
        return tensor
    here = cost.levels[level].tensors[tensor]
    words = plural(here.utilized_words, "word")
    return f"{tensor} {words}" if here.elements_per_word == 1 else f"{tensor} {here.tile_elements:,} in {words}"
