"""One step of each cell, forward and backward, as equations.

Letters: N rows, H hidden units, G gates. `a` [N, G * H] is the input's part W_ih x + b_ih, `w` [G * H, H] is
W_hh, `b` [G * H] is b_hh, `h` and `c` [N, H] are the state before the step (h' and c' in the equations).
`p` [3 * H] holds the LSTM's peepholes, or is None. `saved` is what backward needs of the step: the sums
before clip and activation (`Gate`).

`back` returns the gradients of a, of W_hh's product (they differ in the GRU with reset after only), of h and
of c; with layer normalisation the product is what has been normalised, and a fifth is the gradient of the
LSTM's normalised c. `recurrent_gradient`, `gain_gradient`, `peephole_gradient` sum over all steps and rows.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pyrnnfast._types import Activation, Array
from pyrnnfast.reference.activations import Gate
from pyrnnfast.reference.norm import Norm, Norms

Saved = tuple[Array, ...]
ALL = slice(None)


class Cell(Protocol):
    """What the time loop needs of a cell."""

    gates: int
    norms: Norms | None

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None
    ) -> tuple[Array, Array, Saved]:
        """Return h and c after the step, and what `back` needs."""

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, dh: Array, dc: Array
    ) -> tuple[Array, ...]:
        """Turn the gradients of h and c after the step into those of a, of h W_hh^T, of h and c before."""

    def recurrent_gradient(self, dah: Array, h: Array, saved: Saved, w: Array) -> Array:
        """Return the gradient of W_hh [G * H, H]; arguments are stacked over steps and rows, [T * N, ...]."""

    def gain_gradient(self, dah: Array, h: Array, saved: Saved, w: Array) -> Array:
        """Return the gradient of the gain of W_hh's product [G * H], likewise."""


def product(a: Array, b: Array) -> Array:
    """a b."""
    ab: Array = a @ b
    return ab


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


class Elman(Recurrent):
    """h = f(a + W_hh h' + b_hh), f = tanh or relu by default (Elman 1990)."""

    gates = 1

    def __init__(self, f: Gate) -> None:
        self.f = f

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None
    ) -> tuple[Array, Array, Saved]:
        """h = f(a + W h' + b)."""
        s = a + self.recur(h, w) + b
        return self.f(s), c, (s,)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """da = dh f'(s)."""
        (s,) = saved
        da = dh * self.f.slope(s)
        return da, da, self.recur_back(da, h, w) @ w, dc


class LSTM(Recurrent):
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; order i f g o.

    p: the peepholes of Gers et al. 2002, order i f o. coupled: f = 1 - i (Greff et al. 2017).
    """

    gates = 4

    def __init__(self, f: Gate, g: Gate, h: Gate, coupled: bool) -> None:
        self.f, self.g, self.h, self.coupled = f, g, h, coupled

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None
    ) -> tuple[Array, Array, Saved]:
        """c = f c' + i g, h = o tanh(c)."""
        si, sf, sg, so = split(a + self.recur(h, w) + b, 4)
        if p is not None:
            pi, pf, po = split(p, 3)
            si, sf = si + pi * c, sf + pf * c
        i, g = self.f(si), self.g(sg)
        f = 1 - i if self.coupled else self.f(sf)
        c_new = f * c + i * g
        if p is not None:
            so = so + po * c_new
        return self.f(so) * self.h(self.seen(c_new)), c_new, (si, sf, sg, so, c_new)

    def seen(self, c: Array) -> Array:
        """Return c as the output sees it."""
        return c if self.cell_norm is None else self.cell_norm(c)

    @property
    def cell_norm(self) -> Norm | None:
        """None where c is seen as it is."""
        return None if self.norms is None else self.norms.cell

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, dh: Array, dc: Array
    ) -> tuple[Array, ...]:
        """Differentiate h = o tanh(c), then c = f c' + i g, then the gates."""
        si, sf, sg, so, c_new = saved
        i, g, o = self.f(si), self.g(sg), self.f(so)
        f = 1 - i if self.coupled else self.f(sf)
        seen = self.seen(c_new)
        dso = dh * self.h(seen) * self.f.slope(so)
        dseen = dh * o * self.h.slope(seen)
        dc_new = dc + (dseen if self.cell_norm is None else self.cell_norm.back(c_new, dseen))
        if p is not None:
            pi, pf, po = split(p, 3)
            dc_new = dc_new + dso * po
        di, df = dc_new * g, dc_new * c
        if self.coupled:
            di, df = di - df, np.zeros_like(df)
        dsi, dsf, dsg = di * self.f.slope(si), df * self.f.slope(sf), dc_new * i * self.g.slope(sg)
        dc_old = dc_new * f
        if p is not None:
            dc_old = dc_old + dsi * pi + dsf * pf
        da = np.concatenate([dsi, dsf, dsg, dso], axis=-1)
        return da, da, self.recur_back(da, h, w) @ w, dc_old, dseen


def peephole_gradient(da: Array, c: Array, saved: Saved) -> Array:
    """Return the gradient of p [3 * H]: i and f have seen c', o has seen c."""
    dsi, dsf, _, dso = split(da, 4)
    gradient: Array = np.concatenate([dsi * c, dsf * c, dso * saved[-1]], axis=-1).sum(axis=0)
    return gradient


