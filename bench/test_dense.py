"""What stands beside the recurrence in a training step: embedding, linear layer, loss, clipping, Adam."""

from __future__ import annotations

import numpy as np
import pytest

from pyrnnfast import Embedding, Linear
from pyrnnfast.clipping import clip_grad_norm_
from pyrnnfast.losses import softmax_cross_entropy
from pyrnnfast.optim import Adam

STEPS, ROWS, EMBEDDED, HIDDEN = 128, 64, 64, 256


@pytest.fixture(params=[65, 10_000], ids=lambda size: f"vocabulary{size}")
def vocabulary(request) -> int:
    return int(request.param)


@pytest.fixture
def ids(vocabulary: int, pytestconfig: pytest.Config) -> np.ndarray:
    """Tokens, [T, N]."""
    steps = 2 if pytestconfig.getoption("--suite") == "tiny" else STEPS
    return np.random.default_rng(0).integers(0, vocabulary, (steps, ROWS))


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def test_embedding(benchmark, ids: np.ndarray, vocabulary: int) -> None:
    layer = Embedding(vocabulary, EMBEDDED, rng=0)
    dy = normal(*ids.shape, EMBEDDED)
    benchmark(lambda: (layer(ids), layer.backward(dy)))


def test_linear(benchmark, ids: np.ndarray, vocabulary: int) -> None:
    layer = Linear(HIDDEN, vocabulary, rng=0)
    x, dy = normal(*ids.shape, HIDDEN), normal(*ids.shape, vocabulary)
    benchmark(lambda: (layer(x), layer.backward(dy)))


def test_loss(benchmark, ids: np.ndarray, vocabulary: int) -> None:
    benchmark(softmax_cross_entropy, normal(*ids.shape, vocabulary), ids)


def test_clipping(benchmark, vocabulary: int) -> None:
    benchmark(clip_grad_norm_, [normal(vocabulary, HIDDEN)], 1e9)


def test_adam(benchmark, vocabulary: int) -> None:
    layer = Linear(HIDDEN, vocabulary, rng=0)
    layer(normal(1, HIDDEN))
    layer.backward(normal(1, vocabulary))
    benchmark(Adam(layer, lr=1e-9).step)
