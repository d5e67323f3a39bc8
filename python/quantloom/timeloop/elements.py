"""The elements of a Timeloop architecture, outermost first, whichever version of the format they were written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from quantloom.spec.reader import Field, Record, closest, show
from quantloom.timeloop.attributes import Attributes, element_count
from quantloom.timeloop.documents import NODE_TAGS, Documents

__all__ = ["Element", "read_elements"]

Kind = Literal["storage", "arithmetic", "fanout"]

_KEYS = ("name", "class", "subclass", "attributes", "local", "subtree", "constraints", "spatial", "nodes", "enabled")
_MORE_KEYS = (
    *("version", "required_actions", "area_scale", "energy_scale", "latency_scale", "component_name"),
    "sparse_optimizations",
)
# Words in class names; a class that holds one of them is of that kind. Networks have no energy in Timeloop by default.
_NETWORK: Final = ("noc", "legacy", "reductiontree", "simplemulticast", "router", "wire", "crossbar", "network")
_ARITHMETIC: Final = ("mac", "compute", "mult", "alu", "arithmetic")
_STORAGE: Final = ("dram", "sram", "regfile", "smartbuffer", "storage", "reg", "buffer", "memory", "fifo", "cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One storage level, the arithmetic units, or a fanout: a level that holds nothing.

    path: the name in energy tables, such as `system.PE[0..15].mac`. mesh: (x, y) of all instances where containers
    give it (v0.4), else None and the attributes do. constraints: (type, mapping) pairs written at the element.
    in_parallel: beside others, so that it keeps only what it names. container: whose fanout this is (v0.4; in older
    files a storage element without entries is one).
    """

    name: str
    path: str
    kind: Kind
    class_name: str
    attributes: Attributes
    instances: int
    mesh: tuple[int, int] | None
    field: Field
    constraints: Sequence[tuple[str, Field]] = ()
    container: str | None = None
    in_parallel: bool = False


@dataclass(slots=True)
class _Walk:
    """What has been read while walking inwards."""

    documents: Documents
    elements: list[Element] = field(default_factory=list)
    mesh: tuple[int, int] = (1, 1)


def read_elements(documents: Documents) -> list[Element]:
    """The elements of the `architecture` section, outermost first; empty if there is none or it is wrong."""
    section = documents.one("architecture")
    if section is None:
        return []
    walk = _Walk(documents)
    variables = Attributes({}, section)
    for more in documents.all("variables"):
        variables = variables.inner(more, more)
    keys = {key.text_or_empty(): value for key, value in section.entries("an architecture")}
    _check_version(keys.get("version"), documents)
    if "nodes" in keys:
        _walk_nodes(keys["nodes"], "system_top_level", variables, walk)
    elif "subtree" in keys:
        _walk_subtree(keys["subtree"], "", variables, 1, walk)
    elif "local" in keys:
        _walk_local(keys["local"], "", variables, 1, walk)
    elif "storage" in keys and "arithmetic" in keys:
        _walk_flat(keys["storage"], keys["arithmetic"], variables, walk)
    else:
        known = ("nodes", "subtree", "local", "storage")
        near = next((match for key in keys if (match := closest(key, known))), None)
        hint = f"did you mean `{near}`?" if near else "v0.4 has `nodes`, v0.3 `subtree`, older files `storage`"
        section.expected("an architecture with `nodes` (v0.4) or `subtree` (v0.3)", hint)
    return walk.elements


def _check_version(version: Field | None, documents: Documents) -> None:
    if version is not None and version.text_or_empty() not in ("0.1", "0.2", "0.3", "0.4"):
        documents.notes.assume(f"architecture version {show(version.text_or_empty())} is read as v0.4 or v0.3", version)


# ---- v0.3: subtree and local -----------------------------------------------------------------------------------------


def _walk_subtree(field: Field, path: str, outer: Attributes, count: int, walk: _Walk) -> None:
    nodes = field.items("a list of nodes, each a mapping with name, local, subtree")
    inner_ones = 0
    for node in nodes:
        record = node.record((*_KEYS, *_MORE_KEYS), "a node: a mapping with name, attributes, local, subtree")
        name_field = record.required("name", "the node's name, such as PE[0..15]")
        if name_field is None:
            continue
        _, times = element_count(name_field)
        here = f"{path}.{name_field.text_or_empty()}" if path else name_field.text_or_empty()
        attributes = outer.inner(record.optional("attributes"), node)
        before = len(walk.elements)
        local, subtree = record.optional("local"), record.optional("subtree")
        if local is not None:
            _walk_local(local, here, attributes, count * times, walk)
        if subtree is not None:
            _walk_subtree(subtree, here, attributes, count * times, walk)
        inner_ones += len(walk.elements) > before
        if inner_ones > 1:
            node.fail(
                "a second branch with storage or units beside the first, expected one path from DRAM to the units",
                "quantloom models one hierarchy; leave one branch out",
            )


