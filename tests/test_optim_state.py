"""The state of the optimizers: resumed runs, copies, and what is refused."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from optimizers import CASES, Bag, run

from pyrnnfast import optim
from pyrnnfast.optim import SGD, Adam

DTYPES = (np.float32, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name, options", CASES, ids=lambda value: str(value))
def test_a_resumed_run_gives_the_same_bits(name: str, options: dict, dtype: type) -> None:
    make = getattr(optim, name)
    module = Bag((7, 9), (5,), dtype=dtype)
    optimizer = make(module, **options)
    run(optimizer, module, range(5))
    weights, state = module.state_dict(), optimizer.state_dict()
    assert all(isinstance(value, (int, float, np.ndarray)) for value in state.values())
    run(optimizer, module, range(5, 10))

    other = Bag((7, 9), (5,), dtype=dtype, seed=1)
    other.load_state_dict(weights)
    resumed = make(other, **(options | {"lr": 123.0}))
    as_file = {key: np.array(value) for key, value in state.items()}  # numbers as arrays of one element
    resumed.load_state_dict(as_file)
    assert resumed.options == {**optimizer.options}
    assert resumed.steps == 5
    run(resumed, other, range(5, 10))
    np.testing.assert_equal(other.state_dict(), module.state_dict())
    np.testing.assert_equal(resumed.state_dict(), optimizer.state_dict())


def test_pickle_and_deepcopy_go_on_alike() -> None:
    module = Bag((6,))
    optimizer = Adam(module)
    run(optimizer, module, range(2))
    twins = [pickle.loads(pickle.dumps((module, optimizer))), copy.deepcopy((module, optimizer))]
    run(optimizer, module, range(2, 4))
    for other, twin in twins:
        run(twin, other, range(2, 4))
        np.testing.assert_array_equal(other.p0, module.p0)


def test_state_dict_is_a_copy() -> None:
    module = Bag((3,))
    optimizer = Adam(module)
    run(optimizer, module, range(1))
    optimizer.state_dict()["exp_avg.p0"][...] = 7
    assert not (optimizer.state_dict()["exp_avg.p0"] == 7).any()


def bad_state(**changes: object) -> dict[str, object]:
    state = {**Adam(Bag((3,))).state_dict(), **changes}
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"lr": None}, "missing 'lr'"),
        ({"steps": None}, "missing 'steps'"),
        ({"exp_avg.p0": None}, "missing 'exp_avg.p0'"),
        ({"momentum": 0.9}, "unexpected 'momentum'"),
        ({"exp_avg.p1": np.zeros(3)}, "unexpected 'exp_avg.p1'"),
        ({"exp_avg.p0": np.zeros(4)}, r"'exp_avg.p0' must be float64 \(3,\), got float64 \(4,\)"),
        ({"exp_avg.p0": np.zeros(3, np.float32)}, "must be float64 .* got float32"),
        ({"lr": -1.0}, "lr must be .* got -1"),
        ({"lr": "fast"}, "lr must be .* got 'fast'"),
        ({"lr": np.zeros(2)}, "lr must be .* got"),
        ({"lr": np.ma.array(0.1, mask=True)}, "lr must be .* got MaskedArray"),
        ({"beta1": 1.0}, "beta1 must be .* got 1"),
        ({"beta2": math.nan}, "beta2 must be .* got nan"),
        ({"steps": 1.5}, "steps must be .* got 1.5"),
        ({"steps": -1}, "steps must be .* got -1"),
    ],
)
def test_a_bad_state_is_refused_and_changes_nothing(changes: dict, message: str) -> None:
    module = Bag((3,))
    optimizer = Adam(module, lr=0.25)
    run(optimizer, module, range(3))
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(bad_state(**changes))
    np.testing.assert_equal(optimizer.state_dict(), before)


@pytest.mark.parametrize("value", [[0.0, 0.0, 0.0], np.ma.array(np.zeros(3), mask=[0, 1, 0])])
def test_a_buffer_that_is_no_array_is_refused(value: object) -> None:
    optimizer = Adam(Bag((3,)), lr=0.25)
    with pytest.raises(TypeError, match=r"'exp_avg\.p0' must be an array, got (list|MaskedArray)"):
        optimizer.load_state_dict(bad_state(**{"exp_avg.p0": value}))
    assert optimizer.lr == 0.25


def test_all_problems_of_a_state_are_listed() -> None:
    optimizer = SGD(Bag((3,)), momentum=0.9)
    with pytest.raises(
        ValueError, match=r"missing 'momentum'.*missing 'momentum_buffer.p0'.*unexpected 'beta1'"
    ):
        optimizer.load_state_dict(bad_state())
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        optimizer.load_state_dict({**optimizer.state_dict(), "nesterov": True, "dampening": 0.5})
    for wrong in (None, [], 3):
        with pytest.raises(TypeError, match=r"must be a mapping.* got"):
            optimizer.load_state_dict(wrong)
