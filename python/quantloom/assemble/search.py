"""The whole joint search in one call: network, data, cost table and sensitivities put together, then searched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantloom.assemble.network_and_data import DEMO, Progress, load_network_and_data
from quantloom.errors import SearchError

if TYPE_CHECKING:
    from quantloom._core import Arch
    from quantloom.joint_search.config import AccuracyMethod, SearchConfig
    from quantloom.joint_search.front import Front
    from quantloom.joint_search.problem import AccuracyEvaluator
    from quantloom.joint_search.run import SearchInputs
    from quantloom.mapper.table import CostTable
    from quantloom.quant.data import DataSplits
    from quantloom.quant.ptq import PtqConfig, PtqEvaluator
    from quantloom.quant.sensitivity import FisherTable
    from quantloom.store.database import Store
    from quantloom.workload.from_torch import TracedModel
    from quantloom.workload.network import Network

__all__ = ["Measured", "demo_config", "prepare", "prepare_accuracies", "search", "with_bits", "with_method"]

_SENSITIVITY_IMAGES = 128
_DEMO_EVALUATIONS: Final = 160


def search(
    config: SearchConfig,
    *,
    directory: Path | str | None = None,
    resume: bool = False,
    threads: int | None = None,
    workers: int = 1,
    cluster: str | None = None,
    command: Sequence[str] = (),
    store: Store | None = None,
    progress: Progress | None = None,
) -> Front:
    """Search the bits of every tensor, each with its best mappings, and return the front.

    config: what to search; bits it leaves open are one width for each packing class of the accelerator, the way to
    measure accuracies that it leaves open is that of with_method(). directory: where the run is kept, None to keep
    nothing; resume: go on with the run in it. threads: of the mapper and of torch, None for all cores, shared among
    workers. workers: processes that measure accuracies; cluster: address of a Dask scheduler whose workers do, each
    with all cores it has. command: the command line, for the manifest. store: where earlier results are looked up and
    new ones kept. The result depends on none of these.
    Raises QuantloomError of the part that fails: ArchError, WorkloadError, QuantError, DataError, SearchError.
    """
    from quantloom.assemble.trained_rungs import SwitchableMaker
    from quantloom.joint_search.run import run_search
    from quantloom.spec.arch import load_arch

    if workers < 1:
        message = f"workers must be at least 1, got {workers}"
        raise SearchError(message, hint="1 measures in this process")
    arch = load_arch(config.arch)
    chosen = with_method(with_bits(config, arch))
    cores = threads or len(os.sched_getaffinity(0))
    inputs = prepare(chosen, arch, threads=cores, store=store, progress=progress)
    per_worker = None if cluster is not None else max(1, cores // workers)  # other machines have other cores
    inputs = replace(inputs, make_evaluator=_EvaluatorMaker(chosen, per_worker))
    if inputs.switchable is not None:
        elsewhere = partial(SwitchableMaker, chosen, per_worker)
        inputs = replace(inputs, switchable=replace(inputs.switchable, elsewhere=elsewhere))
    return run_search(
        chosen,
        inputs,
        directory=None if directory is None else Path(directory),
        resume=resume,
        command=command,
        workers=workers,
        cluster=cluster,
        store=store,
        progress=progress,
    )


@dataclass(frozen=True, slots=True)
class _EvaluatorMaker:
    """Makes in another process the evaluator of prepare(). threads: of torch there; None: all its cores."""

    config: SearchConfig
    threads: int | None

    def __call__(self) -> AccuracyEvaluator:
        """Read the network and the data, and calibrate."""
        from quantloom.quant.ptq import PtqEvaluator

        config = self.config
        threads = self.threads or len(os.sched_getaffinity(0))
        traced, data = load_network_and_data(
            config.model, checkpoint=config.checkpoint, data=config.data, threads=threads
        )
        return PtqEvaluator(traced, data, rounds=config.accuracy_method == "rounded+bn")


def demo_config() -> SearchConfig:
    """Return the settings of the search that works with what comes with quantloom."""
    from quantloom.demo import DEMO_MODEL
    from quantloom.joint_search.config import SearchConfig

    return SearchConfig(model=DEMO_MODEL, arch="eyeriss", data=DEMO, checkpoint=DEMO, evaluations=_DEMO_EVALUATIONS)


def with_bits(config: SearchConfig, arch: Arch) -> SearchConfig:
    """The configuration with the bits that it leaves open: one width for each packing class of the accelerator."""
    from quantloom.mapper.table import packing_class_bits

    classes = packing_class_bits(arch)
    return replace(
        config,
        weight_bits=config.weight_bits or classes,
        activation_bits=config.activation_bits or classes,
    )


def with_method(config: SearchConfig) -> SearchConfig:
    """The configuration with the way to measure accuracies that it leaves open: the best cheap one of docs/accuracy.md.

    That is `switchable+bn`. The demo's weights were trained with random bits, so they are switchable as they come.
    """
    best: AccuracyMethod = "ptq+bn" if config.checkpoint == DEMO else "switchable+bn"
    return replace(config, accuracy_method=config.accuracy_method or best)


def prepare(
    config: SearchConfig, arch: Arch, *, threads: int, store: Store | None = None, progress: Progress | None = None
) -> SearchInputs:
    """Load, solve and calibrate everything; bits and accuracy method of the configuration must be given. store: of
    mapper results and accuracies.

    Raises the errors of every part: WorkloadError, UnsupportedOpError, QuantError, DataError, MappingError.
    """
    from quantloom.assemble.trained_rungs import RungMakers

    report = progress or _no_progress
    traced, data = load_network_and_data(
        config.model, checkpoint=config.checkpoint, data=config.data, threads=threads, progress=report
    )
    costs = _cost_table(config, arch, traced, threads, store, report)
    measured = _calibrated(config, traced, data, None, threads, store, report)
    inputs = measured.inputs(config, arch, costs)
    makers = RungMakers(config, traced, data, measured.evaluator, measured.depends_on)
    if config.accuracy_method == "switchable+bn":
        inputs = replace(inputs, switchable=makers.switchable())
    return replace(inputs, trained=makers.promotion()) if config.promote else inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A network with what measures the accuracies of its bits: the same for all accelerators and ways to count costs.

    hashes: of what the accuracies depend on; depends_on: as SearchInputs.accuracy_depends_on, None without a store, or
    where nobody knows whether the data are still the same.
    """

    network: Network
    evaluator: PtqEvaluator
    sensitivity: FisherTable | None
    data: str
    hashes: Mapping[str, str]
    depends_on: Mapping[str, str] | None

    def inputs(self, config: SearchConfig, arch: Arch, costs: CostTable) -> SearchInputs:
        """What a search on an accelerator works with. costs: of the network's layers, however these are taken."""
        from quantloom.joint_search.run import SearchInputs
        from quantloom.spec.arch import find_arch

        return SearchInputs(
            network=self.network,
            arch=arch,
            costs=costs,
            evaluator=self.evaluator,
            sensitivity=self.sensitivity,
            data=self.data,
            hashes={"arch": hashlib.sha256(find_arch(config.arch).read_bytes()).hexdigest(), **self.hashes},
            accuracy_depends_on=self.depends_on,
        )


