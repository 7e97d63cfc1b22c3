"""Keras's activation functions and ours."""

from __future__ import annotations

from typing import Any

import keras

from pyrnnfast._types import Activation, ActivationLike

FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "tanh": ("tanh",),
    "sigmoid": ("sigmoid",),
    "relu": ("relu",),
    "softsign": ("softsign",),
    "softplus": ("softplus",),
    "hard_sigmoid": ("hard_sigmoid", 1 / 6, 0.5),
    "elu": ("elu", 1.0),
    "leaky_relu": ("leaky_relu", 0.2),
    "linear": ("affine", 1.0, 0.0),
}
"""Functions of `keras.activations`, by name, as ours: with alpha and beta as far as they take them."""
WITH_ALPHA = {"elu": (keras.layers.ELU, "alpha"), "leaky_relu": (keras.layers.LeakyReLU, "negative_slope")}
"""Ours that Keras has with any alpha, as a layer; and what the layer calls that."""


def read(where: str, function: Any) -> ActivationLike:
    """Return a function or layer of Keras as ours. Raises ValueError for one that we do not have."""
    for name, ours in FUNCTIONS.items():
        if function is getattr(keras.activations, name):
            return ours
    for name, (layer, alpha) in WITH_ALPHA.items():
        if type(function) is layer:
            return name, float(getattr(function, alpha))
    known = ", ".join([*FUNCTIONS, *(layer.__name__ for layer, _ in WITH_ALPHA.values())])
    got = getattr(function, "__name__", type(function).__name__)
    raise ValueError(f"{where} must be one of {known}, got {got}")


def write(activation: Activation, dtype: str) -> Any:
    """Return one of ours as Keras's. Raises ValueError for one that Keras does not have."""
    for name, ours in FUNCTIONS.items():
        if activation[: len(ours)] == ours:
            return name
    if activation.name not in WITH_ALPHA:
        raise ValueError(f"activations must be such as Keras has, got {tuple(activation)}")
    layer, alpha = WITH_ALPHA[activation.name]
    return layer(**{alpha: activation.alpha}, dtype=dtype)
