"""The sizes that follow from the options of a stack. Letters as in `outputs`."""

from __future__ import annotations

from typing import Protocol

from pyrnnfast._types import Options

GATES = {
    "rnn_tanh": 1,
    "rnn_relu": 1,
    "lstm": 4,
    "gru": 3,
    "gru_reset_before": 3,
    "one_gate_gru": 2,
    "jordan": 1,
}
"""G of each cell."""


class Recurrent(Protocol):
    """What layers and packed weights tell of themselves."""

    @property
    def cell(self) -> str:
        """One of rnn_tanh, rnn_relu, lstm, gru, gru_reset_before, one_gate_gru, jordan."""

    @property
    def hidden_size(self) -> int:
        """H."""

    @property
    def num_layers(self) -> int:
        """L."""

    @property
    def num_directions(self) -> int:
        """D, 1 or 2."""

    @property
    def options(self) -> Options | None:
        """How the cell differs from its plain form; None: not at all."""


def output(of: Recurrent) -> int:
    """R, the numbers that one direction puts out."""
    return _projected(of.options, of.hidden_size)


def width(of: Recurrent) -> int:
    """The numbers of y at each step: D * R, or R where the directions are merged."""
    options = of.options
    return output(of) * (of.num_directions if options is None or options.merge == "concat" else 1)


def states(of: Recurrent, *rows: int) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shapes of h [L * D, N, R] and c [L * D, N, H], None where the state has no second part."""
    options, shape = of.options, (of.num_layers * of.num_directions, *rows, of.hidden_size)
    if options is None or not options.proj_size:
        return shape, (shape if of.cell == "lstm" else None)
    return (*shape[:-1], options.proj_size), (shape if of.cell in ("lstm", "gru") else None)


def biases(options: Options | None, cell: str, hidden: int, bias: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of both biases, if there are any; Jordan's second is that of its outputs."""
    units = GATES[cell] * hidden
    second = _projected(options, hidden) if cell == "jordan" else units
    return {"bias_ih": (units,), "bias_hh": (second,)} if bias else {}


def _projected(options: Options | None, hidden: int) -> int:
    return hidden if options is None else options.proj_size or hidden


def extras(options: Options | None, cell: str, hidden: int, bias: bool) -> dict[str, tuple[int, ...]]:
    """Return the weights that options add to each layer and direction, in order, with their shapes."""
    found: dict[str, tuple[int, ...]] = {}
    if cell == "jordan" or (options is not None and options.proj_size):
        found["weight_hr"] = (_projected(options, hidden), hidden)
    if options is None:
        return found
    if options.peephole:
        found["weight_peephole"] = (3 * hidden,)
    if options.layer_norm:
        found |= dict.fromkeys(("norm_ih_weight", "norm_hh_weight"), (GATES[cell] * hidden,))
        if cell == "lstm":
            found |= dict.fromkeys(
                ("norm_c_weight", "norm_c_bias") if bias else ("norm_c_weight",), (hidden,)
            )
    return found
