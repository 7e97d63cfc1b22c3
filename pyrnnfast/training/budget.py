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
    """A number of steps, or of minutes of wall time, over the whole run with all its resumptions.

    Minutes: the learning rate rises for 20 steps, and falls to 5% of its peak along half a cosine
    (Loshchilov and Hutter 2017). Wall time decides, so two runs differ.

    Steps: it depends on the step s = 0, 1, ... alone, not on their number, so that a run may be prolonged and
    still give bitwise the losses of one that was as long from the start:

        lr(s) = peak min(1, (s + 1) / 20) / sqrt(1 + s / 1000)
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError(f"exactly one of steps and minutes must be given, got {self}")
        if self.steps is not None:
            validation.integer("steps", self.steps, 1)
        else:
            validation.number("minutes", self.minutes, above=0)

    @property
    def seconds(self) -> float:
        """The limit of wall time; infinite for steps."""
        return math.inf if self.minutes is None else 60.0 * self.minutes

    def fraction(self, step: int, seconds: float, reserve: float = 0.0) -> float:
        """Return how much is done, from 0 to 1, after `step` steps and `seconds` of wall time.

        reserve: seconds at the end that are kept for other things than training.
        """
        if self.steps is not None:
            return min(1.0, step / self.steps)
        usable = self.seconds - reserve
        return min(1.0, seconds / usable) if usable > 0 else 1.0

    def learning_rate(self, peak: float, step: int, fraction: float) -> float:
        """Return the learning rate of the step after `step` steps."""
        if self.steps is not None:
            return peak * min(1.0, (step + 1) / WARMUP) / math.sqrt(1 + step / DECAY)
        return Cosine(peak, final=COSINE_FINAL)(fraction) * min(1.0, (step + 1) / WARMUP)

    def to_json(self) -> dict[str, Any]:
        """Return what `Budget(**...)` takes."""
        return {"steps": self.steps, "minutes": self.minutes}

    def __str__(self) -> str:
        return f"steps={self.steps}, minutes={self.minutes}"
