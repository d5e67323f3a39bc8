"""The training loop: plain training, training with random bits, and what quantization-aware training is made of.

All minimise cross-entropy by SGD with Nesterov momentum. Equal settings and seeds give equal weights on a CPU with
an equal number of threads; a run that is interrupted goes on from its StateFile to the weights of one that was not.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from quantloom.errors import DataError, QuantError, is_out_of_memory
from quantloom.quant.augment import augment
from quantloom.quant.data import items_at, length_of
from quantloom.quant.network import QuantizedNetwork, load_tensors, named_tensors
from quantloom.quant.scheme import QuantScheme
from quantloom.quant.training_state import StateFile
from quantloom.workload.from_torch import TracedModel
from quantloom.workload.network import BitAssignment, Network

__all__ = [
    "Progress",
    "TrainConfig",
    "Trainer",
    "find_device",
    "random_assignment",
    "train_float",
    "train_random_bits",
]

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in total, text)."""

_CALIBRATION_IMAGES = 512
_STATISTICS_BATCHES = 16  # of TrainConfig.batch images, for the statistics of the final float network
_RECALIBRATIONS_PER_EPOCH = 2  # scales follow the weights as they move
_NOISE_BITS = (2, 3, 4, 5, 6, 7, 8)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training phase. Raises QuantError for values that cannot work.

    epochs: passes over the data; the last incomplete batch of each is left out. learning_rate: the schedule's peak,
    reached after warmup_share of the steps; then it falls along a cosine ("one_cycle", arXiv 1708.07120, moves the
    momentum against it). flip: mirror half of the images; crop: shift them by up to so many pixels; resized_crop: cut
    out a part of at least this share of their area and scale it up. seed: of data order, augmentation and random bits.
    ema_decay: of the moving average of all weights that is kept in the end; 0 keeps the last ones. distillation: weight
    of the teacher's answers beside the labels, at a temperature (arXiv 1503.02531). amp: "off", or the half precision
    that layers compute in; quantizers and losses stay in single.
    """

    epochs: int
    batch: int = 256
    learning_rate: float = 0.3
    warmup_share: float = 0.2
    schedule: Literal["one_cycle", "cosine"] = "one_cycle"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.05
    flip: bool = True
    crop: int = 0
    resized_crop: float = 1.0
    seed: int = 0
    ema_decay: float = 0.0
    distillation: float = 0.0
    temperature: float = 2.0
    amp: Literal["off", "bfloat16", "float16"] = "off"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or not self.learning_rate > 0:
            message = f"epochs {self.epochs}, batch {self.batch}, learning rate {self.learning_rate}: too small"
            raise QuantError(message, hint="at least 1 epoch, 2 images a batch and a positive learning rate")
        for name, low, high in (
            ("warmup_share", 0, 1),
            ("momentum", 0, 1),
            ("label_smoothing", 0, 1),
            ("ema_decay", 0, 1),
            ("distillation", 0, 1),
            ("weight_decay", 0, math.inf),
            ("crop", 0, 1 << 16),
            ("resized_crop", 0.01, 1),
            ("temperature", 1e-3, 1e3),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                message = f"{name} is {value}; expected {low:g}..{high:g}"
                raise QuantError(message)
        for name, choices in (("schedule", ("one_cycle", "cosine")), ("amp", ("off", "bfloat16", "float16"))):
            if getattr(self, name) not in choices:
                message = f"{name} is {getattr(self, name)!r}; expected {', '.join(choices)}"
                raise QuantError(message)


def find_device(name: str) -> torch.device:
    """The device of a name: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1". Raises QuantError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        message = f"device `{name}` cannot be used: {str(error).splitlines()[0]}"
        raise QuantError(message, hint="use auto, cpu, cuda or cuda:N") from error
    return device


