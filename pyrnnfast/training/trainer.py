"""`Trainer`: the loop of steps, validations, checkpoints and reports, for any model.

A model comes as a `Task`: it knows its batches, its loss and how to save itself; the trainer knows time, the
learning rate, clipping, early stop, the best weights, and how to stop cleanly and go on later.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array
from pyrnnfast.clipping import clip_grad_norm_
from pyrnnfast.layers.module import Module
from pyrnnfast.optim.base import Optimizer
from pyrnnfast.training import checkpoint as checkpoints
from pyrnnfast.training.budget import WARMUP, Budget
from pyrnnfast.training.checkpoint import Checkpoint
from pyrnnfast.training.files import Location
from pyrnnfast.training.interrupt import StopFlag, stop_on_signals
from pyrnnfast.training.progress import Callback, Outcome, Progress
from pyrnnfast.training.report import History, Row

MOST_SKIPPED = 20
VALIDATIONS = 15
"""Validations of a run whose length is a time."""


class Task(Protocol):
    """What is trained: a module with its data."""

    @property
    def module(self) -> Module:
        """Whose parameters the optimizer changes."""

    def step(self) -> tuple[float, int]:
        """Add the gradients of the next batch to the module's; return (mean loss, tokens or examples)."""

    def validate(self, stopped: Callable[[], bool]) -> float | None:
        """Return the loss on held-out data; None without such data, or once `stopped()` is true."""

    def state_dict(self) -> dict[str, Any]:
        """Return where in the data it is, and what it carries along: arrays and numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go there; ValueError when the state is not of this task."""

    def save(self) -> None:
        """Write the model with the module's weights of now, whole or not at all."""


