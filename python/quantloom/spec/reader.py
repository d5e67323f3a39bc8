"""Typed reading of nodes: each read checks one value, and on a mistake notes it and returns a harmless stand-in.

So a whole file is read in one go, every mistake lands in one `Problems`, and records are only built after
`Problems.raise_if_any()`. Nothing here knows what a file is about.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from quantloom.errors import SpecError
from quantloom.spec.yaml_nodes import MappingNode, Node, Problems, ScalarNode, SequenceNode, decode

__all__ = ["MAX_COUNT", "Field", "Record", "closest", "read_document", "show"]

MAX_COUNT = 1 << 40  # the largest count a file may hold: products of a few stay below 2^63 or are caught by the core

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_WITH_UNIT = re.compile(
    r"[-+]?[0-9][0-9_.]*([eE][-+]?[0-9]+)?\s*"
    r"([kKMG]i?[bB]|B|bits?|bytes?|words?|[fpnu]?J|[mu]?W|[um]m2|[uµμm]m²|nm|[kMG]?Hz|cycles?|%)"
)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_NUMBER = 40


def show(text: str) -> str:
    """`text` in backticks for a message: printable and at most 60 characters."""
    safe = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:61])
    return f"`{safe}`" if len(safe) <= 60 else f"`{safe[:57]}...`"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, if any."""
    names = list(known)
    by_folded = {name.casefold(): name for name in reversed(names)}
    matches = difflib.get_close_matches(word[:80].casefold(), by_folded, n=1)
    return by_folded[matches[0]] if matches else None


def did_you_mean(word: str, known: Sequence[str], *, what: str) -> str:
    """The hint for an unknown word: the nearest known one, or the list of them (`what` names the list)."""
    match = closest(word, known)
    if match is not None:
        return f"did you mean {show(match)}?"
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f"{what}: {shown}" if known else f"{what}: none"


class Field:
    """One value of a file with its place: the node, its path, and where mistakes go."""

    def __init__(self, node: Node, path: str, problems: Problems) -> None:
        self.node = node
        self.path = path
        self.problems = problems

    @property
    def line(self) -> int:
        """Its line, from 1."""
        return self.node.line

    @property
    def where(self) -> str:
        """`file:line`, for records that remember where they came from."""
        return self.problems.place(self.line, self.node.column)

    @property
    def tag(self) -> str | None:
        """The tag of the node, such as `!Component`, where the dialect of the file has tags."""
        return self.node.tag

    @property
    def is_null(self) -> bool:
        """True for an empty value, `null` or `~`."""
        return isinstance(self.node, ScalarNode) and self.node.is_null

    @property
    def is_mapping(self) -> bool:
        """True for a mapping, whatever its keys."""
        return isinstance(self.node, MappingNode)

    @property
    def is_sequence(self) -> bool:
        """True for a list."""
        return isinstance(self.node, SequenceNode)

    @property
    def is_text(self) -> bool:
        """True for a scalar that is not null: a word, a number or quoted text."""
        return isinstance(self.node, ScalarNode) and not self.node.is_null

    def fail(self, message: str, hint: str | None = None) -> None:
        """Note a mistake in this value."""
        self.problems.add(self.line, self.path, message, hint, column=self.node.column)

    def expected(self, what: str, hint: str | None = None) -> None:
        """Note that something else than `what` was read here."""
        self.fail(f"read {self._shown()}, expected {what}", hint)

    def integer(self, *, minimum: int = 1, maximum: int = MAX_COUNT) -> int:
        """A whole number, written with digits (`_` between digits allowed)."""
        what = f"an integer of at least {minimum}" if maximum == MAX_COUNT else f"an integer {minimum}..{maximum}"
        text = self._plain_text()
        if text is None or len(text) > _LONGEST_NUMBER or _INTEGER.fullmatch(text) is None:
            self.expected(what, self._unit_hint())
            return minimum
        value = int(text)
        if value > MAX_COUNT:
            what = f"an integer {minimum}..{maximum}"
        if not minimum <= value <= maximum:
            self.expected(what)
            return minimum
        return value

    def number(self, *, minimum: float = 0.0, above: bool = False) -> float:
        """A finite number of at least `minimum`, or strictly above it."""
        what = f"a number above {minimum:g}" if above else f"a number of at least {minimum:g}"
        text = self._plain_text()
        value = math.nan
        if text is not None and len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) is not None:
            value = float(text)
        if not math.isfinite(value) or value < minimum or (above and value == minimum):
            self.expected(what, self._unit_hint())
            return minimum
        return value

    def boolean(self) -> bool:
        """`true` or `false`."""
        text = self._plain_text()
        if text is None or text.lower() not in ("true", "false"):
            self.expected("true or false")
            return False
        return text.lower() == "true"

    def text(self, what: str = "text") -> str:
        """Non-empty text, quoted or not."""
        if not isinstance(self.node, ScalarNode) or self.node.is_null or not self.node.text.strip():
            self.expected(what)
            return ""
        return self.node.text

    def name(self, what: str = "a name") -> str:
        """Text that can stand in tables and messages: one line, printable, at most 200 characters."""
        text = self.text(what)
        if len(text) > 200 or not text.isprintable():
            self.expected(f"{what} of at most 200 printable characters")
            return ""
        return text

    def choice(self, options: Sequence[str], what: str) -> str:
        """One of the words in `options`; the first one stands in for a mistake."""
        text = self.text(f"one of {', '.join(options)}")
        if not text:
            return options[0]
        if text not in options:
            self.fail(f"unknown {what} {show(text)}", did_you_mean(text, options, what=f"known {what}s"))
            return options[0]
        return text

    def items(self, what: str = "a list", *, length: int | None = None) -> list[Field]:
        """The values of a list, of this length if one is given."""
        if not isinstance(self.node, SequenceNode) or (length is not None and len(self.node.items) != length):
            self.expected(what)
            return []
        return [Field(node, f"{self.path}[{i}]", self.problems) for i, node in enumerate(self.node.items)]

    def entries(self, what: str = "a mapping") -> list[tuple[Field, Field]]:
        """The (key, value) pairs of a mapping whose keys are the user's own words; both carry the same path."""
        if not isinstance(self.node, MappingNode):
            self.expected(what)
            return []
        pairs = []
        for key, value in self.node.entries:
            path = _join(self.path, key.text)
            pairs.append((Field(key, path, self.problems), Field(value, path, self.problems)))
        return pairs

    def record(self, known: Sequence[str], what: str = "a mapping") -> Record:
        """A mapping that may only have the keys in `known`; others are noted with the nearest known one."""
        fields: dict[str, Field] = {}
        misspelt = set()
        for key, value in self.entries(what):
            word = key.text_or_empty()
            if word in known:
                fields[word] = value
            else:
                key.fail("unknown key", did_you_mean(word, known, what="known keys"))
                misspelt.add(closest(word, known))
        return Record(self, fields, misspelt)

    def text_or_empty(self) -> str:
        """The text of a scalar as it is written, quoted or not."""
        return self.node.text if isinstance(self.node, ScalarNode) else ""

    def _plain_text(self) -> str | None:
        return self.node.text if isinstance(self.node, ScalarNode) and self.node.plain else None

    def _unit_hint(self) -> str | None:
        """What to do about a number with its unit behind it."""
        has_unit = _WITH_UNIT.fullmatch(self._plain_text() or "") is not None
        return "write the number alone; its unit is fixed by the key" if has_unit else None

    def _shown(self) -> str:
        if isinstance(self.node, MappingNode):
            return "a mapping"
        if isinstance(self.node, SequenceNode):
            return f"a list of {len(self.node.items)}"
        if self.node.is_null:
            return "nothing"
        return show(self.node.text if self.node.plain else f'"{self.node.text}"')


