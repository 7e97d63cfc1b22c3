"""Norms of gradients back in time: exact ones, those of backward, of a model's loss; what a clip does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refuses, require

import pyrnnfast
from pyrnnfast import softmax_cross_entropy
from pyrnnfast.diagnostics import gradient_norms, loss_gradient_norms
from pyrnnfast.models import LanguageModel
from pyrnnfast.text import Vocabulary

EPS = float(np.finfo(np.float64).eps)
LAYERS = [
    (pyrnnfast.RNN, {}),
    (pyrnnfast.LSTM, {}),
    (pyrnnfast.GRU, {}),
    (pyrnnfast.GRU, {"reset_after": False}),
    (pyrnnfast.OneGateGRU, {}),
    (pyrnnfast.LSTM, {"peephole": True, "proj_size": 3}),
]
TEXT = "The cat sat on the mat. A dog did not. " * 20


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def linear(factor: float, hidden: int = 4) -> pyrnnfast.RNN:
    """h = x + factor Q h', Q orthogonal, so that a step multiplies the norm of a gradient by the factor."""
    layer = pyrnnfast.RNN(hidden, hidden, dtype="float64", activations=[("affine", 1.0)], bias=False, rng=0)
    q = np.linalg.qr(normal(hidden, hidden))[0]
    layer.load_state_dict({"weight_ih_l0": np.eye(hidden), "weight_hh_l0": factor * q})
    return layer


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_a_linear_network_vanishes_or_explodes_by_its_factor(factor: float) -> None:
    x, dy = normal(30, 3, 4), normal(3, 4)
    found = gradient_norms(linear(factor), x, dy)
    expected = np.sqrt((dy**2).sum(axis=1).mean()) * factor ** np.arange(29.0, -1, -1)
    np.testing.assert_allclose(found, [expected], rtol=30 * 8 * EPS)
    found = gradient_norms(linear(factor), x, dy, step=9)
    np.testing.assert_allclose(found[0, :10], expected[20:], rtol=30 * 8 * EPS)
    np.testing.assert_array_equal(found[0, 10:], 0)


def test_the_clip_ends_an_explosion() -> None:
    """dh' = W^T ds, and no number of ds is above the clip."""
    x, layer = normal(60, 1, 4), linear(3.0)
    free, clipped = gradient_norms(layer, x), gradient_norms(layer, x, grad_clip=0.5)
    assert free[0, 0] > 1e27
    assert clipped[0, :-1].max() <= 3 * 0.5 * np.sqrt(4) * (1 + 60 * EPS)
    assert clipped[0, -1] == free[0, -1] == 2
    wide = gradient_norms(layer, x, grad_clip=1e30)
    np.testing.assert_allclose(wide, free, rtol=60 * EPS)


@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)
def test_the_norms_are_those_of_the_gradient_of_the_state(kind: Any, options: dict[str, Any]) -> None:
    """The gradient of an initial state, by backward over the steps after it."""
    layer, x = kind(3, 5, dtype="float64", rng=0, **options), normal(9, 2, 3)
    found = gradient_norms(layer, x)
    y, _ = layer(x)
    dy = np.zeros_like(y)
    dy[-1] = 1
    for t in range(1, 9):
        _, middle = layer(x[:t])
        layer(x[t:], middle)
        _, dstate = layer.backward(dy[t:])
        dh = dstate[0] if isinstance(dstate, tuple) else dstate
        np.testing.assert_allclose(found[0, t - 1], np.sqrt((dh**2).sum() / 2), rtol=1e4 * EPS)
    assert layer.training


def test_directions_layers_and_what_stays_as_it_was() -> None:
    layer = pyrnnfast.GRU(3, 5, 2, bidirectional=True, dropout=0.5, rng=0).eval()
    found = gradient_norms(layer, normal(6, 2, 3).astype(np.float32), step=2)
    assert found.shape == (4, 6)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found[2, 3:], 0)
    np.testing.assert_array_equal(found[3, :2], 0)
    assert (found[:2] > 0).all()
    assert not any(gradient.any() for gradient in layer.grads.values())
    assert not layer.training


