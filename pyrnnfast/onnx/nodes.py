"""An RNN, GRU or LSTM node, read and checked; https://onnx.ai/onnx/operators/ says what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto, helper

from pyrnnfast import cell_options, validation

Activation = tuple[str | float, ...]
"""A name, with alpha and beta where it takes them."""

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
"""The operators, each with its G."""
DEFAULTS = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}
"""Each operator's activations, of one direction."""
ACTIVATIONS = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "HardSigmoid": "hard_sigmoid",
    "Softsign": "softsign",
    "Softplus": "softplus",
    "Elu": "elu",
    "LeakyRelu": "leaky_relu",
    "ThresholdedRelu": "thresholded_relu",
    "ScaledTanh": "scaled_tanh",
    "Affine": "affine",
}
"""ONNX's names of activations, which take any case, and ours."""
ABSENT = {**cell_options.DEFAULTS, "thresholded_relu": (0.0,)}
"""The alpha and beta where a file gives none: ONNX Runtime's, which has 0 for ThresholdedRelu and not 1."""
DIRECTIONS = ("forward", "reverse", "bidirectional")

_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_OUTPUTS = ("Y", "Y_h", "Y_c")
_KINDS = {
    "activation_alpha": AttributeProto.FLOATS,
    "activation_beta": AttributeProto.FLOATS,
    "activations": AttributeProto.STRINGS,
    "clip": AttributeProto.FLOAT,
    "direction": AttributeProto.STRING,
    "hidden_size": AttributeProto.INT,
    "layout": AttributeProto.INT,
    "input_forget": AttributeProto.INT,
    "linear_before_reset": AttributeProto.INT,
}
_ONLY = {"input_forget": "LSTM", "linear_before_reset": "GRU"}


@dataclass(frozen=True)
class RecurrentNode:
    """What a node says; weights are not part of it."""

    op: str
    name: str
    """The node's, or that of its first output where it has none."""
    inputs: dict[str, str]
    """Those that are there: the operator's name (X, W, ...) -> the value's."""
    outputs: dict[str, str]
    """Those that are there: the operator's name (Y, Y_h, Y_c) -> the value's."""
    direction: str
    hidden_size: int | None
    activations: tuple[Activation, ...]
    """For one direction after the other."""
    clip: float | None
    input_forget: bool
    linear_before_reset: bool
    layout: int

    @property
    def num_directions(self) -> int:
        """D."""
        return 2 if self.direction == "bidirectional" else 1

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"{self.op} node {self.name!r}"

    @property
    def default_activations(self) -> tuple[Activation, ...]:
        """The operator's, where the node names none."""
        return tuple((name,) for name in DEFAULTS[self.op]) * self.num_directions


def is_recurrent(node: NodeProto) -> bool:
    """Whether it is an RNN, GRU or LSTM of the standard."""
    return node.domain in ("", "ai.onnx") and node.op_type in GATES


def name_of(node: NodeProto) -> str:
    """A node's name, or that of its first output where it has none."""
    return node.name or next(filter(None, node.output), "")


def read(node: NodeProto) -> RecurrentNode:
    """Read a node of an operator set from 7 on.

    Raises ValueError for another operator, for an attribute that is unknown, of a wrong type or value, and
    for an input or output that is missing or one too many.
    """
    op = node.op_type
    if not is_recurrent(node):
        raise ValueError(
            f"the node must be one of {', '.join(GATES)}, got {node.domain}{'.' * bool(node.domain)}{op}"
        )
    name = name_of(node)
    title = f"{op} node {name!r}"
    inputs = _named(title, "inputs", node.input, _INPUTS if op == "LSTM" else _INPUTS[:6])
    for needed in ("X", "W", "R"):
        if needed not in inputs:
            raise ValueError(f"{title} must have the inputs X, W and R, got none for {needed}")
    outputs = _named(title, "outputs", node.output, _OUTPUTS if op == "LSTM" else _OUTPUTS[:2])
    given = _attributes(title, node)
    direction = validation.choice(f"{title}: direction", given.get("direction", "forward"), DIRECTIONS)
    hidden = given.get("hidden_size")
    if hidden is not None:
        validation.integer(f"{title}: hidden_size", hidden, 1)
    clip = given.get("clip")
    if clip is not None:
        clip = validation.number(f"{title}: clip", clip, above=0, infinite=True)
    return RecurrentNode(
        op=op,
        name=name,
        inputs=inputs,
        outputs=outputs,
        direction=direction,
        hidden_size=hidden,
        activations=_activations(title, op, 2 if direction == "bidirectional" else 1, given),
        clip=clip,
        input_forget=bool(given.get("input_forget", 0)),
        linear_before_reset=bool(given.get("linear_before_reset", 0)),
        layout=validation.integer(f"{title}: layout", given.get("layout", 0), 0, 1),
    )


def _named(title: str, kind: str, values: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    if len(values) > len(names):
        raise ValueError(f"{title} must have at most {len(names)} {kind}, got {len(values)}")
    return {name: value for name, value in zip(names, values, strict=False) if value}


def _attributes(title: str, node: NodeProto) -> dict[str, Any]:
    known = [name for name in _KINDS if _ONLY.get(name, node.op_type) == node.op_type]
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        name = validation.choice(f"each attribute of {title}", attribute.name, known)
        if attribute.type != _KINDS[name]:
            kinds = AttributeProto.AttributeType
            raise ValueError(
                f"{title}: {name} must be {kinds.Name(_KINDS[name])}, got {kinds.Name(attribute.type)}"
            )
        value = helper.get_attribute_value(attribute)
        if attribute.type == AttributeProto.FLOATS:
            found[name] = [_shortest(number) for number in value]
        elif attribute.type == AttributeProto.FLOAT:
            found[name] = _shortest(value)
        else:
            found[name] = _text(value) if isinstance(value, bytes) else value
    return found


def _text(value: bytes) -> str:
    """What is not UTF-8 stays visible, and is refused as any unknown name."""
    return value.decode(errors="backslashreplace")


def _shortest(number: float) -> float:
    """0.2 for the float32 0.20000000298: what was meant by whoever wrote it into a file."""
    return float(str(np.float32(number)))


def _activations(title: str, op: str, directions: int, given: dict[str, Any]) -> tuple[Activation, ...]:
    """Give each activation its alpha and beta: they go, in order, to those that take one."""
    names = {name.lower(): ours for name, ours in ACTIVATIONS.items()}
    asked = [_text(name) for name in given.get("activations") or ()] or DEFAULTS[op] * directions
    if len(asked) != directions * len(DEFAULTS[op]):
        raise ValueError(
            f"{title}: activations must be {directions * len(DEFAULTS[op])} names, got {len(asked)}"
        )
    pools = [iter(given.get(name) or ()) for name in ("activation_alpha", "activation_beta")]
    found: list[Activation] = []
    for name in asked:
        if name.lower() not in names:
            raise ValueError(f"{title}: activations must be of {', '.join(ACTIVATIONS)}, got {name!r}")
        ours = names[name.lower()]
        numbers = zip(pools, ABSENT[ours], strict=False)
        found.append((ours, *(next(pool, default) for pool, default in numbers)))
    return tuple(found)
