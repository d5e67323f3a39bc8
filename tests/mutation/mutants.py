"""Where a C++ file can be changed, and the file with a switch at each of these places (see switch.hpp)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NAMESPACE = "quantloom_mutation"
OTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "+": "-", "-": "+", "*": "+", "/": "*"}
OTHER |= {"%": "/", "&": "|"}
IGNORED = re.compile(
    r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|^[ \t]*#(?:\\\n|[^\n])*', re.DOTALL | re.MULTILINE
)
BINARY = re.compile(r"(?<=[\w)\]}]) (<=|>=|==|!=|[-<>+*/%&]) (?=[\w(:!-])")
ASSIGNMENT = re.compile(r" ([-+*])= ")
NUMBER = re.compile(r"(?<![\w.'])\d+(?![\w.'])")
TRUTH = re.compile(r"\b(?:true|false)\b")
CHOICE = re.compile(r"\bstd::(min|max)(?=\()")
CONDITION = re.compile(r"\bif \(")
LOGICAL = re.compile(r" (&&|\|\|) ")


@dataclass(frozen=True)
class Mutant:
    """One change. edits: (offset, characters taken out, text put in, with ID for the mutant's number)."""

    path: str
    line: int
    column: int
    kind: str
    edits: tuple[tuple[int, int, str], ...]

    @property
    def key(self) -> str:
        return f"{self.path}:{self.line}:{self.column} {self.kind}"


def masked(text: str) -> str:
    """The text with comments, strings and preprocessor lines blanked, offsets unchanged."""
    return IGNORED.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def closing(text: str, at: int, stops: tuple[str, ...] = ()) -> int:
    """Offset of what ends the expression that begins at `at`: a bracket that was not opened in it, or one of stops."""
    depth = 0
    for offset in range(at, len(text)):
        character = text[offset]
        if depth == 0 and (character in ")]}" or any(text.startswith(stop, offset) for stop in stops)):
            return offset
        depth += (character in "([{") - (character in ")]}")
    return len(text)


def found_edits(text: str) -> Iterator[tuple[int, str, tuple[tuple[int, int, str], ...]]]:
    for found in BINARY.finditer(text):
        operator = found.group(1)
        yield (
            found.start() + 1,
            f"{operator} to {OTHER[operator]}",
            ((found.end(), 0, f"{NAMESPACE}::Switch<ID>{{}} {operator} "),),
        )
    for found in ASSIGNMENT.finditer(text):
        kind = "Dropped" if found.group(1) == "*" else "Negated"
        edit = (found.end(), 0, f"{NAMESPACE}::{kind}<ID>{{}} = ")
        yield found.start() + 1, f"{found.group(1)}= {kind.lower()}", (edit,)
    for found in NUMBER.finditer(text):
        other = int(found.group()) + 1
        edit = (found.start(), len(found.group()), f"({NAMESPACE}::on(ID) ? {other} : {found.group()})")
        yield found.start(), f"{found.group()} to {other}", (edit,)
    for found in TRUTH.finditer(text):
        operator = "!=" if found.group() == "true" else "=="
        edit = (found.start(), len(found.group()), f"({NAMESPACE}::on(ID) {operator} true)")
        yield found.start(), f"{found.group()} negated", (edit,)
    for found in CHOICE.finditer(text):
        name = "Least" if found.group(1) == "min" else "Greatest"
        edit = (found.start(), len(found.group()), f"{NAMESPACE}::{name}<ID>{{}}")
        yield found.start(), f"std::{found.group(1)} to the other", (edit,)
    for found in CONDITION.finditer(text):
        end = closing(text, found.end())
        condition = text[found.end() : end]
        if ";" in condition or re.search(r" = ", condition):
            continue
        before = f"{NAMESPACE}::on(ID) != static_cast<bool>("
        yield found.start(), "if negated", ((found.end(), 0, before), (end, 0, ")"))
    for found in LOGICAL.finditer(text):
        stops = (" || ", " ? ", " : ", ";", ",") if found.group(1) == "||" else (" && ", " || ", " ? ", " : ", ";", ",")
        end = closing(text, found.end(), stops)
        before = f"(!{NAMESPACE}::on(ID) && (" if found.group(1) == "||" else f"({NAMESPACE}::on(ID) || ("
        yield found.start() + 1, f"{found.group(1)} operand dropped", ((found.end(), 0, before), (end, 0, "))"))


def find_mutants(path: str, text: str) -> list[Mutant]:
    """Every change of a file. Lines of constant expressions are left alone: there nothing can be switched."""
    found, hidden = [], masked(text)
    for at, kind, edits in found_edits(hidden):
        begin = hidden.rfind("\n", 0, at) + 1
        line = hidden[begin : hidden.find("\n", at)]
        if re.search(r"\b(constexpr|static_assert|template|case|enum|operator)\b", line):
            continue
        found.append(Mutant(path, hidden.count("\n", 0, at) + 1, at - begin + 1, kind, edits))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.column, mutant.kind))


def switched(text: str, mutants: Iterable[tuple[int, Mutant]]) -> str:
    """The text with a switch for each of the numbered mutants. Lines stay where they are."""
    edits = []
    for number, mutant in mutants:
        begin = mutant.edits[0][0]
        for offset, taken, put in mutant.edits:
            closes = put.startswith(")")  # what opened last closes first
            order = (offset, 0, -begin) if closes else (offset, 1, -mutant.edits[-1][0])
            edits.append((order, offset, taken, put.replace("ID", str(number))))
    pieces, at = [], 0
    for _, offset, taken, put in sorted(edits):
        pieces += [text[at:offset], put]
        at = offset + taken
    return '#include "quantloom_mutation_switch.hpp"\n#line 1\n' + "".join(pieces) + text[at:]
