"""Expressions inside Jinja templates, as far as Timeloop's files use them.

Text and numbers, variables, calls of the functions that the files know, `|default(...)`, `~`, `==`, `!=`, `not`, `and`,
`or`, parentheses. Nothing else is read: there are no attributes, no indices, no loops and no arithmetic, so evaluating
one takes time and memory in proportion to its length.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from quantloom.spec.reader import did_you_mean, show

__all__ = ["NAME", "ExpressionError", "Inserted", "Value", "evaluate", "text_of", "value_of"]

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>==|!=|[()|~,]))"
)
_WORDS: Mapping[str, bool | None] = {
    **{"true": True, "True": True, "false": False, "False": False},
    **{"none": None, "None": None},
}
_LONGEST = 1 << 16
_DEEPEST = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Inserted:
    """A part of another file, which stands in the text by this mark until the text is read."""

    mark: str


Value: TypeAlias = "str | float | int | bool | Inserted | None"
Functions: TypeAlias = "Mapping[str, Callable[..., Value]]"


class ExpressionError(Exception):
    """Why an expression has no value, and what to do about it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class _Unset:
    """The value of a variable that nothing sets; only `default` takes it."""

    def __init__(self, name: str) -> None:
        self.name = name


def evaluate(source: str, variables: Mapping[str, Value], functions: Functions) -> Value:
    """The value of an expression. Raises ExpressionError; errors of the functions pass through."""
    parser = _Parser(_tokens(source), variables, functions)
    value = parser.whole()
    if isinstance(value, _Unset):
        raise _unset(value, variables)
    return value


def value_of(text: str) -> Value:
    """The value of a variable given as text: true and false are what they say."""
    return _WORDS.get(text, text)


def text_of(value: Value) -> str:
    """What a value is in the text, as Jinja prints it."""
    return value.mark if isinstance(value, Inserted) else str(value)


def _called(signature: inspect.Signature) -> str:
    """`(name, [key])`: what a function takes, and what may be left out."""
    parameters = signature.parameters.values()
    return f"({', '.join(each.name if each.default is each.empty else f'[{each.name}]' for each in parameters)})"


def _unset(value: _Unset, variables: Mapping[str, Value]) -> ExpressionError:
    near = did_you_mean(value.name, tuple(variables), what="set")
    hint = f"give it with --set {value.name}=VALUE"
    return ExpressionError(f"the variable {show(value.name)} is not set", hint if "did you" not in near else near)


def _tokens(source: str) -> list[tuple[str, str]]:
    if len(source) > _LONGEST:
        message = f"an expression of more than {_LONGEST} characters"
        raise ExpressionError(message)
    tokens: list[tuple[str, str]] = []
    position = 0
    end = len(source.rstrip())
    while position < end:
        match = _TOKEN.match(source, position)
        if match is None or match.lastgroup is None:
            rest = source[position:].strip()
            message = f"cannot read {show(rest)}"
            hint = "read are variables, text, numbers, calls, |default(...), ~, ==, !=, not, and, or"
            raise ExpressionError(message, hint)
        tokens.append((match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


class _Parser:
    """Reads and evaluates in one go; `or` and `and` evaluate both sides."""

    def __init__(self, tokens: list[tuple[str, str]], variables: Mapping[str, Value], functions: Functions) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._variables = variables
        self._functions = functions

    def whole(self) -> Value | _Unset:
        value = self._either()
        if self._at < len(self._tokens):
            message = f"cannot read {show(self._tokens[self._at][1])} here"
            raise ExpressionError(message)
        return value

    def _take(self, text: str) -> bool:
        """Go past the next token if it is this sign or word."""
        found = self._at < len(self._tokens) and self._tokens[self._at] in (("sign", text), ("name", text))
        self._at += found
        return found

    def _expect(self, text: str) -> None:
        if not self._take(text):
            message = f"`{text}` is missing"
            raise ExpressionError(message)

    def _either(self) -> Value | _Unset:
        self._depth += 1
        if self._depth > _DEEPEST:
            message = f"parentheses nested more than {_DEEPEST} deep"
            raise ExpressionError(message)
        value = self._both()
        while self._take("or"):
            other = self._set(self._both())
            value = value if self._set(value) else other
        self._depth -= 1
        return value

    def _both(self) -> Value | _Unset:
        value = self._negated()
        while self._take("and"):
            other = self._set(self._negated())
            value = other if self._set(value) else value
        return value

    def _negated(self) -> Value | _Unset:
        negations = 0
        while self._take("not"):
            negations += 1
        value = self._compared()
        if not negations:
            return value
        return bool(self._set(value)) == (negations % 2 == 0)

    def _compared(self) -> Value | _Unset:
        value = self._joined()
        if self._take("=="):
            return self._set(value) == self._set(self._joined())
        if self._take("!="):
            return self._set(value) != self._set(self._joined())
        return value

    def _joined(self) -> Value | _Unset:
        value = self._filtered()
        while self._take("~"):
            value = text_of(self._set(value)) + text_of(self._set(self._filtered()))
            if len(value) > _LONGEST:
                message = f"text of more than {_LONGEST} characters"
                raise ExpressionError(message)
        return value

    def _filtered(self) -> Value | _Unset:
        value = self._single()
        while self._take("|"):
            if not (self._take("default") or self._take("d")):
                name = self._tokens[self._at][1] if self._at < len(self._tokens) else ""
                message = f"unknown filter {show(name)}, expected default"
                raise ExpressionError(message)
            arguments = self._arguments() if self._take("(") else [""]
            if len(arguments) != 1:
                message = f"`default` with {len(arguments)} values, expected one"
                raise ExpressionError(message)
            value = arguments[0] if isinstance(value, _Unset) else value
        return value

    def _single(self) -> Value | _Unset:
        if self._at >= len(self._tokens):
            message = "a value is missing"
            raise ExpressionError(message)
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind == "text":
            return text[1:-1]
        if kind == "number":
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        if kind == "name" and text in _WORDS:
            return _WORDS[text]
        if kind == "name":
            return self._call(text) if self._take("(") else self._variables.get(text, _Unset(text))
        if text == "(":
            value = self._either()
            self._expect(")")
            return value
        message = f"cannot read {show(text)} here"
        raise ExpressionError(message)

    def _call(self, name: str) -> Value:
        arguments = self._arguments()
        function = self._functions.get(name)
        if function is None:
            message = f"unknown function {show(name)}"
            raise ExpressionError(message, did_you_mean(name, tuple(self._functions), what="known functions"))
        expected = inspect.signature(function)
        try:
            expected.bind(*arguments)
        except TypeError as error:
            message = f"{name}: wrong number of arguments, {len(arguments)}"
            raise ExpressionError(message, f"it is called as {name}{_called(expected)}") from error
        return function(*arguments)

    def _arguments(self) -> list[Value]:
        """The values up to the closing parenthesis."""
        values: list[Value] = []
        if self._take(")"):
            return values
        while True:
            values.append(self._set(self._either()))
            if self._take(")"):
                return values
            self._expect(",")

    def _set(self, value: Value | _Unset) -> Value:
        if isinstance(value, _Unset):
            raise _unset(value, self._variables)
        return value
