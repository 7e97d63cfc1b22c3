"""Looking inside of layers and models: states and gates against the layers' own and the equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import refuses

import pyrnnfast
from pyrnnfast.diagnostics import read, record
from pyrnnfast.models import LanguageModel, SequenceTagger, TextClassifier
from pyrnnfast.text import Vocabulary

EPS = float(np.finfo(np.float64).eps)
STACKS: list[tuple[Any, dict[str, Any]]] = [
    (pyrnnfast.RNN, {"nonlinearity": "relu"}),
    (pyrnnfast.LSTM, {}),
    (pyrnnfast.LSTM, {"peephole": True, "coupled": True, "cell_clip": 0.3, "bias": False}),
    (pyrnnfast.LSTM, {"proj_size": 4}),
    (pyrnnfast.LSTM, {"layer_norm": True, "activations": ["hard_sigmoid", "softsign", "tanh"]}),
    (pyrnnfast.GRU, {"clip": 0.5, "recurrent_dropout": 0.5, "grad_clip": 0.1}),
    (pyrnnfast.GRU, {"reset_after": False}),
    (pyrnnfast.GRU, {"proj_size": 3, "merge": "concat"}),
    (pyrnnfast.OneGateGRU, {}),
]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# --- Layers


@pytest.mark.parametrize(("kind", "options"), STACKS, ids=str)
def test_the_states_are_those_of_the_layer(kind: Any, options: dict[str, Any]) -> None:
    layer = kind(3, 7, 2, bidirectional=True, dtype="float64", rng=0, dropout=0.5, **options).eval()
    x = normal(6, 2, 3)
    y, state = layer(x)
    found, final = record(layer, x)
    assert len(found) == 4
    tolerance = 2 * 6 * 4 * (7 + 7) * EPS
    np.testing.assert_allclose(np.concatenate([each.h for each in found[2:]], axis=2), y, atol=tolerance)
    np.testing.assert_allclose(found[0].h[-1], (state[0] if isinstance(state, tuple) else state)[0])
    np.testing.assert_allclose(found[1].h[0], (state[0] if isinstance(state, tuple) else state)[1])
    for one, other in zip(
        *((each if isinstance(each, tuple) else (each,)) for each in (final, state)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=tolerance)
    for each in found:
        assert all(
            gate.shape == (6, 2, 7) and ((gate >= 0) & (gate <= 1)).all() for gate in each.gates.values()
        )
        assert (each.c is not None) == (kind is pyrnnfast.LSTM)


def test_gates_of_an_lstm_follow_the_equations() -> None:
    layer = pyrnnfast.LSTM(3, 5, dtype="float64", rng=0, return_cells=True).eval()
    x = normal(8, 2, 3)
    h, _, c = layer(x)
    before = np.concatenate([np.zeros((1, 2, 5)), h[:-1]])
    sums = x @ layer.weight_ih_l0.T + layer.bias_ih_l0 + before @ layer.weight_hh_l0.T + layer.bias_hh_l0
    i, f, _, o = np.split(sums, 4, axis=2)
    [found], _ = record(layer, x)
    for name, expected in {"i": i, "f": f, "o": o}.items():
        np.testing.assert_allclose(found.gates[name], sigmoid(expected), atol=8 * 9 * EPS)
    np.testing.assert_allclose(found.c, c, atol=8 * 9 * EPS)
    np.testing.assert_allclose(found.gates["o"] * np.tanh(found.c), h, atol=8 * 9 * EPS)


@pytest.mark.parametrize("kind", [pyrnnfast.GRU, pyrnnfast.OneGateGRU])
@pytest.mark.parametrize("reverse", [False, True])
def test_gates_of_grus_follow_the_equations(kind: Any, reverse: bool) -> None:
    layer = kind(3, 5, bidirectional=True, dtype="float64", rng=0).eval()
    x = normal(8, 1, 3)
    h = layer(x)[0][..., 5:] if reverse else layer(x)[0][..., :5]
    edge = np.zeros((1, 1, 5))
    before = np.concatenate([h[1:], edge]) if reverse else np.concatenate([edge, h[:-1]])
    w = layer.named_parameters()
    end = "_l0_reverse" if reverse else "_l0"
    sums = (
        x @ w["weight_ih" + end].T + w["bias_ih" + end] + before @ w["weight_hh" + end].T + w["bias_hh" + end]
    )
    found = record(layer, x)[0][int(reverse)].gates
    for name, expected in zip(found, np.split(sums, sums.shape[2] // 5, axis=2), strict=False):
        np.testing.assert_allclose(found[name], sigmoid(expected), atol=8 * 9 * EPS)
    assert "".join(found) == ("rz" if kind is pyrnnfast.GRU else "g")


def test_coupled_gates_sum_to_one() -> None:
    gates = record(pyrnnfast.LSTM(2, 3, coupled=True, rng=0), np.ones((4, 1, 2), np.float32))[0][0].gates
    np.testing.assert_array_equal(gates["i"] + gates["f"], 1)


def test_a_sequence_in_two_parts() -> None:
    layer, x = pyrnnfast.LSTM(2, 3, 2, rng=0), normal(9, 1, 2).astype(np.float32)
    [_, whole], _ = record(layer, x)
    [_, first], state = record(layer, x[:4])
    [_, second], _ = record(layer, x[4:], state)
    tolerance = 9 * 2 * 5 * float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(np.concatenate([first.c, second.c]), whole.c, atol=tolerance)


def test_what_cannot_be_recorded() -> None:
    layer, x = pyrnnfast.GRU(2, 3, rng=0), np.ones((4, 1, 2), np.float32)
    refuses(TypeError, lambda: record(pyrnnfast.JordanRNN(2, 3, 1), x))
    refuses(TypeError, lambda: record(pyrnnfast.Linear(2, 3), x))
    refuses(ValueError, lambda: record(pyrnnfast.GRU(2, 3, zoneout=0.1), x))
    refuses(TypeError, lambda: record(layer, x.astype(np.float64)))
    refuses(ValueError, lambda: record(layer, x[0]))
    refuses(ValueError, lambda: record(layer, x[:0]))
    refuses(ValueError, lambda: record(layer, x, np.zeros((2, 1, 3), np.float32)))


# --- Texts


TEXT = "The cat <sat> on the mat.\nA dog did not.\n" * 30


@pytest.mark.parametrize("unit", ["char", "word"])
def test_a_language_model_reads(unit: str) -> None:
    words = Vocabulary.from_text(TEXT, unit=unit, lowercase=unit == "char")
    model = LanguageModel(words, embedding=4, hidden=5, layers=2, rng=0)
    [found] = read(model, TEXT, layer=1)
    ids = words.encode(TEXT, bos=True)
    assert len(found.tokens) == ids.size - 1 > (500 if unit == "char" else 100)
    assert "".join(found.tokens).replace(" \n", "\n") == (TEXT.lower() if unit == "char" else TEXT)
    y = model.recurrent.eval()(ids[:, None], embedding=model.embedding.eval())[0][1:, 0]
    np.testing.assert_allclose(found.h, y, atol=1e3 * 9 * float(np.finfo(np.float32).eps))
    [start] = read(model, TEXT, layer=1, limit=7)
    assert start.tokens == found.tokens[:7]
    np.testing.assert_allclose(start.gates["f"], found.gates["f"][:7], rtol=1e-5)
    assert model.training


def test_a_classifier_reads_both_ways() -> None:
    model = TextClassifier.from_examples(["abc", "cde"], ["x", "y"], hidden=4, max_length=6, rng=0)
    texts = ["abcde?", "abcdefghi", "abc"]
    found = read(model, texts, layer=1, reverse=True)
    assert ["".join(each.tokens) for each in found] == ["abcde?", "abcdef", "abc"]
    y = model.recurrent.eval()(model.encode("abc")[:, None], embedding=model.embedding.eval())[0]
    np.testing.assert_allclose(found[2].h, y[:, 0, 4:], atol=1e-5)
    assert len(read(model, texts, limit=7)) == 2


def test_a_tagger_reads_words() -> None:
    sentences = [(["fly", "to", "Rome"], ["O", "O", "B-to"]), (["to", "Oslo"], ["O", "B-to"])]
    model = SequenceTagger.from_examples(sentences, hidden=4, embedding=3, character_hidden=2, rng=0)
    [found] = read(model, "fly  to Rome")
    assert found.tokens == ("fly ", "to ", "Rome ")
    assert found.h.shape == found.c.shape == found.gates["o"].shape == (3, 4)
    [again] = read(model, ["fly to"])
    np.testing.assert_allclose(again.h, found.h[:2], atol=1e-6)


def test_what_cannot_be_read() -> None:
    model = LanguageModel(Vocabulary.from_text(TEXT), embedding=4, hidden=5, rng=0)
    refuses(TypeError, lambda: read(model.recurrent, TEXT))
    refuses(TypeError, lambda: read(model, [1]))
    refuses(ValueError, lambda: read(model, " \n"))
    refuses(ValueError, lambda: read(model, TEXT, layer=1))
    refuses(ValueError, lambda: read(model, TEXT, layer=-1))
    refuses(ValueError, lambda: read(model, TEXT, reverse=True))
    refuses(ValueError, lambda: read(model, TEXT, limit=0))
