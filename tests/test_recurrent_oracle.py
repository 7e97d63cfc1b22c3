"""Forward and gradients of every cell, option and instruction set against the float64 reference."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import AWKWARD
from drawn import cases
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numeric import CELLS, Case, assert_close, make, oracle, run

from pyrnnfast import functional

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("cell", CELLS)
def test_any_shape_and_options(cell: str, isa: str) -> None:
    @settings(max_examples=30)
    @given(cases(cell), st.sampled_from(DTYPES))
    @example(make(cell, 0, 3, 5, 7), np.float32)
    @example(make(cell, 3, 0, 5, 7), np.float32)
    @example(make(cell, 0, 0, 1, 1, layers=2, bidirectional=True), np.float64)
    @example(make(cell, 4, 3, 1, 1, layers=3, lengths=(0, 0, 0)), np.float32)
    def check(case: Case, dtype: type) -> None:
        assert_close(case, run(case, dtype, isa), oracle(case), dtype)

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", AWKWARD)
@pytest.mark.parametrize("cell", CELLS)
def test_every_awkward_hidden_size(cell: str, hidden: int, dtype: type, isa: str) -> None:
    """Together the rows, inputs and hidden units go through all the sizes."""
    i = AWKWARD.index(hidden)
    case = make(cell, 3, AWKWARD[(i + 5) % len(AWKWARD)], AWKWARD[(i + 3) % len(AWKWARD)], hidden, seed=i)
    assert_close(case, run(case, dtype, isa), oracle(case), dtype)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("steps", "rows", "inputs", "hidden", "options"),
    [
        (70, 17, 9, 33, {}),  # more than one block of 512 (step, row) pairs, more than one chunk
        (41, 16, 16, 16, {"layers": 2, "bidirectional": True, "lengths": tuple(range(41, 9, -2))}),
        (3, 200, 5, 15, {"lengths": tuple(i % 4 for i in range(200))}),
        (2, 2, 130, 200, {"layers": 2}),  # one step's products in several K blocks and panels
        (5, 1, 3, 150, {"bidirectional": True}),
    ],
)
def test_larger_shapes(
    cell: str, steps: int, rows: int, inputs: int, hidden: int, options: dict, isa: str
) -> None:
    case = make(cell, steps, rows, inputs, hidden, **options)
    expected = oracle(case)
    for dtype in DTYPES:
        assert_close(case, run(case, dtype, isa), expected, dtype)


@pytest.mark.parametrize("cell", CELLS)
def test_large_values_saturate(cell: str, isa: str) -> None:
    """Gates at 0 and 1, tanh at -1 and 1: finite results, and those of the reference."""
    case = make(cell, 4, 3, 5, 7)
    case.arrays["x"] *= np.float32(1000)
    assert_close(case, run(case, np.float32, isa), oracle(case), np.float32)


@pytest.mark.parametrize("cell", CELLS)
def test_inference_is_training_without_a_tape(cell: str, isa: str) -> None:
    case = make(cell, 5, 3, 4, 9, layers=2, bidirectional=True, dropout=0.5)
    packed = functional.pack(case.cell, case.weights(np.float32), isa=isa, **case.options)
    state = case.pair("h0", "c0", np.float32)
    quiet = functional.forward(packed, case.arrays["x"], state, dropout=0.5, seed=3, training=False)
    trained = functional.forward(packed, case.arrays["x"], state, training=True)
    assert quiet.tape is None
    np.testing.assert_array_equal(quiet.y, trained.y)
    np.testing.assert_array_equal(np.stack(quiet.state), np.stack(trained.state))


@pytest.mark.parametrize("cell", CELLS)
def test_no_gradient_for_the_input_when_not_asked(cell: str, isa: str) -> None:
    case = make(cell, 5, 3, 4, 9, layers=2)
    packed = functional.pack(case.cell, case.weights(np.float32), isa=isa, **case.options)
    tape = functional.forward(packed, case.arrays["x"], training=True).tape
    whole = functional.backward(tape, case.arrays["dy"])
    spared = functional.backward(tape, case.arrays["dy"], input_gradient=False)
    assert spared.dx is None
    for want, got in zip(whole.dweights, spared.dweights, strict=True):
        np.testing.assert_array_equal(want, got)
