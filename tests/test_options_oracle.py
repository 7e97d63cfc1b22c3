"""Cells with options: forward and gradients against the float64 reference, on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import AWKWARD
from general import EVERY_ACTIVATION, OPTIONS, turn
from numeric import CELLS, assert_close, make, oracle, run, same_for_any_threads

from pyrnnfast import functional

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize(("cell", "general"), EVERY_ACTIVATION + OPTIONS, ids=str)
def test_every_option(cell: str, general: dict, isa: str) -> None:
    """Ragged rows, two threads; and every size around a vector's width in turn."""
    i = len(str(general)) % len(AWKWARD)
    case = make(cell, 4, 9, 3, AWKWARD[i], lengths=(4, 2, 0, 1, 3, 4, 4, 2, 3), general=general)
    same_for_any_threads(case, isa)


@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("steps", "rows", "inputs", "hidden", "options"),
    [
        (40, 17, 9, 17, {}),  # more than one block of 512 (step, row) pairs, more than one chunk
        (7, 5, 6, 16, {"layers": 2, "bidirectional": True, "bias": False, "lengths": (7, 0, 3, 6, 2)}),
        (3, 2, 4, 200, {"layers": 2, "dropout": 0.3}),
        (5, 1, 3, 65, {"layers": 3, "with_state": False}),
    ],
)
def test_stacks(
    cell: str, general: dict, steps: int, rows: int, inputs: int, hidden: int, options: dict, isa: str
) -> None:
    case = make(cell, steps, rows, inputs, hidden, general=general, **options)
    same_for_any_threads(case, isa)


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru", "gru_reset_before", "one_gate_gru"])
def test_directions_have_activations_of_their_own(cell: str, isa: str) -> None:
    general = {"activations": turn(cell, 2, directions=2), "clip": 0.7}
    case = make(cell, 5, 4, 3, 9, bidirectional=True, layers=2, lengths=(5, 3, 0, 4), general=general)
    for dtype in DTYPES:
        assert_close(case, run(case, dtype, isa), oracle(case), dtype)


@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
def test_inference_is_training_without_a_tape(cell: str, general: dict, isa: str) -> None:
    case = make(cell, 5, 3, 4, 9, layers=2, bidirectional=True, general=general)
    packed = functional.pack(cell, case.weights(np.float32), isa=isa, **case.options)
    state = case.pair("h0", "c0", np.float32)
    quiet = functional.forward(packed, case.arrays["x"], state, training=False)
    trained = functional.forward(packed, case.arrays["x"], state, training=True)
    np.testing.assert_array_equal(quiet.y, trained.y)
    np.testing.assert_array_equal(np.stack(quiet.state), np.stack(trained.state))


@pytest.mark.parametrize("cell", CELLS)
def test_the_general_form_of_the_plain_cell_agrees_with_it(cell: str, isa: str) -> None:
    """A clip that no sum reaches takes the general way."""
    plain, general = (make(cell, 6, 5, 4, 9, layers=2, general=g) for g in ({}, {"clip": 1e6}))
    for dtype in DTYPES:
        assert_close(plain, run(general, dtype, isa), oracle(plain), dtype)
        y, clipped = run(plain, dtype, isa)["y"], run(general, dtype, isa)["y"]
        np.testing.assert_array_equal(clipped, y)


def test_padding_lanes_never_show(isa: str) -> None:
    """Units that only pad have sums of 0: their cell state doubles each step, and soon is infinite."""
    general = {"activations": [("affine", 1.0, 2.0), "sigmoid", "tanh"], "peephole": True}
    case = make("lstm", 1100, 2, 3, 5, general=general, with_state=False)
    for name in ("w0.0", "w0.1", "w0.3", "w0.4"):
        case.arrays[name][...] = 0
    case.arrays["w0.2"][...] = -2.0
    results = run(case, np.float64, isa)
    assert all(np.isfinite(value).all() for value in results.values())
