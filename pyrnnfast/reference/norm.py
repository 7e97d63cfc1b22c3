"""Layer normalisation (Ba et al. 2016): gain (x - mean) / sqrt(variance + eps) + bias, of each row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pyrnnfast._types import Array

EPS = 1e-5


class Norm(NamedTuple):
    """Of rows [..., M]."""

    gain: Array
    """[M]."""
    bias: Array | None = None
    """[M]; None for none."""

    def __call__(self, x: Array) -> Array:
        """Normalise."""
        y: Array = self.gain * self._unit(x)[0] + (0 if self.bias is None else self.bias)
        return y

    def part(self, rows: slice) -> Norm:
        """Return that of some of the places."""
        return Norm(self.gain[rows])

    def back(self, x: Array, dy: Array) -> Array:
        """Turn the gradient of the result into that of x."""
        n, scale = self._unit(x)
        g = self.gain * dy
        dx: Array = scale * (g - g.mean(axis=-1, keepdims=True) - n * (g * n).mean(axis=-1, keepdims=True))
        return dx

    def gradient(self, x: Array, dy: Array) -> Array:
        """Return the gradient of the gain; x and dy are [K, M]."""
        gradient: Array = (dy * self._unit(x)[0]).sum(axis=0)
        return gradient

    def gradients(self, x: Array, dy: Array) -> list[Array]:
        """Return those of the gain and of the bias, if there is one."""
        return [self.gradient(x, dy), *([] if self.bias is None else [dy.sum(axis=0)])]

    def _unit(self, x: Array) -> tuple[Array, Array]:
        apart = x - x.mean(axis=-1, keepdims=True)
        scale = 1 / np.sqrt((apart**2).mean(axis=-1, keepdims=True) + x.dtype.type(EPS))
        return apart * scale, scale


class Norms(NamedTuple):
    """Those of one layer and direction."""

    input: Norm
    """Of W_ih x [G * H]."""
    hidden: Norm
    """Of W_hh h' [G * H]."""
    cell: Norm | None
    """Of the LSTM's c [H], as the output sees it."""

    def weights(self) -> list[Array]:
        """Return them in their order."""
        parts = (self.input, self.hidden, *([] if self.cell is None else [self.cell]))
        return [weight for part in parts for weight in part if weight is not None]

    @classmethod
    def of(cls, input: Array, hidden: Array, cell: Array | None = None, bias: Array | None = None) -> Norms:
        """Make them of their weights."""
        return cls(Norm(input), Norm(hidden), None if cell is None else Norm(cell, bias))
