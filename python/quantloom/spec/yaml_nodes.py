"""YAML (and so JSON) text decoded to nodes that know their place; no object is ever constructed from a file.

Nodes are composed from parser events with a stack, not by recursion, so the limits below hold before any memory is
spent: a file may have MAX_BYTES bytes, MAX_DEPTH nested collections and MAX_NODES nodes, an alias counting as many
nodes as the thing it repeats ("billion laughs" files are refused at once). Scalars stay text here: `reader.py` decides
by the wanted type, so a dim called `N` or `no` is never a boolean. Several documents, keys that are not text, and
duplicate keys are refused; tags and merge keys (`<<`) too, unless a `Dialect` allows them: a tag is then a word on the
node, never a type.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import NoReturn, TypeAlias

import yaml

from quantloom.errors import SpecError

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "PLAIN",
    "Dialect",
    "MappingNode",
    "Node",
    "Problem",
    "Problems",
    "ScalarNode",
    "SequenceNode",
    "decode",
    "quote",
    "read_text",
]

MAX_BYTES = 4 << 20
MAX_DEPTH = 64
MAX_NODES = 200_000
MAX_PROBLEMS = 100  # reading stops there: a file with more is of another kind, or hostile
MAX_PROBLEMS_SHOWN = 25

# The parser of libyaml where PyYAML has it (about ten times faster); both give the same events.
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep, the most that is read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a kind of file may use beyond plain YAML.

    tags: the tags that are read, such as `!Component`. merge_keys: keys that copy the entries of another mapping, where
    the mapping itself does not have them. deep_merge_keys: those of them that also merge mappings in mappings and put
    the items of lists behind its own, except where a list has the tag `!nomerge`.
    """

    tags: frozenset[str] = frozenset()
    merge_keys: frozenset[str] = frozenset()
    deep_merge_keys: frozenset[str] = frozenset()


PLAIN = Dialect()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarNode:
    """A piece of text. plain: written without quotes, so that it may also stand for a number, a truth or nothing."""

    line: int
    column: int
    text: str
    plain: bool
    tag: str | None = None

    @property
    def is_null(self) -> bool:
        """True for an empty value, `null` or `~`."""
        return self.plain and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceNode:
    """A list of nodes."""

    line: int
    column: int
    items: tuple[Node, ...]
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingNode:
    """Keys, all different, with their values, in the order of the file."""

    line: int
    column: int
    entries: tuple[tuple[ScalarNode, Node], ...]
    tag: str | None = None


Node: TypeAlias = "ScalarNode | SequenceNode | MappingNode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake in a file. line, column: from 1. path: such as `levels[1].word_bits`, empty for the whole file."""

    line: int
    path: str
    message: str
    hint: str | None = None
    column: int = 1


class Problems:
    """Collects the mistakes of one file, so that all of them are told at once."""

    def __init__(self, where: str, dialect: Dialect = PLAIN) -> None:
        self.where = where
        self.dialect = dialect
        self._problems: list[Problem] = []

    def __len__(self) -> int:
        return len(self._problems)

    def add(self, line: int, path: str, message: str, hint: str | None = None, *, column: int = 1) -> None:
        """Remember one mistake; the same one is told once. Raises SpecError if there are MAX_PROBLEMS."""
        problem = Problem(line=line, path=path, message=message, hint=hint, column=column)
        if problem not in self._problems:
            self._problems.append(problem)
        if len(self._problems) >= MAX_PROBLEMS:
            self.raise_if_any()

    def raise_if_any(self) -> None:
        """Raise one SpecError that lists every mistake by line, if there is one."""
        if not self._problems:
            return
        ordered = sorted(self._problems, key=lambda problem: (problem.line, problem.column))
        first = ordered[0]
        if len(ordered) == 1:
            raise SpecError(self._located(first), hint=first.hint)
        lines = []
        for problem in ordered[:MAX_PROBLEMS_SHOWN]:
            lines.append(self._located(problem))
            if problem.hint is not None:
                lines.append(f"  hint: {problem.hint}")
        if len(ordered) > MAX_PROBLEMS_SHOWN:
            stopped = "at least " if len(ordered) >= MAX_PROBLEMS else ""
            lines.append(f"{self.where}: ... and {stopped}{len(ordered) - MAX_PROBLEMS_SHOWN} more problems")
        raise SpecError("\n".join(lines))

    def _located(self, problem: Problem) -> str:
        path = f"{problem.path}: " if problem.path else ""
        return f"{self.place(problem.line, problem.column)}: {path}{problem.message}"

    def place(self, line: int, column: int) -> str:
        """`file:line:column`, as editors and terminals make links of it."""
        return f"{self.where}:{line}:{column}"


