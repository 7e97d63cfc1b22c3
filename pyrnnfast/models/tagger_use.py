"""What a trained tagger is for: tagging sentences, and measuring how well it does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrnnfast.models.bio import decode, transitions
from pyrnnfast.models.tagger_training import TaggedBatches
from pyrnnfast.text import Sentence
from pyrnnfast.text.tagged import checked_sentence, given_sentences

if TYPE_CHECKING:
    from pyrnnfast.models.sequence_tagger import SequenceTagger

ROWS = 128
"""Of a batch that is only read."""


@dataclass(frozen=True)
class TagReport:
    """What `SequenceTagger.evaluate` returns; scores are from 0 to 1."""

    slot_f1: float
    """Micro F1 of whole slots: begin, end and kind must be right (seqeval, as conlleval)."""
    slot_precision: float
    slot_recall: float
    intent_accuracy: float | None
    """Of the sentences that have one; None when none has, and for a model without intents."""
    sentence_accuracy: float
    """The share of sentences with all tags, and the intent where there is one, right."""
    sentences: int
    tokens_per_second: float


def predict(model: SequenceTagger, sentences: Any) -> list[Sentence]:
    """Do `SequenceTagger.predict`."""
    if isinstance(sentences, str) or not isinstance(sentences, Sequence):
        raise TypeError(f"sentences must be a list of lists of words, got {type(sentences).__name__}")
    found = []
    for i, words in enumerate(sentences):
        outside = ["O"] * (len(words) if isinstance(words, Sequence) else 0)
        found.append(checked_sentence(f"sentences[{i}]", words, outside))
    if not found:
        return []
    names = [str(tag) for tag in model.tags.values]
    allowed = transitions(names)
    with model.evaluating():
        for batch in TaggedBatches(model, found, ROWS).epoch():
            tags, intents = model(batch)
            best = decode(tags, batch.lengths, *allowed)
            for n, i in enumerate(batch.indices):
                wanted = None
                if intents is not None and model.intents is not None:
                    wanted = str(model.intents.values[intents[n].argmax()])
                found_tags = tuple(names[k] for k in best[: batch.lengths[n], n])
                found[i] = found[i]._replace(tags=found_tags, intent=wanted)
    return found


def evaluate(model: SequenceTagger, sentences: Any) -> TagReport:
    """Do `SequenceTagger.evaluate`."""
    try:
        from seqeval import metrics
    except ImportError as error:
        told = f'slot F1 needs seqeval ({error}); install it with: pip install "pyrnnfast[tag]"'
        raise ImportError(told) from None
    true = given_sentences("sentences", sentences)
    if not true:
        raise ValueError("there must be at least one sentence, got none")
    before = time.perf_counter()
    found = predict(model, [each.words for each in true])
    seconds = max(time.perf_counter() - before, 1e-9)
    tags = [[list(each.tags) for each in part] for part in (true, found)]
    pairs = list(zip(true, found, strict=True))
    any_intent = model.intents is None
    intents = [a.intent == b.intent for a, b in pairs if not any_intent and a.intent is not None]
    whole = [a.tags == b.tags and (any_intent or a.intent in (None, b.intent)) for a, b in pairs]
    return TagReport(
        slot_f1=float(metrics.f1_score(*tags, zero_division=0)),
        slot_precision=float(metrics.precision_score(*tags, zero_division=0)),
        slot_recall=float(metrics.recall_score(*tags, zero_division=0)),
        intent_accuracy=float(np.mean(intents)) if intents else None,
        sentence_accuracy=float(np.mean(whole)),
        sentences=len(true),
        tokens_per_second=sum(len(each.words) for each in true) / seconds,
    )
