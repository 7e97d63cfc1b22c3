"""Bad input, at every entry point: TypeError or ValueError that holds what was expected and what was got."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import refuses
from numpy.lib.stride_tricks import as_strided

import pyrnnfast
from pyrnnfast import functional

T, N, C, H, L = 4, 3, 5, 7, 2
F32 = np.float32


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, F32)


STATE = f32(L, N, H)

BAD_X = [
    (f32(N, C)[0], ValueError),
    (f32(1, T, N, C), ValueError),
    (f32(), ValueError),
    (f32(T, N, C + 1), ValueError),
    (f32(T, N, 0), ValueError),
    (np.ones((T, N, C)), TypeError),
    (np.ones((T, N, C), np.float16), TypeError),
    (np.ones((T, N, C), np.int32), TypeError),
    (np.ones((T, N, C), np.complex64), TypeError),
    (np.ones((T, N, C), object), TypeError),
    (f32(T, N, C).astype(">f4"), TypeError),
    (np.ma.masked_array(f32(T, N, C)), TypeError),
    ([[[1.0] * C] * N] * T, TypeError),
    (None, TypeError),
    ("text", TypeError),
]
BAD_STATE = [  # for RNN and GRU
    (f32(L, N + 1, H), ValueError),
    (f32(L, 1, H), ValueError),
    (f32(L + 1, N, H), ValueError),
    (f32(L, N, H + 1), ValueError),
    (f32(N, H), ValueError),
    (f32(), ValueError),
    (np.ones((L, N, H)), TypeError),
    (STATE.astype(">f4"), TypeError),
    ((STATE, STATE), TypeError),
    ("state", TypeError),
    (0, TypeError),
]
BAD_LSTM_STATE = [
    (STATE, TypeError),  # an array where a tuple is due
    ((STATE,), ValueError),
    ((STATE, STATE, STATE), ValueError),
    ((STATE, f32(L, N, H + 1)), ValueError),
    ((f32(L, 1, H), STATE), ValueError),
    ((STATE, np.ones((L, N, H))), TypeError),
    ((STATE, 1.0), TypeError),
    ({"h": STATE, "c": STATE}, TypeError),
]
BAD_LENGTHS = [
    ([1, 2, T + 1], ValueError),
    ([-1, 2, 3], ValueError),
    (np.array([1, 2, 2**64 - 1], np.uint64), ValueError),
    ([1, 2], ValueError),
    ([1, 2, 3, 4], ValueError),
    ([[1, 2, 3]], ValueError),
    ([[1], [2, 3]], ValueError),
    (np.array(3), ValueError),
    ([], ValueError),
    ([1.0, 2.0, 3.0], TypeError),
    (np.array([1, 2, 3], F32), TypeError),
    ([True, True, False], TypeError),
    (["1", "2", "3"], TypeError),
    (np.array([1, 2, 3], ">i8"), TypeError),
    ([1, 2, 2**70], TypeError),
    (3, TypeError),
    ("123", TypeError),
]
BAD_DY = [
    (f32(T, N, H + 1), ValueError),
    (f32(T, N + 1, H), ValueError),
    (f32(T - 1, N, H), ValueError),
    (f32(0, N, H), ValueError),
    (f32(T, N), ValueError),
    (f32(), ValueError),
    (np.ones((T, N, H)), TypeError),
    (f32(T, N, H).astype(">f4"), TypeError),
    (1.0, TypeError),
]
LAYERS = {name: getattr(pyrnnfast, name) for name in ("RNN", "LSTM", "GRU", "OneGateGRU")}


def layer_of(kind: str) -> pyrnnfast.RNN:
    return LAYERS[kind](C, H, num_layers=L, rng=0)


def packed_of(kind: str) -> functional.PackHandle:
    return layer_of(kind).pack()


@pytest.mark.parametrize(("x", "error"), BAD_X, ids=repr)
@pytest.mark.parametrize("kind", LAYERS)
def test_x(kind: str, x: object, error: type) -> None:
    refuses(error, lambda: layer_of(kind)(x))
    refuses(error, lambda: layer_of(kind).eval()(x))
    refuses(error, lambda: functional.forward(packed_of(kind), x))


def bad_states(kind: str) -> list:
    return BAD_LSTM_STATE if kind == "LSTM" else BAD_STATE


@pytest.mark.parametrize(
    ("kind", "state", "error"),
    [(kind, *bad) for kind in LAYERS for bad in bad_states(kind)],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_state_and_its_gradient(kind: str, state: object, error: type) -> None:
    layer, packed, x = layer_of(kind), packed_of(kind), f32(T, N, C)
    refuses(error, lambda: layer(x, state))
    refuses(error, lambda: layer_of(kind).eval()(x, state))
    refuses(error, lambda: functional.forward(packed, x, state))
    y, _ = layer(x)
    refuses(error, lambda: layer.backward(y, state))
    layer.backward(y)  # the tape is still there
    tape = functional.forward(packed, x, training=True).tape
    refuses(error, lambda: functional.backward(tape, y, state))


@pytest.mark.parametrize(("lengths", "error"), BAD_LENGTHS, ids=repr)
def test_lengths(lengths: object, error: type) -> None:
    refuses(error, lambda: layer_of("LSTM")(f32(T, N, C), lengths=lengths))
    refuses(error, lambda: functional.forward(packed_of("GRU"), f32(T, N, C), None, lengths))


@pytest.mark.parametrize(("dy", "error"), BAD_DY, ids=repr)
@pytest.mark.parametrize("kind", LAYERS)
def test_dy(kind: str, dy: object, error: type) -> None:
    layer = layer_of(kind)
    y, _ = layer(f32(T, N, C))
    refuses(error, lambda: layer.backward(dy))
    layer.backward(y)
    tape = functional.forward(layer.pack(), f32(T, N, C), training=True).tape
    refuses(error, lambda: functional.backward(tape, dy))


@pytest.mark.parametrize("kind", LAYERS)
def test_layouts_are_checked_as_the_user_sees_them(kind: str) -> None:
    layer = LAYERS[kind](C, H, batch_first=True, rng=0)
    with pytest.raises(ValueError, match=r"x must have shape \(N, T, 5\), got \(3, 4, 6\)"):
        layer(f32(N, T, C + 1))
    with pytest.raises(ValueError, match=r"x must have shape \(T, 5\), got \(4, 6\)"):
        layer(f32(T, C + 1))
    y, _ = layer(f32(N, T, C))
    with pytest.raises(ValueError, match=r"dy must have shape \(3, 4, 7\), got \(4, 3, 7\)"):
        layer.backward(y.swapaxes(0, 1))
    one = f32(1, H)
    layer(f32(T, C), (one, one) if kind == "LSTM" else one)
    refuses(ValueError, lambda: layer(f32(T, C), (STATE, STATE) if kind == "LSTM" else STATE))


CELL_KINDS = {"RNN": pyrnnfast.RNNCell, "LSTM": pyrnnfast.LSTMCell, "GRU": pyrnnfast.GRUCell}


@pytest.mark.parametrize("kind", CELL_KINDS)
def test_cells(kind: str) -> None:
    cell = CELL_KINDS[kind](C, H, rng=0)
    for x, error in [(f32(T, N, C), ValueError), (f32(N, C + 1), ValueError), (np.ones((N, C)), TypeError)]:
        refuses(error, lambda x=x: cell(x))
    h = f32(N, H)
    good, bad = ((h, h), (h, h[:2])) if kind == "LSTM" else (h, h[:2])
    refuses(ValueError, lambda: cell(f32(N, C), bad))
    refuses(TypeError, lambda: cell(f32(N, C), h if kind == "LSTM" else (h, h)))
    cell(f32(N, C), good)
    refuses(ValueError, lambda: cell.backward(bad))
    cell.backward(good)


@pytest.mark.parametrize("kind", LAYERS)
def test_strides_alignment_and_read_only_change_nothing(kind: str) -> None:
    layer = layer_of(kind)
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(T, N, C)).astype(F32), rng.normal(size=(T, N, H)).astype(F32)
    y, _ = layer(x)
    dx, _ = layer.backward(dy)
    odd = [strided, backwards, fortran, unaligned, read_only]
    for form in odd:
        np.testing.assert_array_equal(layer.eval()(form(x))[0], y, err_msg=form.__name__)
        got_y, _ = layer.train()(form(x))
        got_dx, _ = layer.backward(form(dy))
        np.testing.assert_array_equal(got_y, y, err_msg=form.__name__)
        np.testing.assert_array_equal(got_dx, dx, err_msg=form.__name__)
        state = form(STATE)
        layer(x, (state, state) if kind == "LSTM" else state, np.array([4, 9, 1, 9, 2])[::2])
        copies = {name: form(value) for name, value in layer.state_dict().items()}
        np.testing.assert_array_equal(
            functional.forward(functional.pack(layer.cell, list(copies.values()), num_layers=L), x).y,
            y,
        )


def strided(a: np.ndarray) -> np.ndarray:
    return np.repeat(a, 2, axis=-1)[..., ::2]


def backwards(a: np.ndarray) -> np.ndarray:
    return a[::-1].copy()[::-1]


def fortran(a: np.ndarray) -> np.ndarray:
    return np.asfortranarray(a)


def unaligned(a: np.ndarray) -> np.ndarray:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    out = raw[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    assert not out.flags.aligned
    return out


def read_only(a: np.ndarray) -> np.ndarray:
    out = a.copy()
    out.flags.writeable = False
    return out


def test_huge_dimensions_whose_product_overflows_with_zero_elements() -> None:
    packed = packed_of("LSTM")
    for shape in ((2**57, 0, C), (0, 2**57, C)):
        huge = as_strided(f32(1), shape=shape, strides=(0, 0, 4))
        refuses(ValueError, lambda huge=huge: functional.forward(packed, huge, training=True))
        refuses(ValueError, lambda huge=huge: layer_of("LSTM")(huge))
    empty = functional.forward(packed, f32(2**40, 0, C), training=True)  # long, but there is nothing to do
    assert empty.y.shape == (2**40, 0, H)
    assert functional.backward(empty.tape).dx.shape == (2**40, 0, C)
