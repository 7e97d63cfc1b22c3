"""Stacks of recurrent layers in plain NumPy: the time loop, the layers, the directions, forward and BPTT.

Letters: T steps, N rows, C inputs, H hidden units, G gates, L layers, D directions. Everything is computed in
the pack's dtype; an oracle makes a pack of float64 weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyrnnfast._sizes import states, width
from pyrnnfast._types import Array, Integers, Options
from pyrnnfast.reference import ISA
from pyrnnfast.reference.base import Cell, Saved, zoned
from pyrnnfast.reference.cells import PLAIN, Projection, make_cell, make_projection, peephole_gradient
from pyrnnfast.reference.dropout import Drops, Rates
from pyrnnfast.reference.merge import merge, unmerge
from pyrnnfast.reference.norm import Norms
from pyrnnfast.reference.philox import dropout_mask

_Weights = tuple[Array, Array, Array, Array, Projection | None, Array | None]


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
        self.dtype: np.dtype[Any] = weights[0].dtype
        how = options or Options((PLAIN[cell],) * self.num_directions)
        self.merge = how.merge
        each = len(weights) // (num_layers * self.num_directions)
        zero = np.zeros(len(weights[1]), self.dtype)
        # One for each layer and direction.
        self.cells: list[Cell] = []
        # One (W_ih, W_hh, b_ih, b_hh, projection, p) for each layer and direction; the last two may be None.
        self.weights: list[_Weights] = []
        for k in range(num_layers * self.num_directions):
            w_ih, w_hh, *rest = (w.copy() for w in weights[k * each : (k + 1) * each])
            b_ih, b_hh = rest[:2] if bias else (zero, zero)
            more = rest[2 * bias :]
            projection = make_projection(cell, k % self.num_directions, how, more, b_hh if bias else 0.0)
            p = more.pop(0) if how.peephole else None
            norms = Norms.of(*more) if how.layer_norm else None
            self.cells.append(make_cell(cell, k % self.num_directions, how, norms))
            self.weights.append((w_ih, w_hh, b_ih, zero if cell == "jordan" else b_hh, projection, p))
        self.hidden_size = len(weights[1]) // self.cells[0].gates


@dataclass
class _Run:
    """What one layer's one direction keeps, in that direction's order of steps."""

    x: Array  # [T, N, inputs], zero past the rows' ends, masked
    h: Array  # [T, N, R], the state before each step
    c: Array  # [T, N, H]
    raw: Array  # [T, N, H], what each step projects; empty without a projection
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
    sides: list[list[Array]]  # [L] of [D] outputs of each direction
    ids: Integers | None  # [T, N] rows of an embedding, with
    embeddings: int  # V of them


def _flip(x: Array, lengths: Integers) -> Array:
    """Reverse the first lengths[n] steps of each row of x [T, N, ...]; twice is x again."""
    s = np.arange(x.shape[0])[:, None]
    index = np.where(s < lengths, lengths - 1 - s, s)
    return np.take_along_axis(x, index[:, :, None], axis=0)


def _side(both: Array, direction: int, directions: int) -> Array:
    """One direction's part of [T, N, D * units], a view."""
    return np.split(both, directions, axis=-1)[direction]


def _lengths_or_full(lengths: Integers | None, steps: int, rows: int) -> Integers:
    return np.full(rows, steps, np.int64) if lengths is None else lengths


