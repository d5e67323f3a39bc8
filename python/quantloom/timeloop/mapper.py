"""Timeloop's mapper settings: of them only the objective means something to an exact mapper."""

from __future__ import annotations

import re

from quantloom.spec.reader import did_you_mean, show
from quantloom.timeloop.documents import Documents

__all__ = ["read_mapper"]

_OBJECTIVES = {"edp": "edp", "energy": "energy", "delay": "cycles", "cycles": "cycles"}
_UNMATCHED = re.compile(r"last-level-accesses|accesses-\d+")  # metrics of Timeloop without a counterpart
_SETTINGS = (
    *("algorithm", "victory-condition", "timeout", "search-size", "num-threads", "live-status", "diagnostics"),
    *("log-stats", "log-oaves", "log-suboptimal", "log-all", "penalize-consecutive-bypass-fails", "sync-interval"),
    *("max-permutations-per-if-visit", "max-temporal-loops-in-a-mapping", "emit-whoop-nest", "version", "out-prefix"),
    *("log-oaves-mappings", "log-mappings-yaml", "log-mappings-verbose", "filter-revisits", "log-interval"),
    *("log-orojenesis-mappings", "log-all-mappings", "heartbeat", "template", "layout"),
    *("max-temporal-loops", "max-permutations", "random-seed", "seed", "num-trials", "report-format"),
)


def read_mapper(documents: Documents) -> str | None:
    """The objective of the `mapper` section in quantloom's words, None if it names none."""
    section = documents.one("mapper")
    if section is None:
        return None
    objective = None
    known = ("optimization-metrics", "optimization-metric", *_SETTINGS)
    for key, value in section.entries("mapper settings"):
        word = key.text_or_empty().replace("_", "-")
        if word in ("optimization-metrics", "optimization-metric"):
            metrics = value.items("a list of metrics") if value.is_sequence else [value]
            for metric in metrics:
                name = metric.text_or_empty().casefold()
                if _UNMATCHED.fullmatch(name.replace("_", "-")):
                    documents.notes.drop(f"the metric {show(name)}, which is no objective here", metric)
                elif name not in _OBJECTIVES:
                    hint = did_you_mean(name, tuple(_OBJECTIVES), what="metrics with a counterpart")
                    metric.fail(f"unknown metric {show(name)}", hint)
                elif objective is None:
                    objective = _OBJECTIVES[name]
                else:
                    documents.notes.drop(
                        "metrics after the first: ties are broken by the order of the mapspace", metric
                    )
        elif word not in known:
            key.fail("unknown key", did_you_mean(key.text_or_empty(), known, what="known settings"))
    documents.notes.drop("settings of the search: quantloom's mapper is exact and needs none", section)
    return objective