def _walk_local(field: Field, path: str, outer: Attributes, count: int, walk: _Walk) -> None:
    for item in field.items("a list of components, each a mapping with name, class, attributes"):
        record = item.record((*_KEYS, *_MORE_KEYS), "a component: a mapping with name, class, attributes")
        name_field = record.required("name", "the component's name")
        class_field = record.required("class", "the component's class, such as SRAM")
        if name_field is None or class_field is None:
            continue
        name, times = element_count(name_field)
        name = name.rpartition(".")[2]  # flattened files have whole paths
        _note_sparse(record, walk)
        subclass = record.optional("subclass")
        classes = [f.text_or_empty() for f in (class_field, subclass) if f is not None]
        attributes = outer.inner(record.optional("attributes"), item)
        kind = _kind_of(classes, class_field, attributes, walk)
        if kind is None:
            continue
        kind = "fanout" if kind == "storage" and _holds_nothing(attributes) else kind
        full = f"{path}.{name_field.text_or_empty()}" if path else name_field.text_or_empty()
        walk.elements.append(
            Element(
                name=name,
                path=full,
                kind=kind,
                class_name=" ".join(classes),
                attributes=attributes,
                instances=attributes.count("instances", default=count * times) or 1,
                mesh=None,
                field=item,
                constraints=_own_constraints(record.optional("constraints")),
            )
        )


def _note_sparse(record: Record, walk: _Walk) -> None:
    found = record.optional("sparse_optimizations")
    if found is not None:
        walk.documents.notes.drop("sparse optimizations: quantloom models dense workloads", found)


def _holds_nothing(attributes: Attributes) -> bool:
    """Whether a storage element is there for its fanout alone: without any entry."""
    field = attributes.find("entries", "size")
    return field is not None and field.text_or_empty() == "0"


def _walk_flat(storage: Field, arithmetic: Field, outer: Attributes, walk: _Walk) -> None:
    """The oldest form: `storage` lists levels from the inside out, `arithmetic` is one mapping; attributes are keys."""
    fields = storage.items("a list of storage levels, innermost first")
    for item in [*reversed(fields), arithmetic]:
        attributes = outer.inner(item, item)
        kind: Kind = "fanout" if _holds_nothing(attributes) else "storage"
        name_field = attributes.find("name")
        if item is arithmetic:
            kind = "arithmetic"
        elif name_field is None:
            item.fail("key `name` is missing, expected the component's name")
            continue
        name = "MAC" if name_field is None else name_field.name()
        technology = attributes.text("technology", "class") or "SRAM"
        instances = attributes.count("instances", default=1) or 1
        walk.elements.append(
            Element(
                name=name,
                path=name,
                kind=kind,
                class_name=technology,
                attributes=attributes,
                instances=instances,
                mesh=None,
                field=item,
            )
        )


def _kind_of(classes: Sequence[str], field: Field, attributes: Attributes, walk: _Walk) -> Kind | None:
    """Storage or arithmetic by the words in the class; None for what is neither, which is noted or a mistake."""
    words = " ".join(classes).casefold()
    kinds: tuple[tuple[Kind | None, Sequence[str]], ...] = (
        (None, _NETWORK),
        ("storage", _STORAGE),
        ("arithmetic", _ARITHMETIC),
    )
    for kind, known in kinds:
        if any(word in words for word in known):
            if kind is None:
                walk.documents.notes.drop(
                    f"component of class {show(' '.join(classes))}: networks follow levels", field
                )
            return kind
    if attributes.find("depth", "memory_depth", "entries", "sizeKB") is not None:
        walk.documents.notes.assume(f"class {show(' '.join(classes))} is storage, as it has a size", field)
        return "storage"
    near = closest(words, (*_STORAGE, *_ARITHMETIC))
    hint = f"did you mean {show(near)}? " if near else ""
    field.fail(
        f"unknown class {show(' '.join(classes))}, expected storage (DRAM, SRAM, regfile, smartbuffer...), "
        "arithmetic (intmac, ...) or a network",
        f"{hint}a class that stores something needs a depth or entries",
    )
    return None


# ---- v0.4: nodes -----------------------------------------------------------------------------------------------------


