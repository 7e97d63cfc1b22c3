"""A text as a model reads it: what the units of one of its layers do at each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, Integers, State
from pyrnnfast.diagnostics.recording import record
from pyrnnfast.models import LanguageModel, SequenceTagger, TextClassifier
from pyrnnfast.models.tagger_training import TaggedBatches
from pyrnnfast.text import Sentence, Vocabulary
from pyrnnfast.text.examples import given_texts

STEPS = 500
"""Of a stream that are recorded at once."""


class Reading(NamedTuple):
    """One text; a row of its arrays is what units did when they had read the token."""

    tokens: tuple[str, ...]
    """M of them, characters or words, each word with the space after it, so that they can be joined."""
    h: Array
    """[M, H]"""
    c: Array | None
    """[M, H], the LSTM's cell state."""
    gates: dict[str, Array]
    """[M, H] of each gate by its letter."""


def read(
    model: LanguageModel | TextClassifier | SequenceTagger,
    texts: str | Sequence[str],
    *,
    layer: int = 0,
    reverse: bool = False,
    limit: int | None = None,
) -> list[Reading]:
    """Let a model read texts, and record a layer.

    texts: one or several, with more than white space each. A language model reads each as one stream, after
    `<BOS>`, a classifier as far as its max_length, and a tagger as a sentence of words between white space.
    layer: from 0. reverse: whether it is the direction that reads from the end; a language model has none.
    limit: the tokens that are read in all; a classifier and a tagger read the text that reaches it to its
    end. None for no limit.
    Returns a Reading of each text that was read. Raises TypeError and ValueError for arguments of a wrong
    type or range.
    """
    if not isinstance(model, (LanguageModel, TextClassifier, SequenceTagger)):
        raise TypeError(
            f"model must be a LanguageModel, TextClassifier or SequenceTagger, got {type(model).__name__}"
        )
    given = given_texts("texts", [texts] if isinstance(texts, str) else texts)
    stack = model.recurrent
    layer = validation.integer("layer", layer, 0, stack.num_layers - 1)
    if validation.flag("reverse", reverse) and not stack.bidirectional:
        raise ValueError("reverse must be False for a model that reads in one direction, got True")
    left = None if limit is None else validation.integer("limit", limit, 1)
    number = layer * stack.num_directions + reverse
    readings = []
    with model.evaluating():
        for text in given:
            reading = _read(model, text, number, left)
            readings.append(reading)
            if left is not None:
                left -= len(reading.tokens)
                if left <= 0:
                    break
    return readings


def _read(
    model: LanguageModel | TextClassifier | SequenceTagger, text: str, number: int, limit: int | None
) -> Reading:
    if isinstance(model, SequenceTagger):
        words = tuple(text.split())
        batches = TaggedBatches(model, [Sentence(words, ("O",) * len(words))], 1)
        x = [model.inputs(batch) for batch in batches.epoch()]
        return _record(model, tuple(f"{word} " for word in words), x, number)
    ids = model.vocabulary.encode(text)
    if isinstance(model, TextClassifier):
        ids = ids[: model.max_length]
        return _record(model, _spelled(model.vocabulary, text, ids), [model.embedding(ids)[:, None]], number)
    ids = ids[:limit]
    begun = np.concatenate([[model.vocabulary.bos_id], ids])
    parts = (model.embedding(begun[n : n + STEPS])[:, None] for n in range(0, begun.size, STEPS))
    return _record(model, _spelled(model.vocabulary, text, ids), parts, number)


def _spelled(vocabulary: Vocabulary, text: str, ids: Integers) -> tuple[str, ...]:
    if vocabulary.unit == "char":
        return tuple((text.lower() if vocabulary.lowercase else text)[: ids.size])
    ends = vocabulary.eos_id
    return tuple("\n" if id == ends else f"{vocabulary.entries[id]} " for id in ids)


def _record(
    model: Any, tokens: tuple[str, ...], parts: Iterator[Array] | list[Array], number: int
) -> Reading:
    """Record one row that comes in parts; steps before the first token (`<BOS>`) are left out."""
    found = []
    state: State | None = None
    for x in parts:
        activities, state = record(model.recurrent, x, state)
        found.append(activities[number])

    def whole(arrays: list[Array]) -> Array:
        joined: Array = np.concatenate(arrays)[:, 0]
        return joined[len(joined) - len(tokens) :]

    cells = [each.c for each in found if each.c is not None]
    gates = {name: whole([each.gates[name] for each in found]) for name in found[0].gates}
    return Reading(tokens, whole([each.h for each in found]), whole(cells) if cells else None, gates)
