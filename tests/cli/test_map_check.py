"""`quantloom map --check`: says how much was compared, and stops at a result that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from quantloom.mapper import certificate

LINE = ("map", "network.yaml", "--arch", "eyeriss", "--check", "200")


def test_checked_results_say_so(quantloom: Callable[..., Any]) -> None:
    assert "mappings compared apart from the search, none contradicts" in quantloom(*LINE).out
    [first, second] = quantloom(*LINE, "--json").json["layers"]
    assert first["check"]["compared"] > 0
    assert set(second["check"]) == {"compared", "is_complete"}


def test_a_wrong_result_is_an_error(quantloom: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    true_claim = certificate.claim_of
    monkeypatch.setattr(certificate, "claim_of", lambda best: replace(true_claim(best), space_size=7))
    result = quantloom(*LINE)
    assert result.code == 1
    assert "layer conv: the result does not pass its check: the space has" in result.err
