"""An RNN, GRU or LSTM node with its weights, run on arrays: layouts, directions, lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyrnnfast import functional, validation
from pyrnnfast._types import Array, Integers, State
from pyrnnfast.onnx import layers
from pyrnnfast.onnx.nodes import RecurrentNode


class Operator:
    """Calls a node's kernels as often as you like.

    weights: W, R, B and P as they are now, or None where each call brings them.
    Raises ValueError where they do not fit the node, or the kernels have not what it asks for.
    """

    def __init__(self, node: RecurrentNode, weights: Mapping[str, Array] | None) -> None:
        self.node = node
        self._pack = None if weights is None else layers.build([(node, weights)]).pack()

    def __call__(self, inputs: Mapping[str, Array], num_threads: int | None = None) -> dict[str, Array]:
        """Run the node.

        inputs: X [T, N, C], and where the node has them sequence_lens [N], integers from 0 to T, initial_h
        and initial_c [D, N, H], by these names, with layout 1 N first; and the weights, if they come now.
        Returns all of Y [T, D, N, H], Y_h and Y_c [D, N, H], in the node's layout, and "joined", Y as
        [T, N, D * H]. Y is zero past a row's length; Y_h and Y_c of a row of length 0 are zero too, as those
        of ONNX Runtime are. Raises TypeError for another dtype, ValueError for another shape or length.
        """
        node, title = self.node, self.node.title
        pack = self._pack
        if pack is None:
            weights = {
                name: validation.from_any(name, inputs[name]) for name in layers.WEIGHTS if name in inputs
            }
            pack = layers.build([(node, weights)]).pack()
        x = validation.ndarray(f"{title}: X", inputs["X"], pack.dtype)
        validation.fits(
            f"{title}: X", x, ("N", "T", pack.input_size) if node.layout else ("T", "N", pack.input_size)
        )
        x = self._turned(x)
        steps, rows = x.shape[:2]
        shape = (node.num_directions, rows, pack.hidden_size)
        lengths = None
        if "sequence_lens" in inputs:
            lengths = validation.lengths(inputs["sequence_lens"], steps, rows)
        state = self._state(inputs, shape, pack.dtype)
        if node.direction == "reverse":
            x = flip(x, lengths)
        y, final, _ = functional.forward(pack, x, state, lengths, num_threads=num_threads)
        if node.direction == "reverse":
            y = flip(y, lengths)
        h, c = final if isinstance(final, tuple) else (final, None)
        apart = y.reshape(steps, rows, *shape[::2])  # [T, N, D, H]
        results = {"joined": self._turned(y), "Y_h": h}
        results["Y"] = apart.swapaxes(0, 1) if node.layout else apart.swapaxes(1, 2)
        if c is not None:
            results["Y_c"] = c
        for name in ("Y_h", "Y_c"):
            if name in results:
                if lengths is not None:
                    results[name][:, lengths == 0] = 0
                results[name] = self._turned(results[name])
        return results

    def _turned(self, array: Array) -> Array:
        """From the node's layout to that of the kernels, or back."""
        return array.swapaxes(0, 1) if self.node.layout else array

    def _state(
        self, inputs: Mapping[str, Array], shape: tuple[int, int, int], dtype: np.dtype[Any]
    ) -> State | None:
        if "initial_h" not in inputs and "initial_c" not in inputs:
            return None
        parts = []
        for name in ("initial_h", "initial_c")[: 2 if self.node.op == "LSTM" else 1]:
            if name in inputs:
                part = validation.ndarray(f"{self.node.title}: {name}", inputs[name], dtype)
                user = (shape[1], shape[0], shape[2]) if self.node.layout else shape
                validation.fits(f"{self.node.title}: {name}", part, user)
                parts.append(self._turned(part))
            else:
                parts.append(np.zeros(shape, dtype))
        return (parts[0], parts[1]) if self.node.op == "LSTM" else parts[0]


def flip(x: Array, lengths: Integers | None) -> Array:
    """Reverse the first lengths[n] steps of each row n of x [T, N, ...]; all of them for None."""
    if lengths is None:
        return x[::-1]
    step = np.arange(len(x))[:, np.newaxis]
    flipped: Array = x[np.where(step < lengths, lengths - 1 - step, step), np.arange(x.shape[1])]
    return flipped
