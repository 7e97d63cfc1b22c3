"""How far a run is, who is told of it, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pyrnnfast.training.budget import Budget


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    fraction: float = 0.0
    """Of the budget, 0 to 1."""
    loss: float = math.nan
    """Of the latest step."""
    valid_loss: float | None = None
    """Of the latest validation."""
    best_loss: float | None = None
    """The smallest validation loss."""
    best_step: int = 0
    learning_rate: float = 0.0
    tokens_per_second: float = 0.0
    """While training, since this run or its resumption began."""

    @classmethod
    def of_checkpoint(cls, saved: Mapping[str, Any]) -> Progress:
        """Return what a checkpoint holds of it, which is all but the loss.

        Raises KeyError when a number is missing, TypeError when it is none.
        """
        found = {field.name: saved[field.name] for field in fields(cls) if field.name != "loss"}
        for name, value in found.items():
            absent = value is None and name in ("valid_loss", "best_loss")
            if type(value) not in (int, float) and not absent:
                raise TypeError(f"{name} must be a number, got {value!r}")
        return cls(**found)


class Callback:
    """Is told how the run goes; a subclass overrides what it wants to know."""

    def on_start(self, progress: Progress, budget: Budget) -> None:
        """Training begins or goes on."""

    def on_step(self, progress: Progress) -> None:
        """A step was made."""

    def on_validation(self, progress: Progress) -> None:
        """A validation was made (or, without held-out data, it would have been); time for samples."""

    def on_end(self, progress: Progress, reason: str) -> None:
        """Training ended: reason is "done", "stopped" (asked to) or "early stop"."""


@dataclass(frozen=True)
class Outcome:
    """What `Trainer.run` returns."""

    progress: Progress
    reason: str
    """"done", "stopped" or "early stop"."""