def _walk_nodes(field: Field, path: str, outer: Attributes, walk: _Walk, *, in_parallel: bool = False) -> None:
    """Nodes follow each other inwards; a container holds what comes after it, a component stands alone."""
    attributes = outer
    for node in field.items("a list of nodes: !Container, !Component, !Parallel, !Hierarchical"):
        tag = node.tag
        if tag in ("!Hierarchical", "!Parallel", "!Pipelined"):
            nodes = node.record(("nodes", "name", "attributes", "constraints"), "nodes").required("nodes", "a list")
            if tag == "!Pipelined":
                node.fail("!Pipelined is not read, expected levels that hold each other", "write the stages as levels")
            elif nodes is not None:
                _walk_nodes(nodes, path, attributes, walk, in_parallel=in_parallel or tag == "!Parallel")
        elif tag == "!Nothing":
            continue
        elif tag in ("!Container", "!Component"):
            attributes = _walk_node(node, path, attributes, walk, in_parallel=in_parallel)
        else:
            node.expected(f"a node with a tag ({', '.join(NODE_TAGS)})", "write `- !Component` before its keys")


def _walk_node(node: Field, path: str, outer: Attributes, walk: _Walk, *, in_parallel: bool) -> Attributes:
    """Take one container or component; returns the attributes for what comes after it."""
    record = node.record((*_KEYS, *_MORE_KEYS), "a node: a mapping with name, class, attributes, spatial, constraints")
    name_field = record.required("name", "the node's name")
    name = "" if name_field is None else name_field.name()
    enabled = record.optional("enabled")
    if enabled is not None and enabled.text_or_empty().casefold() == "false":
        walk.documents.notes.drop(f"{show(name)}: not enabled", enabled)
        return outer
    attributes = outer.inner(record.optional("attributes"), node)
    _note_sparse(record, walk)
    own = _own_constraints(record.optional("constraints"))
    spatial = [pair for pair in own if pair[0] == "spatial"]
    x, y = _mesh_of(record.optional("spatial"))
    if x * y > 1:
        _add_fanout(node, name, spatial, walk)
        walk.mesh = (walk.mesh[0] * x, walk.mesh[1] * y)
    elif spatial:
        walk.documents.notes.drop(f"spatial constraint of {show(name)}, which has no fanout", spatial[0][1])
    if node.tag == "!Container":
        for what, field in own:
            if what != "spatial":
                walk.documents.notes.drop(
                    f"{what} constraint of the container {show(name)}, which holds nothing", field
                )
        return attributes
    class_field = record.optional("class")
    subclass = record.optional("subclass")
    classes = [f.text_or_empty() for f in (class_field, subclass) if f is not None]
    if not classes:
        node.fail("key `class` is missing, expected the component's class, such as SRAM")
        return outer
    sort = _kind_of(classes, class_field or node, attributes, walk)
    if sort is None:
        return outer
    instances = walk.mesh[0] * walk.mesh[1]
    walk.elements.append(
        Element(
            name=name,
            path=f"{path}.{name}[1..{instances}]",
            kind=sort,
            class_name=" ".join(classes),
            attributes=attributes,
            instances=instances,
            mesh=walk.mesh,
            field=node,
            constraints=[pair for pair in own if pair[0] != "spatial"],
            in_parallel=in_parallel,
        )
    )
    return outer


def _add_fanout(node: Field, name: str, spatial: Sequence[tuple[str, Field]], walk: _Walk) -> None:
    """The level that holds nothing, over whose instances below it a container spreads work."""
    walk.elements.append(
        Element(
            name=f"inter_{name}_spatial",
            path=f"inter_{name}_spatial",
            kind="fanout",
            class_name="container",
            attributes=Attributes({}, node),
            instances=walk.mesh[0] * walk.mesh[1],
            mesh=walk.mesh,
            field=node,
            constraints=spatial,
            container=name,
        )
    )
    walk.documents.notes.assume(
        f"container {show(name)} fans out below a level `inter_{name}_spatial` that holds nothing"
    )


def _mesh_of(field: Field | None) -> tuple[int, int]:
    if field is None:
        return 1, 1
    record = field.record(("meshX", "meshY"), "a mapping with meshX, meshY")
    return record.integer("meshX", 1), record.integer("meshY", 1)


def _own_constraints(field: Field | None) -> list[tuple[str, Field]]:
    """(type, mapping) pairs of a `constraints` mapping at an element."""
    if field is None:
        return []
    types = ("temporal", "spatial", "dataspace", "bypass", "datatype", "max_overbooked_proportion")
    pairs = []
    for key, value in field.entries("a mapping with temporal, spatial, dataspace"):
        if key.text_or_empty() in types:
            pairs.append((key.text_or_empty(), value))
        else:
            near = closest(key.text_or_empty(), types)
            key.fail(
                "unknown kind of constraint", f"did you mean `{near}`?" if near else "known: " + ", ".join(types[:3])
            )
    return pairs