def prepare_accuracies(
    config: SearchConfig,
    *,
    ptq: PtqConfig | None = None,
    threads: int,
    store: Store | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Load and calibrate the network; no accelerator is looked at. ptq: on how many images, None for the defaults.
    store: where accuracies will be kept.

    Raises WorkloadError, UnsupportedOpError, QuantError, DataError, SearchError.
    """
    report = progress or _no_progress
    traced, data = load_network_and_data(
        config.model, checkpoint=config.checkpoint, data=config.data, threads=threads, progress=report
    )
    return _calibrated(config, traced, data, ptq, threads, store, report)


def _calibrated(
    config: SearchConfig,
    traced: TracedModel,
    data: DataSplits,
    ptq: PtqConfig | None,
    threads: int,
    store: Store | None,
    progress: Progress,
) -> Measured:
    progress(0, 0, "calibrating the quantized network")
    import torch

    from quantloom.quant.data import spread_images
    from quantloom.quant.fingerprint import fingerprint_of
    from quantloom.quant.ptq import PtqEvaluator
    from quantloom.quant.sensitivity import fisher_table

    evaluator = PtqEvaluator(traced, data, config=ptq, rounds=config.accuracy_method == "rounded+bn")
    sensitivity = None
    if config.seeds:
        # sums in torch differ in the last digits with the number of threads; seeds and their certificates must not
        torch.set_num_threads(1)
        sensitivity = fisher_table(evaluator.network, *spread_images(data.train, _SENSITIVITY_IMAGES))
        torch.set_num_threads(threads)
    fingerprint = fingerprint_of(data)
    hashes = _hashes(traced, fingerprint or hashlib.sha256(data.description.encode()).hexdigest())
    return Measured(
        network=traced.network,
        evaluator=evaluator,
        sensitivity=sensitivity,
        data=data.description,
        hashes=hashes,
        depends_on=None if store is None or fingerprint is None else _accuracy_depends_on(hashes, traced, evaluator),
    )


def _cost_table(
    config: SearchConfig, arch: Arch, traced: TracedModel, threads: int, store: Store | None, progress: Progress
) -> CostTable:
    from quantloom.mapper.table import cost_table

    chosen = {*(config.weight_bits or ()), *(config.activation_bits or ()), *config.rules.bits}
    fixed = {bits for bits in (config.input_bits, config.output_bits) if bits is not None}

    def report(done: int, total: int, layer: str) -> None:
        progress(done, total, f"mapping {layer}")

    costs = cost_table(
        traced.network,
        arch,
        bits=tuple(sorted(chosen | fixed)),
        objective=config.mapping_objective,
        model=config.cost_model,
        threads=threads,
        store=store,
        progress=report,
    )
    costs.check_answered()
    return costs


def _hashes(traced: TracedModel, data: str) -> dict[str, str]:
    """SHA-256 of what accuracies depend on besides the configuration. data: that of the data."""
    from quantloom.spec.network import dump_network

    weights = hashlib.sha256()
    for name, tensor in traced.graph_module.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "network": hashlib.sha256(dump_network(traced.network).encode()).hexdigest(),
        "weights": weights.hexdigest(),
        "data": data,
    }


def _accuracy_depends_on(hashes: Mapping[str, str], traced: TracedModel, evaluator: PtqEvaluator) -> dict[str, str]:
    """All that accuracies depend on besides the bits. hashes: those of _hashes()."""
    import torch

    graph = f"{traced.graph_module}\n{traced.graph_module.code}"
    return {
        **{name: hashes[name] for name in ("network", "weights", "data")},
        "model": traced.network.name,
        "graph": hashlib.sha256(graph.encode()).hexdigest(),
        "evaluator": evaluator.name,
        "settings": f"{evaluator.config} {evaluator.network.scheme}",
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _no_progress(done: int, total: int, text: str) -> None:
    """Say nothing."""
