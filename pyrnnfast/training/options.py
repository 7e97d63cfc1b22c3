"""`RunOptions`: what `fit` of every model takes, checked before anything is read or trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrnnfast import validation
from pyrnnfast.training import checkpoint
from pyrnnfast.training.budget import Budget
from pyrnnfast.training.files import Location, check_writable, resolve
from pyrnnfast.training.progress import Callback


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a model is trained, whatever it is; the rest is as `Trainer`'s.

    lr: the highest learning rate. weight_decay: AdamW's, below 1 / lr. valid_every: steps between
    validations, unless the budget is of minutes.
    patience: None for none, or for that of the run that is resumed.
    model: the file that is written at each validation, with a checkpoint beside it; None for neither.
    history: a CSV of the losses. resume: go on from the checkpoint.
    Raises TypeError and ValueError for a wrong type or range, OSError when a file cannot be written.
    """

    budget: Budget
    lr: float
    weight_decay: float = 0.0
    clip: float = 1.0
    valid_every: int = 250
    patience: int | None = None
    model: Location | None = None
    history: Location | None = None
    resume: bool = False
    callbacks: Sequence[Callback] = ()
    reserve: float = 0.0
    validations: int = 1
    started: float | None = None

    def __post_init__(self) -> None:
        validation.integer("valid_every", self.valid_every, 1)
        validation.number("lr", self.lr, above=0)
        validation.number("weight_decay", self.weight_decay, at_least=0)
        if self.lr * self.weight_decay >= 1:
            raise ValueError(
                f"weight_decay must be below 1 / lr = {1 / self.lr:g}, got {self.weight_decay:g}"
            )
        validation.number("clip", self.clip, above=0, infinite=True)
        validation.flag("resume", self.resume)
        for name, file in (("model", self.model), ("history", self.history)):
            if file is not None:
                validation.path(name, file)
        validation.listed("callbacks", self.callbacks, Callback, "a list of Callbacks")
        if self.patience is not None:
            validation.integer("patience", self.patience, 1)
        if self.resume and self.model is None:
            raise ValueError("resume needs the model's file, got None")
        files = [file for file in (self.model, self.checkpoint, self.history) if file is not None]
        if len({resolve(file) for file in files}) < len(files):
            raise ValueError(
                f"history must be another file than the model and its checkpoint, got {self.history}"
            )
        for file in files:
            check_writable(file)

    @property
    def checkpoint(self) -> Path | None:
        """The file beside the model's."""
        return None if self.model is None else checkpoint.path_beside(self.model)

    @property
    def recipe(self) -> dict[str, Any]:
        """What must be the same when a run is resumed."""
        clip = self.clip if self.clip < math.inf else None  # JSON has no infinity
        decay = float(self.weight_decay)
        return {"lr": float(self.lr), "weight_decay": decay, "clip": clip, "by": self.budget.unit}