class Trainer:
    """Trains a model on a data set for one phase; see TrainConfig.

    variants: what is done before each forward pass of a step, in turn; gradients of all passes are averaged.
    after_step: called after each step. teacher: gives the answers that distillation asks for. generators: random states
    besides the trainer's own that a run depends on.
    groups: optimizer groups of parameters with options of their own, relative learning rates included; default all.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset[tuple[Tensor, int]],
        config: TrainConfig,
        *,
        variants: Callable[[int], Sequence[Callable[[], None]]] | None = None,
        after_step: Callable[[], None] | None = None,
        teacher: Callable[[Tensor], Tensor] | None = None,
        generators: Mapping[str, torch.Generator] | None = None,
        groups: Sequence[Mapping[str, Any]] | None = None,  # Any: as torch's optimizers take them
        device: torch.device | None = None,
    ) -> None:
        self.steps_per_epoch = length_of(data) // config.batch
        self.steps = config.epochs * self.steps_per_epoch
        if self.steps_per_epoch == 0:
            message = f"{length_of(data)} training images do not fill one batch of {config.batch}"
            raise QuantError(message, hint="use more images or a smaller batch")
        self.model, self.data, self.config = model, data, config
        self.device = torch.device("cpu") if device is None else device
        self._variants = variants or (lambda step: ((lambda: None),))
        self._after_step = after_step or (lambda: None)
        self._teacher = teacher
        self._order = torch.Generator().manual_seed(config.seed)
        self._generators = dict(generators or {})
        model.to(self.device)
        if groups is None:
            groups = [{"params": [parameter for parameter in model.parameters() if parameter.requires_grad]}]
        self._optimizer = torch.optim.SGD(
            [{**group, "lr": config.learning_rate * group.get("lr", 1.0)} for group in groups],
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )
        self._schedule = self._make_schedule()
        self._average = {name: value.clone() for name, value in self._averaged().items()}
        self._scaler = torch.amp.GradScaler(
            self.device.type, enabled=config.amp == "float16" and self.device.type == "cuda"
        )
        self._step = 0
        self._epoch_began = self._order.get_state()

    def run(self, *, state: StateFile | None = None, progress: Progress | None = None) -> None:
        """Train to the end, from where `state` stands; leaves the model in inference mode.

        Raises QuantError if the loss stops being a number, memory runs out, or the state cannot be used; the state
        on the disk is then that of the last step that was written.
        """
        found = None if state is None else state.read(self._settings())
        devices = [self.device] if self.device.type == "cuda" else []
        with _deterministic(self.device), torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.config.seed)  # of dropout, say
            if found is not None:
                self._restore(found)
                _logger.info("going on after step %d of %d", self._step, self.steps)
            for epoch in range(self._step // self.steps_per_epoch, self.config.epochs):
                self._run_epoch(epoch, state, progress)
        if self.config.ema_decay:
            with torch.no_grad():
                for name, value in self._averaged().items():
                    value.copy_(self._average[name])
        self.model.eval()

    # ---- one epoch, one step -------------------------------------------------------------------------------------

    def _run_epoch(self, epoch: int, state: StateFile | None, progress: Progress | None) -> None:
        began, first, total = time.monotonic(), self._step, 0.0
        resumed_at = self._order.get_state()
        self._order.set_state(self._epoch_began)
        used = self.steps_per_epoch * self.config.batch
        order = torch.randperm(length_of(self.data), generator=self._order)[:used].view(self.steps_per_epoch, -1)
        done = self._step - epoch * self.steps_per_epoch
        if done:
            self._order.set_state(resumed_at)
        for indices in order[done:]:
            loss = self._guarded_step(indices, state)
            total += loss
            self._step += 1
            if self._step % self.steps_per_epoch == 0:
                self._epoch_began = self._order.get_state()
            if state is not None and (state.is_due(self._step) or self._step == self.steps):
                state.write(self._settings(), self._state())
            if progress is not None:
                progress(self._step, self.steps, f"epoch {epoch + 1} of {self.config.epochs}, loss {loss:.3f}")
        count = max(1, self._step - first)
        rate = count * self.config.batch / max(time.monotonic() - began, 1e-9)
        mean = total / count
        _logger.info("epoch %d of %d: mean loss %.4f, %.0f images/s", epoch + 1, self.config.epochs, mean, rate)

    def _guarded_step(self, indices: Tensor, state: StateFile | None) -> float:
        kept = "" if state is None or not state.path.exists() else f"; the state before it is kept in {state.path}"
        try:
            loss = self._take_step(indices)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = f"out of memory on {self.device} in step {self._step + 1} of {self.steps}{kept}"
            raise QuantError(message, hint=f"use a batch below {self.config.batch}, or half precision") from error
        if not math.isfinite(loss):
            message = f"the loss is {loss} in step {self._step + 1} of {self.steps}{kept}"
            raise QuantError(message, hint="use a lower learning rate")
        return loss

    def _take_step(self, indices: Tensor) -> float:
        images, labels = items_at(self.data, indices)
        changes = {name: getattr(self.config, name) for name in ("flip", "crop", "resized_crop")}
        images = augment(images, self._order, **changes)
        if images.ndim == 4:
            images = images.to(memory_format=torch.channels_last)
        images, labels = images.to(self.device), labels.to(self.device)
        answers = None
        if self._teacher is not None and self.config.distillation:
            with torch.no_grad(), self._precision():
                answers = self._teacher(images).float()
        self._optimizer.zero_grad()
        variants = self._variants(self._step)
        mean = 0.0
        for prepare in variants:
            prepare()
            self.model.train()
            with self._precision():
                logits = self.model(images).float()
            if int(labels.min()) < 0 or int(labels.max()) >= logits.shape[1]:
                message = f"a label is {int(labels.max())}, but the network has {logits.shape[1]} outputs"
                raise DataError(message, hint="labels count from 0; build the network with as many classes")
            loss = self._loss(logits, labels, answers) / len(variants)
            value = float(loss.detach())
            mean += value
            if not math.isfinite(value):
                return value
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._schedule.step()
        self._after_step()
        self._move_average()
        return mean

    def _loss(self, logits: Tensor, labels: Tensor, answers: Tensor | None) -> Tensor:
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        share, heat = self.config.distillation, self.config.temperature
        if answers is None or not share:
            return loss
        taught = functional.kl_div(
            functional.log_softmax(logits / heat, 1), functional.softmax(answers / heat, 1), reduction="batchmean"
        )
        return (1 - share) * loss + share * heat * heat * taught

    def _precision(self) -> AbstractContextManager[object]:
        if self.config.amp == "off":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.config.amp))

    def _make_schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        if self.config.schedule == "one_cycle":
            peaks = [group["lr"] for group in self._optimizer.param_groups]
            return torch.optim.lr_scheduler.OneCycleLR(
                self._optimizer, peaks, total_steps=self.steps, pct_start=self.config.warmup_share
            )
        warmup = round(self.steps * self.config.warmup_share)

        def share(step: int) -> float:
            if step < warmup:
                return (step + 1) / (warmup + 1)
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))

        return torch.optim.lr_scheduler.LambdaLR(self._optimizer, share)

    # ---- the moving average --------------------------------------------------------------------------------------

    def _averaged(self) -> dict[str, Tensor]:
        if not self.config.ema_decay:
            return {}
        return {name: value for name, value in named_tensors(self.model).items() if value.is_floating_point()}

    def _move_average(self) -> None:
        decay = min(self.config.ema_decay, (1 + self._step) / (10 + self._step))
        with torch.no_grad():
            for name, value in self._averaged().items():
                self._average[name].lerp_(value, 1 - decay)

    # ---- where training stands -----------------------------------------------------------------------------------

    def _settings(self) -> dict[str, object]:
        shapes = "|".join(f"{name}{tuple(value.shape)}" for name, value in named_tensors(self.model).items())
        return {
            **asdict(self.config),
            "images": length_of(self.data),
            "tensors": hashlib.sha256(shapes.encode()).hexdigest()[:16],
        }

    def _state(self) -> dict[str, object]:
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        return {
            "step": self._step,
            "model": {name: value.cpu() for name, value in named_tensors(self.model).items()},
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "schedule": {key: value for key, value in self._schedule.state_dict().items() if key != "lr_lambdas"},
            "scaler": self._scaler.state_dict(),
            "epoch_began": self._epoch_began,
            "order": self._order.get_state(),
            "generators": {name: generator.get_state() for name, generator in self._generators.items()},
            "random": [torch.get_rng_state(), *cuda],
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        load_tensors(self.model, state["model"])
        for name, value in self._average.items():
            value.copy_(state["average"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict({**state["schedule"], **self._lambdas()})
        self._scaler.load_state_dict(state["scaler"])
        self._step = state["step"]
        self._epoch_began = state["epoch_began"]
        self._order.set_state(state["order"])
        for name, generator in self._generators.items():
            generator.set_state(state["generators"][name])
        torch.set_rng_state(state["random"][0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["random"][1:])

    def _lambdas(self) -> dict[str, object]:
        """What a schedule's state needs besides what is stored: functions are not."""
        own = self._schedule.state_dict()
        return {"lr_lambdas": own["lr_lambdas"]} if "lr_lambdas" in own else {}


