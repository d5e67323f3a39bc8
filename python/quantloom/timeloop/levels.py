"""From elements to levels and units; the rules are those of the reference (docs/timeloop.md lists them)."""

from __future__ import annotations

from quantloom import _core
from quantloom.spec.reader import show
from quantloom.timeloop.documents import Notes
from quantloom.timeloop.elements import Element
from quantloom.timeloop.energies import Energies, StorageSize

__all__ = ["build_arithmetic", "build_level"]

_DEFAULT_WORD_BITS = 16
_WORD_BITS = ("word-bits", "word_bits", "word-width", "word_width", "datawidth")
_BLOCK = ("block-size", "block_size", "n_words", "n-words")
_CLUSTER = ("cluster-size", "cluster_size")
_WIDTH = ("width", "memory_width")
_DEPTH = ("depth", "memory_depth")


def build_level(element: Element, energies: Energies, notes: Notes) -> _core.Level:
    """The level of a storage element or of a fanout; mistakes are noted at its attributes."""
    if element.kind == "fanout":
        return _fanout_level(element)
    attributes = element.attributes
    word_bits = attributes.count(*_WORD_BITS)
    if word_bits is None:
        notes.assume(f"{element.name}: words of {_DEFAULT_WORD_BITS} bits, as the file does not say", element.field)
        word_bits = _DEFAULT_WORD_BITS
    is_dram = "dram" in element.class_name.casefold()
    block, cluster = _block_and_cluster(element, word_bits)
    words = None if is_dram else _capacity(element, word_bits, block, notes)
    x, y = _mesh(element)
    if cluster > x * y:
        field = attributes.find(*_CLUSTER) or element.field
        field.expected(f"at most the level's {x * y} instances")
        cluster = 1
    size = StorageSize(
        word_bits=word_bits, block_words=block, cluster_size=cluster, capacity_words=words, is_dram=is_dram
    )
    found = energies.of_storage(element, size)
    half = _half_of_bandwidth(element, notes)
    return _core.Level(
        name=element.name,
        word_bits=min(word_bits, 4096),
        block_words=block,
        cluster_size=cluster,
        capacity_words=words,
        instances=x * y,
        mesh_x=x,
        mesh_y=y,
        read_bandwidth=_bandwidth(element, "read") or half,
        write_bandwidth=_bandwidth(element, "write") or half,
        shared_bandwidth=_bandwidth(element, "shared"),
        is_dram=is_dram,
        energy=found.access,
        address_energy_pj=attributes.number("addr_gen_energy", "addr-gen-energy"),
        hop_energy_pj=attributes.number("energy_per_hop", "energy-per-hop") or 0.0,
        router_energy_pj=attributes.number("router_energy", "router-energy") or 0.0,
        leak_energy_pj=found.leak_pj,
        area_um2=found.area_um2,
    )


def build_arithmetic(element: Element, energies: Energies, notes: Notes) -> _core.Arithmetic:
    """The units of an arithmetic element."""
    word_bits = element.attributes.count("datawidth", "word-bits", "word_bits", "multiplier_width", "width")
    if word_bits is None:
        notes.assume(f"{element.name}: operands of {_DEFAULT_WORD_BITS} bits, as the file does not say", element.field)
        word_bits = _DEFAULT_WORD_BITS
    x, y = _mesh(element)
    energy_pj, source, leak, area = energies.of_arithmetic(element, word_bits)
    return _core.Arithmetic(
        name=element.name,
        instances=x * y,
        mesh_x=x,
        mesh_y=y,
        word_bits=word_bits,
        energy_pj=energy_pj,
        energy_source=source,
        area_um2=area,
        leak_energy_pj=leak,
    )


def _fanout_level(element: Element) -> _core.Level:
    x, y = _mesh(element)
    source = "holds nothing: " + (
        "no entries" if element.container is None else f"the fanout of container {element.container}"
    )
    return _core.Level(
        name=element.name,
        word_bits=1,
        capacity_words=1,
        instances=x * y,
        mesh_x=x,
        mesh_y=y,
        energy=_core.AccessEnergy(
            read_pj=0, fill_pj=0, update_pj=0, read_source=source, fill_source=source, update_source=source
        ),
    )


def _block_and_cluster(element: Element, word_bits: int) -> tuple[int, int]:
    """Words of a block and instances of a cluster; what is not given follows from the width of an access."""
    attributes = element.attributes
    block, cluster = attributes.count(*_BLOCK), attributes.count(*_CLUSTER)
    width_field = attributes.find(*_WIDTH)
    width = attributes.count(*_WIDTH)
    if width is None or width_field is None:
        return block or 1, cluster or 1
    unit = word_bits * (block or 1)
    if width % unit:
        width_field.expected(f"a multiple of {unit} bits ({block or 1} words of {word_bits} bits)")
        return block or 1, cluster or 1
    if block is not None and cluster is not None:
        if word_bits * block * cluster != width:
            width_field.expected(f"{word_bits * block * cluster} bits: word bits x words of a block x cluster size")
        return block, cluster
    if block is not None:
        return block, width // unit
    if cluster is not None:
        return max(width // cluster // word_bits, 1), cluster
    return width // word_bits, 1


def _capacity(element: Element, word_bits: int, block: int, notes: Notes) -> int | None:
    """Words of one instance after multiple buffering; None where the file gives no size."""
    attributes = element.attributes
    entries, depth = attributes.count("entries", "size"), attributes.count(*_DEPTH)
    kilobytes = attributes.number("sizeKB", "size_KB")
    if entries is not None:
        words = entries
    elif depth is not None:
        words = depth * block
    elif kilobytes is not None:
        words = int(kilobytes * 8192) // word_bits
    else:
        notes.assume(f"{element.name}: unlimited, as the file gives no depth, entries or sizeKB", element.field)
        return None
    buffering = attributes.number("multiple-buffering", "multiple_buffering")
    if buffering:
        words = int(words / buffering)
    if words < block:
        field = attributes.find("entries", "size", *_DEPTH, "sizeKB") or element.field
        field.expected(f"room for at least one block of {block} words")
        return block
    return words


def _mesh(element: Element) -> tuple[int, int]:
    """Instances on x and y: what is not given follows from the total, all on x by default."""
    if element.mesh is not None:
        return element.mesh
    attributes, total = element.attributes, element.instances
    field_x, field_y = attributes.find("meshX", "mesh_x"), attributes.find("meshY", "mesh_y")
    x, y = attributes.count("meshX", "mesh_x"), attributes.count("meshY", "mesh_y")
    if x is None and y is None:
        return total, 1
    for field, given in ((field_x, x), (field_y, y)):
        if field is not None and given is not None and total % given:
            field.expected(f"a divisor of the {total} instances of {show(element.name)}")
            return total, 1
    if x is not None and y is not None and x * y != total:
        (field_y or element.field).expected(f"meshX x meshY = {total}, the instances of {show(element.name)}")
        return total, 1
    if x is None:
        return total // (y or 1), y or 1
    return x, total // x


def _half_of_bandwidth(element: Element, notes: Notes) -> float | None:
    """What the old attribute `bandwidth` leaves for reads and for writes, as Timeloop shares it."""
    given = element.attributes.number("bandwidth")
    if given:
        field = element.attributes.find("bandwidth")
        notes.assume(f"{element.name}: half of its `bandwidth` for reads, half for writes, as in Timeloop", field)
    return given / 2 if given else None


def _bandwidth(element: Element, what: str) -> float | None:
    """Words per cycle and instance, None for no limit."""
    value = element.attributes.number(f"{what}_bandwidth", f"{what}-bandwidth")
    return value or None
