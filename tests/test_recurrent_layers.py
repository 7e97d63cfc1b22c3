"""The layers' own work: layouts, tapes, packs, modes, dropout's seeds, initial values, copies."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import pyrnnfast
from pyrnnfast import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell, functional

LAYERS = [RNN, LSTM, GRU]
CELLS = [RNNCell, LSTMCell, GRUCell]
F32 = np.float32


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


def test_the_hand_checked_case() -> None:
    """relu, no bias, all weights 1, the units summed: 4, then 4 + 2 * 4 = 12, then 2 * (4 + 12) = 32."""
    layer = RNN(2, 2, nonlinearity="relu", bias=False)
    layer.load_state_dict({name: np.ones_like(value) for name, value in layer.state_dict().items()})
    y, state = layer(np.array([[1, 1], [1, 1], [2, 2]], F32))
    np.testing.assert_array_equal(y @ np.ones(2, F32), [4, 12, 32])
    np.testing.assert_array_equal(state, [[16, 16]])


@pytest.mark.parametrize("kind", LAYERS)
def test_batch_first_is_the_same_numbers(kind: type) -> None:
    time_major, batch_first = kind(3, 5, 2, rng=0), kind(3, 5, 2, batch_first=True, rng=0)
    x, dy = normal(6, 4, 3), normal(6, 4, 5)
    y, state = time_major(x)
    y_b, state_b = batch_first(x.swapaxes(0, 1))
    np.testing.assert_array_equal(y_b.swapaxes(0, 1), y)
    np.testing.assert_array_equal(np.stack(state_b), np.stack(state))
    dx, _ = time_major.backward(dy)
    dx_b, _ = batch_first.backward(dy.swapaxes(0, 1))
    np.testing.assert_array_equal(dx_b.swapaxes(0, 1), dx)


@pytest.mark.parametrize("kind", LAYERS)
def test_one_sequence_is_a_batch_of_one(kind: type) -> None:
    layer = kind(3, 5, bidirectional=True, rng=0)
    x, dy = normal(6, 3), normal(6, 10)
    y, state = layer(x)
    dx, dstate = layer.backward(dy)
    y1, state1 = layer(x[:, None])
    dx1, dstate1 = layer.backward(dy[:, None])
    np.testing.assert_array_equal(y, y1[:, 0])
    np.testing.assert_array_equal(dx, dx1[:, 0])
    np.testing.assert_array_equal(np.stack(state), np.stack(state1)[..., 0, :])
    np.testing.assert_array_equal(np.stack(dstate), np.stack(dstate1)[..., 0, :])


@pytest.mark.parametrize(("layer", "cell"), list(zip(LAYERS, CELLS, strict=True)))
def test_cells_step_as_the_layer_runs(layer: type, cell: type) -> None:
    whole, single = layer(3, 5, rng=0), cell(3, 5, rng=1)
    single.load_state_dict({name[:-3]: value for name, value in whole.state_dict().items()})
    x, state = normal(6, 4, 3), None
    y, final = whole(x)
    for t in range(6):
        state = single(x[t], state)
        h = state[0] if layer is LSTM else state
        np.testing.assert_allclose(h, y[t], atol=1e-6)
    dstate = (h, h) if layer is LSTM else h
    dx, _ = single.backward(dstate)
    assert dx.shape == (4, 3)
    one = single(x[0, 0], None)
    np.testing.assert_allclose(one[0] if layer is LSTM else one, y[0, 0], atol=1e-6)
    assert np.stack(final)[..., 0, :, :].shape == np.stack(state).shape


@pytest.mark.parametrize("kind", LAYERS)
def test_lengths_end_each_row_by_itself(kind: type) -> None:
    layer = kind(3, 5, num_layers=2, bidirectional=True, rng=0)
    x, lengths = normal(6, 4, 3), [4, 0, 6, 1]
    state0 = normal(4, 4, 5, seed=1)
    state0 = (state0, state0 * 2) if kind is LSTM else state0
    y, state = layer(x, state0, lengths)
    dx, dstate = layer.backward(np.ones_like(y))
    for n, length in enumerate(lengths):
        row0 = tuple(s[:, n : n + 1] for s in state0) if kind is LSTM else state0[:, n : n + 1]
        y_row, state_row = layer(x[:length, n : n + 1], row0)
        dx_row, dstate_row = layer.backward(np.ones_like(y_row))
        assert not y[length:, n].any()
        assert not dx[length:, n].any()
        np.testing.assert_allclose(y[:length, n], y_row[:, 0], atol=1e-6)
        np.testing.assert_allclose(dx[:length, n], dx_row[:, 0], atol=1e-5)
        np.testing.assert_allclose(np.stack(state)[..., n, :], np.stack(state_row)[..., 0, :], atol=1e-6)
        np.testing.assert_allclose(np.stack(dstate)[..., n, :], np.stack(dstate_row)[..., 0, :], atol=1e-5)
    for form in (np.array(lengths, np.uint8), np.array(lengths, np.int32), tuple(lengths)):
        np.testing.assert_array_equal(layer(x, state0, form)[0], y)


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_add_up_and_backward_consumes_the_tape(kind: type) -> None:
    layer = kind(3, 5, rng=0)
    with pytest.raises(RuntimeError, match="before"):
        layer.backward(normal(4, 2, 5))
    for _ in range(2):
        y, _ = layer(normal(4, 2, 3))
        layer.backward(y)
        with pytest.raises(RuntimeError, match="consumed"):
            layer.backward(y)
    twice = {name: value.copy() for name, value in layer.grads.items()}
    layer.zero_grad()
    assert not any(value.any() for value in layer.grads.values())
    layer(normal(4, 2, 3))
    layer.backward(y)
    for name, value in layer.grads.items():
        np.testing.assert_array_equal(value * 2, twice[name])


@pytest.mark.parametrize("kind", [LSTM, GRUCell])
def test_backward_in_eval_raises(kind: type) -> None:
    layer = kind(3, 5, rng=0).eval()
    x = normal(2, 3)
    layer(x)
    grad = normal(2, 5)
    with pytest.raises(RuntimeError, match="eval"):
        layer.backward(grad)
    layer.train()
    with pytest.raises(RuntimeError, match="before"):  # the call was not a training one
        layer.backward(grad)
    layer(x)
    layer.eval()(x)
    with pytest.raises(RuntimeError):  # the last call was not
        layer.train().backward(grad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("two_way", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_eval_gives_the_bits_of_training_and_drops_the_tape(kind: type, two_way: bool, dtype: type) -> None:
    layer, rng = kind(3, 5, num_layers=2, bidirectional=two_way, dtype=dtype, rng=1), np.random.default_rng(0)
    for steps, rows in ((1, 1), (4, 3), (40, 33), (0, 2), (2, 0)):  # small calls take a way of their own
        x = rng.normal(size=(steps, rows, 3)).astype(dtype)
        h, c = rng.normal(size=(2, 4 if two_way else 2, rows, 5)).astype(dtype)
        for state in (None, (h, c) if kind is pyrnnfast.LSTM else h):
            want, want_state = layer.train()(x, state)
            y, got_state = layer.eval()(x, state)
            np.testing.assert_array_equal(y, want)
            assert type(got_state) is type(want_state)
            np.testing.assert_array_equal(got_state, want_state)
        with pytest.raises(RuntimeError, match="training mode in this thread"):
            layer.train().backward(y)


def test_another_python_thread_has_no_tape() -> None:
    layer = GRU(3, 5, rng=0)
    y, _ = layer(normal(4, 2, 3))
    errors: list[Exception] = []

    def work() -> None:
        try:
            layer.backward(y)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 1
    layer.backward(y)


@pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
def test_pickle_and_deepcopy(kind: type) -> None:
    layer = kind(3, 5, rng=0)
    x = normal(4, 2, 3) if kind in LAYERS else normal(2, 3)
    want = layer(x)
    layer.grads[next(iter(layer.grads))][...] = 7
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert repr(twin) == repr(layer)
        for a, b in zip(twin.grads.values(), layer.grads.values(), strict=True):
            np.testing.assert_array_equal(a, b)
            assert not np.shares_memory(a, b)
        np.testing.assert_array_equal(np.concatenate(twin(x), None), np.concatenate(want, None))
        with twin.update() as parameters:
            parameters[next(iter(parameters))][...] = 0
        np.testing.assert_array_equal(np.concatenate(layer(x), None), np.concatenate(want, None))
        assert not np.array_equal(np.concatenate(twin(x), None), np.concatenate(want, None))


def test_the_pack_is_reused_until_a_weight_changes() -> None:
    layer = LSTM(3, 5, rng=0)
    x = normal(4, 2, 3)
    before, _ = layer(x)
    first = layer.pack()
    assert layer.pack() is first
    layer.zero_grad()
    layer.train().eval().train()
    assert layer.pack() is first
    with layer.update() as parameters:
        parameters["weight_hh_l0"] *= 2
    second = layer.pack()
    assert second is not first
    assert not np.array_equal(layer(x)[0], before)
    layer.load_state_dict(layer.state_dict())
    assert layer.pack() is not second
    np.testing.assert_array_equal(functional.forward(first, x).y, before)  # what was packed stays


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_is_drawn_from_the_layers_rng(kind: type) -> None:
    def outputs(seed: int, calls: int = 2) -> np.ndarray:
        layer = kind(3, 5, num_layers=2, dropout=0.5, rng=seed)
        return np.stack([layer(normal(6, 4, 3))[0] for _ in range(calls)])

    np.testing.assert_array_equal(outputs(0), outputs(0))
    first, second = outputs(0)
    assert not np.array_equal(first, second)
    layer = kind(3, 5, num_layers=2, dropout=0.5, rng=0).eval()
    np.testing.assert_array_equal(layer(normal(6, 4, 3))[0], layer(normal(6, 4, 3))[0])
    state = layer.rng.bit_generator.state
    layer(normal(6, 4, 3))
    assert layer.rng.bit_generator.state == state


def test_dropout_without_a_layer_above_warns() -> None:
    with pytest.warns(UserWarning, match="num_layers=1"):
        LSTM(3, 5, dropout=0.5)


@pytest.mark.parametrize("kind", [*LAYERS, *CELLS])
def test_initial_values(kind: type) -> None:
    layer = kind(30, 50, rng=0, dtype=np.float64)
    values = np.concatenate([v.ravel() for v in layer.state_dict().values()])
    bound = 1 / np.sqrt(50)
    assert -bound <= values.min() < -0.99 * bound
    assert 0.99 * bound < values.max() <= bound
    same, other = kind(30, 50, rng=0, dtype=np.float64), kind(30, 50, rng=1, dtype=np.float64)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(same.state_dict()[name], value)
        assert not np.array_equal(other.state_dict()[name], value)
    turned = kind(30, 50, recurrent_init="orthogonal", dtype=np.float64)
    name = next(name for name in turned.state_dict() if name.startswith("weight_hh"))
    for block in np.split(getattr(turned, name), len(getattr(turned, name)) // 50):
        np.testing.assert_allclose(block @ block.T, np.eye(50), atol=1e-12)


@pytest.mark.parametrize("kind", [LSTM, LSTMCell])
def test_forget_bias(kind: type) -> None:
    layer = kind(3, 5, forget_bias=1.0)
    b_ih, b_hh = (v for name, v in layer.state_dict().items() if name.startswith("bias"))
    np.testing.assert_array_equal((b_ih + b_hh)[5:10], 1)
    assert (b_ih[:5] != 0).all()
    with pytest.raises(ValueError, match="forget_bias needs bias=True"):
        kind(3, 5, bias=False, forget_bias=1.0)


def test_repr_and_counts() -> None:
    assert repr(LSTM(3, 5)) == "LSTM(3, 5)"
    assert repr(GRU(3, 5, 2, bidirectional=True, reset_after=False, dtype="float64")) == (
        "GRU(3, 5, num_layers=2, bidirectional=True, reset_after=False, dtype=float64)"
    )
    assert repr(RNNCell(3, 5, nonlinearity="relu")) == "RNNCell(3, 5, nonlinearity='relu')"
    assert LSTM(3, 5).num_parameters() == 4 * 5 * (3 + 5 + 2)
    assert pyrnnfast.GRUCell(3, 5, bias=False).num_parameters() == 3 * 5 * (3 + 5)
