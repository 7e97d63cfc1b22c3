"""How long a run lasts, and the learning rate that follows from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pyrnnfast import validation
from pyrnnfast.optim.schedules import Cosine

COSINE_FINAL = 0.05
WARMUP = 20
DECAY = 1000


@dataclass(frozen=True)
class Budget:
    """A number of steps, of minutes of wall time, or of epochs, over the whole run with all its resumptions.

    Minutes and epochs: the learning rate rises for 20 steps, and falls to 5% of its peak along half a cosine
    (Loshchilov and Hutter 2017). Wall time decides over the one, so two runs differ; the number of steps over
    the other, so that they are equal. An epoch has `epoch_steps` steps.

    Steps: it depends on the step s = 0, 1, ... alone, not on their number, so that a run may be prolonged and
    still give bitwise the losses of one that was as long from the start:

        lr(s) = peak min(1, (s + 1) / 20) / sqrt(1 + s / 1000)
    """

    steps: int | None = None
    minutes: float | None = None
    epochs: int | None = None
    epoch_steps: int = 1

    def __post_init__(self) -> None:
        if len(self._given()) != 1:
            raise ValueError(f"exactly one of steps, minutes and epochs must be given, got {self}")
        if self.minutes is not None:
            validation.number("minutes", self.minutes, above=0)
        else:
            validation.integer(self.unit, self._given()[self.unit], 1)
        validation.integer("epoch_steps", self.epoch_steps, 1)

    def _given(self) -> dict[str, Any]:
        each = {"steps": self.steps, "minutes": self.minutes, "epochs": self.epochs}
        return {name: value for name, value in each.items() if value is not None}

    @property
    def unit(self) -> str:
        """What it is a number of: "steps", "minutes" or "epochs"."""
        return next(iter(self._given()))

    @property
    def seconds(self) -> float:
        """The limit of wall time; infinite for steps and epochs."""
        return math.inf if self.minutes is None else 60.0 * self.minutes

    def fraction(self, step: int, seconds: float, reserve: float = 0.0) -> float:
        """Return how much is done, from 0 to 1, after `step` steps and `seconds` of wall time.

        reserve: seconds at the end that are kept for other things than training.
        """
        if self.minutes is None:
            return min(1.0, step / (self.steps or (self.epochs or 1) * self.epoch_steps))
        usable = self.seconds - reserve
        return min(1.0, seconds / usable) if usable > 0 else 1.0

    def learning_rate(self, peak: float, step: int, fraction: float) -> float:
        """Return the learning rate of the step after `step` steps."""
        if self.steps is not None:
            return peak * min(1.0, (step + 1) / WARMUP) / math.sqrt(1 + step / DECAY)
        return Cosine(peak, final=COSINE_FINAL)(fraction) * min(1.0, (step + 1) / WARMUP)

    def to_json(self) -> dict[str, Any]:
        """Return what was given, by name; for epochs their steps too."""
        given = {"steps": self.steps, "minutes": self.minutes}
        return given if self.epochs is None else {"epochs": self.epochs, "epoch_steps": self.epoch_steps}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self._given().items()) or "none of them"