@contextmanager
def _deterministic(device: torch.device) -> Iterator[None]:
    """Ask torch for algorithms that repeat, where a device has them; those of the CPU do."""
    was_on = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(was_on or device.type != "cpu", warn_only=was_warning or not was_on)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_on, warn_only=was_warning)


# ---- phases ----------------------------------------------------------------------------------------------------------


def train_float(
    module: nn.Module,
    data: Dataset[tuple[Tensor, int]],
    config: TrainConfig,
    *,
    state: StateFile | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> None:
    """Train a module in place. Raises QuantError like Trainer.run(), or if the data is too small."""
    Trainer(module, data, config, device=device).run(state=state, progress=progress)


def train_random_bits(
    traced: TracedModel,
    data: Dataset[tuple[Tensor, int]],
    config: TrainConfig,
    *,
    state: StateFile | None = None,
    progress: Progress | None = None,
) -> None:
    """Go on training the traced module's weights, in place, with random bits at each step; see random_assignment().

    Every tensor is fake-quantized to a width drawn anew for each step, so that one set of weights works at all widths,
    as in switchable-precision networks (e.g. arXiv 1912.09666). Afterwards the module is float again, with
    normalisation statistics taken in float on training images. Raises QuantError like train_float().
    """
    network = QuantizedNetwork(traced, QuantScheme(bits=_NOISE_BITS), share_parameters=True)
    draws = torch.Generator().manual_seed(config.seed)
    calibration_images, _ = items_at(data, torch.arange(min(_CALIBRATION_IMAGES, length_of(data))))
    period = max(1, length_of(data) // config.batch // _RECALIBRATIONS_PER_EPOCH)

    def before_step(step: int) -> Sequence[Callable[[], None]]:
        if step % period == 0:
            network.set_float()
            network.reestimate(calibration_images)
            network.calibrate(calibration_images)
        assignment = random_assignment(traced.network, _NOISE_BITS, draws)
        return (lambda: network.set_bits(assignment),)

    Trainer(network, data, config, variants=before_step, generators={"bits": draws}).run(state=state, progress=progress)
    network.set_float()
    batches = min(_STATISTICS_BATCHES, length_of(data) // config.batch)
    network.reestimate(
        *(items_at(data, torch.arange(i * config.batch, (i + 1) * config.batch))[0] for i in range(batches))
    )


def random_assignment(network: Network, widths: Sequence[int], generator: torch.Generator) -> BitAssignment:
    """Draw bits for a training step: one of these widths for the network, and for each tensor that or one beside it."""
    centre = int(torch.randint(0, len(widths), (), generator=generator))
    layers, groups = len(network.layers), len(network.edge_groups)
    at = (centre + torch.randint(-1, 2, (layers + groups,), generator=generator)).clamp_(0, len(widths) - 1)
    bits = [widths[i] for i in at.tolist()]
    return BitAssignment(weights=tuple(bits[:layers]), groups=tuple(bits[layers:]))
