"""Weights from Keras's layout to ours and back: transposed, and the GRU's gates in another order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyrnnfast._types import Array

ORDERS = {"RNN": [0], "LSTM": [0, 1, 2, 3], "GRU": [1, 0, 2]}
"""Keras's gates as places in ours: i f c o of i f g o, z r h of r z n. Each order is its own inverse."""


def parameters(kind: str, kernel: Array, recurrent: Array, bias: Array | None = None) -> list[Array]:
    """Return weight_ih [G * H, C], weight_hh [G * H, H], and where there is a bias bias_ih, bias_hh [G * H].

    kernel: [C, G * H]. recurrent: [H, G * H]. bias: [G * H], which becomes bias_ih beside a bias_hh of zeros;
    of the GRU with reset after [2, G * H].
    """
    found = [kernel, recurrent]
    if bias is not None:
        found += list(bias) if bias.ndim == 2 else [bias, np.zeros_like(bias)]
    return [_reorder(array.T, ORDERS[kind]) for array in found]


def variables(cell: str, kind: str, parameters: Sequence[Array]) -> list[Array]:
    """Do the opposite: kernel, recurrent kernel, bias. cell: as `pyrnnfast.functional` names it."""
    kernel, recurrent, *biases = (_reorder(array, ORDERS[kind]).T for array in parameters)
    if not biases:
        return [kernel, recurrent]
    return [kernel, recurrent, np.stack(biases) if cell == "gru" else biases[0] + biases[1]]


def _reorder(array: Array, order: list[int]) -> Array:
    """Take the blocks of the first dimension in another order."""
    blocks = array.reshape(len(order), -1, *array.shape[1:])
    taken: Array = blocks[order].reshape(array.shape)
    return taken
