"""The outputs of the directions as one array, and back."""

from __future__ import annotations

import numpy as np

from pyrnnfast._types import Array


def merge(sides: list[Array], how: str) -> Array:
    """Join [T, N, R] of each direction: side by side, or number by number."""
    if how == "concat":
        return np.concatenate(sides, axis=-1)
    forward, reverse = sides
    merged: Array = forward * reverse if how == "mul" else forward + reverse
    return merged * merged.dtype.type(0.5) if how == "mean" else merged


def unmerge(d: Array, sides: list[Array], how: str) -> list[Array]:
    """Differentiate `merge`: the gradient of each side."""
    if how == "concat":
        return np.split(d, len(sides), axis=-1)
    if how == "mul":
        return [d * sides[1], d * sides[0]]
    return [d * d.dtype.type(0.5 if how == "mean" else 1)] * 2
