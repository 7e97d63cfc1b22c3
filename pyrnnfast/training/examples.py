"""`ExampleTask`: training on examples in batches, epoch after epoch, for any model and kind of example."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np

from pyrnnfast import validation
from pyrnnfast.layers.module import Module
from pyrnnfast.training.budget import Budget
from pyrnnfast.training.files import Location

EPOCHS = 10
MAX_EPOCHS = 2**31
BatchT = TypeVar("BatchT")
BatchOut = TypeVar("BatchOut", covariant=True)
BatchIn = TypeVar("BatchIn", contravariant=True)


class Batches(Protocol[BatchOut]):
    """Examples with all that their loss needs, in batches."""

    def __len__(self) -> int:
        """The number of batches of an epoch."""

    def epoch(self, rng: np.random.Generator | None = None) -> Iterator[BatchOut]:
        """Yield every example once, in an order that depends on rng alone; None for a fixed one."""


class Learner(Protocol[BatchIn]):
    """A Module that learns from batches."""

    def loss_and_grads(self, batch: BatchIn) -> tuple[float, int]:
        """Add the gradients of the mean loss; return it, and the number of tokens."""

    def loss(self, batch: BatchIn) -> tuple[float, float]:
        """Return the mean loss, and how much it weighs in a mean over batches."""

    def save(self, location: Location) -> None:
        """Write the model, whole or not at all."""


class ExampleTask(Generic[BatchT]):
    """A `Task` over examples: each once in an epoch, in an order that is drawn for each epoch.

    model: the module. train, valid: the batches; None when nothing is held out. file: the model's; None for
    none. seed: of the orders; epoch e is drawn from (seed, e), so that a resumed run finds its place again.
    """

    def __init__(
        self,
        model: Learner[BatchT],
        train: Batches[BatchT],
        valid: Batches[BatchT] | None,
        file: Location | None,
        seed: int,
    ) -> None:
        self.module = cast(Module, model)
        self._model, self._train, self._valid, self._file = model, train, valid, file
        self._seed, self._epoch, self._position = seed, 0, 0
        self._batches = self._ordered()

    def _ordered(self) -> Iterator[BatchT]:
        """The rest of the epoch."""
        batches = self._train.epoch(np.random.default_rng([self._seed, self._epoch]))
        return itertools.islice(batches, self._position, None)

    def step(self) -> tuple[float, int]:
        """Do one batch: its loss and gradients."""
        if self._position == len(self._train):
            self._epoch, self._position = self._epoch + 1, 0
            self._batches = self._ordered()
        result = self._model.loss_and_grads(next(self._batches))
        self._position += 1
        return result

    def validate(self, stopped: Callable[[], bool]) -> float | None:
        """Return the mean loss on the held-out examples."""
        return None if self._valid is None else mean_loss(self._model, self._valid, stopped)

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the data."""
        return {"seed": self._seed, "epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place that `state_dict` gave."""
        self._seed = validation.seed(state.get("seed"))
        self._epoch = validation.integer("epoch", state.get("epoch"), 0, MAX_EPOCHS)
        self._position = validation.integer("position", state.get("position"), 0, len(self._train))
        self._batches = self._ordered()

    def save(self) -> None:
        """Write the model."""
        if self._file is not None:
            self._model.save(self._file)


def mean_loss(
    model: Learner[BatchT], batches: Batches[BatchT], stopped: Callable[[], bool] = lambda: False
) -> float | None:
    """Return the mean loss over all batches; None once `stopped()` is true. The model is in eval mode."""
    total = weight = 0.0
    for batch in batches.epoch():
        if stopped():
            return None
        loss, weighs = model.loss(batch)
        total += loss * weighs
        weight += weighs
    return total / weight if weight else 0.0


def epoch_steps(examples: int, batch: int) -> int:
    """Return the number of batches of `batch` rows that hold all examples."""
    return -(-examples // validation.integer("batch", batch, 1)) or 1


def example_budget(
    epochs: int | None, minutes: float | None, steps: int | None, examples: int, batch: int
) -> Budget:
    """Return the budget of a run over examples: 10 epochs when nothing is given.

    Raises TypeError and ValueError for a wrong type or range, or when more than one is given.
    """
    if epochs is None and minutes is None and steps is None:
        epochs = EPOCHS
    return Budget(steps, minutes, epochs, epoch_steps(examples, batch))
