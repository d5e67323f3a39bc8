"""Accuracy of a bit assignment by post-training quantization with re-estimated batch normalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from quantloom.errors import DataError
from quantloom.quant.data import DataSplits, first_images, spread_images
from quantloom.quant.network import QuantizedNetwork
from quantloom.quant.rounding import round_weights
from quantloom.quant.scheme import QuantScheme
from quantloom.workload.from_torch import TracedModel
from quantloom.workload.network import BitAssignment

__all__ = ["PtqConfig", "PtqEvaluator", "accuracy_of", "check_fit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PtqConfig:
    """How much data the evaluator uses. Raises DataError for counts below 1.

    calibration_images: train images that choose the scales. statistics_images: train images, in one batch, that each
    candidate's normalisation statistics are taken from. validation_images, test_images: None is all. Fewer than all are
    spread evenly over the split. batch: images in one forward pass.
    """

    calibration_images: int = 512
    statistics_images: int = 512
    validation_images: int | None = 1000
    test_images: int | None = None
    batch: int = 250

    def __post_init__(self) -> None:
        for name in ("calibration_images", "statistics_images", "validation_images", "test_images", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                message = f"{name} is {value}; expected at least 1"
                raise DataError(message)


class PtqEvaluator:
    """Answers what accuracy a bit assignment has: quantize, re-estimate batch normalisation, count right answers.

    The answer depends on the assignment alone, not on what was asked before. Scales are chosen once, from the float
    network on train images; a candidate costs one pass over the statistics images and one over the split. Not safe
    to share between threads.
    """

    def __init__(
        self,
        traced: TracedModel,
        data: DataSplits,
        *,
        config: PtqConfig | None = None,
        scheme: QuantScheme | None = None,
        reestimates: bool = True,
        rounds: bool = False,
        trained: QuantizedNetwork | None = None,
    ) -> None:
        """Prepare the splits and calibrate. Raises DataError if the data does not fit the network, QuantError.

        reestimates: False keeps the float network's statistics, to see what taking them anew is worth. rounds: the
        weights are rounded by round_weights(), not each to the nearest. trained: a network of the same trace that
        train_switchable() prepared, to be used as it is.
        """
        self.config = PtqConfig() if config is None else config
        self.network = QuantizedNetwork(traced, scheme) if trained is None else trained
        method = "switchable" if trained is not None else "rounded" if rounds else "ptq"
        self.name = f"{method}+bn" if reestimates else method
        self._reestimates = reestimates
        check_fit(traced, data)
        calibration_images, _ = _prepare(*spread_images(data.train, self.config.calibration_images))
        self._statistics_images, _ = _prepare(*spread_images(data.train, self.config.statistics_images))
        self._validation = _prepare(*spread_images(data.validation, self.config.validation_images))
        self._test = data.test  # made ready when asked for: a search never needs it
        self.network.use_channels_last()
        self._float = self.network
        if trained is not None:  # its float weights are not those of the network that was given
            self._float = QuantizedNetwork(traced)
            self._float.use_channels_last()
        self._float_accuracy = accuracy_of(self._float, *self._validation, batch=self.config.batch)
        if trained is None:
            self.network.calibrate(calibration_images)
            if rounds:
                round_weights(self.network, calibration_images)

    def float_accuracy(self) -> float:
        """Share of right answers of the float network on the validation split, 0..1."""
        return self._float_accuracy

    def float_accuracy_test(self) -> float:
        """Share of right answers of the float network on the test split, 0..1."""
        self._float.set_float()
        return accuracy_of(self._float, *self._test_tensors(), batch=self.config.batch)

    def accuracy(self, assignment: BitAssignment) -> float:
        """Share of right answers on the validation split, 0..1. Raises QuantError if the assignment does not fit."""
        self.prepare(assignment)
        return accuracy_of(self.network, *self._validation, batch=self.config.batch)

    def accuracy_test(self, assignment: BitAssignment) -> float:
        """Share of right answers on the test split, 0..1; for reports only. Raises QuantError like accuracy()."""
        self.prepare(assignment)
        return accuracy_of(self.network, *self._test_tensors(), batch=self.config.batch)

    def prepare(self, assignment: BitAssignment) -> None:
        """Put an assignment in force with the statistics that belong to it."""
        self.network.set_bits(assignment)
        if self._reestimates:
            self.network.reestimate(self._statistics_images)

    def _test_tensors(self) -> tuple[Tensor, Tensor]:
        return _prepare(*spread_images(self._test, self.config.test_images))


def accuracy_of(network: torch.nn.Module, images: Tensor, labels: Tensor, *, batch: int) -> float:
    """Share of images whose largest logit is at their label, 0..1. images: (N, ...), labels: (N,)."""
    right = 0
    with torch.inference_mode():
        for image_batch, label_batch in zip(torch.split(images, batch), torch.split(labels, batch), strict=True):
            right += int((network(image_batch).argmax(1) == label_batch).sum())
    return right / len(labels)


def check_fit(traced: TracedModel, data: DataSplits) -> None:
    """Raise DataError unless the images have the network's input shape and there is one logit for each class."""
    network = traced.network
    for split, part in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        shape = tuple(first_images(part, 1)[0].shape[1:])
        if shape != network.input_shape:
            message = f"{data.name}: {split} images have shape {shape}; {network.name} reads {network.input_shape}"
            raise DataError(message, hint="build the network for this image size and number of channels")
    logits = network.edges[-1].elements
    if logits != len(data.classes):
        message = f"{data.name} has {len(data.classes)} classes; {network.name} has {logits} outputs"
        raise DataError(message, hint="build the network with classes= the number of classes")


def _prepare(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Images laid out as the fast convolution kernels read them (tensors of other ranks unchanged), and labels."""
    return images.to(memory_format=torch.channels_last) if images.ndim == 4 else images, labels
