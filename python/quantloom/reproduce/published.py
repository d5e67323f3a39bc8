"""What arXiv 2404.05368 (DDECS 2024) and its released material say, as far as it could be read; see ddecs2024.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from quantloom._core import Workload
from quantloom.workload.layer import conv_workload

__all__ = ["Committed", "Published", "published"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """Totals over 28 layers of what the authors' random-pruned searches found: activations of 8 bits.

    constraints: those that the searches ran under, "all" or "architecture". Six digits for each layer.
    """

    arch: str
    constraints: str
    weight_bits: int
    energy_uj: float
    cycles: int
    sum_edp_j_cycles: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """dense, exact: the 28 layers behind the committed outputs, depthwise ones as dense or as they are.

    valid_layer_2, remembered: valid mappings of MobileNetV1's second layer on Eyeriss by bits, counted apart from both
    tools, and as remembered from the paper. valid: the same for every layer at uniform bits.
    """

    dense: tuple[Workload, ...]
    exact: tuple[Workload, ...]
    valid_layer_2: Mapping[str, int]
    remembered: Mapping[str, int]
    valid: tuple[Mapping[str, int], ...]
    committed: tuple[Committed, ...]


@cache
def published() -> Published:
    """Read the shipped file."""
    text = (files("quantloom.reproduce") / "ddecs2024.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)  # Any: plain values of JSON
    rows = [dict(zip(data["layers"]["columns"], row, strict=True)) for row in data["layers"]["rows"]]
    counts = data["valid_mappings"]
    return Published(
        dense=tuple(_layer(i, row, is_exact=False) for i, row in enumerate(rows, start=1)),
        exact=tuple(_layer(i, row, is_exact=True) for i, row in enumerate(rows, start=1)),
        valid_layer_2=counts["layer_2"],
        remembered=counts["remembered"],
        valid=tuple(counts["layers"]),
        committed=tuple(Committed(**row) for row in data["committed"]["rows"]),
    )


def _layer(position: int, row: Mapping[str, int], *, is_exact: bool) -> Workload:
    """A row of the list. In MobileNet every square kernel but the first layer's is depthwise."""
    is_depthwise = is_exact and row["R"] > 1 and position > 1
    return conv_workload(
        f"layer {position}",
        inputs=row["C"],
        outputs=row["M"],
        output_size=(
            (row["H"] + 2 * row["Hpad"] - row["S"]) // row["Hstride"] + 1,
            (row["W"] + 2 * row["Wpad"] - row["R"]) // row["Wstride"] + 1,
        ),
        kernel=(row["S"], row["R"]),
        stride=(row["Hstride"], row["Wstride"]),
        groups=row["C"] if is_depthwise else 1,
    )
