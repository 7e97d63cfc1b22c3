"""`JordanRNN` and its cell: the numbers of its definition, the equations, gradients, the protocol."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import refuses, require
from numeric import assert_close, make, oracle, run, same_bits

import pyrnnfast
from pyrnnfast import JordanRNN, functional

IDENTITY = ("affine", 1.0, 0.0)
ONES, EYE = np.ones((2, 2)), np.eye(2)
X = np.array([[1, 1], [1, 1], [2, 2]], np.float32)
SIZES = [(3, 4, 4), (3, 7, 2), (3, 2, 5), (4, 17, 9)]


def same(got: np.ndarray, want: np.ndarray) -> None:
    """To the bit, but NumPy's products depend on the number of rows."""
    rounding = 0 if pyrnnfast.isa() != "reference" else 1e-6
    np.testing.assert_allclose(got, want, rtol=0, atol=rounding)


@pytest.mark.parametrize(("feedback", "want"), [(EYE, [4, 12, 32]), (ONES, [4, 20, 88])])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_numbers_of_its_definition(feedback: np.ndarray, want: list[int], dtype: type, isa: str) -> None:
    layer = JordanRNN(2, 2, 2, bias=False, dtype=dtype, activations=[IDENTITY, IDENTITY])
    values = {"weight_ih_l0": ONES, "weight_oh_l0": feedback, "weight_ho_l0": ONES}
    layer.load_state_dict({name: value.astype(dtype) for name, value in values.items()})
    y, state = layer(X.astype(dtype))
    assert y.tolist() == [[value, value] for value in want]
    assert state.tolist() == [[want[-1]] * 2]
    stream = layer.stream()
    assert [stream(x[None].astype(dtype)).tolist() for x in X] == [[[value] * 2] for value in want]
    weights = [value.astype(dtype) for value in values.values()]
    packed = functional.pack("jordan", weights, bias=False, isa=isa, activations=[IDENTITY, IDENTITY])
    assert functional.forward(packed, X[:, None].astype(dtype)).y[:, 0, 0].tolist() == want


