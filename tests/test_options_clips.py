"""cell_clip and proj_clip: the cell state and the projected state are held to a limit."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from conftest import refuses, require
from numeric import Case, make, run, same_for_any_threads
from test_recurrent_gradients import differences_agree

import pyrnnfast
from pyrnnfast import functional

CLIPS = [
    {"cell_clip": 0.4},
    {"cell_clip": 0.3, "peephole": True, "coupled": True},
    {"proj_size": 3, "proj_clip": 0.1},
    {"proj_size": 3, "proj_clip": 0.05, "cell_clip": 0.5, "clip": 0.9},
]
STACKS = [{}, {"layers": 2, "bidirectional": True, "lengths": (6, 0, 3, 5, 6)}]


def drawn(options: dict, general: dict) -> Case:
    return make("lstm", 6, 5, 3, 9, general=general, **options)


@pytest.mark.parametrize("options", STACKS, ids=str)
@pytest.mark.parametrize("general", CLIPS, ids=str)
def test_as_the_reference(general: dict, options: dict, isa: str) -> None:
    case = drawn(options, general)
    same_for_any_threads(case, isa)


@pytest.mark.parametrize("general", CLIPS, ids=str)
def test_central_differences(general: dict, isa: str) -> None:
    differences_agree("lstm", isa, general=general, bidirectional=True, lengths=(4, 0, 2))


def test_what_is_held_is_within_and_some_is_at_the_limit(isa: str) -> None:
    for general, name in ((CLIPS[0], "c"), (CLIPS[2], "y")):
        found = np.abs(run(drawn({}, general), np.float64, isa)[name])
        limit = general.get("cell_clip", general.get("proj_clip"))
        assert found.max() == limit
        assert (found < limit).any()


def test_a_wide_limit_changes_nothing(isa: str) -> None:
    plain, wide = (
        run(drawn({}, {"proj_size": 4, **clips}), np.float32, isa)
        for clips in ({}, {"cell_clip": 1e6, "proj_clip": 1e6})
    )
    for name in ("y", "h", "c"):
        np.testing.assert_array_equal(plain[name], wide[name])


def test_all_at_the_limit_has_no_gradient(isa: str) -> None:
    found = run(drawn({}, {"cell_clip": 1e-9}), np.float64, isa)
    assert not found["dc0"].any()
    found = run(drawn({}, {"proj_size": 4, "proj_clip": 1e-9}), np.float64, isa)
    assert not found["dw0.4"].any()


def test_the_initial_state_is_taken_as_it_is(isa: str) -> None:
    """Only what a step has computed is held: a c0 beyond the limit counts whole, as in TensorFlow."""
    case = drawn({}, {"cell_clip": 0.4})
    case.arrays["c0"][...] = 30.0
    packed = functional.pack("lstm", case.weights(np.float32), isa=isa, **case.options)
    _, (_, c), _ = functional.forward(packed, case.arrays["x"][:1], case.pair("h0", "c0", np.float32))
    np.testing.assert_array_equal(c, np.float32(0.4))


def test_a_layer() -> None:
    layer = pyrnnfast.LSTM(3, 5, proj_size=2, cell_clip=0.3, proj_clip=0.1, rng=0)
    assert repr(layer) == "LSTM(3, 5, cell_clip=0.3, proj_size=2, proj_clip=0.1)"
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    y, _ = layer(x)
    layer.backward(np.ones_like(y))
    stream = layer.stream(2)
    for step, want in zip(x, y, strict=True):
        np.testing.assert_array_equal(stream(step), want)
    np.testing.assert_array_equal(copy.deepcopy(layer).eval()(x)[0], y)
    assert repr(pyrnnfast.LSTM(3, 5, cell_clip=float("inf"))) == "LSTM(3, 5)"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"cell_clip": 0}, ValueError),
        ({"cell_clip": "1"}, TypeError),
        ({"proj_size": 2, "proj_clip": -1.0}, ValueError),
        ({"proj_size": 2, "proj_clip": float("nan")}, ValueError),
        ({"proj_clip": 1.0}, ValueError),  # there is no projection
    ],
    ids=repr,
)
def test_refused(arguments: dict, error: type) -> None:
    refuses(error, lambda: pyrnnfast.LSTM(3, 4, **arguments))


def test_of_the_lstm_only() -> None:
    case = make("gru", 1, 1, 3, 4, general={"proj_size": 2})
    weights = case.weights(np.float32)
    refuses(ValueError, lambda: functional.pack("gru", weights, proj_size=2, proj_clip=1.0))
    refuses(ValueError, lambda: functional.pack("gru", weights, proj_size=2, cell_clip=1.0))


def test_onnx_cannot_say_it() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    refuses(ValueError, lambda: to_onnx(pyrnnfast.LSTM(3, 4, cell_clip=2.0)))
