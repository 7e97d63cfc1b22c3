"""The linear layer with its gradients, as the backends have it: plain NumPy, called after validation.

M rows, C inputs, V outputs.
"""

from __future__ import annotations

from pyrnnfast._types import Array


def linear(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return y = x W^T + b [M, V] of x [M, C], weight [V, C] and bias [V]."""
    y: Array = x @ weight.T
    if bias is not None:
        y += bias
    return y


def linear_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return dx = dy W [M, C], dW = dy^T x [V, C] and db = sum dy [V] of dy [M, V]."""
    return dy @ weight, dy.T @ x, dy.sum(axis=0)
