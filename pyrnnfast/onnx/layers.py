"""Layers from nodes: `from_onnx`, and what of ONNX the layers do not have."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, overload

import numpy as np
from onnx import NodeProto

from pyrnnfast import functional, validation
from pyrnnfast._types import Array
from pyrnnfast.functional import PackHandle
from pyrnnfast.layers.recurrent import GRU, LSTM, RNN, RecurrentLayer
from pyrnnfast.onnx import loading, nodes, weights
from pyrnnfast.onnx.graph import Graph
from pyrnnfast.onnx.nodes import RecurrentNode

CLASSES: dict[str, type[RNN] | type[GRU] | type[LSTM]] = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}
WEIGHTS = ("W", "R", "B", "P")
"""The inputs that are weights."""
OPSET = 7
"""The first operator set whose recurrent operators are those of today."""


def options(node: RecurrentNode, peephole: bool) -> dict[str, Any]:
    """Return the layer's arguments that say what a node says, beside sizes, bias and dtype."""
    found: dict[str, Any] = {}
    if node.direction == "bidirectional":
        found["bidirectional"] = True
    if node.op == "GRU":
        found["reset_after"] = node.linear_before_reset
    if peephole:
        found["peephole"] = True
    if node.input_forget:
        found["coupled"] = True
    if node.clip is not None:
        found["clip"] = node.clip
    if set(node.activations) == {("relu",)} and node.op == "RNN":
        found["nonlinearity"] = "relu"
    elif node.activations != node.default_activations:
        found["activations"] = list(node.activations)
    return found


def build(
    chain: list[tuple[RecurrentNode, Mapping[str, Array]]], batch_first: bool = False
) -> RecurrentLayer:
    """Make the layer, in eval mode, of nodes that follow each other, with their W, R, B and P.

    A node of direction "reverse" gives a layer that runs forward, to be called on reversed steps.
    Raises ValueError for shapes and dtypes that contradict each other or the node.
    """
    first, given = chain[0]
    state: dict[str, Array] = {}
    for layer, (node, arrays) in enumerate(chain):
        state |= weights.parameters(node.op, _checked(node, arrays), layer)
    made: RecurrentLayer = CLASSES[first.op](
        given["W"].shape[2],
        given["R"].shape[2],
        len(chain),
        bias="B" in given,
        batch_first=batch_first,
        dtype=given["W"].dtype,
        rng=0,
        **options(first, "P" in given),
    )
    made.load_state_dict(state)
    return made.eval()


def pack(node: RecurrentNode, arrays: Mapping[str, Array]) -> PackHandle:
    """Pack W, R, B and P of a node for the kernels; "reverse" as `build`, which it raises as."""
    state = weights.parameters(node.op, _checked(node, arrays))
    said = options(node, "P" in arrays)
    if node.op == "GRU":
        cell = "gru" if said.pop("reset_after") else "gru_reset_before"
    else:
        cell = "lstm" if node.op == "LSTM" else f"rnn_{said.pop('nonlinearity', 'tanh')}"
    return functional.pack(cell, list(state.values()), bias="B" in arrays, **said)


