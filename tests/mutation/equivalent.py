"""Mutants that no test can tell from the core: each was read, and why it is equal in effect is written beside it.

They are known by the text of their line, so that they stay known where the lines above change, and are judged anew
where it changes itself. What is equal in the answer alone, but costs time (a weaker bound), is not listed:
exact_effort_test counts the work.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EQUIVALENT", "Equivalent"]


@dataclass(frozen=True)
class Equivalent:
    """line: its text without the blanks around it. kind: as mutants.py names the change."""

    path: str
    line: str
    kind: str
    why: str


EQUIVALENT = (
    Equivalent(
        "compat_children.cpp",
        "(row > 0 && is_moved(child, child - columns_, move)) "
        "|| (row + 1 < rows_ && is_moved(child, child + columns_, move));",
        "< to <=",
        "past the last row is no child, which is_moved() asks as well",
    ),
    Equivalent(
        "default_counts.hpp",
        "Count reads = 0;",
        "0 to 1",
        "set for every level that keeps the tensor; nobody asks the others",
    ),
    Equivalent(
        "default_hops.cpp",
        "offset.fill(0);",
        "0 to 1",
        "all children are moved by the same, so the same of them share elements",
    ),
    Equivalent(
        "exact_overlap.cpp",
        "double product_ = 1;",
        "1 to 2",
        "the sum is divided by it and multiplied by it at the end: a power of two cancels exactly",
    ),
    Equivalent(
        "tensor_price.cpp",
        "counts.tile[at] = 0;",
        "0 to 1",
        "not read where a level bypasses the tensor",
    ),
    Equivalent(
        "tensor_price.cpp",
        "if (*bandwidth < per_step * bits) slowdown = std::min(slowdown, *bandwidth / (per_step * bits));",
        "< to <=",
        "a slowdown of 1 becomes min(1, 1)",
    ),
    Equivalent(
        "tensor_price.hpp",
        "int outermost_kept = -1;  // -1: kept nowhere",
        "1 to 2",
        "set before it is read, which is to be compared with numbers of levels only",
    ),
    Equivalent(
        "use_limits.cpp",
        "const auto limits = [](const UseLimit& limit) "
        "{ return limit.min_lanes > 1 || limit.max_lanes < kSaturated; };",
        "1 to 2",
        "whoever limits the lanes from below has a limit from above, too, which is asked as well",
    ),
)