class Trainer:
    """Trains a task.

    task: what is trained. optimizer: of the task's module. peak: the highest learning rate. budget: how long.
    clip: the largest norm of all gradients (Pascanu et al. 2013); infinity for none. A step whose gradients
    are not finite is left out; 20 in a row raise ValueError.
    valid_every: steps between validations; None, for a budget of time only: 15 over the run.
    patience: end after so many validations without a new best; None for never, or as a resumed run had it.
    rng: the generator whose state goes into checkpoints. history: takes a row for each step.
    checkpoint: the file that a run is resumed from, written at each validation and at the end; None for none.
    recipe: JSON values that must be the same when a run is resumed. reserve: seconds of the budget that the
    caller needs after the run. validations: how often the held-out data are read in the end, by the caller
    too. started: the `time.monotonic()` from which the budget's time counts.
    """

    def __init__(
        self,
        task: Task,
        optimizer: Optimizer,
        *,
        peak: float,
        budget: Budget,
        clip: float = 1.0,
        valid_every: int | None = None,
        patience: int | None = None,
        rng: np.random.Generator | None = None,
        history: History | None = None,
        checkpoint: Location | None = None,
        recipe: dict[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
        reserve: float = 0.0,
        validations: int = 1,
        started: float | None = None,
    ) -> None:
        if budget.minutes is None and valid_every is None:
            raise ValueError(f"valid_every must be given with a budget of {budget.unit}, got None")
        self.task, self.optimizer, self.peak, self.budget = task, optimizer, peak, budget
        self.clip, self.valid_every, self.patience, self.rng = clip, valid_every, patience, rng
        self.history = History() if history is None else history
        self.checkpoint, self.recipe, self.callbacks = checkpoint, recipe or {}, callbacks
        self.stop = StopFlag()
        self.progress = Progress()
        self._best: dict[str, Array] | None = None
        self._waiting = self._skipped = 0
        self._reserve, self._began = reserve, time.monotonic() if started is None else started
        self._validations, self._validation_seconds = validations, 0.0
        self._trained_tokens, self._trained_seconds = 0, 0.0

    def resume(self, state: Checkpoint, best: dict[str, Array]) -> None:
        """Go on from a checkpoint.

        best: the weights of the best validation so far. Raises ValueError when the recipe differs or the
        checkpoint is damaged or not of this task.
        """
        changed = [name for name, value in self.recipe.items() if state.recipe.get(name) != value]
        if changed:
            told = "; ".join(
                f"{name} was {state.recipe.get(name)!r}, now it is {self.recipe[name]!r}" for name in changed
            )
            raise ValueError(f"cannot go on with another recipe: {told}")
        try:
            self._waiting = validation.integer("waiting", state.progress["waiting"], 0)
            patience = state.progress.get("patience")
            if self.patience is None and patience is not None:
                self.patience = validation.integer("patience", patience, 1)
            progress = Progress.of_checkpoint(state.progress)
            weights, optimizer, task = (state.parts[part] for part in ("weights", "optimizer", "task"))
            self.task.module.load_state_dict(weights)
            self.optimizer.load_state_dict(optimizer)
            self.task.load_state_dict(task)
        except KeyError as error:
            raise ValueError(f"{self.checkpoint}: is damaged: {error} is missing") from None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.checkpoint}: is damaged: {error}") from None
        if self.rng is not None:
            checkpoints.set_generator(self.rng, state.generator, self.checkpoint or "the checkpoint")
        if progress.best_loss is not None:
            self._best = best
        self._began -= progress.seconds
        fraction = self.budget.fraction(progress.step, progress.seconds, self._reserve)
        if fraction >= 1:
            raise ValueError(
                f"the run has had {progress.step} steps and {progress.seconds / 60:.2f} minutes already: "
                f"give more than that ({self.budget} counts from its start)"
            )
        self.progress = replace(progress, fraction=fraction, tokens_per_second=0.0)

    def run(self) -> Outcome:
        """Train until the budget is used up, a signal asks to stop, or nothing improves any more.

        The first Ctrl-C or SIGTERM ends the run after the step that is being made, with all saved; a second
        one raises KeyboardInterrupt. In the end the module has the weights of the best validation.
        Warns when it diverged to numbers that are finite but worse than nothing: when the mean loss of the
        last tenth of more than 20 steps is above that of the first step, and per token too.
        """
        self.task.module.train()
        for callback in self.callbacks:
            callback.on_start(self.progress, self.budget)
        try:
            with stop_on_signals(self.stop):
                reason = self._loop()
                self._save()
        finally:
            self.history.close()
        if self._best is not None:
            self.task.module.load_state_dict(self._best)
        for callback in self.callbacks:
            callback.on_end(self.progress, reason)
        self._warn_of_divergence()
        return Outcome(self.progress, reason)

    def _warn_of_divergence(self) -> None:
        rows = self.history.rows
        if len(rows) > WARMUP and rows[0].step == 1:
            count = -(-len(rows) // 10)
            first, last = rows[0].loss, float(np.mean([row.loss for row in rows[-count:]]))
            tokens = (rows[-1].tokens - rows[-1 - count].tokens) / count
            # The loss of a whole sentence grows with its words, and batches are of near lengths.
            if not last <= first * max(1.0, tokens / max(rows[0].tokens, 1)):
                warnings.warn(
                    f"training diverged: its loss ended at {last:.4g}, the first step's was {first:.4g}; "
                    f"try a smaller learning rate than {self.peak:g}",
                    stacklevel=3,
                )

    def can_validate(self) -> bool:
        """Whether there is time left to read the held-out data once more, and nobody asked to stop."""
        return not self._out_of_time(self._validation_seconds)

    # --- One turn

    def _loop(self) -> str:
        looked = self._seconds()
        while not self.stop.requested:
            row = self._step()
            over, due = self.progress.fraction >= 1, self._due(looked)
            if over or due:
                row = replace(row, valid_loss=self._validate(counts=due))
                looked = self._seconds()
            self.history.add(row)
            for callback in self.callbacks:
                callback.on_step(self.progress)
            if over:
                return "done"
            if due and not self.stop.requested:
                for callback in self.callbacks:
                    callback.on_validation(self.progress)
                self._save()
                if self.patience is not None and self._waiting >= self.patience:
                    return "early stop"
        return "stopped"

    def _step(self) -> Row:
        before = self._seconds()
        progress, module = self.progress, self.task.module
        fraction = self.budget.fraction(progress.step, before, self._kept_back())
        self.optimizer.lr = rate = self.budget.learning_rate(self.peak, progress.step, fraction)
        module.zero_grad()
        loss, tokens = self.task.step()
        norm = clip_grad_norm_(module, self.clip, nonfinite="skip")
        if math.isfinite(norm) and math.isfinite(loss):
            self.optimizer.step()
            self._skipped = 0
        else:
            self._skipped += 1
            if self._skipped >= MOST_SKIPPED:
                raise ValueError(
                    f"training diverged: loss and gradients were not finite for {self._skipped} steps up to "
                    f"step {progress.step + 1}; try a smaller learning rate than {self.peak:g}"
                )
        after = self._seconds()
        self._trained_tokens += tokens
        self._trained_seconds += after - before
        self.progress = progress = replace(
            progress,
            step=progress.step + 1,
            tokens=progress.tokens + tokens,
            seconds=after,
            fraction=self.budget.fraction(progress.step + 1, after, self._kept_back()),
            loss=loss,
            learning_rate=rate,
            tokens_per_second=self._trained_tokens / max(self._trained_seconds, 1e-9),
        )
        return Row(progress.step, progress.tokens, after, rate, norm, loss)

    def _due(self, looked: float) -> bool:
        if self.valid_every is not None:
            return self.progress.step % self.valid_every == 0
        interval = max(self.budget.seconds / VALIDATIONS, 10 * self._validation_seconds)
        return self.progress.seconds - looked >= interval

    def _validate(self, counts: bool) -> float | None:
        """Validate, keep the best weights; `counts` is whether it uses up patience."""
        before = self._seconds()
        self.task.module.eval()
        try:
            loss = self.task.validate(self._out_of_time)
        finally:
            self.task.module.train()
        self._validation_seconds = max(self._validation_seconds, self._seconds() - before)
        if loss is None:
            return None
        if not math.isfinite(loss):
            raise ValueError(
                f"training diverged: the held-out loss is {loss} after step {self.progress.step}; "
                f"try a smaller learning rate than {self.peak:g}"
            )
        self._waiting += counts
        self.progress = replace(self.progress, valid_loss=loss)
        if self.progress.best_loss is None or loss < self.progress.best_loss:
            self._waiting = 0
            self.progress = replace(self.progress, best_loss=loss, best_step=self.progress.step)
            self._best = self.task.module.state_dict()
        return loss

    # --- Time and files

    def _seconds(self) -> float:
        """Wall time of the run, that before its resumption included."""
        return time.monotonic() - self._began

    def _out_of_time(self, more: float = 0.0) -> bool:
        return self.stop.requested or self._seconds() + more > self.budget.seconds - self._reserve

    def _kept_back(self) -> float:
        """Seconds at the end that are not for training: validations, and what the caller needs."""
        return self._reserve + 1.2 * self._validations * self._validation_seconds

    def _save(self) -> None:
        """Write the model with its best weights, the losses, then the checkpoint with the weights of now."""
        now = self.task.module.state_dict()
        if self._best is not None:
            self.task.module.load_state_dict(self._best)
        self.task.save()
        if self._best is not None:
            self.task.module.load_state_dict(now)
        self.history.flush()
        if self.checkpoint is None:
            return
        parts: dict[str, dict[str, Any]] = {
            "weights": now,
            "optimizer": self.optimizer.state_dict(),
            "task": self.task.state_dict(),
        }
        generator: Any = None if self.rng is None else self.rng.bit_generator.state
        reached = {name: value for name, value in asdict(self.progress).items() if name != "loss"}
        reached |= {"waiting": self._waiting, "patience": self.patience, "budget": self.budget.to_json()}
        checkpoints.save(self.checkpoint, Checkpoint(reached, self.recipe, generator, parts))