class GRU(Recurrent):
    """Cho et al. 2014 as cuDNN and PyTorch compute it, the reset gate after the product; order r z n."""

    gates = 3

    def __init__(self, f: Gate, g: Gate) -> None:
        self.f, self.g = f, g

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None
    ) -> tuple[Array, Array, Saved]:
        """n = tanh(a_n + r (W_n h' + b_n)), h = (1 - z) n + z h'."""
        ar, az, an = split(a, 3)
        pr, pz, pn = split(self.recur(h, w) + b, 3)
        sr, sz = ar + pr, az + pz
        sn = an + self.f(sr) * pn
        z, n = self.f(sz), self.g(sn)
        return (1 - z) * n + z * h, c, (sr, sz, sn, pn)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h, then n; W_hn's product sees r times the gradient of n's sum."""
        sr, sz, sn, pn = saved
        r, z, n = self.f(sr), self.f(sz), self.g(sn)
        dz, dn = dh * (h - n), dh * (1 - z)
        dsn = dn * self.g.slope(sn)
        dsr, dsz = dsn * pn * self.f.slope(sr), dz * self.f.slope(sz)
        dax = np.concatenate([dsr, dsz, dsn], axis=-1)
        dah = np.concatenate([dsr, dsz, dsn * r], axis=-1)
        return dax, dah, self.recur_back(dah, h, w) @ w + dh * z, dc


class GRUResetBefore(Recurrent):
    """Cho et al. 2014 as printed, the reset gate before the product; order r z n."""

    gates = 3

    def __init__(self, f: Gate, g: Gate) -> None:
        self.f, self.g = f, g

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None
    ) -> tuple[Array, Array, Saved]:
        """n = tanh(a_n + W_n (r h') + b_n), h = (1 - z) n + z h'."""
        gates, candidate = self.parts(w)
        ab = a + b
        sr, sz = split(ab[:, gates] + self.recur(h, w, gates), 2)
        r, z = self.f(sr), self.f(sz)
        sn = ab[:, candidate] + self.recur(r * h, w, candidate)
        return (1 - z) * self.g(sn) + z * h, c, (sr, sz, sn)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h, then n; the gradient of r h' goes to both factors."""
        sr, sz, sn = saved
        r, z, n = self.f(sr), self.f(sz), self.g(sn)
        gates, candidate = self.parts(w)
        dz, dn = dh * (h - n), dh * (1 - z)
        dsn = dn * self.g.slope(sn)
        drh = self.recur_back(dsn, r * h, w, candidate) @ w[candidate]
        dsr, dsz = drh * h * self.f.slope(sr), dz * self.f.slope(sz)
        dgates = np.concatenate([dsr, dsz], axis=-1)
        da = np.concatenate([dgates, dsn], axis=-1)
        return da, da, self.recur_back(dgates, h, w, gates) @ w[gates] + drh * r + dh * z, dc

    @staticmethod
    def parts(w: Array) -> tuple[slice, slice]:
        """Rows of r and z, rows of n."""
        two = 2 * (len(w) // 3)
        return slice(two), slice(two, None)

    def products(self, h: Array, saved: Saved, w: Array) -> list[tuple[slice, Array]]:
        """h' for r and z, r h' for n."""
        return list(zip(self.parts(w), (h, self.f(saved[0]) * h), strict=True))


class Jordan(Recurrent):
    """The output goes back instead of the hidden units (Jordan 1986); rows of w: U, then V; of b: d, then c.

    The state h is the output o. The second half of a is unused.
    """

    gates = 2

    def __init__(self, f: Gate, g: Gate) -> None:
        self.f, self.g = f, g

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None
    ) -> tuple[Array, Array, Saved]:
        """h = f(a + U o' + d), o = g(V h + c)."""
        (u, v), (d, e) = np.split(w, 2), np.split(b, 2)
        sh = split(a, 2)[0] + h @ u.T + d
        so = self.f(sh) @ v.T + e
        return self.g(so), c, (sh, so)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, dh: Array, dc: Array
    ) -> tuple[Array, ...]:
        """Differentiate o, then h."""
        sh, so = saved
        u, v = np.split(w, 2)
        dso = dh * self.g.slope(so)
        dsh = (dso @ v) * self.f.slope(sh)
        dax = np.concatenate([dsh, np.zeros_like(dso)], axis=-1)
        return dax, np.concatenate([dsh, dso], axis=-1), dsh @ u, dc

    def products(self, h: Array, saved: Saved, w: Array) -> list[tuple[slice, Array]]:
        """o' for U, h for V."""
        half = len(w) // 2
        return [(slice(half), h), (slice(half, None), self.f(saved[0]))]


PLAIN: dict[str, tuple[Activation, ...]] = {
    "rnn_tanh": (Activation("tanh"),),
    "rnn_relu": (Activation("relu"),),
    "lstm": (Activation("sigmoid"), Activation("tanh"), Activation("tanh")),
    "gru": (Activation("sigmoid"), Activation("tanh")),
    "gru_reset_before": (Activation("sigmoid"), Activation("tanh")),
    "jordan": (Activation("tanh"), Activation("affine", 1.0, 0.0)),
}
"""The activations of each cell's plain form, in the order of `Options`."""


def make_cell(
    name: str, activations: tuple[Activation, ...], clip: float, coupled: bool, norms: Norms | None
) -> Cell:
    """Make the cell of one layer and direction; clip acts on sums, not on the cell state that h sees."""
    gates = [Gate(each, clip) for each in activations]
    cell: Elman | LSTM | GRU | GRUResetBefore | Jordan
    if name == "lstm":
        cell = LSTM(gates[0], gates[1], Gate(activations[2]), coupled)
    elif name == "gru":
        cell = GRU(*gates)
    elif name == "jordan":
        cell = Jordan(*gates)
    else:
        cell = GRUResetBefore(*gates) if name == "gru_reset_before" else Elman(*gates)
    cell.norms = norms
    return cell
