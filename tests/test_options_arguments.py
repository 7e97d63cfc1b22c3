"""Options of cells as arguments: what they must be, what a layer does with them, and what stays plain."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
from conftest import arguments_of, refuses
from numeric import make, run

import pyrnnfast
from pyrnnfast import functional
from pyrnnfast.layers.options import Given
from pyrnnfast.models import LanguageModel
from pyrnnfast.text import Vocabulary

LAYERS = {name: getattr(pyrnnfast, name) for name in ("RNN", "LSTM", "GRU", "OneGateGRU")}
NAMES = {
    "RNN": ["elu"],
    "LSTM": ["hard_sigmoid", "relu", "softsign"],
    "GRU": ["softplus", "relu"],
    "OneGateGRU": ["hard_sigmoid", "elu"],
}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"clip": 0}, ValueError),
        ({"clip": -1.0}, ValueError),
        ({"clip": float("nan")}, ValueError),
        ({"clip": "3"}, TypeError),
        ({"clip": True}, TypeError),
        ({"activations": "tanh"}, TypeError),
        ({"activations": []}, ValueError),
        ({"activations": ["tanh"] * 4}, ValueError),
        ({"activations": ["tanh"] * 6}, ValueError),  # one direction
        ({"bidirectional": True, "activations": ["tanh"] * 9}, ValueError),
    ],
    ids=repr,
)
@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_refuses(kind: str, arguments: dict, error: type) -> None:
    refuses(error, lambda: LAYERS[kind](3, 4, **arguments))


@pytest.mark.parametrize(
    ("activation", "error"),
    [
        ("Tanh", ValueError),
        ("swish", ValueError),
        (3, TypeError),
        (None, TypeError),
        ((), ValueError),
        (("elu", 1.0, 1.0, 1.0), ValueError),
        (("tanh", 1.0), ValueError),
        (("elu", 1.0, 2.0), ValueError),  # elu has no beta
        (("elu", "1"), TypeError),
        (("affine", 1.0, float("inf")), ValueError),
        (("affine", float("nan"), 0.0), ValueError),
    ],
    ids=repr,
)
def test_an_activation(activation: object, error: type) -> None:
    refuses(error, lambda: pyrnnfast.LSTM(3, 4, activations=["tanh", activation, "tanh"]))


@pytest.mark.parametrize(
    "arguments",
    [
        {"activations": ["sigmoid", "tanh", ("affine", 1e39, 0.0)]},
        {"activations": ["sigmoid", ("scaled_tanh", 1.0, -1e39), "tanh"]},
        {"activations": [("elu", 3.4028236e38), "tanh", "tanh"]},  # rounds to infinity
        *({name: value} for name in ("clip", "cell_clip", "grad_clip") for value in (1e39, 1e-46)),
        {"proj_size": 2, "proj_clip": 1e39},
    ],
    ids=str,
)
def test_numbers_are_such_as_the_dtype_has(arguments: dict) -> None:
    refuses(ValueError, lambda: pyrnnfast.LSTM(3, 4, **arguments))
    layer = pyrnnfast.LSTM(3, 4, **arguments, dtype="float64")
    weights = [value.astype(np.float32) for value in layer.state_dict().values()]
    refuses(ValueError, lambda: functional.pack("lstm", weights, **arguments))


@pytest.mark.parametrize(
    ("make_layer", "error"),
    [
        (lambda: pyrnnfast.LSTM(3, 4, peephole=1), TypeError),
        (lambda: pyrnnfast.LSTM(3, 4, coupled=None), TypeError),
        (lambda: pyrnnfast.LSTM(3, 4, coupled=True, forget_bias=1.0), ValueError),
        (lambda: pyrnnfast.RNN(3, 4, nonlinearity="relu", activations=["tanh"]), ValueError),
    ],
)
def test_a_layer(make_layer: object, error: type) -> None:
    refuses(error, make_layer)


def test_only_the_lstm_has_peepholes_and_coupled_gates() -> None:
    weights = [np.ones(shape, np.float32) for shape in ((12, 3), (12, 4), (12,), (12,), (12,))]
    refuses(ValueError, lambda: functional.pack("gru", weights, peephole=True))
    refuses(ValueError, lambda: functional.pack("gru", weights[:4], coupled=True))


@pytest.mark.parametrize("shape", [(3,), (12, 1), (16,), ()])
def test_a_peephole_of_another_shape(shape: tuple) -> None:
    case = make("lstm", 1, 1, 3, 4, general={"peephole": True})
    weights = case.weights(np.float32)
    functional.pack("lstm", weights, peephole=True)
    refuses(ValueError, lambda: functional.pack("lstm", weights))
    refuses(ValueError, lambda: functional.pack("lstm", weights[:4], peephole=True))
    weights[4] = np.ones(shape, np.float32)
    refuses(ValueError, lambda: functional.pack("lstm", weights, peephole=True))


@pytest.mark.parametrize("kind", LAYERS)
def test_the_plain_cells_options_are_none(kind: str) -> None:
    gated = ["sigmoid", ("tanh",)]
    plain = {"RNN": ["tanh"], "LSTM": [*gated, ("tanh", None)], "GRU": gated, "OneGateGRU": gated}
    layer = LAYERS[kind](3, 4, activations=plain[kind], clip=float("inf"))
    assert layer.options is None
    assert layer.pack().options is None
    assert repr(layer) == repr(LAYERS[kind](3, 4))


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_trains_streams_and_copies(kind: str) -> None:
    own = {"peephole": True, "coupled": True} if kind == "LSTM" else {}
    layer = LAYERS[kind](3, 5, 2, clip=0.8, activations=NAMES[kind], rng=0, **own)
    assert layer.pack().options == layer.options
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    y, state = layer(x)
    layer.backward(np.ones_like(y))
    assert all(np.isfinite(gradient).all() for gradient in layer.grads.values())
    stream = layer.stream(2)
    for step, want in zip(x, y, strict=True):
        np.testing.assert_array_equal(stream(step), want)
    np.testing.assert_array_equal(np.stack(stream.state), np.stack(state))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin.eval()(x)[0], y)
    again = eval(repr(layer), {**LAYERS})
    again.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(again(x)[0], y)
    assert ("weight_peephole_l1" in layer.state_dict()) == (kind == "LSTM")


def test_what_is_left_out_is_the_default_of_the_operator() -> None:
    defaults = {
        "hard_sigmoid": (0.2, 0.5),
        "elu": (1.0, 0.0),
        "leaky_relu": (0.01, 0.0),
        "thresholded_relu": (1.0, 0.0),
        "scaled_tanh": (0.0, 0.0),
        "affine": (0.0, 0.0),
    }
    for name, numbers in defaults.items():
        for given in (name, (name,), (name, None), (name, None, None)):
            options = pyrnnfast.RNN(3, 4, activations=[given]).options
            assert options is not None
            assert options.activations == (((name, *numbers),),)


def test_repr_tells_directions_apart() -> None:
    layer = pyrnnfast.RNN(3, 4, bidirectional=True, activations=["relu", ("elu", 0.5)])
    assert repr(layer) == "RNN(3, 4, bidirectional=True, activations=['relu', ('elu', 0.5)])"


def test_an_embedding_is_read_by_id(isa: str) -> None:
    case = make("lstm", 40, 3, 4, 9, general={"peephole": True, "clip": 0.5})
    rng = np.random.default_rng(0)
    embedding, ids = rng.normal(size=(5, 4)).astype(np.float32), rng.integers(5, size=(40, 3))
    case.arrays["x"] = embedding[ids]
    want = run(case, np.float32, isa)
    got = run(case, np.float32, isa, ids=ids, embedding=embedding)
    np.testing.assert_array_equal(got["y"], want["y"])
    np.testing.assert_allclose(got["dw0.4"], want["dw0.4"], rtol=1e-6)


def test_a_language_model_is_not_saved_without_its_options(tmp_path) -> None:
    model = LanguageModel(Vocabulary.from_text("abc"), embedding=3, hidden=4, rng=0)
    model.recurrent = pyrnnfast.LSTM(3, 4, clip=1.0, rng=0)
    assert len(model.eval().sample("a", length=3, seed=0)[0]) <= 3
    refuses(ValueError, lambda: model.save(tmp_path / "model.safetensors"))
    assert not list(tmp_path.iterdir())


OPTIONS = [
    ("RNN", {"clip": 2.0, "activations": [("elu", 0.5)], "proj_size": 3, "grad_clip": 1.5, "zoneout": 0.1}),
    ("RNN", {"nonlinearity": "relu", "input_dropout": 0.1, "recurrent_dropout": 0.2}),
    ("LSTM", {"peephole": True, "coupled": True, "clip": 2.0, "cell_clip": 3.0, "return_cells": True}),
    ("LSTM", {"proj_size": 3, "proj_clip": 1.0, "zoneout": (0.1, 0.2), "record_grad_norms": True}),
    ("LSTM", {"bidirectional": True, "merge": "sum", "layer_norm": True}),
    (
        "GRU",
        {"bidirectional": True, "activations": [("relu",), ("tanh",), ("elu", 2.0), ("affine", 1.0, 0.5)]},
    ),
    ("OneGateGRU", {"zoneout": 0.5, "clip": 1.0}),
]


@pytest.mark.parametrize(("kind", "arguments"), OPTIONS, ids=str)
def test_what_a_layer_was_made_with_is_read_and_not_set(kind: str, arguments: dict) -> None:
    layer = LAYERS[kind](3, 5, **arguments, rng=0)
    for twin in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert {name: getattr(twin, name) for name in arguments} == arguments
    usual = LAYERS[kind](3, 5)
    for name in set(arguments_of(LAYERS[kind])) & set(vars(Given)):
        if name not in {*arguments, "activations"}:
            assert getattr(layer, name) == getattr(usual, name)
        with pytest.raises(AttributeError, match=f"{name} is read-only"):
            setattr(layer, name, getattr(layer, name))


def test_defaults_are_those_of_the_constructor() -> None:
    for kind in LAYERS.values():
        layer = kind(3, 4)
        for name, parameter in inspect.signature(kind).parameters.items():
            if name in vars(Given) and name != "activations":
                assert getattr(layer, name) == parameter.default
        assert (layer.zoneout, layer.grad_clip, layer.input_dropout) == (None, None, 0)
        assert kind(3, 4, activations=layer.activations).options is None