def _checked(node: RecurrentNode, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Raise ValueError unless the weights fit the node and each other."""
    directions, gates = node.num_directions, nodes.GATES[node.op]
    recurrent = arrays["R"]
    hidden = node.hidden_size or (recurrent.shape[-1] if recurrent.ndim else 1)
    shapes: dict[str, tuple[int | str, ...]] = {
        "W": (directions, gates * hidden, "C"),
        "R": (directions, gates * hidden, hidden),
        "B": (directions, 2 * gates * hidden),
        "P": (directions, 3 * hidden),
    }
    dtype = arrays["W"].dtype
    if dtype not in validation.FLOATS:
        raise ValueError(f"{node.title}: W must be an array of float32 or float64, got {dtype}")
    for name, array in arrays.items():
        if array.dtype != dtype:
            raise ValueError(f"{node.title}: {name} must be an array of {dtype}, got {array.dtype}")
        validation.fits(f"{node.title}: {name}", array, shapes[name])
        if array.size == 0:
            raise ValueError(f"{node.title}: {name} must hold numbers, got shape {array.shape}")
    return arrays


def has_constant_weights(graph: Graph, node: RecurrentNode) -> bool:
    """Whether W, R, and where they are there B and P do not depend on the model's inputs."""
    return all(graph.is_constant(value) for name, value in node.inputs.items() if name in WEIGHTS)


def constant_weights(graph: Graph, node: RecurrentNode) -> dict[str, Array]:
    """Return W, R, and where they are there B and P. Raises ValueError where they are not constant."""
    if not has_constant_weights(graph, node):
        raise ValueError(f"{node.title}: weights must be constants, got some that depend on the inputs")
    return {name: graph.constant(value) for name, value in node.inputs.items() if name in WEIGHTS}


# --- from_onnx


@overload
def from_onnx(source: NodeProto, weights: Mapping[str, Array]) -> RecurrentLayer: ...


@overload
def from_onnx(source: Any, weights: None = None) -> dict[str, RecurrentLayer]: ...


def from_onnx(
    source: Any, weights: Mapping[str, Array] | None = None
) -> RecurrentLayer | dict[str, RecurrentLayer]:
    """Make layers of the RNN, GRU and LSTM nodes of a model, with their weights.

    source: a model (a ModelProto, its bytes, or a path), or one node (a NodeProto).
    weights: with a node W [D, G * H, C], R [D, G * H, H], and where the node has them B [D, 2 * G * H] and
    P [D, 3 * H], by these names; a model has them inside.
    Returns for a node the layer; for a model a dict of layers by the nodes' names (of a node without one, its
    first output's; a name that an earlier layer has gets _2, _3, ... behind it). Nodes that feed each other
    and nothing else, with the same options, become one layer of several: num_layers. The layers are in eval
    mode. Lengths and initial states are arguments of their calls; batch_first is true for layout 1, and where
    the node reads a Transpose of [N, T, C].
    Raises ValueError for a broken model, for one without such a node, for weights that are no constants,
    and for what a layer cannot be: a single reverse direction, an option that the kernels do not have, a
    constant initial state other than 0, constant lengths other than T (or of a T that the model leaves open).
    TypeError for a source or weights of another type.
    """
    if isinstance(source, NodeProto):
        if not isinstance(weights, Mapping):
            raise TypeError(
                f"weights must be a mapping of W, R, B and P to arrays, got {type(weights).__name__}"
            )
        node = _forward_too(nodes.read(source))
        wanted = [name for name in WEIGHTS if name in node.inputs]
        if weights.keys() != set(wanted):
            got = ", ".join(map(str, weights)) or "none"
            raise ValueError(f"weights must be {', '.join(wanted)}, got {got}")
        arrays = {name: validation.ndarray(name, weights[name], None) for name in wanted}
        return build([(node, arrays)], node.layout == 1)
    if weights is not None:
        raise TypeError(f"weights must be None with a model, got {type(weights).__name__}")
    graph = Graph(loading.load(source))
    if graph.opset() < OPSET:
        raise ValueError(f"the model must be of operator set {OPSET} or later, got {graph.opset()}")
    places = [place for place, node in enumerate(graph.nodes) if nodes.is_recurrent(node)]
    if not places:
        raise ValueError("the model must have an RNN, GRU or LSTM node in its main graph, got none")
    found: dict[str, RecurrentLayer] = {}
    read = [_forward_too(nodes.read(graph.nodes[place])) for place in places]
    for node in read:
        _check_arguments(graph, node)
    for chain in _chains(graph, read):
        node = chain[0].node
        layer = build([(link.node, link.weights) for link in chain], _batch_first(graph, node))
        found[_free(node.name, found)] = layer
    return found


def _free(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number behind it where it is taken: names of nodes need not be unique."""
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


class _Link(NamedTuple):
    node: RecurrentNode
    weights: dict[str, Array]


def _forward_too(node: RecurrentNode) -> RecurrentNode:
    if node.direction == "reverse":
        raise ValueError(
            f"{node.title}: direction must be forward or bidirectional for a layer, got reverse: a forward "
            "layer on reversed steps computes the same"
        )
    return node


def _check_arguments(graph: Graph, node: RecurrentNode) -> None:
    """Raise ValueError for a constant that would be lost, as layers take it in their calls."""
    for name in ("initial_h", "initial_c", "sequence_lens"):
        value = node.inputs.get(name)
        if value is None or not graph.is_constant(value):
            continue
        array = graph.constant(value)
        if name == "sequence_lens":
            steps = graph.steps(node)
            if steps is None or np.any(array != steps):
                known = "which the model leaves open" if steps is None else steps
                raise ValueError(
                    f"{node.title}: constant sequence_lens must all be T, {known}, for a layer, which takes "
                    f"lengths in its call, got {np.unique(array)}"
                )
        elif np.any(array):
            raise ValueError(
                f"{node.title}: a constant {name} must be 0 for a layer, which takes its state in the call, "
                "got other numbers"
            )


def _chains(graph: Graph, found: list[RecurrentNode]) -> list[list[_Link]]:
    """Put nodes behind the ones that they continue as the next layer of the same stack."""
    ends: dict[str, list[_Link]] = {}  # by the joined output of the last
    chains: list[list[_Link]] = []
    for node in found:
        link = _Link(node, constant_weights(graph, node))
        chain = ends.pop(node.inputs["X"], None)
        if chain is None or not _continues(chain[-1], link):
            chains.append(chain := [])
        chain.append(link)
        joins = list(graph.joins(node))
        only = len(graph.readers.get(node.outputs.get("Y", ""), [])) == 1
        if only and joins and len(graph.readers.get(joins[0].target, [])) == 1:
            used = {node.outputs["Y"], joins[0].target} & set(graph.outputs)
            ends.update({} if used else {joins[0].target: chain})
    return chains


def _continues(below: _Link, above: _Link) -> bool:
    """Whether two nodes differ in nothing but their weights, and fit a stack."""
    a, b = below.node, above.node
    keys = ("op", "direction", "activations", "clip", "input_forget", "linear_before_reset", "layout")
    same = all(getattr(a, key) == getattr(b, key) for key in keys)
    lengths = a.inputs.get("sequence_lens") == b.inputs.get("sequence_lens")
    shapes = {name: array.shape for name, array in below.weights.items() if name != "W"}
    kinds = {name: array.shape for name, array in above.weights.items() if name != "W"}
    wide = a.num_directions * below.weights["R"].shape[-1]
    return same and lengths and shapes == kinds and above.weights["W"].shape[-1:] == (wide,)


def _batch_first(graph: Graph, node: RecurrentNode) -> bool:
    maker = graph.makers.get(node.inputs["X"])
    turned = maker is not None and graph.turns(maker)
    return node.layout == 1 or turned
