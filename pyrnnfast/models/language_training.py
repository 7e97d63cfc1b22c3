"""How a language model is trained: its text as a `training.Task`, and the run that is put around it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, Integers, State
from pyrnnfast.models import language_use
from pyrnnfast.text import ContiguousWindows
from pyrnnfast.training import RunOptions, Trainer, checkpoint
from pyrnnfast.training.files import Location

if TYPE_CHECKING:
    from pyrnnfast.models.language_model import LanguageModel


START_EVERY = 32
"""A row starts afresh after as many windows, or as there are rows."""


class StreamTask:
    """Reads one stream of tokens window by window, over and over, the state carried along.

    In each window another row starts afresh, so that the model learns to. At the end of the stream each row
    goes on where the row below it began: its state moves down by one row, and the first row begins anew from
    zeros.
    """

    def __init__(
        self,
        model: LanguageModel,
        train: Integers,
        valid: Integers | None,
        batch: int,
        window: int,
        file: Location | None,
    ) -> None:
        self.module = model
        self._windows = ContiguousWindows(train, batch, window, keep_last=False)
        self._valid, self._batch, self._file = valid, batch, file
        self._position = 0
        self._state: State | None = None
        end = model.vocabulary.eos_id
        self._line_end = end if end is not None and (train == end).any() else None

    def step(self) -> tuple[float, int]:
        """Do one window: its loss and gradients."""
        if self._position == len(self._windows):
            self._position = 0
            self._state = _each(_moved_down, self._state)
        inputs, targets = self._windows[self._position]
        inputs = self._with_a_start(inputs)
        loss, self._state = self.module.loss_and_grads(inputs, targets, self._state)
        self._position += 1
        return loss, targets.size

    def _with_a_start(self, inputs: Integers) -> Integers:
        """Let one row, each in its turn, forget its state and read `<BOS>`.

        A model that never starts from nothing in training can lose itself when it does so in sampling. Where
        lines end in `<EOS>`, it is a row that begins a line, as a sample does.
        """
        row, bos = self._position % max(self._batch, START_EVERY), self.module.vocabulary.bos_id
        if row >= self._batch or bos is None:
            return inputs
        if self._line_end is not None:
            rows = np.flatnonzero(inputs[0] == self._line_end)
            if rows.size == 0:
                return inputs
            row = int(rows[row % rows.size])
        inputs = inputs.copy()
        inputs[0, row] = bos
        self._state = _each(functools.partial(_without, row), self._state)
        return inputs

    def validate(self, stopped: Callable[[], bool]) -> float | None:
        """Return the loss on the held-out stream, read in as many rows as a batch has."""
        if self._valid is None:
            return None
        rows = min(self._batch, max(1, (self._valid.size - 1) // language_use.TOKENS_PER_ROW))
        return language_use.mean_loss(self.module, self._valid, rows, stopped)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of the next window and the carried state."""
        state: dict[str, Any] = {"position": self._position}
        if self._state is not None:
            parts = self._state if isinstance(self._state, tuple) else (self._state,)
            state.update({f"state{i}": part for i, part in enumerate(parts)})
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a place that `state_dict` gave."""
        self._position = validation.integer("position", state.get("position"), 0, len(self._windows))
        recurrent = self.module.recurrent
        shape = (recurrent.num_layers, self._batch, recurrent.hidden_size)
        parts = [
            validation.shaped(name, state[name], recurrent.dtype, shape)
            for name in ("state0", "state1")
            if name in state
        ]
        if len(parts) not in (0, 2 if recurrent.cell == "lstm" else 1):
            raise ValueError(f"the carried state is damaged: got {len(parts)} parts")
        self._state = None if not parts else parts[0] if len(parts) == 1 else (parts[0], parts[1])

    def save(self) -> None:
        """Write the model."""
        if self._file is not None:
            self.module.save(self._file)


def _without(row: int, part: Array) -> Array:
    rest = part.copy()
    rest[:, row] = 0
    return rest


def _moved_down(part: Array) -> Array:
    moved: Array = np.roll(part, 1, axis=1)
    moved[:, 0] = 0
    return moved


def _each(function: Callable[[Array], Array], state: State | None) -> State | None:
    if isinstance(state, tuple):
        return function(state[0]), function(state[1])
    return None if state is None else function(state)


def split(text: str, valid: str | None, holdout: float, unit: str) -> tuple[str, str]:
    """Return (what is trained on, what is held out): the last `holdout` of the text unless valid is given.

    unit: what the tokens are; no word is cut in two. Raises TypeError or ValueError for a wrong type or
    range.
    """
    for name, part in (("text", text), ("valid", valid)):
        if not isinstance(part, str) and not (part is None and name == "valid"):
            raise TypeError(f"{name} must be a str, got {type(part).__name__}")
    validation.number("holdout", holdout, at_least=0, below=1)
    if valid == "":
        raise ValueError("valid must be a text, or None to hold a part of text out (holdout=0: none), got ''")
    if valid is not None:
        return text, valid
    cut = len(text) - int(len(text) * holdout)
    while unit == "word" and 0 < cut < len(text) and not text[cut - 1].isspace():
        cut -= 1
    return text[:cut], text[cut:]


def prepare(
    model: LanguageModel, train: str, valid: str, *, batch: int, window: int, options: RunOptions
) -> Trainer:
    """Check everything and return the run; arguments as `LanguageModel.fit`'s.

    An empty `valid` means that nothing is held out.
    """
    validation.integer("batch", batch, 1)
    validation.integer("window", window, 1)
    ids = model.vocabulary.encode(train, bos=True)
    needed = batch * window
    if ids.size <= needed:
        raise ValueError(
            f"the text to train on is too short: it has {ids.size - 1} tokens, and batch {batch} x window "
            f"{window} needs at least {needed}; give more text, or a smaller batch or window"
        )
    held_out = model.vocabulary.encode(valid, bos=True) if valid else None
    if held_out is not None and held_out.size < 2:
        raise ValueError(f"the held-out text must have at least one token, got {valid[:40]!r}")
    recipe = {
        "text": _named(ids),
        "held-out text": "" if held_out is None else _named(held_out),
        "batch": batch,
        "window": window,
    }
    return model.trainer(StreamTask(model, ids, held_out, batch, window, options.model), options, recipe)


def _named(ids: Integers) -> str:
    return checkpoint.digest(f"{ids.size - 1} tokens", [ids.tobytes()])