def read_text(path: str | PathLike[str]) -> str:
    """The text of a file. Raises SpecError with the path if it cannot be read, is too large, or is not UTF-8."""
    where = fspath(path)
    try:
        with Path(where).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"{where}: cannot be read: {reason}"
        raise SpecError(message) from error
    if len(data) > MAX_BYTES:
        message = f"{where}: larger than {MAX_BYTES >> 20} MiB, the most that is read"
        raise SpecError(message)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _place_of(data[: error.start].decode("utf-8-sig"))
        message = f"{where}:{line}:{column}: byte 0x{data[error.start]:02x} is not UTF-8 text"
        raise SpecError(message, hint="save the file as UTF-8") from error


def decode(text: str, problems: Problems) -> Node:
    """The root node of the one document in `text`.

    Duplicate keys go to `problems` (the first one counts) so that reading can go on.
    Raises SpecError at once if the text is no YAML or breaks a limit.
    """
    if len(text) > MAX_BYTES:
        message = f"{problems.where}: larger than {MAX_BYTES >> 20} MiB, the most that is read"
        raise SpecError(message)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        message = f"{problems.place(*_place_of(text[: error.start]))}: holds a lone surrogate, which is not text"
        raise SpecError(message) from error
    composer = _Composer(problems)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        problem = error.problem or error.context or "it cannot be parsed"
        if "nesting depth" in problem:  # libyaml, which reads ahead, has a limit of its own, far beyond ours
            message = f"{problems.place(line, column)}: {_TOO_DEEP}"
            raise SpecError(message) from error
        raise _syntax_error(problems, line, column, problem, text) from error
    except (ValueError, OverflowError) as error:  # escapes and directives with numbers that Python cannot hold
        raise _syntax_error(problems, 1, 1, str(error), text) from error
    except yaml.reader.ReaderError as error:
        # Its position counts characters or bytes, by parser: look for the character itself.
        position = max(text.find(chr(error.character)) if isinstance(error.character, int) else 0, 0)
        raise _syntax_error(problems, *_place_of(text[:position]), error.reason, text) from error
    if composer.root is None:
        message = f"{problems.place(1, 1)}: the file is empty"
        raise SpecError(message)
    return composer.root


def quote(text: str) -> str:
    """`text` as a YAML scalar: as it is where no reader could mistake it, else in double quotes."""
    simple = text.replace("_", "a").replace(".", "a").replace("-", "a").replace("/", "a")
    if simple.isascii() and simple.isalnum() and text[0].isalpha() and text.lower() not in _RESERVED:
        return text
    return '"' + "".join(_escape(char) for char in text) + '"'


_RESERVED = frozenset({"true", "false", "yes", "no", "on", "off", "null"})  # what other YAML readers take for values


