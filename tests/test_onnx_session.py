"""Whole models: the graph cut around its recurrent nodes, the rest on ONNX Runtime, and broken files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refuses, require
from onnx_models import (
    DIRECTIONS,
    C,
    H,
    N,
    T,
    X,
    agree,
    make_model,
    node,
    recurrent,
    residual_model,
    runtime,
    table,
    weights,
)

from pyrnnfast import GRU, LSTM, get_num_threads
from pyrnnfast.onnx import Backend, InferenceSession, to_onnx
from pyrnnfast.onnx.cut import cut
from pyrnnfast.onnx.graph import Graph
from pyrnnfast.onnx.loading import load
from pyrnnfast.onnx.nodes import is_recurrent, read

onnx = require("onnx")
onnxruntime = require("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def parts(model: Any) -> int:
    """How many calls of ONNX Runtime a run takes."""
    graph = Graph(load(model))
    taken = {place: read(each) for place, each in enumerate(graph.nodes) if is_recurrent(each)}
    return sum(part.places[0] not in taken for part in cut(graph, taken))


def test_a_graph_is_cut_around_its_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    model = residual_model()
    session = InferenceSession(model)
    want = runtime(model, {"x": X})
    agree(session.run(None, {"x": X}), want)
    agree(session.run(["c", "z"], {"x": X}), [want[2], want[0]])
    assert table(session, capsys) == {"lstm0": ("pyrnnfast", ""), "gru1": ("pyrnnfast", "")}
    assert parts(model) == 3


def test_joins_between_layers_take_no_call() -> None:
    for bidirectional in (False, True):
        model = to_onnx(LSTM(C, H, 3, bidirectional=bidirectional, rng=0))
        assert parts(model) == 1  # of the states' Concat
        del model.graph.output[1:]
        assert parts(model) == 0
        agree(InferenceSession(model).run(None, {"x": X}), runtime(model, {"x": X}))


@pytest.mark.parametrize("also", ["Y_l0", "Y_l0_rows"])
def test_what_else_reads_an_output_gets_it(also: str) -> None:
    model = to_onnx(GRU(C, H, 2, bidirectional=True, rng=0))
    model.graph.node.append(node("Relu", [also], ["also"]))
    model.graph.output.append(helper.make_tensor_value_info("also", 1, None))
    agree(InferenceSession(model).run(None, {"x": X}), runtime(model, {"x": X}))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_other_reshapes_stay(direction: str) -> None:
    """They look like a join of the directions, and are none."""
    shape = {"shape": np.array([0, 0, -1], np.int64)}
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [2, 0, 1, 3]):
        nodes = [
            recurrent("LSTM", 0, "x", ["Y"], direction=direction),
            node("Transpose", ["Y"], ["t"], perm=perm),
            node("Reshape", ["t", "shape"], ["y"]),
        ]
        model = make_model(nodes, {"x": X}, shape | weights("LSTM", 0, C, direction), ["y"])
        agree(InferenceSession(model).run(None, {"x": X}), runtime(model, {"x": X}))
        assert parts(model) == (perm != [0, 2, 1, 3])
    nodes = [recurrent("LSTM", 0, "x", ["Y"], direction=direction), node("Reshape", ["Y", "shape"], ["y"])]
    model = make_model(nodes, {"x": X}, shape | weights("LSTM", 0, C, direction), ["y"])
    agree(InferenceSession(model).run(None, {"x": X}), runtime(model, {"x": X}))


def test_layout_1_is_joined_by_one_reshape() -> None:
    rows_first = X.swapaxes(0, 1)
    nodes = [recurrent("GRU", 0, "x", ["Y"], layout=1), node("Reshape", ["Y", "shape"], ["y"])]
    constants = {"shape": np.array([0, 0, -1], np.int64)} | weights("GRU", 0, C)
    model = make_model(nodes, {"x": rows_first}, constants, ["y"])
    plain = make_model([recurrent("GRU", 0, "x", ["Y"])], {"x": X}, weights("GRU", 0, C), ["Y"])
    (y,) = runtime(plain, {"x": X})
    agree(InferenceSession(model).run(None, {"x": rows_first}), [y[:, 0].swapaxes(0, 1)])
    assert parts(model) == 0


def test_weights_may_be_computed_from_constants(capsys: pytest.CaptureFixture[str]) -> None:
    """As exporters leave them: sliced, joined, with a dimension put before."""
    given = weights("GRU", 0, C)
    constants = {"W": given["W0"][0].T.copy(), "R": given["R0"][0], "first": np.array([0], np.int64)}
    nodes = [
        node("Transpose", ["W"], ["turned"], perm=[1, 0]),
        node("Unsqueeze", ["turned", "first"], ["W0"]),
        node("Unsqueeze", ["R", "first"], ["R0"]),
        node("Constant", [], ["B0"], value=numpy_helper.from_array(given["B0"])),
        recurrent("GRU", 0, "x", ["Y"]),
    ]
    model = make_model(nodes, {"x": X}, constants, ["Y"])
    session = InferenceSession(model)
    agree(session.run(None, {"x": X}), runtime(model, {"x": X}))
    assert table(session, capsys)["gru0"][0] == "pyrnnfast"
    assert parts(model) == 0


def test_weights_may_be_inputs_and_not_computed_from_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = weights("GRU", 0, C)
    feeds = {"x": X} | given
    model = make_model([recurrent("GRU", 0, "x", ["Y"])], feeds, {}, ["Y"])
    session = InferenceSession(model)
    assert table(session, capsys)["gru0"][0] == "pyrnnfast"
    for scale in (1, 2):
        feeds["W0"] = given["W0"] * np.float32(scale)
        agree(session.run(None, feeds), runtime(model, feeds))
    monkeypatch.setattr("pyrnnfast.onnx.layers.build", None)  # a layer would draw weights at each run
    agree(session.run(None, feeds), runtime(model, feeds))
    feeds["W0"] *= 0.5  # in place
    agree(session.run(None, feeds), runtime(model, feeds))
    feeds["V"] = feeds.pop("W0")
    nodes = [node("Tanh", ["V"], ["W0"]), recurrent("GRU", 0, "x", ["Y"])]
    model = make_model(nodes, feeds, {}, ["Y"])
    session = InferenceSession(model)
    agree(session.run(None, feeds), runtime(model, feeds))
    assert table(session, capsys) == {"gru0": ("ONNX Runtime", "its weights are computed from the inputs")}


@pytest.mark.parametrize("version", [3, 8])
def test_constants_that_are_inputs_too(version: int) -> None:
    """They may be given from IR version 4 on."""
    given = weights("GRU", 0, C) | {"h0": np.ones((1, N, H), np.float32)}
    cell = node("GRU", ["x", "W0", "R0", "B0", "", "h0"], ["Y"], hidden_size=H)
    model = make_model([cell], {"x": X} | given, given, ["Y"])
    model.ir_version = version
    session = InferenceSession(model)
    assert [argument.name for argument in session.get_inputs()] == ["x"]
    agree(session.run(None, {"x": X}), runtime(model, {"x": X}))
    if version == 8:
        feeds = {"x": X, "W0": given["W0"] * 2, "h0": given["h0"] * 0}
        agree(session.run(None, feeds), runtime(model, feeds))
    else:
        refuses(ValueError, lambda: session.run(None, {"x": X, "W0": given["W0"]}))


def test_one_zero_state_for_both_and_constant_lengths() -> None:
    constants = weights("LSTM", 0, C) | {
        "zero": np.full((1, N, H), 0.5, np.float32),
        "ends": np.array([T, 2, 1], np.int32),
    }
    cell = node("LSTM", ["x", "W0", "R0", "B0", "ends", "zero", "zero"], ["Y", "h", "c"], hidden_size=H)
    model = make_model([cell], {"x": X}, constants, ["Y", "h", "c"])
    agree(InferenceSession(model).run(None, {"x": X}), runtime(model, {"x": X}))


def body(outputs: list[str], nodes: list[Any]) -> Any:
    values = [helper.make_tensor_value_info(name, 1, None) for name in outputs]
    return helper.make_graph(nodes, "body", [], values)


def test_bodies_are_left_to_onnx_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    """And what they read from outside is there, also when our nodes make it."""
    inner = body(["inner"], [recurrent("LSTM", 1, "x", ["", "inner"])])
    other = body(["other"], [node("Add", ["h0", "h0"], ["other"])])
    nodes = [
        recurrent("LSTM", 0, "x", ["", "h0"]),
        node("If", ["which"], ["y"], then_branch=inner, else_branch=other, name="choice"),
    ]
    constants = weights("LSTM", 0, C) | weights("LSTM", 1, C)
    which = np.array(True)
    model = make_model(nodes, {"x": X, "which": which}, constants, ["y", "h0"])
    session = InferenceSession(model)
    for choice in (True, False):
        feeds = {"x": X, "which": np.array(choice)}
        agree(session.run(None, feeds), runtime(model, feeds))
    assert table(session, capsys) == {
        "lstm0": ("pyrnnfast", ""),
        "lstm1": ("ONNX Runtime", "inside the body of If 'choice'"),
    }


def test_functions_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["x", "W0", "R0", "B0"]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    inside = [recurrent("GRU", 0, "x", ["Y"])]
    function = helper.make_function("mine", "Cell", names, ["Y"], inside, opsets[:1])
    call = helper.make_node("Cell", names, ["Y"], domain="mine")
    model = make_model([call], {"x": X}, weights("GRU", 0, C), ["Y"])
    model.functions.append(function)
    model.opset_import.append(opsets[1])
    session = InferenceSession(model)
    agree(session.run(None, {"x": X}), runtime(model, {"x": X}))
    assert [runner for runner, _ in table(session, capsys).values()] == ["pyrnnfast"]


def test_models_without_recurrent_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model([node("Relu", ["x"], ["y"])], {"x": X}, {}, ["y"])
    session = InferenceSession(model)
    agree(session.run(None, {"x": X}), [np.maximum(X, 0)])
    session.explain()
    assert capsys.readouterr().out.splitlines()[-1] == "(no recurrent node)"


def test_outputs_that_no_node_makes() -> None:
    constants = weights("GRU", 0, C) | {"k": np.ones(2, np.float32)}
    model = make_model([recurrent("GRU", 0, "x", ["Y"])], {"x": X}, constants, ["Y", "k", "x"])
    _, k, x = InferenceSession(model).run(None, {"x": X})
    np.testing.assert_array_equal(k, [1, 1])
    np.testing.assert_array_equal(x, X)


def test_outputs_belong_to_the_caller() -> None:
    """What is written to them changes neither the model nor the feeds nor other outputs."""
    axes = {"axes": np.array([1], np.int64)}
    nodes = [recurrent("GRU", 0, "x", ["Y"]), node("Squeeze", ["Y", "axes"], ["y"])]
    constants = weights("GRU", 0, C) | {"k": np.ones(2, np.float32)} | axes
    session = InferenceSession(make_model(nodes, {"x": X}, constants, ["Y", "y", "k", "x"]))
    feed = X.copy()
    names = ["Y", "y", "k", "x", "Y", "k"]
    want = [array.copy() for array in session.run(names, {"x": X})]
    for place in range(len(names)):
        results = session.run(names, {"x": feed})
        results[place][...] = 7
        agree(results[:place] + results[place + 1 :], want[:place] + want[place + 1 :], 0)
    agree(session.run(names, {"x": feed}), want, 0)


def test_values_of_other_types_cross_parts() -> None:
    """Integers, booleans and a sequence, made before the node and read after it."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Greater", ["x", "x"], ["none"]),
        node("SequenceConstruct", ["x", "x"], ["both"]),
        recurrent("GRU", 0, "x", ["", "h"]),
        node("Shape", ["h"], ["size"]),
        node("Add", ["shape", "size"], ["sum"]),
        node("SequenceLength", ["both"], ["two"]),
        node("Add", ["sum", "two"], ["total"]),
        node("Cast", ["none"], ["zeros"], to=TensorProto.FLOAT),
        node("Shape", ["zeros"], ["again"]),
    ]
    outputs = {"total": TensorProto.INT64, "again": TensorProto.INT64}
    model = make_model(nodes, {"x": X}, weights("GRU", 0, C), outputs)
    agree(InferenceSession(model).run(None, {"x": X}), runtime(model, {"x": X}))


