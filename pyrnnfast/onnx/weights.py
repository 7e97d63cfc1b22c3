"""Weights from ONNX's layout to ours and back: a tensor for all directions, gates in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pyrnnfast._types import Array

ORDERS = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
"""ONNX's gates as places in ours: z r h of r z n, i o f c of i f g o."""
PEEPHOLES = (0, 2, 1)
"""The same of the peepholes: i o f of i f o."""


def operands(op: str, parameters: Mapping[str, Array], layer: int, directions: int) -> dict[str, Array]:
    """Return a layer's operands of the operator `op`.

    parameters: by PyTorch's names. Returns W [D, G * H, C], R [D, G * H, H], and where there are biases or
    peepholes B [D, 2 * G * H] and P [D, 3 * H].
    """
    order = ORDERS[op]
    found: dict[str, list[Array]] = {}
    for suffix in _suffixes(layer, directions):
        found.setdefault("W", []).append(_reorder(parameters["weight_ih" + suffix], order))
        found.setdefault("R", []).append(_reorder(parameters["weight_hh" + suffix], order))
        if "bias_ih" + suffix in parameters:
            both = [_reorder(parameters[name + suffix], order) for name in ("bias_ih", "bias_hh")]
            found.setdefault("B", []).append(np.concatenate(both))
        if "weight_peephole" + suffix in parameters:
            found.setdefault("P", []).append(_reorder(parameters["weight_peephole" + suffix], PEEPHOLES))
    return {name: np.stack(arrays) for name, arrays in found.items()}


def parameters(op: str, given: Mapping[str, Array], layer: int = 0) -> dict[str, Array]:
    """Do the opposite: from W, R and where they are there B and P, to the parameters by PyTorch's names."""
    back = np.argsort(ORDERS[op])
    found: dict[str, Array] = {}
    for direction, suffix in enumerate(_suffixes(layer, len(given["W"]))):
        found["weight_ih" + suffix] = _reorder(given["W"][direction], back)
        found["weight_hh" + suffix] = _reorder(given["R"][direction], back)
        if "B" in given:
            for name, half in zip(("bias_ih", "bias_hh"), np.split(given["B"][direction], 2), strict=True):
                found[name + suffix] = _reorder(half, back)
        if "P" in given:
            found["weight_peephole" + suffix] = _reorder(given["P"][direction], np.argsort(PEEPHOLES))
    return found


def _suffixes(layer: int, directions: int) -> list[str]:
    return [f"_l{layer}{reverse}" for reverse in ("", "_reverse")[:directions]]


def _reorder(array: Array, order: Sequence[int] | Array) -> Array:
    """Take the blocks of the first dimension in another order."""
    blocks = array.reshape(len(order), -1, *array.shape[1:])
    taken: Array = blocks[np.asarray(order)].reshape(array.shape)
    return taken
