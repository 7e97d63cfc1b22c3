"""`layer.stream()`: the bits of the plain call, the state, weights that change, bad input, no allocation."""

from __future__ import annotations

import copy
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
from conftest import refuses
from numeric import CELLS
from numpy.lib.stride_tricks import as_strided

import pyrnnfast
from pyrnnfast import functional

C, H = 5, 9
SIZES = [(C, H), (65, 130), (1, 320)]
"""Of C and H. With the larger ones two threads share a step, by hidden units or by rows."""


def make(cell: str, inputs: int = C, hidden: int = H, **options: object) -> pyrnnfast.LSTM:
    kinds = {
        "rnn_tanh": lambda *sizes, **more: pyrnnfast.RNN(*sizes, **more),
        "jordan": lambda *sizes, **more: pyrnnfast.JordanRNN(*sizes, sizes[1], **more),
        "rnn_relu": lambda *sizes, **more: pyrnnfast.RNN(*sizes, nonlinearity="relu", **more),
        "lstm": pyrnnfast.LSTM,
        "gru": pyrnnfast.GRU,
        "gru_reset_before": lambda *sizes, **more: pyrnnfast.GRU(*sizes, reset_after=False, **more),
        "one_gate_gru": pyrnnfast.OneGateGRU,
    }
    return kinds[cell](inputs, hidden, **{"num_layers": 2, "rng": 3, **options})


def drawn(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(dtype)


def parts(state: object) -> tuple[np.ndarray, ...]:
    return state if isinstance(state, tuple) else (state,)


def same_state(got: object, want: object) -> None:
    assert isinstance(got, tuple) == isinstance(want, tuple)
    for one, other in zip(parts(got), parts(want), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest):
    before = pyrnnfast.get_num_threads()
    pyrnnfast.set_num_threads(request.param)
    yield request.param
    pyrnnfast.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_have_the_bits_of_the_plain_call(
    cell: str, layers: int, dtype: type, threads: int, isa: str
) -> None:
    for rows, (inputs, hidden) in ((rows, sizes) for rows in (1, 3) for sizes in SIZES):
        layer = make(cell, inputs, hidden, num_layers=layers, dtype=dtype).eval()
        packed = functional.pack(cell, list(layer.state_dict().values()), num_layers=layers, isa=isa)
        layer._packed = (layer.version, packed)
        x, stream, state = drawn(6, rows, inputs, dtype=dtype), layer.stream(rows), None
        for step in x:
            want, state = layer(step[np.newaxis], state)
            np.testing.assert_array_equal(stream(step), want[0])
        same_state(stream.state, state)


@pytest.mark.parametrize("cell", CELLS)
def test_steps_are_those_of_a_whole_sequence(cell: str) -> None:
    layer, x = make(cell), drawn(7, 3, C)
    stream = layer.stream(3)
    y, state = layer(x)
    tolerance = 0 if pyrnnfast.isa() != "reference" else 1e-6  # NumPy's products depend on the number of rows
    np.testing.assert_allclose(np.stack([stream(step).copy() for step in x]), y, rtol=0, atol=tolerance)
    for got, want in zip(parts(stream.state), parts(state), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_is_read_and_set(cell: str) -> None:
    layer = make(cell)
    stream, x = layer.stream(3), drawn(3, C)
    same_state(stream.state, (np.zeros((2, 3, H)),) * 2 if cell == "lstm" else np.zeros((2, 3, H)))
    first = stream(x).copy()
    after_one = stream.state
    second = stream(x).copy()
    assert not np.array_equal(first, second)
    stream.state = after_one
    np.testing.assert_array_equal(stream(x), second)
    for part in parts(after_one):
        part[...] = 99  # ours alone: neither what was read nor what was set is the stream's memory
    np.testing.assert_allclose(parts(stream.state)[0], 0, atol=50)
    stream.state = None
    np.testing.assert_array_equal(stream(x), first)


def test_a_state_of_any_strides_is_copied() -> None:
    stream = make("gru").stream(3)
    h = drawn(2, H, 3).swapaxes(1, 2)
    stream.state = h
    np.testing.assert_array_equal(stream.state, h)


@pytest.mark.parametrize("cell", CELLS)
def test_new_weights_are_used_from_the_next_step_on(cell: str) -> None:
    layer, other, x = make(cell), make(cell, rng=4), drawn(1, C)
    stream, state = layer.stream(), None

    def follows() -> None:
        nonlocal state
        y, state = layer(x[np.newaxis], state)
        np.testing.assert_array_equal(stream(x), y[0])

    follows()
    layer.load_state_dict(other.state_dict())
    follows()
    layer.backward(np.ones((1, 1, H), np.float32))
    pyrnnfast.optim.SGD(layer, lr=0.5).step()
    before = stream.state
    follows()
    stream.state, state = before, before
    with layer.update() as parameters:
        for value in parameters.values():
            value *= 0.5
    follows()


@pytest.mark.parametrize("options", [{"layer_norm": True}, {"proj_size": 3}])
def test_a_layer_that_became_another_is_refused(options: dict) -> None:
    layer, x = make("lstm"), drawn(1, C)
    stream = layer.eval().stream()
    layer.__init__(C, H, **options)
    with layer.update():
        layer.eval()
    with pytest.raises(ValueError, match="expected the cell, sizes"):
        stream(x)


def test_a_stream_is_inference() -> None:
    layer, x = make("lstm"), drawn(1, C)
    y = layer.stream()(x).copy()
    with pytest.raises(RuntimeError, match="training mode"):
        layer.backward(y)
    np.testing.assert_array_equal(y, layer.eval().stream()(x))
    dropping = make("lstm", dropout=0.9)
    refuses(ValueError, dropping.stream)
    np.testing.assert_array_equal(y, dropping.eval().stream()(x))


@pytest.mark.parametrize(
    ("rows", "error"),
    [(0, ValueError), (-1, ValueError), (2**40, ValueError), (2**62, ValueError), (2**80, ValueError)]
    + [(rows, TypeError) for rows in (True, 1.0, None, "1", [1])],
)
def test_bad_numbers_of_rows(rows: object, error: type) -> None:
    refuses(error, lambda: make("lstm").stream(rows))


def test_a_bidirectional_layer() -> None:
    refuses(ValueError, lambda: make("lstm", bidirectional=True).stream())


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (drawn(3, C + 1), ValueError),
        (drawn(2, C), ValueError),
        (drawn(1, 3, C), ValueError),
        (drawn(3 * C), ValueError),
        (drawn(), ValueError),
        (drawn(3, C, dtype=np.float64), TypeError),
        (drawn(3, C, dtype=np.float16), TypeError),
        (drawn(3, C, dtype=np.int32), TypeError),
        (drawn(3, C).astype(">f4"), TypeError),
        (np.ma.masked_array(drawn(3, C)), TypeError),
        (drawn(3, C).tolist(), TypeError),
        (None, TypeError),
    ],
)
def test_bad_steps_leave_all_as_it_was(x: object, error: type) -> None:
    stream = make("lstm").stream(3)
    y = stream(drawn(3, C)).copy()
    state = stream.state
    refuses(error, lambda: stream(x))
    same_state(stream.state, state)
    stream.state = None
    np.testing.assert_array_equal(stream(drawn(3, C)), y)


