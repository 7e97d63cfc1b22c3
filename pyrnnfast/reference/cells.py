"""One step of each cell, forward and backward, as equations.

Letters: N rows, H hidden units, G gates. `a` [N, G * H] is the input's part W_ih x + b_ih, `w` [G * H, H] is
W_hh, `b` [G * H] is b_hh, `h` and `c` [N, H] are the state before the step (h' and c' in the equations).
`saved` is what backward needs of the step.

`back` returns the gradients of a, of W_hh's product (they differ in the GRU with reset after only), of h and
of c. `recurrent_gradient` sums the gradient of W_hh over all steps and rows.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pyrnnfast._types import Array

Saved = tuple[Array, ...]


class Cell(Protocol):
    """What the time loop needs of a cell."""

    gates: int

    def step(self, a: Array, h: Array, c: Array, w: Array, b: Array) -> tuple[Array, Array, Saved]:
        """Return h and c after the step, and what `back` needs."""

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Turn the gradients of h and c after the step into those of a, of h W_hh^T, of h and c before."""

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """Return the gradient of W_hh [G * H, H]; arguments are stacked over steps and rows, [T * N, ...]."""


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    y: Array = 1 / (1 + np.exp(-x))
    return y


def product(a: Array, b: Array) -> Array:
    """a b."""
    ab: Array = a @ b
    return ab


def split(a: Array, gates: int) -> list[Array]:
    """Cut [N, G * H] into G parts [N, H]."""
    return np.split(a, gates, axis=-1)


class Elman:
    """h = f(a + W_hh h' + b_hh) with f = tanh or relu (Elman 1990)."""

    gates = 1

    def __init__(self, relu: bool) -> None:
        self.relu = relu

    def step(self, a: Array, h: Array, c: Array, w: Array, b: Array) -> tuple[Array, Array, Saved]:
        """h = f(a + W h' + b)."""
        s = a + h @ w.T + b
        h_new = np.maximum(s, 0) if self.relu else np.tanh(s)
        return h_new, c, (h_new,)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """da = dh f'(s)."""
        (h_new,) = saved
        da = np.where(h_new <= 0, 0, dh) if self.relu else dh * (1 - h_new * h_new)
        return da, da, da @ w, dc

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """dW = sum of da h'^T."""
        return product(dah.T, h)


class LSTM:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; order i f g o."""

    gates = 4

    def step(self, a: Array, h: Array, c: Array, w: Array, b: Array) -> tuple[Array, Array, Saved]:
        """c = f c' + i g, h = o tanh(c)."""
        si, sf, sg, so = split(a + h @ w.T + b, 4)
        i, f, g, o = sigmoid(si), sigmoid(sf), np.tanh(sg), sigmoid(so)
        c_new = f * c + i * g
        tanh_c = np.tanh(c_new)
        return o * tanh_c, c_new, (i, f, g, o, tanh_c)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h = o tanh(c), then c = f c' + i g, then the gates."""
        i, f, g, o, tanh_c = saved
        do = dh * tanh_c
        dc_new = dc + dh * o * (1 - tanh_c * tanh_c)
        di, df, dg, dc_old = dc_new * g, dc_new * c, dc_new * i, dc_new * f
        da = np.concatenate([di * i * (1 - i), df * f * (1 - f), dg * (1 - g * g), do * o * (1 - o)], axis=-1)
        return da, da, da @ w, dc_old

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """dW = sum of da h'^T."""
        return product(dah.T, h)


class GRU:
    """Cho et al. 2014 as cuDNN and PyTorch compute it, the reset gate after the product; order r z n."""

    gates = 3

    def step(self, a: Array, h: Array, c: Array, w: Array, b: Array) -> tuple[Array, Array, Saved]:
        """n = tanh(a_n + r (W_n h' + b_n)), h = (1 - z) n + z h'."""
        ar, az, an = split(a, 3)
        pr, pz, pn = split(h @ w.T + b, 3)
        r, z = sigmoid(ar + pr), sigmoid(az + pz)
        n = np.tanh(an + r * pn)
        return (1 - z) * n + z * h, c, (r, z, n, pn)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h, then n; W_hn's product sees r times the gradient of n's sum."""
        r, z, n, pn = saved
        dz, dn = dh * (h - n), dh * (1 - z)
        dan = dn * (1 - n * n)
        dar, daz = dan * pn * r * (1 - r), dz * z * (1 - z)
        dax = np.concatenate([dar, daz, dan], axis=-1)
        dah = np.concatenate([dar, daz, dan * r], axis=-1)
        return dax, dah, dah @ w + dh * z, dc

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """dW = sum of dah h'^T."""
        return product(dah.T, h)


class GRUResetBefore:
    """Cho et al. 2014 as printed, the reset gate before the product; order r z n."""

    gates = 3

    def step(self, a: Array, h: Array, c: Array, w: Array, b: Array) -> tuple[Array, Array, Saved]:
        """n = tanh(a_n + W_n (r h') + b_n), h = (1 - z) n + z h'."""
        (ar, az, an), (wr, wz, wn), (br, bz, bn) = split(a, 3), np.split(w, 3), np.split(b, 3)
        r, z = sigmoid(ar + h @ wr.T + br), sigmoid(az + h @ wz.T + bz)
        n = np.tanh(an + (r * h) @ wn.T + bn)
        return (1 - z) * n + z * h, c, (r, z, n)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h, then n; the gradient of r h' goes to both factors."""
        r, z, n = saved
        wr, wz, wn = np.split(w, 3)
        dz, dn = dh * (h - n), dh * (1 - z)
        dan = dn * (1 - n * n)
        drh = dan @ wn
        dar, daz = drh * h * r * (1 - r), dz * z * (1 - z)
        da = np.concatenate([dar, daz, dan], axis=-1)
        return da, da, dar @ wr + daz @ wz + drh * r + dh * z, dc

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """dW_r and dW_z as ever; dW_n = sum of da_n (r h')^T."""
        dar, daz, dan = split(dah, 3)
        return np.concatenate([dar.T @ h, daz.T @ h, dan.T @ (saved[0] * h)])


CELLS: dict[str, Cell] = {
    "rnn_tanh": Elman(relu=False),
    "rnn_relu": Elman(relu=True),
    "lstm": LSTM(),
    "gru": GRU(),
    "gru_reset_before": GRUResetBefore(),
}
