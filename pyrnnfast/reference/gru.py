"""One step of each GRU, as equations; letters as in `base`."""

from __future__ import annotations

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.reference.activations import Gate
from pyrnnfast.reference.base import Masks, Recurrent, Saved, split


class GRU(Recurrent):
    """Cho et al. 2014 as cuDNN and PyTorch compute it, the reset gate after the product; order r z n.

    projected: h is only what the products see, and c is what z carries over.
    """

    gates = 3

    def __init__(self, f: Gate, g: Gate, projected: bool) -> None:
        self.f, self.g, self.projected = f, g, projected

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """n = tanh(a_n + r (W_n h' + b_n)), h = (1 - z) n + z h'."""
        ar, az, an = split(a, 3)
        pr, pz, pn = split(self.recur(m.product * h, w) + b, 3)
        sr, sz = ar + pr, az + pz
        sn = an + self.f(sr) * pn
        z, n = self.f(sz), self.g(sn)
        h_new = (1 - z) * n + z * (c if self.projected else h)
        return h_new, (h_new if self.projected else c), (sr, sz, sn, pn)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h, then n; W_hn's product sees r times the gradient of n's sum."""
        sr, sz, sn, pn = saved
        r, z, n = self.f(sr), self.f(sz), self.g(sn)
        dh, old = (dh + dc, c) if self.projected else (dh, h)
        dz, dn = dh * (old - n), dh * (1 - z)
        dsn = self.g.back(dn, sn)
        dsr, dsz = self.f.back(dsn * pn, sr), self.f.back(dz, sz)
        dax = np.concatenate([dsr, dsz, dsn], axis=-1)
        dah = np.concatenate([dsr, dsz, dsn * r], axis=-1)
        recurrent = m.product * (self.recur_back(dah, m.product * h, w) @ w)
        if self.projected:
            return dax, dah, recurrent, dh * z
        return dax, dah, recurrent + dh * z, dc


class GRUResetBefore(Recurrent):
    """Cho et al. 2014 as printed, the reset gate before the product; order r z n."""

    gates = 3

    def __init__(self, f: Gate, g: Gate) -> None:
        self.f, self.g = f, g

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """n = tanh(a_n + W_n (r h') + b_n), h = (1 - z) n + z h'."""
        gates, candidate = self.parts(w)
        ab = a + b
        seen = m.product * h
        sr, sz = split(ab[:, gates] + self.recur(seen, w, gates), 2)
        r, z = self.f(sr), self.f(sz)
        sn = ab[:, candidate] + self.recur(r * seen, w, candidate)
        return (1 - z) * self.g(sn) + z * h, c, (sr, sz, sn)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h, then n; the gradient of r h' goes to both factors."""
        sr, sz, sn = saved
        r, z, n = self.f(sr), self.f(sz), self.g(sn)
        gates, candidate = self.parts(w)
        dz, dn = dh * (h - n), dh * (1 - z)
        dsn, seen = self.g.back(dn, sn), m.product * h
        drh = m.product * (self.recur_back(dsn, r * seen, w, candidate) @ w[candidate])
        dsr, dsz = self.f.back(drh * h, sr), self.f.back(dz, sz)
        dgates = np.concatenate([dsr, dsz], axis=-1)
        da = np.concatenate([dgates, dsn], axis=-1)
        dseen = m.product * (self.recur_back(dgates, seen, w, gates) @ w[gates])
        return da, da, dseen + drh * r + dh * z, dc

    @staticmethod
    def parts(w: Array) -> tuple[slice, slice]:
        """Rows of r and z, rows of n."""
        two = 2 * (len(w) // 3)
        return slice(two), slice(two, None)

    def products(self, h: Array, saved: Saved, w: Array) -> list[tuple[slice, Array]]:
        """h' for r and z, r h' for n."""
        return list(zip(self.parts(w), (h, self.f(saved[0]) * h), strict=True))


class OneGateGRU(Recurrent):
    """The GRU with one gate and no reset, as lectures introduce it; order g n, n the candidate."""

    gates = 2

    def __init__(self, f: Gate, g: Gate) -> None:
        self.f, self.g = f, g

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """h = g n + (1 - g) h'."""
        sg, sn = split(a + self.recur(m.product * h, w) + b, 2)
        g, n = self.f(sg), self.g(sn)
        return g * n + (1 - g) * h, c, (sg, sn)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Differentiate h = g n + (1 - g) h', then the gate and the candidate."""
        sg, sn = saved
        g, n = self.f(sg), self.g(sn)
        da = np.concatenate([self.f.back(dh * (n - h), sg), self.g.back(dh * g, sn)], axis=-1)
        return da, da, m.product * (self.recur_back(da, m.product * h, w) @ w) + dh * (1 - g), dc
