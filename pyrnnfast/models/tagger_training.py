"""How a tagger is trained: sentences as batches of words and of their spellings, and the run around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Integers
from pyrnnfast.text import BucketedBatches, Labels, Sentence, examples
from pyrnnfast.text.batching import Ragged
from pyrnnfast.training import ExampleTask, RunOptions, Trainer, checkpoint

if TYPE_CHECKING:
    from pyrnnfast.models.sequence_tagger import SequenceTagger

NONE = -100
"""Instead of a tag or an intent that the model does not have, and past a sentence's end."""


class TagBatch(NamedTuple):
    """N sentences of at most T words, of U different spellings of at most S characters."""

    words: Integers
    """[T, N]"""
    lengths: Integers
    """[N]"""
    spelled: Integers
    """[T, N]: which spelling each word has; 0 past the lengths."""
    spellings: Integers
    """[S, U]: ids of characters."""
    spelling_lengths: Integers
    """[U], at least 1."""
    tags: Integers
    """[T, N]"""
    intents: Integers
    """[N]"""
    indices: Integers
    """[N]: which sentences they are."""


class TaggedBatches:
    """Sentences in batches of near lengths."""

    def __init__(self, model: SequenceTagger, sentences: Sequence[Sentence], rows: int) -> None:
        numbers: dict[str, int] = {}
        spelled = [[numbers.setdefault(word, len(numbers)) for word in each.words] for each in sentences]
        self._spelled = Ragged(spelled)
        self._spellings = Ragged(model.characters.encode(word, bos=True, eos=True) for word in numbers)
        words = np.array([model.word_id(word) for word in numbers], np.int64)
        self._batches = BucketedBatches([words[each] for each in spelled], max_rows=rows)
        tags = {tag: number for number, tag in enumerate(model.tags.values)}
        self._tags = Ragged([[tags.get(tag, len(tags)) for tag in each.tags] for each in sentences])
        self._no_tag = len(tags)
        self._intents = _numbers(model.intents, [each.intent for each in sentences])

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, rng: np.random.Generator | None = None) -> Iterator[TagBatch]:
        """Yield every sentence once; None: longest first."""
        for words, lengths, indices in self._batches.epoch(rng):
            used, spelled = np.unique(self._spelled.padded(indices, 0), return_inverse=True)
            spelled = spelled.reshape(words.shape)
            spelled[np.arange(len(words))[:, None] >= lengths] = 0
            tags = self._tags.padded(indices, self._no_tag)
            tags[tags == self._no_tag] = NONE
            spellings, ends = self._spellings.padded(used, 0), self._spellings.lengths[used]
            yield TagBatch(words, lengths, spelled, spellings, ends, tags, self._intents[indices], indices)


def _numbers(labels: Labels | None, values: Sequence[str | None]) -> Integers:
    known = {} if labels is None else {label: number for number, label in enumerate(labels.values)}
    return np.array([NONE if value is None else known.get(value, NONE) for value in values], np.int64)


def prepare(
    model: SequenceTagger,
    train: Sequence[Sentence],
    valid: Sequence[Sentence],
    *,
    batch: int,
    options: RunOptions,
) -> Trainer:
    """Check everything and return the run; arguments as `SequenceTagger.fit`'s. Nothing may be held out."""
    validation.integer("batch", batch, 1)
    if not train:
        raise ValueError("there must be at least one sentence to train on, got none")
    for sentence in train:
        for tag in sentence.tags:
            model.tags.number(sentence.place, tag, "tag")
        if model.intents is not None and sentence.intent is not None:
            model.intents.number(sentence.place, sentence.intent, "intent")
    held_out = TaggedBatches(model, valid, batch) if valid else None
    recipe = {"sentences": _named(train), "held-out sentences": _named(valid), "batch": batch}
    seed = int(model.rng.integers(2**63, dtype=np.int64))
    task = ExampleTask(model, TaggedBatches(model, train, batch), held_out, options.model, seed)
    return model.trainer(task, options, recipe)


def split(sentences: Sequence[Sentence], holdout: float) -> tuple[list[Sentence], list[Sentence]]:
    """Return (what to train on, a share `holdout` drawn at random): the same for as many sentences."""
    train, held_out = ([sentences[i] for i in part] for part in examples.split(len(sentences), holdout))
    return train, held_out


def _named(sentences: Sequence[Sentence]) -> str:
    parts = (repr(sentence[:3]).encode() for sentence in sentences)
    return checkpoint.digest(f"{len(sentences)} sentences", parts)
