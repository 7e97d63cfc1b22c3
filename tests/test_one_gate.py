"""`OneGateGRU` as its equations say; the oracles, gradients, bits and streams of all cells cover the rest."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import refuses, require

import pyrnnfast
from pyrnnfast import OneGateGRU, functional

T, N, C, H = 5, 3, 4, 6


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_the_equations() -> None:
    layer = OneGateGRU(C, H, dtype=np.float64, rng=0)
    assert {name: value.shape for name, value in layer.named_parameters().items()} == {
        "weight_ih_l0": (2 * H, C),
        "weight_hh_l0": (2 * H, H),
        "bias_ih_l0": (2 * H,),
        "bias_hh_l0": (2 * H,),
    }
    x, h = drawn(T, N, C), drawn(1, N, H)
    y, final = layer(x, h)
    (h,) = h
    for step, want in zip(x, y, strict=True):
        s = step @ layer.weight_ih_l0.T + h @ layer.weight_hh_l0.T + layer.bias_ih_l0 + layer.bias_hh_l0
        g, n = sigmoid(s[:, :H]), np.tanh(s[:, H:])
        h = g * n + (1 - g) * h
        np.testing.assert_allclose(want, h, rtol=1e-13)
    np.testing.assert_array_equal(final[0], y[-1])


def test_a_gate_that_is_open_or_closed() -> None:
    """Open, h is the candidate; closed, the state before."""
    layer = OneGateGRU(C, H, rng=0)
    x, h = drawn(T, N, C).astype(np.float32), drawn(1, N, H).astype(np.float32)
    for bias, want in ((-200.0, h), (200.0, None)):
        with layer.update() as parameters:
            parameters["bias_ih_l0"][:H] = bias
        _, final = layer(x, h)
        if want is None:
            rnn = pyrnnfast.RNN(C, H)
            rnn.load_state_dict({name: value[H:] for name, value in layer.state_dict().items()})
            want = rnn(x, h)[1]
        np.testing.assert_allclose(final, want, rtol=1e-5)


def test_copies_files_and_words(tmp_path) -> None:
    layer = OneGateGRU(C, H, 2, bidirectional=True, batch_first=True, dropout=0.5, rng=0).eval()
    assert repr(layer) == (
        f"OneGateGRU({C}, {H}, num_layers=2, batch_first=True, dropout=0.5, bidirectional=True)"
    )
    x = drawn(N, T, C).astype(np.float32)
    y, _ = layer(x, lengths=[5, 0, 2])
    np.savez(tmp_path / "weights.npz", **layer.state_dict())
    again = eval(repr(layer))
    again.load_state_dict(np.load(tmp_path / "weights.npz"))
    for twin in (again.eval(), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(x, lengths=[5, 0, 2])[0], y)


@pytest.mark.parametrize("name", ["keras", "onnx", "torch"])
def test_other_libraries_do_not_have_it(name: str) -> None:
    carry = getattr(require(f"pyrnnfast.{name}"), f"to_{name}")
    refuses(TypeError, lambda: carry(OneGateGRU(C, H)))


def test_it_refuses_what_only_others_have() -> None:
    weights = list(OneGateGRU(C, H).state_dict().values())
    functional.pack("one_gate_gru", weights)
    refuses(ValueError, lambda: functional.pack("gru", weights))
    for option in ("peephole", "coupled"):
        refuses(ValueError, lambda option=option: functional.pack("one_gate_gru", weights, **{option: True}))
    refuses(TypeError, lambda: OneGateGRU(C, H)(drawn(T, N, C).astype(np.float32), (drawn(1, N, H),) * 2))
