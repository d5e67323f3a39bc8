"""Attributes of Timeloop components: inherited from what is around them, plain numbers or small expressions."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from quantloom.spec.reader import Field, did_you_mean, show

__all__ = ["Attributes", "element_count"]

_DEEPEST = 16  # names that refer to names
_LONGEST = 200
_LARGEST_EXPONENT = 64
_FUNCTIONS: Final[Mapping[str, Callable[..., float]]] = {
    **{name: getattr(math, name) for name in ("ceil", "floor", "log2", "sqrt", "log10", "pow")},
    **{"log": math.log, "max": max, "min": min, "round": round, "abs": abs, "int": int, "float": float},
}
_OPERATORS: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
}


class _NotANumber(Exception):
    """Why an expression has no value."""


class Attributes:
    """The attributes of one component: its own ones before inherited ones, then the file's `variables`."""

    def __init__(self, fields: Mapping[str, Field], owner: Field) -> None:
        self._fields = dict(fields)
        self.owner = owner
        self.used: set[str] = set()

    def inner(self, field: Field | None, owner: Field) -> Attributes:
        """The attributes of something inside: these, with those in the mapping `field` before them."""
        fields = dict(self._fields)
        if field is not None and not field.is_null:
            fields.update({key.text_or_empty(): value for key, value in field.entries("a mapping of attributes")})
        return Attributes(fields, owner)

    def find(self, *names: str) -> Field | None:
        """The first attribute that is there under one of its names; a null counts as absent."""
        for name in names:
            self.used.add(name)
            field = self._fields.get(name)
            if field is not None and not field.is_null:
                return field
        return None

    def count(self, *names: str, default: int | None = None, minimum: int = 1) -> int | None:
        """A whole number, by a plain number or an expression; None or the default if it is absent."""
        field = self.find(*names)
        if field is None:
            return default
        value = self._value(field, f"a whole number of at least {minimum}")
        if value is None:
            return default
        if value != int(value) or not minimum <= value <= 2**40:
            field.expected(f"a whole number of at least {minimum}")
            return default
        return int(value)

    def number(self, *names: str, minimum: float = 0.0) -> float | None:
        """A number of at least `minimum`, None if it is absent."""
        field = self.find(*names)
        if field is None:
            return None
        value = self._value(field, f"a number of at least {minimum:g}")
        if value is not None and value < minimum:
            field.expected(f"a number of at least {minimum:g}")
            return None
        return value

    def text(self, *names: str) -> str | None:
        """Text as it is written, None if it is absent."""
        field = self.find(*names)
        return None if field is None or not field.is_text else field.text_or_empty()

    def _value(self, field: Field, what: str) -> float | None:
        text = field.text_or_empty().strip()
        try:
            return self._evaluate(text, 0)
        except _NotANumber as reason:
            field.expected(what, str(reason) or None)
            return None

    def _evaluate(self, text: str, depth: int) -> float:
        if depth > _DEEPEST:
            message = "its names refer to each other without end"
            raise _NotANumber(message)
        if not text or len(text) > _LONGEST:
            raise _NotANumber
        try:
            tree = ast.parse(text, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            message = "numbers and expressions such as 4 * depth are read, units are not"
            raise _NotANumber(message) from error
        try:
            value = float(self._fold(tree.body, depth))
        except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
            message = f"the expression has no value: {error}"
            raise _NotANumber(message) from error
        if not math.isfinite(value):
            message = "the expression is not finite"
            raise _NotANumber(message)
        return value

    def _fold(self, node: ast.expr, depth: int) -> float:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            value: float = node.value  # type: ignore[assignment]  # as just checked
            return value
        if isinstance(node, ast.Name):
            field = self._fields.get(node.id)
            if field is None or not field.is_text:
                hint = did_you_mean(node.id, tuple(self._fields), what="known names")
                message = f"{show(node.id)} is no attribute here; {hint}"
                raise _NotANumber(message)
            return self._evaluate(field.text_or_empty().strip(), depth + 1)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._fold(node.operand, depth)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](self._fold(node.left, depth), self._fold(node.right, depth))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            base, exponent = float(self._fold(node.left, depth)), self._fold(node.right, depth)
            if abs(exponent) > _LARGEST_EXPONENT or base < 0:
                message = f"powers have a base of at least 0 and an exponent of at most {_LARGEST_EXPONENT}"
                raise _NotANumber(message)
            return float(base**exponent)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            return self._call(node.func.id, node.args, depth)
        message = "numbers, names of attributes, + - * / // % **, and functions such as ceil and log2 are read"
        raise _NotANumber(message)

    def _call(self, name: str, arguments: Sequence[ast.expr], depth: int) -> float:
        function = _FUNCTIONS.get(name)
        if function is None:
            hint = did_you_mean(name, tuple(_FUNCTIONS), what="known functions")
            message = f"unknown function {show(name)}; {hint}"
            raise _NotANumber(message)
        return float(function(*(self._fold(argument, depth) for argument in arguments)))


def element_count(field: Field) -> tuple[str, int]:
    """(name, how many there are) of `PE[0..15]`, `PE[1..16]` or plain `PE`."""
    text = field.name("a name such as PE or PE[0..15]")
    if not text or "[" not in text:
        return text, 1
    name, _, rest = text.partition("[")
    first, dots, last = rest.rstrip("]").partition("..")
    if not rest.endswith("]") or not dots or not first.strip().isdecimal() or not last.strip().isdecimal():
        field.expected("a name such as PE or PE[0..15]", "the range holds whole numbers, the last one included")
        return name, 1
    count = int(last) - int(first) + 1 if len(last) < 8 and len(first) < 8 else 0
    if count < 1:
        field.expected("a range that holds at least one instance, such as PE[0..15]")
        return name, 1
    return name.strip(), count
