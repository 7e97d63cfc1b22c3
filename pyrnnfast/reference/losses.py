"""Losses with their gradients in one pass, as the backends have them: plain NumPy, called after validation.

M tokens, V classes. Weighted means are over what is kept: sum(w * loss) / sum(w), zero when that sum is zero.
"""

from __future__ import annotations

import numpy as np

from pyrnnfast._types import Array, Integers


def softmax_cross_entropy(
    logits: Array, targets: Integers, weights: Array | None, ignore_index: int
) -> tuple[float, Array]:
    """Return the weighted mean of -log softmax(logits)[target], and its gradient.

    logits [M, V]; targets [M], each in 0..V-1 or ignore_index; weights [M], finite, >= 0, None for ones.
    A token with the target ignore_index or the weight 0 counts for nothing, even where its logits are NaN.

        log_p = x - max(x) - log sum exp(x - max(x));  loss = -sum_m w_m log_p[m, target_m] / sum_m w_m
        dx[m] = (p[m] - onehot(target_m)) * w_m / sum_m w_m
    """
    tokens, classes = logits.shape
    kept = targets != ignore_index
    if weights is not None:
        kept &= weights > 0
    weight = kept.astype(np.float64) if weights is None else np.where(kept, weights, 0.0)
    total = float(weight.sum())
    if total == 0.0 or classes == 0:
        return 0.0, np.zeros_like(logits)
    weight /= total
    rows, target = np.arange(tokens), np.where(kept, targets, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        gradient = logits - logits.max(axis=1, keepdims=True)
        target_logit = gradient[rows, target]
        np.exp(gradient, out=gradient)
        partition = gradient.sum(axis=1)
        loss = float(np.sum(weight * (np.log(partition) - target_logit), where=kept))
        gradient *= (weight / partition).astype(logits.dtype)[:, None]
        gradient[rows, target] -= weight.astype(logits.dtype)
    if not kept.all():
        gradient[~kept] = 0
    return loss, gradient


def sigmoid_cross_entropy(logits: Array, targets: Array, weights: Array | None) -> tuple[float, Array]:
    """Return the weighted mean of -t log s(x) - (1 - t) log(1 - s(x)) with s the sigmoid, and its gradient.

    logits [M]; targets [M] in 0..1, of the same dtype; weights [M], finite, >= 0, None for ones.
    A label whose weight is 0 counts for nothing, even where its logit is NaN.

        loss = max(x, 0) - x t + log(1 + exp(-|x|));  dx = (s(x) - t) * w / sum w
        s(x) = 1 / (1 + exp(-x)) for x >= 0, exp(x) / (1 + exp(x)) for x < 0
    """
    total = float(logits.size) if weights is None else float(weights.sum(dtype=np.float64))
    if total == 0.0:
        return 0.0, np.zeros_like(logits)
    with np.errstate(over="ignore", invalid="ignore"):
        tail = np.exp(-np.abs(logits))
        losses = np.maximum(logits, 0) - logits * targets + np.log1p(tail)
        gradient = np.where(logits >= 0, logits.dtype.type(1), tail) / (1 + tail) - targets
    if weights is None:
        gradient /= total
        return float(losses.sum(dtype=np.float64)) / total, gradient
    kept = weights > 0
    with np.errstate(over="ignore", invalid="ignore"):
        loss = float(np.sum(losses * weights.astype(np.float64), where=kept)) / total
        gradient *= (weights / total).astype(logits.dtype)
    gradient[~kept] = 0
    return loss, gradient
