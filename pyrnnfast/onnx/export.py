"""Models from layers: `to_onnx`, in standard operators that ONNX Runtime and the others run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pyrnnfast import cell_options, validation
from pyrnnfast._types import Array, Options
from pyrnnfast.layers import arguments
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.linear import Linear
from pyrnnfast.layers.recurrent import RecurrentLayer
from pyrnnfast.onnx import layers, weights
from pyrnnfast.onnx.nodes import ACTIVATIONS

OPSET, IR_VERSION = 17, 8
"""What ONNX Runtime has known since version 1.12."""
SAID = (
    arguments.COMMON | arguments.IN_TRAINING | {"reset_after", "activations", "clip", "peephole", "coupled"}
)
"""The arguments of layers whose models compute as in eval mode."""


class _Writer:
    """A graph as it grows."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._number = helper.np_dtype_to_tensor_dtype(dtype)
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: list[Any] = []

    def input(self, name: str, shape: list[int | str], kind: int | None = None) -> None:
        self._inputs.append(
            helper.make_tensor_value_info(name, self._number if kind is None else kind, shape)
        )

    def output(self, name: str, shape: list[int | str]) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, self._number, shape))

    def constant(self, name: str, array: Array) -> str:
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, inputs: list[str], *outputs: str, **given: Any) -> str:
        self._nodes.append(helper.make_node(op, inputs, outputs, **given))
        return outputs[0]

    def model(self, name: str) -> ModelProto:
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="pyrnnfast"
        )


def to_onnx(layer: RecurrentLayer, *, lengths: bool = False, state: bool = False) -> ModelProto:
    """Write a layer, as it computes in eval mode, as a model of one RNN, GRU or LSTM node a layer.

    layer: an RNN, GRU or LSTM. lengths: whether the model has the input lengths [N], int32. state: whether it
    has the inputs h0 and for the LSTM c0, [L * D, N, H]; else it starts from zero.
    The model has the input x, and the outputs y, h and for the LSTM c, shaped as those of the layer's call
    on a batch; T and N are free. `onnx.save` writes it. ONNX Runtime runs float32 only. ONNX holds clip,
    alpha and beta as float32: they are rounded to it, of float64 layers too.
    Returns a ModelProto. Raises TypeError for another object, ValueError for options that ONNX lacks, and for
    a clip, alpha or beta that would be rounded to 0 or to infinity.
    """
    _check(layer)
    validation.flag("lengths", lengths)
    validation.flag("state", state)
    graph = _Writer(layer.dtype)
    rows = ["N", "T"] if layer.batch_first else ["T", "N"]
    graph.input("x", [*rows, layer.input_size])
    source = graph.node("Transpose", ["x"], "x_steps", perm=[1, 0, 2]) if layer.batch_first else "x"
    ends = _stack(graph, layer, source, "y_steps" if layer.batch_first else "y", lengths, state)
    if layer.batch_first:
        graph.node("Transpose", ["y_steps"], "y", perm=[1, 0, 2])
    graph.output("y", [*rows, layer.num_directions * layer.hidden_size])
    _state_outputs(graph, layer, ends)
    return graph.model(type(layer).__name__)


def language_model(
    embedding: Embedding, recurrent: RecurrentLayer, decoder: Linear, *, state: bool
) -> ModelProto:
    """Write logits = W h + b over embedded ids; see `LanguageModel.to_onnx`."""
    _check(recurrent)
    validation.flag("state", state)
    graph = _Writer(recurrent.dtype)
    graph.input("ids", ["T", "N"], TensorProto.INT64)
    graph.constant("embedding", embedding.weight)
    graph.node("Gather", ["embedding", "ids"], "x")
    ends = _stack(graph, recurrent, "x", "y", False, state)
    graph.constant("decoder", np.ascontiguousarray(decoder.weight.T))
    graph.node("MatMul", ["y", "decoder"], "scores" if decoder.has_bias else "logits")
    if decoder.has_bias:
        graph.constant("decoder_bias", decoder.bias)
        graph.node("Add", ["scores", "decoder_bias"], "logits")
    graph.output("logits", ["T", "N", decoder.out_features])
    _state_outputs(graph, recurrent, ends)
    return graph.model("LanguageModel")


def attributes(layer: RecurrentLayer) -> dict[str, Any]:
    """Return the attributes of a layer's nodes that say what it computes."""
    found: dict[str, Any] = {"hidden_size": layer.hidden_size}
    if layer.bidirectional:
        found["direction"] = "bidirectional"
    if layer.cell.startswith("gru"):
        found["linear_before_reset"] = int(layer.cell == "gru")
    options = layer.options or Options((cell_options.PLAIN[layer.cell],) * layer.num_directions)
    if options.clip < math.inf:
        found["clip"] = _float32("clip", options.clip)
    if options.coupled:
        found["input_forget"] = 1
    names = {ours: name for name, ours in ACTIVATIONS.items()}
    each = [activation for direction in options.activations for activation in direction]
    found["activations"] = [names[activation.name] for activation in each]
    for place, name in enumerate(("activation_alpha", "activation_beta")):
        taken = [(a.alpha, a.beta)[place] for a in each if len(cell_options.DEFAULTS[a.name]) > place]
        if taken:
            found[name] = [_float32(name, number) for number in taken]
    return found


