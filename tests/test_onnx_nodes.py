"""RNN, GRU and LSTM nodes on the kernels: ONNX's own cases, and what those leave out against ONNX Runtime."""

from __future__ import annotations

import unittest
from typing import Any

import numpy as np
import pytest
from conftest import AWKWARD, python, refuses, require
from onnx_models import DIRECTIONS, OPERATORS, WEIGHTS, agree, draw, make_node, node_model, runtime, table

from pyrnnfast import reference
from pyrnnfast.onnx import Backend, InferenceSession, nodes, weights

require("onnx")


def kernels(model: Any, feeds: Any, capsys: Any = None) -> list[np.ndarray]:
    """Run it, where the kernels can run every node."""
    session = InferenceSession(model)
    if capsys is not None:
        assert all(runner == "pyrnnfast" for runner, _ in table(session, capsys).values())
    return session.run(None, feeds)


def without(arrays: Any, *names: str) -> Any:
    return {name: array for name, array in arrays.items() if name not in names}


# --- ONNX's own cases


@pytest.mark.filterwarnings("ignore")  # of onnx, when it computes the cases of other operators
def test_all_of_onnx_own_cases_pass() -> None:
    from onnx.backend.test import BackendTest

    result = unittest.TestResult()
    BackendTest(Backend).include(r"^test_(simple_rnn|rnn|gru|lstm)_\w+_cpu$").test_suite.run(result)
    assert result.testsRun - len(result.skipped) == 18
    assert result.failures + result.errors == []


