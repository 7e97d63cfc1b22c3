"""Losses: each returns its value and its gradient with respect to the logits, in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast import _backend, validation
from pyrnnfast._types import AnyIntegers, Array
from pyrnnfast.reference import losses as numerics


def softmax_cross_entropy(
    logits: Array,
    targets: AnyIntegers,
    *,
    weights: Array | None = None,
    ignore_index: int = -100,
) -> tuple[float, Array]:
    """Return the mean negative log likelihood of the targets in nats, and its gradient.

    logits: [..., V], float32 or float64. targets: [...], integers, each in 0..V-1 or ignore_index. weights:
    [...], one per token, of the logits' dtype, finite and at least 0; default 1 each. ignore_index: default
    -100.
    A token whose target is ignore_index or whose weight is 0 counts for nothing and gets no gradient,
    whatever its logits. When no token counts, loss and gradient are 0 (PyTorch gives NaN there).
    Returns (loss, dlogits); dlogits has the logits' shape and dtype.
    Raises TypeError or ValueError for an argument of the wrong type, dtype, shape or range.

        loss = -sum_m w_m log softmax(logits_m)[target_m] / sum_m w_m
        dlogits_m = (softmax(logits_m) - onehot(target_m)) w_m / sum_m w_m

    As torch.nn.functional.cross_entropy, whose weights however belong to classes.
    """
    scores = validation.floats("logits", logits, None, "V")
    ignored = validation.integer("ignore_index", ignore_index, -(2**63), 2**63 - 1)
    classes = scores.shape[-1]
    labels = validation.indices("targets", targets, classes, ignored)
    validation.fits("targets", labels, scores.shape[:-1])
    per_token = _weights(weights, scores.dtype, scores.shape[:-1])
    loss, gradient = _backend.current().softmax_cross_entropy(
        scores.reshape(labels.size, classes), labels.reshape(-1), per_token, ignored
    )
    return loss, gradient.reshape(scores.shape)


def sigmoid_cross_entropy(
    logits: Array, targets: Array, *, weights: Array | None = None
) -> tuple[float, Array]:
    """Return the mean binary cross entropy of independent labels in nats, and its gradient.

    logits: [...], float32 or float64, of any shape: one label each for binary, one per class for multi-label.
    targets: [...], of the logits' shape and dtype, each in 0..1. weights: [...], one per label, of the
    logits' shape and dtype, finite and at least 0; default 1 each.
    A label whose weight is 0 counts for nothing and gets no gradient. When none counts, loss and gradient
    are 0.
    Returns (loss, dlogits); dlogits has the logits' shape and dtype.
    Raises TypeError or ValueError for an argument of the wrong type, dtype, shape or range.

        loss = sum_m w_m (max(x_m, 0) - x_m t_m + log(1 + exp(-|x_m|))) / sum_m w_m
        dlogits_m = (sigmoid(x_m) - t_m) w_m / sum_m w_m

    As torch.nn.functional.binary_cross_entropy_with_logits, but for weights: PyTorch divides by the number of
    labels, this by the sum of the weights.
    """
    scores = validation.floats("logits", logits, None)
    labels = validation.shaped("targets", targets, scores.dtype, scores.shape)
    validation.all_between("targets", labels, 0, 1)
    per_label = _weights(weights, scores.dtype, scores.shape)
    loss, gradient = numerics.sigmoid_cross_entropy(scores.reshape(-1), labels.reshape(-1), per_label)
    return loss, gradient.reshape(scores.shape)


def _weights(weights: object, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array | None:
    if weights is None:
        return None
    checked = validation.shaped("weights", weights, dtype, shape)
    validation.all_between("weights", checked, 0, float(np.finfo(dtype).max))
    with np.errstate(over="ignore"):
        total = float(checked.sum(dtype=np.float64))
    if not np.isfinite(total):
        raise ValueError(f"weights must have a finite sum, got {total}")
    return checked.reshape(-1)
