"""return_cells: the cell state of every step, and its gradient."""

from __future__ import annotations

import copy
import functools
import pickle
from unittest import mock

import numpy as np
import pytest
from conftest import refuses, require
from numeric import STEP, Case, assert_close, make, same_bits

import pyrnnfast
from pyrnnfast import _backend, functional, reference

CASES = [
    (6, 5, 3, 9, {}),
    (40, 17, 9, 17, {"general": {"peephole": True, "clip": 0.5}}),  # several chunks
    (
        7,
        5,
        6,
        16,
        {"layers": 2, "bidirectional": True, "lengths": (7, 0, 3, 6, 2), "general": {"proj_size": 5}},
    ),
    (3, 2, 4, 200, {"layers": 2, "bias": False}),  # threads split units
    (6, 5, 3, 9, {"general": {"zoneout": (0.3, 0.2), "cell_clip": 0.5, "peephole": True}, "seed": 7}),
    (6, 5, 3, 17, {"general": {"zoneout": (0.3, 0.2), "layer_norm": True}, "lengths": (6, 0, 3, 6, 2)}),
]


def gradient_of_cells(case: Case) -> np.ndarray:
    shape = (case.steps, case.rows, case.directions * case.hidden)
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def both_ways(case: Case, dtype: type, isa: str | None = None, num_threads: int | None = None) -> dict:
    """Forward and backward with cells: every result by name."""
    get = {name: array.astype(dtype) for name, array in case.arrays.items()}
    packed = functional.pack(case.cell, case.weights(dtype), isa=isa, **case.options)
    result = functional.forward(
        packed,
        get["x"],
        (get["h0"], get["c0"]),
        case.lengths,
        seed=case.seed,
        training=True,
        return_cells=True,
        num_threads=num_threads,
    )
    dcells = gradient_of_cells(case).astype(dtype)
    back = functional.backward(
        result.tape, get["dy"], (get["dh"], get["dc"]), dcells=dcells, num_threads=num_threads
    )
    found = {"y": result.y, "cells": result.cells, "h": result.state[0], "c": result.state[1]}
    found |= {"dx": back.dx, "dh0": back.dstate[0], "dc0": back.dstate[1]}
    return found | {f"dw{i}": array for i, array in enumerate(back.dweights)}


@pytest.mark.parametrize(("steps", "rows", "inputs", "hidden", "options"), CASES)
def test_as_the_reference(steps: int, rows: int, inputs: int, hidden: int, options: dict, isa: str) -> None:
    case = make("lstm", steps, rows, inputs, hidden, **options)
    with mock.patch.object(_backend, "current", return_value=reference):
        expected = both_ways(case, np.float64)
    for dtype in (np.float32, np.float64):
        one, two = (both_ways(case, dtype, isa, n) for n in (1, 2))
        assert_close(case, one, expected, dtype)
        same_bits(two, one)


@pytest.mark.parametrize("name", ["x", "h0", "c0", "w0.0", "w0.1", "w0.2"])
def test_central_differences(name: str, isa: str) -> None:
    case = make("lstm", 4, 3, 3, 5, bidirectional=True, lengths=(4, 0, 2))
    base = {key: value.astype(np.float64) for key, value in case.arrays.items()}
    dcells = gradient_of_cells(case).astype(np.float64)

    def forward(arrays: dict) -> functional.ForwardResult:
        weights = [value for key, value in arrays.items() if key.startswith("w")]
        packed = functional.pack("lstm", weights, isa=isa, **case.options)
        state = arrays["h0"], arrays["c0"]
        return functional.forward(packed, arrays["x"], state, case.lengths, training=True, return_cells=True)

    back = functional.backward(forward(base).tape, dcells=dcells)
    weights = [key for key in base if key.startswith("w")]
    gradients = {"x": back.dx, "h0": back.dstate[0], "c0": back.dstate[1]}
    gradients |= dict(zip(weights, back.dweights, strict=True))
    direction = np.random.default_rng(0).normal(size=base[name].shape)
    up, down = (
        float((forward({**base, name: base[name] + step * direction}).cells * dcells).sum())
        for step in (STEP, -STEP)
    )
    exact = float((gradients[name] * direction).sum())
    scale = float(np.abs(gradients[name]).sum()) + abs(up) + 1
    assert abs((up - down) / (2 * STEP) - exact) <= 100 * STEP**2 * scale


@pytest.mark.parametrize("lengths", [None, (5, 0, 3)], ids=str)
def test_in_inference(lengths: tuple | None, isa: str) -> None:
    case = make("lstm", 5, 3, 4, 9, layers=2, bidirectional=True, lengths=lengths)
    packed = functional.pack("lstm", case.weights(np.float32), isa=isa, **case.options)
    quiet, trained = (
        functional.forward(packed, case.arrays["x"], None, lengths, training=training, return_cells=True)
        for training in (False, True)
    )
    np.testing.assert_array_equal(quiet.cells, trained.cells)
    np.testing.assert_array_equal(quiet.y, functional.forward(packed, case.arrays["x"], None, lengths).y)
    ends = np.array(lengths or (5, 5, 5))
    rows = np.flatnonzero(ends)
    np.testing.assert_array_equal(quiet.cells[ends[rows] - 1, rows, :9], quiet.state[1][2, rows])
    np.testing.assert_array_equal(quiet.cells[0, rows, 9:], quiet.state[1][3, rows])
    assert not any(quiet.cells[end:, row].any() for row, end in enumerate(ends))


def test_a_layer() -> None:
    layer = pyrnnfast.LSTM(3, 5, 2, batch_first=True, return_cells=True, rng=0)
    assert repr(layer) == "LSTM(3, 5, num_layers=2, batch_first=True, return_cells=True)"
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    y, (_, c), cells = layer(x)
    assert cells.shape == (2, 6, 5)
    np.testing.assert_array_equal(cells[:, -1], c[-1])
    layer.backward(None, None, np.ones_like(cells))
    assert all(gradient.any() for gradient in layer.grads.values())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin.eval()(x)[2], cells)
    np.testing.assert_array_equal(layer.eval()(x[0])[2], cells[0])
    np.testing.assert_array_equal(layer.stream(2)(x[:, 0]), y[:, 0])


def test_refused() -> None:
    refuses(TypeError, lambda: pyrnnfast.LSTM(3, 4, return_cells=1))
    case = make("gru", 2, 2, 3, 4)
    packed = functional.pack("gru", case.weights(np.float32))
    refuses(ValueError, lambda: functional.forward(packed, case.arrays["x"], return_cells=True))
    result = functional.forward(packed, case.arrays["x"], training=True)
    assert result.cells is None
    refuses(ValueError, lambda: functional.backward(result.tape, dcells=np.zeros((2, 2, 4), np.float32)))
    for return_cells in (True, False):
        layer = pyrnnfast.LSTM(3, 4, return_cells=return_cells, rng=0)
        layer(case.arrays["x"])
        wrong = np.zeros((2, 2, 4 + return_cells), np.float32)
        refuses(ValueError, functools.partial(layer.backward, None, dcells=wrong))


def test_onnx_cannot_say_it() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    refuses(ValueError, lambda: to_onnx(pyrnnfast.LSTM(3, 4, return_cells=True)))
