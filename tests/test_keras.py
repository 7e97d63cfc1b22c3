"""Layers from Keras and back, against Keras 3 itself on random inputs."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import python, refuses, require

from pyrnnfast import GRU, LSTM, RNN, Linear

keras = require("keras")

from pyrnnfast.keras import from_keras, to_keras  # noqa: E402
from pyrnnfast.keras.activations import FUNCTIONS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
T, N, C, H = 6, 3, 4, 7
LAYERS = {
    "tanh": (RNN, {}),
    "relu": (RNN, {"nonlinearity": "relu"}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "gru_reset_before": (GRU, {"reset_after": False}),
}
KERAS = {
    "tanh": (keras.layers.SimpleRNN, {}),
    "relu": (keras.layers.SimpleRNN, {"activation": "relu"}),
    "lstm": (keras.layers.LSTM, {}),
    "gru": (keras.layers.GRU, {}),
    "gru_reset_before": (keras.layers.GRU, {"reset_after": False}),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"bidirectional": True},
    {"num_layers": 2, "dropout": 0.25},
    {"num_layers": 3, "bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "merge": "mean"},
    {"num_layers": 2, "bidirectional": True, "input_dropout": 0.2, "recurrent_dropout": 0.3},
]


def drawn(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(7).normal(size=shape).astype(dtype)


def tensor(array: np.ndarray) -> Any:
    """As Keras's own: NumPy's float64 it would round to float32."""
    return keras.ops.convert_to_tensor(array, dtype=array.dtype.name)


def numbers(value: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(value)


def filled(layer: Any) -> Any:
    """The layer with random weights, biases too."""
    layer.build((None, None, C))
    random = np.random.default_rng(3)
    layer.set_weights([random.normal(0, 0.5, weight.shape) for weight in layer.get_weights()])
    return layer


NATIVE = ("lstm", "gru")
"""What Keras gives to PyTorch's own kernels. Elsewhere its rules of promotion round float64 to float32."""