@pytest.mark.parametrize(
    ("cell", "state", "error"),
    [
        ("gru", drawn(2, 2, H), ValueError),
        ("gru", drawn(3, H), ValueError),
        ("gru", drawn(2, 3, H, dtype=np.float64), TypeError),
        ("gru", (drawn(2, 3, H),) * 2, TypeError),
        ("gru", 0, TypeError),
        ("lstm", drawn(2, 3, H), TypeError),
        ("lstm", (drawn(2, 3, H),), ValueError),
        ("lstm", (drawn(2, 3, H), drawn(2, 3, H + 1)), ValueError),
        ("lstm", (drawn(2, 3, H), None), TypeError),
    ],
)
def test_bad_states_leave_all_as_it_was(cell: str, state: object, error: type) -> None:
    stream = make(cell).stream(3)
    stream(drawn(3, C))
    before = stream.state

    def assign() -> None:
        stream.state = state

    refuses(error, assign)
    same_state(stream.state, before)


def test_steps_of_any_strides_alignment_and_class() -> None:
    class Sub(np.ndarray):
        pass

    layer, x = make("gru"), drawn(3, C)
    misaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(3, C)
    assert not misaligned.flags.aligned
    read_only = x.copy()
    read_only.flags.writeable = False
    one_row = as_strided(x[:1], (3, C), (0, x.itemsize))
    wanted = layer.stream(3)(x).copy()
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], misaligned, read_only, x.view(Sub)):
        np.testing.assert_array_equal(layer.stream(3)(same), wanted)
    np.testing.assert_array_equal(layer.stream(3)(one_row), layer.stream(3)(one_row.copy()))


@pytest.mark.parametrize("cell", CELLS)
def test_nan_stays_in_its_row_until_the_state_is_set(cell: str) -> None:
    stream, x = make(cell).stream(3), drawn(3, C)
    clean = stream(x).copy(), stream(x).copy()
    stream.state = None
    x[1, 2] = np.nan
    for want in clean:
        y = stream(x)
        np.testing.assert_array_equal(y[[0, 2]], want[[0, 2]])
        assert np.isnan(y[1]).all()
    stream.state = None
    np.testing.assert_array_equal(stream(drawn(3, C)), clean[0])


def test_the_output_is_one_view_that_cannot_be_written() -> None:
    stream, x = make("lstm").stream(3), drawn(3, C)
    y = stream(x)
    address, kept = y.ctypes.data, y.copy()
    again = stream(x)
    assert again.ctypes.data == address
    assert not np.array_equal(y, kept)
    with pytest.raises(ValueError, match="read-only"):
        again[0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        again.flags.writeable = True
    want = again.copy()
    del stream
    np.testing.assert_array_equal(y, want)  # the view keeps its memory


def test_steps_do_not_take_memory() -> None:
    stream, x = make("lstm").stream(3), drawn(3, C)
    stream(x)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(100):
            stream(x)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    room = 1000 if pyrnnfast.isa() != "reference" else 100_000  # Python's own frames and integers
    assert after - before < room
    assert peak - before < room


def test_streams_of_one_layer_in_two_threads(threads: int) -> None:
    layer, x = make("lstm", 65, 130), drawn(50, 3, 65)
    want = [step.copy() for step in map(layer.stream(3), x)]
    results: list[list[np.ndarray]] = [[], []]
    barrier = threading.Barrier(2, timeout=30)

    def run(i: int) -> None:
        stream = layer.stream(3)
        barrier.wait()
        for step in x:
            results[i].append(stream(step).copy())

    workers = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    for got in results:
        np.testing.assert_array_equal(got, want)


def test_one_stream_in_two_threads_takes_every_step_once() -> None:
    layer, x = make("gru", 65, 130), drawn(3, 65)
    alone, shared = layer.stream(3), layer.stream(3)
    for _ in range(100):
        alone(x)
    workers = [threading.Thread(target=lambda: [shared(x) for _ in range(50)]) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    same_state(shared.state, alone.state)


def test_a_stream_is_not_copied() -> None:
    stream = make("rnn_tanh").stream()
    for duplicate in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            duplicate(stream)
