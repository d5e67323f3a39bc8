"""`load_timeloop(files)`: what Timeloop's files describe, as quantloom's records, with what was assumed and dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.spec.arch import MAX_LEVELS
from quantloom.spec.reader import Field, show
from quantloom.spec.yaml_nodes import read_text
from quantloom.timeloop.constraints import Words, read_constraints
from quantloom.timeloop.documents import Documents, Note, is_empty, read_documents
from quantloom.timeloop.elements import Element, read_elements
from quantloom.timeloop.energies import Energies
from quantloom.timeloop.levels import build_arithmetic, build_level
from quantloom.timeloop.mapper import read_mapper
from quantloom.timeloop.mapping import check_mapping, read_mapping
from quantloom.timeloop.problem import CONV_DIMS, CONV_TENSORS, OLD_OUTPUT_CHANNELS, read_problem

__all__ = ["TimeloopDesign", "load_timeloop", "parse_timeloop"]

_CONV_RANKS = {"Weights": "GCMRS", "Inputs": "GNCRSPQ", "Outputs": "GNMPQ"}
_CONFIG = ".cfg"  # Timeloop's files before v0.2, written for libconfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeloopDesign:
    """What a set of files holds; a part that no file describes is None.

    bits: by tensor, empty if the problem gives none. objective: of the mapper settings. notes: in reading order.
    """

    arch: _core.Arch | None
    workload: _core.Workload | None
    bits: dict[str, int]
    mapping: _core.Mapping | None
    objective: str | None
    notes: tuple[Note, ...]


def load_timeloop(
    paths: Sequence[str | PathLike[str]],
    *,
    arch: _core.Arch | None = None,
    workload: _core.Workload | None = None,
    estimator: str = "analytic",
    variables: Mapping[str, str] | None = None,
) -> TimeloopDesign:
    """Read any number of Timeloop files together; each may hold any of the sections.

    arch, workload: what a mapping is for, where the files do not describe it. estimator: energies where no table is
    given. variables: what Jinja templates name, such as {"architecture": "eyeriss_like"}. Raises SpecError with every
    mistake of all files as file:line:column.
    """
    texts: list[tuple[str, str]] = []
    unread: list[SpecError] = []
    for path in paths:
        try:
            if fspath(path).endswith(_CONFIG):
                message = f"{fspath(path)}: a file for libconfig, expected YAML"
                raise SpecError(message, hint="write it as YAML: the same names, `key = value;` as `key: value`")
            texts.append((fspath(path), read_text(path)))
        except SpecError as error:
            unread.append(error)
    documents = read_documents(texts, variables)
    documents.refused[:0] = unread
    return _read(documents, arch, workload, estimator)


def parse_timeloop(
    texts: Sequence[tuple[str, str]],
    *,
    arch: _core.Arch | None = None,
    workload: _core.Workload | None = None,
    estimator: str = "analytic",
    variables: Mapping[str, str] | None = None,
) -> TimeloopDesign:
    """As load_timeloop(), from (name of file, text) pairs."""
    return _read(read_documents(texts, variables), arch, workload, estimator)


def _read(
    documents: Documents,
    arch: _core.Arch | None,
    workload: _core.Workload | None,
    estimator: str,
) -> TimeloopDesign:
    problem = read_problem(documents, _file_name(documents, "problem"))
    bits: dict[str, int] = {}
    has_own_workload = problem is not None
    if problem is not None:
        workload, bits = problem
    elements = read_elements(documents)
    own_arch = _read_arch(documents, elements, workload, estimator)
    objective = read_mapper(documents)
    mapping = None
    if not documents.has_problems:
        mapping = _read_mapping(documents, own_arch or arch, workload)
    elif workload is not None:
        _check_mapping(documents, arch, workload)
    documents.raise_if_any()
    return TimeloopDesign(
        arch=own_arch,
        workload=workload if has_own_workload else None,
        bits=bits,
        mapping=mapping,
        objective=objective,
        notes=tuple(documents.notes.items),
    )


def _read_mapping(
    documents: Documents, arch: _core.Arch | None, workload: _core.Workload | None
) -> _core.Mapping | None:
    section = documents.one("mapping")
    if section is None or is_empty(section):
        return None
    if arch is None or workload is None:
        missing = [word for word, found in (("architecture", arch), ("problem", workload)) if found is None]
        section.fail(f"a mapping without its {' and '.join(missing)}", "give those files too, or --arch and --workload")
        return None
    return read_mapping(documents, arch, workload)


def _check_mapping(documents: Documents, arch: _core.Arch | None, workload: _core.Workload) -> None:
    """Judge a mapping beside other files that are wrong, by the names that stand in the architecture."""
    section = documents.one("mapping")
    names = [name for field in documents.all("architecture") for name in _names_in(field)]
    names = names or ([] if arch is None else [level.name for level in arch.levels])
    if section is not None and names and not is_empty(section):
        check_mapping(section, names, workload, documents.notes)


def _names_in(field: Field) -> list[str]:
    """Every `name` in a part of a file, without ranges; also those of components that could not be read."""
    names = [value.text_or_empty() for value in _values_of(("name",), field) if value.is_text]
    return [name.partition("[")[0].rpartition(".")[2] for name in names]


def _values_of(keys: tuple[str, ...], field: Field) -> list[Field]:
    """The values of these keys, however deep they stand in a part of a file."""
    found: list[Field] = []
    for key, value in field.entries() if field.is_mapping else ():
        found += [value] if key.text_or_empty() in keys else []
        found += _values_of(keys, value)
    for item in field.items() if field.is_sequence else ():
        found += _values_of(keys, item)
    return found


def _file_name(documents: Documents, section: str) -> str:
    """A name for what a section describes: that of its file, without endings."""
    found = documents.all(section)
    return Path(found[0].problems.where).name.split(".")[0] if found else section


def _read_arch(
    documents: Documents, elements: list[Element], workload: _core.Workload | None, estimator: str
) -> _core.Arch | None:
    section = documents.one("architecture")
    if section is None or not elements:
        for kind in ("architecture_constraints", "mapspace_constraints"):
            for found in documents.all(kind) if section is None else ():
                found.fail("constraints without the architecture that they are for", "give its file too")
        if section is not None and not documents.has_problems:
            section.fail("no storage and no arithmetic in it, expected at least one of each")
        return None
    arithmetic = [element for element in elements if element.kind == "arithmetic"]
    storage = [element for element in elements if element.kind != "arithmetic"]
    is_hierarchy = _is_hierarchy(documents, elements, storage, arithmetic)
    energies = Energies(documents, estimator)
    levels = [build_level(element, energies, documents.notes) for element in storage]
    if arithmetic:
        units = build_arithmetic(arithmetic[-1], energies, documents.notes)
    if not is_hierarchy:  # the names of its levels may be incomplete
        return None
    words = _words(workload, outputs=_output_channels(documents))
    constraints = read_constraints(documents, storage, words)
    if not documents.has_problems:  # else a mesh may be a stand-in
        _check_meshes(elements, [*levels, units])
    for element in elements:
        _note_unused(element, documents)
    if documents.has_problems:
        return None
    is_relaxed = any(value > 1 for c in constraints for _, relation, value in c.factors if relation == "=")
    if is_relaxed:
        documents.notes.assume(
            "a fixed factor that does not divide a bound is lowered until it does; Timeloop stops there"
        )
    try:
        return _core.Arch(
            name=_file_name(documents, "architecture"),
            levels=levels[::-1],
            arithmetic=units,
            constraints=constraints,
            relax_indivisible_factors=is_relaxed,
            source=_source(documents, estimator),
        )
    except SpecError as error:
        section.fail(error.message, error.hint)
        return None


def _source(documents: Documents, estimator: str) -> str:
    files = ", ".join(Path(section.problems.where).name for section in documents.all("architecture"))
    tables = ", ".join(dict.fromkeys(Path(section.problems.where).name for section in documents.all("ERT")))
    return f"Timeloop files {files}; energies from {tables or f'the estimator {estimator}'}"


def _is_hierarchy(
    documents: Documents, elements: list[Element], storage: list[Element], arithmetic: list[Element]
) -> bool:
    section = documents.all("architecture")[0]
    if len(arithmetic) > 1:
        for element in arithmetic[1:]:
            element.field.fail(
                f"a second arithmetic component, {show(element.name)} beside {show(arithmetic[0].name)}",
                "quantloom models one kind of units; leave the others out",
            )
    if not arithmetic and not documents.has_problems:
        section.fail("no arithmetic component, expected one of class intmac, mac or compute at the innermost place")
    if arithmetic and elements[-1] is not arithmetic[-1] and len(arithmetic) == 1:
        if arithmetic[0].mesh is None:  # before v0.4 its place among its neighbours says nothing
            documents.notes.assume(f"{arithmetic[0].name} is innermost, wherever it is listed", arithmetic[0].field)
            elements.sort(key=lambda element: element.kind == "arithmetic")
        else:
            arithmetic[0].field.fail("arithmetic outside of storage, expected it at the innermost place")
    if not storage and not documents.has_problems:
        section.fail("no storage, expected at least one level")
    if len(storage) > MAX_LEVELS:
        storage[MAX_LEVELS].field.fail(f"{len(storage)} levels (containers that fan out count), at most {MAX_LEVELS}")
    lines: dict[str, str] = {}
    for element in storage:
        if element.name in lines:
            element.field.fail(f"a second level named {show(element.name)}, the first is at {lines[element.name]}")
        lines.setdefault(element.name, element.field.where)
    return not documents.has_problems


def _output_channels(documents: Documents) -> str:
    """The letter of a convolution's output channels in constraints without a problem."""
    letters = {
        letter
        for kind in ("architecture_constraints", "mapspace_constraints")
        for section in documents.all(kind)
        for loops in _values_of(("factors", "factors_only", "permutation"), section)
        for item in (loops.items() if loops.is_sequence else [loops])
        for letter in item.text_or_empty()
    }
    return OLD_OUTPUT_CHANNELS if OLD_OUTPUT_CHANNELS in letters and "M" not in letters else "M"


