"""Bad weights, options and handles: TypeError or ValueError that holds what was expected and what was got."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import refuses

import pyrnnfast
from pyrnnfast import functional

T, N, C, H = 4, 3, 5, 7
LAYERS = {"RNN": pyrnnfast.RNN, "LSTM": pyrnnfast.LSTM, "GRU": pyrnnfast.GRU}


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def packed_gru() -> functional.PackHandle:
    return pyrnnfast.GRU(C, H, num_layers=2, rng=0).pack()


WEIGHTS = [f32(4 * H, C), f32(4 * H, H), f32(4 * H), f32(4 * H)]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({0: f32(4 * H + 1, C)}, ValueError),
        ({0: f32(4 * H)}, ValueError),
        ({0: f32(4 * H, 0)}, ValueError),
        ({1: f32(4 * H, H + 1)}, ValueError),  # weight_hh that disagrees with the hidden size
        ({1: f32(3 * H, H)}, ValueError),
        ({1: f32(0, 0)}, ValueError),
        ({2: f32()}, ValueError),  # scalar bias
        ({2: f32(1)}, ValueError),
        ({3: f32(4 * H - 1)}, ValueError),
        ({3: f32(4 * H, 1)}, ValueError),
        ({3: np.ones(4 * H)}, TypeError),  # mixed dtypes
        ({0: np.ones((4 * H, C), np.int64)}, TypeError),
        ({2: f32(4 * H).astype(">f4")}, TypeError),
        ({1: [[1.0]]}, TypeError),
        ({2: None}, TypeError),
    ],
)
def test_weights(change: dict, error: type) -> None:
    weights = [change.get(i, weight) for i, weight in enumerate(WEIGHTS)]
    refuses(error, lambda: functional.pack("lstm", weights))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"weights": WEIGHTS[:2]}, ValueError),
        ({"weights": []}, ValueError),
        ({"weights": f32(4, 4)}, TypeError),
        ({"cell": "gru"}, ValueError),
        ({"cell": "LSTM"}, ValueError),
        ({"cell": 3}, TypeError),
        ({"num_layers": 2}, ValueError),
        ({"num_layers": 0}, ValueError),
        ({"num_layers": 1.0}, TypeError),
        ({"num_layers": True}, TypeError),
        ({"bidirectional": True}, ValueError),
        ({"bidirectional": 1}, TypeError),
        ({"bias": False}, ValueError),
        ({"bias": None}, TypeError),
        ({"isa": "sse9"}, ValueError),
        ({"isa": 3}, TypeError),
    ],
    ids=repr,
)
def test_pack(arguments: dict, error: type) -> None:
    refuses(error, lambda: functional.pack(**{"cell": "lstm", "weights": WEIGHTS, **arguments}))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_threads": 0}, ValueError),
        ({"num_threads": -1}, ValueError),
        ({"num_threads": 2**40}, ValueError),
        ({"num_threads": 1.0}, TypeError),
        ({"num_threads": True}, TypeError),
        ({"dropout": -0.1}, ValueError),
        ({"dropout": 1.1}, ValueError),
        ({"dropout": float("nan")}, ValueError),
        ({"dropout": "0.5"}, TypeError),
        ({"dropout": 0.5, "training": True}, ValueError),  # no seed
        ({"seed": -1}, ValueError),
        ({"seed": 2**64}, ValueError),
        ({"seed": 1.5}, TypeError),
        ({"training": 1}, TypeError),
        ({"training": None}, TypeError),
    ],
    ids=repr,
)
def test_forward_options(options: dict, error: type) -> None:
    refuses(error, lambda: functional.forward(packed_gru(), f32(T, N, C), **options))


def test_other_things_in_place_of_packs_and_tapes() -> None:
    packed = packed_gru()
    tape = functional.forward(packed, f32(T, N, C), training=True).tape
    for wrong in (None, 3, tape, WEIGHTS):
        refuses(TypeError, lambda wrong=wrong: functional.forward(wrong, f32(T, N, C)))
    for wrong in (None, 3, packed, functional.forward(packed, f32(T, N, C)).tape):
        refuses(TypeError, lambda wrong=wrong: functional.backward(wrong, f32(T, N, H)))
    refuses(TypeError, lambda: functional.backward(tape, input_gradient=1))
    refuses(ValueError, lambda: functional.backward(tape, num_threads=0))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"input_size": 0}, ValueError),
        ({"hidden_size": 0}, ValueError),
        ({"hidden_size": -3}, ValueError),
        ({"hidden_size": 2.0}, TypeError),
        ({"num_layers": 0}, ValueError),
        ({"input_size": 2**62, "hidden_size": 2**62}, ValueError),
        ({"bias": 1}, TypeError),
        ({"batch_first": "yes"}, TypeError),
        ({"dropout": 2}, ValueError),
        ({"dropout": True}, TypeError),
        ({"dtype": np.float16}, TypeError),
        ({"dtype": ">f4"}, TypeError),
        ({"dtype": None}, TypeError),
        ({"dtype": "nonsense"}, TypeError),
        ({"rng": 1.5}, TypeError),
        ({"rng": -1}, ValueError),
        ({"rng": np.random.RandomState(0)}, TypeError),
        ({"recurrent_init": "zeros"}, ValueError),
    ],
    ids=lambda value: str(value).split(" at 0x")[0],  # addresses differ from run to run
)
@pytest.mark.parametrize("kind", LAYERS)
def test_constructor(kind: str, arguments: dict, error: type) -> None:
    refuses(error, lambda: LAYERS[kind](**{"input_size": C, "hidden_size": H, **arguments}))


def test_states_that_memory_cannot_hold() -> None:
    refuses(ValueError, lambda: functional.forward(packed_gru(), np.empty((0, 2**40, C), np.float32)))
