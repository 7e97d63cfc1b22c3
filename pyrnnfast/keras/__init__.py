"""Keras 3: layers made from Keras's, and Keras's made from layers, weights included."""

from __future__ import annotations

try:
    import keras as _keras  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "keras":
        raise  # of its backend, which KERAS_BACKEND names
    raise ModuleNotFoundError(
        "pyrnnfast.keras needs Keras 3 and one of its backends: pip install 'pyrnnfast[keras]'", name="keras"
    ) from None

from pyrnnfast.keras.export import to_keras
from pyrnnfast.keras.layers import from_keras

__all__ = ["from_keras", "to_keras"]
