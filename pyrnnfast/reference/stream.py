"""A stack that is fed one step at a time, in plain NumPy."""

from __future__ import annotations

import threading

import numpy as np

from pyrnnfast._sizes import states
from pyrnnfast._types import Array
from pyrnnfast.reference.recurrent import Pack, forward


class Stream:
    """See `pyrnnfast._backend.StreamHandle`."""

    def __init__(self, pack: Pack, rows: int, num_threads: int) -> None:
        self._turn = threading.Lock()
        self._pack = pack
        self._x_shape = (rows, pack.input_size)
        shape, c_shape = states(pack, rows)
        self._h = np.zeros(shape, pack.dtype)
        self._c = None if c_shape is None else np.zeros(c_shape, pack.dtype)
        self._output = np.zeros(self._h.shape[1:], pack.dtype)
        self._y = np.asarray(self._output.data.toreadonly())

    def step(self, x: object) -> Array | None:
        """Take one step; None, and none is taken, if x is not fit."""
        if type(x) is not np.ndarray or x.dtype != self._pack.dtype or x.shape != self._x_shape:
            return None
        x = np.require(x, requirements=("C", "A"))  # a BLAS may round by layout
        with self._turn:
            y, self._h, self._c, _ = forward(self._pack, x[None], self._h, self._c, None, 0.0, 0, False, 0)
            self._output[...] = y[0]
        return self._y

    def use(self, pack: Pack) -> None:
        """Go on with other weights."""
        self._pack = pack

    def state(self) -> tuple[Array, Array | None]:
        """Copy the state."""
        with self._turn:
            return self._h.copy(), None if self._c is None else self._c.copy()

    def set_state(self, h: Array | None, c: Array | None) -> None:
        """Copy a state in; None for zeros."""
        with self._turn:
            self._h = np.zeros_like(self._h) if h is None else h.copy()
            if self._c is not None:
                self._c = np.zeros_like(self._c) if c is None else c.copy()
