"""The default cost model of the core equals a simulation that moves elements one by one, to the last integer."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .cases import random_case
from .compare import differences


@given(st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_core_equals_oracle(rng: Random) -> None:
    assert differences(random_case(rng)) == []


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_core_equals_oracle_on_fixed_cases(first: int) -> None:
    assert [seed for seed in range(first, first + 100) if differences(random_case(Random(seed)))] == []
