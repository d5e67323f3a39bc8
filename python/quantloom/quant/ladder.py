"""The ladder: ways to tell which of two assignments is more accurate, from a table to full training.

A rung gives a score to an assignment; only the order of scores matters. Agreement is measured over assignments of one
bit budget, as otherwise every rung looks good: more bits are better, and all of them know that.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from quantloom.errors import DataError, QuantError
from quantloom.quant.data import DataSplits, spread_images
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.ptq import PtqConfig, PtqEvaluator, accuracy_of, check_fit
from quantloom.quant.qat import quantize_for, random_permutation, train_bits, train_switchable
from quantloom.quant.sensitivity import FisherTable, fisher_table
from quantloom.quant.train import TrainConfig, random_assignment
from quantloom.quant.training_state import StateFile
from quantloom.workload.from_torch import TracedModel
from quantloom.workload.network import BitAssignment, Network

__all__ = [
    "RUNGS",
    "FisherRung",
    "Measurement",
    "QatEvaluator",
    "Rung",
    "RungResult",
    "budget_assignments",
    "kendall",
    "make_rung",
    "measure",
    "results_of",
    "spearman",
]

RUNGS = ("fisher", "ptq", "ptq+bn", "rounded+bn", "switchable+bn", "qat-short", "qat")
"""From the cheapest to the one whose accuracies are reported."""

FloatArray = NDArray[np.float64]

_SENSITIVITY_IMAGES = 128


class Rung(Protocol):
    """One way to judge assignments; a higher score is better. The evaluators of accuracy are rungs."""

    name: str

    def accuracy(self, assignment: BitAssignment) -> float:
        """The score: an accuracy on the validation split, or what stands for it."""


class FisherRung:
    """Scores by the predicted rise of the loss: minus a sum of table entries, no forward pass."""

    name = "fisher"

    def __init__(self, table: FisherTable) -> None:
        self._table = table

    def accuracy(self, assignment: BitAssignment) -> float:
        """Minus the predicted rise of the loss, in nats."""
        return -self._table.predict(assignment)


class QatEvaluator:
    """Answers what accuracy an assignment has by training the network for it; equal questions give equal answers."""

    def __init__(
        self,
        traced: TracedModel,
        data: DataSplits,
        config: TrainConfig,
        *,
        name: str | None = None,
        folder: Path | None = None,
        threads: int | None = None,
    ) -> None:
        """config: of the training, which starts anew from the traced network. folder: if it exists, trainings keep
        there where they stand; they go on from it, and what is trained is not trained again. threads: of torch, on
        which the last digits depend; None for as many as it has. Raises DataError.
        """
        check_fit(traced, data)
        self._folder, self._threads = folder, threads
        self.name = f"qat-{config.epochs}" if name is None else name
        self._traced, self._data, self._config = traced, data, config
        self._trained: tuple[BitAssignment, QuantizedNetwork] | None = None

    def accuracy(self, assignment: BitAssignment) -> float:
        """Share of right answers on the validation split, 0..1. Raises QuantError if the assignment does not fit."""
        return self._accuracy(assignment, self._data.validation)

    def accuracy_test(self, assignment: BitAssignment) -> float:
        """Share of right answers on the test split, 0..1; for reports only."""
        return self._accuracy(assignment, self._data.test)

    def float_accuracy(self) -> float:
        """Share of right answers of the network that is not quantized, on the validation split."""
        return accuracy_of(QuantizedNetwork(self._traced), *spread_images(self._data.validation), batch=250)

    def float_accuracy_test(self) -> float:
        """Share of right answers of the network that is not quantized, on the test split."""
        return accuracy_of(QuantizedNetwork(self._traced), *spread_images(self._data.test), batch=250)

    def _accuracy(self, assignment: BitAssignment, split: Dataset[tuple[Tensor, int]]) -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads or before)
        try:
            return accuracy_of(self._train(assignment), *spread_images(split), batch=250)
        finally:
            torch.set_num_threads(before)

    def _train(self, assignment: BitAssignment) -> QuantizedNetwork:
        if self._trained is None or self._trained[0] != assignment:
            network = quantize_for(self._traced, self._data.train, [assignment])
            train_bits(network, self._data.train, self._config, state=self._state(assignment))
            self._trained = assignment, network
        return self._trained[1]

    def _state(self, assignment: BitAssignment) -> StateFile | None:
        if self._folder is None or not self._folder.is_dir():
            return None
        bits = hashlib.sha256(repr((assignment.weights, assignment.groups)).encode()).hexdigest()[:32]
        return StateFile(self._folder / f"{bits}.state")


def make_rung(
    name: str,
    traced: TracedModel,
    data: DataSplits,
    assignments: Sequence[BitAssignment],
    *,
    short: TrainConfig,
    full: TrainConfig,
    switchable: TrainConfig,
    switchable_widths: Sequence[int],
) -> Rung:
    """Prepare a rung of RUNGS for these assignments. Raises QuantError for an unknown name.

    switchable, switchable_widths: how shared weights are trained, and for which widths, ascending; the network's input
    and output have the widest in all of training, as those of a search have 8.
    """
    if name in ("qat-short", "qat"):
        return QatEvaluator(traced, data, full if name == "qat" else short, name=name)
    config = PtqConfig(validation_images=None)
    if name == "switchable+bn":
        widest = switchable_widths[-1]
        uniform = [BitAssignment.uniform(traced.network, bits) for bits in switchable_widths]
        network = quantize_for(traced, data.train, uniform)
        train_switchable(
            network,
            data.train,
            switchable,
            narrow=_with_ends(traced.network, uniform[0], widest),
            wide=uniform[-1],
            draw=lambda draws: _with_ends(
                traced.network, random_assignment(traced.network, switchable_widths, draws), widest
            ),
        )
        return PtqEvaluator(traced, data, config=config, trained=network)
    network = quantize_for(traced, data.train, assignments)
    if name == "fisher":
        return FisherRung(fisher_table(network, *spread_images(data.train, _SENSITIVITY_IMAGES)))
    if name in ("ptq", "ptq+bn", "rounded+bn"):
        return PtqEvaluator(
            traced,
            data,
            config=config,
            scheme=network.scheme,
            reestimates=name != "ptq",
            rounds=name == "rounded+bn",
        )
    message = f"unknown rung `{name}`"
    raise QuantError(message, hint=f"the rungs are {', '.join(RUNGS)}")


def _with_ends(network: Network, assignment: BitAssignment, bits: int) -> BitAssignment:
    """The assignment with these bits at the network's input and output."""
    ends = (network.input_group, network.output_group)
    groups = tuple(bits if group in ends else own for group, own in enumerate(assignment.groups))
    return replace(assignment, groups=groups)


