"""One step of each cell, forward and backward, as equations.

Letters: N rows, H hidden units, G gates. `a` [N, G * H] is the input's part W_ih x + b_ih, `w` [G * H, H] is
W_hh, `b` [G * H] is b_hh, `h` and `c` [N, H] are the state before the step (h' and c' in the equations).
`p` [3 * H] holds the LSTM's peepholes, or is None, `m` what dropout does to the step. `saved` is what
backward needs of the step: the sums before clip and activation (`Gate`).

`back` returns the gradients of a, of W_hh's product (they differ in the GRU with reset after only), of h and
of c. `recurrent_gradient` and `peephole_gradient` sum over all steps and rows.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from pyrnnfast._types import Activation, Array
from pyrnnfast.reference.activations import Gate

Saved = tuple[Array, ...]


class Masks(NamedTuple):
    """What is random in one step."""

    product: Array | float = 1.0
    """[N, H] factors of h' in the recurrent product."""
    zone_c: Array | float | None = None
    """[N, H] the part of c' in c; None without zoneout."""
    zone_h: Array | float | None = None
    """The same of h' in h; the time loop applies it."""


def zoned(part: Array | float | None, old: Array, new: Array) -> Array:
    """Zoneout (Krueger et al. 2016)."""
    return new if part is None else part * old + (1 - part) * new


