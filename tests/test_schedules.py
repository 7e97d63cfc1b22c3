"""Learning-rate schedules: their values, their ends, and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from conftest import require
from hypothesis import given
from hypothesis import strategies as st

from pyrnnfast.layers.linear import Linear
from pyrnnfast.optim import SGD, Constant, Cosine, Schedule, Step

ALL: list[Schedule] = [Constant(0.1), Step(0.1), Cosine(0.1), Cosine(0.1, warmup=0.2, final=0.05)]


def test_constant() -> None:
    assert [Constant(0.1)(f) for f in (0, 0.5, 1)] == [0.1, 0.1, 0.1]


def test_step() -> None:
    schedule = Step(1.0, at=(0.25, 0.5), factor=0.5)
    fractions = (0, 0.2499, 0.25, 0.4999, 0.5, 1)
    assert [schedule(f) for f in fractions] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert Step(1.0, at=())(1) == 1


def test_cosine() -> None:
    schedule = Cosine(2.0, warmup=0.2, final=0.1)
    assert [schedule(f) for f in (0, 0.1, 0.2)] == pytest.approx([0, 1, 2])
    assert schedule(0.6) == pytest.approx((2 + 0.2) / 2)
    assert schedule(1) == pytest.approx(0.2)
    assert Cosine(2.0)(0) == 2
    assert Cosine(2.0)(1) == pytest.approx(0, abs=1e-15)
    assert [Cosine(2.0, warmup=1)(f) for f in (0, 0.5, 1)] == [0, 1, 2]


def test_cosine_equals_torch() -> None:
    torch = require("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=0.03)
    ours = Cosine(0.3, final=0.1)
    for step in range(50):
        assert ours(step / 50) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        theirs.step()


def test_step_equals_torch() -> None:
    torch = require("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 45], gamma=0.2)
    ours = Step(0.3, at=(0.3, 0.45), factor=0.2)
    for step in range(100):
        assert ours(step / 100) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


@given(
    fraction=st.floats(0, 2),
    peak=st.floats(0, 10),
    warmup=st.floats(0, 1),
    final=st.floats(0, 1),
)
def test_rates_stay_between_zero_and_the_peak(fraction, peak, warmup, final) -> None:
    for schedule in (Constant(peak), Step(peak, factor=final), Cosine(peak, warmup, final)):
        rate = schedule(fraction)
        assert type(rate) is float
        assert 0 <= rate <= peak * (1 + 1e-15)


@given(warmup=st.floats(0, 1), final=st.floats(0, 1))
def test_cosine_rises_then_falls(warmup: float, final: float) -> None:
    rates = [Cosine(1.0, warmup, final)(f) for f in np.linspace(0, 1, 101)]
    rising = [f < warmup for f in np.linspace(0, 1, 101)]
    for i in range(100):
        if rising[i + 1]:
            assert rates[i] <= rates[i + 1]
        elif not rising[i]:
            assert rates[i] >= rates[i + 1]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_a_schedule_is_a_value(schedule: Schedule) -> None:
    for twin in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule)):
        assert twin == schedule
        assert twin(0.7) == schedule(0.7)
    with pytest.raises(AttributeError):
        schedule.peak = 1.0
    assert schedule(1.5) == schedule(1)


def test_steps_or_the_clock_drive_an_optimizer() -> None:
    optimizer, schedule = SGD(Linear(2, 2, rng=0)), Cosine(0.4, warmup=0.5)
    rates = []
    for step in range(4):
        optimizer.lr = schedule((step + 1) / 4)
        rates.append(optimizer.lr)
        optimizer.step()
    assert rates == pytest.approx([0.2, 0.4, 0.2, 0])


@pytest.mark.parametrize("schedule", ALL, ids=repr)
@pytest.mark.parametrize(
    "fraction, error",
    [
        (-0.1, ValueError),
        (math.nan, ValueError),
        (math.inf, ValueError),
        ("0.5", TypeError),
        (None, TypeError),
    ],
)
def test_bad_fractions(schedule: Schedule, fraction: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"fraction must .*got"):
        schedule(fraction)


@pytest.mark.parametrize(
    "make, error",
    [
        (lambda: Constant(-1), ValueError),
        (lambda: Constant(math.nan), ValueError),
        (lambda: Constant("0.1"), TypeError),
        (lambda: Step(math.inf), ValueError),
        (lambda: Step(1, at=0.5), TypeError),
        (lambda: Step(1, at=(0.5, 0.25)), ValueError),
        (lambda: Step(1, at=(0.5, 1.5)), ValueError),
        (lambda: Step(1, at=(None,)), TypeError),
        (lambda: Step(1, factor=2), ValueError),
        (lambda: Cosine(-1), ValueError),
        (lambda: Cosine(1, warmup=1.1), ValueError),
        (lambda: Cosine(1, warmup=True), TypeError),
        (lambda: Cosine(1, final=-0.1), ValueError),
    ],
)
def test_bad_arguments(make, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"must .*got"):
        make()
