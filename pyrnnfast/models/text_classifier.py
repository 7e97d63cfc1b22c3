"""`TextClassifier`: embedding, recurrent stack, pooling, softmax or sigmoid (TextRNN, Liu et al. 2016)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._names import POOLINGS
from pyrnnfast._types import Array, DTypeLike, Integers, Seed
from pyrnnfast.layers.dropout import Dropout
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.linear import Linear
from pyrnnfast.losses import sigmoid_cross_entropy, softmax_cross_entropy
from pyrnnfast.models import classifier_training
from pyrnnfast.models.classifier_training import ClassWeights, TextBatch
from pyrnnfast.models.model import Model, Shapes
from pyrnnfast.models.pooling import Pooling
from pyrnnfast.models.scores import Report, confusion_of_one, confusion_of_several, scores
from pyrnnfast.models.stacks import check_options, check_told, make_stack, stack_shapes
from pyrnnfast.text import BucketedBatches, Examples, Labels, Vocabulary
from pyrnnfast.text.examples import Label, given_examples, given_texts
from pyrnnfast.training import Callback, Outcome, RunOptions
from pyrnnfast.training.examples import example_budget

SPECIALS = ("<PAD>", "<UNK>")
VOCABULARY = 5000
ROWS = 128
"""Of a batch that is only read."""


class TextClassifier(Model):
    """Finds the label of a text: logits = W pool(y) + b, y the outputs of a recurrent stack over its tokens.

    vocabulary: the tokens; it needs `<UNK>`. labels: the K labels; strings, numbers, True and False.
    cell: "gru", "lstm", "rnn" (tanh), "rnn_relu", "gru_reset_before" or "one_gate_gru". embedding, hidden,
    layers: E, H, L.
    bidirectional: whether each layer reads in both directions, D = 2, and their outputs are concatenated.
    pooling: "mean", "last", "max" or "attention"; `Pooling` says what they are. multilabel: whether a text
    has any number of labels, each with a probability of its own (sigmoid), or exactly one (softmax).
    dropout: probability of a zero in each layer's output and in what is pooled, in training.
    max_length: tokens of a text that are read. dtype: float32 or float64. rng: a numpy.random.Generator or a
    seed, for weights, dropout and the order of examples; fresh by default.
    Parameters: embedding.weight [V, E], recurrent.weight_ih_l0, ..., decoder.weight [K, D * H], decoder.bias.
    Raises TypeError and ValueError for arguments of a wrong type or range.
    """

    KIND = "text classifier"

    def __init__(
        self,
        vocabulary: Vocabulary,
        labels: Sequence[Label],
        *,
        cell: str = "gru",
        embedding: int = 64,
        hidden: int = 128,
        layers: int = 2,
        bidirectional: bool = True,
        pooling: str = "mean",
        multilabel: bool = False,
        dropout: float = 0.2,
        max_length: int = 600,
        dtype: DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        if not isinstance(vocabulary, Vocabulary):
            raise TypeError(f"vocabulary must be a Vocabulary, got {type(vocabulary).__name__}")
        if vocabulary.unk_id is None:
            raise ValueError(f"vocabulary must have <UNK>, got the specials {vocabulary.specials}")
        self.vocabulary, self.labels = vocabulary, Labels(labels)
        check_options(cell, dropout, embedding=embedding, hidden=hidden, layers=layers, max_length=max_length)
        validation.choice("pooling", pooling, POOLINGS)
        self.multilabel = validation.flag("multilabel", multilabel)
        directions = 1 + validation.flag("bidirectional", bidirectional)
        self.dtype = validation.float_dtype("dtype", dtype)
        self.rng = validation.generator(rng)
        self.cell, self.max_length = cell, max_length
        own: dict[str, Any] = {"dtype": self.dtype, "rng": self.rng}
        self.embedding = Embedding(len(vocabulary), embedding, **own)
        self.recurrent = make_stack(
            cell, embedding, hidden, layers, dropout, bidirectional=bidirectional, **own
        )
        self.pooling = Pooling(pooling, directions * hidden, directions, **own)
        self.dropout = Dropout(dropout, rng=self.rng)
        self.decoder = Linear(directions * hidden, len(self.labels), **own)

    @classmethod
    def from_examples(
        cls,
        texts: Sequence[str],
        labels: Sequence[Any],
        *,
        unit: str = "char",
        max_size: int = VOCABULARY,
        lowercase: bool = False,
        multilabel: bool = False,
        **options: Any,
    ) -> TextClassifier:
        """Make a classifier, not trained yet, with the vocabulary and the labels of examples.

        texts, labels: as for `fit`. unit: "char" or "word". max_size: the most tokens of the vocabulary, the
        frequent ones, at least 1, its two specials not counted. lowercase: whether texts are lower-cased.
        options: as the constructor's.
        Raises TypeError and ValueError as the constructor, and for examples that are none.
        """
        examples = given_examples("", texts, labels, validation.flag("multilabel", multilabel))
        size = validation.integer("max_size", max_size, 1) + len(SPECIALS)
        words = Vocabulary.from_text(
            examples.texts, unit=unit, max_size=size, specials=SPECIALS, lowercase=lowercase
        )
        known = Labels.seen(label for each in examples.labels for label in each)
        return cls(words, known.values, multilabel=multilabel, **options)

    @property
    def configuration(self) -> dict[str, Any]:
        """The constructor's arguments besides vocabulary and rng, as JSON has them."""
        check_told(self.recurrent)
        return {
            "labels": list(self.labels.values),
            "cell": self.cell,
            "embedding": self.embedding.embedding_dim,
            "hidden": self.recurrent.hidden_size,
            "layers": self.recurrent.num_layers,
            "bidirectional": self.recurrent.bidirectional,
            "pooling": self.pooling.kind,
            "multilabel": self.multilabel,
            "dropout": self.dropout.p,
            "max_length": self.max_length,
            "dtype": self.dtype.name,
        }

    @staticmethod
    def shapes(sizes: Mapping[str, int], configuration: Mapping[str, Any]) -> Shapes:
        """Give name and shape of each parameter."""
        names = ("cell", "embedding", "hidden", "layers", "bidirectional")
        cell, embedding, hidden, layers, two_way = (configuration[name] for name in names)
        width, labels = hidden * (1 + two_way), len(configuration["labels"])
        yield "embedding.weight", (sizes["vocabulary"], embedding)
        yield from stack_shapes("recurrent", cell, embedding, hidden, layers, two_way)
        if configuration["pooling"] == "attention":
            yield "pooling.hidden.weight", (width, width)
            yield "pooling.hidden.bias", (width,)
            yield "pooling.score.weight", (1, width)
        yield "decoder.weight", (labels, width)
        yield "decoder.bias", (labels,)

    # --- Forward, backward, loss

    def __call__(self, ids: Integers, lengths: Integers) -> Array:
        """Return the logits [N, K] of texts.

        ids: [T, N] integers, whatever past lengths [N], integers from 1 to T.
        Raises TypeError or ValueError for a wrong dtype, shape or range.
        """
        if isinstance(ids, np.ndarray):
            validation.fits("ids", ids, ("T", "N"))
            lengths = validation.lengths(lengths, *ids.shape)
            if lengths.size and not lengths.min():
                raise ValueError("lengths must be at least 1, got 0")
        y = self.recurrent(ids, None, lengths, embedding=self.embedding)[0]
        return self.decoder(self.dropout(self.pooling(y, lengths)))

    def backward(self, dlogits: Array) -> None:
        """Go back through this thread's last call in training; adds to `.grads`.

        dlogits: [N, K]. Raises as the layers' `backward`.
        """
        dpooled = self.dropout.backward(self.decoder.backward(dlogits))
        self.recurrent.backward(self.pooling.backward(dpooled))

    def loss_and_grads(self, batch: TextBatch) -> tuple[float, int]:
        """Add the gradients of a batch to `.grads`; return (mean loss in nats, number of tokens)."""
        loss, dlogits = self._losses(batch)
        self.backward(dlogits)
        return loss, int(batch.lengths.sum())

    def loss(self, batch: TextBatch) -> tuple[float, float]:
        """Return (mean loss in nats, how much it weighs)."""
        weight = batch.targets.size if batch.weights is None else float(batch.weights.sum())
        return self._losses(batch)[0], weight

    def _losses(self, batch: TextBatch) -> tuple[float, Array]:
        return self._entropy(self(batch.tokens, batch.lengths), batch.targets, batch.weights)

    def _entropy(self, logits: Array, targets: Array, weights: Array | None) -> tuple[float, Array]:
        entropy = sigmoid_cross_entropy if self.multilabel else softmax_cross_entropy
        return entropy(logits, targets, weights=weights)

    def encode(self, text: str) -> Integers:
        """Return the ids of a text, cut at `max_length`."""
        return self.vocabulary.encode(text)[: self.max_length]

    # --- Training

    def fit(
        self,
        texts: Sequence[str],
        labels: Sequence[Any],
        valid: tuple[Sequence[str], Sequence[Any]] | None = None,
        *,
        holdout: float = 0.1,
        epochs: int | None = None,
        minutes: float | None = None,
        steps: int | None = None,
        batch: int = 128,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        clip: float = 1.0,
        class_weights: ClassWeights = None,
        valid_every: int | None = None,
        patience: int | None = None,
        model: str | os.PathLike[str] | None = None,
        history: str | os.PathLike[str] | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> Outcome:
        """Train with AdamW on batches of texts of near lengths.

        texts, labels: the examples; a label each, or with multilabel a list of labels each. A text has more
        than white space. valid: held-out texts and labels; None takes a share `holdout` of the examples,
        drawn at random, the same for equal ones (0: none).
        epochs, minutes, steps: how long, one of them, 10 epochs by default; `training.Budget` says which
        learning rate follows. batch: N. lr: the highest learning rate. weight_decay: AdamW's, default 0.
        clip: the largest norm of the gradients.
        class_weights: of the loss, by label (those not named: 1), or "balanced", as if each label were as
        frequent; with multilabel they weigh having a label against not having it.
        valid_every: steps between validations, an epoch by default (with `minutes` there are 15).
        The rest, what is returned and what is raised: as `LanguageModel.fit`.
        """
        examples = given_examples("", texts, labels, self.multilabel)
        validation.number("holdout", holdout, at_least=0, below=1)
        if valid is None:
            train, held_out = examples.split(holdout)
        elif not isinstance(valid, tuple) or len(valid) != 2:
            raise TypeError(f"valid must be a tuple (texts, labels), got {type(valid).__name__}")
        else:
            train, held_out = examples, given_examples("valid ", *valid, self.multilabel)
        budget = example_budget(epochs, minutes, steps, len(train), batch)
        trainer = classifier_training.prepare(
            self,
            train,
            held_out,
            batch=batch,
            class_weights=class_weights,
            options=RunOptions(
                budget=budget,
                lr=lr,
                weight_decay=weight_decay,
                clip=clip,
                valid_every=budget.epoch_steps if valid_every is None else valid_every,
                patience=patience,
                model=model,
                history=history,
                resume=resume,
                callbacks=callbacks,
            ),
        )
        return trainer.run()

    # --- Use

    def probabilities(self, texts: Sequence[str]) -> Array:
        """Return the probability of each label for each text, [M, K], in the order of `labels.values`.

        Raises TypeError and ValueError for a text that is none, or that is white space only.
        """
        return self._normalized(self._logits(given_texts("texts", texts)))

    def _logits(self, texts: Sequence[str]) -> Array:
        logits = np.empty((len(texts), len(self.labels)), self.dtype)
        if len(texts):
            batches = BucketedBatches(map(self.encode, texts), max_rows=ROWS)
            with self.evaluating():
                for tokens, lengths, indices in batches.epoch():
                    logits[indices] = self(tokens, lengths)
        return logits

    def _normalized(self, logits: Array) -> Array:
        if self.multilabel:
            p: Array = 0.5 * (1 + np.tanh(0.5 * logits))
            return p
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return p

    def predict(self, texts: Sequence[str]) -> list[Any]:
        """Return the most probable label of each text; with multilabel the list of those above one half.

        Raises as `probabilities`.
        """
        return self.decide(self.probabilities(texts))

    def decide(self, probabilities: Array) -> list[Any]:
        """Return what `predict` returns for probabilities [M, K]."""
        values = self.labels.values
        if self.multilabel:
            return [[values[k] for k in np.flatnonzero(row > 0.5)] for row in probabilities]
        return [values[k] for k in probabilities.argmax(axis=1)]

    def evaluate(self, texts: Sequence[str], labels: Sequence[Any]) -> Report:
        """Hold the model's labels against true ones; arguments as `fit`'s, at least one example.

        Raises TypeError and ValueError for examples that are none, and labels that the model does not have.
        """
        return self.evaluate_examples(given_examples("", texts, labels, self.multilabel))

    def evaluate_examples(self, examples: Examples, *, confusion: bool = True) -> Report:
        """Do the same for examples that are read already; confusion: whether to count the pairs of labels."""
        if not len(examples):
            raise ValueError("there must be at least one example, got none")
        marks = classifier_training.targets(self, examples)
        before = time.perf_counter()
        logits = self._logits(examples.texts)
        seconds = max(time.perf_counter() - before, 1e-9)
        counts: list[Any] | None = None
        if self.multilabel:
            found, true = self._normalized(logits) > 0.5, marks > 0
            counts = confusion_of_several(found, true)
        else:
            each = np.arange(len(self.labels))
            numbers = logits.argmax(axis=1)
            found, true = numbers[:, None] == each, marks[:, None] == each
            counts = confusion_of_one(numbers, marks, len(self.labels)) if confusion else None
        return Report(
            loss=self._entropy(logits, marks, None)[0],
            **scores(found, true),
            labels=self.labels.values,
            confusion=counts,
            examples=len(examples),
            examples_per_second=len(examples) / seconds,
        )