class Record:
    """The fields of a mapping. A key whose value is null counts as absent."""

    def __init__(self, owner: Field, fields: Mapping[str, Field], misspelt: Set[str | None]) -> None:
        self.owner = owner
        self._misspelt = misspelt
        self._fields = {key: value for key, value in fields.items() if not value.is_null}

    def __contains__(self, key: str) -> bool:
        return key in self._fields

    def optional(self, key: str) -> Field | None:
        """The value of `key`, None if it is absent or null."""
        return self._fields.get(key)

    def required(self, key: str, what: str) -> Field | None:
        """The value of `key`; its absence is a mistake, unless one about it was told: no mapping, a misspelt key."""
        found = self._fields.get(key)
        if found is None and self.owner.is_mapping and key not in self._misspelt:
            self.owner.fail(f"key `{key}` is missing, expected {what}")
        return found

    def integer(self, key: str, default: int, *, minimum: int = 1, maximum: int = MAX_COUNT) -> int:
        """The whole number at `key`, or the default."""
        found = self._fields.get(key)
        return default if found is None else found.integer(minimum=minimum, maximum=maximum)

    def number(self, key: str, default: float, *, minimum: float = 0.0) -> float:
        """The number at `key`, or the default."""
        found = self._fields.get(key)
        return default if found is None else found.number(minimum=minimum)


def read_document(text: str, where: str, read: Callable[[Field], object]) -> None:
    """Decode `text` and call `read` on its root; raises SpecError with all problems of the text, if any.

    `read` notes mistakes on the fields and may raise SpecError itself; what was noted before is then told with it.
    """
    problems = Problems(where)
    root = Field(decode(text, problems), "", problems)
    try:
        read(root)
    except SpecError as error:
        problems.raise_if_any()
        raise error
    problems.raise_if_any()


def _join(path: str, key: str) -> str:
    if _WORD.fullmatch(key) is not None:
        return f"{path}.{key}" if path else key
    return f"{path}[{show(key)[1:-1]}]"
