"""Stacks of recurrent layers in plain NumPy: the time loop, the layers, the directions, forward and BPTT.

Letters: T steps, N rows, C inputs, H hidden units, G gates, L layers, D directions. Everything is computed in
the pack's dtype; an oracle makes a pack of float64 weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyrnnfast._types import Array, Integers, Options
from pyrnnfast.reference.cells import PLAIN, Cell, Saved, make_cell, peephole_gradient, zoned
from pyrnnfast.reference.dropout import Drops, Rates
from pyrnnfast.reference.philox import dropout_mask

ISA = "reference"
_Weights = tuple[Array, Array, Array, Array, Array | None]


class Pack:
    """A copy of the weights of one stack."""

    def __init__(
        self,
        cell: str,
        weights: list[Array],
        num_layers: int,
        bidirectional: bool,
        bias: bool,
        isa: str | None = None,
        options: Options | None = None,
    ) -> None:
        if isa not in (None, ISA):
            raise ValueError(f"isa must be one of {ISA}, got {isa!r}")
        self.cell = cell
        self.num_layers = num_layers
        self.num_directions = 2 if bidirectional else 1
        self.bias = bias
        self.isa = ISA
        self.options = options
        self.input_size = weights[0].shape[1]
        self.hidden_size = weights[1].shape[1]
        self.dtype: np.dtype[Any] = weights[0].dtype
        how = options or Options((PLAIN[cell],) * self.num_directions)
        self.cells = [make_cell(cell, each, how.clip, how.coupled, how.grad_clip) for each in how.activations]
        self.each = 2 + 2 * bias + how.peephole
        zero = np.zeros(self.cells[0].gates * self.hidden_size, self.dtype)
        # One (W_ih, W_hh, b_ih, b_hh, p) for each layer and direction; p None without peepholes.
        self.weights: list[_Weights] = []
        for i in range(0, len(weights), self.each):
            w_ih, w_hh, *rest = (w.copy() for w in weights[i : i + self.each])
            b_ih, b_hh = rest[:2] if bias else (zero, zero)
            self.weights.append((w_ih, w_hh, b_ih, b_hh, rest[-1] if how.peephole else None))


@dataclass
class _Run:
    """What one layer's one direction keeps, in that direction's order of steps."""

    x: Array  # [T, N, inputs], zero past the rows' ends, masked
    h: Array  # [T, N, H], the state before each step
    c: Array
    saved: list[Saved]
    drops: Drops


@dataclass(frozen=True)
class Tape:
    """What forward keeps for backward; backward only reads it."""

    pack: Pack
    steps: int
    rows: int
    lengths: Integers | None
    dropout: float
    seed: int
    runs: list[_Run]
    ids: Integers | None  # [T, N] rows of an embedding, with
    embeddings: int  # V of them


def _flip(x: Array, lengths: Integers) -> Array:
    """Reverse the first lengths[n] steps of each row of x [T, N, ...]; twice is x again."""
    s = np.arange(x.shape[0])[:, None]
    index = np.where(s < lengths, lengths - 1 - s, s)
    return np.take_along_axis(x, index[:, :, None], axis=0)


def _lengths_or_full(lengths: Integers | None, steps: int, rows: int) -> Integers:
    return np.full(rows, steps, np.int64) if lengths is None else lengths


def _active(steps: int, lengths: Integers) -> Array:
    """Which rows run at which steps, [T, N]; quick for any T when there are no rows."""
    if len(lengths) == 0:
        return np.zeros((steps, 0), np.bool_)
    active: Array = np.arange(steps)[:, None] < lengths
    return active


def _product(x: Array, w: Array) -> Array:
    """x [T, N, K] times w [K, M], for all steps and rows at once."""
    return (x.reshape(x.shape[0] * x.shape[1], len(w)) @ w).reshape(*x.shape[:2], w.shape[1])


def _run_forward(
    cell: Cell,
    weights: _Weights,
    x: Array,
    h: Array,
    c: Array,
    lengths: Integers,
    keep: bool,
    drops: Drops,
) -> tuple[Array, Array, Array, _Run]:
    """Run one layer in one direction over x [T, N, inputs]; a row stops at its length."""
    w_ih, w_hh, b_ih, b_hh, p = weights
    T, N, H = x.shape[0], x.shape[1], w_hh.shape[1]
    x = x * drops.input
    a = _product(x, w_ih.T) + b_ih
    y = np.zeros((T, N, H), x.dtype)
    before, before_c = (np.zeros((T if keep else 0, N, H), x.dtype) for _ in "hc")
    run = _Run(x, before, before_c, [], drops)
    for s in range(T if N else 0):
        active = (s < lengths)[:, None]
        masks = drops.masks(s)
        h_new, c_new, saved = cell.step(a[s], h, c, w_hh, b_hh, p, masks)
        h_new = zoned(masks.zone_h, h, h_new)
        if keep:
            run.h[s], run.c[s] = h, c
            run.saved.append(saved)
        y[s] = np.where(active, h_new, 0)
        h, c = np.where(active, h_new, h), np.where(active, c_new, c)
    return y, h, c, run


def _run_backward(
    cell: Cell, weights: _Weights, run: _Run, dy: Array, dh: Array, dc: Array, lengths: Integers
) -> tuple[Array, Array, Array, list[Array], Array]:
    """Differentiate `_run_forward`: gradients of y, h, c after -> of x, h, c before, the weights, each h."""
    w_ih, w_hh, _, b_hh, p = weights
    T, N, _ = dy.shape
    dax = np.zeros((T, N, len(b_hh)), dy.dtype)
    dah, whole = np.zeros_like(dax), np.zeros_like(dy)
    for s in reversed(range(T if N else 0)):
        active = (s < lengths)[:, None]
        masks, dh_s = run.drops.masks(s), dh + dy[s]
        whole[s] = np.where(active, dh_s, 0)
        kept = 0.0 if masks.zone_h is None else masks.zone_h
        dax_s, dah_s, dh_old, dc_old = cell.back(
            run.saved[s], run.h[s], run.c[s], w_hh, p, masks, (1 - kept) * dh_s, dc
        )
        dh_old = dh_old + kept * dh_s
        dax[s], dah[s] = np.where(active, dax_s, 0), np.where(active, dah_s, 0)
        dh, dc = np.where(active, dh_old, dh), np.where(active, dc_old, dc)
    # Only what a row did counts: a row that had stopped adds nothing, even when it holds NaN.
    did = _active(T, lengths)
    dax_did, dah_did = dax[did], dah[did]
    dweights = [dax_did.T @ run.x[did], np.zeros_like(w_hh), dax_did.sum(axis=0), dah_did.sum(axis=0)]
    dweights += [] if p is None else [np.zeros_like(p)]
    if did.any():
        saved = tuple(np.stack(part)[did] for part in zip(*run.saved, strict=True))
        dweights[1] = cell.recurrent_gradient(dah_did, (run.h * run.drops.product)[did], saved)
        if p is not None:
            dweights[4] = peephole_gradient(dah_did, run.c[did], saved)
    return _product(dax, w_ih) * run.drops.input, dh, dc, dweights, whole


def _dropout(x: Array, layer: int, probability: float, seed: int) -> Array:
    """Zero what the mask drops, and scale the rest; its own backward as well."""
    if probability == 0 or x.size == 0:
        return x
    steps, rows, units = x.shape
    kept = dropout_mask(steps, rows, units, probability, seed, layer)
    scale = x.dtype.type(1 / (1 - probability) if probability < 1 else 0)
    dropped: Array = np.where(kept, x * scale, x.dtype.type(0))
    return dropped


@np.errstate(all="ignore")
def forward(
    pack: Pack,
    x: Array | Integers,
    h0: Array | None,
    c0: Array | None,
    lengths: Integers | None,
    dropout: float,
    seed: int,
    training: bool,
    num_threads: int,
    embedding: Array | None = None,
    input_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> tuple[Array, Array, Array | None, Tape | None]:
    """Run the stack over x [T, N, C]: see `pyrnnfast.functional.forward`."""
    ids, embeddings = (None, 0) if embedding is None else (x.copy(), len(embedding))
    if embedding is not None:
        x = embedding[x]
    T, N, _ = x.shape
    L, D, H = pack.num_layers, pack.num_directions, pack.hidden_size
    ends = _lengths_or_full(lengths, T, N)
    zero = np.zeros((L * D, N, H), x.dtype)
    h0, c0 = (zero if h0 is None else h0), (zero if c0 is None else c0)
    hT, cT = np.empty_like(zero), np.empty_like(zero)
    runs = []
    zoneout = () if pack.options is None else pack.options.zoneout
    zone_c, zone_h = (0.0, 0.0, *zoneout)[-2:]
    rates = Rates(training, input_dropout * training, recurrent_dropout * training, zone_c, zone_h, seed)
    # Past a row's end x counts as zero, whatever is there.
    below = x if lengths is None else np.where(_active(T, ends)[:, :, None], x, x.dtype.type(0))
    for layer in range(L):
        if layer > 0 and training:
            below = _dropout(below, layer - 1, dropout, seed)
        outputs = []
        for direction in range(D):
            k = layer * D + direction
            source = _flip(below, ends) if direction == 1 else below
            drops = Drops.draw(rates, k, source, H)
            y, hT[k], cT[k], run = _run_forward(
                pack.cells[direction], pack.weights[k], source, h0[k], c0[k], ends, training, drops
            )
            outputs.append(_flip(y, ends) if direction == 1 else y)
            runs.append(run)
        below = np.concatenate(outputs, axis=-1)
    tape = Tape(pack, T, N, lengths, dropout, seed, runs, ids, embeddings) if training else None
    return below, hT, (cT if pack.cell == "lstm" else None), tape


@np.errstate(all="ignore")
def backward(
    tape: Tape,
    dy: Array | None,
    dhT: Array | None,
    dcT: Array | None,
    input_gradient: bool,
    num_threads: int,
    grad_norms: Array | None = None,
) -> tuple[Array | None, Array, Array | None, list[Array]]:
    """Differentiate `forward`: see `pyrnnfast.functional.backward`."""
    pack, T, N = tape.pack, tape.steps, tape.rows
    L, D, H = pack.num_layers, pack.num_directions, pack.hidden_size
    ends = _lengths_or_full(tape.lengths, T, N)
    zero = np.zeros((L * D, N, H), pack.dtype)
    dhT, dcT = (zero if dhT is None else dhT), (zero if dcT is None else dcT)
    dh0, dc0 = np.empty_like(zero), np.empty_like(zero)
    gradients: list[list[Array]] = [[] for _ in range(L * D)]
    # Past a row's end the gradient of y is ignored.
    above = np.zeros((T, N, D * H), pack.dtype) if dy is None else dy
    above = np.where(_active(T, ends)[:, :, None], above, above.dtype.type(0))
    for layer in reversed(range(L)):
        dx = np.zeros((), pack.dtype)
        for direction in range(D):
            k = layer * D + direction
            part = above[:, :, direction * H : (direction + 1) * H]
            dx_part, dh0[k], dc0[k], gradients[k], dh = _run_backward(
                pack.cells[direction],
                pack.weights[k],
                tape.runs[k],
                _flip(part, ends) if direction == 1 else part,
                dhT[k],
                dcT[k],
                ends,
            )
            dx = dx + (_flip(dx_part, ends) if direction == 1 else dx_part)
            if grad_norms is not None:
                dh = (_flip(dh, ends) if direction == 1 else dh).astype(np.float64)
                grad_norms[k] = np.sqrt((dh**2).sum(axis=(1, 2)))
        above = _dropout(dx, layer - 1, tape.dropout, tape.seed) if layer > 0 else dx
    if tape.ids is not None:
        dx, above = above, np.zeros((tape.embeddings, pack.input_size), pack.dtype)
        np.add.at(above, tape.ids, dx)
    weights = [
        gradient for of_run in gradients for gradient in (of_run if pack.bias else of_run[:2] + of_run[4:])
    ]
    return (above if input_gradient else None), dh0, (dc0 if pack.cell == "lstm" else None), weights
