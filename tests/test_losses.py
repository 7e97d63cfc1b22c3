"""The losses: against PyTorch, central differences and hand-made cases, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import AWKWARD, require
from hypothesis import given
from hypothesis import strategies as st

from pyrnnfast._backend import current
from pyrnnfast.losses import sigmoid_cross_entropy, softmax_cross_entropy
from pyrnnfast.reference import losses as reference

DTYPES = (np.float32, np.float64)


def draw(shape: tuple[int, ...], dtype: type = np.float64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of `shape` and targets for them."""
    rng = np.random.default_rng([seed, *shape])
    return 3 * rng.standard_normal(shape).astype(dtype), rng.integers(0, shape[-1], shape[:-1])


def tolerance(logits: np.ndarray) -> float:
    """A loss is a difference of logits and a logarithm of a sum of V terms: each is off by size x epsilon.

    Their sum over V terms is off by V epsilon at worst. A probability is off by as much, relative to itself.
    """
    largest = float(np.abs(logits).max(initial=1))
    return float(np.finfo(logits.dtype).eps) * (4 * largest + logits.shape[-1])


def differences(function, x: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient of `function` at x by central differences."""
    result = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[place] += step
        behind[place] -= step
        result[place] = (function(ahead) - function(behind)) / (2 * step)
    return result


# --- softmax_cross_entropy


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ignore_index", [-100, 0, 4])
@pytest.mark.parametrize("shape", [(7,), (1, 5), (6, 9), (3, 4, 97), (2, 3, 4, 5)])
def test_softmax_equals_torch(shape: tuple[int, ...], ignore_index: int, dtype: type) -> None:
    torch = require("torch")
    logits, targets = draw(shape, dtype)
    targets = np.asarray(targets)
    if targets.ndim:
        targets.reshape(-1)[::3] = ignore_index
        targets.reshape(-1)[-1] = 1
    x = torch.tensor(logits.reshape(-1, shape[-1]), requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        x, torch.tensor(targets.reshape(-1)), ignore_index=ignore_index
    )
    expected.backward()
    loss, gradient = softmax_cross_entropy(logits, targets, ignore_index=ignore_index)
    assert type(loss) is float
    assert gradient.dtype == dtype
    assert loss == pytest.approx(expected.item(), abs=tolerance(logits))
    np.testing.assert_allclose(gradient, x.grad.numpy().reshape(shape), rtol=0, atol=tolerance(logits))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_weights_equal_torch(dtype: type) -> None:
    torch = require("torch")
    logits, targets = draw((4, 6, 9), dtype)
    weights = np.random.default_rng(1).random((4, 6)).astype(dtype)
    targets[1, 2:4] = -100
    x = torch.tensor(logits.reshape(-1, 9), requires_grad=True)
    each = torch.nn.functional.cross_entropy(x, torch.tensor(targets.reshape(-1)), reduction="none")
    kept = torch.tensor((weights * (targets != -100)).reshape(-1))
    expected = (each * kept).sum() / kept.sum()
    expected.backward()
    loss, gradient = softmax_cross_entropy(logits, targets, weights=weights)
    assert loss == pytest.approx(expected.item(), abs=2 * tolerance(logits))
    np.testing.assert_allclose(gradient, x.grad.numpy().reshape(4, 6, 9), rtol=0, atol=tolerance(logits))


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    weighted=st.booleans(),
    ignore=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_softmax_gradient_is_that_of_the_loss(
    shape: tuple[int, ...], weighted: bool, ignore: bool, seed: int
) -> None:
    logits, targets = draw(shape, seed=seed)
    targets = np.asarray(targets)
    weights = np.random.default_rng(seed).random(shape[:-1]) if weighted else None
    weights = None if weights is None else np.asarray(weights)
    options = {"weights": weights, "ignore_index": 0 if ignore else -1}
    _, gradient = softmax_cross_entropy(logits, targets, **options)
    expected = differences(lambda x: softmax_cross_entropy(x, targets, **options)[0], logits)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8)  # step^2 plus epsilon / step
    np.testing.assert_allclose(gradient.sum(axis=-1), 0, atol=1e-14)


@pytest.mark.parametrize("classes", AWKWARD)
def test_softmax_in_float32_is_near_float64(classes: int) -> None:
    logits, targets = draw((17, classes), np.float32)
    loss, gradient = softmax_cross_entropy(logits, targets)
    exact_loss, exact = softmax_cross_entropy(logits.astype(np.float64), targets)
    assert loss == pytest.approx(exact_loss, abs=tolerance(logits))
    np.testing.assert_allclose(gradient, exact, rtol=0, atol=tolerance(logits) / 17)


def test_softmax_of_equal_logits_is_uniform() -> None:
    loss, gradient = softmax_cross_entropy(np.zeros((2, 4)), np.array([1, 3]))
    assert loss == pytest.approx(math.log(4))
    np.testing.assert_allclose(gradient[0], np.array([0.25, -0.75, 0.25, 0.25]) / 2)


def test_softmax_with_nothing_kept_is_zero() -> None:
    logits, targets = draw((3, 5))
    for loss, gradient in (
        softmax_cross_entropy(logits, np.full(3, -100)),
        softmax_cross_entropy(logits, targets, weights=np.zeros(3)),
    ):
        assert loss == 0.0
        assert not gradient.any()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5), (0, 0), (0, 3, 0)])
def test_softmax_of_no_tokens_is_zero(shape: tuple[int, ...]) -> None:
    loss, gradient = softmax_cross_entropy(np.zeros(shape), np.zeros(shape[:-1], np.int64))
    assert (loss, gradient.shape) == (0.0, shape)


def test_softmax_of_no_classes_needs_ignored_targets() -> None:
    assert softmax_cross_entropy(np.zeros((3, 0)), np.full(3, -100))[0] == 0.0
    with pytest.raises(ValueError, match=r"targets must be .* got 0"):
        softmax_cross_entropy(np.zeros((3, 0)), np.zeros(3, np.int64))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_stands_large_logits(dtype: type) -> None:
    largest = np.finfo(dtype).max
    logits = np.array([[1e4, 0, -1e4], [largest, 0, -largest], [-np.inf, 0, 0]], dtype)
    loss, gradient = softmax_cross_entropy(logits, np.array([0, 0, 1]))
    assert loss == pytest.approx(math.log(2) / 3)
    np.testing.assert_allclose(gradient[2], [0, -0.5 / 3, 0.5 / 3], rtol=1e-6)
    assert softmax_cross_entropy(logits, np.array([0, 0, 0]))[0] == math.inf
    assert softmax_cross_entropy(np.array([[0, -1e4]], dtype), np.array([1]))[0] == 1e4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_softmax_keeps_a_bad_row_to_itself(bad: float) -> None:
    logits, targets = draw((4, 5))
    _, clean = softmax_cross_entropy(logits, targets)
    logits[2, 3] = bad
    loss, gradient = softmax_cross_entropy(logits, targets)
    assert math.isnan(loss)
    assert np.isnan(gradient[2]).all()
    np.testing.assert_array_equal(np.delete(gradient, 2, 0), np.delete(clean, 2, 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_softmax_does_not_look_at_what_does_not_count(bad: float) -> None:
    logits, targets = draw((4, 5))
    logits[2] = bad
    ignored = np.where(np.arange(4) == 2, -100, targets)
    weights = np.array([1.0, 1.0, 0.0, 1.0])
    expected = softmax_cross_entropy(np.delete(logits, 2, 0), np.delete(targets, 2))
    for loss, gradient in (
        softmax_cross_entropy(logits, ignored),
        softmax_cross_entropy(logits, targets, weights=weights),
    ):
        assert loss == pytest.approx(expected[0])
        assert not gradient[2].any()
        np.testing.assert_allclose(np.delete(gradient, 2, 0), expected[1])


@pytest.mark.parametrize("integer", "bhilqBHILQ")
def test_softmax_takes_every_type_of_integers(integer: str) -> None:
    logits, targets = draw((4, 5))
    expected = softmax_cross_entropy(logits, targets)
    loss, gradient = softmax_cross_entropy(logits, targets.astype(integer))
    assert loss == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


def test_softmax_takes_any_layout_and_changes_nothing() -> None:
    logits, targets = draw((6, 4, 5))
    weights = np.random.default_rng(0).random((6, 4))
    expected = softmax_cross_entropy(logits, targets, weights=weights)
    wide = np.repeat(logits, 2, axis=2)[:, :, ::2]
    fortran = np.asfortranarray(logits)
    raw = np.zeros(logits.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(np.float64).reshape(logits.shape)
    unaligned[...] = logits
    for view in (wide, fortran, unaligned):
        before = view.copy()
        view.flags.writeable = False
        got = softmax_cross_entropy(view, np.asfortranarray(targets), weights=np.asfortranarray(weights))
        assert got[0] == expected[0]
        np.testing.assert_array_equal(got[1], expected[1])
        np.testing.assert_array_equal(view, before)


X, Y = np.zeros((2, 3)), np.zeros(2, np.int64)
BAD_SOFTMAX = {
    "logits a list": ((X.tolist(), Y), {}, TypeError),
    "logits float16": ((X.astype(np.float16), Y), {}, TypeError),
    "logits of integers": ((X.astype(np.int64), Y), {}, TypeError),
    "logits complex": ((X.astype(complex), Y), {}, TypeError),
    "logits byte-swapped": ((X.astype(">f8"), Y), {}, TypeError),
    "logits masked": ((np.ma.masked_array(X), Y), {}, TypeError),
    "logits scalar": ((np.array(1.0), np.array(0)), {}, ValueError),
    "targets a list": ((X, [0, 1]), {}, TypeError),
    "targets of floats": ((X, np.zeros(2)), {}, TypeError),
    "targets bool": ((X, np.zeros(2, bool)), {}, TypeError),
    "targets byte-swapped": ((X, Y.astype(">i8")), {}, TypeError),
    "targets of another rank": ((X, np.zeros((2, 1), np.int64)), {}, ValueError),
    "targets too few": ((X, Y[:1]), {}, ValueError),
    "target too large": ((X, np.array([0, 3])), {}, ValueError),
    "target negative": ((X, np.array([0, -1])), {}, ValueError),
    "target huge": ((X, np.array([0, 2**64 - 1], np.uint64)), {}, ValueError),
    "target wraps to ignore_index": ((X, np.array([0, 2**64 - 100], np.uint64)), {}, ValueError),
    "weights of another shape": ((X, Y), {"weights": np.ones(3)}, ValueError),
    "weights per class": ((X, Y), {"weights": np.ones((2, 3))}, ValueError),
    "weights of another dtype": ((X, Y), {"weights": np.ones(2, np.float32)}, TypeError),
    "weight negative": ((X, Y), {"weights": np.array([1.0, -1.0])}, ValueError),
    "weight NaN": ((X, Y), {"weights": np.array([1.0, np.nan])}, ValueError),
    "weight infinite": ((X, Y), {"weights": np.array([1.0, np.inf])}, ValueError),
    "ignore_index None": ((X, Y), {"ignore_index": None}, TypeError),
    "ignore_index a float": ((X, Y), {"ignore_index": 1.0}, TypeError),
    "ignore_index too large": ((X, Y), {"ignore_index": 2**63}, ValueError),
}


@pytest.mark.parametrize("name", BAD_SOFTMAX)
def test_softmax_refuses(name: str) -> None:
    arguments, options, error = BAD_SOFTMAX[name]
    with pytest.raises(error, match=r"must .*got"):
        softmax_cross_entropy(*arguments, **options)


# --- sigmoid_cross_entropy


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(), (1,), (9,), (4, 17), (2, 3, 5)])
def test_sigmoid_equals_torch(shape: tuple[int, ...], weighted: bool, dtype: type) -> None:
    torch = require("torch")
    rng = np.random.default_rng(0)
    logits = np.asarray(4 * rng.standard_normal(shape), dtype)
    targets = np.asarray(rng.random(shape) > 0.5, dtype)
    weights = np.asarray(rng.random(shape), dtype)
    x = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        x, torch.tensor(targets), weight=torch.tensor(weights) if weighted else None, reduction="sum"
    ) / (weights.sum() if weighted else logits.size)
    expected.backward()
    loss, gradient = sigmoid_cross_entropy(logits, targets, weights=weights if weighted else None)
    bound = float(np.finfo(dtype).eps) * 4 * float(np.abs(logits).max(initial=1))
    assert type(loss) is float
    assert gradient.dtype == dtype
    assert loss == pytest.approx(expected.item(), abs=bound)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=0, atol=bound)


@given(
    shape=st.lists(st.integers(1, 4), max_size=3).map(tuple), weighted=st.booleans(), seed=st.integers(0, 99)
)
def test_sigmoid_gradient_is_that_of_the_loss(shape: tuple[int, ...], weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, targets = np.asarray(2 * rng.standard_normal(shape)), np.asarray(rng.random(shape))
    weights = np.asarray(rng.random(shape)) if weighted else None
    _, gradient = sigmoid_cross_entropy(logits, targets, weights=weights)
    expected = differences(lambda x: sigmoid_cross_entropy(x, targets, weights=weights)[0], logits)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid_is_stable(dtype: type) -> None:
    logits = np.array([1e4, -1e4, 1e4, -1e4, 0], dtype)
    loss, gradient = sigmoid_cross_entropy(logits, np.array([1, 0, 0, 1, 1], dtype))
    assert loss == pytest.approx((2e4 + math.log(2)) / 5)
    np.testing.assert_allclose(gradient, np.array([0, 0, 1, -1, -0.5]) / 5, rtol=1e-6)
    tiny, _ = sigmoid_cross_entropy(np.array([-30.0], dtype), np.zeros(1, dtype))
    assert tiny == pytest.approx(math.exp(-30), rel=1e-6)


def test_sigmoid_keeps_nan_to_its_label_and_ignores_weight_zero() -> None:
    logits, targets = np.array([0.5, np.nan, -1.0]), np.array([1.0, 0.0, 0.0])
    loss, gradient = sigmoid_cross_entropy(logits, targets)
    assert math.isnan(loss)
    np.testing.assert_array_equal(np.isnan(gradient), [False, True, False])
    loss, gradient = sigmoid_cross_entropy(logits, targets, weights=np.array([1.0, 0.0, 1.0]))
    assert loss == pytest.approx(sigmoid_cross_entropy(logits[::2], targets[::2])[0])
    assert gradient[1] == 0


def test_sigmoid_with_nothing_kept_is_zero() -> None:
    x = np.ones((2, 3))
    assert sigmoid_cross_entropy(x[:0], x[:0])[0] == 0.0
    loss, gradient = sigmoid_cross_entropy(x, x, weights=np.zeros((2, 3)))
    assert loss == 0.0
    assert not gradient.any()


BAD_SIGMOID = {
    "logits a list": (([0.0], X), {}, TypeError),
    "logits float16": ((X.astype(np.float16), X), {}, TypeError),
    "targets of integers": ((X, X.astype(np.int64)), {}, TypeError),
    "targets of another dtype": ((X, X.astype(np.float32)), {}, TypeError),
    "targets byte-swapped": ((X, X.astype(">f8")), {}, TypeError),
    "targets of another shape": ((X, X[:1]), {}, ValueError),
    "target above 1": ((X, X + 1.5), {}, ValueError),
    "target negative": ((X, X - 0.5), {}, ValueError),
    "target NaN": ((X, X * np.nan), {}, ValueError),
    "weights of another shape": ((X, X), {"weights": np.ones(3)}, ValueError),
    "weight negative": ((X, X), {"weights": X - 1}, ValueError),
    "weight infinite": ((X, X), {"weights": X + np.inf}, ValueError),
}


@pytest.mark.parametrize("name", BAD_SIGMOID)
def test_sigmoid_refuses(name: str) -> None:
    arguments, options, error = BAD_SIGMOID[name]
    with pytest.raises(error, match=r"must .*got"):
        sigmoid_cross_entropy(*arguments, **options)


# --- The backend's own functions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("classes", AWKWARD)
def test_backend_equals_reference(classes: int, weighted: bool, dtype: type) -> None:
    logits, targets = draw((33, classes), dtype)
    targets[::5] = -100
    weights = np.random.default_rng(0).random(33).astype(dtype) if weighted else None
    got = current().softmax_cross_entropy(logits, targets, weights, -100)
    exact = reference.softmax_cross_entropy(
        logits.astype(np.float64), targets, weights if weights is None else weights.astype(np.float64), -100
    )
    assert got[0] == pytest.approx(exact[0], abs=tolerance(logits))
    np.testing.assert_allclose(got[1], exact[1], rtol=0, atol=tolerance(logits))
