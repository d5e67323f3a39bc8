"""The whole joint search in one call: network, data, cost table and sensitivities put together, then searched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quantloom.errors import SearchError

if TYPE_CHECKING:
    from torch import nn

    from quantloom._core import Arch
    from quantloom.joint_search.config import SearchConfig
    from quantloom.joint_search.front import Front
    from quantloom.joint_search.problem import AccuracyEvaluator
    from quantloom.joint_search.promotion import TrainedRung
    from quantloom.joint_search.run import SearchInputs
    from quantloom.mapper.table import CostTable
    from quantloom.quant.data import DataSplits
    from quantloom.quant.ladder import QatEvaluator
    from quantloom.quant.ptq import PtqConfig, PtqEvaluator
    from quantloom.quant.sensitivity import FisherTable
    from quantloom.quant.train import TrainConfig
    from quantloom.store.database import Store
    from quantloom.workload.from_torch import TracedModel
    from quantloom.workload.network import Network

__all__ = [
    "DEMO",
    "Measured",
    "Progress",
    "demo_config",
    "load_network_and_data",
    "prepare",
    "prepare_accuracies",
    "search",
    "with_bits",
]

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, text); a total of 0 is unknown."""

DEMO: Final = "demo"
"""As checkpoint or data of a configuration: what comes with quantloom."""

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

    config: what to search; bits it leaves open are one width for each packing class of the accelerator. directory:
    where the run is kept, None to keep nothing; resume: go on with the run in it. threads: of the mapper and of torch,
    None for all cores, shared among workers. workers: processes that measure accuracies; cluster: address of a Dask
    scheduler whose workers do, each with all cores it has. command: the command line, for the manifest. store: where
    earlier results are looked up and new ones kept. The result depends on none of these.
    Raises QuantloomError of the part that fails: ArchError, WorkloadError, QuantError, DataError, SearchError.
    """
    from quantloom.joint_search.run import run_search
    from quantloom.spec.arch import load_arch

    if workers < 1:
        message = f"workers must be at least 1, got {workers}"
        raise SearchError(message, hint="1 measures in this process")
    arch = load_arch(config.arch)
    chosen = with_bits(config, arch)
    cores = threads or len(os.sched_getaffinity(0))
    inputs = prepare(chosen, arch, threads=cores, store=store, progress=progress)
    per_worker = None if cluster is not None else max(1, cores // workers)  # other machines have other cores
    inputs = replace(inputs, make_evaluator=_EvaluatorMaker(chosen, per_worker))
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
        return PtqEvaluator(traced, data)


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


def prepare(
    config: SearchConfig, arch: Arch, *, threads: int, store: Store | None = None, progress: Progress | None = None
) -> SearchInputs:
    """Load, solve and calibrate everything; the bits of the configuration must be given. store: of mapper results
    and accuracies.

    Raises the errors of every part: WorkloadError, UnsupportedOpError, QuantError, DataError, MappingError.
    """
    report = progress or _no_progress
    traced, data = load_network_and_data(
        config.model, checkpoint=config.checkpoint, data=config.data, threads=threads, progress=report
    )
    costs = _cost_table(config, arch, traced, threads, store, report)
    measured = _calibrated(config, traced, data, None, threads, store, report)
    inputs = measured.inputs(config, arch, costs)
    if not config.promote:
        return inputs
    rung = _trained_rung(config, traced, data, measured.evaluator, inputs.accuracy_depends_on)
    return replace(inputs, trained=rung)


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

    evaluator = PtqEvaluator(traced, data, config=ptq)
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


def _trained_rung(
    config: SearchConfig,
    traced: TracedModel,
    data: DataSplits,
    evaluator: PtqEvaluator,
    depends_on: Mapping[str, str] | None,
) -> TrainedRung:
    from quantloom.joint_search.promotion import TrainedRung

    training = _promotion_training(config)
    settings = f"{training} {evaluator.network.scheme}"
    name = f"qat-{training.epochs}"
    return TrainedRung(
        name=name,
        here=lambda folder: _trainer(traced, data, training, folder),
        elsewhere=_TrainerMaker(config),
        depends_on=None if depends_on is None else {**depends_on, "evaluator": name, "settings": settings},
    )


def _promotion_training(config: SearchConfig) -> TrainConfig:
    """Its seed is not the search's, so that searches with other seeds share trainings."""
    from quantloom.quant.qat import QAT_DEFAULTS
    from quantloom.quant.train import TrainConfig

    return TrainConfig(**{**QAT_DEFAULTS, "epochs": config.promote_epochs})


