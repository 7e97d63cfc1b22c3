"""An RNN, GRU or LSTM node with its weights, run on arrays: layouts, directions, lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyrnnfast import _backend, functional, validation
from pyrnnfast._types import Array, Integers, State
from pyrnnfast.functional import PackHandle
from pyrnnfast.onnx import layers
from pyrnnfast.onnx.nodes import RecurrentNode


class Operator:
    """Calls a node's kernels as often as you like.

    weights: W, R, B and P as they are now, or None where each call brings them: those are compared with the
    last call's, which costs less than to pack them anew.
    Raises ValueError where they do not fit the node, or the kernels have not what it asks for.
    """

    def __init__(self, node: RecurrentNode, weights: Mapping[str, Array] | None) -> None:
        self.node = node
        self._pack = None if weights is None else layers.pack(node, weights)
        self._last: tuple[dict[str, Array], PackHandle] | None = None

    def __call__(self, inputs: Mapping[str, Array], num_threads: int | None = None) -> dict[str, Array]:
        """Run the node.

        inputs: X [T, N, C], and where the node has them sequence_lens [N], integers from 0 to T, initial_h
        and initial_c [D, N, H], by these names, with layout 1 N first; and the weights, if they come now.
        Returns all of Y [T, D, N, H], Y_h and Y_c [D, N, H], in the node's layout, and "joined", Y as
        [T, N, D * H]. Y is zero past a row's length; Y_h and Y_c of a row of no steps are zero too, whatever
        state it began with, as those of ONNX Runtime are. Raises TypeError for another dtype, ValueError for
        another shape or length.
        """
        pack = self._pack or self._pack_of({name: inputs[name] for name in layers.WEIGHTS if name in inputs})
        at_once = self._at_once(pack, inputs) if num_threads is None else None
        return at_once or self._with_checks(pack, inputs, num_threads)

    def _pack_of(self, weights: Mapping[str, Array]) -> PackHandle:
        last = self._last  # once: another thread may set it
        if last is not None and all(_same_bits(array, weights[name]) for name, array in last[0].items()):
            return last[1]
        kept = {name: np.array(array, order="C") for name, array in weights.items()}
        pack = layers.pack(self.node, kept)  # not the caller's, which may change before they are copied
        self._last = kept, pack
        return pack

    def _at_once(self, pack: PackHandle, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        """Run what is so small that checks would count; None where there is anything to look at."""
        node = self.node
        if node.layout or node.direction == "reverse" or "sequence_lens" in inputs:
            return None
        state: object = inputs.get("initial_h")
        if node.op == "LSTM" and ("initial_h" in inputs or "initial_c" in inputs):
            state = (state, inputs.get("initial_c"))
        found = _backend.current().infer(pack, inputs["X"], state)
        return None if found is None else self._results(*found, None)

    def _with_checks(
        self, pack: PackHandle, inputs: Mapping[str, Array], num_threads: int | None
    ) -> dict[str, Array]:
        node, title = self.node, self.node.title
        x = validation.ndarray(f"{title}: X", inputs["X"], pack.dtype)
        rows_first, steps_first = ("N", "T", pack.input_size), ("T", "N", pack.input_size)
        validation.fits(f"{title}: X", x, rows_first if node.layout else steps_first)
        x = self._turned(x)
        steps, rows = x.shape[:2]
        lengths = None
        if "sequence_lens" in inputs:
            lengths = validation.lengths(inputs["sequence_lens"], steps, rows)
        state = self._state(inputs, (node.num_directions, rows, pack.hidden_size), pack.dtype)
        backwards = node.direction == "reverse"
        x = flip(x, lengths) if backwards else x
        y, final, _ = functional.forward(pack, x, state, lengths, num_threads=num_threads)
        return self._results(flip(y, lengths) if backwards else y, final, lengths)

    def _results(self, y: Array, final: State, lengths: Integers | None) -> dict[str, Array]:
        """Name what the kernels gave, in the node's layout."""
        node = self.node
        apart = y.reshape(*y.shape[:2], node.num_directions, y.shape[2] // node.num_directions)
        results = {"joined": self._turned(y)}
        results["Y"] = apart.swapaxes(0, 1) if node.layout else apart.swapaxes(1, 2)
        for name, part in zip(("Y_h", "Y_c"), final if isinstance(final, tuple) else [final], strict=False):
            if not len(y):
                part[...] = 0
            elif lengths is not None:
                part[:, lengths == 0] = 0
            results[name] = self._turned(part)
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


def _same_bits(kept: Array, given: Array) -> bool:
    """Whether an array has the shape and the bits of one that was kept, which tell -0 from 0."""
    if given.shape != kept.shape or given.dtype != kept.dtype:
        return False
    bits = f"u{kept.itemsize}"
    return np.array_equal(np.ascontiguousarray(given).view(bits), kept.view(bits))


def flip(x: Array, lengths: Integers | None) -> Array:
    """Reverse the first lengths[n] steps of each row n of x [T, N, ...]; all of them for None."""
    if lengths is None:
        return x[::-1]
    step = np.arange(len(x))[:, np.newaxis]
    flipped: Array = x[np.where(step < lengths, lengths - 1 - step, step), np.arange(x.shape[1])]
    return flipped
