"""proj_size: the state that is recurrent and put out is a projection of the cell's."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import refuses, require
from general import turn
from numeric import make, run, same_for_any_threads
from test_recurrent_gradients import differences_agree

import pyrnnfast
from pyrnnfast import functional, sampling

CELLS = ("rnn_tanh", "rnn_relu", "lstm", "gru")
OPTIONS = [
    *((cell, {}) for cell in CELLS),
    ("lstm", {"peephole": True, "clip": 0.5, "activations": turn("lstm", 1)}),
    ("lstm", {"coupled": True}),
    ("gru", {"clip": 0.4, "activations": turn("gru", 7)}),
]
LAYERS = {"RNN": pyrnnfast.RNN, "LSTM": pyrnnfast.LSTM, "GRU": pyrnnfast.GRU}
SIZES = [(2, 1), (3, 2), (7, 5), (9, 8), (16, 15), (17, 16), (33, 17), (65, 9), (97, 33)]


@pytest.mark.parametrize(("hidden", "projected"), SIZES)
@pytest.mark.parametrize("cell", CELLS)
def test_sizes(cell: str, hidden: int, projected: int, isa: str) -> None:
    lengths = (4, 2, 0, 1, 3, 4, 4, 2, 3)
    same_for_any_threads(make(cell, 4, 9, 3, hidden, lengths=lengths, general={"proj_size": projected}), isa)


@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("steps", "rows", "inputs", "hidden", "projected", "options"),
    [
        (40, 17, 9, 17, 5, {}),  # more than one block of 512 (step, row) pairs, more than one chunk
        (7, 5, 6, 16, 9, {"layers": 2, "bidirectional": True, "bias": False, "lengths": (7, 0, 3, 6, 2)}),
        (3, 2, 4, 200, 120, {"layers": 2, "dropout": 0.3}),  # threads split units
        (5, 1, 3, 65, 16, {"layers": 3, "with_state": False}),
    ],
)
def test_stacks(
    cell: str,
    general: dict,
    steps: int,
    rows: int,
    inputs: int,
    hidden: int,
    projected: int,
    options: dict,
    isa: str,
) -> None:
    general = {**general, "proj_size": projected}
    same_for_any_threads(make(cell, steps, rows, inputs, hidden, general=general, **options), isa)


@pytest.mark.parametrize(
    "options", [{}, {"layers": 2, "bidirectional": True, "bias": False, "lengths": (2, 0, 4)}], ids=str
)
@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
def test_central_differences(cell: str, general: dict, options: dict, isa: str) -> None:
    differences_agree(cell, isa, general={**general, "proj_size": 2}, **options)


@pytest.mark.parametrize("lengths", [None, (5, 0, 3)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_inference_is_training_without_a_tape(cell: str, lengths: tuple | None, isa: str) -> None:
    general = {"proj_size": 4}
    case = make(cell, 5, 3, 4, 9, layers=2, bidirectional=True, lengths=lengths, general=general)
    packed = functional.pack(cell, case.weights(np.float32), isa=isa, **case.options)
    state = case.pair("h0", "c0", np.float32)
    quiet, trained = (
        functional.forward(packed, case.arrays["x"], state, lengths, training=training)
        for training in (False, True)
    )
    np.testing.assert_array_equal(quiet.y, trained.y)
    for ours, theirs in zip(quiet.state, trained.state, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_sequence_in_two_parts_is_the_whole(kind: str) -> None:
    layer = LAYERS[kind](3, 9, 2, proj_size=4, rng=0).eval()
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32)
    y, state = layer(x)
    assert y.shape == (7, 2, 4)
    shapes = [part.shape for part in state] if isinstance(state, tuple) else [state.shape]
    assert shapes == [(2, 2, 4), (2, 2, 9)][: 1 + (kind != "RNN")]
    first, middle = layer(x[:3])
    second, last = layer(x[3:], middle)
    np.testing.assert_array_equal(np.concatenate([first, second]), y)
    for ours, theirs in zip(last, state, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    one, _ = layer(x[:, 0], None if kind == "RNN" else tuple(np.zeros_like(part[:, 0]) for part in state))
    np.testing.assert_allclose(one, y[:, 0], rtol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_as_pytorch(bidirectional: bool, bias: bool, isa: str) -> None:
    torch = require("torch")
    options = {"bias": bias, "bidirectional": bidirectional, "proj_size": 5}
    theirs = torch.nn.LSTM(3, 9, 2, dtype=torch.float64, **options)
    ours = pyrnnfast.LSTM(3, 9, 2, dtype="float64", **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 4, 5 * (1 + bidirectional)))
    h0, c0 = (rng.normal(size=(2 * (1 + bidirectional), 4, units)) for units in (5, 9))
    inputs = [torch.tensor(array, requires_grad=True) for array in (x, h0, c0)]
    want, (h, c) = theirs(inputs[0], tuple(inputs[1:]))
    ((want * torch.tensor(dy)).sum() + h.sum() + (c * 0.5).sum()).backward()
    y, state = ours(x, (h0, c0))
    dx, (dh0, dc0) = ours.backward(dy, (np.ones_like(h0), np.full_like(c0, 0.5)))
    np.testing.assert_allclose(y, want.detach().numpy(), atol=1e-13)
    for part, tensor in zip(state, (h, c), strict=True):
        np.testing.assert_allclose(part, tensor.detach().numpy(), atol=1e-13)
    for gradient, tensor in zip((dx, dh0, dc0), inputs, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=1e-12)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours.grads[name], parameter.grad.numpy(), atol=1e-11, err_msg=name)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_trains_streams_and_copies(kind: str) -> None:
    layer = LAYERS[kind](3, 7, 2, proj_size=4, rng=0, recurrent_init="orthogonal")
    assert layer.weight_hr_l1.shape == (4, 7)
    assert layer.weight_hh_l0.shape[1] == layer.weight_ih_l1.shape[1] == 4
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    y, state = layer(x)
    layer.backward(np.ones_like(y))
    assert all(gradient.any() for gradient in layer.grads.values())
    stream = layer.stream(2)
    for step, want in zip(x, y, strict=True):
        np.testing.assert_array_equal(stream(step), want)
    for ours, theirs in zip(stream.state, state, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    stream.state = state
    np.testing.assert_array_equal(stream(x[0]), layer(x[:1], state)[0][0])
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin.eval()(x)[0], y)
    again = eval(repr(layer), {**LAYERS})
    again.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(again(x)[0], y)


def test_an_embedding_is_read_by_id(isa: str) -> None:
    case = make("gru", 40, 3, 4, 9, general={"proj_size": 5})
    rng = np.random.default_rng(0)
    embedding, ids = rng.normal(size=(5, 4)).astype(np.float32), rng.integers(5, size=(40, 3), dtype=np.int64)
    case.arrays["x"] = embedding[ids]
    want = run(case, np.float32, isa)
    got = run(case, np.float32, isa, ids=ids, embedding=embedding)
    np.testing.assert_array_equal(got["y"], want["y"])
    np.testing.assert_allclose(got["dw0.4"], want["dw0.4"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_generate(kind: str) -> None:
    """The most likely tokens are those that step after step gives."""
    layer = LAYERS[kind](3, 9, proj_size=4, rng=0).eval()
    rng = np.random.default_rng(1)
    embedding, decoder = (rng.normal(size=(6, size)).astype(np.float32) for size in (3, 4))
    greedy = sampling.SamplingOptions(temperature=0.0)
    first = np.array([1, 4])
    drawn = sampling.generate(layer.pack(), embedding, decoder, first=first, length=5, options=greedy, seed=0)
    state, token = None, first
    for step in range(5):
        y, state = layer(embedding[token][np.newaxis], state)
        token = (y[0] @ decoder.T).argmax(axis=1)
        np.testing.assert_array_equal(drawn.tokens[:, step], token)
    for ours, theirs in zip(drawn.state, state, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "error"),
    [(-1, ValueError), (4, ValueError), (5, ValueError), (2.0, TypeError), (True, TypeError)],
)
@pytest.mark.parametrize("kind", LAYERS)
def test_refused(kind: str, size: object, error: type) -> None:
    refuses(error, lambda: LAYERS[kind](3, 4, proj_size=size))


def test_what_makes_no_sense() -> None:
    refuses(ValueError, lambda: pyrnnfast.GRU(3, 4, reset_after=False, proj_size=2))
    case = make("lstm", 1, 1, 3, 4, general={"proj_size": 2})
    weights = case.weights(np.float32)
    functional.pack("lstm", weights, proj_size=2)
    refuses(ValueError, lambda: functional.pack("lstm", weights))
    refuses(ValueError, lambda: functional.pack("lstm", weights, proj_size=3))
    refuses(ValueError, lambda: functional.pack("lstm", weights[:4], proj_size=2))
    square = [np.ones(shape, np.float32) for shape in ((16, 3), (16, 4), (16,), (16,), (4, 4))]
    refuses(ValueError, lambda: functional.pack("lstm", square, proj_size=4))
    few = [np.ones(shape, np.float32) for shape in ((3, 3), (3, 2), (3,), (3,), (2, 1))]
    refuses(ValueError, lambda: functional.pack("lstm", few, proj_size=2))
    gru = pyrnnfast.GRU(3, 4, proj_size=2, rng=0)
    x = np.zeros((1, 1, 3), np.float32)
    refuses(TypeError, lambda: gru(x, np.zeros((1, 1, 2), np.float32)))
    refuses(ValueError, lambda: gru(x, (np.zeros((1, 1, 2), np.float32),) * 2))


def test_onnx_cannot_say_it() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    refuses(ValueError, lambda: to_onnx(pyrnnfast.LSTM(3, 4, proj_size=2)))
