"""Timeloop problems: a shape (dims, coefficients, data spaces with projections) and an instance of it."""

from __future__ import annotations

from collections.abc import Mapping

from quantloom._core import TensorSpec, Workload
from quantloom.errors import QuantloomError
from quantloom.spec.reader import Field, Record, did_you_mean, show
from quantloom.timeloop.documents import Documents, Notes
from quantloom.workload.bits import MAX_BITS

__all__ = ["CONV_DIMS", "CONV_TENSORS", "OLD_OUTPUT_CHANNELS", "read_problem"]

CONV_DIMS = ("C", "M", "R", "S", "N", "P", "Q")
OLD_OUTPUT_CHANNELS = "K"  # what files before v0.4 call M
CONV_TENSORS = ("Weights", "Inputs", "Outputs")
_CONV_COEFFICIENTS = ("Wstride", "Hstride", "Wdilation", "Hdilation")
_CONV_NAMES = ("cnn-layer", "cnn_layer", "conv2d", "conv-2d", "cnn")
_GEMM_NAMES = ("gemm_abz", "gemm-abz")
_SHAPE_KEYS = ("name", "dimensions", "coefficients", "data-spaces", "data_spaces", "dataspaces", "version")
# What an instance may say beside its bounds and is of no consequence to a dense model.
_PADDING = ("H", "W", "Hpad", "Wpad", "HPad", "WPad", "padding")
MAX_BOUND = 1 << 31

_Projection = list[list[tuple[str, str | None]]]


def read_problem(documents: Documents, name: str) -> tuple[Workload, dict[str, int]] | None:
    """The workload of the `problem` section and its bits by tensor (empty: not given); None if absent or wrong."""
    section, named_shape = documents.one("problem"), documents.one("shape")
    if section is None:
        if named_shape is not None:
            named_shape.fail("a shape without a problem of this shape", "give the file with the bounds too")
        return None
    keys = {
        key.text_or_empty(): value for key, value in section.entries("a problem: a mapping with shape and instance")
    }
    is_nested = "instance" in keys
    if is_nested:
        section.record(("shape", "instance", "version", "name", "bitwidths"), "a problem")
    shape_field, instance = keys.get("shape"), keys.get("instance", section)
    if named_shape is not None and (shape_field is None or shape_field.is_text):
        shape_field = named_shape
    shape_name, dims, coefficients, tensors, output = _read_shape(shape_field, section, instance)
    named = keys.get("name")
    title = name if shape_field is None or shape_field.is_text else shape_name
    title = title if named is None else named.name()
    bounds = _read_instance(instance, dims, coefficients, documents.notes, is_nested=is_nested)
    widths_field = keys.get("bitwidths") or (_entry(instance, "bitwidths") if is_nested else None)
    bits = {} if widths_field is None else _read_bits(widths_field, tuple(tensors))
    if documents.has_problems:
        return None
    specs = [
        TensorSpec(
            tensor, [[(dim, coefficients[c] if c else 1) for dim, c in rank] for rank in ranks], tensor == output
        )
        for tensor, ranks in tensors.items()
    ]
    try:
        return Workload(title, [(dim, bounds[dim]) for dim in dims], specs), bits
    except QuantloomError as error:
        section.fail(error.message, error.hint)
        return None


def _entry(field: Field, key: str) -> Field | None:
    return next((value for name, value in field.entries() if name.text_or_empty() == key), None)


def _shape_by_name(
    field: Field | None, instance: Field
) -> tuple[str, tuple[str, ...], dict[str, int], dict[str, _Projection], str]:
    """A shape that Timeloop ships, by its name; the default is a convolution, with the letters of the instance."""
    name = "" if field is None else field.text_or_empty().casefold().removesuffix(".yaml")
    if name in _GEMM_NAMES:
        products = {"A": "MK", "B": "NK", "Z": "MN"}
        matrices: dict[str, _Projection] = {name: [[(dim, None)] for dim in dims] for name, dims in products.items()}
        return "layer", ("M", "N", "K"), {}, matrices, "Z"
    if field is not None and name not in _CONV_NAMES:
        field.expected(
            "a shape: a mapping with dimensions and data_spaces, or cnn_layer or gemm_ABZ",
            "give the file of the shape too",
        )
    is_old = _entry(instance, OLD_OUTPUT_CHANNELS) is not None and _entry(instance, "M") is None
    m = OLD_OUTPUT_CHANNELS if is_old else "M"
    ranks: dict[str, _Projection] = {
        "Weights": [[("C", None)], [(m, None)], [("R", None)], [("S", None)]],
        "Inputs": [
            [("N", None)],
            [("C", None)],
            [("R", "Wdilation"), ("P", "Wstride")],
            [("S", "Hdilation"), ("Q", "Hstride")],
        ],
        "Outputs": [[("N", None)], [(m, None)], [("Q", None)], [("P", None)]],
    }
    dims = tuple(m if dim == "M" else dim for dim in CONV_DIMS)
    return "layer", dims, dict.fromkeys(_CONV_COEFFICIENTS, 1), ranks, "Outputs"


