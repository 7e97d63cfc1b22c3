"""merge: what becomes of the outputs of two directions."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import refuses, require
from numeric import CELLS, make, same_for_any_threads
from test_recurrent_gradients import differences_agree

import pyrnnfast
from pyrnnfast import functional

MERGES = ("sum", "mean", "mul")
SHAPES = [
    (40, 17, 9, 17, {}),  # several chunks
    (7, 5, 6, 16, {"layers": 2, "bias": False, "lengths": (7, 0, 3, 6, 2)}),
    (4, 2, 4, 130, {"layers": 3, "dropout": 0.3}),
    (5, 1, 3, 9, {"with_state": False}),
]
JOIN = {"sum": np.add, "mean": lambda a, b: (a + b) * a.dtype.type(0.5), "mul": np.multiply}


@pytest.mark.parametrize(("steps", "rows", "inputs", "hidden", "options"), SHAPES)
@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("cell", CELLS)
def test_as_the_reference(
    cell: str, merge: str, steps: int, rows: int, inputs: int, hidden: int, options: dict, isa: str
) -> None:
    general = {"merge": merge}
    case = make(cell, steps, rows, inputs, hidden, bidirectional=True, general=general, **options)
    same_for_any_threads(case, isa)


@pytest.mark.parametrize("general", [{}, {"proj_size": 3}, {"clip": 0.7}], ids=str)
@pytest.mark.parametrize("merge", MERGES)
def test_central_differences(merge: str, general: dict, isa: str) -> None:
    options = {"layers": 2, "bidirectional": True, "lengths": (2, 0, 4)}
    for cell in ("lstm", "gru"):
        differences_agree(cell, isa, general={"merge": merge, **general}, **options)


@pytest.mark.parametrize("lengths", [None, (5, 0, 3)], ids=str)
@pytest.mark.parametrize("merge", MERGES)
def test_one_layer_is_the_plain_one_joined(merge: str, lengths: tuple | None, isa: str) -> None:
    """To the bit, in inference and in training, and so is the gradient of a sum."""
    case = make("lstm", 5, 3, 4, 9, bidirectional=True, lengths=lengths)
    x, weights = case.arrays["x"], case.weights(np.float32)
    plain, merged = (
        functional.pack("lstm", weights, bidirectional=True, isa=isa, merge=how) for how in ("concat", merge)
    )
    side_by_side = functional.forward(plain, x, None, lengths, training=True)
    want = JOIN[merge](*np.split(side_by_side.y, 2, axis=-1))
    for training in (False, True):
        result = functional.forward(merged, x, None, lengths, training=training)
        np.testing.assert_array_equal(result.y, want)
        for ours, theirs in zip(result.state, side_by_side.state, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    if merge == "sum":
        dy = case.arrays["dy"][:, :, :9]
        back = functional.backward(result.tape, np.ascontiguousarray(dy))
        theirs = functional.backward(side_by_side.tape, np.concatenate([dy, dy], axis=-1))
        np.testing.assert_array_equal(back.dx, theirs.dx)


def test_without_a_gradient_of_y(isa: str) -> None:
    case = make("gru", 4, 3, 3, 5, layers=2, bidirectional=True, general={"merge": "mul"})
    packed = functional.pack("gru", case.weights(np.float64), isa=isa, **case.options)
    x, dh = (case.arrays[name].astype(np.float64) for name in ("x", "dh"))
    tape = functional.forward(packed, x, training=True).tape
    none, zeros = (functional.backward(tape, dy, dh) for dy in (None, np.zeros((4, 3, 5))))
    np.testing.assert_array_equal(none.dx, zeros.dx)
    assert none.dx.any()


@pytest.mark.parametrize("kind", [pyrnnfast.RNN, pyrnnfast.LSTM, pyrnnfast.GRU])
def test_a_layer(kind: type) -> None:
    layer = kind(3, 5, 2, batch_first=True, bidirectional=True, merge="mean", rng=0)
    assert layer.weight_ih_l1.shape[1] == 5
    assert repr(layer).endswith("bidirectional=True, merge='mean')")
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    y, _ = layer(x)
    assert y.shape == (2, 6, 5)
    layer.backward(np.ones_like(y))
    assert all(gradient.any() for gradient in layer.grads.values())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin.eval()(x)[0], y)
    layer(x)
    refuses(ValueError, lambda: layer.backward(np.ones((2, 6, 10), np.float32)))


def test_cells_stay_side_by_side() -> None:
    layer = pyrnnfast.LSTM(3, 5, bidirectional=True, merge="sum", return_cells=True, rng=0)
    y, _, cells = layer(np.ones((4, 2, 3), np.float32))
    assert (y.shape, cells.shape) == ((4, 2, 5), (4, 2, 10))
    _, dstate = layer.backward(None, None, np.ones_like(cells))
    assert dstate[1].any()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"merge": "add", "bidirectional": True}, ValueError),
        ({"merge": None, "bidirectional": True}, TypeError),
        ({"merge": "sum"}, ValueError),  # one direction
    ],
    ids=repr,
)
def test_refused(arguments: dict, error: type) -> None:
    refuses(error, lambda: pyrnnfast.GRU(3, 4, **arguments))


def test_onnx_cannot_say_it() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    refuses(ValueError, lambda: to_onnx(pyrnnfast.GRU(3, 4, bidirectional=True, merge="sum")))
