"""Activations and their slopes as equations; x is the sum before them, a and b are alpha and beta."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pyrnnfast._types import Activation, Array

Function = Callable[[Array, float, float], Array]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    y: Array = 1 / (1 + np.exp(-x))
    return y


FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "sigmoid": (lambda x, a, b: sigmoid(x), lambda x, a, b: sigmoid(x) * (1 - sigmoid(x))),
    "tanh": (lambda x, a, b: np.tanh(x), lambda x, a, b: 1 - np.tanh(x) ** 2),
    "relu": (lambda x, a, b: np.maximum(x, 0), lambda x, a, b: np.where(x <= 0, 0, np.ones_like(x))),
    "hard_sigmoid": (
        lambda x, a, b: np.clip(a * x + b, 0, 1),
        lambda x, a, b: np.where((a * x + b <= 0) | (a * x + b >= 1), 0, np.full_like(x, a)),
    ),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), lambda x, a, b: 1 / (1 + np.abs(x)) ** 2),
    "softplus": (lambda x, a, b: np.logaddexp(x, 0), lambda x, a, b: sigmoid(x)),
    "elu": (
        lambda x, a, b: np.where(x <= 0, a * np.expm1(x), x),
        lambda x, a, b: np.where(x <= 0, a * np.exp(x), np.ones_like(x)),
    ),
    "leaky_relu": (
        lambda x, a, b: np.where(x <= 0, a * x, x),
        lambda x, a, b: np.where(x <= 0, np.full_like(x, a), 1),
    ),
    "thresholded_relu": (
        lambda x, a, b: np.where(x < a, 0, x),
        lambda x, a, b: np.where(x < a, 0, np.ones_like(x)),
    ),
    "scaled_tanh": (
        lambda x, a, b: a * np.tanh(b * x),
        lambda x, a, b: a * b * (1 - np.tanh(b * x) ** 2),
    ),
    "affine": (lambda x, a, b: a * x + b, lambda x, a, b: np.full_like(x, a)),
}
"""Of each name: the function and its derivative."""


class Gate:
    """From a gate's sum s to the gate: f(s), s first clipped to -clip..clip; and back from its gradient."""

    def __init__(self, activation: Activation, clip: float = math.inf, grad_clip: float = math.inf) -> None:
        self.activation = activation
        self.clip, self.grad_clip = clip, grad_clip

    def __call__(self, s: Array) -> Array:
        """f(clip(s))."""
        value, _ = FUNCTIONS[self.activation.name]
        return value(np.clip(s, -self.clip, self.clip), self.activation.alpha, self.activation.beta)

    def back(self, d: Array, s: Array) -> Array:
        """The gradient of s from that of f(s), clipped to -grad_clip..grad_clip (Graves 2013)."""
        ds: Array = np.clip(d * self.slope(s), -self.grad_clip, self.grad_clip)
        return ds

    def slope(self, s: Array) -> Array:
        """The derivative by s: zero where s is clipped."""
        _, derivative = FUNCTIONS[self.activation.name]
        inside = derivative(np.clip(s, -self.clip, self.clip), self.activation.alpha, self.activation.beta)
        slope: Array = np.where(np.abs(s) > self.clip, 0, inside)
        return slope