def _read_shape(
    field: Field | None, section: Field, instance: Field
) -> tuple[str, tuple[str, ...], dict[str, int], dict[str, _Projection], str]:
    """(name, dims, coefficients by name, ranks by tensor, the tensor that is written)."""
    if field is None or field.is_text:
        return _shape_by_name(field, instance)
    record = field.record(_SHAPE_KEYS, "a shape: a mapping with name, dimensions, data_spaces")
    name_field = record.optional("name")
    dims_field = record.required("dimensions", "a list of dims")
    dims = () if dims_field is None else tuple(item.name("a dim") for item in dims_field.items("a list of dims"))
    coefficients = _read_coefficients(record)
    spaces = record.optional("data_spaces") or record.optional("dataspaces") or record.optional("data-spaces")
    tensors: dict[str, _Projection] = {}
    written: list[str] = []
    if spaces is None:
        record.required("data_spaces", "a list of data spaces, each with name and projection")
    else:
        for item in spaces.items("a list of data spaces"):
            _read_space(item, dims, coefficients, tensors, written)
    if spaces is not None and len(written) != 1:
        spaces.fail(
            f"{len(written)} data spaces are written ({', '.join(written) or 'none'}), expected one",
            "`read_write: true` marks the output",
        )
    return (
        "layer" if name_field is None or not name_field.text_or_empty() else name_field.name(),
        dims,
        coefficients,
        tensors,
        written[0] if written else "",
    )


def _read_coefficients(record: Record) -> dict[str, int]:
    field = record.optional("coefficients")
    found: dict[str, int] = {}
    for item in field.items("a list of coefficients, each with name and default") if field is not None else []:
        parts = item.record(("name", "default"), "a coefficient: a mapping with name, default")
        name = parts.required("name", "the coefficient's name")
        if name is not None:
            found[name.name()] = parts.integer("default", 1, maximum=MAX_BOUND)
    return found


def _read_space(
    item: Field,
    dims: tuple[str, ...],
    coefficients: Mapping[str, int],
    tensors: dict[str, _Projection],
    written: list[str],
) -> None:
    record = item.record(("name", "projection", "read-write", "read_write"), "a data space: name, projection")
    name_field, projection = record.required("name", "its name"), record.required("projection", "a list of ranks")
    if name_field is None or projection is None:
        return
    name = name_field.name("a data space's name")
    if name in tensors:
        name_field.fail(f"a second data space named {show(name)}")
    ranks: _Projection = []
    for rank in projection.items("a list of ranks, each a list of terms such as [[R], [P, Wstride]]"):
        terms: list[tuple[str, str | None]] = []
        if rank.is_text:  # [R] as a shorthand of [[R]]
            terms.append((_known_dim(rank, dims), None))
        for term in rank.items("a rank: a list of terms such as [[R], [P, Wstride]]") if not rank.is_text else []:
            parts = term.items("a term: [dim] or [dim, coefficient]") if term.is_sequence else [term]
            if not 1 <= len(parts) <= 2:
                term.expected("a term: [dim] or [dim, coefficient]")
                continue
            terms.append((_known_dim(parts[0], dims), _coefficient(parts[1:], coefficients)))
        ranks.append(terms)
    tensors[name] = ranks
    for key in ("read-write", "read_write"):
        flag = record.optional(key)
        if flag is not None and flag.boolean():
            written.append(name)


def _known_dim(field: Field, dims: tuple[str, ...]) -> str:
    dim = field.text_or_empty()
    if dim not in dims:
        field.fail(f"unknown dim {show(dim)}", did_you_mean(dim, dims, what="dimensions"))
    return dim


def _coefficient(fields: list[Field], known: Mapping[str, int]) -> str | None:
    if not fields:
        return None
    name = fields[0].text_or_empty()
    if name not in known:
        fields[0].fail(f"unknown coefficient {show(name)}", did_you_mean(name, tuple(known), what="coefficients"))
    return name


def _read_instance(
    field: Field, dims: tuple[str, ...], coefficients: dict[str, int], notes: Notes, *, is_nested: bool
) -> dict[str, int]:
    """Bounds of all dims; coefficients given here replace their defaults."""
    bounds: dict[str, int] = {}
    other = ("densities", "bitwidths", *(() if is_nested else ("shape", "version", "name")))
    for key, value in field.entries("an instance: a mapping from dims to bounds"):
        word = key.text_or_empty()
        if word in dims:
            bounds[word] = value.integer(maximum=MAX_BOUND)
        elif word in coefficients:
            coefficients[word] = value.integer(maximum=MAX_BOUND)
        elif word in _PADDING:
            notes.drop("input sizes and padding of the instance: the inputs are what the windows touch", key)
        elif word == "densities":
            notes.drop("densities: quantloom models dense workloads", key)
        elif word not in other:
            key.fail("unknown key", did_you_mean(word, (*dims, *coefficients), what="dims and coefficients"))
    missing = [dim for dim in dims if dim not in bounds]
    if missing:
        field.fail(f"no bound of {', '.join(missing)}, expected one of every dimension", "write 1 where there is none")
    return bounds


def _read_bits(field: Field, tensors: tuple[str, ...]) -> dict[str, int]:
    bits: dict[str, int] = {}
    for key, value in field.entries("a mapping from data spaces to bits"):
        tensor = key.text_or_empty()
        if tensor not in tensors:
            key.fail(f"unknown data space {show(tensor)}", did_you_mean(tensor, tensors, what="data spaces"))
        else:
            bits[tensor] = value.integer(maximum=MAX_BITS)
    return bits