def test_an_lstm_that_remembers_reaches_farther_than_an_elman_network() -> None:
    x = normal(100, 8, 4).astype(np.float32)
    elman = gradient_norms(pyrnnfast.RNN(4, 32, rng=0), x)
    lstm = gradient_norms(pyrnnfast.LSTM(4, 32, forget_bias=5.0, rng=0), x)
    assert elman[0, 0] < 1e-9 * elman[0, -1]
    assert lstm[0, 0] > 1e-3 * lstm[0, -1]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_loss_of_a_language_model(cell: str) -> None:
    words = Vocabulary.from_text(TEXT)
    model = LanguageModel(words, cell=cell, embedding=4, hidden=6, dtype="float64", rng=0).eval()
    found = loss_gradient_norms(model, TEXT, steps=5, rows=1)
    assert found.shape == (1, 5)
    ids = words.encode(TEXT, bos=True)[:11, None]
    model.train()
    for t in range(6, 10):
        _, state = model(ids[:t])
        logits, _ = model(ids[t:-1], state)
        dlogits = np.zeros_like(logits)
        dlogits[-1] = softmax_cross_entropy(logits[-1], ids[-1])[1]
        dstate = model.backward(dlogits)
        dh = dstate[0] if isinstance(dstate, tuple) else dstate
        np.testing.assert_allclose(found[0, t - 6], np.linalg.norm(dh), rtol=1e5 * EPS)
    np.testing.assert_allclose(
        found[0, -1], np.linalg.norm(dlogits[-1] @ model.decoder.weight), rtol=1e5 * EPS
    )


def test_many_places_of_a_text() -> None:
    model = LanguageModel(Vocabulary.from_text(TEXT), layers=2, embedding=4, hidden=6, rng=0)
    several = loss_gradient_norms(model, TEXT, steps=7, rows=10)
    assert several.shape == (2, 7)
    assert (several > 0).all()
    assert model.training
    assert (loss_gradient_norms(model, TEXT, steps=7, rows=10, grad_clip=1e-9)[:, 0] < several[:, 0]).all()
    assert loss_gradient_norms(model, TEXT[:14], steps=7).shape == (2, 7)


def test_bad_arguments() -> None:
    layer, x = pyrnnfast.GRU(3, 5, rng=0), np.zeros((4, 2, 3), np.float32)
    refuses(TypeError, lambda: gradient_norms(pyrnnfast.JordanRNN(3, 5, 2), x))
    refuses(TypeError, lambda: gradient_norms(layer, x.astype(np.float64)))
    refuses(ValueError, lambda: gradient_norms(layer, x[0]))
    refuses(ValueError, lambda: gradient_norms(layer, x[:0]))
    refuses(ValueError, lambda: gradient_norms(layer, x, step=4))
    refuses(ValueError, lambda: gradient_norms(layer, x, step=-5))
    refuses(ValueError, lambda: gradient_norms(layer, x, np.zeros((4, 2, 5), np.float32)))
    refuses(ValueError, lambda: gradient_norms(layer, x, grad_clip=0))
    model = LanguageModel(Vocabulary.from_text(TEXT), embedding=4, hidden=6, rng=0)
    refuses(TypeError, lambda: loss_gradient_norms(layer, TEXT))
    refuses(ValueError, lambda: loss_gradient_norms(model, TEXT[:13], steps=7))
    refuses(ValueError, lambda: loss_gradient_norms(model, TEXT, steps=0))
    refuses(ValueError, lambda: loss_gradient_norms(model, TEXT, rows=0))


def test_python_in_the_document_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("matplotlib")
    monkeypatch.chdir(tmp_path)
    document = Path(__file__).parent.parent / "docs" / "diagnostics.md"
    block = document.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(block, "diagnostics.md", "exec"), names)
    elman, gru, lstm, wild, clipped = (each[-51] / each[-1] for each in names["norms"].values())
    assert elman < gru < 1e-6 < 1e-3 < lstm < 1 < 1e3 < wild
    assert clipped < 1
    assert capsys.readouterr().out.startswith("{'Elman': ")
    assert [path.name for path in tmp_path.iterdir()] == ["gradients.png"]
