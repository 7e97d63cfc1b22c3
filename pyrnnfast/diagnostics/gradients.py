"""How far gradients reach back in time: the norm of dL/dh at each step (Bengio et al. 1994, Pascanu 2013)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast import _sizes, cell_options, functional, validation
from pyrnnfast._types import Array, State
from pyrnnfast.diagnostics.recording import checked_layer
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
    grad_clip: float | None = None,
) -> Array:
    """Return the norms of dL/dh_t for a loss L that sees the output of one step only.

    They fall to nothing before that step where gradients vanish, and grow without bounds where they explode.

    layer: an RNN, LSTM, GRU or OneGateGRU; none of its dropouts is at work, its gradients stay as they are.
    x: [T, N, C]. dy: [N, D * R], the gradient of L by y at the step; ones by default. step: from 0 to T - 1,
    or from the end, -T to -1. state: the initial one; zeros by default.
    grad_clip: in place of the layer's, None for none: see `pyrnnfast.layers.training`.
    Returns [L * D, T], float64: the root of the mean over rows of the squared norms over units. Row number
    layer * D + direction.
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape or range, and zoneout.
    """
    layer = checked_layer(layer)
    x = validation.shaped("x", x, layer.dtype, ("T", "N", layer.input_size))
    steps, rows = x.shape[:2]
    if not steps or not rows:
        raise ValueError(f"x must have at least one step and one row, got shape {x.shape}")
    at = validation.integer("step", step, -steps, steps - 1)
    gradient = np.zeros((steps, rows, _sizes.width(layer)), layer.dtype)
    gradient[at] = 1 if dy is None else validation.shaped("dy", dy, layer.dtype, gradient.shape[1:])
    arguments: dict[str, Any] = {**cell_options.arguments(layer.options), "grad_clip": grad_clip}
    packed = functional.pack(
        layer.cell,
        list(layer.named_parameters().values()),
        num_layers=layer.num_layers,
        bidirectional=layer.bidirectional,
        bias=layer.bias,
        **arguments,
    )
    tape = functional.forward(packed, x, state, training=True).tape
    assert tape is not None
    norms = np.empty((layer.num_layers * layer.num_directions, steps))
    functional.backward(tape, gradient, input_gradient=False, grad_norms=norms)
    norms /= np.sqrt(rows)
    return norms


def loss_gradient_norms(
    model: LanguageModel, text: str, *, steps: int = 100, rows: int = 64, grad_clip: float | None = None
) -> Array:
    """Return the norms of dL/dh_t of a language model, L the loss of one prediction, at each step before it.

    text: what is read; its `rows` pieces begin at equal distances. In each, the model reads `steps` tokens to
    come to a state, and as many again, the last of which L is the loss at. rows: at most; fewer for a short
    text. grad_clip: as for `gradient_norms`.
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
    return gradient_norms(model.recurrent, x, dy, state=state, grad_clip=grad_clip)
