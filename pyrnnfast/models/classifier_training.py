"""How a classifier is trained: labelled texts as batches, weights of classes, and the run around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, Integers
from pyrnnfast.text import BucketedBatches, Examples
from pyrnnfast.training import ExampleTask, RunOptions, Trainer, checkpoint

if TYPE_CHECKING:
    from pyrnnfast.models.text_classifier import TextClassifier

ClassWeights = str | Mapping[Any, float] | None


class TextBatch(NamedTuple):
    """N texts of at most T tokens, longest first or not, with what each should give."""

    tokens: Integers
    """[T, N], padded past the lengths."""
    lengths: Integers
    """[N]."""
    targets: Array
    """[N] the number of each label; of several labels each [N, K], 1 for each that a text has, else 0."""
    weights: Array | None
    """Of the targets' shape."""


class LabelledBatches:
    """Examples in batches of near lengths."""

    def __init__(self, model: TextClassifier, examples: Examples, rows: int, weights: Array | None) -> None:
        """Encode the examples for a model; weights: [K], of the labels."""
        sequences = [model.encode(text) for text in examples.texts]
        self._batches = BucketedBatches(sequences, max_rows=rows)
        self._targets = targets(model, examples)
        self._weights = weights
        if weights is not None and model.multilabel:
            self._weights = np.where(self._targets > 0, weights, 1).astype(model.dtype)
        elif weights is not None:
            self._weights = weights[self._targets]

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, rng: np.random.Generator | None = None) -> Iterator[TextBatch]:
        """Yield every example once; None: longest first."""
        for tokens, lengths, indices in self._batches.epoch(rng):
            weights = None if self._weights is None else self._weights[indices]
            yield TextBatch(tokens, lengths, self._targets[indices], weights)


def targets(model: TextClassifier, examples: Examples) -> Array:
    """Return what `TextBatch.targets` holds of all examples; ValueError for a label that is not known."""
    pairs = zip(examples.places, examples.labels, strict=True)
    numbers = [[model.labels.number(place, label) for label in labels] for place, labels in pairs]
    if not model.multilabel:
        return np.array([number for (number,) in numbers], np.int64)
    marks = np.zeros((len(numbers), len(model.labels)), model.dtype)
    for row, each in zip(marks, numbers, strict=True):
        row[each] = 1
    return marks


def weigh(model: TextClassifier, examples: Examples, given: ClassWeights) -> Array | None:
    """Return the weights of the labels, [K]: given ones, 1 for the rest; or balanced ones.

    Balanced: M / (K' M_k), where M_k of M examples have label k and K' labels are there (King and Zeng 2001);
    with several labels each (M - M_k) / M_k, the weight of having it against not having it.
    Raises TypeError and ValueError for weights that are none.
    """
    if given is None:
        return None
    weights = np.ones(len(model.labels), model.dtype)
    if isinstance(given, Mapping):
        for label, weight in given.items():
            number = model.labels.number("class_weights", label)
            weights[number] = validation.number(f"the weight of {label!r}", weight, at_least=0)
        if not model.multilabel and not weights[targets(model, examples)].any():
            raise ValueError("class_weights must be above 0 for a label of the examples, got 0 for each")
        return weights
    validation.choice("class_weights", given, ("balanced",))
    marks = targets(model, examples)
    if model.multilabel:
        counts = marks.sum(axis=0)
        balanced = (len(marks) - counts) / np.maximum(counts, 1)
    else:
        counts = np.bincount(marks, minlength=len(weights))
        balanced = len(marks) / ((counts > 0).sum() * np.maximum(counts, 1))
    there: Array = np.where(counts > 0, balanced, weights).astype(model.dtype)
    return there


def prepare(
    model: TextClassifier,
    train: Examples,
    valid: Examples,
    *,
    batch: int,
    class_weights: ClassWeights,
    options: RunOptions,
) -> Trainer:
    """Check everything and return the run; arguments as `TextClassifier.fit`'s. Nothing may be held out."""
    validation.integer("batch", batch, 1)
    if not len(train):
        raise ValueError("there must be at least one text to train on, got none")
    weights = weigh(model, train, class_weights)
    batches = LabelledBatches(model, train, batch, weights)
    held_out = LabelledBatches(model, valid, batch, weights) if len(valid) else None
    recipe = {
        "examples": _named(train),
        "held-out examples": _named(valid),
        "unit": model.vocabulary.unit,
        "batch": batch,
        "class weights": None if weights is None else weights.tolist(),
    }
    seed = int(model.rng.integers(2**63, dtype=np.int64))
    return model.trainer(ExampleTask(model, batches, held_out, options.model, seed), options, recipe)


def _named(examples: Examples) -> str:
    parts = (repr(pair).encode() for pair in zip(examples.texts, examples.labels, strict=True))
    return checkpoint.digest(f"{len(examples)} texts", parts)
