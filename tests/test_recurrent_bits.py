"""What is promised to the bit: threads, neighbours in the batch, NaN, a tape used twice, Python threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numeric import CELLS, Case, make, run, same_bits

import pyrnnfast
from pyrnnfast import functional

SHAPES = [
    (9, 33, 17, 97, {}),
    (6, 1, 65, 130, {"bidirectional": True}),  # units split over threads
    (21, 64, 9, 31, {"layers": 2}),  # rows split over threads; several blocks of 512
    (7, 16, 15, 33, {"layers": 3, "bidirectional": True, "lengths": tuple(n % 8 for n in range(16))}),
    (5, 3, 2, 1, {"layers": 2, "dropout": 0.5}),
]

# A chunk has about 256 pairs of step and row forward, 512 backward (csrc/driver/plan.cpp): these batches need
# several, and some of their rows alone need fewer.
RAGGED = tuple((7 * n) % 41 for n in range(33))
CHUNKED = [
    (40, 33, 65, 16, {}),
    (40, 33, 65, 16, {"layers": 2}),  # layers as a wavefront
    (40, 33, 65, 16, {"layers": 2, "bidirectional": True}),
    (40, 33, 65, 16, {"layers": 2, "bidirectional": True, "lengths": RAGGED}),
    (110, 5, 33, 192, {}),  # units split over threads, of a row alone in some cells only
]
OF_A_ROW = ("y", "h", "c", "dx", "dh0", "dc0")


def part_of(results: dict[str, np.ndarray], rows: list[int]) -> dict[str, np.ndarray]:
    """What belongs to these rows."""
    return {name: results[name][:, rows] for name in OF_A_ROW if name in results}


def rows_of(case: Case, rows: list[int]) -> Case:
    """The same case with some of the rows only."""
    arrays = {name: v if name.startswith("w") else v[:, rows] for name, v in case.arrays.items()}
    lengths = None if case.lengths is None else tuple(case.lengths[n] for n in rows)
    return Case(**{**vars(case), "rows": len(rows), "lengths": lengths, "arrays": arrays})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_threads_change_no_bit(cell: str, shape: tuple, dtype: type, isa: str) -> None:
    *sizes, options = shape
    case = make(cell, *sizes, **options)
    same_bits(run(case, dtype, isa, num_threads=2), run(case, dtype, isa, num_threads=1))


@pytest.mark.parametrize("rows", [[0], [11], [2, 5, 3]], ids=str)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_a_row_does_not_depend_on_its_neighbours(cell: str, layers: int, rows: list[int], isa: str) -> None:
    if isa == "reference":
        pytest.skip("NumPy's products depend on the number of rows")
    for hidden, lengths in ((33, None), (97, tuple((5 * n) % 8 for n in range(19)))):
        case = make(cell, 7, 19, 17, hidden, layers=layers, bidirectional=True, lengths=lengths)
        whole, alone = run(case, np.float32, isa), run(rows_of(case, rows), np.float32, isa)
        same_bits(alone, part_of(whole, rows))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", CHUNKED, ids=lambda shape: " ".join(str(part)[:40] for part in shape))
@pytest.mark.parametrize("cell", CELLS)
def test_chunks_change_no_bit(cell: str, shape: tuple, dtype: type, isa: str) -> None:
    """Of one thread or two, of a row in its batch or alone."""
    if isa == "reference":
        pytest.skip("NumPy's products depend on the number of rows")
    *sizes, options = shape
    case = make(cell, *sizes, **options)
    whole = run(case, dtype, isa, num_threads=1)
    same_bits(run(case, dtype, isa, num_threads=2), whole)
    for rows, num_threads in (([3], 2), ([4, 1, 2], 1)):
        same_bits(run(rows_of(case, rows), dtype, isa, num_threads), part_of(whole, rows))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "h0", "dy"])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_not_finite_stays_in_its_row(cell: str, where: str, bad: float, isa: str) -> None:
    case = make(cell, 5, 7, 9, 17, layers=2, bidirectional=True)
    clean = run(case, np.float32, isa)
    case.arrays[where][0, 3] = bad
    spoiled = run(case, np.float32, isa)
    others = [0, 1, 2, 4, 5, 6]
    same_bits(part_of(spoiled, others), part_of(clean, others))
    if np.isnan(bad):
        assert np.isnan(spoiled["dx" if where == "dy" else "y"][:, 3]).any()


@pytest.mark.parametrize("cell", CELLS)
def test_nan_past_a_rows_end_is_never_seen(cell: str, isa: str) -> None:
    lengths = (3, 0, 5, 1)
    case = make(cell, 5, 4, 6, 9, layers=2, bidirectional=True, lengths=lengths)
    clean = run(case, np.float32, isa)
    for n, length in enumerate(lengths):
        case.arrays["x"][length:, n] = np.nan
        case.arrays["dy"][length:, n] = np.nan
    same_bits(run(case, np.float32, isa), clean)


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_of_length_zero_adds_nothing_to_the_weights(cell: str, isa: str) -> None:
    case = make(cell, 4, 3, 5, 9, layers=2, bidirectional=True, lengths=(4, 0, 2))
    clean = run(case, np.float32, isa)
    case.arrays["h0"][:, 1] = np.nan
    case.arrays["dh"][:, 1] = np.inf
    spoiled = run(case, np.float32, isa)
    for name in clean:
        if name.startswith("dw"):
            np.testing.assert_array_equal(spoiled[name], clean[name], err_msg=name)
    np.testing.assert_array_equal(spoiled["h"][:, 1], case.arrays["h0"][:, 1])
    np.testing.assert_array_equal(spoiled["dh0"][:, 1], case.arrays["dh"][:, 1])


@pytest.mark.parametrize("cell", CELLS)
def test_backward_twice_on_one_tape(cell: str, isa: str) -> None:
    case = make(cell, 6, 5, 7, 15, layers=2, bidirectional=True, dropout=0.4, lengths=(6, 1, 0, 4, 2))
    packed = functional.pack(cell, case.weights(np.float32), isa=isa, **case.options)
    tape = functional.forward(
        packed, case.arrays["x"], lengths=case.lengths, dropout=0.4, seed=5, training=True
    ).tape
    first, second = (functional.backward(tape, case.arrays["dy"]) for _ in range(2))
    np.testing.assert_array_equal(first.dx, second.dx)
    for one, two in zip(first.dweights, second.dweights, strict=True):
        np.testing.assert_array_equal(one, two)


def test_two_python_threads_train_through_one_layer() -> None:
    """Each has its own tape; both add their gradients (of two numbers the order does not matter)."""
    layer = pyrnnfast.LSTM(9, 33, num_layers=2, rng=0)
    rng = np.random.default_rng(1)
    xs, dys = (rng.normal(size=(2, 11, 5, size)).astype(np.float32) for size in (9, 33))

    def train(i: int, results: list) -> None:
        y, _ = layer(xs[i])
        barrier.wait()
        dx, _ = layer.backward(dys[i])
        results[i] = (y, dx)

    barrier = threading.Barrier(1)
    serial: list = [None, None]
    for i in range(2):
        train(i, serial)
    gradients = {name: value.copy() for name, value in layer.grads.items()}

    for _ in range(5):
        layer.zero_grad()
        barrier = threading.Barrier(2, timeout=30)
        parallel: list = [None, None]
        threads = [threading.Thread(target=train, args=(i, parallel)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for got, want in zip(parallel, serial, strict=True):
            np.testing.assert_array_equal(got[0], want[0])
            np.testing.assert_array_equal(got[1], want[1])
        same_bits(layer.grads, gradients)