def _trainer(traced: TracedModel, data: DataSplits, training: TrainConfig, folder: Path) -> QatEvaluator:
    """On one thread, as weights depend on their number and results must not."""
    from quantloom.quant.ladder import QatEvaluator

    return QatEvaluator(traced, data, training, folder=folder, threads=1)


@dataclass(frozen=True, slots=True)
class _TrainerMaker:
    """Makes in another process what trains promoted candidates."""

    config: SearchConfig

    def __call__(self, folder: Path) -> AccuracyEvaluator:
        """Read the network and the data. folder: where trainings stand, if this machine sees it."""
        config = self.config
        traced, data = load_network_and_data(config.model, checkpoint=config.checkpoint, data=config.data, threads=1)
        return _trainer(traced, data, _promotion_training(config), folder)


def load_network_and_data(
    model: str,
    *,
    checkpoint: str | None,
    data: str,
    threads: int,
    untrained: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[TracedModel, DataSplits]:
    """The traced network with its weights, and the data. untrained: a model of the zoo may come without a checkpoint;
    seed: of the weights that it then has.

    Raises WorkloadError, UnsupportedOpError, QuantError, DataError, or SearchError where there are no weights.
    """
    if model.partition(":")[0].endswith((".yaml", ".yml")):
        message = f"{model}: a network file has no weights, so its accuracy cannot be measured"
        hint = "give an ONNX file, a model of the zoo with a checkpoint, or package.module:function"
        raise SearchError(message, hint=hint)
    # torch's OpenMP reads this when it is loaded. Its threads otherwise spin while they wait for each other: on two
    # cores that other processes used too, one accuracy of the demo cost 10 s of CPU instead of 1 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    (progress or _no_progress)(0, 0, f"reading {model}")
    from quantloom.workload.load import find_model, find_onnx

    onnx_file = find_onnx(model)
    source = find_model(model) if onnx_file is None else None

    import torch

    from quantloom.quant.data import load_data
    from quantloom.workload.from_torch import trace
    from quantloom.workload.torch_models import build_model

    torch.set_num_threads(threads)
    splits = load_data(data)
    if onnx_file is not None:
        from quantloom.workload.onnx_module import module_from_onnx

        module, sample_shape = module_from_onnx(onnx_file.path, onnx_file.sizes)
        _load_weights(model, checkpoint, module, untrained=untrained)
        return trace(module, sample_shape, name=Path(onnx_file.path).stem), splits
    assert source is not None, "what is no ONNX file is a torch model"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = build_model(source.build, source.input_shape, source.name)
    shape = built.image_shape
    if shape is None:
        message = f"{source.name}: takes other inputs than one image, which the data sets do not have"
        raise SearchError(message, hint="return example inputs of one tensor, a batch of 1 first")
    _load_weights(model, checkpoint, built.module, untrained=untrained)
    return trace(built.module, shape, name=source.name), splits


def _load_weights(model: str, checkpoint: str | None, module: nn.Module, *, untrained: bool) -> None:
    from quantloom.quant.checkpoint import load_checkpoint
    from quantloom.zoo import MODEL_NAMES

    if checkpoint is not None:
        load_checkpoint(_weights_file(checkpoint), module)
    elif not untrained and model.partition(":")[0] in MODEL_NAMES:
        message = f"{model}: no checkpoint is given, and the models of the zoo come without weights"
        raise SearchError(message, hint="name a file of trained weights as `checkpoint`")


def _weights_file(checkpoint: str) -> Path:
    from quantloom.demo import CHECKPOINT_FILE, DEMO_DIR
    from quantloom.zoo.trained import PREFIX, trained_weights

    if checkpoint == DEMO:
        return DEMO_DIR / CHECKPOINT_FILE
    return trained_weights(checkpoint) if checkpoint.startswith(PREFIX) else Path(checkpoint)


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
