"""Options of cells that tests go through: each alone, and all together."""

from __future__ import annotations

SMOOTH = [
    ("tanh", None, None),
    ("softsign", None, None),
    ("softplus", None, None),
    ("scaled_tanh", 0.9, 0.8),
    ("affine", 0.6, 0.1),
    ("sigmoid", None, None),
]
BENT = [
    ("relu", None, None),
    ("hard_sigmoid", 0.3, 0.4),
    ("elu", 0.7, None),
    ("leaky_relu", 0.2, None),
    ("thresholded_relu", 0.05, None),
]
ACTIVATIONS = SMOOTH + BENT
"""Every one, with slopes of at most 1, so that errors do not grow."""
COUNTS = {
    "rnn_tanh": 1,
    "rnn_relu": 1,
    "lstm": 3,
    "gru": 2,
    "gru_reset_before": 2,
    "one_gate_gru": 2,
    "jordan": 2,
}


def turn(cell: str, first: int, directions: int = 1) -> list[tuple]:
    """Take activations for a cell in turn, from the one of this number on."""
    count = COUNTS[cell] * directions
    return [ACTIVATIONS[(first + 4 * i) % len(ACTIVATIONS)] for i in range(count)]


EVERY_ACTIVATION = [
    (cell, {"activations": turn(cell, first)}) for cell in COUNTS for first in range(len(ACTIVATIONS))
]
OPTIONS = [
    *((cell, {"clip": 0.3}) for cell in COUNTS),
    ("lstm", {"peephole": True}),
    ("lstm", {"coupled": True}),
    ("lstm", {"peephole": True, "coupled": True, "clip": 0.4, "activations": turn("lstm", 3)}),
    ("lstm", {"peephole": True, "clip": 0.5, "activations": turn("lstm", 1)}),
    ("gru", {"clip": 0.4, "activations": turn("gru", 7)}),
    ("gru_reset_before", {"clip": 0.4, "activations": turn("gru_reset_before", 2)}),
    ("one_gate_gru", {"clip": 0.4, "activations": turn("one_gate_gru", 5)}),
]
"""(cell, its options)"""
