"""Initial values of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyrnnfast._types import Array


def uniform(rng: np.random.Generator, shape: Sequence[int], bound: float, dtype: np.dtype[Any]) -> Array:
    """Draw from the uniform distribution on -bound..bound; with 1/sqrt(fan-in) this is PyTorch's default."""
    return rng.uniform(-bound, bound, tuple(shape)).astype(dtype)


def normal(rng: np.random.Generator, shape: Sequence[int], deviation: float, dtype: np.dtype[Any]) -> Array:
    """Draw from the normal distribution around 0."""
    return rng.normal(0, deviation, tuple(shape)).astype(dtype)


def orthogonal(rng: np.random.Generator, blocks: int, rows: int, cols: int, dtype: np.dtype[Any]) -> Array:
    """Stack `blocks` random matrices with orthonormal columns, each uniform over all: [blocks * rows, cols].

    Saxe, McClelland, Ganguli 2014; the signs make the QR factorisation unique (Mezzadri 2007).
    """
    q, r = np.linalg.qr(rng.normal(size=(blocks, rows, cols)))
    signs = np.where(np.diagonal(r, axis1=1, axis2=2) < 0, -1.0, 1.0)
    matrices: Array = (q * signs[:, None, :]).reshape(blocks * rows, cols).astype(dtype)
    return matrices
