"""The options of cells that are measured: a table, and our layer for any workload."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyrnnfast import GRU, LSTM, RNN, JordanRNN, OneGateGRU
from pyrnnfast._types import DTypeLike
from pyrnnfast.benchmark.shapes import TASKS, Workload
from pyrnnfast.layers.recurrent import RecurrentLayer

LAYERS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "rnn_tanh": (RNN, {}),
    "rnn_relu": (RNN, {"nonlinearity": "relu"}),
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "gru_reset_before": (GRU, {"reset_after": False}),
    "one_gate_gru": (OneGateGRU, {}),
}
"""Each cell's layer, and the arguments that choose it."""


class Option(NamedTuple):
    """An option, as the rows of a suite have it."""

    cells: tuple[str, ...]
    arguments: dict[str, Any]
    """Of our layer; of a function the workload is the argument."""
    tasks: tuple[str, ...] = tuple(TASKS)
    drawn: bool = False
    """Whether masks are drawn, so that no two libraries agree and only times can be compared."""
    directions: int = 1
    layer: type[Any] | None = None
    """One that stands for the cell's own."""

    @property
    def needs(self) -> frozenset[str]:
        """What a library must have: the arguments, or the layer, by name."""
        return frozenset(self.arguments if self.layer is None else [self.layer.__name__])


def half(workload: Workload) -> int:
    """Return P, or O, of H."""
    return workload.shape.hidden // 2


def gates(workload: Workload) -> list[Any]:
    """Return Keras's hard_sigmoid for the gates, tanh for the rest."""
    return [("hard_sigmoid", 1 / 6, 0.5), *["tanh"] * (2 if workload.cell == "lstm" else 1)]


def zones(workload: Workload) -> Any:
    """Return a probability of each state."""
    return (0.1, 0.1) if workload.cell == "lstm" else 0.1


OPTIONS: dict[str, Option] = {
    "peephole": Option(("lstm",), {"peephole": True}),
    "coupled": Option(("lstm",), {"coupled": True}),
    "clip": Option(("lstm", "gru", "rnn_tanh"), {"clip": 3.0}),
    "activations": Option(("lstm", "gru"), {"activations": gates}),
    "softplus": Option(("lstm",), {"activations": ["sigmoid", "softplus", "softplus"]}),
    "cell_clip": Option(("lstm",), {"cell_clip": 3.0}),
    "return_cells": Option(("lstm",), {"return_cells": True}),
    "merge": Option(("lstm",), {"merge": "sum"}, directions=2),
    "layer_norm": Option(("lstm", "gru", "rnn_tanh"), {"layer_norm": True}),
    "input_dropout": Option(("lstm",), {"input_dropout": 0.3}, ("training",), drawn=True),
    "recurrent_dropout": Option(
        ("lstm", "gru", "rnn_tanh"), {"recurrent_dropout": 0.3}, ("training",), drawn=True
    ),
    "zoneout": Option(("lstm", "gru", "rnn_tanh"), {"zoneout": zones}, drawn=True),
    "grad_clip": Option(("lstm",), {"grad_clip": 1.0}, ("training",)),
    "record_grad_norms": Option(("lstm",), {"record_grad_norms": True}, ("training",)),
    "proj_size": Option(("lstm", "gru", "rnn_tanh"), {"proj_size": half}),
    "proj_clip": Option(("lstm",), {"proj_size": half, "proj_clip": 3.0}),
    "reset_before": Option(("gru",), {"reset_after": False}),
    "one_gate": Option(("gru",), {}, layer=OneGateGRU),
    "jordan": Option(("rnn_tanh",), {"output_size": half}, layer=JordanRNN),
}
"""The rows of the suite "options", by what they are called."""


def make_layer(workload: Workload, dtype: DTypeLike) -> RecurrentLayer:
    """Make our layer of a workload, with any weights."""
    shape = workload.shape
    kind, given = LAYERS[workload.cell]
    if workload.option:
        option = OPTIONS[workload.option]
        kind, given = option.layer or kind, {} if option.layer else given
        given = given | {
            name: value(workload) if callable(value) else value for name, value in option.arguments.items()
        }
    layer: RecurrentLayer = kind(
        shape.inputs,
        shape.hidden,
        num_layers=shape.layers,
        bidirectional=shape.directions == 2,
        dtype=dtype,
        rng=0,
        **given,
    )
    return layer
