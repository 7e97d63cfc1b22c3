"""The most probable BIO tags of which each I-x goes on with a slot x (Viterbi 1967)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyrnnfast._types import Array, Integers


def transitions(tags: Sequence[str]) -> tuple[Array, Array]:
    """Return (first [K], next [K, K]): 0 where a tag may begin, or follow another, else minus infinity."""
    going_on = np.array([tag.startswith("I-") for tag in tags])
    slots = [tag[2:] for tag in tags]
    same = np.array([[slot == other for other in slots] for slot in slots])
    first = np.where(going_on, -np.inf, 0.0)
    return first, np.where(same | ~going_on, 0.0, -np.inf)


def decode(logits: Array, lengths: Integers, first: Array, following: Array) -> Integers:
    """Return the best tags [T, N] for logits [T, N, K]; past lengths [N] they repeat the last one.

    It maximizes the sum of the logits over a row's steps; first and following as `transitions` gives them.
    """
    steps, rows, tags = logits.shape
    came_from = np.empty((steps, rows, tags), np.int64)
    score = logits[0] + first
    for t in range(1, steps):
        paths = score[:, :, None] + following  # [N, tag before, tag]
        best = paths.argmax(axis=1)
        new = np.take_along_axis(paths, best[:, None], axis=1)[:, 0] + logits[t]
        live = (t < lengths)[:, None]
        came_from[t] = np.where(live, best, np.arange(tags))
        score = np.where(live, new, score)
    found = np.empty((steps, rows), np.int64)
    found[-1] = score.argmax(axis=1)
    for t in range(steps - 1, 0, -1):
        found[t - 1] = came_from[t, np.arange(rows), found[t]]
    return found
