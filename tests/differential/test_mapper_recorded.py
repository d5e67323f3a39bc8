"""The mapper's optimum against what exhaustive searches of the reference tool found; see tests/golden/README.md."""

from __future__ import annotations

from typing import Any

import pytest

from quantloom import _core
from recorded_searches import SEARCHES, name_of, space_of

OBJECTIVES = {"edp": "edp", "energy": "energy", "delay": "cycles"}
BEST = {"edp": "edp", "energy": "energy", "delay": "cycles"}


@pytest.mark.parametrize("record", SEARCHES, ids=[f"{name_of(record)}-{record['metric']}" for record in SEARCHES])
def test_recorded_exhaustive_optimum(record: dict[str, Any]) -> None:
    space = space_of(record)
    [optimum] = _core.optimize(
        space.arch,
        space.workload,
        [record["problem"]["bitwidths"] or {}],
        objective=OBJECTIVES[record["metric"]],
        model="compat",
        threads=1,
    )
    recorded = record["best"][BEST[record["metric"]]]
    assert optimum.found
    assert optimum.certificate.exhausted
    assert optimum.certificate.lower_bound == optimum.objective
    assert optimum.objective == pytest.approx(recorded, rel=1e-9)
