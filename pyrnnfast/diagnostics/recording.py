"""What a recurrent layer does at each step: its states and how far its gates are open. Not made for speed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pyrnnfast import _sizes, reference, validation
from pyrnnfast._types import Array, State
from pyrnnfast.layers.jordan import JordanRNN
from pyrnnfast.layers.recurrent import RecurrentLayer

GATES: dict[str, tuple[str, ...]] = {
    "lstm": ("i", "f", "o"),
    "gru": ("r", "z"),
    "gru_reset_before": ("r", "z"),
    "one_gate_gru": ("g",),
}
"""The gates of each cell that has some, by the letters of docs/equations.md."""
PLACES = {"i": 0, "f": 1, "o": 3, "r": 0, "z": 1, "g": 0}
"""Of each gate's sum among those that a step of the reference keeps."""


class Activity(NamedTuple):
    """One layer in one direction at each step, in the order of x; h and c are those after the step."""

    h: Array
    """[T, N, R]"""
    c: Array | None
    """[T, N, H], the LSTM's cell state; None for other cells."""
    gates: dict[str, Array]
    """[T, N, H] of each gate by its letter: 0 is closed, 1 is open. Empty for Elman's network."""


def record(layer: RecurrentLayer, x: Array, state: State | None = None) -> tuple[list[Activity], State]:
    """Run a layer in eval mode and keep all that its units do.

    layer: an RNN, LSTM, GRU or OneGateGRU with any options. x: [T, N, C] of its dtype, T at least 1. state:
    the initial one as a call of the layer takes it; zeros by default.
    Returns (activities, final state): an Activity for each layer and direction, number layer * D + direction.
    It is computed in NumPy by `pyrnnfast.reference`, and equals what the layer computes within rounding.
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape and for a layer with zoneout.
    """
    layer = checked_layer(layer)
    x = validation.shaped("x", x, layer.dtype, ("T", "N", layer.input_size))
    if len(x) == 0:
        raise ValueError(f"x must have at least one step, got shape {x.shape}")
    shape, c_shape = _sizes.states(layer, x.shape[1])
    h0, c0 = validation.state("state", state, layer.dtype, shape, c_shape)
    weights = list(layer.named_parameters().values())
    stack = (layer.num_layers, layer.bidirectional, layer.bias)
    pack = reference.Pack(layer.cell, weights, *stack, None, layer.options)
    _, h, c, tape = reference.forward(pack, x, h0, c0, None, 0.0, 0, True, 1)
    assert tape is not None
    ends = [None] * len(h) if c is None else list(c)
    activities = [_activity(layer, pack, tape, k, h[k], ends[k]) for k in range(len(h))]
    return activities, h if c is None else (h, c)


def checked_layer(layer: object) -> RecurrentLayer:
    """Return a layer whose steps can be looked into; raise TypeError or ValueError for another one."""
    if not isinstance(layer, RecurrentLayer) or isinstance(layer, JordanRNN):
        raise TypeError(f"layer must be an RNN, LSTM, GRU or OneGateGRU, got {type(layer).__name__}")
    if layer.options is not None and layer.options.zoneout:
        raise ValueError(f"layer must be one without zoneout, got {layer}")
    return layer


@np.errstate(all="ignore")
def _activity(
    layer: RecurrentLayer, pack: reference.Pack, tape: reference.Tape, k: int, h: Array, c: Array | None
) -> Activity:
    """Read layer and direction k of the tape, whose steps are in that direction's order; h, c: at its end."""
    run, cell = tape.runs[k], pack.cells[k]
    order = slice(None, None, -1 if k % layer.num_directions else None)
    gate: Any = getattr(cell, "f", None)
    gates = {}
    for name in GATES.get(layer.cell, ()):
        sums = np.stack([saved[PLACES[name]] for saved in run.saved])
        gates[name] = gate(sums)[order]
    if layer.options is not None and layer.options.coupled:
        gates["f"] = 1 - gates["i"]
    after = np.concatenate([run.h[1:], h[None]])[order]
    cells = np.concatenate([run.c[1:], c[None]])[order] if c is not None and layer.cell == "lstm" else None
    return Activity(after, cells, gates)
