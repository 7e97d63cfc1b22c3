"""Embedding, Linear and Dropout: against PyTorch and central differences; every layout of input."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from conftest import AWKWARD, require
from hypothesis import given
from hypothesis import strategies as st

import pyrnnfast
from pyrnnfast.layers.dropout import Dropout
from pyrnnfast.layers.embedding import Embedding, sum_by_id
from pyrnnfast.layers.linear import Linear
from pyrnnfast.layers.recurrent import RNN

DTYPES = (np.float32, np.float64)
LEADING = [(), (1,), (5,), (3, 4), (2, 3, 2)]


def normal(shape: tuple[int, ...], dtype: type = np.float64, seed: int = 0) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def bound(terms: int, dtype: type) -> float:
    """A sum of `terms` products of numbers around 1 is off by sqrt(terms) epsilon; 8 covers the largest."""
    return 8 * math.sqrt(terms) * float(np.finfo(dtype).eps)


def strange_layouts(x: np.ndarray) -> list[np.ndarray]:
    """The same values as x: strided, in Fortran order, unaligned; all read-only."""
    strided = np.repeat(x, 2, axis=-1)[..., ::2]
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    layouts = [strided, np.asfortranarray(x), unaligned]
    for layout in layouts:
        layout.flags.writeable = False
    return layouts


# --- Linear


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("leading", LEADING)
def test_linear_equals_torch(leading: tuple[int, ...], bias: bool, dtype: type) -> None:
    torch = require("torch")
    layer = Linear(7, 5, bias, dtype=dtype, rng=0)
    theirs = torch.nn.Linear(7, 5, bias, dtype=torch.float32 if dtype == np.float32 else torch.float64)
    theirs.load_state_dict({name: torch.tensor(value) for name, value in layer.state_dict().items()})
    x, dy = normal((*leading, 7), dtype), normal((*leading, 5), dtype, 1)
    theirs_x = torch.tensor(x, requires_grad=True)
    theirs_y = theirs(theirs_x)
    theirs_y.backward(torch.tensor(dy))
    y = layer(x)
    dx = layer.backward(dy)
    tolerance = bound(math.prod(leading) + 7, dtype)
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_allclose(y, theirs_y.detach().numpy(), rtol=0, atol=tolerance)
    np.testing.assert_allclose(dx, theirs_x.grad.numpy(), rtol=0, atol=tolerance)
    assert list(layer.grads) == [name for name, _ in theirs.named_parameters()]
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(layer.grads[name], parameter.grad.numpy(), rtol=0, atol=tolerance)


@given(
    inputs=st.sampled_from(AWKWARD),
    outputs=st.sampled_from(AWKWARD),
    rows=st.sampled_from((0, *AWKWARD)),
    bias=st.booleans(),
    dtype=st.sampled_from(DTYPES),
)
def test_linear_equals_float64(inputs: int, outputs: int, rows: int, bias: bool, dtype: type) -> None:
    layer = Linear(inputs, outputs, bias, dtype=dtype, rng=0)
    x, dy = normal((rows, inputs), dtype), normal((rows, outputs), dtype, 1)
    weight, exact_x, exact_dy = (a.astype(np.float64) for a in (layer.weight, x, dy))
    y, dx = layer(x), layer.backward(dy)
    exact_y = exact_x @ weight.T + (layer.bias if bias else 0)
    tolerance = bound(inputs + outputs + rows, dtype)
    np.testing.assert_allclose(y, exact_y, rtol=0, atol=tolerance)
    np.testing.assert_allclose(dx, exact_dy @ weight, rtol=0, atol=tolerance)
    np.testing.assert_allclose(layer.grads["weight"], exact_dy.T @ exact_x, rtol=0, atol=tolerance)
    if bias:
        np.testing.assert_allclose(layer.grads["bias"], exact_dy.sum(axis=0), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1100, 33, 300), (1100, 300, 33), (9, 700, 65)])
def test_threads_change_no_bit_of_linear(rows: int, inputs: int, outputs: int, dtype: type) -> None:
    """Sums over several blocks of rows, products in several blocks of depth and of outputs."""
    x, dy = normal((rows, inputs), dtype), normal((rows, outputs), dtype, 1)
    results = []
    before = pyrnnfast.get_num_threads()
    try:
        for threads in (1, 2, 3):
            pyrnnfast.set_num_threads(threads)
            layer = Linear(inputs, outputs, dtype=dtype, rng=0)
            results.append([layer(x), layer.backward(dy), *layer.grads.values()])
    finally:
        pyrnnfast.set_num_threads(before)
    exact_x, exact_dy, weight = (a.astype(np.float64) for a in (x, dy, layer.weight))
    exact = [exact_x @ weight.T + layer.bias, exact_dy @ weight, exact_dy.T @ exact_x, exact_dy.sum(axis=0)]
    # One chain of n products: its k-th sum is about sqrt(k), and rounded by eps / 2. Together eps n / 3.
    tolerance = 2 * float(np.finfo(dtype).eps) * (inputs + outputs + rows)
    for one, two, three, want in zip(*results, exact, strict=True):
        np.testing.assert_allclose(one, want, rtol=0, atol=tolerance)
        if pyrnnfast.isa() != "reference":
            np.testing.assert_array_equal(one, two)
            np.testing.assert_array_equal(one, three)


def test_linear_gradients_are_those_of_its_call() -> None:
    layer = Linear(3, 2, dtype=np.float64, rng=0)
    x, dy, step = normal((4, 3)), normal((4, 2), seed=1), 1e-6
    layer(x)
    dx = layer.backward(dy)
    values = {"x": x, **layer.state_dict()}

    def loss(name: str, place: tuple[int, ...], change: float) -> float:
        moved = {key: value.copy() for key, value in values.items()}
        moved[name][place] += change
        layer.load_state_dict({key: value for key, value in moved.items() if key != "x"})
        return float((layer(moved["x"]) * dy).sum())

    for name, gradient in {"x": dx, **layer.grads}.items():
        for place in np.ndindex(gradient.shape):
            expected = (loss(name, place, step) - loss(name, place, -step)) / (2 * step)
            assert gradient[place] == pytest.approx(expected, abs=1e-8)


def test_gradients_add_up_until_they_are_zeroed() -> None:
    layer = Linear(3, 2, rng=0)
    x, dy = normal((4, 3), np.float32), normal((4, 2), np.float32)
    for _ in range(2):
        layer(x)
        layer.backward(dy)
    np.testing.assert_allclose(layer.grads["weight"], 2 * (dy.T @ x), rtol=1e-5)
    layer.zero_grad()
    assert not layer.grads["weight"].any()


def test_relu_rnn_of_ones_by_hand() -> None:
    rnn, linear = RNN(2, 2, nonlinearity="relu", bias=False), Linear(2, 1, bias=False)
    for layer in (rnn, linear):
        with layer.update() as parameters:
            for parameter in parameters.values():
                parameter[...] = 1
    y, _ = rnn(np.array([[[1, 1]], [[1, 1]], [[2, 2]]], np.float32))
    assert linear(y).reshape(-1).tolist() == [4, 12, 32]


def test_a_row_of_nan_stays_alone() -> None:
    layer = Linear(3, 2, rng=0)
    x = normal((4, 3), np.float32)
    clean = layer(x)
    x[1] = np.nan
    y = layer(x)
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(np.delete(y, 1, 0), np.delete(clean, 1, 0))


def test_linear_takes_any_layout() -> None:
    layer = Linear(5, 4, rng=0)
    x, dy = normal((3, 2, 5), np.float32), normal((3, 2, 4), np.float32)
    y, dx = layer(x), layer.backward(dy)
    gradient = layer.grads["weight"].copy()
    for strange_x, strange_dy in zip(strange_layouts(x), strange_layouts(dy), strict=True):
        layer.zero_grad()
        np.testing.assert_array_equal(layer(strange_x), y)
        np.testing.assert_array_equal(layer.backward(strange_dy), dx)
        np.testing.assert_array_equal(layer.grads["weight"], gradient)


def test_linear_draws_what_torch_draws_from() -> None:
    layer = Linear(100, 400, rng=0)
    for name in ("weight", "bias"):
        values = layer.named_parameters()[name]
        assert np.abs(values).max() <= 0.1
        assert values.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.1)
    np.testing.assert_array_equal(Linear(100, 400, rng=0).weight, layer.weight)
    assert not np.array_equal(Linear(100, 400, rng=1).weight, layer.weight)


# --- Embedding


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding_idx", [None, 0, 3, -1])
@pytest.mark.parametrize("leading", LEADING)
def test_embedding_equals_torch(leading: tuple[int, ...], padding_idx: int | None, dtype: type) -> None:
    torch = require("torch")
    layer = Embedding(6, 5, padding_idx, dtype=dtype, rng=0)
    theirs = torch.nn.Embedding(6, 5, padding_idx, dtype=torch.tensor(np.zeros(1, dtype)).dtype)
    theirs.load_state_dict({"weight": torch.tensor(layer.weight)})
    ids = np.asarray(np.random.default_rng(0).integers(0, 6, leading))
    dy = normal((*leading, 5), dtype)
    theirs_y = theirs(torch.tensor(ids))
    theirs_y.backward(torch.tensor(dy))
    y = layer(ids)
    assert layer.backward(dy) is None
    np.testing.assert_array_equal(y, theirs_y.detach().numpy())
    tolerance = bound(ids.size, dtype)
    np.testing.assert_allclose(layer.grads["weight"], theirs.weight.grad.numpy(), rtol=0, atol=tolerance)


@given(
    ids=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    width=st.sampled_from(AWKWARD),
    num_ids=st.sampled_from([10, 1 << 16, (1 << 16) + 1]),
)
def test_sum_by_id_is_add_at(ids: list[int], width: int, num_ids: int) -> None:
    which = np.array(ids)
    which[which == 9] = num_ids - 1
    dy = np.random.default_rng(0).integers(-99, 99, (len(ids), width)).astype(np.float32)
    rows, sums = sum_by_id(which, dy, num_ids)
    expected = np.zeros((len(rows), width), np.float32)
    np.add.at(expected, np.searchsorted(rows, which), dy)
    np.testing.assert_array_equal(rows, np.unique(which))
    np.testing.assert_array_equal(sums, expected)


def test_embedding_adds_to_its_gradient_and_spares_other_rows() -> None:
    layer = Embedding(5, 2, rng=0)
    for _ in range(2):
        layer(np.array([[1, 3], [1, 1]]))
        layer.backward(np.ones((2, 2, 2), np.float32))
    np.testing.assert_array_equal(layer.grads["weight"][:, 0], [0, 6, 0, 2, 0])


def test_nan_of_one_id_stays_in_its_row() -> None:
    layer = Embedding(4, 2, 0, rng=0)
    layer(np.array([1, 2, 0]))
    layer.backward(np.array([[np.nan, 1], [1, 1], [np.nan, np.inf]], np.float32))
    np.testing.assert_array_equal(layer.grads["weight"], np.array([[0, 0], [np.nan, 1], [1, 1], [0, 0]]))


@pytest.mark.parametrize("integer", "bhilqBHILQ")
def test_embedding_takes_every_type_of_integers(integer: str) -> None:
    layer = Embedding(5, 3, rng=0)
    ids = np.array([[0, 4], [2, 2]])
    np.testing.assert_array_equal(layer(ids.astype(integer)), layer.weight[ids])


def test_embedding_takes_any_layout() -> None:
    layer = Embedding(9, 4, rng=0)
    ids, dy = np.random.default_rng(0).integers(0, 9, (4, 6)), normal((4, 6, 4), np.float32)
    y = layer(ids)
    layer.backward(dy)
    gradient = layer.grads["weight"].copy()
    for strange_ids, strange_dy in zip(strange_layouts(ids), strange_layouts(dy), strict=True):
        layer.zero_grad()
        np.testing.assert_array_equal(layer(strange_ids), y)
        layer.backward(strange_dy)
        np.testing.assert_array_equal(layer.grads["weight"], gradient)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2)])
def test_embedding_of_nothing(shape: tuple[int, ...]) -> None:
    layer = Embedding(5, 3, rng=0)
    assert layer(np.zeros(shape, np.int64)).shape == (*shape, 3)
    layer.backward(np.zeros((*shape, 3), np.float32))
    assert not layer.grads["weight"].any()


def test_embedding_draws_the_standard_normal() -> None:
    layer = Embedding(200, 50, -1, rng=0)
    assert layer.padding_idx == 199
    assert not layer.weight[-1].any()
    assert layer.weight[:-1].std() == pytest.approx(1, rel=0.05)
    assert layer.weight[:-1].mean() == pytest.approx(0, abs=0.05)
    np.testing.assert_array_equal(Embedding(200, 50, -1, rng=0).weight, layer.weight)


# --- Dropout


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_drops_and_scales(p: float, dtype: type) -> None:
    layer = Dropout(p, rng=0)
    x = 1 + np.random.default_rng(1).random((40, 50)).astype(dtype)
    y = layer(x)
    kept = y != 0
    assert y.dtype == dtype
    deviation = math.sqrt(p * (1 - p) / x.size)
    assert kept.mean() == pytest.approx(1 - p, abs=5 * deviation + 1e-12)
    scale = 1 / (1 - p) if p < 1 else 0
    np.testing.assert_allclose(y, x * kept * scale, rtol=2 * np.finfo(dtype).eps)
    dy = normal(x.shape, dtype)
    np.testing.assert_allclose(layer.backward(dy), dy * kept * scale, rtol=2 * np.finfo(dtype).eps)


def test_dropout_in_eval_is_nothing() -> None:
    layer = Dropout(0.5, rng=0).eval()
    x = normal((3, 4))
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(Dropout(0.0)(x), x)


def test_dropout_is_seeded_and_new_each_time() -> None:
    x = np.ones((5, 6), np.float32)
    one, other = Dropout(0.5, rng=3), Dropout(0.5, rng=np.random.default_rng(3))
    first = one(x)
    np.testing.assert_array_equal(first, other(x))
    second = one(x)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(second, copy.deepcopy(other)(x))
    np.testing.assert_array_equal(second, pickle.loads(pickle.dumps(other))(x))
    assert not np.array_equal(Dropout(0.5, rng=4)(x), first)


def test_dropout_leaves_its_input_alone() -> None:
    for strange in strange_layouts(normal((4, 6))):
        before = strange.copy()
        layer = Dropout(0.5, rng=0)
        layer(strange)
        layer.backward(strange)
        np.testing.assert_array_equal(strange, before)
    assert Dropout(0.5)(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("p", [0, 0.5, 1])
def test_dropout_of_a_single_number(p: float) -> None:
    layer, x = Dropout(p, rng=0), np.array(3, np.float32)
    y = layer(x)
    dx = layer.backward(np.array(1, np.float32))
    for array in (y, dx):
        assert isinstance(array, np.ndarray)
        assert (array.shape, array.dtype) == ((), np.float32)
    assert y == 3 * dx
