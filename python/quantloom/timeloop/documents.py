"""Timeloop's input files, each taken apart into its top-level sections (`architecture`, `problem`, `ERT`, ...).

All files are read before anything is told, so one error lists the mistakes of all of them as file:line:column.
What a file says and quantloom does not take over is noted, never passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from quantloom.errors import SpecError
from quantloom.spec.reader import Field, did_you_mean, show
from quantloom.spec.yaml_nodes import Dialect, Problems, decode
from quantloom.timeloop.templates import TemplateProblems, decode_template, is_template

__all__ = ["NODE_TAGS", "Documents", "Note", "Notes", "is_empty", "read_documents"]

NODE_TAGS: Final = ("!Component", "!Container", "!Parallel", "!Pipelined", "!Hierarchical", "!Nothing")
_SCALAR_TAGS = ("str", "int", "float", "bool", "null", "map", "seq")
_DIALECT = Dialect(
    tags=frozenset({*NODE_TAGS, "!nomerge", *(f"tag:yaml.org,2002:{tag}" for tag in _SCALAR_TAGS)}),
    merge_keys=frozenset({"<<", "<<<"}),
    deep_merge_keys=frozenset({"<<<"}),
)
# What a section is called in the files -> what it is called here.
_SECTIONS: Final[Mapping[str, str]] = {
    **{name: name for name in ("architecture", "problem", "shape", "mapping", "mapper", "ERT", "ART", "variables")},
    **{name: name for name in ("architecture_constraints", "mapspace_constraints")},
    "arch": "architecture",
    "constraints": "mapspace_constraints",
    "mapspace": "mapspace_constraints",
    "mapspace-constraints": "mapspace_constraints",
    "architecture-constraints": "architecture_constraints",
    "ERT_summary": "ERT",
    "ART_summary": "ART",
    "components": "components",
    "compound_components": "components",
    "primitive_components": "components",
    "globals": "ignored",
    "dumped_by_timeloop_front_end": "ignored",
    "sparse_optimizations": "sparse_optimizations",
    "extra_mapping_constraints": "mapspace_constraints",
}
NoteKind = Literal["assumed", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something a reader should know. where: file:line:column, or empty. kind: assumed, or dropped from the file."""

    kind: NoteKind
    where: str
    text: str


class Notes:
    """What was assumed and what was dropped, each said once."""

    def __init__(self) -> None:
        self.items: list[Note] = []

    def assume(self, text: str, at: Field | None = None) -> None:
        """Remember an assumption; `at` is the value it is about."""
        self._add("assumed", text, at)

    def drop(self, text: str, at: Field | None = None) -> None:
        """Remember something the files say that quantloom does not take over."""
        self._add("dropped", text, at)

    def _add(self, kind: NoteKind, text: str, at: Field | None) -> None:
        note = Note(kind=kind, where="" if at is None else at.where, text=text)
        if all(note.text != other.text or note.kind != other.kind for other in self.items):
            self.items.append(note)


@dataclass(slots=True)
class Documents:
    """The sections of all files by name, with the mistakes and the notes found so far."""

    sections: dict[str, list[Field]] = field(default_factory=dict)
    problems: list[Problems] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)
    refused: list[SpecError] = field(default_factory=list)

    def all(self, name: str) -> Sequence[Field]:
        """Every section of this name."""
        return self.sections.get(name, [])

    def one(self, name: str) -> Field | None:
        """The section of this name; a second one is a mistake. One that is empty counts where no other one is."""
        found = self.all(name)
        found = [section for section in found if not is_empty(section)] or found[:1]
        for other in found[1:]:
            other.fail(f"a second `{name}`, the first is at {found[0].where}", "give one of the two files")
        return found[0] if found else None

    @property
    def has_problems(self) -> bool:
        """True if anything was wrong so far."""
        return bool(self.refused) or any(len(problems) for problems in self.problems)

    def raise_if_any(self) -> None:
        """Raise one SpecError with the mistakes of all files, in the order of the files, if there are any."""
        errors = list(self.refused)
        for problems in self.problems:
            try:
                problems.raise_if_any()
            except SpecError as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise SpecError("\n".join(str(error) for error in errors))


def is_empty(section: Field) -> bool:
    """Such as the mapping that the front end writes where there is none."""
    return section.is_null or (section.is_sequence and not section.items())


def read_documents(texts: Sequence[tuple[str, str]], variables: Mapping[str, str] | None = None) -> Documents:
    """Take (name of file, its text) pairs apart; mistakes are collected in the result, nothing is raised.

    variables: what templates may name.
    """
    documents = Documents()
    for where, text in texts:
        problems = TemplateProblems(where, _DIALECT)
        documents.problems.append(problems)
        try:
            node = decode_template(text, variables or {}, problems) if is_template(text) else decode(text, problems)
        except SpecError as error:
            documents.refused.append(error)
            continue
        if node is not None:
            _take_sections(Field(node, "", problems), documents)
    return documents


def _take_sections(root: Field, documents: Documents) -> None:
    entries = root.entries("a Timeloop file: a mapping with architecture, problem, mapping, ERT, ...")
    words = [key.text_or_empty() for key, _ in entries]
    if len(words) > 1 and {"levels", "dims", "layers"} & set(words) and not {"architecture", "problem"} & set(words):
        root.fail(f"no Timeloop file: read {', '.join(map(show, words[:6]))}", "quantloom's own files need no import")
        return
    for key, value in entries:
        word = key.text_or_empty()
        if word in _SECTIONS:
            documents.sections.setdefault(_SECTIONS[word], []).append(value)
        elif not any(word == other for other in _anchor_holders(root)):
            key.fail("unknown section", did_you_mean(word, tuple(_SECTIONS), what="known sections"))
    for section in documents.all("sparse_optimizations"):
        documents.notes.drop("sparse optimizations: quantloom models dense workloads", section)


def _anchor_holders(root: Field) -> list[str]:
    """Top-level keys that only hold an anchor for others to use; by custom they say so in their name."""
    return [key.text_or_empty() for key, _ in root.entries() if key.text_or_empty().endswith("_ignore")]
