"""What options do to backward alone: grad_clip, and the norms of dL/dh that it records."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
from conftest import refuses, require
from general import turn
from numeric import (
    CELLS,
    Case,
    forward_tolerance,
    make,
    oracle,
    run,
    same_bits,
    same_for_any_threads,
)

import pyrnnfast
from pyrnnfast import _backend, functional, reference

CLIPPED = [
    *((cell, {"grad_clip": 0.05}) for cell in CELLS),
    ("lstm", {"grad_clip": 0.05, "peephole": True, "clip": 0.5, "activations": turn("lstm", 1)}),
    ("lstm", {"grad_clip": 0.05, "peephole": True, "coupled": True, "zoneout": (0.2, 0.3)}),
    ("gru", {"grad_clip": 0.05, "activations": turn("gru", 7), "zoneout": 0.2}),
    ("gru_reset_before", {"grad_clip": 0.05, "clip": 0.4, "activations": turn("gru_reset_before", 2)}),
]
LAYERS = {name: getattr(pyrnnfast, name) for name in ("RNN", "LSTM", "GRU", "OneGateGRU")}
RAGGED = tuple((7 * n) % 41 for n in range(17))
SHAPES = [
    (40, 17, 9, 17, {"lengths": RAGGED}),  # several chunks and blocks
    (7, 5, 6, 16, {"layers": 2, "bidirectional": True, "lengths": (7, 0, 3, 6, 2)}),
    (3, 2, 4, 200, {"layers": 2, "drops": {"recurrent_dropout": 0.3}}),  # units split over threads
    (40, 33, 3, 16, {"layers": 2}),  # rows split over threads
    (0, 2, 3, 4, {}),
]


@pytest.mark.parametrize("shape", SHAPES[:3], ids=str)
@pytest.mark.parametrize(("cell", "general"), CLIPPED, ids=str)
def test_clipped_gradients(cell: str, general: dict, shape: tuple, isa: str) -> None:
    *sizes, options = shape
    case = make(cell, *sizes, general=general, **options)
    free = oracle(Case(**{**vars(case), "general": {**general, "grad_clip": None}}))
    assert (oracle(case)["dx"] != free["dx"]).any()
    same_for_any_threads(case, isa)


@pytest.mark.parametrize("cell", CELLS)
def test_one_step_is_clipped_gate_by_gate(cell: str, isa: str) -> None:
    """A row alone: the gradient of the bias is that of the sum."""
    case = make(cell, 1, 1, 3, 9, general={"clip": 1e6})
    free = run(case, np.float64, isa)
    limit = float(np.median(np.abs(free["dw0.2"][free["dw0.2"] != 0])))
    clipped = run(Case(**{**vars(case), "general": {"grad_clip": limit}}), np.float64, isa)
    want = np.clip(free["dw0.2"], -limit, limit)
    if cell.startswith("gru"):  # what reaches r has passed n, which is clipped
        assert np.abs(clipped["dw0.2"][:9]).max() <= limit
        np.testing.assert_allclose(clipped["dw0.2"][9:], want[9:], rtol=1e-12)
    elif cell != "jordan":  # there what reaches h has passed o
        np.testing.assert_allclose(clipped["dw0.2"], want, rtol=1e-12)
    np.testing.assert_array_equal(clipped["y"], free["y"])


@pytest.mark.parametrize("cell", CELLS)
def test_what_no_gradient_reaches_clips_nothing(cell: str, isa: str) -> None:
    case = make(cell, 9, 5, 4, 9, layers=2, general={"clip": 1e6})
    clipped = Case(**{**vars(case), "general": {"grad_clip": 1e6}})
    same_bits(run(clipped, np.float32, isa), run(case, np.float32, isa))


@pytest.mark.parametrize("cell", CELLS)
def test_the_clip_bounds_every_sum(cell: str, isa: str) -> None:
    case = make(cell, 9, 5, 4, 9, general={"grad_clip": 1e-3})
    results = run(case, np.float64, isa)
    assert np.abs(results["dw0.2"]).max() <= 9 * 5 * 1e-3 * (1 + 1e-12)
    case.arrays["dy"][:] = np.nan
    assert np.isnan(run(case, np.float64, isa)["dw0.2"]).any()


# --- Norms


def norms(case: Case, dtype: type, isa: str, num_threads: int | None = None) -> np.ndarray:
    packed = functional.pack(case.cell, case.weights(dtype), isa=isa, **case.options)
    state = case.pair("h0", "c0", dtype)
    x, dy = case.arrays["x"].astype(dtype), case.arrays["dy"].astype(dtype)
    tape = functional.forward(
        packed,
        x,
        state,
        case.lengths,
        dropout=case.dropout,
        seed=case.seed,
        training=True,
        **case.drops,
    ).tape
    found = np.full((case.layers * case.directions, case.steps), np.nan)
    functional.backward(tape, dy, case.pair("dh", "dc", dtype), num_threads=num_threads, grad_norms=found)
    return found


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_norms(cell: str, shape: tuple, isa: str) -> None:
    *sizes, options = shape
    for general in ({}, {"zoneout": (0.1, 0.2) if cell == "lstm" else 0.2}):
        case = make(cell, *sizes, general=general, **options)
        expected = by_reference(case)
        for dtype in (np.float32, np.float64):
            one, two = (norms(case, dtype, isa, num_threads=n) for n in (1, 2))
            np.testing.assert_array_equal(one, two)
            tolerance = 2 * forward_tolerance(case, dtype) * max(1.0, float(expected.max(initial=0)))
            np.testing.assert_allclose(one, expected, atol=tolerance)


def by_reference(case: Case) -> np.ndarray:
    with mock.patch.object(_backend, "current", return_value=reference):
        return norms(case, np.float64, "reference")


@pytest.mark.parametrize("cell", CELLS)
def test_the_norm_is_that_of_the_gradient_of_the_state(cell: str, isa: str) -> None:
    """Two calls, of the steps before and after a state: its gradient comes from the one and from y."""
    case = make(cell, 6, 3, 4, 9)
    packed = functional.pack(cell, case.weights(np.float64), isa=isa)
    x, dy = case.arrays["x"].astype(np.float64), case.arrays["dy"].astype(np.float64)
    state = case.pair("h0", "c0", np.float64)
    found = norms(case, np.float64, isa)
    for t in range(1, 6):
        middle = functional.forward(packed, x[:t], state).state
        tape = functional.forward(packed, x[t:], middle, training=True).tape
        dstate = functional.backward(tape, dy[t:], case.pair("dh", "dc", np.float64)).dstate
        dh = (dstate[0] if cell == "lstm" else dstate)[0] + dy[t - 1]
        np.testing.assert_allclose(found[0, t - 1], np.linalg.norm(dh), rtol=1e-12)


def test_norms_of_rows_of_length_zero_are_zero(isa: str) -> None:
    case = make("gru", 5, 2, 3, 4, lengths=(2, 0))
    found = norms(case, np.float32, isa)
    assert (found[0, :2] > 0).all()
    np.testing.assert_array_equal(found[0, 2:], 0)


# --- Layers


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_records(kind: str) -> None:
    layer = LAYERS[kind](3, 5, 2, bidirectional=True, grad_clip=0.5, record_grad_norms=True, rng=0)
    assert repr(layer).endswith("grad_clip=0.5, record_grad_norms=True)")
    assert layer.grad_norms is None
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    y, _ = layer(x)
    last = np.zeros_like(y)
    last[-1] = 1
    layer.backward(last)
    assert layer.grad_norms.shape == (4, 6)
    assert layer.grad_norms.dtype == np.float64
    np.testing.assert_allclose(layer.grad_norms[2, -1], np.sqrt(2 * 5))
    copies = (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), eval(repr(layer), {**LAYERS}))
    for twin in copies:
        twin.load_state_dict(layer.state_dict())
        assert repr(twin) == repr(layer)
        twin(x)
        twin.backward(last)
        np.testing.assert_array_equal(twin.grad_norms, layer.grad_norms)
    plain = LAYERS[kind](3, 5)
    plain(x)
    plain.backward(None)
    assert plain.grad_norms is None


@pytest.mark.parametrize("kind", LAYERS)
def test_norms_are_of_this_threads_last_call(kind: str) -> None:
    layer = LAYERS[kind](3, 5, record_grad_norms=True, rng=0)

    def norms(rows: int) -> np.ndarray:
        y, _ = layer(np.ones((6, rows, 3), np.float32))
        layer.backward(np.ones_like(y))
        return layer.grad_norms

    own = norms(1)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(lambda: layer.grad_norms).result() is None
        assert (other.submit(norms, 2).result() > own).all()
    assert layer.grad_norms is own
    for mode in (True, False):
        norms(1)
        layer.train(mode)(np.ones((6, 1, 3), np.float32))
        assert layer.grad_norms is None
        layer.train()


@pytest.mark.parametrize("kind", LAYERS)
def test_refused(kind: str) -> None:
    for bad, error in ((0, ValueError), (-1.0, ValueError), (float("nan"), ValueError), ("1", TypeError)):
        refuses(error, lambda bad=bad: LAYERS[kind](3, 4, grad_clip=bad))
    assert LAYERS[kind](3, 4, grad_clip=float("inf")).options is None
    refuses(TypeError, lambda: LAYERS[kind](3, 4, record_grad_norms=1))
    packed = LAYERS[kind](3, 4, rng=0).pack()
    tape = functional.forward(packed, np.zeros((2, 1, 3), np.float32), training=True).tape
    read_only = np.zeros((1, 2))
    read_only.flags.writeable = False
    for array, error in (
        (np.zeros((2, 1)), ValueError),
        (read_only, ValueError),
        (np.zeros((1, 2), int), TypeError),
        ([[0.0, 0.0]], TypeError),
    ):
        refuses(error, lambda array=array: functional.backward(tape, grad_norms=array))


def test_onnx_has_the_forward_of_it() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    trained = pyrnnfast.LSTM(3, 4, rng=0, grad_clip=1.0, record_grad_norms=True)
    assert to_onnx(trained) == to_onnx(pyrnnfast.LSTM(3, 4, rng=0))
