"""One case: a workload with its weights, input and output gradient, and how two results on it compare."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.benchmark.options import make_layer
from pyrnnfast.benchmark.shapes import Workload
from pyrnnfast.validation import GATES

RELU_TOLERANCE = 0.01
"""Of a gradient's norm, for relu: its derivative jumps, so rounding alone turns single units on or off."""


class MismatchError(RuntimeError):
    """Two libraries were given the same weights and inputs and do not agree."""


class Case:
    """The numbers that every peer is given.

    workload: what is computed. seed: of the generator that draws the numbers. dtype: float32 or float64.

    Attributes: weights, a dict of the layer's names in its order, uniform in +-1 / sqrt(H); x [T, N, C]
    and dy, of y's shape ([T, N, D * H] but for some options), standard normal; lengths, [N] or None. Initial
    states are zero.
    """

    def __init__(self, workload: Workload, seed: int = 0, dtype: type = np.float32) -> None:
        self.workload = workload
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        shape = workload.shape
        random = np.random.default_rng(seed)
        bound = 1 / math.sqrt(shape.hidden)
        self.weights: dict[str, Array] = {}
        for name, size in _sizes(workload, self.dtype):
            value = random.random(size, self.dtype)
            value *= 2 * bound
            value -= bound
            self.weights[name] = value
        rows = (shape.steps, shape.rows)
        self.x: Array = random.standard_normal((*rows, shape.inputs), self.dtype)
        self.dy: Array = random.standard_normal((*rows, self._width()), self.dtype)
        self.lengths = workload.lengths()

    def _width(self) -> int:
        directions, hidden = self.workload.shape.directions, self.workload.shape.hidden
        if not self.workload.option:
            return directions * hidden
        layer = make_layer(self.workload, self.dtype)
        merged = layer.merge != "concat"
        return layer.output_size * (1 if merged else directions)

    def layer_weights(self, layer: int, suffix: str) -> list[Array]:
        """Return weight_ih, weight_hh, bias_ih and bias_hh of one layer and direction ("" or "_reverse")."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [self.weights[f"{name}_l{layer}{suffix}"] for name in names]

    def zero_states(self) -> list[Array]:
        """Return h, and c for the LSTM, [L * D, N, H], in zeros."""
        shape = self.workload.shape
        size = (shape.layers * shape.directions, shape.rows, shape.hidden)
        return [np.zeros(size, self.dtype) for _ in range(2 if self.workload.cell == "lstm" else 1)]

    def tolerance(self, name: str) -> float:
        """Return the largest difference allowed in the array `name`, relative to its largest magnitude.

        Rounding errors of n products add up like sqrt(n) times the unit of the dtype. n is the length of a
        row's products along all layers and steps, and for weights the sum over T * N rows besides.
        """
        s = self.workload.shape
        length = sum(s.layer_inputs(layer) + s.hidden + s.steps for layer in range(s.layers))
        if name in self.weights:
            length += s.steps * s.rows
        return 8 * float(np.finfo(self.dtype).eps) * math.sqrt(length)

    def compare(self, ours: Mapping[str, Array], theirs: Mapping[str, Array], peer: str) -> None:
        """Raise MismatchError where the peer's arrays differ from ours by more than rounding explains."""
        if ours.keys() != theirs.keys():
            raise MismatchError(f"{peer} gives {', '.join(theirs)} where we give {', '.join(ours)}")
        for name, mine in ours.items():
            other = theirs[name]
            if other.shape != mine.shape:
                raise MismatchError(f"{peer} gives {name} of shape {other.shape}, ours is {mine.shape}")
            if mine.size == 0:
                continue
            if self.workload.cell == "rnn_relu" and name != "y":
                allowed = RELU_TOLERANCE * float(np.linalg.norm(mine))
                difference = float(np.linalg.norm(other - mine))
            else:
                allowed = self.tolerance(name) * float(np.max(np.abs(mine)))
                difference = float(np.max(np.abs(other - mine)))
            if not difference <= allowed:  # so that NaN is a mismatch
                raise MismatchError(
                    f"{peer} and pyrnnfast disagree on {name} of {self.workload}: "
                    f"they differ by {difference:.3g}, rounding explains {allowed:.3g}"
                )


def _sizes(workload: Workload, dtype: np.dtype[Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give each weight's name and size; a layer of any size need not be made for those of a plain cell."""
    if workload.option:
        parameters = make_layer(workload, dtype).named_parameters()
        yield from ((name, value.shape) for name, value in parameters.items())
        return
    shape = workload.shape
    gates = GATES[workload.cell] * shape.hidden
    for layer in range(shape.layers):
        for suffix in ("", "_reverse")[: shape.directions]:
            yield f"weight_ih_l{layer}{suffix}", (gates, shape.layer_inputs(layer))
            yield f"weight_hh_l{layer}{suffix}", (gates, shape.hidden)
            yield f"bias_ih_l{layer}{suffix}", (gates,)
            yield f"bias_hh_l{layer}{suffix}", (gates,)
