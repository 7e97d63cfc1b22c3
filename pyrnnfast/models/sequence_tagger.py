"""`SequenceTagger`: a tag for each word and the intent of the sentence, jointly (Liu and Lane 2016)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, DTypeLike, Integers, Seed
from pyrnnfast.layers.dropout import Dropout
from pyrnnfast.layers.embedding import Embedding, sum_by_id
from pyrnnfast.layers.linear import Linear
from pyrnnfast.losses import softmax_cross_entropy
from pyrnnfast.models import tagger_training, tagger_use
from pyrnnfast.models.model import Model, Shapes
from pyrnnfast.models.pooling import Pooling
from pyrnnfast.models.stacks import check_options, check_told, make_stack, stack_shapes
from pyrnnfast.models.tagger_training import NONE, TagBatch
from pyrnnfast.models.tagger_use import TagReport
from pyrnnfast.text import Labels, Sentence, Vocabulary
from pyrnnfast.text.tagged import checked_sentence, given_sentences
from pyrnnfast.training import Callback, Outcome, RunOptions
from pyrnnfast.training.examples import example_budget


class SequenceTagger(Model):
    """Tags words and finds the intent of their sentence: logits = W y_t + b, and W' pool(y) + b'.

    y is the output of a bidirectional stack over the words; a word is its embedding and, beside it, what a
    bidirectional layer over its characters ends in, so that unknown words have a meaning too. The tags are
    the most probable ones of which each I-x goes on with a slot x.

    vocabulary: the words; it needs `<UNK>`. characters: with `<UNK>`, `<BOS>` and `<EOS>`. tags: BIO.
    intents: what a sentence may want; empty for none. cell: "lstm", "gru", "rnn", "rnn_relu",
    "gru_reset_before" or "one_gate_gru", of both stacks. embedding, hidden, layers: E, H, L of the words.
    character_embedding, character_hidden: those of the characters. dropout: probability of a zero in what
    goes into and comes out of each layer over the words, in training. word_dropout: a; in training a word
    that was seen n times is read as unknown with the probability a / (a + n) (Kiperwasser and Goldberg 2016).
    dtype: float32 or float64. rng: a numpy.random.Generator or a seed; fresh by default.
    Raises TypeError and ValueError for arguments of a wrong type or range.
    """

    KIND = "sequence tagger"
    VOCABULARIES = ("vocabulary", "characters")

    def __init__(
        self,
        vocabulary: Vocabulary,
        characters: Vocabulary,
        tags: Sequence[str],
        intents: Sequence[str] = (),
        *,
        cell: str = "lstm",
        embedding: int = 128,
        hidden: int = 192,
        layers: int = 1,
        character_embedding: int = 32,
        character_hidden: int = 48,
        dropout: float = 0.5,
        word_dropout: float = 0.25,
        dtype: DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        for name, given, needed in (
            ("vocabulary", vocabulary, ("<UNK>",)),
            ("characters", characters, ("<UNK>", "<BOS>", "<EOS>")),
        ):
            if not isinstance(given, Vocabulary):
                raise TypeError(f"{name} must be a Vocabulary, got {type(given).__name__}")
            if not set(needed) <= set(given.specials):
                raise ValueError(f"{name} must have {', '.join(needed)}, got the specials {given.specials}")
        self.vocabulary, self.characters = vocabulary, characters
        self.tags = Labels(tags)
        validation.listed("intents", intents, str, "a list of strings")
        self.intents = Labels(intents) if intents else None
        checked_sentence("tags", ["word"] * len(self.tags), self.tags.values)
        check_options(
            cell,
            dropout,
            embedding=embedding,
            hidden=hidden,
            layers=layers,
            character_embedding=character_embedding,
            character_hidden=character_hidden,
        )
        self.cell = cell
        self.word_dropout = validation.number("word_dropout", word_dropout, at_least=0)
        self.dtype = validation.float_dtype("dtype", dtype)
        self.rng = validation.generator(rng)
        own: dict[str, Any] = {"dtype": self.dtype, "rng": self.rng}
        two_way: dict[str, Any] = {"bidirectional": True, **own}
        self.embedding = Embedding(len(vocabulary), embedding, **own)
        self.character_embedding = Embedding(len(characters), character_embedding, **own)
        self.spelling = make_stack(cell, character_embedding, character_hidden, 1, 0.0, **two_way)
        self.spelling_end = Pooling("last", 2 * character_hidden, 2, **own)
        self.input_dropout = Dropout(dropout, rng=self.rng)
        word = embedding + 2 * character_hidden
        self.recurrent = make_stack(cell, word, hidden, layers, dropout, **two_way)
        self.dropout = Dropout(dropout, rng=self.rng)
        self.decoder = Linear(2 * hidden, len(self.tags), **own)
        if self.intents is not None:
            self.pooling = Pooling("max", 2 * hidden, 2, **own)
            self.intent_decoder = Linear(2 * hidden, len(self.intents), **own)
        self._unknown = vocabulary.specials.index("<UNK>")
        counts = np.array(vocabulary.counts, np.float64)
        with np.errstate(invalid="ignore"):
            self._forgotten = np.nan_to_num(self.word_dropout / (self.word_dropout + counts))

    @classmethod
    def from_examples(cls, sentences: Sequence[Any], *, min_count: int = 1, **options: Any) -> SequenceTagger:
        """Make a tagger, not trained yet, with the words (in lower case), characters, tags and intents of
        examples.

        sentences: as for `fit`. min_count: the least occurrences of a word that is kept. options: as the
        constructor's. Raises TypeError and ValueError as the constructor, and for sentences that are none.
        """
        given = given_sentences("sentences", sentences)
        texts = [" ".join(each.words) for each in given]
        words = Vocabulary.from_text(
            texts, unit="word", lowercase=True, min_count=min_count, specials=("<PAD>", "<UNK>")
        )
        tags = Labels.seen(tag for each in given for tag in each.tags).values
        intents = sorted({each.intent for each in given if each.intent is not None})
        return cls(words, Vocabulary.from_text(texts), [str(tag) for tag in tags], intents, **options)

    @property
    def configuration(self) -> dict[str, Any]:
        """The constructor's arguments besides vocabularies and rng, as JSON has them."""
        check_told(self.spelling)
        check_told(self.recurrent)
        return {
            "tags": list(self.tags.values),
            "intents": [] if self.intents is None else list(self.intents.values),
            "cell": self.cell,
            "embedding": self.embedding.embedding_dim,
            "hidden": self.recurrent.hidden_size,
            "layers": self.recurrent.num_layers,
            "character_embedding": self.character_embedding.embedding_dim,
            "character_hidden": self.spelling.hidden_size,
            "dropout": self.dropout.p,
            "word_dropout": self.word_dropout,
            "dtype": self.dtype.name,
        }

    @staticmethod
    def shapes(sizes: Mapping[str, int], configuration: Mapping[str, Any]) -> Shapes:
        """Give name and shape of each parameter."""
        names = ("cell", "embedding", "hidden", "layers", "character_embedding", "character_hidden")
        cell, embedding, hidden, layers, character, spelling = (configuration[name] for name in names)
        yield "embedding.weight", (sizes["vocabulary"], embedding)
        yield "character_embedding.weight", (sizes["characters"], character)
        yield from stack_shapes("spelling", cell, character, spelling, 1, True)
        yield from stack_shapes("recurrent", cell, embedding + 2 * spelling, hidden, layers, True)
        outputs = {"decoder": "tags", "intent_decoder": "intents"}
        for name, labels in outputs.items():
            if configuration[labels]:
                yield f"{name}.weight", (len(configuration[labels]), 2 * hidden)
                yield f"{name}.bias", (len(configuration[labels]),)

    # --- Forward, backward, loss

    def __call__(self, batch: TagBatch) -> tuple[Array, Array | None]:
        """Return the logits of the tags [T, N, K], and of the intents [N, I] where there are any."""
        y = self.recurrent(self.input_dropout(self.inputs(batch)), None, batch.lengths)[0]
        y = self.dropout(y)
        intents = None
        if self.intents is not None:
            intents = self.intent_decoder(self.pooling(y, batch.lengths))
        return self.decoder(y), intents

    def inputs(self, batch: TagBatch) -> Array:
        """Return what the stack over words reads, [T, N, C]: each one's embedding and its spelling's ends."""
        ends, _ = self.spelling(
            batch.spellings, None, batch.spelling_lengths, embedding=self.character_embedding
        )
        spelled = self.spelling_end(ends, batch.spelling_lengths)[batch.spelled]
        words = self.embedding(self._partly_forgotten(batch.words))
        return np.concatenate([words, spelled], axis=2)

    def _partly_forgotten(self, words: Integers) -> Integers:
        if not self.training or self.word_dropout == 0:
            return words
        forgotten = self.rng.random(words.shape) < self._forgotten[words]
        return np.where(forgotten, self._unknown, words)

    def backward(self, batch: TagBatch, dtags: Array, dintents: Array | None) -> None:
        """Go back through this thread's last call in training, which was on `batch`; adds to `.grads`."""
        dy = self.decoder.backward(dtags)
        if dintents is not None:
            dy += self.pooling.backward(self.intent_decoder.backward(dintents))
        dx, _ = self.recurrent.backward(self.dropout.backward(dy))
        assert dx is not None
        dx = self.input_dropout.backward(dx)
        words = self.embedding.embedding_dim
        self.embedding.backward(np.ascontiguousarray(dx[..., :words]))
        dspelled = np.ascontiguousarray(dx[..., words:]).reshape(-1, dx.shape[2] - words)
        dends = np.zeros((batch.spelling_lengths.size, dspelled.shape[1]), self.dtype)
        used, sums = sum_by_id(batch.spelled.reshape(-1), dspelled, len(dends))
        dends[used] = sums
        self.spelling.backward(self.spelling_end.backward(dends))

    def loss_and_grads(self, batch: TagBatch) -> tuple[float, int]:
        """Add the gradients of a batch to `.grads`; return (mean loss a sentence, number of words)."""
        loss, dtags, dintents = self._losses(batch)
        self.backward(batch, dtags, dintents)
        return loss, int(batch.lengths.sum())

    def loss(self, batch: TagBatch) -> tuple[float, float]:
        """Return (mean loss a sentence, number of sentences)."""
        return self._losses(batch)[0], float(batch.lengths.size)

    def _losses(self, batch: TagBatch) -> tuple[float, Array, Array | None]:
        """The mean of -log p(tags) - log p(intent), in nats, and its gradients."""
        tags, intents = self(batch)
        loss, dtags = softmax_cross_entropy(tags, batch.tags, ignore_index=NONE)
        scale = int(np.count_nonzero(batch.tags != NONE)) / batch.lengths.size
        loss *= scale
        dtags *= scale
        if intents is None:
            return loss, dtags, None
        more, dintents = softmax_cross_entropy(intents, batch.intents, ignore_index=NONE)
        scale = int(np.count_nonzero(batch.intents != NONE)) / batch.lengths.size
        dintents *= scale
        return loss + scale * more, dtags, dintents

    def word_id(self, word: str) -> int:
        """Return the id of a word; that of `<UNK>` for an unknown one."""
        ids = self.vocabulary.encode(word)
        return int(ids[0]) if ids.size == 1 else self._unknown

    # --- Training

    def fit(
        self,
        sentences: Sequence[Any],
        valid: Sequence[Any] | None = None,
        *,
        holdout: float = 0.1,
        epochs: int | None = None,
        minutes: float | None = None,
        steps: int | None = None,
        batch: int = 32,
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        clip: float = 5.0,
        valid_every: int | None = None,
        patience: int | None = None,
        model: str | os.PathLike[str] | None = None,
        history: str | os.PathLike[str] | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> Outcome:
        """Train with AdamW on batches of sentences of near lengths.

        sentences: (words, tags) or (words, tags, intent) each, as `text.read_sentences` gives them: lists of
        strings, BIO tags. valid: held-out ones; None takes a share `holdout` at random (0: none). Their tags
        and intents that training does not have count for nothing.
        The rest as `TextClassifier.fit`.
        """
        given = given_sentences("sentences", sentences)
        validation.number("holdout", holdout, at_least=0, below=1)
        if valid is None:
            train, held_out = tagger_training.split(given, holdout)
        else:
            train, held_out = given, given_sentences("valid", valid)
        budget = example_budget(epochs, minutes, steps, len(train), batch)
        trainer = tagger_training.prepare(
            self,
            train,
            held_out,
            batch=batch,
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

    def predict(self, sentences: Sequence[Sequence[str]]) -> list[Sentence]:
        """Return words, tags and intent of sentences, each a list of words, at least one not empty.

        Raises TypeError and ValueError for sentences that are none.
        """
        return tagger_use.predict(self, sentences)

    def evaluate(self, sentences: Sequence[Any]) -> TagReport:
        """Hold the model's tags and intents against true ones; sentences as `fit`'s, at least one.

        Tags and intents that the model does not have count as missed. Needs seqeval.
        Raises ImportError without it, with the line that installs it, else as `fit`.
        """
        return tagger_use.evaluate(self, sentences)
