"""What is measured, as data: sizes of a layer stack, and workloads (a cell on a shape, with its tasks)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pyrnnfast._types import Integers
from pyrnnfast.validation import GATES

LABELS = {
    "rnn_tanh": "RNN",
    "rnn_relu": "RNN relu",
    "lstm": "LSTM",
    "gru": "GRU",
    "gru_reset_before": "GRU reset before",
    "one_gate_gru": "one-gate GRU",
}

TASKS = {"forward": 1, "training": 3}
"""The tasks, and their work in units of forward's: training is forward and every gradient."""


@dataclass(frozen=True)
class Shape:
    """The sizes of one layer stack and its input: T, N, C, H, L, D."""

    steps: int
    rows: int
    inputs: int
    hidden: int
    layers: int = 1
    directions: int = 1

    def __str__(self) -> str:
        text = f"T {self.steps}, N {self.rows}, C {self.inputs}, H {self.hidden}"
        if self.layers > 1:
            text += f", {self.layers} layers"
        return text + (", bidirectional" if self.directions == 2 else "")

    def layer_inputs(self, layer: int) -> int:
        """Columns that the given layer reads: C for the first, D * H for those above it."""
        return self.inputs if layer == 0 else self.directions * self.hidden


@dataclass(frozen=True)
class Workload:
    """A cell on a shape, and the tasks to measure on it.

    ragged: each row has a length of its own, uniform in 1..T, the same on every machine.
    streaming: a call begins with the state that the call before it ended with, and gives the new one.
    stepwise: through a module of one step, as `LSTMCell` is, which is called T times.
    option: what the cell does otherwise, a key of `options.OPTIONS`; none if empty.
    suite: where it was taken from. uncut: T before it was cut to bound a call's time; 0 if it was not.
    """

    cell: str
    shape: Shape
    tasks: tuple[str, ...] = tuple(TASKS)
    ragged: bool = False
    streaming: bool = False
    stepwise: bool = False
    option: str = ""
    suite: str = ""
    uncut: int = 0

    def __str__(self) -> str:
        return f"{self.label} {self.sizes}"

    @property
    def label(self) -> str:
        """The cell in words, with its option."""
        return LABELS[self.cell] + (f" {self.option}" if self.option else "")

    @property
    def sizes(self) -> str:
        """The shape in words, with what makes the workload special."""
        text = str(self.shape)
        if self.uncut:
            text = f"T {self.uncut} cut to {text.removeprefix('T ')}"
        kinds = {"ragged": self.ragged, "streaming": self.streaming, "stepwise": self.stepwise}
        return ", ".join([text, *(kind for kind, is_so in kinds.items() if is_so)])

    def lengths(self) -> Integers | None:
        """Return each row's length, [N] in 1..T; None when all are T."""
        if not self.ragged:
            return None
        return np.random.default_rng(0).integers(1, self.shape.steps + 1, self.shape.rows, dtype=np.int64)

    def flops(self, task: str) -> int:
        """Count floating-point operations: 2 G H (C + H) per layer, direction and step of a row.

        Training is thrice that. Products only, as every table of RNN speed counts them, and those of the
        plain cell where there is an option, so that speeds compare as times do; activations and biases are
        left out. A row has as many steps as its length says.
        """
        s = self.shape
        lengths = self.lengths()
        steps = s.steps * s.rows if lengths is None else int(lengths.sum())
        products = sum(s.hidden * (s.layer_inputs(layer) + s.hidden) for layer in range(s.layers))
        return TASKS[task] * 2 * GATES[self.cell] * products * s.directions * steps

    def cut(self, steps: int) -> Workload:
        """Return the workload with T = steps, if it has more."""
        if steps >= self.shape.steps:
            return self
        return replace(self, shape=replace(self.shape, steps=steps), uncut=self.uncut or self.shape.steps)
