"""`Dropout`: zeros at random in training."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, Booleans, Seed
from pyrnnfast.layers.module import Module
from pyrnnfast.layers.tape import TapeSlot

LEVELS = 2**16
"""In as many steps the probability of a zero is rounded."""


class Dropout(Module):
    """Inverted dropout, as torch.nn.Dropout (Srivastava et al. 2014).

    p: the probability of a zero, in [0, 1], default 0.5. rng: a numpy.random.Generator, a seed, or None for a
    fresh one.
    Raises TypeError or ValueError for an argument of the wrong type or out of its range.

        in training  y = x * kept / (1 - p), each number kept with probability 1 - p (to within 2^-17);
        in eval  y = x
    """

    def __init__(self, p: float = 0.5, *, rng: Seed = None) -> None:
        super().__init__()
        self.p = validation.probability("p", p)
        self.rng = validation.generator(rng)
        self._tapes: TapeSlot[tuple[np.dtype[Any], tuple[int, ...], Booleans | None]] = TapeSlot()

    def __call__(self, x: Array) -> Array:
        """Drop numbers of x, float32 or float64 of any shape.

        Returns y of the shape and dtype of x; x itself in eval and for p = 0. Raises TypeError for x of
        another dtype.
        """
        self._tapes.drop()
        x = validation.floats("x", x, None)
        if not self.training:
            return x
        kept = None
        if self.p > 0:
            with self._lock:
                kept = self._draw(x.shape)
        self._tapes.keep((x.dtype, x.shape, kept))
        return self._masked(x, kept)

    def backward(self, dy: Array) -> Array:
        """Go back through this thread's last call in training.

        dy: the gradient of y, of its shape and dtype. Returns dx = dy * kept / (1 - p).
        Raises RuntimeError without such a call, or for a second time after it; TypeError or ValueError for
        dy of another dtype or shape (the tape is kept then).
        """
        dtype, shape, kept = self._tapes.latest("Dropout")
        dy = validation.shaped("dy", dy, dtype, shape)
        self._tapes.drop()
        return self._masked(dy, kept)

    def _draw(self, shape: tuple[int, ...]) -> Booleans:
        """Draw which numbers are kept, from 16 bits each, which takes half the time of a float."""
        return np.asarray(self.rng.integers(LEVELS, size=shape, dtype=np.uint16) >= round(LEVELS * self.p))

    def _masked(self, x: Array, kept: Booleans | None) -> Array:
        if kept is None:
            return x
        y: Array = np.multiply(x, kept, out=np.empty_like(x))  # of no dimensions too an array
        if self.p < 1:
            y *= 1 / (1 - self.p)
        return y

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"p={self.p:g}"