def _escape(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _place_of(before: str) -> tuple[int, int]:
    """(line, column), from 1, of what follows the text `before`."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _syntax_error(problems: Problems, line: int, column: int, reason: str, text: str) -> SpecError:
    lines = text.splitlines()
    tab = line <= len(lines) and "\t" in lines[line - 1]
    hint = "YAML is indented with spaces; this line has a tab" if tab else None
    return SpecError(f"{problems.place(line, column)}: not valid YAML: {reason}", hint=hint)


@dataclass(slots=True)
class _Frame:
    """A collection whose end has not been seen yet."""

    is_mapping: bool
    line: int
    column: int
    anchor: str | None
    tag: str | None
    children: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 1


def _deeply_merged(own: Node, other: Node) -> Node:
    """`own` with what `other` adds to it: entries that it lacks, at any depth, and items of lists."""
    if isinstance(own, MappingNode) and isinstance(other, MappingNode):
        entries = {key.text: (key, value) for key, value in own.entries}
        for key, value in other.entries:
            if key.text in entries:
                own_key, own_value = entries[key.text]
                entries[key.text] = own_key, _deeply_merged(own_value, value)
            else:
                entries[key.text] = key, value
        return replace(own, entries=tuple(entries.values()))
    if isinstance(own, SequenceNode) and isinstance(other, SequenceNode) and own.tag != "!nomerge":
        return replace(own, items=(*own.items, *other.items))
    return own


class _Composer:
    """Builds nodes from parser events, keeping the limits."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._nodes = 0
        self._documents = 0
        self._line = 1  # of the event at hand
        self._column = 1

    def take(self, event: yaml.Event) -> None:
        """Take the next event. Raises SpecError if it breaks a limit."""
        if event.start_mark is not None:
            self._line, self._column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse("a second document begins here, expected one")
        elif isinstance(event, yaml.AliasEvent):
            self._take_alias(event.anchor or "")
        elif isinstance(event, yaml.ScalarEvent):
            self._count(1)
            plain = event.style is None or event.style == ""
            tag = self._kept_tag(event.tag)
            node = ScalarNode(line=self._line, column=self._column, text=event.value, plain=plain, tag=tag)
            self._attach(node, size=1, height=0, anchor=event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._count(1)
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            tag = self._kept_tag(event.tag)
            self._stack.append(_Frame(is_mapping, self._line, self._column, event.anchor, tag))
            self._check_depth(len(self._stack))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _take_alias(self, name: str) -> None:
        if name not in self._anchors:
            self._refuse(f"alias {quote('*' + name)} names nothing that ended before it")
        node, size, height = self._anchors[name]
        self._count(size)
        self._check_depth(len(self._stack) + height)
        self._attach(node, size=size, height=height, anchor=None)

    def _close(self) -> None:
        frame = self._stack.pop()
        node: Node
        if frame.is_mapping:
            node = MappingNode(line=frame.line, column=frame.column, entries=tuple(self._pairs(frame)), tag=frame.tag)
        else:
            node = SequenceNode(line=frame.line, column=frame.column, items=tuple(frame.children), tag=frame.tag)
        self._attach(node, size=frame.size, height=frame.height, anchor=frame.anchor)

    def _attach(self, node: Node, *, size: int, height: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, size, height)
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        parent.children.append(node)
        parent.size += size
        parent.height = max(parent.height, height + 1)

    def _pairs(self, frame: _Frame) -> list[tuple[ScalarNode, Node]]:
        found: dict[str, tuple[ScalarNode, Node]] = {}
        merged: list[tuple[ScalarNode, Node, bool]] = []
        dialect = self._problems.dialect
        for key, value in zip(frame.children[::2], frame.children[1::2], strict=True):
            if isinstance(key, ScalarNode) and key.plain and key.text in dialect.merge_keys:
                is_deep = key.text in dialect.deep_merge_keys
                merged += [(*pair, is_deep) for pair in self._merged(key, value)]
            elif not isinstance(key, ScalarNode):
                self._add(key, "a key is a list or a mapping, expected text")
            elif key.plain and key.text == "<<":
                self._add(key, "merge keys (`<<`) are not read", "write the keys out")
            elif key.text in found:
                first = found[key.text][0]
                place = self._problems.place(first.line, first.column)
                self._add(key, f"duplicate key `{quote(key.text[:80])}`, first at {place}")
            else:
                found[key.text] = key, value
        for key, value, is_deep in merged:
            if key.text not in found:
                found[key.text] = key, value
            elif is_deep:
                own_key, own = found[key.text]
                found[key.text] = own_key, _deeply_merged(own, value)
        return list(found.values())

    def _merged(self, key: ScalarNode, value: Node) -> list[tuple[ScalarNode, Node]]:
        """The entries that a merge key brings: of one mapping, or of several, the first ones first."""
        sources = value.items if isinstance(value, SequenceNode) else (value,)
        entries: list[tuple[ScalarNode, Node]] = []
        for source in sources:
            if not isinstance(source, MappingNode):
                self._add(key, f"`{key.text}` copies the entries of a mapping, read something else")
                return []
            entries += source.entries
        return entries

    def _add(self, node: Node, message: str, hint: str | None = None) -> None:
        self._problems.add(node.line, "", message, hint, column=node.column)

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._refuse(f"more than {MAX_NODES} values (aliases counted in full), the most that is read")

    def _check_depth(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            self._refuse(_TOO_DEEP)

    def _kept_tag(self, tag: str | None) -> str | None:
        # "!" is how parsers mark a scalar that is text whatever it looks like.
        if tag is None or tag == "!":
            return None
        known = self._problems.dialect.tags
        if tag not in known:
            near = difflib.get_close_matches(tag[:80], known, n=1)
            hint = f"did you mean `{near[0]}`?" if near else "remove the tag; plain values are enough"
            self._refuse(f"tag {quote(tag[:80])} is not read", hint)
        return tag

    def _refuse(self, message: str, hint: str | None = None) -> NoReturn:
        located = f"{self._problems.place(self._line, self._column)}: {message}"
        raise SpecError(located, hint=hint)
