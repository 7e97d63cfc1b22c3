"""Gradients of whole models against central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pyrnnfast.layers.module import Module


def gradients_hold(network: Module, value: Callable[[], float], largest: float = 1e-9) -> None:
    """Of each parameter the largest entry of the gradient is that of the value; float64."""
    step = 1e-5  # error: step^2 / 6 x third derivative, and 1e-16 / step
    for name, gradient in network.grads.items():
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        values = []
        for sign in (1, -2):
            with network.update() as parameters:
                parameters[name][place] += sign * step
            values.append(value())
        with network.update() as parameters:
            parameters[name][place] += step
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(gradient[place], abs=largest, rel=1e-6)
