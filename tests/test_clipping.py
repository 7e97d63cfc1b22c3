"""Clipping of gradients: against PyTorch, at the edges of the number types, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import AWKWARD, require
from hypothesis import given
from hypothesis import strategies as st

from pyrnnfast import clipping
from pyrnnfast.clipping import clip_grad_norm_, clip_grad_value_
from pyrnnfast.layers.linear import Linear
from pyrnnfast.optim import SGD

DTYPES = (np.float32, np.float64)


def draw(dtype: type = np.float64, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in [(5, 7), (3,), (), (2, 0), (1, 2, 3)]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm_type", [0.5, 1, 2, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0, 0.1, 1.0, 1e6])
def test_norm_equals_torch(max_norm: float, norm_type: float, dtype: type) -> None:
    torch = require("torch")
    grads = [g for g in draw(dtype) if g.size or norm_type != math.inf]
    parameters = [torch.zeros(g.shape, dtype=torch.tensor(g).dtype, requires_grad=True) for g in grads]
    for parameter, gradient in zip(parameters, grads, strict=True):
        parameter.grad = torch.tensor(gradient)
    expected = torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type).item()
    got = clip_grad_norm_(grads, max_norm, norm_type)
    bound = 100 * float(np.finfo(dtype).eps)  # PyTorch sums some 50 numbers in the gradients' own type
    assert type(got) is float
    assert got == pytest.approx(expected, rel=bound)
    for parameter, gradient in zip(parameters, grads, strict=True):
        assert gradient.dtype == dtype
        np.testing.assert_allclose(gradient, parameter.grad.numpy(), rtol=2 * bound)


@pytest.mark.parametrize("dtype", DTYPES)
def test_value_equals_torch(dtype: type) -> None:
    torch = require("torch")
    grads = draw(dtype)
    parameters = [torch.zeros(g.shape, dtype=torch.tensor(g).dtype, requires_grad=True) for g in grads]
    for parameter, gradient in zip(parameters, grads, strict=True):
        parameter.grad = torch.tensor(gradient)
    torch.nn.utils.clip_grad_value_(parameters, 0.3)
    assert clip_grad_value_(grads, 0.3) is None
    for parameter, gradient in zip(parameters, grads, strict=True):
        np.testing.assert_array_equal(gradient, parameter.grad.numpy())


@given(
    sizes=st.lists(st.sampled_from((0, *AWKWARD)), max_size=4),
    max_norm=st.floats(0, 100),
    norm_type=st.one_of(st.floats(0.5, 8), st.just(math.inf)),
    seed=st.integers(0, 99),
)
def test_norm_after_clipping(sizes: list[int], max_norm: float, norm_type: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grads = [rng.standard_normal(size) for size in sizes]
    before = [g.copy() for g in grads]
    everything = np.concatenate([np.zeros(0), *grads])
    expected = float(np.linalg.norm(everything, norm_type)) if everything.size else 0.0
    norm = clip_grad_norm_(grads, max_norm, norm_type)
    assert norm == pytest.approx(expected, rel=1e-12)
    if norm <= max_norm - 1e-6:
        for got, want in zip(grads, before, strict=True):
            np.testing.assert_array_equal(got, want)
    else:
        after = clip_grad_norm_(grads, math.inf, norm_type)
        assert after == pytest.approx(norm * max_norm / (norm + 1e-6), rel=1e-9, abs=1e-300)


def test_all_forms_of_gradients_are_the_same() -> None:
    layer = Linear(3, 2, rng=0)
    for gradient in layer.grads.values():
        gradient[...] = 1
    copies = {name: gradient.copy() for name, gradient in layer.grads.items()}
    listed = [gradient.copy() for gradient in layer.grads.values()]
    generated = [gradient.copy() for gradient in layer.grads.values()]
    alone = np.ones(8)
    for grads in (layer, copies, listed, (g for g in generated), alone):
        assert clip_grad_norm_(grads, 0.5) == pytest.approx(math.sqrt(8))
    factor = 0.5 / (math.sqrt(8) + 1e-6)
    for arrays in (layer.grads.values(), copies.values(), listed, generated, [alone]):
        for array in arrays:
            np.testing.assert_allclose(array, factor, rtol=1e-7)


def test_an_array_that_is_given_twice_counts_once() -> None:
    shared, own = np.full(4, 3.0), np.full((2, 2), 4.0)
    norm = clip_grad_norm_({"a": shared, "b": own, "c": shared[:], "d": own}, 1.0)
    assert norm == pytest.approx(10)
    np.testing.assert_allclose(shared, 0.3, rtol=1e-6)
    np.testing.assert_allclose(own, 0.4, rtol=1e-6)


def test_nothing_to_clip() -> None:
    assert clip_grad_norm_([], 1.0) == 0.0
    assert clip_grad_norm_({}, 1.0, math.inf) == 0.0
    assert clip_grad_norm_([np.zeros((3, 0))], 1.0) == 0.0
    zeros = np.zeros(4)
    assert clip_grad_norm_([zeros], 0.0) == 0.0
    assert clip_grad_value_([], 1.0) is None


@pytest.mark.parametrize("norm_type", [1, 2, 3, math.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_neither_overflows_nor_underflows(dtype: type, norm_type: float) -> None:
    for size in (np.finfo(dtype).max / 8, np.finfo(dtype).tiny * 8, np.finfo(dtype).smallest_subnormal):
        gradient = np.array([size, -size, 0], dtype)
        expected = float(gradient[0]) * (1 if norm_type == math.inf else 2 ** (1 / norm_type))
        assert clip_grad_norm_([gradient], math.inf, norm_type) == pytest.approx(expected, rel=1e-12, abs=0)


def test_norm_in_float32_is_accumulated_in_float64() -> None:
    gradient = np.full(3 * clipping.BLOCK + 5, 0.1, np.float32)
    expected = float(np.float32(0.1)) * math.sqrt(gradient.size)
    assert clip_grad_norm_([gradient], math.inf) == pytest.approx(expected, rel=1e-13)


def test_infinite_max_norm_only_measures() -> None:
    gradient = np.array([3.0, np.inf, 4.0])
    assert clip_grad_norm_([gradient], math.inf) == math.inf
    np.testing.assert_array_equal(gradient, [3.0, np.inf, 4.0])


@pytest.mark.parametrize("norm_type", [1, 2, math.inf])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite(bad: float, norm_type: float) -> None:
    torch = require("torch")
    start = [np.array([1.0, 2.0]), np.array([bad, 3.0]), np.array([4.0])]

    grads = [g.copy() for g in start]
    norm = clip_grad_norm_(grads, 1.0, norm_type)
    parameters = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in start]
    for parameter, gradient in zip(parameters, start, strict=True):
        parameter.grad = torch.tensor(gradient)
    expected = torch.nn.utils.clip_grad_norm_(parameters, 1.0, norm_type).item()
    np.testing.assert_equal(norm, expected)
    for parameter, gradient in zip(parameters, grads, strict=True):
        np.testing.assert_array_equal(gradient, parameter.grad.numpy())

    grads = [g.copy() for g in start]
    with pytest.raises(RuntimeError, match=r"must be finite, got (nan|inf)"):
        clip_grad_norm_(grads, 1.0, norm_type, nonfinite="raise")
    norm = clip_grad_norm_(grads, 1.0, norm_type, nonfinite="skip")
    np.testing.assert_equal(norm, expected)
    for got, want in zip(grads, start, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_skipped_step_changes_nothing() -> None:
    layer = Linear(2, 2, rng=0)
    optimizer = SGD(layer, lr=0.1, momentum=0.9)
    layer.grads["weight"][...] = 1
    optimizer.step()
    weights, state = layer.state_dict(), optimizer.state_dict()
    layer.grads["bias"][0] = np.nan
    if math.isfinite(clip_grad_norm_(layer, 1.0, nonfinite="skip")):
        optimizer.step()
    optimizer.zero_grad()
    assert not layer.grads["bias"].any()
    np.testing.assert_equal(layer.state_dict(), weights)
    np.testing.assert_equal(optimizer.state_dict(), state)


def test_value_at_the_edges() -> None:
    gradient = np.array([np.nan, np.inf, -np.inf, 0.5, -2], np.float32)
    clip_grad_value_(gradient, 1)
    np.testing.assert_array_equal(gradient, np.array([np.nan, 1, -1, 0.5, -1], np.float32))
    clip_grad_value_(gradient, 1e300)
    np.testing.assert_array_equal(gradient, np.array([np.nan, 1, -1, 0.5, -1], np.float32))
    clip_grad_value_(gradient, 0)
    np.testing.assert_array_equal(gradient, np.array([np.nan, 0, 0, 0, 0], np.float32))


def test_strided_arrays_are_clipped_in_place() -> None:
    whole = np.ones((4, 6))
    assert clip_grad_norm_([whole[:, ::2]], 1.0) == pytest.approx(math.sqrt(12))
    np.testing.assert_allclose(whole[:, ::2], 1 / math.sqrt(12), rtol=1e-6)
    assert (whole[:, 1::2] == 1).all()
    clip_grad_value_(whole.T, 0.5)
    assert whole.max() == 0.5


G = np.ones(3)
READ_ONLY = np.ones(3)
READ_ONLY.flags.writeable = False
BAD = {
    "grads None": (None, 1.0, {}, TypeError),
    "grads a number": (1.0, 1.0, {}, TypeError),
    "grads a string": ("grads", 1.0, {}, TypeError),
    "a gradient None": ([G, None], 1.0, {}, TypeError),
    "a gradient a list": ([G, [1.0]], 1.0, {}, TypeError),
    "float16": ([G.astype(np.float16)], 1.0, {}, TypeError),
    "integers": ({"w": G.astype(int)}, 1.0, {}, TypeError),
    "byte-swapped": ([G.astype(">f8")], 1.0, {}, TypeError),
    "read-only": ([READ_ONLY], 1.0, {}, ValueError),
    "limit a string": ([G], "1", {}, TypeError),
    "limit True": ([G], True, {}, TypeError),
    "limit None": ([G], None, {}, TypeError),
    "limit negative": ([G], -1.0, {}, ValueError),
    "limit NaN": ([G], math.nan, {}, ValueError),
}
BAD_NORM = {
    "norm_type 0": ([G], 1.0, {"norm_type": 0}, ValueError),
    "norm_type negative": ([G], 1.0, {"norm_type": -1}, ValueError),
    "norm_type NaN": ([G], 1.0, {"norm_type": math.nan}, ValueError),
    "norm_type a string": ([G], 1.0, {"norm_type": "inf"}, TypeError),
    "nonfinite unknown": ([G], 1.0, {"nonfinite": "ignore"}, ValueError),
    "nonfinite True": ([G], 1.0, {"nonfinite": True}, TypeError),
}


@pytest.mark.parametrize("name", [*BAD, *BAD_NORM])
def test_norm_refuses(name: str) -> None:
    grads, limit, options, error = (BAD | BAD_NORM)[name]
    with pytest.raises(error, match=r"must .*got"):
        clip_grad_norm_(grads, limit, **options)
    assert (G == 1).all()


@pytest.mark.parametrize("name", BAD)
def test_value_refuses(name: str) -> None:
    grads, limit, _, error = BAD[name]
    with pytest.raises(error, match=r"must .*got"):
        clip_grad_value_(grads, limit)
    assert (G == 1).all()
