"""Runs for the tests of the report: real mappings and costs of a few small layers, accuracies by formula."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from quantloom import cost_table, load_arch
from quantloom.joint_search.config import RivalName, SearchConfig
from quantloom.joint_search.run import SearchInputs, run_search
from quantloom.testing.toy_search import TOY_BITS, ToyEvaluator, toy_inputs
from quantloom.workload.network import BitAssignment

CONFIG = SearchConfig(model="toy", arch="eyeriss", evaluations=40, population=10, seeds=6)
HOSTILE = "$x_{$</script><img src=x onerror=alert(1)>&\u2028'\"@@DATA@@"
"""A name that would end a script, start another and break a template if it were not escaped."""


class StoppedError(Exception):
    """Stands for a search that was killed."""


class StoppingEvaluator(ToyEvaluator):
    """Raises StoppedError after 20 questions."""

    def accuracy(self, assignment: BitAssignment) -> float:
        """As of the toy, up to the end."""
        if len(self.asked) == 20:
            raise StoppedError
        return ToyEvaluator.accuracy(self, assignment)


def inputs(*, name: str = "toy", stops: bool = False) -> SearchInputs:
    """Three layers on Eyeriss; `name`: of the network, and in the names of layers and edges."""
    toy = toy_inputs(3)
    network = dataclasses.replace(
        toy.network,
        name=name,
        layers=tuple(dataclasses.replace(layer, name=f"{name} {layer.name}") for layer in toy.network.layers),
        edges=tuple(dataclasses.replace(edge, name=f"{name} {edge.name}") for edge in toy.network.edges),
    )
    arch = load_arch("eyeriss")
    kind = StoppingEvaluator if stops else ToyEvaluator
    return dataclasses.replace(
        toy,
        network=network,
        arch=arch,
        costs=cost_table(network, arch, bits=TOY_BITS, threads=1),
        evaluator=kind(toy.evaluator.sensitivity),
        data=f"data of {name}",
    )


def finished_run(directory: Path, *, name: str = "toy", compare: tuple[RivalName, ...] = (), seed: int = 0) -> Path:
    """A directory with a finished run; its picture is left empty by callers that need none."""
    run_search(
        dataclasses.replace(CONFIG, compare=compare, seed=seed),
        inputs(name=name),
        directory=directory,
        command=["quantloom", "search", name],
    )
    return directory


def stopped_run(directory: Path) -> Path:
    """A directory as a run leaves it that was killed after 20 evaluations."""
    try:
        run_search(CONFIG, inputs(stops=True), directory=directory)
    except StoppedError:
        return directory
    message = "the run was not stopped"
    raise AssertionError(message)
