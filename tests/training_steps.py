"""Searches stopped in the middle of a training."""

from __future__ import annotations

import pytest

from quantloom.quant.train import Trainer
from worker_evaluators import StoppedError


class Stopper:
    """Counts the steps of all trainings, and stops before one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps, self.at = 0, 10**9
        step = Trainer._guarded_step

        def counted(trainer, *arguments):
            if self.steps == self.at:
                raise StoppedError
            self.steps += 1
            return step(trainer, *arguments)

        monkeypatch.setattr(Trainer, "_guarded_step", counted)
