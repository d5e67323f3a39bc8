"""Sizes and counts of mapspaces equal those of the reference tool, to the last mapping; see tests/golden/README.md."""

from __future__ import annotations

from math import prod

import pytest

from recorded_searches import PAPER, SEARCHES, SIZES, Record, name_of, paper_space, space_of


@pytest.mark.parametrize("record", SEARCHES, ids=name_of)
def test_exhaustive_searches(record: Record) -> None:
    space = space_of(record)
    assert list(space.sizes.values()) == list(record["mapspace"].values())
    assert space.factorizations == record["factorizations"]
    assert space.size() == prod(record["mapspace"].values())

    (thread,) = record["threads"]
    count = space.count(record["problem"]["bitwidths"] or {})
    assert count.considered == thread["considered"]
    assert count.valid == thread["valid"]
    assert count.invalid_fanout == thread["invalid_fanout"]
    assert count.invalid_capacity == thread["invalid_capacity_precheck"] + thread["invalid_capacity_full"]
    assert sum(count.invalid_capacity_by_level.values()) == count.invalid_capacity


@pytest.mark.parametrize("record", SIZES, ids=lambda record: f"{record['layer']}-{record['arch']}")
def test_sizes(record: Record) -> None:
    space = space_of(record)
    assert list(space.sizes.values()) == list(record["mapspace"].values())
    assert space.factorizations == record["factorizations"]


def test_valid_mappings_of_the_second_layer() -> None:
    layer = PAPER["layer2"]
    space = paper_space({"C": 32, "M": 32, "R": 3, "S": 3, "P": 112, "Q": 112, "stride": 1})
    assert space.size() == layer["index_space"] == 70_560
    settings = [
        dict(zip(("Inputs", "Weights", "Outputs"), map(int, key.split("/")), strict=True)) for key in layer["counts_X"]
    ]
    assert [count.valid for count in space.count_many(settings)] == list(layer["counts_X"].values())


@pytest.mark.parametrize("layer", PAPER["layers"].values(), ids=PAPER["layers"].keys())
def test_valid_mappings_of_every_layer(layer: Record) -> None:
    space = paper_space(layer["shape"])
    assert space.size() == layer["index_space"]
    counts = space.count_many([[int(bits)] * 3 for bits in layer["valid"]], threads=2)
    assert [count.valid for count in counts] == list(layer["valid"].values())