def agree(got: Any, want: Any, rounded: bool = False) -> None:
    """Equal but for the rounding of sums of C + H numbers over T steps; rounded: to float32."""
    got, want = np.asarray(got), numbers(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    eps = np.finfo(np.float32 if rounded else want.dtype).eps
    allowed = 8 * eps * math.sqrt(C + H) * T * max(1.0, np.abs(want).max())
    assert np.abs(got - want).max() <= allowed


def parts(state: Any) -> list[np.ndarray]:
    """h, and of the LSTM c, of each direction, as Keras gives them."""
    h, *c = state if isinstance(state, tuple) else (state,)
    return [part[direction] for direction in range(len(h)) for part in (h, *c)]


def states(kind: Any, directions: int, dtype: str = "float32") -> tuple[Any, list[np.ndarray]]:
    """An initial state for us and for Keras."""
    h, c = drawn(2, directions, N, H, dtype=dtype)
    state = (h, c) if kind is LSTM else h
    return state, parts(state)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", KERAS)
def test_a_layer_from_keras(cell: str, bidirectional: bool, use_bias: bool, dtype: str) -> None:
    kind, own = KERAS[cell]
    options = {"use_bias": use_bias, "dtype": dtype, "return_sequences": True, "return_state": True}
    theirs = kind(H, **own, **options)
    if bidirectional:
        theirs = keras.layers.Bidirectional(theirs, dtype=dtype)
    ours = from_keras(filled(theirs))
    assert (type(ours), ours.batch_first, ours.training, ours.options) == (LAYERS[cell][0], True, False, None)
    state, initial = states(type(ours), 1 + bidirectional, dtype)
    x = drawn(N, T, C, dtype=dtype)
    y, final = ours(x, state)
    want, *ends = theirs(tensor(x), initial_state=[tensor(part) for part in initial])
    for got, end in zip([y, *parts(final)], [want, *ends], strict=True):
        agree(got, end, cell not in NATIVE)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", LAYERS)
def test_a_layer_goes_to_keras_and_comes_back(cell: str, options: dict[str, Any]) -> None:
    kind, own = LAYERS[cell]
    layer = kind(C, H, **own, **options, batch_first=True, rng=0).eval()
    made = to_keras(layer)
    x = drawn(N, T, C)
    y, final = layer(x)
    agree(y, made(x))
    last = to_keras(layer, return_sequences=False)(x)
    h = (final[0] if kind is LSTM else final)[-layer.num_directions :]
    agree(h.mean(axis=0) if "merge" in options else np.concatenate(h, axis=-1), last)
    back = from_keras(made)
    assert repr(back) == repr(layer)
    assert back.state_dict().keys() == layer.state_dict().keys()
    again = back(x)[0]
    np.testing.assert_array_equal(again, y)
    if options.get("dropout"):
        assert [type(part).__name__ for part in made.layers][1] == "Dropout"
        assert np.abs(numbers(made(x, training=True)) - y).max() > 0.01


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", LAYERS)
def test_keras_takes_and_gives_states(cell: str, bidirectional: bool) -> None:
    kind, own = LAYERS[cell]
    layer = kind(C, H, **own, bidirectional=bidirectional, batch_first=True, dtype="float64", rng=0)
    made = to_keras(layer, return_state=True)
    state, initial = states(kind, 1 + bidirectional, "float64")
    x = drawn(N, T, C, dtype="float64")
    y, final = layer(x, state)
    want, *ends = made(tensor(x), initial_state=[tensor(part) for part in initial])
    for got, end in zip([y, *parts(final)], [want, *ends], strict=True):
        agree(got, end, cell not in NATIVE)


@pytest.mark.parametrize("cell", LAYERS)
def test_a_layer_that_goes_backwards_is_called_on_reversed_steps(cell: str) -> None:
    kind, own = KERAS[cell]
    theirs = filled(kind(H, **own, go_backwards=True, return_sequences=True))
    refuses(ValueError, lambda: from_keras(theirs))
    ours, x = from_keras(theirs, go_backwards=True), drawn(N, T, C)
    y, _ = ours(x[:, ::-1])
    agree(y, theirs(x))
    agree(y, to_keras(ours, go_backwards=True)(x))
    refuses(ValueError, lambda: from_keras(to_keras(ours), go_backwards=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_go_and_come_back(name: str) -> None:
    x = drawn(N, T, C) / 4
    for kind in ("tanh", "lstm", "gru_reset_before"):
        cls, own = KERAS[kind]
        functions = {"activation": name} | ({"recurrent_activation": name} if kind != "tanh" else {})
        theirs = filled(cls(H, **own | functions, return_sequences=True))
        theirs.set_weights([value / 4 for value in theirs.get_weights()])  # lest what is unbounded grows
        ours = from_keras(theirs)
        agree(ours(x)[0], theirs(x))
        agree(ours(x)[0], to_keras(ours)(x))


def test_activations_with_an_alpha_of_their_own() -> None:
    x = drawn(N, T, C)
    for layer in (keras.layers.ELU(0.5), keras.layers.LeakyReLU(negative_slope=0.4)):
        theirs = filled(keras.layers.GRU(H, activation=layer, return_sequences=True))
        ours = from_keras(theirs)
        agree(ours(x)[0], theirs(x))
        agree(ours(x)[0], to_keras(ours)(x))
    both = LSTM(C, H, bidirectional=True, activations=["sigmoid", *["tanh"] * 3, *[("elu", 0.5)] * 2], rng=0)
    agree(both(x.swapaxes(0, 1))[0].swapaxes(0, 1), to_keras(both)(x))
    assert from_keras(to_keras(both)).options == both.options


@pytest.mark.parametrize("cell", LAYERS)
def test_lengths_are_a_mask_of_keras(cell: str) -> None:
    kind, own = KERAS[cell]
    theirs = keras.layers.Bidirectional(kind(H, **own, return_sequences=True, return_state=True))
    ours, x = from_keras(filled(theirs)), drawn(N, T, C)
    lengths = np.array([T, 1, 3])
    y, final = ours(x, lengths=lengths)
    want, *ends = theirs(x, mask=np.arange(T) < lengths[:, None])
    agree(y, want)
    for got, end in zip(parts(final), ends, strict=True):
        agree(got, end)


@pytest.mark.parametrize("cell", LAYERS)
def test_past_the_end_one_direction_of_keras_repeats_and_ours_is_zero(cell: str) -> None:
    kind, own = KERAS[cell]
    theirs = filled(kind(H, **own, return_sequences=True))
    ours, x = from_keras(theirs), drawn(N, T, C)
    lengths = np.array([T, 1, 3])
    y, _ = ours(x, lengths=lengths)
    want = numbers(theirs(x, mask=np.arange(T) < lengths[:, None]))
    for n, end in enumerate(lengths):
        agree(y[n, :end], want[n, :end])
        np.testing.assert_array_equal(y[n, end:], 0)
        np.testing.assert_array_equal(want[n, end:], np.broadcast_to(want[n, end - 1], (T - end, H)))


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("cell", LAYERS)
def test_merged_directions(cell: str, mode: str) -> None:
    kind, own = KERAS[cell]
    theirs = filled(keras.layers.Bidirectional(kind(H, **own, return_sequences=True), merge_mode=mode))
    ours, x = from_keras(theirs), drawn(N, T, C)
    agree(ours(x)[0], theirs(x))
    lengths = np.array([T, 1, 3])
    agree(ours(x, lengths=lengths)[0], theirs(x, mask=np.arange(T) < lengths[:, None]))
    again = to_keras(ours)
    assert again.merge_mode == mode
    agree(ours(x)[0], again(x))
    sequence = to_keras(GRU(C, H, 2, bidirectional=True, merge=ours.merge))
    assert {layer.merge_mode for layer in sequence.layers} == {mode}


def test_a_layer_of_a_cell_is_read_too() -> None:
    theirs = filled(keras.layers.RNN(keras.layers.LSTMCell(H), return_sequences=True))
    x = drawn(N, T, C)
    agree(from_keras(theirs)(x)[0], theirs(x))


def test_a_model_of_keras_that_was_saved_is_read(tmp_path: Any) -> None:
    layer = GRU(C, H, 2, bidirectional=True, batch_first=True, dropout=0.5, rng=0)
    to_keras(layer).save(tmp_path / "model.keras")
    back = from_keras(keras.saving.load_model(tmp_path / "model.keras"))
    np.testing.assert_array_equal(back(drawn(N, T, C))[0], layer.eval()(drawn(N, T, C))[0])


def own(kind: type) -> Any:
    """A subclass, which may compute anything."""
    return type("Own", (kind,), {})


def two(first: Any, second: Any, **options: Any) -> Any:
    return filled(keras.layers.Bidirectional(first, backward_layer=second, **options))


@pytest.mark.parametrize(
    "error, make",
    [
        (TypeError, lambda: 3),
        (TypeError, lambda: LSTM(C, H)),
        (TypeError, lambda: keras.layers.LSTMCell(H)),
        (TypeError, lambda: own(keras.layers.LSTM)(H)),
        (TypeError, lambda: filled(own(keras.layers.Bidirectional)(keras.layers.LSTM(H)))),
        (TypeError, lambda: filled(own(keras.Sequential)([keras.layers.LSTM(H)]))),
        (TypeError, lambda: keras.Sequential([keras.Input((None, C)), keras.layers.Dense(3)])),
        (ValueError, lambda: keras.layers.RNN(own(keras.layers.LSTMCell)(H))),
        (ValueError, lambda: keras.layers.RNN([keras.layers.LSTMCell(H), keras.layers.LSTMCell(H)])),
        (ValueError, lambda: keras.Sequential()),
        (ValueError, lambda: keras.layers.LSTM(H)),  # no weights yet
        (ValueError, lambda: filled(keras.layers.GRU(H, activation="gelu"))),
        (ValueError, lambda: filled(keras.layers.GRU(H, recurrent_activation=lambda x: x))),
        (ValueError, lambda: filled(keras.layers.GRU(H, dtype="mixed_bfloat16"))),
        (ValueError, lambda: filled(keras.layers.GRU(H, dtype="float16", recurrent_initializer="zeros"))),
        (ValueError, lambda: filled(keras.layers.Bidirectional(keras.layers.GRU(H), merge_mode=None))),
        (ValueError, lambda: two(keras.layers.GRU(H, go_backwards=True), keras.layers.GRU(H))),
        (ValueError, lambda: two(keras.layers.GRU(H), keras.layers.GRU(H + 1, go_backwards=True))),
        (ValueError, lambda: two(keras.layers.GRU(H), keras.layers.LSTM(H, go_backwards=True))),
    ],
)
def test_what_no_layer_can_be_is_refused(error: type[Exception], make: Any) -> None:
    layer = make()
    refuses(error, lambda: from_keras(layer))


def sequence(*layers: Any) -> Any:
    return keras.Sequential([keras.Input((None, C)), *layers])


def gru(units: int = H, **options: Any) -> Any:
    return keras.layers.GRU(units, return_sequences=True, **options)


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [gru(), gru(H + 1)],
        lambda: [gru(), gru(reset_after=False)],
        lambda: [gru(), gru(dropout=0.1)],
        lambda: [gru(recurrent_dropout=0.2), gru(recurrent_dropout=0.1)],
        lambda: [gru(), keras.layers.Dropout(0.5), gru(), gru()],
        lambda: [gru(), keras.layers.Dropout(0.5), keras.layers.Dropout(0.5), gru()],
        lambda: [keras.layers.Dropout(0.5), gru()],
        lambda: [gru(), keras.layers.Dropout(0.5)],
        lambda: [gru(), keras.layers.Dropout(0.5, noise_shape=(None, 1, None)), gru()],
        lambda: [gru(), gru(go_backwards=True)],
    ],
)
def test_a_sequence_of_layers_that_is_no_stack_is_refused(layers: Any) -> None:
    model = sequence(*layers())
    with pytest.raises((TypeError, ValueError), match=r"must .*got "):
        from_keras(model)


@pytest.mark.parametrize(
    "error, layer, options",
    [
        (TypeError, lambda: 3, {}),
        (TypeError, lambda: Linear(3, 4), {}),
        (TypeError, lambda: GRU(C, H), {"return_sequences": 1}),
        (ValueError, lambda: LSTM(C, H, peephole=True), {}),
        (ValueError, lambda: LSTM(C, H, coupled=True), {}),
        (ValueError, lambda: GRU(C, H, clip=1.0), {}),
        (ValueError, lambda: GRU(C, H, zoneout=0.1), {}),
        (ValueError, lambda: LSTM(C, H, grad_clip=1.0), {}),
        (ValueError, lambda: GRU(C, H, activations=["hard_sigmoid", "tanh"]), {}),  # ONNX's, not Keras's
        (ValueError, lambda: LSTM(C, H, activations=["sigmoid", "tanh", "relu"]), {}),
        (ValueError, lambda: GRU(C, H, 2), {"return_state": True}),
        (ValueError, lambda: GRU(C, H, 2), {"go_backwards": True}),
        (ValueError, lambda: GRU(C, H, bidirectional=True), {"go_backwards": True}),
    ],
)
def test_what_keras_has_not_is_refused(error: type[Exception], layer: Any, options: dict[str, Any]) -> None:
    refuses(error, lambda: to_keras(layer(), **options))


def test_without_keras_it_says_what_to_install() -> None:
    result = python("import sys; sys.modules['keras'] = None; import pyrnnfast.keras")
    assert "pip install 'pyrnnfast[keras]'" in result.stderr.splitlines()[-1]


def test_python_on_the_page_runs() -> None:
    require("torch")
    page = (Path(__file__).resolve().parent.parent / "docs" / "weights.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(compile(block, "weights.md", "exec"), names)
    agree(names["y"], names["theirs"](names["x"]))
    agree(names["y"], names["again"](names["x"]))
