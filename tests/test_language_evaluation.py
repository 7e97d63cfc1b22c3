"""What a language model makes of a text: its loss, token by token and as a mean; the part held out for it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pyrnnfast.losses import softmax_cross_entropy
from pyrnnfast.models import LanguageModel
from pyrnnfast.models.language_training import split
from pyrnnfast.text import Vocabulary

TEXT = "the cat sat on the mat. " * 40


def model(**options: object) -> LanguageModel:
    return LanguageModel(Vocabulary.from_text(TEXT), **{"embedding": 5, "hidden": 7, "rng": 0, **options})


def test_an_empty_text_has_no_surprisal() -> None:
    with pytest.raises(ValueError, match="at least one token, got none"):
        model().surprisal("")


def test_evaluation_by_hand() -> None:
    network = model(dtype=np.float64).eval()
    text = TEXT[:700]
    ids = network.vocabulary.encode(text, bos=True)
    logits = network(ids[:-1, None])[0][:, 0]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    each = -log_p[np.arange(700), ids[1:]]
    np.testing.assert_allclose(network.train().surprisal(text), each, rtol=1e-12)
    assert network.training
    expected = each.mean()
    found = network.evaluate(text)
    assert found.loss == pytest.approx(expected, rel=1e-12)
    assert found.perplexity == pytest.approx(math.exp(expected), rel=1e-12)
    assert found.bits_per_character == pytest.approx(expected / math.log(2), rel=1e-12)
    assert (found.tokens, found.unknown_tokens) == (700, 0)
    assert found.tokens_per_second > 0
    assert network.training


def test_the_state_is_carried_through_a_long_text() -> None:
    network = model(dtype=np.float64)
    text = TEXT * 5  # more than one call of the layers
    ids = network.vocabulary.encode(text, bos=True)
    network.eval()
    whole, _ = softmax_cross_entropy(network(ids[:-1, None])[0], ids[1:, None])
    assert network.evaluate(text).loss == pytest.approx(whole, rel=1e-12)


def test_unknown_tokens_count_as_unk() -> None:
    network = model()
    found = network.evaluate("the Ä ca€")
    assert found.unknown_tokens == 2
    assert found.tokens == 9
    assert network.evaluate("x").tokens == 1
    for text in ("", 3):
        with pytest.raises((ValueError, TypeError), match="text"):
            network.evaluate(text)  # type: ignore[arg-type]


def test_bits_per_character_of_words() -> None:
    network = LanguageModel(Vocabulary.from_text(TEXT, unit="word"), hidden=4, embedding=3, rng=0)
    found = network.evaluate("the cat sat")
    assert found.tokens == 3
    assert found.bits_per_character == pytest.approx(found.loss * 3 / 11 / math.log(2))


def test_held_out_words_are_whole() -> None:
    text = "the cat sat"
    for holdout in (0.1, 0.2, 0.27):
        assert split(text, None, holdout, "word") == ("the cat ", "sat")
    assert split(text, None, 0.1, "char") == ("the cat sa", "t")
    assert split(text, None, 0, "word") == (text, "")
    assert split(text, None, 0.99, "word") == ("", text)
