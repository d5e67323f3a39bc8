"""The default cost model of the core equals a simulation that moves elements one by one, to the last integer."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .cases import mapped_case, random_case
from .compare import differences
from .records import Case, Tensor


@given(st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_core_equals_oracle(rng: Random) -> None:
    assert differences(random_case(rng)) == []


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_core_equals_oracle_on_fixed_cases(first: int) -> None:
    assert [seed for seed in range(first, first + 100) if differences(random_case(Random(seed)))] == []


def long_window(rng: Random) -> Case:
    """An input whose one rank is a sum of four dims: steps of several lengths meet, overlap in part and leave holes."""
    factors = [rng.randint(1, 9) for _ in range(4)]
    dims = dict(zip("ABCD", (rng.randint(2, 4) for _ in range(4)), strict=True))
    tensors = [
        Tensor("I", (tuple(zip("ABCD", factors, strict=True)),)),
        Tensor("O", ((("A", 1),), (("B", 1),)), is_output=True),
    ]
    return mapped_case(rng, dims, tensors)


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_core_equals_oracle_on_long_windows(first: int) -> None:
    assert [seed for seed in range(first, first + 100) if differences(long_window(Random(seed)))] == []