def budget_assignments(network: Network, widths: Sequence[int], count: int, seed: int) -> list[BitAssignment]:
    """Different assignments that have the same widths in other places: as many of each width as evenly as possible."""
    generator = torch.Generator().manual_seed(seed)
    weights = [widths[i % len(widths)] for i in range(len(network.layers))]
    groups = [widths[i % len(widths)] for i in range(len(network.edge_groups))]
    found: dict[BitAssignment, None] = {}
    for _ in range(100 * count):
        found[random_permutation(network, weights, groups, generator)] = None
        if len(found) == count:
            return list(found)
    message = f"{network.name} has too few tensors for {count} different assignments of one budget"
    raise QuantError(message, hint="ask for fewer assignments or use more widths")


# ---- measuring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A rung's score of one assignment with one seed. cpu_s: CPU seconds. assignment: its number; -1: preparing."""

    rung: str
    seed: int
    assignment: int
    score: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RungResult:
    """What a rung costs and how it ranks. Lists have one entry for each of its seeds.

    prepare_s, cpu_s: CPU seconds once, and for one assignment. spearman, kendall: rank correlation with the mean over
    seeds of the top rung's scores; for the top rung itself with the mean over its other seeds.
    """

    rung: str
    prepare_s: float
    cpu_s: float
    spearman: list[float]
    kendall: list[float]


def measure(
    rungs: Sequence[tuple[str, int, Callable[[], Rung]]],
    assignments: Sequence[BitAssignment],
    journal: Path,
    *,
    settings: Mapping[str, object],
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Measurement]:
    """Score all assignments by all rungs, given as (name, seed, how to prepare it).

    Every score is appended to the journal (JSON lines) as it is made; what stands there is not made again. Raises
    DataError if the journal is corrupt or of other settings.
    """
    found = {(m.rung, m.seed, m.assignment): m for m in _read_journal(journal, settings)}
    total = len(rungs) * len(assignments)
    for name, seed, prepare in rungs:
        missing = [index for index in range(len(assignments)) if (name, seed, index) not in found]
        if not missing:
            continue
        rung = None
        for index in missing:
            if rung is None:
                began = time.process_time()
                rung = prepare()
                if (name, seed, -1) not in found:
                    once = Measurement(
                        rung=name, seed=seed, assignment=-1, score=0.0, cpu_s=time.process_time() - began
                    )
                    found[name, seed, -1] = _append(journal, once)
            began = time.process_time()
            score = rung.accuracy(assignments[index])
            cpu_s = time.process_time() - began
            made = Measurement(rung=name, seed=seed, assignment=index, score=score, cpu_s=cpu_s)
            found[name, seed, index] = _append(journal, made)
            if progress is not None:
                done = sum(key[2] >= 0 for key in found)
                progress(done, total, f"{name}, seed {seed}: {score:.4f}")
    return list(found.values())