def _states(pack: Pack, rows: int, h: Array | None, c: Array | None) -> tuple[Array, Array]:
    """h [L * D, N, R] and c [L * D, N, H], of zeros where there is none."""
    shape = states(pack, rows)[0]
    h = np.zeros(shape, pack.dtype) if h is None else h
    return h, (np.zeros((*shape[:2], pack.hidden_size), pack.dtype) if c is None else c)


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
) -> tuple[Array, Array, Array, Array, _Run]:
    """Run one layer in one direction over x [T, N, inputs]; a row stops at its length."""
    w_ih, w_hh, b_ih, b_hh, projection, p = weights
    T, N = x.shape[:2]
    x = x * drops.input
    a = _product(x, w_ih.T)
    a = (a if cell.norms is None else cell.norms.input(a)) + b_ih
    y, cells = np.zeros((T, *h.shape), x.dtype), np.zeros((T, *c.shape), x.dtype)
    kept = T if keep else 0
    run = _Run(
        x,
        np.zeros((kept, *h.shape), x.dtype),
        np.zeros((kept, *c.shape), x.dtype),
        np.zeros((kept if projection is not None else 0, *c.shape), x.dtype),
        [],
        drops,
    )
    for s in range(T if N else 0):
        active, masks = (s < lengths)[:, None], drops.masks(s)
        h_new, c_new, saved = cell.step(a[s], h, c, w_hh, b_hh, p, masks)
        raw = h_new
        if projection is not None:
            h_new = projection.step(raw)
        h_new = zoned(masks.zone_h, h, h_new)
        if keep:
            run.h[s], run.c[s] = h, c
            run.saved.append(saved)
            if projection is not None:
                run.raw[s] = raw
        y[s], cells[s] = np.where(active, h_new, 0), np.where(active, c_new, 0)
        h, c = np.where(active, h_new, h), np.where(active, c_new, c)
    return y, cells, h, c, run


def _run_backward(
    cell: Cell,
    weights: _Weights,
    run: _Run,
    dy: Array,
    dcells: Array | None,
    dh: Array,
    dc: Array,
    lengths: Integers,
) -> tuple[Array, Array, Array, list[Array], Array]:
    """Differentiate `_run_forward`: gradients of y, cells, h, c -> of x, h, c before, the weights, each h."""
    w_ih, w_hh, _, b_hh, projection, p = weights
    T, N, _ = dy.shape
    dprojected = np.zeros_like(dy)
    dax = np.zeros((T, N, len(b_hh)), dy.dtype)
    dah, whole = np.zeros_like(dax), np.zeros_like(dy)
    dseen = np.zeros_like(run.c)  # of the LSTM's normalised c
    for s in reversed(range(T if N else 0)):
        active, masks = (s < lengths)[:, None], run.drops.masks(s)
        dh_s, dc_new = dh + dy[s], dc if dcells is None else dc + dcells[s]
        whole[s] = np.where(active, dh_s, 0)
        kept = 0.0 if masks.zone_h is None else masks.zone_h
        dh_new = (1 - kept) * dh_s
        if projection is not None:
            dproduct, dh_new = projection.back(run.raw[s], dh_new)
            dprojected[s] = np.where(active, dproduct, 0)
        dax_s, dah_s, dh_old, dc_old, *rest = cell.back(
            run.saved[s], run.h[s], run.c[s], w_hh, p, masks, dh_new, dc_new
        )
        dh_old = dh_old + kept * dh_s
        dax[s], dah[s] = np.where(active, dax_s, 0), np.where(active, dah_s, 0)
        dh, dc = np.where(active, dh_old, dh), np.where(active, dc_old, dc)
        if rest:
            dseen[s] = np.where(active, rest[0], 0)
    # Only what a row did counts: a row that had stopped adds nothing, even when it holds NaN.
    did = _active(T, lengths)
    dax_did, dah_did = dax[did], dah[did]
    da = dax if cell.norms is None else cell.norms.input.back(_product(run.x, w_ih.T), dax)
    dx = _product(da, w_ih) * run.drops.input
    dweights = [da[did].T @ run.x[did], np.zeros_like(w_hh), dax_did.sum(axis=0), dah_did.sum(axis=0)]
    if projection is not None:
        dweights.append(dprojected[did].T @ run.raw[did])
        if projection.g is not None:
            dweights[3] = dprojected[did].sum(axis=0)
    if not did.any():
        more = ([] if p is None else [p]) + ([] if cell.norms is None else cell.norms.weights())
        return dx, dh, dc, dweights + [np.zeros_like(each) for each in more], whole
    saved = tuple(np.stack(part)[did] for part in zip(*run.saved, strict=True))
    seen = (run.h * run.drops.product)[did]
    dweights[1] = cell.recurrent_gradient(dah_did, seen, saved, w_hh)
    if p is not None:
        dweights.append(peephole_gradient(dah_did, run.c[did], saved))
    if cell.norms is not None:
        dweights.append(cell.norms.input.gradient(_product(run.x, w_ih.T)[did], dax_did))
        dweights.append(cell.gain_gradient(dah_did, seen, saved, w_hh))
        if cell.norms.cell is not None:
            dweights += cell.norms.cell.gradients(saved[-2], dseen[did])
    return dx, dh, dc, dweights, whole


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
    cells: Array | None = None,
    input_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
) -> tuple[Array, Array, Array | None, Tape | None]:
    """Run the stack over x [T, N, C]: see `pyrnnfast.functional.forward`."""
    ids, embeddings = (None, 0) if embedding is None else (x.copy(), len(embedding))
    if embedding is not None:
        x = embedding[x]
    T, N, _ = x.shape
    L, D = pack.num_layers, pack.num_directions
    ends = _lengths_or_full(lengths, T, N)
    h0, c0 = _states(pack, N, h0, c0)
    hT, cT = np.empty_like(h0), np.empty_like(c0)
    runs: list[_Run] = []
    sides: list[list[Array]] = []
    zoneout = () if pack.options is None else pack.options.zoneout
    zone_c, zone_h = (0.0, 0.0, *zoneout)[-2:]
    rates = Rates(training, input_dropout * training, recurrent_dropout * training, zone_c, zone_h, seed)
    # Past a row's end x counts as zero, whatever is there.
    below = x if lengths is None else np.where(_active(T, ends)[:, :, None], x, x.dtype.type(0))
    for layer in range(L):
        if layer > 0 and training:
            below = _dropout(below, layer - 1, dropout, seed)
        sides.append([])
        for direction in range(D):
            k = layer * D + direction
            source = _flip(below, ends) if direction == 1 else below
            drops = Drops.draw(rates, k, source, h0.shape[-1], c0.shape[-1])
            y, c, hT[k], cT[k], run = _run_forward(
                pack.cells[k], pack.weights[k], source, h0[k], c0[k], ends, training, drops
            )
            sides[-1].append(_flip(y, ends) if direction == 1 else y)
            runs.append(run)
            if cells is not None and layer == L - 1:
                _side(cells, direction, D)[...] = _flip(c, ends) if direction == 1 else c
        below = merge(sides[-1], pack.merge)
    tape = Tape(pack, T, N, lengths, dropout, seed, runs, sides, ids, embeddings) if training else None
    return below, hT, (cT if states(pack)[1] else None), tape


