"""What is measured, as data: shapes, workloads (a cell on a shape, with its tasks), and suites of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyrnnfast.validation import GATES

LABELS = {
    "rnn_tanh": "RNN",
    "rnn_relu": "RNN relu",
    "lstm": "LSTM",
    "gru": "GRU",
    "gru_reset_before": "GRU reset before",
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
    """A cell on a shape, and the tasks to measure on it."""

    cell: str
    shape: Shape
    tasks: tuple[str, ...] = tuple(TASKS)

    def __str__(self) -> str:
        return f"{LABELS[self.cell]} {self.shape}"

    def flops(self, task: str) -> int:
        """Count floating-point operations: 2 G H (C + H) T N per layer and direction, training thrice that.

        Products only, as every table of RNN speed counts them; activations and biases are left out.
        """
        s = self.shape
        products = sum(s.hidden * (s.layer_inputs(layer) + s.hidden) for layer in range(s.layers))
        return TASKS[task] * 2 * GATES[self.cell] * products * s.directions * s.steps * s.rows


def _cross(cells: Iterable[str], shapes: Iterable[Shape]) -> tuple[Workload, ...]:
    shapes = tuple(shapes)
    return tuple(Workload(cell, shape) for cell in cells for shape in shapes)


SUITES: dict[str, tuple[Workload, ...]] = {
    "overview": _cross(
        ("lstm", "gru", "rnn_tanh"),
        (Shape(100, 1, 256, 256), Shape(100, 16, 256, 256), Shape(50, 32, 512, 512)),
    ),
    "tiny": _cross(GATES, (Shape(5, 2, 3, 4), Shape(4, 3, 5, 7, layers=2, directions=2))),
}
"""overview: what the README shows. tiny: every cell in microseconds, to see that everything runs."""


def suite(name: str, cells: Iterable[str] | None = None) -> list[Workload]:
    """Return the workloads of a suite, all or only those of the given cells.

    name: a key of SUITES. cells: keys of GATES; one that the suite lacks is put on its first cell's shapes.
    Raises ValueError for an unknown name.
    """
    if name not in SUITES:
        raise ValueError(f"suite must be one of {', '.join(SUITES)}, got {name!r}")
    every = SUITES[name]
    if cells is None:
        return list(every)
    chosen: list[Workload] = []
    for cell in dict.fromkeys(cells):
        if cell not in GATES:
            raise ValueError(f"cell must be one of {', '.join(GATES)}, got {cell!r}")
        own = [workload for workload in every if workload.cell == cell]
        first = [Workload(cell, w.shape, w.tasks) for w in every if w.cell == every[0].cell]
        chosen += own or first
    return chosen
