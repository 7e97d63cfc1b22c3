"""ONNX models for the tests: one recurrent node, or several; and what ONNX Runtime makes of them."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
from conftest import require

onnx = require("onnx")
onnxruntime = require("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402

OPSET = 17
OPERATORS = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = ("forward", "reverse", "bidirectional")
Arrays = dict[str, np.ndarray]


def draw(
    op: str,
    *,
    steps: int = 5,
    rows: int = 3,
    inputs: int = 4,
    hidden: int = 7,
    direction: str = "forward",
    dtype: type = np.float32,
    layout: int = 0,
    seed: int = 0,
) -> Arrays:
    """All inputs of the operator, the lengths ragged with a 0 among them."""
    random = np.random.default_rng(seed)
    D, G = 2 if direction == "bidirectional" else 1, OPERATORS[op]
    shapes = {
        "X": (rows, steps, inputs) if layout else (steps, rows, inputs),
        "W": (D, G * hidden, inputs),
        "R": (D, G * hidden, hidden),
        "B": (D, 2 * G * hidden),
        "initial_h": (rows, D, hidden) if layout else (D, rows, hidden),
    }
    if op == "LSTM":
        shapes |= {"initial_c": shapes["initial_h"], "P": (D, 3 * hidden)}
    arrays = {
        name: random.normal(0, 1 / math.sqrt(shape[-1] or 1), shape).astype(dtype)
        for name, shape in shapes.items()
    }
    lengths = random.integers(0, steps + 1, rows, dtype=np.int32)
    lengths[: min(2, rows)] = [steps, 0][: min(2, rows)]
    return arrays | {"sequence_lens": lengths}


NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
WEIGHTS = ("W", "R", "B", "P")


def make_node(op: str, given: Any, outputs: Any = None, name: str = "cell", **attributes: Any) -> Any:
    """A node that has the inputs that are given, and all its outputs or those that are named."""
    inputs = [value if value in given else "" for value in NAMES]
    while not inputs[-1]:
        inputs.pop()
    outputs = outputs or ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    return helper.make_node(op, inputs, outputs, name=name, **attributes)


def make_model(nodes: Any, feeds: Arrays, constants: Arrays, outputs: Any, opset: int = OPSET) -> Any:
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in feeds.items()
        ],
        [
            helper.make_tensor_value_info(name, kind, None)
            for name, kind in (outputs if isinstance(outputs, dict) else dict.fromkeys(outputs, 1)).items()
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node_model(op: str, arrays: Arrays, outputs: Any = None, **attributes: Any) -> tuple[Any, Arrays]:
    """A model of one node whose weights are constants, and its feeds."""
    hidden = arrays["R"].shape[-1]
    node = make_node(op, arrays, outputs, hidden_size=hidden, **attributes)
    feeds = {name: array for name, array in arrays.items() if name not in WEIGHTS}
    kind = helper.np_dtype_to_tensor_dtype(arrays["X"].dtype)
    constants = {name: array for name, array in arrays.items() if name in WEIGHTS}
    return make_model([node], feeds, constants, {name: kind for name in node.output if name}), feeds


def runtime(model: Any, feeds: Arrays) -> list[np.ndarray]:
    """What ONNX Runtime makes of it."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def agree(got: Any, want: Any, tolerance: float = 2e-6) -> None:
    """Both are lists of arrays of the same shapes and dtypes; numbers are sums of a few dozen of size 1."""
    assert len(got) == len(want)
    for mine, other in zip(got, want, strict=True):
        assert mine.dtype == other.dtype
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=0, atol=tolerance)


def table(session: Any, capsys: Any) -> dict[str, tuple[str, str]]:
    """What `explain` prints: node -> (what runs it, why)."""
    session.explain()
    lines = capsys.readouterr().out.splitlines()
    edges = [0, *(found.end() for found in re.finditer(" +", lines[1])), None]
    cells = [[line[a:b].strip() for a, b in itertools.pairwise(edges)] for line in lines[2:]]
    return {name: (runner, why) for name, _, runner, why in cells}


# --- Graphs of several nodes

T, N, C, H = 5, 3, 4, 7
X = np.random.default_rng(0).normal(size=(T, N, C)).astype(np.float32)


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(op, inputs, outputs, **attributes)


def weights(op: str, number: int, inputs: int, direction: str = "forward") -> dict[str, np.ndarray]:
    drawn = draw(op, inputs=inputs, hidden=H, direction=direction, seed=number)
    return {f"{name}{number}": drawn[name] for name in ("W", "R", "B")}


def recurrent(op: str, number: int, x: str, outputs: list[str], **attributes: Any) -> Any:
    names = [f"{name}{number}" for name in ("W", "R", "B")]
    return node(op, [x, *names], outputs, name=f"{op.lower()}{number}", hidden_size=H, **attributes)


def residual_model() -> Any:
    """A projection, two recurrent layers with a way around them, states that are used too, a projection."""
    steps = {
        "axes": np.array([1], np.int64),
        "half": np.array(0.5, np.float32),
        "unused": np.ones(3, np.float32),
    }
    projections = {"A": np.ones((C, H), np.float32), "Z": np.full((H, 2), 0.25, np.float32)}
    constants = steps | projections | weights("LSTM", 0, H) | weights("GRU", 1, H)
    nodes = [
        node("MatMul", ["x", "A"], ["p"]),
        recurrent("LSTM", 0, "p", ["Y0", "", "c0"]),
        node("Squeeze", ["Y0", "axes"], ["y0"]),
        node("Add", ["y0", "p"], ["sum"]),
        recurrent("GRU", 1, "sum", ["Y1", "h1"]),
        node("Squeeze", ["Y1", "axes"], ["y1"]),
        node("Add", ["y1", "p"], ["around"]),
        node("Mul", ["c0", "half"], ["c"]),
        node("MatMul", ["around", "Z"], ["z"]),
        node("Relu", ["p"], ["nobody_reads_this"]),
    ]
    return make_model(nodes, {"x": X}, constants, ["z", "h1", "c"])
