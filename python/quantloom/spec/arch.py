"""Accelerators from YAML: `load_arch("eyeriss")` or `load_arch("my_chip.yaml")`. The keys are in docs/accelerators.md.

Levels stand in the file from DRAM inwards and in the record from the innermost outwards. What is impossible is told
here with its line; the constructor of the record checks once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

import quantloom
from quantloom import _core
from quantloom.errors import SpecError
from quantloom.spec.arch_energy import ENERGY_KEYS, MAC_ENERGY_KEYS, read_level_energy, read_mac_energy
from quantloom.spec.constraints import Vocabulary, read_constraints, read_level_keep
from quantloom.spec.precision import read_precision
from quantloom.spec.reader import Field, Record, closest, read_document, show
from quantloom.spec.yaml_nodes import read_text

__all__ = ["arch_names", "find_arch", "load_arch", "parse_arch"]

_TOP_KEYS = ("name", "description", "source", "dims", "tensors", "levels", "arithmetic", "constraints")
_LEVEL_KEYS = (
    "name",
    "technology",
    "word_bits",
    "block_words",
    "cluster_size",
    "capacity_words",
    "instances",
    "bandwidth_words_per_cycle",
    "bandwidth_bits_per_cycle",
    "packing",
    "network",
    "keep",
    "bypass",
    "energy_pj",
    "area_um2",
)
_ARITHMETIC_KEYS = ("name", "word_bits", "instances", "energy_pj", "area_um2", "precision", "psum_bits")
_PACKINGS = ("word", "dense", "none")
_DIMS = ("G", "C", "M", "R", "S", "N", "P", "Q")
_TENSORS = ("Weights", "Inputs", "Outputs")

MAX_LEVELS = 12
MAX_WORD_BITS = 4096
MAX_MESH = 1 << 20
MAX_PSUM_BITS = 128


def arch_names() -> list[str]:
    """The names of the accelerators that come with quantloom, sorted."""
    return sorted({path.stem for folder in _shipped_folders() for path in folder.glob("*.yaml")})


def find_arch(name_or_path: str | PathLike[str]) -> Path:
    """The file behind a name from `arch_names()` or a path. Raises SpecError for an unknown name."""
    text = fspath(name_or_path)
    shipped = [path for folder in _shipped_folders() for path in sorted(folder.glob("*.yaml")) if path.stem == text]
    if shipped:
        return shipped[0]
    path = Path(text)
    try:
        is_path = path.suffix in (".yaml", ".yml", ".json") or path.name != text or path.is_file()
    except (OSError, ValueError):
        is_path = False
    if is_path:
        return path
    names = arch_names()
    match = closest(text, names)
    hint = f"did you mean {show(match)}? " if match else ""
    message = f"unknown architecture {show(text)}"
    raise SpecError(message, hint=f"{hint}known: {', '.join(names)}; or give the path of a YAML file")


def load_arch(name_or_path: str | PathLike[str]) -> _core.Arch:
    """The accelerator with this name (see `arch_names`) or in this file.

    Raises SpecError with every mistake of the file as `file:line: path: what was read, what was expected`.
    """
    path = find_arch(name_or_path)
    return parse_arch(read_text(path), str(path))


def parse_arch(text: str, where: str) -> _core.Arch:
    """The accelerator that YAML `text` describes; `where` names the text in messages. Raises SpecError."""
    drafts: list[_Draft] = []
    read_document(text, where, lambda root: drafts.append(_read_arch(root)))
    return drafts[0].build(where)


def _shipped_folders() -> list[Path]:
    # In a source checkout the folder stands at the top; a build copies it into the package.
    checkout = Path(__file__).resolve().parents[3]
    folders = [checkout / "arch_specs"] if (checkout / "python" / "quantloom" / "spec").is_dir() else []
    folders += [Path(base) / "arch_specs" for base in quantloom.__path__]
    return [folder for folder in folders if folder.is_dir()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """Everything read from a file, with the places of the levels for the messages of the core."""

    name: str
    source: str
    levels: list[_core.Level]  # as in the file: outermost first
    level_places: list[str]
    arithmetic: _core.Arithmetic
    constraints: list[_core.Constraint]
    relax_indivisible_factors: bool

    def build(self, where: str) -> _core.Arch:
        try:
            return _core.Arch(
                name=self.name,
                levels=self.levels[::-1],
                arithmetic=self.arithmetic,
                constraints=self.constraints,
                relax_indivisible_factors=self.relax_indivisible_factors,
                source=self.source,
            )
        except SpecError as error:
            place, path = f"{where}:1:1", ""
            for i, level in enumerate(self.levels):
                if f"level '{level.name}'" in error.message:
                    place, path = self.level_places[i], f"levels[{i}]: "
                    break
            message = f"{place}: {path}{error.message}"
            raise SpecError(message, hint=error.hint) from error


def _read_arch(root: Field) -> _Draft:
    words = {key.text_or_empty() for key, _ in root.entries()} if root.is_mapping else set()
    if "architecture" in words and "levels" not in words:
        message = f"{root.where}: read `architecture`, as in a Timeloop file, expected name, source, levels, arithmetic"
        raise SpecError(message, hint="convert it: quantloom import timeloop FILES -o DIR")
    record = root.record(_TOP_KEYS, "a mapping with the keys name, source, levels, arithmetic")
    name = record.required("name", "the accelerator's name")
    source = record.required("source", "where the numbers come from, as text")
    levels_field = record.required("levels", "a list of levels, from DRAM inwards")
    arithmetic_field = record.required("arithmetic", "the units that multiply and add")
    vocabulary = Vocabulary(
        dims=_read_words(record, "dims", _DIMS),
        tensors=_read_words(record, "tensors", _TENSORS),
    )
    level_fields = _level_fields(levels_field)
    levels = []
    constraints = []
    for field in level_fields:
        level_record = field.record(_LEVEL_KEYS, "a level: a mapping with name, word_bits, ...")
        levels.append(_read_level(level_record))
        constraints += read_level_keep(level_record, levels[-1].name, vocabulary)
    arithmetic = _read_arithmetic(arithmetic_field)
    if not len(root.problems):
        _check_names(levels, level_fields)
        _check_meshes(levels, level_fields, arithmetic, arithmetic_field)
    vocabulary = vocabulary.with_levels(levels, arithmetic)
    more, relax = read_constraints(record.optional("constraints"), vocabulary, constraints)
    return _Draft(
        name="" if name is None else name.name("the accelerator's name"),
        source="" if source is None else source.text("where the numbers come from, as text"),
        levels=levels,
        level_places=[field.where for field in level_fields],
        arithmetic=arithmetic,
        constraints=constraints + more,
        relax_indivisible_factors=relax,
    )


def _read_words(record: Record, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """The dims or tensors that constraints may name; those of convolutions unless the file lists its own."""
    found = record.optional(key)
    if found is None:
        return default
    return tuple(item.name() for item in found.items("a list of names"))


def _level_fields(levels: Field | None) -> list[Field]:
    if levels is None:
        return []
    fields = levels.items("a list of levels, from DRAM inwards")
    if levels.is_sequence and not 1 <= len(fields) <= MAX_LEVELS:
        levels.expected(f"1 to {MAX_LEVELS} levels")
    return fields


def _read_level(record: Record) -> _core.Level:
    technology = record.optional("technology")
    is_dram = technology is not None and technology.choice(("DRAM", "SRAM"), "technology") == "DRAM"
    block_words = record.integer("block_words", 1)
    mesh_x, mesh_y = _read_instances(record)
    cluster = record.optional("cluster_size")
    cluster_size = 1 if cluster is None else cluster.integer()
    if cluster is not None and cluster_size > mesh_x * mesh_y:
        cluster.expected(f"at most the level's {mesh_x * mesh_y} instances")
    bandwidth, in_bits = _read_bandwidth(record)
    packing = record.optional("packing")
    network = _read_network(record)
    energy_field = record.required("energy_pj", "a mapping with read, write (or fill and update) and source")
    energy = None if energy_field is None else energy_field.record(ENERGY_KEYS, "a mapping with read, write, source")
    address = None if energy is None else energy.optional("address")
    word_bits, capacity_words = _read_word_bits(record), _read_capacity(record, block_words, is_dram=is_dram)
    found = read_level_energy(
        energy,
        width_bits=word_bits * block_words * cluster_size,
        rows=-(-(capacity_words or 0) // block_words),
        cluster=cluster_size,
        is_dram=is_dram,
    )
    return _core.Level(
        name=_read_name(record, "the level's name"),
        word_bits=word_bits,
        block_words=block_words,
        cluster_size=cluster_size,
        capacity_words=capacity_words,
        instances=mesh_x * mesh_y,
        mesh_x=mesh_x,
        mesh_y=mesh_y,
        read_bandwidth=bandwidth["read"],
        write_bandwidth=bandwidth["write"],
        shared_bandwidth=bandwidth["shared"],
        is_dram=is_dram,
        energy=found.access,
        address_energy_pj=None if address is None else address.number(),
        hop_energy_pj=0.0 if energy is None else energy.number("hop", 0.0),
        router_energy_pj=0.0 if energy is None else energy.number("router", 0.0),
        leak_energy_pj=0.0 if energy is None else energy.number("leak_per_cycle", 0.0),
        area_um2=record.number("area_um2", found.area_um2),
        bandwidth_in_bits=in_bits,
        packing=None if packing is None else packing.choice(_PACKINGS, "packing"),
        multicast=network["multicast"],
        reduction=network["reduction"],
        forwarding=network["forwarding"],
        adder_energy_pj=0.0 if energy is None else energy.number("adder", 0.0),
        idle_energy_pj=0.0 if energy is None else energy.number("idle_per_cycle", 0.0),
    )


def _read_network(record: Record) -> dict[str, bool]:
    """What the network to the next inner level can do; by default it multicasts and adds up, and nobody forwards."""
    network = {"multicast": True, "reduction": True, "forwarding": False}
    found = record.optional("network")
    if found is None:
        return network
    fields = found.record(tuple(network), "a mapping with multicast, reduction or forwarding")
    for key, default in network.items():
        value = fields.optional(key)
        network[key] = default if value is None else value.boolean()
    return network


def _read_name(record: Record, what: str) -> str:
    found = record.required("name", what)
    return "" if found is None else found.name(what)


def _read_word_bits(record: Record) -> int:
    found = record.required("word_bits", "the bits of one word")
    return 1 if found is None else found.integer(maximum=MAX_WORD_BITS)


def _read_capacity(record: Record, block_words: int, *, is_dram: bool) -> int | None:
    """Words for each instance, None for no limit; only DRAM may leave it out."""
    found = record.optional("capacity_words")
    if found is None:
        if not is_dram:
            record.required("capacity_words", "the words of one instance, or `unlimited`")
        return None
    if found.text_or_empty() == "unlimited":
        return None
    words = found.integer()
    if words < block_words:
        found.expected(f"at least one block, {block_words} words")
    return words


def _read_instances(record: Record) -> tuple[int, int]:
    """`instances: 14`, or on a grid `instances: {x: 14, y: 12}`; as (x, y)."""
    found = record.optional("instances")
    if found is None:
        return 1, 1
    if found.is_mapping:
        grid = found.record(("x", "y"))
        return grid.integer("x", 1, maximum=MAX_MESH), grid.integer("y", 1, maximum=MAX_MESH)
    if found.is_sequence:
        found.expected("a number, or x and y such as {x: 14, y: 12}")
        return 1, 1
    return found.integer(maximum=MAX_MESH), 1


def _read_bandwidth(record: Record) -> tuple[dict[str, float | None], bool]:
    """read, write and shared bandwidth, and whether they are in bits rather than words per cycle."""
    bandwidth: dict[str, float | None] = {"read": None, "write": None, "shared": None}
    words, bits = record.optional("bandwidth_words_per_cycle"), record.optional("bandwidth_bits_per_cycle")
    if words is not None and bits is not None:
        bits.fail("given beside `bandwidth_words_per_cycle`; expected one of the two")
    found = words if bits is None else bits
    if found is None:
        return bandwidth, False
    fields = found.record(tuple(bandwidth), "a mapping with read, write or shared")
    for key in bandwidth:
        value = fields.optional(key)
        bandwidth[key] = None if value is None else value.number(above=True)
    return bandwidth, bits is not None


def _read_arithmetic(field: Field | None) -> _core.Arithmetic:
    if field is None:
        return _core.Arithmetic(name="", instances=1, mesh_x=1, mesh_y=1, word_bits=1, energy_pj=0.0)
    record = field.record(_ARITHMETIC_KEYS, "a mapping with name, word_bits, instances, energy_pj")
    mesh_x, mesh_y = _read_instances(record)
    what = "a mapping with mac (pJ of one multiply-accumulate) and source"
    energy_field = record.required("energy_pj", what)
    energy_pj, energy_source, area_um2, leak, idle = 0.0, "", 0.0, 0.0, 0.0
    word_bits = _read_word_bits(record)
    if energy_field is not None:
        energy = energy_field.record(MAC_ENERGY_KEYS, what)
        energy_pj, energy_source, area_um2 = read_mac_energy(energy, word_bits)
        leak, idle = energy.number("leak_per_cycle", 0.0), energy.number("idle_per_cycle", 0.0)
    return _core.Arithmetic(
        name=_read_name(record, "the units' name"),
        instances=mesh_x * mesh_y,
        mesh_x=mesh_x,
        mesh_y=mesh_y,
        word_bits=word_bits,
        energy_pj=energy_pj,
        energy_source=energy_source,
        area_um2=record.number("area_um2", area_um2),
        mac_table=read_precision(record.optional("precision"), word_bits, energy_pj),
        psum_bits=record.integer("psum_bits", 0, maximum=MAX_PSUM_BITS),
        leak_energy_pj=leak,
        idle_energy_pj=idle,
    )


def _check_names(levels: list[_core.Level], fields: list[Field]) -> None:
    lines: dict[str, int] = {}
    for level, field in zip(levels, fields, strict=True):
        if level.name in lines:
            field.fail(f"a second level named {show(level.name)}, the first is on line {lines[level.name]}")
        lines.setdefault(level.name, field.line)


def _check_meshes(
    levels: list[_core.Level], fields: list[Field], arithmetic: _core.Arithmetic, arithmetic_field: Field | None
) -> None:
    """The instances of a level must spread evenly below those of the next outer level, on x and on y."""
    inner: list[tuple[_core.Level | _core.Arithmetic, Field | None]] = [
        *zip(levels[1:], fields[1:], strict=True),
        (arithmetic, arithmetic_field),
    ]
    for outer, (unit, field) in zip(levels, inner, strict=False):
        for axis, count, above in (("x", unit.mesh_x, outer.mesh_x), ("y", unit.mesh_y, outer.mesh_y)):
            if count % above != 0 and field is not None:
                field.fail(
                    f"{count} instances on {axis} cannot spread evenly below the {above} of {show(outer.name)}",
                    "levels are written from DRAM inwards; each needs a multiple of the next outer level's instances",
                )