# --- Against ONNX Runtime


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", OPERATORS)
def test_lengths_states_and_biases(op: str, direction: str, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = draw(op, direction=direction, rows=6)
    states = [["initial_h"], ["initial_c"], ["initial_h", "initial_c"]]
    for left_out in ([], ["P"], ["B"], ["sequence_lens"], *states):
        model, feeds = node_model(op, without(arrays, *left_out), direction=direction)
        agree(kernels(model, feeds, capsys), runtime(model, feeds))


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("size", AWKWARD)
def test_awkward_sizes(op: str, size: int) -> None:
    sizes = {"rows": size, "inputs": AWKWARD[-1] + 1 - size, "hidden": size}
    arrays = draw(op, direction="bidirectional", **sizes)
    model, feeds = node_model(op, arrays, direction="bidirectional")
    agree(kernels(model, feeds), runtime(model, feeds))


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_linear_before_reset(after: int, direction: str) -> None:
    model, feeds = node_model(
        "GRU", draw("GRU", direction=direction), direction=direction, linear_before_reset=after
    )
    agree(kernels(model, feeds), runtime(model, feeds))


@pytest.mark.parametrize("op", OPERATORS)
def test_outputs_may_be_missing(op: str) -> None:
    arrays = draw(op)
    for outputs in (
        ["Y"],
        ["", "Y_h"],
        ["Y", "Y_h"],
        *([["", "", "Y_c"], ["Y", "", "Y_c"]] if op == "LSTM" else []),
    ):
        model, feeds = node_model(op, arrays, outputs)
        agree(kernels(model, feeds), runtime(model, feeds))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", OPERATORS)
def test_layout_1_is_layout_0_with_rows_first(op: str, direction: str) -> None:
    arrays = draw(op, direction=direction)
    steps_first, feeds = node_model(op, arrays, direction=direction)
    turn = {
        name: array.swapaxes(0, 1)
        for name, array in arrays.items()
        if name in ("X", "initial_h", "initial_c")
    }
    rows_first, turned = node_model(op, arrays | turn, direction=direction, layout=1)
    y, *states = kernels(steps_first, feeds)
    got, *finals = kernels(rows_first, turned)
    np.testing.assert_array_equal(got, y.transpose(2, 0, 1, 3))
    for final, state in zip(finals, states, strict=True):
        np.testing.assert_array_equal(final, state.swapaxes(0, 1))


@pytest.mark.parametrize("op", OPERATORS)
def test_float64_is_the_reference(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime has no float64: its float32 is near, and the reference to the last digits."""
    arrays = draw(op, direction="bidirectional", dtype=np.float64)
    model, feeds = node_model(op, arrays, direction="bidirectional")
    got = kernels(model, feeds)
    single = {name: a.astype(np.float32) if a.dtype == np.float64 else a for name, a in arrays.items()}
    near = runtime(*node_model(op, single, direction="bidirectional"))
    agree([array.astype(np.float32) for array in got], near)
    monkeypatch.setattr("pyrnnfast._backend.current", lambda: reference)
    agree(got, kernels(model, feeds), 1e-13)
    assert all(array.dtype == np.float64 for array in got)


def test_relu_and_names_of_any_case() -> None:
    relu, feeds = node_model("RNN", draw("RNN"), activations=["Relu"])
    agree(kernels(relu, feeds), runtime(relu, feeds))
    small, _ = node_model("RNN", draw("RNN"), activations=["relu"])
    agree(kernels(small, feeds), kernels(relu, feeds), 0)
    mixed, feeds = node_model("GRU", draw("GRU"), activations=["sigmoid", "TANH"])
    agree(kernels(mixed, feeds), runtime(mixed, feeds))


@pytest.mark.parametrize("steps, rows", [(0, 3), (4, 0), (0, 0)])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_nothing_to_do(steps: int, rows: int, direction: str) -> None:
    arrays = draw("LSTM", steps=steps, rows=rows, direction=direction)
    arrays["sequence_lens"] = np.full(rows, steps, np.int32)
    D = 2 if direction == "bidirectional" else 1
    y, h, c = kernels(*node_model("LSTM", arrays, direction=direction))
    assert y.shape == (steps, D, rows, 7)
    assert h.shape == c.shape == (D, rows, 7)


def test_a_node_alone() -> None:
    arrays = draw("LSTM")
    node = make_node("LSTM", arrays, hidden_size=7)
    inputs = [arrays[name] for name in node.input]
    outputs = Backend.run_node(node, inputs)
    agree(outputs, runtime(*node_model("LSTM", arrays)))
    assert outputs.Y is outputs[0]
    agree(Backend.run_node(node, arrays), outputs, 0)
    refuses(ValueError, lambda: Backend.run_node(node, inputs[:-1]))
    refuses(ValueError, lambda: Backend.run_node(node, without(arrays, "X")))
    refuses(ValueError, lambda: Backend.prepare(node_model("LSTM", arrays)[0], "CUDA"))
    assert Backend.supports_device("CPU")
    assert not Backend.supports_device("CUDA")
    assert Backend.is_compatible(node_model("LSTM", arrays)[0])
    assert not Backend.is_compatible(b"nothing")
    assert not Backend.is_compatible("/nope")
    refuses(ValueError, lambda: Backend.run_node(node, {1: 2}))
    for bad in ("abcd", None, 5, ["a"] * len(inputs), dict.fromkeys(arrays, "a")):
        refuses(TypeError, lambda bad=bad: Backend.run_node(node, bad))


# --- What only some nodes have


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", OPERATORS)
def test_clip(op: str, direction: str, capsys: pytest.CaptureFixture[str]) -> None:
    plain, feeds = node_model(op, draw(op, direction=direction), direction=direction)
    model, _ = node_model(op, draw(op, direction=direction), direction=direction, clip=0.3)
    got = kernels(model, feeds, capsys)
    agree(got, runtime(model, feeds))
    assert np.abs(got[0] - kernels(plain, feeds)[0]).max() > 0.01


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_input_forget(direction: str, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = draw("LSTM", direction=direction)
    for left_out in ([], ["P"]):
        model, feeds = node_model("LSTM", without(arrays, *left_out), direction=direction, input_forget=1)
        agree(kernels(model, feeds, capsys), runtime(model, feeds))


NUMBERS = {"activation_alpha": [0.7, 0.4, 0.9], "activation_beta": [0.3, 0.6, 0.2]}


@pytest.mark.parametrize("numbers", [{}, NUMBERS, {"activation_alpha": [0.7]}], ids=["none", "all", "one"])
@pytest.mark.parametrize("name", nodes.ACTIVATIONS)
def test_every_activation(name: str, numbers: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for op, places in (("GRU", 2), ("LSTM", 3)):
        for place in range(places):
            asked = ["Sigmoid", "Tanh", "Tanh"][:places]
            asked[place] = name
            model, feeds = node_model(op, draw(op), activations=asked, **numbers)
            want = runtime(model, feeds)
            scale = max(1.0, *(float(np.abs(array).max()) for array in want))
            agree(kernels(model, feeds, capsys), want, 2e-6 * scale)


def test_numbers_go_to_the_activations_that_take_them() -> None:
    """In order, over both directions."""
    asked = ["LeakyRelu", "Tanh", "HardSigmoid", "Affine"]
    arrays = draw("GRU", direction="bidirectional")
    model, feeds = node_model(
        "GRU",
        arrays,
        direction="bidirectional",
        activations=asked,
        activation_alpha=[0.1, 0.3, 0.8],
        activation_beta=[0.4, 0.1],
    )
    agree(kernels(model, feeds), runtime(model, feeds))
    node = nodes.read(model.graph.node[0])
    assert [list(activation[1:]) for activation in node.activations] == [[0.1], [], [0.3, 0.4], [0.8, 0.1]]


@pytest.mark.parametrize("name", ["Relu", "Tanh", "Sigmoid", "Softplus", "Elu", "ScaledTanh"])
def test_activations_of_the_elman_network(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime has but three of them: the others against the reference."""
    numbers = {"activation_alpha": [0.5, 0.6], "activation_beta": [1.5, 1.1]}
    arrays = draw("RNN", direction="bidirectional", dtype=np.float64)
    model, feeds = node_model("RNN", arrays, direction="bidirectional", activations=[name, "Tanh"], **numbers)
    got = kernels(model, feeds, capsys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyrnnfast._backend.current", lambda: reference)
        agree(got, kernels(model, feeds), 1e-13)


# --- Weights


@pytest.mark.parametrize("op", OPERATORS)
def test_gates_come_back(op: str) -> None:
    given = {name: array for name, array in draw(op, direction="bidirectional").items() if name in WEIGHTS}
    parameters = weights.parameters(op, given, 3)
    assert all("_l3" in name for name in parameters)
    back = weights.operands(op, parameters, 3, 2)
    assert back.keys() == given.keys()
    for name, array in given.items():
        np.testing.assert_array_equal(back[name], array)


def test_peepholes_are_i_f_o() -> None:
    given = {name: array for name, array in draw("LSTM").items() if name in WEIGHTS}
    i, o, f = np.split(given["P"][0], 3)
    np.testing.assert_array_equal(weights.parameters("LSTM", given)["weight_peephole_l0"], [*i, *f, *o])


# --- Broken nodes


BROKEN = {
    "W of rank 2": ({"W": np.zeros((28, 4), np.float32)}, {}),
    "W of other gates": ({"W": np.zeros((1, 27, 4), np.float32)}, {}),
    "W without inputs": ({"W": np.zeros((1, 28, 0), np.float32)}, {}),
    "R of rank 0": ({"R": np.zeros((), np.float32)}, {}),
    "R of other hidden units": ({"R": np.zeros((1, 28, 8), np.float32)}, {}),
    "R of two directions": ({"R": np.zeros((2, 28, 7), np.float32)}, {}),
    "B of half the size": ({"B": np.zeros((1, 28), np.float32)}, {}),
    "a scalar B": ({"B": np.zeros((), np.float32)}, {}),
    "W of float64": ({"W": np.zeros((1, 28, 4))}, {}),
    "W of integers": ({"W": np.zeros((1, 28, 4), np.int64)}, {}),
    "hidden_size that disagrees": ({}, {"hidden_size": 8}),
    "no hidden units": ({}, {"hidden_size": 0}),
    "a huge hidden_size": ({}, {"hidden_size": 2**62}),
    "a direction of its own": ({}, {"direction": "sideways"}),
    "a direction that is a number": ({}, {"direction": 1}),
    "a layout of 2": ({}, {"layout": 2}),
    "too few activations": ({}, {"activations": ["Tanh"]}),
    "an unknown activation": ({}, {"activations": ["Tanh", "Tanh", "Gelu"]}),
    "a negative clip": ({}, {"clip": -1.0}),
    "a clip that is no number": ({}, {"clip": float("nan")}),
    "an attribute of another operator": ({}, {"linear_before_reset": 1}),
    "a direction more than the weights have": ({}, {"direction": "bidirectional"}),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_node_is_a_value_error(broken: str) -> None:
    arrays, attributes = BROKEN[broken]
    arrays = draw("LSTM") | arrays
    node = make_node("LSTM", arrays, **{"hidden_size": 7, **attributes})
    with pytest.raises(ValueError, match=r"must .*got "):
        Backend.run_node(node, arrays)
    model, _ = node_model("LSTM", draw("LSTM"))
    model.graph.node[0].CopyFrom(node)
    for tensor in model.graph.initializer:
        if tensor.name in arrays:
            from onnx import numpy_helper

            tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name], tensor.name))
    with pytest.raises(ValueError, match=r"must .*got "):
        InferenceSession(model)


def test_a_node_must_have_its_inputs() -> None:
    for missing in ("X", "W", "R"):
        node = make_node("LSTM", draw("LSTM"), hidden_size=7)
        node.input[("X", "W", "R").index(missing)] = ""
        with pytest.raises(ValueError, match=r"must .*got "):
            Backend.run_node(node, draw("LSTM"))


@pytest.mark.parametrize(
    "name, value, error",
    [
        ("X", np.zeros((5, 3), np.float32), ValueError),
        ("X", np.zeros((5, 3, 5), np.float32), ValueError),
        ("X", np.zeros((5, 3, 4)), TypeError),
        ("sequence_lens", np.array([1, 2], np.int32), ValueError),
        ("sequence_lens", np.array([1, 2, 6], np.int32), ValueError),
        ("sequence_lens", np.array([1, 2, -1], np.int32), ValueError),
        ("sequence_lens", np.array([1, 2, 3], np.float32), TypeError),
        ("initial_h", np.zeros((3, 1, 7), np.float32), ValueError),
        ("initial_c", np.zeros((2, 3, 7), np.float32), ValueError),
    ],
)
def test_bad_feeds_are_refused(name: str, value: np.ndarray, error: type[Exception]) -> None:
    arrays = draw("LSTM")
    node = make_node("LSTM", arrays, hidden_size=7)
    refuses(error, lambda: Backend.run_node(node, arrays | {name: value}))
    model, feeds = node_model("LSTM", arrays)
    refuses(error, lambda: InferenceSession(model).run(None, feeds | {name: value}))


# --- Importing


def test_the_package_imports_no_onnx() -> None:
    code = "import sys, pyrnnfast, pyrnnfast.models; print([n for n in sys.modules if 'onnx' in n])"
    assert python(code).stdout == "[]\n"


def test_without_onnx_it_says_how_to_install_it() -> None:
    result = python("import sys; sys.modules['onnx'] = None; import pyrnnfast.onnx")
    assert "pyrnnfast.onnx needs onnx: pip install 'pyrnnfast[onnx]'" in result.stderr


def test_nodes_alone_need_no_onnx_runtime() -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None; from pyrnnfast import LSTM; import numpy as np; "
        "from pyrnnfast.onnx import to_onnx, from_onnx; print(*from_onnx(to_onnx(LSTM(2, 3))))"
    )
    assert python(code).stdout == "lstm_l0\n"
