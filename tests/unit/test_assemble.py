"""What a search is put together from: work done once, and only where it is of use."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import quantloom as ql
from quantloom.assemble import search as assemble
from quantloom.joint_search.config import SearchConfig
from quantloom.store.database import Store
from quantloom.testing.toy_search import toy_inputs

CONFIG = SearchConfig(model="toy", arch="eyeriss")


@pytest.mark.parametrize(
    ("options", "threads"),
    [({"cluster": "tcp://host:1"}, None), ({"workers": 2}, 3), ({}, 7)],
)
def test_workers_share_the_threads_of_this_machine_and_those_of_a_cluster_have_their_own(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], threads: int | None
) -> None:
    made = []
    monkeypatch.setattr(assemble, "prepare", lambda *args, **options: toy_inputs(3))
    monkeypatch.setattr("quantloom.joint_search.run.run_search", lambda config, inputs, **options: made.append(inputs))
    ql.search(CONFIG, threads=7, **options)
    assert made[0].make_evaluator.threads == threads


@pytest.mark.parametrize("has_store", [True, False])
def test_the_inputs_are_hashed_once_and_accuracies_keyed_only_for_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_store: bool
) -> None:
    calls = Counter[str]()

    def count(name: str) -> None:
        original = getattr(assemble, name)
        monkeypatch.setattr(assemble, name, lambda *args: calls.update([name]) or original(*args))

    count("_hashes")
    count("_accuracy_depends_on")
    monkeypatch.setattr(assemble, "_cost_table", lambda *args: toy_inputs(3).costs)
    config = replace(assemble.demo_config(), seeds=0, weight_bits=(8,), activation_bits=(8,))
    with Store.open(tmp_path / "s", note=pytest.fail) as store:
        found = assemble.prepare(config, ql.load_arch("eyeriss"), threads=1, store=store if has_store else None)
    assert calls == {"_hashes": 1, **({"_accuracy_depends_on": 1} if has_store else {})}
    assert found.hashes.keys() == {"arch", "network", "weights", "data"}
    assert (found.accuracy_depends_on is not None) == has_store
    if has_store:
        assert found.accuracy_depends_on["weights"] == found.hashes["weights"]