def results_of(measurements: Sequence[Measurement], top: str) -> list[RungResult]:
    """Costs and rank correlations of all rungs, in the order of RUNGS; seeds that are not complete are left out.

    top: the rung that all are compared with. Raises QuantError if it was not measured.
    """
    tables: dict[str, dict[int, dict[int, float]]] = {}
    for item in measurements:
        if item.assignment >= 0:
            tables.setdefault(item.rung, {}).setdefault(item.seed, {})[item.assignment] = item.score
    count = max((len(row) for by_seed in tables.values() for row in by_seed.values()), default=0)
    whole = {
        rung: {seed: np.array([row[i] for i in sorted(row)]) for seed, row in by_seed.items() if len(row) == count}
        for rung, by_seed in tables.items()
    }
    scores = {rung: by_seed for rung, by_seed in whole.items() if by_seed}
    if top not in scores:
        message = f"no scores of the top rung `{top}`"
        raise QuantError(message, hint=f"measured are {', '.join(scores) or 'none'}")
    results = []
    for rung in sorted(scores, key=lambda name: RUNGS.index(name) if name in RUNGS else len(RUNGS)):
        pairs = []
        for seed, row in scores[rung].items():
            others = [other for key, other in scores[top].items() if rung != top or key != seed]
            if others:
                pairs.append((row, np.mean(others, axis=0)))
        once = [item.cpu_s for item in measurements if item.rung == rung and item.assignment < 0]
        each = [item.cpu_s for item in measurements if item.rung == rung and item.assignment >= 0]
        results.append(
            RungResult(
                rung=rung,
                prepare_s=statistics.fmean(once) if once else 0.0,
                cpu_s=statistics.fmean(each),
                spearman=[spearman(*pair) for pair in pairs],
                kendall=[kendall(*pair) for pair in pairs],
            )
        )
    return results


def spearman(first: FloatArray, second: FloatArray) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; NaN if either has no order at all."""
    ranks = [_ranks(values) for values in (first, second)]
    deviations = [values - values.mean() for values in ranks]
    norm = float(np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
    return float((deviations[0] * deviations[1]).sum()) / norm if norm else float("nan")


def kendall(first: FloatArray, second: FloatArray) -> float:
    """Kendall's rank correlation tau-b, which allows for ties; NaN if either has no order at all."""
    signs = [np.sign(np.subtract.outer(values, values)) for values in (first, second)]
    norm = float(np.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum()))
    return float((signs[0] * signs[1]).sum()) / norm if norm else float("nan")


def _ranks(values: FloatArray) -> FloatArray:
    below = (values[:, None] > values[None, :]).sum(1)
    equal = (values[:, None] == values[None, :]).sum(1)
    ranks: FloatArray = below + (equal - 1) / 2
    return ranks


def _append(journal: Path, item: Measurement) -> Measurement:
    with journal.open("a", encoding="utf-8") as stream:
        values = {key: getattr(item, key) for key in Measurement.__slots__}
        stream.write(json.dumps(values) + "\n")
    return item


def _read_journal(journal: Path, settings: Mapping[str, object]) -> Iterator[Measurement]:
    """What a journal holds; starts one if there is none. A last line that was cut off is made again."""
    if not journal.exists():
        journal.write_text(json.dumps({"settings": settings}) + "\n", encoding="utf-8")
    text = journal.read_text(encoding="utf-8")
    if not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        journal.write_text(text, encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            record = json.loads(line)
            if number == 1:
                if record["settings"] != json.loads(json.dumps(settings)):
                    message = f"{journal}:1: is a journal of other settings"
                    raise DataError(message, hint="give the settings of that run, or another directory")
                continue
            yield Measurement(**record)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            message = f"{journal}:{number}: cannot read this line: {error}"
            raise DataError(message, hint="delete the line, or the file to start anew") from error
