"""`RNNCell`, `LSTMCell` and `GRUCell`: one step at a time, arguments and names as in torch.nn."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, DTypeLike, Seed, State
from pyrnnfast.layers.stack import DEFAULT_DTYPE, Stack, map_state


class CellLayer(Stack):
    """A stack of one layer that is called on one step.

    The tape of a thread's last call in training is kept, as the layers do. To backpropagate through several
    steps, use the layer of the same name, or `pyrnnfast.functional` on `cell.pack()`, which hands out every
    tape.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        bias: bool,
        dtype: DTypeLike,
        rng: Seed,
        recurrent_init: str,
        forget_bias: float | None = None,
    ) -> None:
        super().__init__(
            cell, input_size, hidden_size, 1, bias, False, dtype, rng, recurrent_init, forget_bias, ""
        )

    def __call__(self, x: Array, state: State | None = None) -> Any:
        """Run one step.

        x: [N, C], or [C] for one row; of the cell's dtype. In training the tape refers to it: do not change
        it before `backward`.
        state: h [N, H] ([H] for one row), for the LSTM a tuple (h, c); zeros by default.
        Returns the state after the step: h, for the LSTM (h, c).
        Raises TypeError for a wrong type or dtype, ValueError for a wrong shape.
        """
        x = validation.ndarray("x", x, self.dtype)
        batched = x.ndim != 1
        validation.fits("x", x, ("N", self.input_size) if batched else (self.input_size,))
        state = self._state_in("state", state, x.shape[0] if batched else 1, batched)
        step = x[np.newaxis] if batched else x[np.newaxis, np.newaxis]
        final = self._run(step, state, None, 0.0, batched).state
        return self._state_out(final, batched)

    def backward(self, dstate: Any) -> tuple[Array, State]:
        """Backpropagate through this thread's last call, which must have been in training mode.

        dstate: the gradient of the state that the call returned, of its structure (either of the LSTM's two
        may be None).
        Returns (dx, dstate0), the gradients of x and of the state before; those of the weights are added to
        `.grads`.
        Raises RuntimeError in eval mode, without a call before, and a second time after one call; TypeError
        and ValueError as the call does (the tape is kept then).
        """
        tape, batched = self._kept()[:2]
        dstate = self._state_in("dstate", dstate, tape.rows, batched, parts_optional=True)
        dx, dstate0 = self._back(tape, None, dstate)
        return dx[0] if batched else dx[0, 0], self._state_out(dstate0, batched)

    def _state_in(self, name: str, state: Any, rows: int, batched: bool, parts_optional: bool = False) -> Any:
        """Turn the user's [N, H] or [H] into [1, N, H]."""
        shape = (rows, self.hidden_size) if batched else (self.hidden_size,)
        c_shape = shape if self.cell == "lstm" else None
        h, c = validation.state(name, state, self.dtype, shape, c_shape, parts_optional)
        pair = (h, c) if c_shape is not None and state is not None else h
        return map_state(lambda part: part.reshape(1, rows, self.hidden_size), pair)

    def _state_out(self, state: State, batched: bool) -> State:
        out: State = map_state(lambda part: part[0] if batched else part[0, 0], state)
        return out

    def extra_repr(self) -> str:
        """The arguments that are not the defaults."""
        text = f"{self.input_size}, {self.hidden_size}" + (", bias=False" if not self.bias else "")
        text += ", nonlinearity='relu'" if self.cell == "rnn_relu" else ""
        text += ", reset_after=False" if self.cell == "gru_reset_before" else ""
        return text + (f", dtype={self.dtype}" if self.dtype != DEFAULT_DTYPE else "")


class RNNCell(CellLayer):
    """One step of `RNN`: h = f(W_ih x + b_ih + W_hh h' + b_hh).

    Arguments as those of `RNN`: input_size, hidden_size, bias, nonlinearity, dtype, rng, recurrent_init.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        recurrent_init: str = "uniform",
    ) -> None:
        self.nonlinearity = validation.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(f"rnn_{nonlinearity}", input_size, hidden_size, bias, dtype, rng, recurrent_init)


class LSTMCell(CellLayer):
    """One step of `LSTM`: c = f c' + i g, h = o tanh(c); the state is a tuple (h, c).

    Arguments as those of `LSTM`: input_size, hidden_size, bias, dtype, rng, recurrent_init, forget_bias.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        recurrent_init: str = "uniform",
        forget_bias: float | None = None,
    ) -> None:
        super().__init__("lstm", input_size, hidden_size, bias, dtype, rng, recurrent_init, forget_bias)


class GRUCell(CellLayer):
    """One step of `GRU`: h = (1 - z) n + z h'.

    Arguments as those of `GRU`: input_size, hidden_size, bias, reset_after, dtype, rng, recurrent_init.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        reset_after: bool = True,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        recurrent_init: str = "uniform",
    ) -> None:
        self.reset_after = validation.flag("reset_after", reset_after)
        super().__init__(
            "gru" if reset_after else "gru_reset_before",
            input_size,
            hidden_size,
            bias,
            dtype,
            rng,
            recurrent_init,
        )