class Cell(Protocol):
    """What the time loop needs of a cell."""

    gates: int

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """Return h and c after the step, and what `back` needs."""

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Turn the gradients of h and c after the step into those of a, of h W_hh^T, of h and c before."""

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """Return the gradient of W_hh [G * H, H]; arguments are stacked over steps and rows, [T * N, ...].

        h: with the factors that it has in the product.
        """


def product(a: Array, b: Array) -> Array:
    """a b."""
    ab: Array = a @ b
    return ab


def split(a: Array, parts: int) -> list[Array]:
    """Cut [N, parts * H] into parts [N, H]."""
    return np.split(a, parts, axis=-1)


class Elman:
    """h = f(a + W_hh h' + b_hh), f = tanh or relu by default (Elman 1990)."""

    gates = 1

    def __init__(self, f: Gate) -> None:
        self.f = f

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """h = f(a + W h' + b)."""
        s = a + (m.product * h) @ w.T + b
        return self.f(s), c, (s,)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """da = dh f'(s), clipped as in every cell where grad_clip says so."""
        (s,) = saved
        da = self.f.back(dh, s)
        return da, da, m.product * (da @ w), dc

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """dW = sum of da h'^T."""
        return product(dah.T, h)


class LSTM:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; order i f g o.

    p: the peepholes of Gers et al. 2002, order i f o. coupled: f = 1 - i (Greff et al. 2017). With zoneout
    h sees the new c, before it is zoned, and o's peephole the one after.
    """

    gates = 4

    def __init__(self, f: Gate, g: Gate, h: Gate, coupled: bool) -> None:
        self.f, self.g, self.h, self.coupled = f, g, h, coupled

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """c = f c' + i g, h = o tanh(c)."""
        si, sf, sg, so = split(a + (m.product * h) @ w.T + b, 4)
        if p is not None:
            pi, pf, po = split(p, 3)
            si, sf = si + pi * c, sf + pf * c
        i, g = self.f(si), self.g(sg)
        f = 1 - i if self.coupled else self.f(sf)
        new = f * c + i * g
        c_new = zoned(m.zone_c, c, new)
        if p is not None:
            so = so + po * c_new
        return self.f(so) * self.h(new), c_new, (si, sf, sg, so, c_new)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h = o tanh(c), then c = f c' + i g, then the gates."""
        si, sf, sg, so, _ = saved
        i, g, o = self.f(si), self.g(sg), self.f(so)
        f = 1 - i if self.coupled else self.f(sf)
        new = f * c + i * g
        dso = self.f.back(dh * self.h(new), so)
        if p is not None:
            pi, pf, po = split(p, 3)
            dc = dc + dso * po
        kept = 0.0 if m.zone_c is None else m.zone_c
        dc_new = (1 - kept) * dc + dh * o * self.h.slope(new)
        di, df = dc_new * g, dc_new * c
        if self.coupled:
            di, df = di - df, np.zeros_like(df)
        dsi, dsf, dsg = self.f.back(di, si), self.f.back(df, sf), self.g.back(dc_new * i, sg)
        dc_old = dc_new * f + kept * dc
        if p is not None:
            dc_old = dc_old + dsi * pi + dsf * pf
        da = np.concatenate([dsi, dsf, dsg, dso], axis=-1)
        return da, da, m.product * (da @ w), dc_old

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """dW = sum of da h'^T."""
        return product(dah.T, h)


def peephole_gradient(da: Array, c: Array, saved: Saved) -> Array:
    """Return the gradient of p [3 * H]: i and f have seen c', o has seen c."""
    dsi, dsf, _, dso = split(da, 4)
    gradient: Array = np.concatenate([dsi * c, dsf * c, dso * saved[-1]], axis=-1).sum(axis=0)
    return gradient


class GRU:
    """Cho et al. 2014 as cuDNN and PyTorch compute it, the reset gate after the product; order r z n."""

    gates = 3

    def __init__(self, f: Gate, g: Gate) -> None:
        self.f, self.g = f, g

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """n = tanh(a_n + r (W_n h' + b_n)), h = (1 - z) n + z h'."""
        ar, az, an = split(a, 3)
        pr, pz, pn = split((m.product * h) @ w.T + b, 3)
        sr, sz = ar + pr, az + pz
        sn = an + self.f(sr) * pn
        z, n = self.f(sz), self.g(sn)
        return (1 - z) * n + z * h, c, (sr, sz, sn, pn)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h, then n; W_hn's product sees r times the gradient of n's sum."""
        sr, sz, sn, pn = saved
        r, z, n = self.f(sr), self.f(sz), self.g(sn)
        dz, dn = dh * (h - n), dh * (1 - z)
        dsn = self.g.back(dn, sn)
        dsr, dsz = self.f.back(dsn * pn, sr), self.f.back(dz, sz)
        dax = np.concatenate([dsr, dsz, dsn], axis=-1)
        dah = np.concatenate([dsr, dsz, dsn * r], axis=-1)
        return dax, dah, m.product * (dah @ w) + dh * z, dc

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """dW = sum of dah h'^T."""
        return product(dah.T, h)


class GRUResetBefore:
    """Cho et al. 2014 as printed, the reset gate before the product; order r z n."""

    gates = 3

    def __init__(self, f: Gate, g: Gate) -> None:
        self.f, self.g = f, g

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """n = tanh(a_n + W_n (r h') + b_n), h = (1 - z) n + z h'."""
        (ar, az, an), (wr, wz, wn), (br, bz, bn) = split(a, 3), np.split(w, 3), np.split(b, 3)
        seen = m.product * h
        sr, sz = ar + seen @ wr.T + br, az + seen @ wz.T + bz
        r, z = self.f(sr), self.f(sz)
        sn = an + (r * seen) @ wn.T + bn
        return (1 - z) * self.g(sn) + z * h, c, (sr, sz, sn)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h, then n; the gradient of r h' goes to both factors."""
        sr, sz, sn = saved
        r, z, n = self.f(sr), self.f(sz), self.g(sn)
        wr, wz, wn = np.split(w, 3)
        dz, dn = dh * (h - n), dh * (1 - z)
        dsn = self.g.back(dn, sn)
        drh = m.product * (dsn @ wn)
        dsr, dsz = self.f.back(drh * h, sr), self.f.back(dz, sz)
        da = np.concatenate([dsr, dsz, dsn], axis=-1)
        return da, da, m.product * (dsr @ wr + dsz @ wz) + drh * r + dh * z, dc

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved) -> Array:
        """dW_r and dW_z as ever; dW_n = sum of da_n (r h')^T."""
        dsr, dsz, dsn = split(dah, 3)
        return np.concatenate([dsr.T @ h, dsz.T @ h, dsn.T @ (self.f(saved[0]) * h)])


PLAIN: dict[str, tuple[Activation, ...]] = {
    "rnn_tanh": (Activation("tanh"),),
    "rnn_relu": (Activation("relu"),),
    "lstm": (Activation("sigmoid"), Activation("tanh"), Activation("tanh")),
    "gru": (Activation("sigmoid"), Activation("tanh")),
    "gru_reset_before": (Activation("sigmoid"), Activation("tanh")),
}
"""The activations of each cell's plain form, in the order of `Options`."""


def make_cell(
    name: str, activations: tuple[Activation, ...], clip: float, coupled: bool, grad_clip: float
) -> Cell:
    """Make the cell of one direction; clip acts on sums, not on the cell state that h sees."""
    gates = [Gate(each, clip, grad_clip) for each in activations]
    if name == "lstm":
        return LSTM(gates[0], gates[1], Gate(activations[2]), coupled)
    if name == "gru":
        return GRU(*gates)
    return GRUResetBefore(*gates) if name == "gru_reset_before" else Elman(*gates)
