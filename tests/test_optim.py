"""The optimizers: against torch.optim, the module's side, and what they refuse."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from conftest import require
from hypothesis import given
from hypothesis import strategies as st
from optimizers import CASES, Bag, give_gradients

from pyrnnfast import optim
from pyrnnfast.layers.linear import Linear
from pyrnnfast.layers.module import Module
from pyrnnfast.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from pyrnnfast.reference import optim as rules

DTYPES = (np.float32, np.float64)
STEPS = 20


# --- The rules


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, options", CASES, ids=lambda value: str(value))
def test_equals_torch(name: str, options: dict, dtype: type) -> None:
    torch = require("torch")
    module = Bag((7, 9), (5,), (), (0, 3), (1, 2, 3), dtype=dtype)
    parameters = [torch.tensor(value) for value in module.state_dict().values()]
    ours = getattr(optim, name)(module, **options)
    theirs = getattr(torch.optim, name)(parameters, **options, foreach=False)
    for step in range(STEPS):
        give_gradients(module, step)
        for parameter, gradient in zip(parameters, module.grads.values(), strict=True):
            parameter.grad = torch.tensor(gradient)
        ours.lr = theirs.param_groups[0]["lr"] = theirs.defaults["lr"] * (1 + step / STEPS)
        ours.step()
        theirs.step()
    # a step rounds a handful of times, and errors of the parameter add up over the steps; the quotients of
    # RMSprop and Adam are at most 1 / sqrt(1 - alpha) = 10 and amplify no more than that
    bound = 10 * STEPS * float(np.finfo(dtype).eps)
    for got, want in zip(module.named_parameters().values(), parameters, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want.numpy(), rtol=bound, atol=bound)


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "Adam", "AdamW"])
def test_defaults_are_those_of_torch(name: str) -> None:
    torch = require("torch")
    ours = inspect.signature(getattr(optim, name)).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    for option, parameter in ours.items():
        if option != "module":
            assert parameter.default == theirs[option].default, option
    positional = [option for option in list(theirs)[1:] if option in ours]
    assert list(ours)[1:3] == positional[:2]


def test_sgd_by_hand() -> None:
    module = Bag((1,))
    with module.update() as parameters:
        parameters["p0"][...] = 1.0
    optimizer = SGD(module, lr=0.5, momentum=0.5)
    for expected in (0.0, -1.5):  # b = 2, then 0.5 * 2 + 2 = 3
        module.grads["p0"][...] = 2.0
        optimizer.step()
        np.testing.assert_array_equal(module.p0, [expected])


def test_adam_by_hand() -> None:
    """The first step of Adam is lr times the sign of the gradient, whatever its size."""
    module = Bag((3,))
    before = module.state_dict()["p0"]
    module.grads["p0"][...] = [1e-3, -5.0, 0.0]
    Adam(module, lr=0.1, eps=1e-30).step()
    np.testing.assert_allclose(module.p0, before - [0.1, -0.1, 0.0], rtol=1e-12)


@given(size=st.sampled_from([1, 2, rules.BLOCK - 1, rules.BLOCK, rules.BLOCK + 1, 2 * rules.BLOCK + 7]))
def test_blocks_do_not_show(size: int) -> None:
    rng = np.random.default_rng(size)
    p, g, m, v = (rng.random(size) for _ in range(4))
    whole = [x.copy() for x in (p, g, m, v)]
    options = (0.1, 0.9, 0.99, 1e-8, 0.1, True, 3)
    rules.adam(*whole, *options)
    for part in (slice(0, size // 2), slice(size // 2, size)):
        pieces = [x[part].copy() for x in (p, g, m, v)]
        rules.adam(*pieces, *options)
        for got, want in zip(whole, pieces, strict=True):
            np.testing.assert_array_equal(got[part], want)


@pytest.mark.parametrize("name, options", CASES, ids=lambda value: str(value))
def test_learns(name: str, options: dict) -> None:
    """Every rule brings the parameters of a parabola nearer to its minimum."""
    module = Bag((16,))
    optimizer = getattr(optim, name)(module, **options)
    before = np.abs(module.p0).sum()
    for _ in range(STEPS):
        module.grads["p0"][...] = module.p0
        optimizer.step()
    assert np.abs(module.p0).sum() < before


@pytest.mark.parametrize("name, options", CASES, ids=lambda value: str(value))
def test_nan_and_infinity_stay_where_they_are(name: str, options: dict) -> None:
    module, clean = Bag((8,)), Bag((8,))
    optimizers = [getattr(optim, name)(m, **options) for m in (module, clean)]
    for step in range(3):
        give_gradients(module, step)
        give_gradients(clean, step)
        module.grads["p0"][2:5] = [np.nan, np.inf, -np.inf]
        for optimizer in optimizers:
            optimizer.step()
    assert np.isnan(module.p0[2])
    assert not np.isfinite(module.p0[2:5]).any()
    np.testing.assert_array_equal(np.delete(module.p0, slice(2, 5)), np.delete(clean.p0, slice(2, 5)))


def test_huge_gradients_make_no_warning() -> None:
    module = Bag((2,), dtype=np.float32)
    for optimizer in (SGD(module), RMSprop(module), Adagrad(module), Adam(module), AdamW(module)):
        module.grads["p0"][...] = 1e30
        optimizer.step()


# --- The module


def test_a_step_raises_the_version_and_keeps_views_alive() -> None:
    module = Linear(3, 2, rng=0)
    view, version = module.weight, module.version
    optimizer = Adam(module)
    give_gradients(module, 0)
    before = view.copy()
    optimizer.step()
    assert module.version > version
    assert not np.array_equal(view, before)
    assert not view.flags.writeable
    optimizer.zero_grad()
    assert not any(gradient.any() for gradient in module.grads.values())


def test_gradients_are_only_read() -> None:
    for name, options in CASES:
        module = Bag((40,))
        give_gradients(module, 1)
        before = module.grads["p0"].copy()
        getattr(optim, name)(module, **options).step()
        np.testing.assert_array_equal(module.grads["p0"], before)


def test_children_are_updated_under_their_names() -> None:
    class Pair(Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Linear(2, 3, rng=0)
            self.second = Linear(3, 1, rng=1)

    pair = Pair()
    optimizer = Adam(pair)
    give_gradients(pair, 0)
    before = pair.state_dict()
    optimizer.step()
    assert all(not np.array_equal(before[name], value) for name, value in pair.state_dict().items())
    assert "exp_avg.first.weight" in optimizer.state_dict()


def test_a_module_that_grew_is_refused() -> None:
    module = Bag((2,))
    optimizer = Adam(module)
    module._add_parameter("late", np.zeros(3))
    with pytest.raises(ValueError, match=r"late.*"):
        optimizer.step()
    assert optimizer.steps == 0


# --- The options


@pytest.mark.parametrize(
    "name, options, error",
    [
        ("SGD", {"lr": -0.1}, ValueError),
        ("SGD", {"lr": math.nan}, ValueError),
        ("SGD", {"lr": math.inf}, ValueError),
        ("SGD", {"lr": "0.1"}, TypeError),
        ("SGD", {"lr": None}, TypeError),
        ("SGD", {"lr": True}, TypeError),
        ("SGD", {"momentum": -0.1}, ValueError),
        ("SGD", {"weight_decay": -0.1}, ValueError),
        ("SGD", {"nesterov": 1, "momentum": 0.9}, TypeError),
        ("SGD", {"nesterov": True}, ValueError),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError),
        ("RMSprop", {"alpha": 1.0}, ValueError),
        ("RMSprop", {"eps": -1e-8}, ValueError),
        ("RMSprop", {"centered": "yes"}, TypeError),
        ("Adagrad", {"lr_decay": -1}, ValueError),
        ("Adagrad", {"initial_accumulator_value": -1}, ValueError),
        ("Adam", {"betas": 0.9}, TypeError),
        ("Adam", {"betas": (0.9,)}, ValueError),
        ("Adam", {"betas": (0.9, 1.0)}, ValueError),
        ("Adam", {"betas": ("0.9", 0.99)}, TypeError),
        ("AdamW", {"weight_decay": math.inf}, ValueError),
    ],
)
def test_bad_options(name: str, options: dict, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"(must|needs) .*got"):
        getattr(optim, name)(Bag((2,)), **options)


def test_bad_learning_rates_leave_the_old_one() -> None:
    optimizer = Adam(Bag((2,)), lr=0.5)
    for bad, error in ((-1, ValueError), (math.nan, ValueError), ("1", TypeError), (None, TypeError)):
        with pytest.raises(error, match=r"lr must .*got"):
            optimizer.lr = bad
    assert optimizer.lr == 0.5
    optimizer.lr = np.float32(0.25)
    assert type(optimizer.lr) is float
    assert optimizer.lr == 0.25


@pytest.mark.parametrize("module", [None, [np.zeros(3)], {"w": np.zeros(3)}, np.zeros(3)])
def test_only_modules_have_optimizers(module: object) -> None:
    with pytest.raises(TypeError, match=r"module must be .*got"):
        Adam(module)


def test_repr_tells_the_options() -> None:
    assert repr(SGD(Bag((2,)), lr=0.5)) == (
        "SGD(lr=0.5, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False)"
    )
