"""Learning-rate schedules: pure functions of how much of the run is done.

A schedule is called with a fraction in [0, 1] and returns the learning rate. Whether steps or wall time drive
it is the caller's choice: `optimizer.lr = schedule((step + 1) / steps)` before each step is reproducible,
`schedule(elapsed / limit)` follows the clock. A fraction above 1 (a clock that overshoots) counts as 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from pyrnnfast import validation

Schedule = Callable[[float], float]
"""From the fraction of the run that is done to the learning rate."""


def _fraction(value: float) -> float:
    return min(validation.number("fraction", value, at_least=0), 1.0)


@dataclass(frozen=True)
class Constant:
    """The same learning rate all along.

    peak: the learning rate, at least 0.
    """

    peak: float

    def __post_init__(self) -> None:
        validation.number("peak", self.peak, at_least=0)

    def __call__(self, fraction: float) -> float:
        """Return the learning rate after `fraction` of the run; ValueError unless that is finite and >= 0."""
        _fraction(fraction)
        return float(self.peak)


@dataclass(frozen=True)
class Step:
    """Falls by a factor at given points: peak * factor ** (how many of them are reached).

    peak: the learning rate at the start. at: fractions of the run, ascending, default (0.5, 0.75).
    factor: in [0, 1], default 0.1.
    """

    peak: float
    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        validation.number("peak", self.peak, at_least=0)
        validation.probability("factor", self.factor)
        if not isinstance(self.at, tuple):
            raise TypeError(f"at must be a tuple of fractions, got {type(self.at).__name__}")
        for point in self.at:
            validation.probability("each fraction in at", point)
        if list(self.at) != sorted(self.at):
            raise ValueError(f"at must be ascending, got {self.at}")

    def __call__(self, fraction: float) -> float:
        """Return the learning rate after `fraction` of the run; ValueError unless that is finite and >= 0."""
        done = _fraction(fraction)
        return float(self.peak * self.factor ** sum(done >= point for point in self.at))


@dataclass(frozen=True)
class Cosine:
    """Rises linearly from 0 to the peak, then falls along half a cosine (Loshchilov and Hutter 2017).

    peak: the highest learning rate. warmup: the fraction of the run that the rise takes, default 0.
    final: the learning rate at the end as a share of the peak, in [0, 1], default 0.

        f < warmup:  peak f / warmup
        else:        peak (final + (1 - final) (1 + cos(pi (f - warmup) / (1 - warmup))) / 2)
    """

    peak: float
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        validation.number("peak", self.peak, at_least=0)
        validation.probability("warmup", self.warmup)
        validation.probability("final", self.final)

    def __call__(self, fraction: float) -> float:
        """Return the learning rate after `fraction` of the run; ValueError unless that is finite and >= 0."""
        done = _fraction(fraction)
        if done < self.warmup:
            return float(self.peak * done / self.warmup)
        if self.warmup == 1:
            return float(self.peak)
        fallen = (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))) / 2
        return float(self.peak * (self.final + (1 - self.final) * fallen))