def test_old_operator_sets_and_half_types_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    half = {name: array.astype(np.float16) for name, array in weights("GRU", 0, C).items()}
    model = make_model([recurrent("GRU", 0, "x", ["Y"])], {"x": X.astype(np.float16)}, half, {"Y": 10})
    session = InferenceSession(model)
    assert table(session, capsys) == {"gru0": ("ONNX Runtime", "the kernels have no float16")}
    feeds = {"x": X.astype(np.float16)}
    agree(session.run(None, feeds), runtime(model, feeds), 0)
    nodes = [recurrent("GRU", 0, "x", ["Y"]), node("Squeeze", ["Y"], ["y"], axes=[1])]
    model = make_model(nodes, {"x": X}, weights("GRU", 0, C), ["y"], opset=7)
    session = InferenceSession(model)
    agree(session.run(None, {"x": X}), runtime(model, {"x": X}))
    assert table(session, capsys)["gru0"][0] == "pyrnnfast"
    assert parts(model) == 0


# --- The call


def test_files_bytes_and_options(tmp_path: Path) -> None:
    model = residual_model()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    want = runtime(model, {"x": X})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    before = get_num_threads()
    for source in (model, model.SerializeToString(), path, str(path)):
        session = InferenceSession(source, options, providers=["CPUExecutionProvider"])
        agree(session.run(None, {"x": X}, onnxruntime.RunOptions()), want)
    assert get_num_threads() == before
    with pytest.raises(FileNotFoundError):
        InferenceSession(tmp_path / "nothing.onnx")


