"""The layouts of sequences and states that a user may hand in, and [T, N, units], in which a stack runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, State
from pyrnnfast.functional import TapeHandle
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.stack import Stack, map_state


class SequenceStack(Stack):
    """A stack that takes [T, N, C], [N, T, C] with batch_first, or one sequence [T, C]."""

    batch_first: bool

    def _input(self, x: Any, embedding: object) -> tuple[Array, bool]:
        """Return x [T, N, C], or ids [T, N], and whether they are a batch."""
        if embedding is None:
            x = validation.ndarray("x", x, self.dtype)
        elif not isinstance(embedding, Embedding):
            raise TypeError(f"embedding must be an Embedding, got {type(embedding).__name__}")
        elif not isinstance(x, np.ndarray):
            return x, True  # `functional.forward` says what it should be
        batched = x.ndim != (2 if embedding is None else 1)
        layout = self._layout(batched, "T", "N", self.input_size)
        if embedding is None:
            validation.fits("x", x, layout)
        else:
            validation.fits("ids", x, layout[:-1])
        return self._time_major(x, batched), batched

    def _gradient_in(self, name: str, value: Any, tape: TapeHandle, batched: bool, units: int) -> Array:
        array = validation.ndarray(name, value, self.dtype)
        validation.fits(name, array, self._layout(batched, tape.steps, tape.rows, units))
        return self._time_major(array, batched)

    def _layout(self, batched: bool, steps: int | str, rows: int | str, units: int) -> tuple[int | str, ...]:
        if not batched:
            return (steps, units)
        return (rows, steps, units) if self.batch_first else (steps, rows, units)

    def _time_major(self, array: Array, batched: bool) -> Array:
        if not batched:
            return array[:, np.newaxis]
        return array.swapaxes(0, 1) if self.batch_first else array

    def _user_layout(self, array: Array, batched: bool) -> Array:
        if not batched:
            return array[:, 0]
        return array.swapaxes(0, 1) if self.batch_first else array

    def _state_in(self, name: str, state: Any, batched: bool, parts_optional: bool = False) -> Any:
        """Give one sequence's state [L * D, H] its row; a batch's is checked by `functional` as it is."""
        if batched or state is None:
            return state
        shape, c_shape = self._state_shapes()
        h, c = validation.state(name, state, self.dtype, shape, c_shape, parts_optional)
        return map_state(lambda part: part[:, np.newaxis], h if c_shape is None else (h, c))

    def _state_out(self, state: State, batched: bool) -> State:
        out: State = state if batched else map_state(lambda part: part[:, 0], state)
        return out
