"""Jinja templates as Timeloop's front end writes them, turned into nodes that know their place in their own file.

Read are `{{ expression }}`, `{% set %}`, `{% if %} {% elif %} {% else %} {% endif %}` and comments, with the front
end's functions: `include_text(file)` puts in text, `include(file, key)` a part of another file, `include_all(pattern,
key)` the lists of several, `add_to_path(folder)`, `find_path(file)`, `path_exists(file)`, `cwd()`. No code of a
template is run (docs/adr/0012). Files are read from the folder of the first file and the one around it, no other.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NoReturn

from quantloom.errors import SpecError
from quantloom.spec.reader import did_you_mean, show
from quantloom.spec.yaml_nodes import (
    MAX_DEPTH,
    MAX_NODES,
    Dialect,
    MappingNode,
    Node,
    Problems,
    ScalarNode,
    SequenceNode,
    decode,
    read_text,
)
from quantloom.timeloop.template_expressions import NAME, ExpressionError, Inserted, Value, evaluate, text_of, value_of

__all__ = ["TemplateProblems", "decode_template", "is_template"]

_TAG = re.compile(r"\{\{(?P<value>.*?)\}\}|\{%-?(?P<statement>.*?)-?%\}|\{#.*?#\}", re.DOTALL)
_SET = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(?!=)(.*)", re.DOTALL)
_ENDINGS: Final = (".yaml", ".yml", ".json", ".jinja", ".jinja2")
_MAX_FILES = 200
_MAX_DEPTH = 8
_MAX_CHARACTERS = 8 << 20
_TOO_MANY = f"more than {MAX_NODES} values (what is included counted in full), the most that is read"
_TOO_DEEP = f"nested more than {MAX_DEPTH} deep (with what is included), the most that is read"
_STRIDE = 1 << 24  # lines of included files are counted from multiples of this


def is_template(text: str) -> bool:
    """Whether text holds anything that Jinja would replace."""
    return _TAG.search(text) is not None


class TemplateProblems(Problems):
    """The mistakes of a template and of all files it includes, each with the place in its own file."""

    def __init__(self, where: str, dialect: Dialect) -> None:
        super().__init__(where, dialect)
        self.regions: list[_Region] = []

    def place(self, line: int, column: int) -> str:
        """`file:line:column` of a place in the rendered text, or in that of an included file."""
        number, line = divmod(line, _STRIDE)
        return self.regions[number].place(line, column) if number < len(self.regions) else super().place(line, column)


class _Stopped(Exception):
    """A tag was wrong, so that there is nothing to decode; the mistakes are noted."""


def decode_template(text: str, variables: Mapping[str, str], problems: TemplateProblems) -> Node | None:
    """The root node of a template with the variables set; None, with mistakes in `problems`, if a tag is wrong.

    Raises SpecError if what comes out is no YAML or breaks a limit.
    """
    try:
        return _Session(problems, variables).node_of(problems.where, text, depth=0)
    except _Stopped:
        return None


@dataclass(slots=True)
class _Region:
    """The rendered text of one file in pieces: where each begins there, and where it is from."""

    where: str
    parts: list[str] = field(default_factory=list)
    starts: list[tuple[int, int]] = field(default_factory=list)
    origins: list[tuple[str, int, int, bool]] = field(default_factory=list)  # file, line, column, taken word by word
    line: int = 1
    column: int = 1

    def add(self, text: str, origin: tuple[str, int, int], *, is_literal: bool) -> None:
        if not text:
            return
        self.starts.append((self.line, self.column))
        self.origins.append((*origin, is_literal))
        self.parts.append(text)
        breaks = text.count("\n")
        self.line += breaks
        self.column = len(text) - text.rfind("\n") if breaks else self.column + len(text)

    def place(self, line: int, column: int) -> str:
        index = max(bisect_right(self.starts, (line, column)) - 1, 0)
        if not self.origins:
            return f"{self.where}:{line}:{column}"
        where, first, first_column, is_literal = self.origins[index]
        if is_literal:
            below = line - self.starts[index][0]
            first_column = column if below else first_column + column - self.starts[index][1]
            first += below
        return f"{where}:{first}:{first_column}"


class _Session:
    """One template with everything it includes: files read so far, folders to look in, parts to put in."""

    def __init__(self, problems: TemplateProblems, variables: Mapping[str, str]) -> None:
        self.problems = problems
        self.variables: dict[str, Value] = {name: value_of(text) for name, text in variables.items()}
        first = Path(problems.where).parent
        self.folder = first
        self._roots = [first.resolve()]
        if first.resolve().parent != first.resolve().parent.parent:  # never the whole disk
            self._roots.append(first.resolve().parent)
        self._folders: list[Path] = []
        self._files = 0
        self._characters = 0
        self.inserted: dict[str, _Inserted] = {}

    def node_of(self, where: str, text: str, depth: int) -> Node:
        """The root node of a file, with what it includes in place."""
        region = _Region(where)
        number = len(self.problems.regions)
        self.problems.regions.append(region)
        _Renderer(self, region, where, depth).render(text)
        if len(self.problems):
            raise _Stopped
        rendered = "".join(region.parts)
        shifted = _Shifted(self.problems, number * _STRIDE) if number else self.problems
        return _Filling(self, number * _STRIDE).filled(decode(rendered, shifted), 0)

    def find(self, name: Value, here: Path) -> Path | None:
        """The file of this name beside the file at hand or in an added folder, if it may be read."""
        if not isinstance(name, str) or not name or not name.isprintable():
            message = f"read {show(text_of(name))}, expected the name of a file"
            raise ExpressionError(message)
        outside = False
        for folder in (here, self.folder, *self._folders):
            path = folder / name
            try:
                if not path.is_file():
                    continue
            except OSError:  # a name that no file can have
                continue
            resolved = path.resolve()
            if any(resolved.is_relative_to(root) for root in self._roots):
                return path
            outside = True
        if outside:
            message = f"{show(name)} lies outside of {show(str(self._roots[-1]))}, from where files are included"
            raise ExpressionError(message, "put the files into one folder")
        return None

    def add_folder(self, name: Value, here: Path) -> Value:
        self._folders.append(here / text_of(name))
        return ""

    def read(self, name: Value, here: Path, depth: int) -> tuple[str, str]:
        """(name, text) of a file to include."""
        path = self.find(name, here)
        if path is None:
            message = f"no file {show(text_of(name))} beside {show(str(here))} or in an added folder"
            raise ExpressionError(message)
        if path.suffix not in _ENDINGS:
            message = f"{show(text_of(name))} is not included, expected a file ending in {', '.join(_ENDINGS)}"
            raise ExpressionError(message)
        self._files += 1
        if depth >= _MAX_DEPTH or self._files > _MAX_FILES:
            message = f"files include each other more than {_MAX_DEPTH} deep, or more than {_MAX_FILES} files"
            raise ExpressionError(message)
        where = os.path.normpath(path)
        text = read_text(where)
        self._characters += len(text)
        if self._characters > _MAX_CHARACTERS:
            message = f"more than {_MAX_CHARACTERS >> 20} MiB are included"
            raise ExpressionError(message)
        return where, text

    def insert(self, node: Node) -> Inserted:
        """Keep a node under a mark, which stands for it in the text. Raises ExpressionError if it is too large."""
        size, height = _measured(node)
        if size > MAX_NODES:
            raise ExpressionError(_TOO_MANY)
        mark = f"\ue000{len(self.inserted)}\ue000"
        self.inserted[mark] = _Inserted(node, size, height)
        return Inserted(mark=mark)


@dataclass(frozen=True, slots=True)
class _Inserted:
    """A part of another file, how many nodes it has and how deep they are nested; 0 is text alone."""

    node: Node
    size: int
    height: int


def _measured(node: Node) -> tuple[int, int]:
    """How many nodes there are (a count above MAX_NODES is not finished), and how deep they are nested."""
    if isinstance(node, ScalarNode):
        return 1, 0
    size, height = 1, 0
    for key, child in ((None, item) for item in node.items) if isinstance(node, SequenceNode) else node.entries:
        if size > MAX_NODES:
            break
        below = _measured(child)
        size += below[0] + (key is not None)
        height = max(height, below[1])
    return size, height + 1


class _Filling:
    """Puts what is included in the place of its marks, within the limits of one file. shift: where lines count from."""

    def __init__(self, session: _Session, shift: int) -> None:
        self._session = session
        self._shift = shift
        self._size = 0

    def filled(self, node: Node, depth: int) -> Node:
        """The node with its lines counted from the shift. depth: of the collections around it."""
        known = self._session.inserted.get(node.text.strip()) if isinstance(node, ScalarNode) else None
        self._size += 1 if known is None else known.size
        if self._size > MAX_NODES:
            self._refuse(node, _TOO_MANY)
        if depth + (known.height if known is not None else not isinstance(node, ScalarNode)) > MAX_DEPTH:
            self._refuse(node, _TOO_DEEP)
        if known is not None:
            return known.node
        if isinstance(node, ScalarNode):
            return replace(node, line=node.line + self._shift)
        if isinstance(node, SequenceNode):
            items = tuple(self.filled(item, depth + 1) for item in node.items)
            return replace(node, line=node.line + self._shift, items=items)
        self._size += len(node.entries)
        entries = tuple(
            (replace(key, line=key.line + self._shift), self.filled(value, depth + 1)) for key, value in node.entries
        )
        return replace(node, line=node.line + self._shift, entries=entries)

    def _refuse(self, node: Node, message: str) -> NoReturn:
        place = self._session.problems.place(node.line + self._shift, node.column)
        located = f"{place}: {message}"
        raise SpecError(located)


class _Shifted(Problems):
    """Where the mistakes of an included file go: to those of the first one, at the lines of its own region."""

    def __init__(self, problems: TemplateProblems, shift: int) -> None:
        super().__init__(problems.where, problems.dialect)
        self._first = problems
        self._shift = shift

    def add(self, line: int, path: str, message: str, hint: str | None = None, *, column: int = 1) -> None:
        self._first.add(line + self._shift, path, message, hint, column=column)

    def place(self, line: int, column: int) -> str:
        return self._first.place(line + self._shift, column)


class _Renderer:
    """Goes through the tags of one file and adds to the region what they leave."""

    def __init__(self, session: _Session, region: _Region, where: str, depth: int) -> None:
        self._session = session
        self._region = region
        self._where = where
        self._here = Path(where).parent
        self._depth = depth
        self._ifs: list[tuple[bool, bool, tuple[int, int]]] = []  # (this branch holds, one has held), place
        self._position = (1, 1)
        self._functions: dict[str, Callable[..., Value]] = {
            "cwd": lambda: str(self._session.folder),
            "add_to_path": lambda name: self._session.add_folder(name, self._here),
            "find_path": self._find_path,
            "path_exists": lambda name: self._session.find(name, self._here) is not None,
            "include": self._include,
            "include_all": self._include_all,
            "include_text": self._include_text,
        }

    def render(self, text: str) -> None:
        """Add the whole text; mistakes are noted and rendering goes on."""
        position, end = (1, 1), 0
        for match in _TAG.finditer(text):
            self._add(text[end : match.start()], position)
            position = self._position = _after(position, text[end : match.start()])
            self._take(match)
            position = _after(position, match[0])
            end = match.end()
        self._add(text[end:], position)
        for _, _, place in self._ifs:
            self._position = place
            self._fail("`if` without its `endif`")

    def _add(self, text: str, position: tuple[int, int]) -> None:
        if all(holds for holds, _, _ in self._ifs):
            self._region.add(text, (self._where, *position), is_literal=True)

    def _take(self, match: re.Match[str]) -> None:
        try:
            if match["statement"] is not None:
                self._run(match["statement"].strip())
            elif match["value"] is not None and all(holds for holds, _, _ in self._ifs):
                value = self._value(match["value"].strip().removeprefix("-").removesuffix("-"))
                self._region.add(text_of(value), (self._where, *self._position), is_literal=False)
        except ExpressionError as error:
            self._fail(f"in the template tag {show(match[0])}: {error.message}", error.hint)

    def _value(self, source: str) -> Value:
        return evaluate(source, self._session.variables, self._functions)

    def _run(self, statement: str) -> None:
        word = NAME.match(statement)
        rest = statement[word.end() :] if word is not None else statement
        name = "" if word is None else word[0]
        outer = all(holds for holds, _, _ in (self._ifs[:-1] if name in ("elif", "else") else self._ifs))
        if name == "if":
            self._ifs.append((False, True, self._position))  # as long as the condition has no value
            holds = outer and bool(self._value(rest))
            self._ifs[-1] = (holds, holds or not outer, self._position)
        elif name in ("elif", "else", "endif") and not self._ifs:
            message = f"`{name}` without its `if`"
            raise ExpressionError(message)
        elif name == "endif":
            self._ifs.pop()
        elif name in ("elif", "else"):
            _, was, place = self._ifs[-1]
            holds = not was and (name == "else" or bool(self._value(rest)))
            self._ifs[-1] = (holds, was or holds, place)
        elif name == "set" and (parts := _SET.fullmatch(rest)) is not None:
            if outer:
                self._session.variables[parts[1]] = self._value(parts[2])
        else:
            message = f"cannot read {show(statement)}"
            raise ExpressionError(message, "read are set NAME = VALUE, if, elif, else, endif")

    def _fail(self, message: str, hint: str | None = None) -> None:
        line, column = self._position
        problems = self._session.problems
        number = next(i for i, region in enumerate(problems.regions) if region is self._region)
        # a tag stands where the text that it leaves would begin
        self._region.add("\ue000", (self._where, line, column), is_literal=False)
        at_line, at_column = self._region.starts[-1]
        problems.add(number * _STRIDE + at_line, "", message, hint, column=at_column)

    def _find_path(self, name: Value) -> Value:
        path = self._session.find(name, self._here)
        if path is None:
            message = f"no file {show(text_of(name))} beside {show(str(self._here))} or in an added folder"
            raise ExpressionError(message)
        return os.path.normpath(path)

    def _include_text(self, name: Value) -> Value:
        where, text = self._session.read(name, self._here, self._depth)
        _Renderer(self._session, self._region, where, self._depth + 1).render(text)
        return ""

    def _include(self, name: Value, key: Value = "") -> Value:
        where, text = self._session.read(name, self._here, self._depth)
        return self._session.insert(_part(self._session.node_of(where, text, self._depth + 1), text_of(key), where))

    def _include_all(self, pattern: Value, key: Value = "") -> Value:
        folder, _, name = text_of(pattern).rpartition("/")
        items: list[Node] = []
        for path in self._matching(folder, name):
            where, text = self._session.read(f"{folder}/{path.name}" if folder else path.name, self._here, self._depth)
            node = _part(self._session.node_of(where, text, self._depth + 1), text_of(key), where)
            items += node.items if isinstance(node, SequenceNode) else (node,)
            if len(items) > MAX_NODES:
                raise ExpressionError(_TOO_MANY)
        return self._session.insert(SequenceNode(line=1, column=1, items=tuple(items)))

    def _matching(self, folder: str, name: str) -> list[Path]:
        try:
            return sorted((self._here / folder).glob(name)) if name and "**" not in name else []
        except (OSError, ValueError, NotImplementedError) as error:
            message = f"cannot look for {show(name)}: {error}"
            raise ExpressionError(message) from error


def _after(position: tuple[int, int], text: str) -> tuple[int, int]:
    breaks = text.count("\n")
    return position[0] + breaks, len(text) - text.rfind("\n") if breaks else position[1] + len(text)


def _part(node: Node, key: str, where: str) -> Node:
    """What lies under a key such as `architecture.nodes`."""
    for word in key.split(".") if key else ():
        if isinstance(node, SequenceNode) and word.isdecimal() and int(word) < len(node.items):
            node = node.items[int(word)]
            continue
        entries = {name.text: value for name, value in node.entries} if isinstance(node, MappingNode) else {}
        if word not in entries:
            message = f"{where} has no {show(key)}"
            raise ExpressionError(message, did_you_mean(word, tuple(entries), what="keys there"))
        node = entries[word]
    return node
