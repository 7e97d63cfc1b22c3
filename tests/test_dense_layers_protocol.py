"""Embedding, Linear and Dropout: tapes, threads, copies, and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle
import threading

import numpy as np
import pytest

from pyrnnfast.layers.dropout import Dropout
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.linear import Linear
from pyrnnfast.layers.recurrent import GRU
from pyrnnfast.layers.tape import TapeSlot
from pyrnnfast.optim import SGD

# --- Tapes, threads, copies


def calls() -> list:
    """A maker, an input and a gradient for each layer."""
    x, ids = np.random.default_rng(0).standard_normal((4, 3), np.float32), np.array([0, 2, 2, 1])
    return [
        pytest.param(lambda: Linear(3, 3, rng=0), x, x, id="Linear"),
        pytest.param(lambda: Embedding(5, 3, rng=0), ids, x, id="Embedding"),
        pytest.param(lambda: Dropout(0.5, rng=0), x, x, id="Dropout"),
        pytest.param(lambda: Dropout(0.0, rng=0), x, x, id="Dropout(0)"),
    ]


@pytest.mark.parametrize("make, x, dy", calls())
def test_backward_wants_one_call_in_training_each(make, x: np.ndarray, dy: np.ndarray) -> None:
    layer = make()
    with pytest.raises(RuntimeError, match="backward"):
        layer.backward(dy)
    layer(x)
    layer.backward(dy)
    with pytest.raises(RuntimeError, match="backward"):
        layer.backward(dy)
    layer(x)
    layer.eval()(x)
    with pytest.raises(RuntimeError, match="backward"):
        layer.train().backward(dy)


@pytest.mark.parametrize("make, x, dy", calls())
def test_each_thread_has_its_own_tape(make, x: np.ndarray, dy: np.ndarray) -> None:
    layer, failures = make(), []
    layer(x)

    def work(rows: int) -> None:
        try:
            with pytest.raises(RuntimeError, match="backward"):
                layer.backward(dy)
            for _ in range(20):
                layer(x[:rows])
                layer.backward(dy[:rows])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(rows,)) for rows in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    layer.backward(dy)
    assert not failures


@pytest.mark.parametrize("make, x, dy", calls())
def test_copies_have_the_values_but_no_tape(make, x: np.ndarray, dy: np.ndarray) -> None:
    layer = make()
    layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_equal(twin.state_dict(), layer.state_dict())
        assert repr(twin) == repr(layer)
        with pytest.raises(RuntimeError, match="backward"):
            twin.backward(dy)
        twin(x)
        twin.backward(dy)
    layer.backward(dy)


def test_a_tape_dies_with_its_thread_and_its_slot() -> None:
    class Tape:
        pass

    slot: TapeSlot[Tape] = TapeSlot()
    slot.drop()
    first, second = Tape(), Tape()
    slot.keep(first)
    slot.keep(second)
    assert slot.latest("Layer") is second
    slot.drop()
    with pytest.raises(RuntimeError, match=r"Layer\.backward needs"):
        slot.latest("Layer")


def test_linear_refuses_a_backward_after_a_step() -> None:
    layer = Linear(3, 2, rng=0)
    layer(np.zeros((1, 3), np.float32))
    SGD(layer).step()
    with pytest.raises(RuntimeError, match="have changed since"):
        layer.backward(np.zeros((1, 2), np.float32))


# --- What they refuse

F = np.zeros((2, 3), np.float32)
BAD_MAKING = [
    (lambda: Linear(0, 1), ValueError),
    (lambda: Linear(1, -1), ValueError),
    (lambda: Linear(1.0, 1), TypeError),
    (lambda: Linear(True, 1), TypeError),
    (lambda: Linear(1, 1, bias=1), TypeError),
    (lambda: Linear(1, 1, dtype=np.float16), TypeError),
    (lambda: Linear(1, 1, dtype=">f4"), TypeError),
    (lambda: Linear(1, 1, rng="seed"), TypeError),
    (lambda: Linear(2**40, 2**40), ValueError),
    (lambda: Linear(1, 2**40), ValueError),
    (lambda: Embedding(0, 1), ValueError),
    (lambda: Embedding(1, 0), ValueError),
    (lambda: Embedding("5", 1), TypeError),
    (lambda: Embedding(5, 1, 5), ValueError),
    (lambda: Embedding(5, 1, -6), ValueError),
    (lambda: Embedding(5, 1, 0.0), TypeError),
    (lambda: Embedding(5, 1, dtype=int), TypeError),
    (lambda: Embedding(2**40, 2**40), ValueError),
    (lambda: Embedding(1, 2**40), ValueError),
    (lambda: GRU(2**40, 1), ValueError),
    (lambda: GRU(1, 1, num_layers=10**12), ValueError),
    (lambda: Dropout(-0.1), ValueError),
    (lambda: Dropout(1.1), ValueError),
    (lambda: Dropout(math.nan), ValueError),
    (lambda: Dropout("0.5"), TypeError),
    (lambda: Dropout(0.5, rng=1.5), TypeError),
]


@pytest.mark.parametrize("make, error", BAD_MAKING)
def test_bad_arguments(make, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"must .*got"):
        make()


BAD_X = [
    (lambda: Linear(3, 2), F.tolist(), TypeError),
    (lambda: Linear(3, 2), F.astype(np.float64), TypeError),
    (lambda: Linear(3, 2), F.astype(np.float16), TypeError),
    (lambda: Linear(3, 2), F.astype(">f4"), TypeError),
    (lambda: Linear(3, 2), F.astype(int), TypeError),
    (lambda: Linear(3, 2), np.ma.masked_array(F), TypeError),
    (lambda: Linear(3, 2), None, TypeError),
    (lambda: Linear(3, 2), F[:, :2], ValueError),
    (lambda: Linear(3, 2), np.array(1, np.float32), ValueError),
    (lambda: Embedding(5, 2), [0, 1], TypeError),
    (lambda: Embedding(5, 2), F, TypeError),
    (lambda: Embedding(5, 2), np.zeros(2, bool), TypeError),
    (lambda: Embedding(5, 2), np.zeros(2, ">i8"), TypeError),
    (lambda: Embedding(5, 2), np.array([0, 5]), ValueError),
    (lambda: Embedding(5, 2), np.array([0, -1]), ValueError),
    (lambda: Embedding(5, 2), np.array([2**64 - 1], np.uint64), ValueError),
    (lambda: Dropout(0.5), F.astype(np.float16), TypeError),
    (lambda: Dropout(0.5), F.astype(">f4"), TypeError),
    (lambda: Dropout(0.5).eval(), F.astype(int), TypeError),
    (lambda: Dropout(0.5), [1.0], TypeError),
]


@pytest.mark.parametrize("make, x, error", BAD_X)
def test_bad_inputs(make, x: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"must .*got"):
        make()(x)


@pytest.mark.parametrize("make, x, dy", calls())
@pytest.mark.parametrize(
    "spoil, error",
    [
        (lambda dy: None, TypeError),
        (lambda dy: dy.tolist(), TypeError),
        (lambda dy: dy.astype(np.float16), TypeError),
        (lambda dy: dy.astype(">f4"), TypeError),
        (lambda dy: dy[1:], ValueError),
        (lambda dy: dy[:, 1:], ValueError),
        (lambda dy: dy[None], ValueError),
        (lambda dy: dy.reshape(-1), ValueError),
        (lambda dy: dy.astype(np.float64), TypeError),
    ],
)
def test_bad_gradients(make, x: np.ndarray, dy: np.ndarray, spoil, error: type[Exception]) -> None:
    layer = make()
    layer(x)
    with pytest.raises(error, match=r"dy must .*got"):
        layer.backward(spoil(dy))
    assert not any(gradient.any() for gradient in layer.grads.values())
    layer.backward(dy)  # the tape is still there