def _words(workload: _core.Workload | None, *, outputs: str) -> Words:
    if workload is None:
        ranks = {tensor: frozenset(dims.replace("M", outputs)) for tensor, dims in _CONV_RANKS.items()}
        dims = tuple(outputs if dim == "M" else dim for dim in ("G", *CONV_DIMS))
        return Words(dims=dims, tensors=CONV_TENSORS, ranks=ranks)
    ranks = {t.name: frozenset(dim for rank in t.ranks for dim, _ in rank) for t in workload.tensors}
    return Words(dims=tuple(workload.dims), tensors=tuple(ranks), ranks=ranks)


def _check_meshes(elements: list[Element], units: list[_core.Level | _core.Arithmetic]) -> None:
    """The instances of an element must spread evenly below those of the one outside it, on x and on y."""
    for outer, element, unit in zip(units, elements[1:], units[1:], strict=False):
        for axis, count, above in (("x", unit.mesh_x, outer.mesh_x), ("y", unit.mesh_y, outer.mesh_y)):
            if count % above:
                element.field.fail(
                    f"{count} instances on {axis} cannot spread evenly below the {above} of {show(outer.name)}",
                    "meshX and meshY say how the instances lie; each needs a multiple of those outside it",
                )


def _note_unused(element: Element, documents: Documents) -> None:
    """Attributes that say something about cost and are not modelled."""
    for name in ("min_utilization", "network_read", "network_fill", "network_update", "network_drain"):
        field = element.attributes.find(name)
        if field is not None and field.text_or_empty() not in ("0", "0.0", "false"):
            documents.notes.drop(f"attribute `{name}` of {element.name}", field)