def sequences(layer: JordanRNN, torch, leaf: dict, x, state, lengths):
    """The equations on tensors: y [T, N, D * O] and the final state, row by row."""
    f = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}
    first, second = layer.options.activations[0] if layer.options else (("tanh",), ("affine",))
    g = f.get(second[0], lambda value: value)
    final = [[None] * x.shape[1] for _ in range(layer.num_layers * layer.num_directions)]
    for k in range(layer.num_layers):
        sides = []
        for d in range(layer.num_directions):
            end = f"_l{k}" + "_reverse" * d
            bias = [leaf.get(name + end, torch.zeros(())) for name in ("bias_ih", "bias_ho")]
            rows = []
            for n, length in enumerate(lengths):
                o, steps = state[k * layer.num_directions + d, n], [None] * length
                for t in reversed(range(length)) if d else range(length):
                    h = f[first[0]](leaf["weight_ih" + end] @ x[t, n] + leaf["weight_oh" + end] @ o + bias[0])
                    o = steps[t] = g(leaf["weight_ho" + end] @ h + bias[1])
                final[k * layer.num_directions + d][n] = o
                rows.append(torch.stack(steps + [torch.zeros_like(o)] * (len(x) - length)))
            sides.append(torch.stack(rows, 1))
        x = sides[0] * sides[1] if "merge='mul'" in repr(layer) else torch.cat(sides, -1)
    return x, torch.stack([torch.stack(rows) for rows in final])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True, "activations": ["tanh", "sigmoid"]},
        {"num_layers": 3, "bias": False, "activations": ["sigmoid", IDENTITY]},
        {"num_layers": 2, "bidirectional": True, "merge": "mul", "activations": ["tanh", "sigmoid"]},
    ],
    ids=str,
)
def test_outputs_and_gradients_are_those_of_the_equations(sizes: tuple, options: dict) -> None:
    """Of every number of hidden units and outputs, against PyTorch's autograd; ragged rows."""
    torch = require("torch")
    layer = JordanRNN(*sizes, dtype=np.float64, rng=1, **options)
    rng = np.random.default_rng(0)
    runs = layer.num_layers * layer.num_directions
    lengths = [5, 2, 3]
    x, state = rng.normal(size=(5, 3, sizes[0])), rng.normal(size=(runs, 3, sizes[2]))
    leaf = {name: torch.tensor(value, requires_grad=True) for name, value in layer.state_dict().items()}
    inputs = [torch.tensor(value, requires_grad=True) for value in (x, state)]
    want, want_state = sequences(layer, torch, leaf, *inputs, lengths)
    y, final = layer(x, state, lengths)
    np.testing.assert_allclose(y, want.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(final, want_state.detach().numpy(), atol=1e-12)
    dy, dstate = rng.normal(size=y.shape), rng.normal(size=final.shape)
    ((want * torch.tensor(dy)).sum() + (want_state * torch.tensor(dstate)).sum()).backward()
    dx, dstate0 = layer.backward(dy, dstate)
    np.testing.assert_allclose(dx, inputs[0].grad.numpy(), atol=1e-10)
    np.testing.assert_allclose(dstate0, inputs[1].grad.numpy(), atol=1e-10)
    assert layer.grads.keys() == leaf.keys()
    for name, gradient in layer.grads.items():
        np.testing.assert_allclose(gradient, leaf[name].grad.numpy(), atol=1e-10, err_msg=name)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_a_layer_streams_and_copies(sizes: tuple) -> None:
    layer = JordanRNN(*sizes, 2, clip=2.0, activations=["tanh", "sigmoid"], rng=0)
    x = np.random.default_rng(0).normal(size=(6, 2, sizes[0])).astype(np.float32)
    y, state = layer(x)
    assert y.shape == (6, 2, sizes[2])
    assert state.shape == (2, 2, sizes[2])
    same(layer.eval()(x)[0], y)
    stream = layer.stream(2)
    for step, want in zip(x[:3], y, strict=False):
        same(stream(step), want)
    kept = stream.state
    stream(x[0])
    stream.state = kept
    for step, want in zip(x[3:], y[3:], strict=True):
        same(stream(step), want)
    same(stream.state, state)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        same(twin(x)[0], y)
    again = eval(repr(layer), {"JordanRNN": JordanRNN})
    again.load_state_dict(layer.state_dict())
    same(again(x)[0], y)
    one, one_state = layer(x[:, 1])
    same(one, y[:, 1])
    same(one_state, state[:, 1])


@pytest.mark.parametrize("outputs", [2, 9, 40])
@pytest.mark.parametrize(
    "general",
    [{}, {"clip": 0.5, "activations": ["tanh", "softsign"], "grad_clip": 0.3, "zoneout": 0.3}],
    ids=str,
)
def test_outputs_of_any_number_on_every_instruction_set(outputs: int, general: dict, isa: str) -> None:
    """With every mask; more outputs than hidden units, whose rows of V threads share, among them."""
    for shape in ({"layers": 2, "bidirectional": True, "lengths": (4, 2, 0, 1, 3)}, {"bias": False}, {}):
        drops = {"recurrent_dropout": 0.4, "input_dropout": 0.2}
        case = make("jordan", 4, 5, 3, 9, general={**general, "proj_size": outputs}, drops=drops, **shape)
        expected = oracle(case)
        for dtype in (np.float32, np.float64):
            one, two = (run(case, dtype, isa, num_threads=n) for n in (1, 2))
            assert_close(case, one, expected, dtype)
            same_bits(two, one)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_an_infinite_input_stays_in_its_row(sizes: tuple) -> None:
    """h = tanh(inf) is 1, and so o is finite; the other rows are as without it."""
    layer = JordanRNN(*sizes, bidirectional=True, rng=0)
    x = np.random.default_rng(0).normal(size=(4, 3, sizes[0])).astype(np.float32)
    want, _ = layer(x)
    layer.backward(want)
    x[1, 2, 0] = np.inf
    y, state = layer(x)
    dx, dstate = layer.backward(y)
    assert np.isfinite(y).all()
    assert np.isfinite(state).all()
    assert np.isfinite(dx).all()
    assert np.isfinite(dstate).all()
    assert np.isfinite(layer.grads["weight_ho_l0"]).all()
    same(y[:, :2], want[:, :2])


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize(("steps", "rows"), [(0, 3), (4, 0), (0, 0)])
def test_nothing_to_run(sizes: tuple, steps: int, rows: int) -> None:
    layer = JordanRNN(*sizes, 2, rng=0)
    y, state = layer(np.zeros((steps, rows, sizes[0]), np.float32))
    assert y.shape == (steps, rows, sizes[2])
    dstate = np.ones_like(state)
    dx, dstate0 = layer.backward(y, dstate)
    assert dx.shape == (steps, rows, sizes[0])
    if steps == 0:
        np.testing.assert_array_equal(dstate0, dstate)
    for name, gradient in layer.grads.items():
        assert gradient.shape == layer.state_dict()[name].shape
        assert not gradient.any()


def test_layouts_of_a_call_and_its_gradients() -> None:
    layer = JordanRNN(3, 6, 4, batch_first=True, rng=0)
    rng = np.random.default_rng(0)
    x, dy = (rng.normal(size=(2, 5, size)).astype(np.float32) for size in (3, 4))
    layer(x)
    dx, dstate = layer.backward(dy)
    both = layer.grads["weight_oh_l0"].copy()
    layer.zero_grad()
    for n in range(2):
        layer(x[n])
        alone, dstate_alone = layer.backward(dy[n])
        np.testing.assert_allclose(alone, dx[n], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(dstate_alone, dstate[:, n], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.grads["weight_oh_l0"], both, rtol=1e-4, atol=1e-5)
    assert repr(layer) == "JordanRNN(3, 6, 4, batch_first=True)"
    for kind, sizes, units in ((JordanRNN, (3, 6, 4), 4), (pyrnnfast.OneGateGRU, (3, 6), 6)):
        plain, merged = (
            kind(*sizes, bidirectional=True, merge=how, rng=0).eval() for how in ("concat", "sum")
        )
        sides = plain(dy[:, :, :3])[0]
        np.testing.assert_array_equal(merged(dy[:, :, :3])[0], sides[..., :units] + sides[..., units:])


def test_a_changed_weight_is_packed_anew() -> None:
    layer = JordanRNN(3, 5, 2, rng=0).eval()
    x = np.ones((4, 1, 3), np.float32)
    before, _ = layer(x)
    with layer.update() as values:
        values["bias_ho_l0"] += 1
    np.testing.assert_allclose(layer(x)[0][0], before[0] + 1, rtol=1e-6)


def test_what_training_may_do() -> None:
    """It acts on the outputs, which are what goes back."""
    drops = {"input_dropout": 0.2, "recurrent_dropout": 0.3}
    layer = JordanRNN(3, 6, 4, zoneout=0.25, grad_clip=0.5, record_grad_norms=True, rng=0, **drops)
    again = eval(repr(layer), {"JordanRNN": JordanRNN})
    assert repr(again) == repr(layer)
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    first, second = layer(x)[0], layer(x)[0]
    assert (first != second).any()
    dy = np.zeros_like(first)
    dy[-1] = 1
    layer.backward(dy)
    np.testing.assert_allclose(layer.grad_norms[0, -1], np.sqrt(2 * 4))
    refuses(ValueError, layer.stream)
    plain = JordanRNN(3, 6, 4).eval()
    plain.load_state_dict(layer.state_dict())
    state = np.random.default_rng(1).normal(size=(1, 2, 4)).astype(np.float32)
    got, want = (each(x[:1], state)[0][0] for each in (layer.eval(), plain))
    np.testing.assert_allclose(got, 0.25 * state[0] + 0.75 * want, rtol=1e-5, atol=1e-6)


def test_arguments() -> None:
    for bad, error in ((0, ValueError), (2.0, TypeError), ("2", TypeError)):
        refuses(error, lambda bad=bad: JordanRNN(3, 4, bad))
    refuses(ValueError, lambda: JordanRNN(3, 4, 2, activations=["tanh"]))
    layer = JordanRNN(3, 4, 2, rng=0)
    x = np.zeros((5, 2, 3), np.float32)
    for state in (np.zeros((1, 2, 4), np.float32), np.zeros((1, 1, 2), np.float32)):
        refuses(ValueError, lambda state=state: layer(x, state))
    refuses(TypeError, lambda: layer(x, (np.zeros((1, 2, 2), np.float32),) * 2))
    refuses(TypeError, lambda: layer(x.astype(np.float64)))
    y, _ = layer(x)
    refuses(ValueError, lambda: layer.backward(np.zeros((5, 2, 4), np.float32)))
    refuses(ValueError, lambda: layer.backward(y, np.zeros((1, 2, 4), np.float32)))
    layer.backward(y)
    weights = [np.zeros(shape, np.float32) for shape in ((4, 3), (4, 4), (4,), (4,), (4, 4), (4,), (4,))]
    refuses(ValueError, lambda: functional.pack("jordan", weights, layer_norm=True))
    for bias in ((5,), (1, 2)):
        weights = [np.zeros(shape, np.float32) for shape in ((4, 3), (4, 2), (4,), bias, (2, 4))]
        refuses(ValueError, lambda weights=weights: functional.pack("jordan", weights, proj_size=2))
    assert pyrnnfast.JordanRNN is JordanRNN


def test_onnx_cannot_say_it() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    refuses(TypeError, lambda: to_onnx(JordanRNN(3, 4, 2)))