def test_inputs_and_outputs_are_told_as_onnx_runtime_tells_them() -> None:
    model = to_onnx(LSTM(C, H, batch_first=True), state=True, lengths=True)
    ours, theirs = InferenceSession(model), onnxruntime.InferenceSession(model.SerializeToString())
    for mine, other in ((ours.get_inputs(), theirs.get_inputs()), (ours.get_outputs(), theirs.get_outputs())):
        assert [tuple(arg) for arg in mine] == [(arg.name, arg.type, arg.shape) for arg in other]


def test_bad_calls_are_refused() -> None:
    session = InferenceSession(residual_model())
    good = {"x": X}
    for error, names, feeds in (
        (ValueError, ["nothing"], good),
        (ValueError, None, {}),
        (ValueError, None, good | {"y": X}),
        (TypeError, None, [X]),
        (TypeError, None, {"x": X.astype(np.float64)}),
        (TypeError, None, {"x": X.tolist()}),
        (ValueError, None, {"x": X[:, :, 0]}),
        (ValueError, None, {"x": X[:, :2]}),
    ):
        refuses(error, lambda names=names, feeds=feeds: session.run(names, feeds))
    for bad in ("z", 5, [5], {"z"}):
        refuses(TypeError, lambda bad=bad: session.run(bad, good))
    refuses(TypeError, lambda: session.run(None, good, 5))
    refuses(TypeError, lambda: InferenceSession(residual_model(), "junk"))
    for providers in (5, "CPUExecutionProvider", [5], [("CPUExecutionProvider",)]):
        refuses(TypeError, lambda providers=providers: InferenceSession(residual_model(), None, providers))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 5000
    refuses(ValueError, lambda: InferenceSession(residual_model(), options))
    prepared = Backend.prepare(residual_model())
    refuses(ValueError, lambda: prepared.run([X, X]))
    agree(prepared.run(X), session.run(None, good), 0)
    agree(prepared.run({"x": X}), session.run(None, good), 0)


def test_python_on_the_page_runs_and_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "onnx.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(compile(block, "onnx.md", "exec"), names)
    assert repr(names["layer"]) == "LSTM(64, 128, num_layers=2, bidirectional=True)"
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert printed == re.findall(r"^```text\n(.*?)^```", page, re.M | re.S)[0].splitlines()
