"""The rungs of the ladder that train, as a search uses them: for all candidates at once, and for promoted ones alone.

Both train on one thread, as weights depend on the number of threads and results must not.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantloom.assemble.network_and_data import Progress, load_network_and_data
from quantloom.errors import QuantError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.utils.data import Dataset

    from quantloom.joint_search.config import SearchConfig
    from quantloom.joint_search.problem import AccuracyEvaluator, SearchProblem
    from quantloom.joint_search.promotion import TrainedRung
    from quantloom.joint_search.switchable import SwitchableRung
    from quantloom.quant.data import DataSplits
    from quantloom.quant.ladder import QatEvaluator
    from quantloom.quant.ptq import PtqEvaluator
    from quantloom.quant.train import TrainConfig
    from quantloom.workload.from_torch import TracedModel
    from quantloom.workload.network import BitAssignment

__all__ = ["RungMakers", "SwitchableMaker", "draw_candidate"]


@dataclass(frozen=True, slots=True)
class RungMakers:
    """Makes the rungs of a search.

    evaluator: of the float network, quantized; depends_on: all but bits that its accuracies depend on, if it is known.
    """

    config: SearchConfig
    traced: TracedModel
    data: DataSplits
    evaluator: PtqEvaluator
    depends_on: Mapping[str, str] | None

    def switchable(self) -> SwitchableRung:
        """Weights trained once for all candidates; in this process they are measured with all its threads."""
        from quantloom.joint_search.switchable import SwitchableRung
        from quantloom.quant.data import length_of

        training, train = _switchable_training(self.config, self.data)
        images = f"{length_of(train)} images"
        return SwitchableRung(
            name="switchable+bn",
            train=self._train_switchable,
            here=lambda weights: _switchable_evaluator(self.traced, self.data, weights),
            elsewhere=lambda weights: SwitchableMaker(self.config, None, weights),
            depends_on=self._keyed("switchable+bn", f"{training} {images} {self.evaluator.config}"),
        )

    def promotion(self) -> TrainedRung:
        """Each promoted candidate trained for its own bits, from the float weights."""
        from quantloom.joint_search.promotion import TrainedRung

        training = _promotion_training(self.config)
        name = f"qat-{training.epochs}"
        return TrainedRung(
            name=name,
            here=lambda folder: _trainer(self.traced, self.data, training, folder),
            elsewhere=_TrainerMaker(self.config),
            depends_on=self._keyed(name, f"{training}"),
        )

    def _keyed(self, name: str, settings: str) -> Mapping[str, str] | None:
        if self.depends_on is None:
            return None
        return {**self.depends_on, "evaluator": name, "settings": f"{settings} {self.evaluator.network.scheme}"}

    def _train_switchable(self, problem: SearchProblem, folder: Path, progress: Progress) -> bytes:
        import torch

        from quantloom.quant.network import named_tensors
        from quantloom.quant.qat import quantize_for, train_switchable
        from quantloom.quant.training_state import StateFile
        from quantloom.workload.network import BitAssignment

        training, train = _switchable_training(self.config, self.data)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            network = quantize_for(
                self.traced, train, [BitAssignment.uniform(self.traced.network, bits) for bits in problem.widths]
            )
            train_switchable(
                network,
                train,
                training,
                narrow=problem.assignment(0 * problem.choice_counts),
                wide=problem.assignment(problem.choice_counts - 1),
                draw=lambda draws: draw_candidate(problem, draws),
                state=StateFile(folder / "switchable.state"),
                progress=lambda done, total, text: progress(done, total, f"training for all bits: {text}"),
            )
        except QuantError as error:
            message = f"weights could not be trained for all candidates: {error.message}"
            hint = "or decide by the weights as they are: accuracy_method rounded+bn"
            raise QuantError(message, hint=hint if error.hint is None else f"{error.hint}; {hint}") from error
        finally:
            torch.set_num_threads(before)
        written = io.BytesIO()
        torch.save({"widths": list(network.scheme.bits), "tensors": named_tensors(network)}, written)
        return written.getvalue()


@dataclass(frozen=True, slots=True)
class SwitchableMaker:
    """Makes in another process what measures with trained weights. threads: of torch there; None: all its cores."""

    config: SearchConfig
    threads: int | None
    weights: bytes

    def __call__(self) -> AccuracyEvaluator:
        """Read the network and the data."""
        config = self.config
        threads = self.threads or len(os.sched_getaffinity(0))
        traced, data = load_network_and_data(
            config.model, checkpoint=config.checkpoint, data=config.data, threads=threads
        )
        return _switchable_evaluator(traced, data, self.weights)


def draw_candidate(problem: SearchProblem, generator: torch.Generator) -> BitAssignment:
    """Bits for a step of training, as random_assignment() draws them: all genes at one place among their choices, at
    most one off it.
    """
    import torch

    centre = float(torch.rand((), dtype=torch.float64, generator=generator))
    off = torch.randint(-1, 2, (len(problem.genes),), generator=generator).numpy()
    at = (centre * problem.choice_counts).astype("int64") + off
    return problem.assignment(at.clip(0, problem.choice_counts - 1))


def _switchable_training(config: SearchConfig, data: DataSplits) -> tuple[TrainConfig, Dataset[tuple[Tensor, int]]]:
    """How, and on what. Few images make smaller batches."""
    from quantloom.quant.data import length_of, spread_subset
    from quantloom.quant.qat import SWITCHABLE_DEFAULTS
    from quantloom.quant.train import TrainConfig

    train = spread_subset(data.train, config.switchable_images)
    batch = min(SWITCHABLE_DEFAULTS["batch"], length_of(train))
    return TrainConfig(**{**SWITCHABLE_DEFAULTS, "epochs": config.switchable_epochs, "batch": batch}), train


def _switchable_evaluator(traced: TracedModel, data: DataSplits, weights: bytes) -> PtqEvaluator:
    import torch

    from quantloom.quant.network import QuantizedNetwork, load_tensors
    from quantloom.quant.ptq import PtqEvaluator
    from quantloom.quant.scheme import QuantScheme

    found = torch.load(io.BytesIO(weights), weights_only=True)
    network = QuantizedNetwork(traced, QuantScheme(bits=tuple(found["widths"])))
    load_tensors(network, found["tensors"])
    return PtqEvaluator(traced, data, trained=network)


def _promotion_training(config: SearchConfig) -> TrainConfig:
    """Its seed is not the search's, so that searches with other seeds share trainings."""
    from quantloom.quant.qat import QAT_DEFAULTS
    from quantloom.quant.train import TrainConfig

    return TrainConfig(**{**QAT_DEFAULTS, "epochs": config.promote_epochs})


def _trainer(traced: TracedModel, data: DataSplits, training: TrainConfig, folder: Path) -> QatEvaluator:
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
