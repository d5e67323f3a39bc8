"""The small languages inside Timeloop's values: `C=4 M<=8`, `C4 M8`, permutations such as `NPQR SCM`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from quantloom.spec.reader import Field, did_you_mean, show

__all__ = ["FactorTerm", "read_factors", "read_names", "read_permutation"]

_FACTOR = re.compile(r"([A-Za-z_]\w*?)\s*(<=|>=|==|=|<|>)\s*([0-9]{1,12})")
_TERSE = re.compile(r"([A-Za-z_]+)([0-9]{1,12})")
_DIMS = "dims of the problem (without one: of a convolution)"
_SPLIT = re.compile(r"[\s,]+")


class FactorTerm(NamedTuple):
    """One factor: value 0 with "=" stands for the dim's whole bound."""

    dim: str
    relation: Literal["=", "<=", ">="]
    value: int


def read_factors(field: Field, dims: Sequence[str]) -> list[FactorTerm]:
    """The factors in a text (`N=1 C=0 P<=4`, `C1 M8`) or in a list of such; unknown dims are mistakes."""
    terms: list[FactorTerm] = []
    for item in field.items() if field.is_sequence else [field]:
        if item.is_null or not item.text_or_empty().strip():
            continue
        text = re.sub(r"\s*(<=|>=|==|=|<|>)\s*", r"\1", item.text_or_empty().strip())
        for word in _SPLIT.split(text):
            term = _read_factor(word, item, dims) if word else None
            if term is None:
                continue
            if any(term.dim == other.dim and term.relation == other.relation for other in terms):
                item.fail(f"the factor of dim {show(term.dim)} is given twice")
            terms.append(term)
    return terms


def _read_factor(word: str, item: Field, dims: Sequence[str]) -> FactorTerm | None:
    match = _FACTOR.fullmatch(word)
    dim, relation, number = match.groups() if match is not None else ("", "=", "")
    if match is None:
        terse = _TERSE.fullmatch(word)
        if terse is not None:
            dim, number = terse.groups()
    if not dim:
        hint = "remainders (P=10,3) are not modelled: factors multiply to the bound" if word.isdecimal() else None
        item.fail(f"read {show(word)} in the factors, expected a dim and its factor such as C=4 or C<=4", hint)
        return None
    if dim not in dims:
        item.fail(f"unknown dim {show(dim)}", did_you_mean(dim, tuple(dims), what=_DIMS))
        return None
    value = int(number)
    if relation == "<" or relation == ">":
        value, relation = (value - 1, "<=") if relation == "<" else (value + 1, ">=")
    if relation == "<=" and value < 1:
        item.fail(f"read {show(word)}, which no factor can meet, expected at least 1")
        return None
    if relation in ("<=", ">="):
        return FactorTerm(dim, "<=" if relation == "<=" else ">=", max(value, 1))
    return FactorTerm(dim, "=", value)


def read_permutation(field: Field, dims: Sequence[str]) -> tuple[list[str], list[str]]:
    """(innermost dims, outermost dims) of a permutation, both from inner to outer.

    Blanks between single letters mean nothing; what follows a `_` is fixed outermost.
    """
    words = [item.text_or_empty() for item in field.items()] if field.is_sequence else [field.text_or_empty()]
    inner_text, bar, outer_text = (
        ",".join(words).partition("_")
        if not set("_") & set("".join(dims))
        else (
            ",".join(words),
            "",
            "",
        )
    )
    inner = _split_dims(inner_text, field, dims)
    outer = _split_dims(outer_text, field, dims) if bar else []
    for dim in {dim for dim in (*inner, *outer) if (*inner, *outer).count(dim) > 1}:
        field.fail(f"dim {show(dim)} stands twice in one permutation")
    return inner, outer


def _split_dims(text: str, field: Field, dims: Sequence[str]) -> list[str]:
    words = [word for word in _SPLIT.split(text) if word]
    if not all(word in dims for word in words):
        words = [letter for word in words for letter in ([word] if word in dims else word)]
    for word in words:
        if word not in dims:
            field.fail(f"unknown dim {show(word)}", did_you_mean(word, tuple(dims), what=_DIMS))
    return [word for word in dict.fromkeys(words) if word in dims] if len(set(words)) == len(words) else words


def read_names(field: Field, known: Sequence[str], what: str) -> list[str]:
    """The names in a list, or a single one as text; unknown ones are mistakes."""
    names = []
    for item in field.items(f"a list of {what}s") if not field.is_text else [field]:
        name = item.text_or_empty()
        if name not in known:
            item.fail(
                f"unknown {what} {show(name)}",
                did_you_mean(name, tuple(known), what=f"{what}s of the problem (without one: of a convolution)"),
            )
        elif name in names:
            item.fail(f"{what} {show(name)} is listed twice")
        else:
            names.append(name)
    return names
