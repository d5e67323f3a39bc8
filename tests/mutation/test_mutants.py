"""Where mutants are found in C++, and what a file with switches looks like."""

from __future__ import annotations

from collections import Counter

from .equivalent import EQUIVALENT
from .mutants import find_mutants, switched
from .run import COST_MODEL, EXACT_MAPPER, chosen, why_equal

SOURCE = """\
// a < b in a comment
#include <vector>
constexpr int kMost = 3;
int least(int a, int b) {
  if (a < b && a + 2 > b) return std::min(a, b);  // "a == b"
  a += b * 2;
  return a;
}
"""


def test_operators_numbers_and_conditions_are_found_in_code_alone() -> None:
    found = [(mutant.line, mutant.kind) for mutant in find_mutants("f.cpp", SOURCE)]
    assert found == [
        *((5, "if negated"), (5, "< to <="), (5, "&& operand dropped"), (5, "+ to -"), (5, "2 to 3"), (5, "> to >=")),
        *((5, "std::min to the other"), (6, "+= negated"), (6, "* to +"), (6, "2 to 3")),
    ]


def test_switches_nest_and_leave_lines_where_they_are() -> None:
    mutants = list(enumerate(find_mutants("f.cpp", SOURCE)))
    lines = switched(SOURCE, mutants).splitlines()
    assert lines[:2] == ['#include "quantloom_mutation_switch.hpp"', "#line 1"]
    space = "quantloom_mutation::"
    assert lines[6] == (
        f"  if ({space}on(0) != static_cast<bool>(a < {space}Switch<1>{{}} < b && ({space}on(2) || (a + "
        f"{space}Switch<3>{{}} + ({space}on(4) ? 3 : 2) > {space}Switch<5>{{}} > b)))) "
        f'return {space}Least<6>{{}}(a, b);  // "a == b"'
    )
    assert switched(SOURCE, []).splitlines()[2:] == SOURCE.splitlines()


def test_mutants_known_to_be_equal_are_in_the_sources_once_each() -> None:
    mutants, _ = chosen(COST_MODEL + EXACT_MAPPER, None, 1)
    found = Counter(why for mutant in mutants if (why := why_equal(mutant)) is not None)
    assert found == Counter(known.why for known in EQUIVALENT)
