"""Every argument of the layers on its way to Keras, PyTorch and ONNX: the same outputs there, or refused.

The arguments are those of the constructors' signatures, so that none is forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from conftest import arguments_of, refuses, require

from pyrnnfast import GRU, LSTM, RNN

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),  # PyTorch's own
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras's
]
T, N, C, H = 5, 3, 4, 7
LAYERS = (RNN, LSTM, GRU)
ELSEWHERE = {"input_size", "hidden_size", "rng", "recurrent_init", "forget_bias"}
"""Arguments that the weights say all of."""
OWN: dict[type[Any], dict[str, Any]] = {
    RNN: {"activations": ["softsign"], "zoneout": 0.3},
    LSTM: {"activations": [("hard_sigmoid", 1 / 6, 0.5), "softsign", "softsign"], "zoneout": (0.2, 0.3)},
    GRU: {"activations": ["sigmoid", "softsign"], "zoneout": 0.3},
}
GIVEN: dict[str, dict[str, Any]] = {
    "num_layers": {"num_layers": 2},
    "nonlinearity": {"nonlinearity": "relu"},
    "bias": {"bias": False},
    "batch_first": {"batch_first": True},
    "dropout": {"num_layers": 2, "dropout": 0.5},
    "bidirectional": {"bidirectional": True},
    "dtype": {"dtype": "float64"},
    "reset_after": {"reset_after": False},
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "clip": {"clip": 0.1},
    "cell_clip": {"cell_clip": 0.1},
    "proj_size": {"proj_size": 3},
    "proj_clip": {"proj_size": 3, "proj_clip": 0.1},
    "return_cells": {"return_cells": True},
    "merge": {"bidirectional": True, "merge": "mul"},
    "layer_norm": {"layer_norm": True},
    "input_dropout": {"input_dropout": 0.5},
    "recurrent_dropout": {"recurrent_dropout": 0.5},
    "grad_clip": {"grad_clip": 0.1},
    "record_grad_norms": {"record_grad_norms": True},
}
"""What gives each argument another value than its default, beside `OWN`."""
COMMON = {"num_layers", "nonlinearity", "bias", "batch_first", "dropout", "bidirectional", "dtype"}
CARRIED: dict[str, set[str]] = {
    "Keras": COMMON | {"reset_after", "merge", "activations", "input_dropout", "recurrent_dropout"},
    "PyTorch": COMMON | {"LSTM proj_size"},
    "ONNX": COMMON
    | {"reset_after", "peephole", "coupled", "clip", "activations"}
    | {"input_dropout", "recurrent_dropout", "grad_clip", "record_grad_norms"},  # nothing in eval mode
}


def cases() -> Iterator[tuple[type[Any], str]]:
    for kind in LAYERS:
        for name in arguments_of(kind):
            if name not in ELSEWHERE:
                yield kind, name


def keras(layer: Any) -> Callable[[np.ndarray], np.ndarray]:
    library = require("keras")
    from pyrnnfast.keras import to_keras

    made = to_keras(layer)
    return lambda x: library.ops.convert_to_numpy(
        made(library.ops.convert_to_tensor(x.swapaxes(0, 1), dtype=x.dtype.name))
    ).swapaxes(0, 1)


def pytorch(layer: Any) -> Callable[[np.ndarray], np.ndarray]:
    torch = require("torch")
    from pyrnnfast.torch import to_torch

    made = to_torch(layer)
    turned = (lambda y: y.swapaxes(0, 1)) if layer.batch_first else (lambda y: y)
    return lambda x: turned(made(turned(torch.from_numpy(x)))[0]).detach().numpy()


def onnx(layer: Any) -> Callable[[np.ndarray], np.ndarray]:
    require("onnx")
    runtime = require("onnxruntime")
    from pyrnnfast.onnx import InferenceSession, to_onnx

    model = to_onnx(layer)
    if layer.dtype == np.float64:  # ONNX Runtime has float32 only
        session = InferenceSession(model)
    else:
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    turned = (lambda y: y.swapaxes(0, 1)) if layer.batch_first else (lambda y: y)
    return lambda x: turned(session.run(["y"], {"x": np.ascontiguousarray(turned(x))})[0])


@pytest.mark.parametrize("kind, name", list(cases()), ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("library", [keras, pytorch, onnx], ids=CARRIED)
def test_an_argument_is_carried_over_or_refused(
    library: Callable[..., Any], kind: type[Any], name: str, request: pytest.FixtureRequest
) -> None:
    given = {name: OWN[kind][name]} if name in OWN[kind] else GIVEN[name]
    layer = kind(C, H, **given, rng=0).eval()
    known = CARRIED[request.node.callspec.id.partition("-")[0]]
    if not known & {name, f"{kind.__name__} {name}"}:
        refuses(ValueError, lambda: library(layer))
        return
    x = np.random.default_rng(1).standard_normal((T, N, C)).astype(layer.dtype)
    y = layer(x.swapaxes(0, 1))[0].swapaxes(0, 1) if layer.batch_first else layer(x)[0]
    got = library(layer)(x)
    assert got.shape == y.shape
    # Keras rounds float64 to float32 on the way where it promotes types itself.
    eps = np.finfo(np.float32).eps
    assert np.abs(got - y).max() <= 8 * eps * math.sqrt(C + H) * T
