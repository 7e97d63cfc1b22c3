"""Sparse initializers, which every reader sees as dense ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import refuses, require
from onnx_models import X, agree, draw, make_model, make_node, node, runtime, table

from pyrnnfast.onnx import InferenceSession, from_onnx

onnx = require("onnx")
require("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402


def sparse(name: str, values: Any, indices: Any, dims: Any) -> Any:
    kept = numpy_helper.from_array(np.asarray(values, np.float32), name)
    return helper.make_sparse_tensor(kept, numpy_helper.from_array(np.array(indices, np.int64)), dims)


def from_dense(name: str, array: np.ndarray, pairs: bool) -> Any:
    """Its numbers with their places, as [n] into the flat array or as [n, rank]."""
    places = np.argwhere(array) if pairs else np.flatnonzero(array)
    numbers = numpy_helper.from_array(array[array != 0], name)
    return helper.make_sparse_tensor(numbers, numpy_helper.from_array(places.astype(np.int64)), array.shape)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("name", ["X", "W", "R", "B", "P", "sequence_lens", "initial_h", "initial_c"])
def test_every_input_of_a_node_may_be_sparse(
    name: str, pairs: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays = draw("LSTM")
    arrays[name].reshape(-1)[::3] = 0
    fed = "initial_h" if name == "X" else "X"
    outputs = ["Y", "Y_h", "Y_c"]
    constants = {other: array for other, array in arrays.items() if other not in (fed, name)}
    cell = make_node("LSTM", arrays, outputs, hidden_size=7)
    model = make_model([cell], {fed: arrays[fed]}, constants, outputs)
    model.graph.sparse_initializer.append(from_dense(name, arrays[name], pairs))
    session = InferenceSession(model)
    agree(session.run(None, {fed: arrays[fed]}), runtime(model, {fed: arrays[fed]}))
    assert table(session, capsys) == {"cell": ("pyrnnfast", "")}


def test_layers_are_made_of_sparse_weights() -> None:
    arrays = draw("GRU")
    arrays["W"][arrays["W"] < 0] = 0
    cell = make_node("GRU", {"X": 0, "W": 0, "R": 0, "B": 0}, ["Y"], hidden_size=7)
    constants = {name: arrays[name] for name in ("R", "B")}
    model = make_model([cell], {"X": arrays["X"]}, constants, ["Y"])
    model.graph.sparse_initializer.append(from_dense("W", arrays["W"], False))
    (layer,) = from_onnx(model).values()
    agree([layer(arrays["X"])[0]], [runtime(model, {"X": arrays["X"]})[0][:, 0]])


def test_they_may_be_outputs_and_what_constants_are_computed_from() -> None:
    numbers = np.array([[0, 2], [0, 3]], np.float32)
    nodes = [
        node("Add", ["k", "k"], ["W"]),
        node("Relu", ["x"], ["y"]),
        node("Add", ["y", "k"], ["z"]),
    ]
    model = make_model(nodes, {"x": numbers}, {}, ["k", "W", "z"])
    model.graph.sparse_initializer.append(sparse("k", [2, 3], [1, 3], [2, 2]))
    agree(InferenceSession(model).run(None, {"x": numbers}), [numbers, 2 * numbers, 2 * numbers], 0)


@pytest.mark.parametrize(
    "values, indices, dims",
    [
        ([1], [4], [2, 2]),
        ([1], [-1], [2, 2]),
        ([1], [[0, 2]], [2, 2]),
        ([1], [[1, -1]], [2, 2]),
        ([1], [[0, 0, 0]], [2, 2]),
        ([1], [[[0]]], [2, 2]),
        ([1, 2], [3, 0], [2, 2]),
        ([1, 2], [1, 1], [2, 2]),
        ([1, 2], [1], [2, 2]),
        ([[1]], [1], [2, 2]),
        ([1], [0], [-2, -2]),
        ([1], [0], []),
        ([1], [0], [1] * 100),
        ([1], [0], [2**62, 5]),
    ],
)
def test_broken_ones_are_refused(values: Any, indices: Any, dims: Any) -> None:
    model = make_model([node("Relu", ["x"], ["y"])], {"x": X}, {}, ["y"])
    model.graph.sparse_initializer.append(sparse("k", values, indices, dims))
    refuses(ValueError, lambda: InferenceSession(model))
    refuses(ValueError, lambda: from_onnx(model))


def test_tensors_that_lie_about_their_size_or_type() -> None:
    for part, field, value in (
        ("indices", "raw_data", b"abc"),
        ("values", "raw_data", b"abc"),
        ("indices", "data_type", 1),
        ("values", "data_type", 0),
        ("values", "data_type", 999),
    ):
        model = make_model([node("Relu", ["x"], ["y"])], {"x": X}, {}, ["y"])
        tensor = sparse("k", [1], [1], [2, 2])
        setattr(getattr(tensor, part), field, value)
        model.graph.sparse_initializer.append(tensor)
        refuses(ValueError, lambda model=model: InferenceSession(model))


def test_together_they_must_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a few bytes stand for is refused before there is room made for it."""
    monkeypatch.setattr("pyrnnfast.validation.MEMORY", 10_000_000)
    model = make_model([node("Relu", ["x"], ["y"])], {"x": X}, {}, ["y"])
    for name in ("a", "b"):
        InferenceSession(model)
        model.graph.sparse_initializer.append(sparse(name, [1], [1], [500, 1000]))
    with pytest.raises(ValueError, match=r"'b', made dense, must fit this machine's memory .*got "):
        InferenceSession(model)
