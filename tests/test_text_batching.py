"""Windows and padded batches: every token where it is due, once, and the same again from the same seed."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrnnfast.text import BucketedBatches, ContiguousWindows, RaggedBatch, Window, _loops

# Contiguous windows -----------------------------------------------------------------------------------------


def test_windows_by_hand():
    windows = ContiguousWindows(range(12), rows=2, steps=2)
    assert (windows.rows, windows.steps, windows.row_length, len(windows)) == (2, 2, 5, 3)
    first, second, last = windows
    assert isinstance(first, Window)
    assert first.inputs.tolist() == [[0, 5], [1, 6]]
    assert first.targets.tolist() == [[1, 6], [2, 7]]
    assert second.inputs.tolist() == [[2, 7], [3, 8]]
    assert last.inputs.tolist() == [[4, 9]]
    assert last.targets.tolist() == [[5, 10]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 200), st.booleans())
def test_windows_continue_the_rows(rows, steps, extra, keep_last):
    needed = rows * (1 if keep_last else steps) + 1
    stream = np.random.default_rng(0).integers(0, 99, needed + extra)
    windows = ContiguousWindows(stream, rows, steps, keep_last=keep_last)
    length = (len(stream) - 1) // rows
    assert windows.row_length == (length if keep_last else length // steps * steps)
    shapes = [inputs.shape for inputs, _ in windows]
    assert len(shapes) == len(windows)
    assert all(shape == (steps, rows) for shape in shapes[:-1])
    assert shapes[-1][1] == rows
    assert 1 <= shapes[-1][0] <= steps
    assert keep_last or shapes[-1][0] == steps
    for part, shift in (("inputs", 0), ("targets", 1)):
        arrays = [getattr(window, part) for window in windows]
        assert all(array.dtype == np.int64 and array.flags.c_contiguous for array in arrays)
        together = np.concatenate(arrays)
        for n in range(rows):
            expected = stream[n * length + shift :][: windows.row_length]
            assert together[:, n].tolist() == expected.tolist()


@given(st.integers(0, 5))
def test_windows_resume(start):
    windows = ContiguousWindows(np.arange(40, dtype=np.uint16), rows=2, steps=4)
    assert len(windows) == 5
    resumed = list(windows.iterate(start))
    for got, expected in zip(resumed, list(windows)[start:], strict=True):
        assert got.inputs.tolist() == expected.inputs.tolist()
        assert got.targets.tolist() == expected.targets.tolist()


def test_windows_by_index():
    windows = ContiguousWindows(range(12), rows=2, steps=2)
    assert windows[-1].inputs.tolist() == windows[2].inputs.tolist()
    assert windows[np.int32(0)].inputs.tolist() == [[0, 5], [1, 6]]
    with pytest.raises(IndexError):
        windows[3]
    with pytest.raises(TypeError):
        windows["0"]


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i4", "u8", ">i8"])
def test_windows_of_any_integers(dtype, tmp_path):
    path = tmp_path / "tokens"
    np.arange(30, dtype=dtype).tofile(path)
    stream = np.memmap(path, dtype=dtype, mode="r")[::2]
    inputs, targets = ContiguousWindows(stream, rows=2, steps=7)[0]
    assert inputs.T.tolist() == [[*range(0, 14, 2)], [*range(14, 28, 2)]]
    assert (targets == inputs + 2).all()
    assert inputs.dtype == targets.dtype == np.dtype(np.int64)
    assert inputs.dtype.isnative


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: ContiguousWindows([], 1, 1), ValueError, "tokens: expected at least 2 for 1 rows, got 0"),
        (
            lambda: ContiguousWindows([1, 2], 2, 9),
            ValueError,
            "tokens: expected at least 3 for 2 rows, got 2",
        ),
        (
            lambda: ContiguousWindows(range(18), 2, 9, keep_last=False),
            ValueError,
            "tokens: expected at least 19 for 2 rows of 9 steps, got 18",
        ),
        (lambda: ContiguousWindows([1, 2], 2**62, 2**62), ValueError, "tokens: expected at least"),
        (lambda: ContiguousWindows([1.0, 2.0], 1, 1), TypeError, "tokens: expected integers, got .* float64"),
        (lambda: ContiguousWindows([[1, 2]], 1, 1), ValueError, "tokens: expected 1 dimension"),
        (lambda: ContiguousWindows([1, -2], 1, 1), ValueError, r"tokens: expected ids in .*, got -2"),
        (lambda: ContiguousWindows("ab", 1, 1), TypeError, "tokens: expected integers"),
        (lambda: ContiguousWindows(None, 1, 1), TypeError, "tokens: expected integers"),
        (lambda: ContiguousWindows([1, 2], 0, 1), ValueError, "rows: expected at least 1, got 0"),
        (lambda: ContiguousWindows([1, 2], 1, -1), ValueError, "steps: expected at least 1, got -1"),
        (lambda: ContiguousWindows([1, 2], 1.0, 1), TypeError, "rows: expected an integer, got float"),
        (lambda: ContiguousWindows([1, 2], 1, True), TypeError, "steps: expected an integer, got bool"),
        (lambda: ContiguousWindows([1, 2], np.ones(2, int), 1), TypeError, "rows: expected an integer"),
        (
            lambda: ContiguousWindows([1, 2], 1, 1, keep_last=0),
            TypeError,
            "keep_last: expected bool, got int",
        ),
        (lambda: ContiguousWindows([1, 2], 1, 1).iterate(2), ValueError, r"start: expected 0\.\.1, got 2"),
        (
            lambda: ContiguousWindows([1, 2], 1, 1).iterate(-1),
            ValueError,
            "start: expected at least 0, got -1",
        ),
        (lambda: ContiguousWindows([1, 2], 1, 1).iterate("0"), TypeError, "start: expected an integer"),
    ],
)
def test_windows_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Bucketed batches -------------------------------------------------------------------------------------------

some_sequences = st.lists(st.lists(st.integers(0, 50), max_size=20), min_size=1, max_size=60)
bounds = st.tuples(st.none() | st.integers(1, 9), st.none() | st.integers(20, 90)).filter(any)


def contents(batches):
    return [tuple(array.tolist() for array in batch) for batch in batches]


@given(some_sequences, bounds, st.integers(1, 5), st.none() | st.integers(0, 2**64 - 1), st.integers(0, 99))
def test_every_sequence_once_within_the_bounds(sequences, bound, bucket_batches, seed, pad_id):
    max_rows, max_tokens = bound
    batches = BucketedBatches(
        sequences, max_rows=max_rows, max_tokens=max_tokens, bucket_batches=bucket_batches, pad_id=pad_id
    )
    seen = []
    number = 0
    for batch in batches.epoch(seed):
        assert isinstance(batch, RaggedBatch)
        tokens, lengths, indices = batch
        assert tokens.dtype == lengths.dtype == indices.dtype == np.int64
        assert tokens.shape == (lengths.max(), len(indices))
        assert max_rows is None or tokens.shape[1] <= max_rows
        assert max_tokens is None or tokens.size <= max_tokens
        for n, index in enumerate(indices):
            assert lengths[n] == len(sequences[index])
            assert tokens[: lengths[n], n].tolist() == sequences[index]
            assert (tokens[lengths[n] :, n] == pad_id).all()
        seen += indices.tolist()
        number += 1
    assert sorted(seen) == [*range(len(sequences))]
    assert number == len(batches)


@given(some_sequences)
def test_unshuffled_batches_are_longest_first(sequences):
    order = [i for batch in BucketedBatches(sequences, max_rows=4).epoch() for i in batch.indices.tolist()]
    assert order == sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))


def test_seeds_reproduce_and_differ():
    rng = np.random.default_rng(5)
    sequences = [rng.integers(0, 9, length) for length in rng.integers(1, 40, 500)]
    batches = BucketedBatches(sequences, max_rows=8)
    once = contents(batches.epoch(1))
    assert once == contents(batches.epoch(1)) == contents(batches.epoch(np.random.default_rng(1)))
    assert once != contents(batches.epoch(2))
    one = np.random.default_rng(1)
    assert once == contents(batches.epoch(one))
    assert once != contents(batches.epoch(one))  # the Generator went on
    two = np.random.default_rng(1)
    early, late = batches.epoch(two), batches.epoch(two)
    late_first = contents(late)
    assert contents(early) == once  # drawn when called, not when read
    assert late_first != once


def test_little_is_padded_and_the_order_is_mixed():
    rng = np.random.default_rng(6)
    sequences = [np.zeros(length, np.int64) for length in rng.integers(1, 200, 4000)]
    batches = list(BucketedBatches(sequences, max_rows=16, bucket_batches=8).epoch(0))
    places = sum(batch.tokens.size for batch in batches)
    # A bucket is 128 of 4000 sequences, so its lengths span about 200 * 128 / 4000 = 6.4 of a mean of 100.
    assert places < 1.08 * sum(map(len, sequences))
    longest = [len(batch.tokens) for batch in batches]
    assert np.abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.25
    companions = [set(batch.indices.tolist()) for batch in batches if 0 in batch.indices]
    again = [
        set(b.indices.tolist()) for b in BucketedBatches(sequences, max_rows=16).epoch(1) if 0 in b.indices
    ]
    assert companions != again


def test_sequences_of_any_integers_are_copied():
    first = np.array([1, 2, 3], ">u2")
    batches = BucketedBatches([first, [], np.array([9], np.uint64)], max_rows=3, pad_id=7)
    first[:] = 0
    (batch,) = batches.epoch()
    assert batch.tokens.tolist() == [[1, 9, 7], [2, 7, 7], [3, 7, 7]]
    assert batch.lengths.tolist() == [3, 1, 0]
    assert batch.indices.tolist() == [0, 2, 1]


def test_only_empty_sequences():
    (batch,) = BucketedBatches([[], []], max_tokens=5).epoch(0)
    assert batch.tokens.shape == (0, 2)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: BucketedBatches([], max_rows=1), ValueError, "sequences: expected at least one, got none"),
        (lambda: BucketedBatches(5, max_rows=1), TypeError, "sequences: expected an iterable of id arrays"),
        (
            lambda: BucketedBatches("ab", max_rows=1),
            TypeError,
            "sequences: expected an iterable of id arrays",
        ),
        (lambda: BucketedBatches([1, 2], max_rows=1), ValueError, r"sequences\[0\]: expected 1 dimension"),
        (lambda: BucketedBatches([[1], [0.5]], max_rows=1), TypeError, r"sequences\[1\]: expected integers"),
        (lambda: BucketedBatches([[1], ["a"]], max_rows=1), TypeError, r"sequences\[1\]: expected integers"),
        (
            lambda: BucketedBatches([[-1]], max_rows=1),
            ValueError,
            r"sequences\[0\]: expected ids in .* got -1",
        ),
        (lambda: BucketedBatches([[2**63]], max_rows=1), ValueError, r"sequences\[0\]: expected ids in"),
        (lambda: BucketedBatches([[1]]), ValueError, "max_rows, max_tokens: expected at least one of them"),
        (lambda: BucketedBatches([[1]], max_rows=0), ValueError, "max_rows: expected at least 1, got 0"),
        (lambda: BucketedBatches([[1]], max_rows=1.5), TypeError, "max_rows: expected an integer, got float"),
        (
            lambda: BucketedBatches([[1]], max_tokens=-3),
            ValueError,
            "max_tokens: expected at least 1, got -3",
        ),
        (
            lambda: BucketedBatches([[1], [1, 2, 3]], max_tokens=2),
            ValueError,
            re.escape("sequences[1]: expected at most max_tokens=2 ids, got 3"),
        ),
        (
            lambda: BucketedBatches([[1]], max_rows=1, bucket_batches=0),
            ValueError,
            "bucket_batches: expected",
        ),
        (lambda: BucketedBatches([[1]], max_rows=1, pad_id=-1), ValueError, "pad_id: expected at least 0"),
        (lambda: BucketedBatches([[1]], max_rows=1, pad_id=2**63), ValueError, "pad_id: expected at most"),
        (lambda: BucketedBatches([[1]], max_rows=1, pad_id=None), TypeError, "pad_id: expected an integer"),
        (
            lambda: BucketedBatches([[1]], max_rows=1).epoch(-1),
            ValueError,
            "rng: expected at least 0, got -1",
        ),
        (
            lambda: BucketedBatches([[1]], max_rows=1).epoch("1"),
            TypeError,
            "rng: expected an integer, got str",
        ),
        (lambda: BucketedBatches([[1]], max_rows=1).epoch(True), TypeError, "rng: expected an integer"),
    ],
)
def test_batches_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


@settings(max_examples=50)
@given(some_sequences, st.integers(-5, 5))
def test_fill_padded_equals_numpy(sequences, pad):
    lengths = np.array([len(sequence) for sequence in sequences])
    steps = int(lengths.max())
    expected = np.full((steps, len(sequences)), pad)
    for n, sequence in enumerate(sequences):
        expected[: len(sequence), n] = sequence
    got = np.zeros_like(expected)
    tokens = np.array([token for sequence in sequences for token in sequence], np.int64)
    _loops.fill_padded(tokens, np.cumsum(lengths) - lengths, lengths, pad, got)
    assert (got == expected).all()
