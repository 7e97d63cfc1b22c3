"""How far gradients reach back in time: the norm of dL/dh at each step (Bengio et al. 1994, Pascanu 2013)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast import _sizes, reference, validation
from pyrnnfast._types import Array, State
from pyrnnfast.diagnostics.recording import checked_layer, reference_pack
from pyrnnfast.layers.recurrent import RecurrentLayer
from pyrnnfast.losses import softmax_cross_entropy
from pyrnnfast.models import LanguageModel


def gradient_norms(
    layer: RecurrentLayer,
    x: Array,
    dy: Array | None = None,
    *,
    step: int = -1,
    state: State | None = None,
) -> Array:
    """Return the norms of dL/dh_t for a loss L that sees the output of one step only.

    They fall to nothing before that step where gradients vanish, and grow without bounds where they explode.

    layer: an RNN, LSTM, GRU or OneGateGRU; its dropout is not at work, its gradients stay as they are.
    x: [T, N, C]. dy: [N, D * R], the gradient of L by y at the step; ones by default. step: from 0 to T - 1,
    or from the end, -T to -1. state: the initial one; zeros by default.
    Returns [L * D, T], float64: the root of the mean over rows of the squared norms over units. Row number
    layer * D + direction.
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape or range.
    """
    layer = checked_layer(layer)
    x = validation.shaped("x", x, layer.dtype, ("T", "N", layer.input_size))
    steps, rows = x.shape[:2]
    if not steps or not rows:
        raise ValueError(f"x must have at least one step and one row, got shape {x.shape}")
    at = validation.integer("step", step, -steps, steps - 1)
    shape, c_shape = _sizes.states(layer, rows)
    h0, c0 = validation.state("state", state, layer.dtype, shape, c_shape)
    gradient = np.zeros((steps, rows, _sizes.width(layer)), layer.dtype)
    gradient[at] = 1 if dy is None else validation.shaped("dy", dy, layer.dtype, gradient.shape[1:])
    pack = reference_pack(layer)
    watched = [_watch(pack, k) for k in range(shape[0])]
    tape = reference.forward(pack, x, h0, c0, None, 0.0, 0, True, 1)[-1]
    assert tape is not None
    reference.backward(tape, gradient, None, None, False, 1)
    norms = np.array([[np.linalg.norm(dh.astype(np.float64)) for dh in each] for each in watched])
    norms[:: layer.num_directions] = norms[:: layer.num_directions, ::-1]  # backward goes from the end
    norms /= np.sqrt(rows)
    return norms


class _Watched:
    """A cell, or a projection, that keeps the gradients of its state."""

    def __init__(self, target: Any, place: int, kept: list[Array]) -> None:
        self._target, self._place, self._kept = target, place, kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def back(self, *arguments: Any) -> Any:
        """Keep dL/dh [N, R], and differentiate."""
        self._kept.append(arguments[self._place])
        return self._target.back(*arguments)


def _watch(pack: reference.Pack, k: int) -> list[Array]:
    """Let backward leave the gradients of h of layer and direction k in a list, which is returned."""
    kept: list[Array] = []
    *before, projection, p = pack.weights[k]
    cells: list[Any] = pack.cells
    weights: list[Any] = pack.weights
    if projection is None:
        cells[k] = _Watched(cells[k], -2, kept)
    else:
        weights[k] = (*before, _Watched(projection, -1, kept), p)
    return kept


def loss_gradient_norms(model: LanguageModel, text: str, *, steps: int = 100, rows: int = 64) -> Array:
    """Return the norms of dL/dh_t of a language model, L the loss of one prediction, at each step before it.

    text: what is read; its `rows` pieces begin at equal distances. In each, the model reads `steps` tokens to
    come to a state, and as many again, the last of which L is the loss at. rows: at most; fewer for a short
    text.
    Returns [L, steps], float64, each a root of a mean of squares over pieces; the last one is the step of L.
    Raises TypeError and ValueError as `gradient_norms`, ValueError for a text of fewer than 2 * steps tokens.
    """
    if not isinstance(model, LanguageModel):
        raise TypeError(f"model must be a LanguageModel, got {type(model).__name__}")
    steps = validation.integer("steps", steps, 1)
    rows = validation.integer("rows", rows, 1)
    ids = model.vocabulary.encode(text, bos=True)
    spare = ids.size - 1 - 2 * steps
    if spare < 0:
        raise ValueError(f"text must have at least 2 * steps = {2 * steps} tokens, got {ids.size - 1}")
    starts = np.unique(np.linspace(0, spare, min(rows, spare + 1)).astype(np.int64))
    pieces = ids[starts + np.arange(2 * steps + 1)[:, None]]
    with model.evaluating():
        _, state = model(pieces[:steps])
        logits, _ = model(pieces[steps:-1], state)
        _, dlogits = softmax_cross_entropy(logits[-1], pieces[-1])
        x = model.embedding(pieces[steps:-1])
    # The loss is a mean over rows, of which each is to count as a whole.
    dy = len(starts) * dlogits @ model.decoder.weight
    return gradient_norms(model.recurrent, x, dy, state=state)