@np.errstate(all="ignore")
def backward(
    tape: Tape,
    dy: Array | None,
    dhT: Array | None,
    dcT: Array | None,
    input_gradient: bool,
    num_threads: int,
    dcells: Array | None = None,
    grad_norms: Array | None = None,
) -> tuple[Array | None, Array, Array | None, list[Array]]:
    """Differentiate `forward`: see `pyrnnfast.functional.backward`."""
    pack, T, N = tape.pack, tape.steps, tape.rows
    L, D = pack.num_layers, pack.num_directions
    ends = _lengths_or_full(tape.lengths, T, N)
    dhT, dcT = _states(pack, N, dhT, dcT)
    dh0, dc0 = np.empty_like(dhT), np.empty_like(dcT)
    gradients: list[list[Array]] = [[] for _ in range(L * D)]
    # Past a row's end the gradient of y is ignored.
    above = np.zeros((T, N, width(pack)), pack.dtype) if dy is None else dy
    above = np.where(_active(T, ends)[:, :, None], above, above.dtype.type(0))
    for layer in reversed(range(L)):
        dx = np.zeros((), pack.dtype)
        parts = unmerge(above, tape.sides[layer], pack.merge)
        for direction in range(D):
            k = layer * D + direction
            part = parts[direction]
            of_cells = _side(dcells, direction, D) if dcells is not None and layer == L - 1 else None
            if direction == 1:
                part = _flip(part, ends)
                of_cells = None if of_cells is None else _flip(of_cells, ends)
            dx_part, dh0[k], dc0[k], gradients[k], dh = _run_backward(
                pack.cells[k], pack.weights[k], tape.runs[k], part, of_cells, dhT[k], dcT[k], ends
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
    return (above if input_gradient else None), dh0, (dc0 if states(pack)[1] else None), weights