def _float32(name: str, value: float) -> float:
    """Round as a file does. Raises ValueError for what becomes 0 or infinite, and so means something else."""
    with np.errstate(over="ignore", under="ignore"):
        rounded = float(np.float32(value))
    if math.isinf(rounded) or (rounded == 0) != (value == 0):
        raise ValueError(f"{name} must be a number that float32 can hold, as ONNX does, got {value}")
    return rounded


def _check(layer: Any) -> None:
    if not any(isinstance(layer, known) for known in layers.CLASSES.values()):
        raise TypeError(f"layer must be an RNN, GRU or LSTM, got {type(layer).__name__}")
    assert isinstance(layer, RecurrentLayer)
    arguments.refuse_others(layer, SAID, "ONNX")


def _operator(layer: RecurrentLayer) -> str:
    return next(op for op, known in layers.CLASSES.items() if isinstance(layer, known))


def _stack(
    graph: _Writer, layer: RecurrentLayer, source: str, target: str, lengths: bool, state: bool
) -> list[list[str]]:
    """Add the nodes of x [T, N, C] to y [T, N, D * H]; returns the names of h (and c) after each layer."""
    op, directions, hidden = _operator(layer), layer.num_directions, layer.hidden_size
    kinds = ["h", "c"][: 2 if op == "LSTM" else 1]
    if lengths:
        graph.input("lengths", ["N"], TensorProto.INT32)
    begins = [_parts(graph, layer, f"{kind}0") for kind in kinds if state]
    if lengths and state:
        graph.constant("zero", np.array(0, np.int32))
        graph.constant("units", np.array([1], np.int64))
        graph.node("Unsqueeze", [graph.node("Equal", ["lengths", "zero"], "no_steps"), "units"], "idle")
    ends: list[list[str]] = [[] for _ in kinds]
    if directions == 1:
        graph.constant("one", np.array([1], np.int64))
    else:
        graph.constant("joined", np.array([0, 0, directions * hidden], np.int64))
    parameters = layer.named_parameters()
    for k in range(layer.num_layers):
        operands = {
            name: graph.constant(f"{name}_l{k}", array)
            for name, array in weights.operands(op, parameters, k, directions).items()
        }
        inputs = [source, operands["W"], operands["R"], operands.get("B", ""), "lengths" if lengths else ""]
        inputs += [begin[k] for begin in begins] or [""] * len(kinds)
        inputs += [operands.get("P", "")]
        while not inputs[-1]:
            inputs.pop()
        finals = kinds if layer.num_layers == 1 else [f"{kind}_l{k}" for kind in kinds]
        made = [f"{name}_run" for name in finals] if lengths and state else finals
        for end, name in zip(ends, finals, strict=True):
            end.append(name)
        graph.node(op, inputs, f"Y_l{k}", *made, name=f"{op.lower()}_l{k}", **attributes(layer))
        if lengths and state:  # a row of no steps keeps its state here, and is zero in ONNX Runtime
            for name, begin, run in zip(finals, begins, made, strict=True):
                graph.node("Where", ["idle", begin[k], run], name)
        source = target if k == layer.num_layers - 1 else f"y_l{k}"
        if directions == 1:
            graph.node("Squeeze", [f"Y_l{k}", "one"], source)
        else:
            graph.node("Transpose", [f"Y_l{k}"], f"Y_l{k}_rows", perm=[0, 2, 1, 3])
            graph.node("Reshape", [f"Y_l{k}_rows", "joined"], source)
    return ends


def _parts(graph: _Writer, layer: RecurrentLayer, name: str) -> list[str]:
    """Add an input of initial states; returns the names of the layers' parts of it."""
    graph.input(name, [layer.num_layers * layer.num_directions, "N", layer.hidden_size])
    if layer.num_layers == 1:
        return [name]
    parts = [f"{name}_l{k}" for k in range(layer.num_layers)]
    graph.node("Split", [name], *parts, axis=0)
    return parts


def _state_outputs(graph: _Writer, layer: RecurrentLayer, ends: list[list[str]]) -> None:
    for kind, names in zip("hc", ends, strict=False):
        if layer.num_layers > 1:
            graph.node("Concat", names, kind, axis=0)
        graph.output(kind, [layer.num_layers * layer.num_directions, "N", layer.hidden_size])
