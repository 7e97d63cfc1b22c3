"""Clipping of gradients: by their joint norm, or number by number. Both change the arrays in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array
from pyrnnfast.layers.module import Module

Gradients = Module | Mapping[str, Array] | Iterable[Array]

BLOCK = 8192
"""Few enough numbers for a BLAS not to call other threads."""
NONFINITE = ("propagate", "raise", "skip")


def clip_grad_norm_(
    grads: Gradients, max_norm: float, norm_type: float = 2.0, nonfinite: str = "propagate"
) -> float:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)), in place, and return their norm before that.

    grads: a module (its `.grads`), a dict of arrays, or an iterable of arrays; float32 or float64, writable.
    An array that is given twice, as of weights that two layers share, counts once.
    max_norm: at least 0; infinity only measures. norm_type: p > 0 of the norm (sum |g|^p)^(1/p) over all
    numbers of all arrays; math.inf for the largest magnitude; default 2.
    nonfinite: what happens when the norm is NaN or infinite:
      "propagate"  scales as always, as PyTorch: the gradients become 0 and NaN (default);
      "raise"      RuntimeError, gradients as they were;
      "skip"       gradients as they were; the returned norm tells the caller to leave out the step, which
                   keeps momentum and averages clean, where a step with zero gradients would move them:

                       if math.isfinite(clip_grad_norm_(model, 1.0, nonfinite="skip")):
                           optimizer.step()
                       optimizer.zero_grad()

    Returns the norm as a float; it is accumulated in float64 and overflows only if it is itself too large.
    Raises TypeError or ValueError for an argument of the wrong type, dtype or range; nothing is changed then.

    As torch.nn.utils.clip_grad_norm_ (Pascanu et al. 2013), where "raise" is error_if_nonfinite=True.
    """
    arrays = _arrays(grads)
    limit = validation.number("max_norm", max_norm, at_least=0, infinite=True)
    p = validation.number("norm_type", norm_type, above=0, infinite=True)
    validation.choice("nonfinite", nonfinite, NONFINITE)
    norm = _norm(arrays, p)
    if not math.isfinite(norm):
        if nonfinite == "raise":
            raise RuntimeError(f"the norm of order {p:g} of the gradients must be finite, got {norm}")
        if nonfinite == "skip":
            return norm
    if limit == math.inf:
        return norm
    coefficient = limit / (norm + 1e-6)
    if not coefficient >= 1:
        with np.errstate(invalid="ignore"):
            for array in arrays:
                array *= coefficient
    return norm


def clip_grad_value_(grads: Gradients, clip_value: float) -> None:
    """Bring every number of the gradients into -clip_value..clip_value, in place; NaN stays NaN.

    grads: as for `clip_grad_norm_`. clip_value: at least 0.
    Raises TypeError or ValueError for an argument of the wrong type, dtype or range; nothing is changed then.

    As torch.nn.utils.clip_grad_value_.
    """
    arrays = _arrays(grads)
    limit = validation.number("clip_value", clip_value, at_least=0, infinite=True)
    for array in arrays:
        with np.errstate(over="ignore"):
            bound = array.dtype.type(limit)
        np.clip(array, -bound, bound, out=array)


def _arrays(grads: object) -> list[Array]:
    """Return the gradients as a list of arrays that may be written; one that is given twice is in it once."""
    if isinstance(grads, Module):
        grads = grads.grads
    if isinstance(grads, np.ndarray):
        grads = [grads]
    if not isinstance(grads, Iterable) or isinstance(grads, (str, bytes)):
        raise TypeError(
            f"grads must be a module, a dict of arrays or an iterable of arrays, got {type(grads).__name__}"
        )
    named = grads.items() if isinstance(grads, Mapping) else enumerate(grads)
    arrays = [validation.writable(f"grads[{name!r}]", array) for name, array in named]
    return list({(array.ctypes.data, array.shape, array.strides): array for array in arrays}.values())


def _norm(arrays: list[Array], p: float) -> float:
    """Return (sum |g|^p)^(1/p) over all arrays, through the plain sum of squares where that is safe."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if p == 2:
            squares = sum(_sum_of_powers(array, 2, 1) for array in arrays)
            if 1e-280 < squares < 1e280:
                return math.sqrt(squares)
        largest = float(np.max([_largest(array) for array in arrays], initial=0.0))  # np.max: NaN stays
        if p == math.inf or largest == 0 or not math.isfinite(largest):
            return largest
        return float(largest * np.power(sum(_sum_of_powers(array, p, largest) for array in arrays), 1 / p))


def _largest(array: Array) -> float:
    return float(np.maximum(array.max(initial=0), -array.min(initial=0)))


def _sum_of_powers(array: Array, p: float, scale: float) -> float:
    """Return sum |g / scale|^p in float64, block by block through a scratch that stays in cache."""
    flat = array.reshape(-1)
    scratch = np.empty(min(flat.size, BLOCK), np.float64)
    total = 0.0
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        work = scratch[: block.size]
        work[...] = block
        if scale != 1:
            work /= scale
        if p == 2:
            total += float(np.dot(work, work))
        else:
            total += float(np.power(np.abs(work, out=work), p, out=work).sum())
    return total
