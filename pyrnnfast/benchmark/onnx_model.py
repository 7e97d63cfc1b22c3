"""A case as an ONNX model of standard operators: gates in ONNX's order, one RNN, LSTM or GRU node a layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.options import make_layer

OPSET = 17
IR_VERSION = 8


def build_model(case: Case) -> bytes:
    """Return the serialized model: x [T, N, C] in, y [T, N, D * H] out, the case's weights inside.

    A ragged case's model has a second input, lengths [N] of int32. A streaming case's has the inputs and
    outputs of `state_names`, each [D, N, H]. One with an option is `to_onnx`'s. Follows the operators of
    https://onnx.ai/onnx/operators/.
    """
    from onnx import TensorProto, helper, numpy_helper

    from pyrnnfast.onnx import to_onnx, weights

    if case.workload.option:
        ours = make_layer(case.workload, case.dtype)
        ours.load_state_dict(case.weights)
        whole: bytes = to_onnx(ours).SerializeToString()
        return whole
    cell, shape = case.workload.cell, case.workload.shape
    nodes: list[Any] = []
    constants: dict[str, Array] = {
        "joined": np.array([0, 0, -1], np.int64),  # 0 keeps a dimension: [T, N, D, H] to [T, N, D * H]
    }
    states = state_names(case)
    parts = len(states) // shape.layers
    source = "x"
    operator = "LSTM" if cell == "lstm" else cell[:3].upper()
    for layer in range(shape.layers):
        operands = weights.operands(operator, case.weights, layer, shape.directions)
        names = [f"{name}{layer}" for name in operands]
        constants.update(zip(names, operands.values(), strict=True))
        begin, end = zip(*states[layer * parts : (layer + 1) * parts], strict=True) if parts else ((), ())
        nodes.append(
            helper.make_node(
                operator,
                [source, *names, "lengths" if case.lengths is not None else "", *begin],
                [f"Y{layer}", *end],
                hidden_size=shape.hidden,
                direction="bidirectional" if shape.directions == 2 else "forward",
                **_attributes(cell, shape.directions),
            )
        )
        target = "y" if layer == shape.layers - 1 else f"y{layer}"
        nodes.append(helper.make_node("Transpose", [f"Y{layer}"], [f"t{layer}"], perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [f"t{layer}", "joined"], [target]))
        source = target
    number = TensorProto.FLOAT if case.dtype == np.float32 else TensorProto.DOUBLE

    def value(name: str, size: tuple[int, ...], kind: int = number) -> Any:
        return helper.make_tensor_value_info(name, kind, list(size))

    state = (shape.directions, shape.rows, shape.hidden)
    inputs = [value("x", case.x.shape), *(value(begin, state) for begin, _ in states)]
    if case.lengths is not None:
        inputs.append(value("lengths", case.lengths.shape, TensorProto.INT32))
    graph = helper.make_graph(
        nodes,
        "layers",
        inputs,
        [value("y", case.dy.shape), *(value(end, state) for _, end in states)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    serialized: bytes = model.SerializeToString()
    return serialized


def state_names(case: Case) -> list[tuple[str, str]]:
    """Return each state of a streaming case's model as its input's and its output's name, layer by layer."""
    if not case.workload.streaming:
        return []
    kinds = "hc" if case.workload.cell == "lstm" else "h"
    return [(f"{k}{layer}", f"{k}{layer}_out") for layer in range(case.workload.shape.layers) for k in kinds]


def join_states(case: Case, arrays: list[Array]) -> list[Array]:
    """Join states in the order of `state_names`, [D, N, H] each, to h (and c), [L * D, N, H]."""
    parts = len(arrays) // case.workload.shape.layers
    return [np.concatenate(arrays[part::parts]) for part in range(parts)]


def _attributes(cell: str, directions: int) -> dict[str, Any]:
    if cell.startswith("rnn"):
        return {"activations": [cell.removeprefix("rnn_").capitalize()] * directions}
    return {"linear_before_reset": int(cell == "gru")} if cell.startswith("gru") else {}
