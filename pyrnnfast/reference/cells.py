"""One step of each cell, as equations; letters as in `base`. The GRUs are in `gru`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyrnnfast._types import Activation, Array, Options
from pyrnnfast.reference.activations import Gate
from pyrnnfast.reference.base import Cell, Masks, Recurrent, Saved, held, hold, split, zoned
from pyrnnfast.reference.gru import GRU, GRUResetBefore, OneGateGRU
from pyrnnfast.reference.norm import Norm, Norms


class Elman(Recurrent):
    """h = f(a + W_hh h' + b_hh), f = tanh or relu by default (Elman 1990)."""

    gates = 1

    def __init__(self, f: Gate) -> None:
        self.f = f

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """h = f(a + W h' + b)."""
        s = a + self.recur(m.product * h, w) + b
        return self.f(s), c, (s,)

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, Array, Array, Array]:
        """da = dh f'(s), clipped as in every cell where grad_clip says so."""
        (s,) = saved
        da = self.f.back(dh, s)
        return da, da, m.product * (self.recur_back(da, m.product * h, w) @ w), dc


class LSTM(Recurrent):
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; order i f g o.

    p: the peepholes of Gers et al. 2002, order i f o. coupled: f = 1 - i (Greff et al. 2017). The new c
    is held to -cell_clip..cell_clip; with zoneout h sees it before it is zoned, and o's peephole after that.
    """

    gates = 4

    def __init__(self, f: Gate, g: Gate, h: Gate, coupled: bool, cell_clip: float) -> None:
        self.f, self.g, self.h, self.coupled, self.cell_clip = f, g, h, coupled, cell_clip

    def step(
        self, a: Array, h: Array, c: Array, w: Array, b: Array, p: Array | None, m: Masks
    ) -> tuple[Array, Array, Saved]:
        """c = f c' + i g, h = o tanh(c)."""
        si, sf, sg, so = split(a + self.recur(m.product * h, w) + b, 4)
        if p is not None:
            pi, pf, po = split(p, 3)
            si, sf = si + pi * c, sf + pf * c
        i, g = self.f(si), self.g(sg)
        f = 1 - i if self.coupled else self.f(sf)
        new = hold(f * c + i * g, self.cell_clip)
        c_new = zoned(m.zone_c, c, new)
        if p is not None:
            so = so + po * c_new
        return self.f(so) * self.h(self.seen(new)), c_new, (si, sf, sg, so, new, c_new)

    def seen(self, c: Array) -> Array:
        """Return c as the output sees it."""
        return c if self.cell_norm is None else self.cell_norm(c)

    @property
    def cell_norm(self) -> Norm | None:
        """None where c is seen as it is."""
        return None if self.norms is None else self.norms.cell

    def back(
        self, saved: Saved, h: Array, c: Array, w: Array, p: Array | None, m: Masks, dh: Array, dc: Array
    ) -> tuple[Array, ...]:
        """Differentiate h = o tanh(c), then c = f c' + i g, then the gates."""
        si, sf, sg, so, new, _ = saved
        i, g, o = self.f(si), self.g(sg), self.f(so)
        f = 1 - i if self.coupled else self.f(sf)
        seen = self.seen(new)
        dso = self.f.back(dh * self.h(seen), so)
        dseen = dh * o * self.h.slope(seen)
        if p is not None:
            pi, pf, po = split(p, 3)
            dc = dc + dso * po
        kept = 0.0 if m.zone_c is None else m.zone_c
        dc_new = (1 - kept) * dc + (dseen if self.cell_norm is None else self.cell_norm.back(new, dseen))
        dc_new = held(dc_new, new, self.cell_clip)
        di, df = dc_new * g, dc_new * c
        if self.coupled:
            di, df = di - df, np.zeros_like(df)
        dsi, dsf, dsg = self.f.back(di, si), self.f.back(df, sf), self.g.back(dc_new * i, sg)
        dc_old = dc_new * f + kept * dc
        if p is not None:
            dc_old = dc_old + dsi * pi + dsf * pf
        da = np.concatenate([dsi, dsf, dsg, dso], axis=-1)
        return da, da, m.product * (self.recur_back(da, m.product * h, w) @ w), dc_old, dseen


def peephole_gradient(da: Array, c: Array, saved: Saved) -> Array:
    """Return the gradient of p [3 * H]: i and f have seen c', o has seen c."""
    dsi, dsf, _, dso = split(da, 4)
    gradient: Array = np.concatenate([dsi * c, dsf * c, dso * saved[-1]], axis=-1).sum(axis=0)
    return gradient


PLAIN: dict[str, tuple[Activation, ...]] = {
    "rnn_tanh": (Activation("tanh"),),
    "rnn_relu": (Activation("relu"),),
    "lstm": (Activation("sigmoid"), Activation("tanh"), Activation("tanh")),
    "gru": (Activation("sigmoid"), Activation("tanh")),
    "gru_reset_before": (Activation("sigmoid"), Activation("tanh")),
    "one_gate_gru": (Activation("sigmoid"), Activation("tanh")),
    "jordan": (Activation("tanh"), Activation("affine", 1.0, 0.0)),
}
"""The activations of each cell's plain form, in the order of `Options`."""


@dataclass(frozen=True)
class Projection:
    """h = W_hr h~ (Sak et al. 2014), held to -clip..clip; W_hr [R, H]. With g Jordan's o = g(V h + b)."""

    w: Array
    clip: float
    b: Array | float = 0.0
    g: Gate | None = None

    def step(self, h: Array) -> Array:
        """h = W_hr h~, or o = g(V h + b)."""
        s = h @ self.w.T + self.b
        return hold(s, self.clip) if self.g is None else self.g(s)

    def back(self, h: Array, dh: Array) -> tuple[Array, Array]:
        """Return the gradients of W_hr's product and of h~."""
        s = h @ self.w.T + self.b
        ds = held(dh, s, self.clip) if self.g is None else self.g.back(dh, s)
        return ds, ds @ self.w


def make_projection(
    name: str, direction: int, options: Options, weights: list[Array], b: Array | float
) -> Projection | None:
    """Make the projection of one layer and direction, if there is one, of the first of the weights.

    Jordan's is the output layer, b its bias.
    """
    if name == "jordan":
        g = Gate(options.activations[direction][1], options.clip, options.grad_clip)
        return Projection(weights.pop(0), options.proj_clip, b, g)
    return Projection(weights.pop(0), options.proj_clip) if options.proj_size else None


def make_cell(name: str, direction: int, options: Options, norms: Norms | None) -> Cell:
    """Make the cell of one layer and direction; clip acts on sums, not on the cell state that h sees."""
    activations = options.activations[direction]
    gates = [Gate(each, options.clip, options.grad_clip) for each in activations]
    cell: Elman | LSTM | GRU | GRUResetBefore | OneGateGRU
    if name == "lstm":
        cell = LSTM(gates[0], gates[1], Gate(activations[2]), options.coupled, options.cell_clip)
    elif name == "gru":
        cell = GRU(gates[0], gates[1], options.proj_size > 0)
    elif name == "gru_reset_before":
        cell = GRUResetBefore(*gates)
    elif name == "one_gate_gru":
        cell = OneGateGRU(*gates)
    else:
        cell = Elman(gates[0])  # the second of Jordan's is that of its projection
    cell.norms = norms
    return cell
