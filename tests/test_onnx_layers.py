"""Layers written as ONNX models, which ONNX Runtime runs, and read back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import refuses, require
from onnx_models import (
    DIRECTIONS,
    OPERATORS,
    WEIGHTS,
    agree,
    draw,
    make_model,
    make_node,
    node_model,
    runtime,
)

import pyrnnfast
from pyrnnfast import GRU, LSTM, RNN
from pyrnnfast.models import LanguageModel
from pyrnnfast.onnx import InferenceSession, from_onnx, to_onnx
from pyrnnfast.text import Vocabulary

onnx = require("onnx")

LAYERS = {
    "tanh": (RNN, {}),
    "relu": (RNN, {"nonlinearity": "relu"}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "gru_reset_before": (GRU, {"reset_after": False}),
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"bidirectional": True},
    {"num_layers": 2},
    {"num_layers": 3, "bidirectional": True, "batch_first": True},
    {"batch_first": True},
]
T, N, C, H = 5, 3, 4, 7


def parts(state: Any) -> list[np.ndarray]:
    return list(state) if isinstance(state, tuple) else [state]


def inputs(layer: Any, lengths: bool, state: bool) -> tuple[dict[str, np.ndarray], Any, Any]:
    """Feeds of an exported model, and state and lengths for the layer itself."""
    random = np.random.default_rng(1)
    x = random.normal(size=(N, T, C) if layer.batch_first else (T, N, C)).astype(layer.dtype)
    feeds, ends, begin = {"x": x}, None, None
    if lengths:
        ends = feeds["lengths"] = np.array([T, 2, 0], np.int32)
    if state:
        shape = (layer.num_layers * layer.num_directions, N, H)
        begin = [random.normal(size=shape).astype(layer.dtype) for _ in range(1 + (layer.cell == "lstm"))]
        feeds |= dict(zip(("h0", "c0"), begin, strict=False))
        begin = tuple(begin) if layer.cell == "lstm" else begin[0]
    return feeds, begin, ends


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", LAYERS)
def test_exported_layers_compute_the_same_and_come_back(cell: str, options: dict[str, Any]) -> None:
    kind, own = LAYERS[cell]
    layer = kind(C, H, **own, **options, rng=0).eval()
    for lengths, state in ((False, False), (True, True)):
        model = to_onnx(layer, lengths=lengths, state=state)
        onnx.checker.check_model(model, full_check=True)
        feeds, begin, ends = inputs(layer, lengths, state)
        y, final = layer(feeds["x"], begin, ends)
        agree(runtime(model, feeds), [y, *parts(final)])
        agree(InferenceSession(model).run(None, feeds), [y, *parts(final)], 0)
        (back,) = from_onnx(model).values()
        assert repr(back) == repr(layer)
        assert type(back) is kind
        assert not back.training
        assert back.state_dict().keys() == layer.state_dict().keys()
        for name, value in layer.state_dict().items():
            np.testing.assert_array_equal(back.state_dict()[name], value)


def test_without_steps_a_layers_state_needs_the_lengths() -> None:
    layer = LSTM(C, H, 2, rng=0).eval()
    begin = [np.full((2, N, H), number, np.float32) for number in (1, 2)]
    feeds = dict(zip(("x", "h0", "c0"), [np.zeros((0, N, C), np.float32), *begin], strict=True))
    agree(parts(layer(feeds["x"], tuple(begin))[1]), begin, 0)
    session = InferenceSession(to_onnx(layer, state=True))
    agree(session.run(["h", "c"], feeds), [0 * part for part in begin], 0)
    session = InferenceSession(to_onnx(layer, state=True, lengths=True))
    agree(session.run(["h", "c"], feeds | {"lengths": np.zeros(N, np.int32)}), begin, 0)


@pytest.mark.parametrize(
    "kind, options",
    [
        (LSTM, {"peephole": True, "coupled": True, "clip": 0.5}),
        (LSTM, {"activations": ["hard_sigmoid", ("scaled_tanh", 0.5, 2.0), ("elu", 0.5)]}),
        (GRU, {"activations": [("hard_sigmoid", 0.25, 0.5), "softsign"], "clip": 2.0}),
        (GRU, {"activations": ["sigmoid", "tanh", "hard_sigmoid", "relu"], "reset_after": False}),
        (RNN, {"activations": ["relu", "tanh"], "clip": 0.25}),
        (RNN, {"nonlinearity": "relu", "clip": 0.25}),
    ],
    ids=str,
)
def test_options_come_back(kind: Any, options: dict[str, Any]) -> None:
    layer = kind(C, H, 2, bidirectional=True, **options, rng=0).eval()
    model = to_onnx(layer)
    feeds, _, _ = inputs(layer, False, False)
    y, final = layer(feeds["x"])
    agree(runtime(model, feeds), [y, *parts(final)])
    (back,) = from_onnx(model).values()
    assert repr(back) == repr(layer)
    assert back.state_dict().keys() == layer.state_dict().keys()
    agree([back(feeds["x"])[0]], [y], 0)


def test_float64_comes_back() -> None:
    layer = LSTM(C, H, 2, bidirectional=True, dtype=np.float64, rng=0).eval()
    model = to_onnx(layer)
    feeds, _, _ = inputs(layer, False, False)
    y, (h, c) = layer(feeds["x"])
    agree(InferenceSession(model).run(["y"], feeds), [y], 0)
    (back,) = from_onnx(model.SerializeToString()).values()
    assert back.dtype == np.float64
    agree(parts(back(feeds["x"])[1]), [h, c], 0)


def test_numbers_are_rounded_to_float32_and_never_to_0_or_infinity() -> None:
    third = float(str(np.float32(1 / 3)))  # as short as says the same float32
    layer = GRU(C, H, clip=1 / 3, activations=["sigmoid", ("elu", 1 / 3)], dtype=np.float64, rng=0)
    (back,) = from_onnx(to_onnx(layer)).values()
    assert back.options.clip == back.options.activations[0][1].alpha == third
    none = RNN(C, H, activations=[("affine", 0.0, 0.0)], rng=0)
    (back,) = from_onnx(to_onnx(none)).values()
    assert back.options == none.options
    for number in (1e-50, 1e300):
        for options in (
            {"clip": number},
            {"activations": [("leaky_relu", -number)]},
            {"activations": [("affine", 1.0, number)]},
        ):
            bad = RNN(C, H, **options, dtype=np.float64, rng=0)  # float32 layers refuse it themselves
            refuses(ValueError, lambda bad=bad: to_onnx(bad))


@pytest.mark.parametrize(
    "options",
    [{"input_dropout": 0.5}, {"recurrent_dropout": 0.5}, {"grad_clip": 1.0}, {"record_grad_norms": True}],
    ids=str,
)
def test_what_acts_in_training_only_is_not_written(options: dict[str, Any]) -> None:
    assert to_onnx(LSTM(C, H, **options, rng=0)) == to_onnx(LSTM(C, H, rng=0))


@pytest.mark.parametrize(
    "options",
    [
        {"layer_norm": True},
        {"zoneout": (0.5, 0.0)},
        {"proj_size": 2},
        {"cell_clip": 1.0},
        {"merge": "sum", "bidirectional": True},
        {"return_cells": True},
        {"proj_size": 2, "proj_clip": 1.0, "grad_clip": 1.0},
    ],
    ids=str,
)
def test_what_onnx_cannot_say_is_refused_by_name(options: dict[str, Any]) -> None:
    layer = LSTM(C, H, **options)
    with pytest.raises(ValueError, match="lacks, got ") as info:
        to_onnx(layer)
    named = str(info.value).partition("got ")[2].partition(":")[0].split(", ")
    assert named == [name for name in options if name not in ("bidirectional", "grad_clip")]


def test_a_repr_of_its_own_changes_nothing() -> None:
    class Named(LSTM):
        def extra_repr(self) -> str:
            return "name=mine"

    to_onnx(Named(C, H))
    with pytest.raises(ValueError, match="got layer_norm: "):
        to_onnx(Named(C, H, layer_norm=True))


def test_training_changes_nothing_in_the_file() -> None:
    layer = LSTM(C, H, 2, dropout=0.5, rng=0)
    assert to_onnx(layer) == to_onnx(layer.eval())


def test_only_recurrent_layers_are_written() -> None:
    for bad in (pyrnnfast.Linear(2, 3), pyrnnfast.LSTMCell(2, 3), None):
        refuses(TypeError, lambda bad=bad: to_onnx(bad))
    refuses(TypeError, lambda: to_onnx(RNN(2, 3), lengths=1))
    refuses(TypeError, lambda: to_onnx(RNN(2, 3), state=None))


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "rnn_relu", "gru_reset_before"])
def test_language_models(cell: str, tmp_path: Any) -> None:
    words = Vocabulary.from_text("the quick brown fox", unit="char")
    model = LanguageModel(words, cell=cell, embedding=5, hidden=H, layers=2, rng=0).eval()
    ids = np.random.default_rng(0).integers(len(words), size=(T, N), dtype=np.int64)
    logits, state = model(ids)
    agree(runtime(model.to_onnx(state=False), {"ids": ids}), [logits, *parts(state)])
    again, final = model(ids, state)
    onnx.save(model.to_onnx(), tmp_path / "model.onnx")
    feeds = {"ids": ids} | dict(zip(("h0", "c0"), parts(state), strict=False))
    session = InferenceSession(tmp_path / "model.onnx")
    agree(session.run(None, feeds), [again, *parts(final)])
    agree(runtime(model.to_onnx(), feeds), [again, *parts(final)])
    assert [argument.name for argument in session.get_inputs()] == list(feeds)
    refuses(TypeError, lambda: model.to_onnx(state=1))


# --- From nodes


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_node_gives_a_layer(op: str, direction: str) -> None:
    arrays = draw(op, direction=direction)
    model, feeds = node_model(op, arrays, direction=direction)
    weights = {name: arrays[name] for name in WEIGHTS if name in arrays}
    layer = from_onnx(model.graph.node[0], weights)
    state = tuple(feeds[name] for name in ("initial_h", "initial_c") if name in feeds)
    y, final = layer(feeds["X"], state if op == "LSTM" else state[0], feeds["sequence_lens"])
    want = runtime(model, feeds)
    agree([y], [want[0].transpose(0, 2, 1, 3).reshape(y.shape)])
    full = (
        feeds["sequence_lens"] > 0
    )  # a row of no steps keeps its state in a layer, and is zero in ONNX Runtime
    agree([part[:, full] for part in parts(final)], [part[:, full] for part in want[1:]])
    (same,) = from_onnx(model).values()
    assert repr(same) == repr(layer)


def test_what_no_layer_can_be_is_refused() -> None:
    arrays = draw("LSTM")
    weights = {name: arrays[name] for name in WEIGHTS}
    node = make_node("LSTM", arrays, hidden_size=7)
    for broken in (
        weights | {"W": arrays["W"][:, 1:]},
        {"W": arrays["W"], "R": arrays["R"]},
        {},
        {1: 2, "W": 3},
    ):
        refuses(ValueError, lambda broken=broken: from_onnx(node, broken))
    refuses(TypeError, lambda: from_onnx(node))
    refuses(TypeError, lambda: from_onnx(node, weights | {"W": [1.0]}))
    refuses(TypeError, lambda: from_onnx(node_model("LSTM", arrays)[0], weights))
    refuses(TypeError, lambda: from_onnx(3))
    reverse, _ = node_model("LSTM", draw("LSTM", direction="reverse"), direction="reverse")
    refuses(ValueError, lambda: from_onnx(reverse))
    relu = onnx.helper.make_node("Relu", ["x"], ["y"])
    refuses(ValueError, lambda: from_onnx(relu, {}))
    refuses(ValueError, lambda: from_onnx(make_model([relu], {"x": arrays["X"]}, {}, {"y": 1})))
    refuses(
        ValueError, lambda: from_onnx(make_model([node], arrays, {}, {"Y": 1}))
    )  # weights that are inputs
    old, _ = node_model("GRU", draw("GRU"))
    old.opset_import[0].version = 3
    refuses(ValueError, lambda: from_onnx(old))


@pytest.mark.parametrize("layout", [0, 1])
def test_constants_that_a_layer_would_lose_are_refused(layout: int) -> None:
    drawn = draw("LSTM", layout=layout)
    steps, zeros = np.full(3, 5, np.int32), np.zeros_like(drawn["initial_h"])

    def made(given: dict[str, np.ndarray], free: bool = False) -> Any:
        constants = {name: drawn[name] for name in ("W", "R", "B")} | given
        cell = make_node("LSTM", {"X": 0, **constants}, ["Y"], hidden_size=7, layout=layout)
        model = make_model([cell], {"X": drawn["X"]}, constants, ["Y"])
        if free:
            model.graph.input[0].type.tensor_type.shape.dim[layout].dim_param = "T"
        return model

    fine = {"initial_h": zeros, "initial_c": -zeros, "sequence_lens": steps}
    (layer,) = from_onnx(made(fine)).values()
    y, _ = layer(drawn["X"])
    (want,) = InferenceSession(made(fine)).run(None, {"X": drawn["X"]})
    agree([y], [want.reshape(y.shape)], 0)
    for name, value, free in (
        ("initial_h", drawn["initial_h"], False),
        ("initial_c", drawn["initial_c"], False),
        ("sequence_lens", np.array([5, 5, 4], np.int32), False),
        ("sequence_lens", steps - 1, False),
        ("sequence_lens", steps, True),
    ):
        with pytest.raises(ValueError, match=rf"constant {name} must .* for a layer, .*got "):
            from_onnx(made(fine | {name: value}, free))


def test_constant_lengths_of_computed_steps() -> None:
    """A stack, after a Transpose: T is known from the shapes that follow."""
    layer = GRU(C, H, 2, batch_first=True, bidirectional=True, rng=0)
    model = to_onnx(layer, lengths=True)
    model.graph.input.pop(1)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (N, T, C), strict=True):
        dim.dim_value = size
    for length, found in ((T, [repr(layer.eval())]), (N, None)):
        lengths = onnx.numpy_helper.from_array(np.full(N, length, np.int32), "lengths")
        model.graph.initializer.append(lengths)
        if found:
            assert [repr(back) for back in from_onnx(model).values()] == found
        else:
            refuses(ValueError, lambda: from_onnx(model))
        model.graph.initializer.pop()


def test_nodes_of_one_name_are_layers_of_their_own() -> None:
    model = to_onnx(GRU(C, H, 3, rng=0))
    for name in ("y_l0", "y_l1"):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, [None, None, None]))
    cells = [node for node in model.graph.node if node.op_type == "GRU"]
    for names, keys in (
        (["cell"] * 3, ["cell", "cell_2", "cell_3"]),
        (["cell", "cell", "cell_2"], ["cell", "cell_2", "cell_2_2"]),
        (["Y_l1", "", ""], ["Y_l1", "Y_l1_2", "Y_l2"]),
    ):
        for cell, name in zip(cells, names, strict=True):
            cell.name = name
        assert list(from_onnx(model)) == keys


@pytest.mark.parametrize("direction", DIRECTIONS[::2])
def test_nodes_with_another_reader_between_are_layers_of_their_own(direction: str) -> None:
    layer = GRU(C, H, 2, bidirectional=direction != "forward", rng=0)
    model = to_onnx(layer)
    model.graph.output.append(onnx.helper.make_tensor_value_info("y_l0", 1, [None, None, None]))
    below, above = from_onnx(model).values()
    assert (below.num_layers, above.num_layers) == (1, 1)
    np.testing.assert_array_equal(above.weight_hh_l0, layer.weight_hh_l1)
    feeds = {"x": np.ones((T, N, C), np.float32)}
    agree(InferenceSession(model).run(None, feeds), runtime(model, feeds))
