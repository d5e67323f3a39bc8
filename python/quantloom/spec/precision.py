"""The `precision` of arithmetic units in accelerator files: how energy and speed follow the bits of the operands.

First operand: the first input of a workload (`weights` of a layer); second: the widest other one (`inputs`).
"""

from __future__ import annotations

from fractions import Fraction

from quantloom import _core
from quantloom.errors import SpecError
from quantloom.spec.reader import Field, Record

__all__ = ["PRECISION_STYLES", "read_precision"]

PRECISION_STYLES = ("constant", "bit-scalable", "bit-serial", "table")

_KEYS = {
    "constant": (),
    "bit-scalable": ("brick_bits",),
    "bit-serial": ("serial", "lanes"),
    "table": ("weights_bits", "inputs_bits", "energy_pj", "macs_per_cycle", "source"),
}
_SERIAL = {"weights": "first", "inputs": "second", "both": "both"}
_MAX_BITS = 1024


def read_precision(found: Field | None, word_bits: int, energy_pj: float) -> _core.MacTable | None:
    """The table of a `precision` mapping, None if the units do not care for bits.

    word_bits: operands that `energy_pj`, the pJ of one multiply-accumulate, is meant for.
    """
    if found is None:
        return None
    every = ("style", *(key for keys in _KEYS.values() for key in keys))
    record = found.record(every, f"a mapping with style ({', '.join(PRECISION_STYLES)}) and its keys")
    style_field = record.required("style", f"one of {', '.join(PRECISION_STYLES)}")
    if style_field is None:
        return None
    style = style_field.choice(PRECISION_STYLES, "style of precision")
    for key in every[1:]:
        field = record.optional(key)
        if field is not None and key not in _KEYS[style]:
            field.fail(
                f"means nothing for the style {style}, which takes {', '.join(_KEYS[style]) or 'no further keys'}"
            )
    try:
        if style == "bit-scalable":
            brick = record.integer("brick_bits", 2, maximum=_MAX_BITS)
            return _core.MacTable.bit_scalable(word_bits=word_bits, brick_bits=brick, energy_pj=energy_pj)
        if style == "bit-serial":
            serial = record.optional("serial")
            name = "inputs" if serial is None else serial.choice(tuple(_SERIAL), "serial operand")
            lanes = record.integer("lanes", 0) if "lanes" in record else 0
            return _core.MacTable.bit_serial(
                word_bits=word_bits, serial=_SERIAL[name], lanes=lanes, energy_pj=energy_pj
            )
    except SpecError as error:
        found.fail(error.message, error.hint)
        return None
    return _read_table(record) if style == "table" else None


def _read_table(record: Record) -> _core.MacTable | None:
    rows = _read_widths(record, "weights_bits")
    columns = _read_widths(record, "inputs_bits")
    source = record.required("source", "where the numbers come from, as text")
    if source is not None:
        source.text("where the numbers come from, as text")
    energies = [cell.number() for cell in _read_grid(record, "energy_pj", "pJ of one MAC", rows, columns)]
    grid = _read_grid(record, "macs_per_cycle", "operations of one unit per cycle", rows, columns)
    rates = [_read_rate(cell) for cell in grid]
    size = len(rows) * len(columns)
    if not size or len(energies) != size or len(rates) != size:
        return None
    return _core.MacTable(first_bits=rows, second_bits=columns, energy_pj=energies, rate=rates)


def _read_widths(record: Record, key: str) -> list[int]:
    what = "a list of bit-widths, ascending, such as [2, 4, 8]"
    found = record.required(key, what)
    if found is None:
        return []
    widths = [item.integer(maximum=_MAX_BITS) for item in found.items(what)]
    if not widths or widths != sorted(set(widths)):
        found.expected(what)
        return []
    return widths


def _read_grid(record: Record, key: str, what: str, rows: list[int], columns: list[int]) -> list[Field]:
    shape = f"a list of {len(rows)} rows (weights_bits) of {len(columns)} numbers (inputs_bits): {what}"
    found = record.required(key, shape)
    if found is None or not rows or not columns:
        return []
    cells = [row.items(shape, length=len(columns)) for row in found.items(shape, length=len(rows))]
    return [cell for row in cells for cell in row]


def _read_rate(cell: Field) -> tuple[int, int]:
    """`4`, `0.5` or `1/5` operations per cycle, exactly."""
    what = "operations per cycle: a number above 0 or a fraction such as 1/5"
    try:
        rate = Fraction(cell.text_or_empty().strip())
    except (ValueError, ZeroDivisionError):
        cell.expected(what)
        return 1, 1
    if not rate > 0 or rate.numerator > 2**31 or rate.denominator > 2**31:
        cell.expected(what)
        return 1, 1
    return rate.numerator, rate.denominator
