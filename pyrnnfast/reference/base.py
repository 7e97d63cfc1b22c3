"""One step of each cell, forward and backward, as equations.

Letters: N rows, H hidden units, G gates. `a` [N, G * H] is the input's part W_ih x + b_ih, `w` [G * H, H] is
W_hh, `b` [G * H] is b_hh, `h` and `c` [N, H] are the state before the step (h' and c' in the equations).
`p` [3 * H] holds the LSTM's peepholes, or is None, `m` what dropout and zoneout do to the step. `saved` is
what backward needs of the step: the sums before clip and activation (`Gate`).

`back` returns the gradients of a, of W_hh's product (they differ in the GRU with reset after only), of h and
of c; with layer normalisation the product is what has been normalised, and a fifth is the gradient of the
LSTM's normalised c. `recurrent_gradient`, `gain_gradient`, `peephole_gradient` sum over all steps and rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.reference.norm import Norms

Saved = tuple[Array, ...]
ALL = slice(None)


class Masks(NamedTuple):
    """What is random in one step."""

    product: Array | float = 1.0
    """[N, R] factors of h' in the recurrent product."""
    zone_c: Array | float | None = None
    """[N, H] the part of c' in c; None without zoneout."""
    zone_h: Array | float | None = None
    """[N, R] the same of h' in h; the time loop applies it."""


def zoned(part: Array | float | None, old: Array, new: Array) -> Array:
    """Zoneout (Krueger et al. 2016)."""
    return new if part is None else part * old + (1 - part) * new


class Cell(Protocol):
    """What the time loop needs of a cell."""

    gates: int
    norms: Norms | None

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """Return h and c after the step, and what `back` needs."""

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, ...]:
        """Turn the gradients of h and c after the step into those of a, of h W_hh^T, of h and c before."""

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved, w: Array) -> Array:
        """Return the gradient of W_hh [G * H, H]; arguments are stacked over steps and rows, [T * N, ...].

        h: with the factors that it has in the product.
        """

    def gain_gradient(self, dah: Array, h: Array, saved: Saved, w: Array) -> Array:
        """Return the gradient of the gain of W_hh's product [G * H], likewise."""


def product(a: Array, b: Array) -> Array:
    """a b."""
    ab: Array = a @ b
    return ab


def hold(value: Array, clip: float) -> Array:
    """Clip to -clip..clip."""
    return np.clip(value, -clip, clip)


def held(gradient: Array, value: Array, clip: float) -> Array:
    """The gradient of a clipped value: none where it is at a limit."""
    return gradient if clip == math.inf else np.where(abs(value) >= clip, gradient.dtype.type(0), gradient)


def split(a: Array, parts: int) -> list[Array]:
    """Cut [N, parts * H] into parts [N, H]."""
    return np.split(a, parts, axis=-1)


class Recurrent:
    """What the cells share: the recurrent product, which may be normalised."""

    norms: Norms | None = None

    def recur(self, h: Array, w: Array, rows: slice = ALL) -> Array:
        """h W^T for some rows of W, normalised together."""
        sums = h @ w[rows].T
        return sums if self.norms is None else self.norms.hidden.part(rows)(sums)

    def recur_back(self, d: Array, h: Array, w: Array, rows: slice = ALL) -> Array:
        """Turn the gradient of `recur` into that of h W^T."""
        return d if self.norms is None else self.norms.hidden.part(rows).back(h @ w[rows].T, d)

    def products(self, h: Array, saved: Saved, w: Array) -> list[tuple[slice, Array]]:
        """Return for each product the rows of W and what they multiply."""
        return [(ALL, h)]

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved, w: Array) -> Array:
        """dW = sum of dah h'^T."""
        parts = self.products(h, saved, w)
        return np.concatenate([product(self.recur_back(dah[:, k], x, w, k).T, x) for k, x in parts])

    def gain_gradient(self, dah: Array, h: Array, saved: Saved, w: Array) -> Array:
        """Sum of dah times what was normalised."""
        assert self.norms is not None
        norm, parts = self.norms.hidden, self.products(h, saved, w)
        return np.concatenate([norm.gradient(x @ w[k].T, dah[:, k]) for k, x in parts])
