"""The recurrent stacks that models offer, by name, and the shapes of their weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyrnnfast import validation
from pyrnnfast._names import CELLS
from pyrnnfast.layers.one_gate import OneGateGRU
from pyrnnfast.layers.recurrent import GRU, LSTM, RNN
from pyrnnfast.layers.training import DROPS

LAYERS: dict[str, tuple[type[RNN] | type[LSTM] | type[GRU] | type[OneGateGRU], dict[str, Any]]] = {
    "lstm": (LSTM, {}),
    "gru": (GRU, {}),
    "rnn": (RNN, {}),
    "rnn_relu": (RNN, {"nonlinearity": "relu"}),
    "gru_reset_before": (GRU, {"reset_after": False}),
    "one_gate_gru": (OneGateGRU, {}),
}


def check_options(cell: str, dropout: float, **sizes: int) -> None:
    """Raise TypeError or ValueError unless these are a cell, a probability, and integers of at least 1."""
    validation.choice("cell", cell, CELLS)
    validation.probability("dropout", dropout)
    for name, size in sizes.items():
        validation.integer(name, size, 1)


def make_stack(
    cell: str, inputs: int, hidden: int, layers: int, dropout: float, **options: Any
) -> RNN | LSTM | GRU | OneGateGRU:
    """Make the layers, of options that were checked; `dropout` is between them, options the constructor's."""
    layer, own = LAYERS[cell]
    return layer(inputs, hidden, layers, dropout=dropout if layers > 1 else 0.0, **own, **options)


def check_told(stack: RNN | LSTM | GRU | OneGateGRU, *told: str) -> None:
    """Raise ValueError where a stack was replaced by one whose options a model's configuration does not tell.

    told: names of dropouts that it tells.
    """
    if stack.options is not None or any(getattr(stack, name) for name in DROPS if name not in told):
        but = f" but {', '.join(told)}" if told else ""
        raise ValueError(f"recurrent layers must have no options{but} to be described, got {stack}")


def stack_shapes(
    name: str, cell: str, inputs: int, hidden: int, layers: int, bidirectional: bool = False
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Give name and shape of each weight of a stack that is the attribute `name`.

    Raises TypeError and ValueError when cell is none.
    """
    known = validation.choice("cell", cell, CELLS)
    gates = validation.GATES["rnn_tanh" if known == "rnn" else known] * hidden
    ends = ("", "_reverse")[: 1 + bidirectional]
    for layer in range(layers):
        below = hidden * len(ends) if layer else inputs
        for end in ends:
            yield f"{name}.weight_ih_l{layer}{end}", (gates, below)
            yield f"{name}.weight_hh_l{layer}{end}", (gates, hidden)
            yield f"{name}.bias_ih_l{layer}{end}", (gates,)
            yield f"{name}.bias_hh_l{layer}{end}", (gates,)
