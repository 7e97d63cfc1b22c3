"""The suites: named lists of workloads, and shapes that a user writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pyrnnfast.benchmark.options import OPTIONS
from pyrnnfast.benchmark.shapes import LABELS, TASKS, Shape, Workload

CELLS = ("lstm", "gru", "rnn_tanh")
"""What a suite measures unless it says otherwise."""


def _cross(cells: Iterable[str], shapes: Iterable[Shape], ragged: bool = False) -> tuple[Workload, ...]:
    shapes = tuple(shapes)
    return tuple(Workload(cell, shape, ragged=ragged) for cell in cells for shape in shapes)


def _deepbench() -> Iterator[Workload]:
    """The RNN tables of Baidu's DeepBench, C = H; its training rows are inferred too.

    https://github.com/baidu-research/DeepBench, code/kernels/rnn_problems.h.
    """
    training: list[tuple[str, int, tuple[int, ...], int]] = [  # cell, H, each N, T
        *(("lstm", hidden, (16, 32, 64, 128), 25) for hidden in (512, 1024, 2048, 4096)),
        ("lstm", 1536, (8, 16, 32), 50),
        ("lstm", 256, (16, 32, 64), 150),
        *(("rnn_tanh", hidden, (16, 32, 64, 128), 50) for hidden in (1760, 2048, 2560)),
        ("gru", 512, (32,), 1),
        ("gru", 1024, (32, 64), 1500),
        *(("gru", hidden, (32,), 375) for hidden in (1536, 2048, 2560)),
        ("gru", 2816, (32,), 1500),
    ]
    inference = [
        *(("lstm", hidden, (1, 2, 4), 25) for hidden in (512, 1024, 2048)),
        ("lstm", 1536, (1, 2, 4), 50),
        ("lstm", 256, (1, 2, 4), 150),
        ("gru", 2816, (1, 2, 4), 1500),
        *(("gru", hidden, (1, 2, 4), 375) for hidden in (2048, 1536, 2560)),
        ("gru", 512, (1, 2, 4), 1),
        ("gru", 1024, (1, 2, 4), 1500),
    ]
    for table, tasks in ((training, tuple(TASKS)), (inference, ("forward",))):
        for cell, hidden, batches, steps in table:
            for rows in batches:
                yield Workload(cell, Shape(steps, rows, hidden, hidden), tasks)


RAGGED = (
    Shape(100, 64, 128, 256),
    Shape(400, 32, 64, 128, directions=2),
    Shape(50, 128, 256, 512),
)

SUITES: dict[str, tuple[Workload, ...]] = {
    "overview": _cross(CELLS, (Shape(100, 1, 256, 256), Shape(100, 16, 256, 256), Shape(50, 32, 512, 512))),
    "deepbench": tuple(_deepbench()),
    "small": _cross(
        CELLS,
        (
            Shape(100, 1, 256, 256),
            Shape(100, 1, 64, 64),
            Shape(20, 4, 32, 32),
            Shape(20, 8, 128, 128),
            Shape(100, 16, 128, 128),
        ),
    ),
    "streaming": tuple(
        Workload(cell, Shape(1, rows, hidden, hidden), ("forward",), streaming=True)
        for cell in CELLS
        for rows in (1, 4, 16)
        for hidden in (64, 128, 256, 512)
    ),
    "ragged": (*_cross(CELLS, RAGGED, ragged=True), *_cross(CELLS, RAGGED[:1])),
    "text": _cross(CELLS, (Shape(600, 128, 64, 128, layers=2, directions=2),)),
    "tiny": (
        *_cross(LABELS, (Shape(5, 2, 3, 4), Shape(4, 3, 5, 7, layers=2, directions=2))),
        Workload("lstm", Shape(5, 3, 3, 4), ragged=True),
        Workload("lstm", Shape(1, 2, 3, 4), ("forward",), streaming=True),
    ),
}
"""overview: what the README shows. deepbench: DeepBench's tables. small: batches and layers that fit caches.
streaming: one step a call. ragged: lengths uniform in 1..T, and one shape of it padded. text: a document
classifier's. tiny: every cell in microseconds, to see that everything runs."""

OPTION_SUITES: dict[str, tuple[Workload, ...]] = {
    "options": tuple(
        Workload(cell, Shape(50, 32, 512, 512, directions=option.directions), option.tasks, option=name)
        for name, option in OPTIONS.items()
        for cell in option.cells
    ),
}
"""Suites of cells with options, beside the plain cell."""

STEPWISE_SUITES: dict[str, tuple[Workload, ...]] = {
    "cells": tuple(
        workload
        for cell in CELLS
        for workload in (
            *(
                Workload(cell, Shape(1, rows, hidden, hidden), ("forward",), streaming=True, stepwise=True)
                for rows in (1, 16)
                for hidden in (64, 128, 256)
            ),
            Workload(cell, Shape(20, 16, 128, 128), stepwise=True),
        )
    ),
}
"""Suites of modules that take one step a call, for PyTorch with and without ours in its place."""


def suite(name: str, cells: Iterable[str] | None = None) -> list[Workload]:
    """Return the workloads of a suite, all or only those of the given cells.

    name: a key of SUITES, OPTION_SUITES or STEPWISE_SUITES. cells: keys of LABELS; one that the suite lacks
    is put on its first cell's shapes, but not where that cell has an option.
    Raises ValueError for an unknown name.
    """
    every = SUITES | OPTION_SUITES | STEPWISE_SUITES
    if name not in every:
        raise ValueError(f"suite must be one of {', '.join(every)}, got {name!r}")
    return _of_cells([replace(workload, suite=name) for workload in every[name]], cells)


def shape_suite(texts: Iterable[str], cells: Iterable[str] | None = None) -> list[Workload]:
    """Return the suite "shape": workloads on shapes written as "T,N,C,H,L,D".

    texts: L and D may be left out, they are 1 then. cells: as for `suite`.
    Raises ValueError for any other text.
    """
    shapes = [parse_shape(text) for text in texts]
    return _of_cells([replace(workload, suite="shape") for workload in _cross(CELLS, shapes)], cells)


def parse_shape(text: str) -> Shape:
    """Read "T,N,C,H", "T,N,C,H,L" or "T,N,C,H,L,D"; raise ValueError for any other text."""
    parts = [part.strip() for part in text.split(",")]
    sizes = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 10]
    if len(sizes) != len(parts) or not 4 <= len(sizes) <= 6 or min(sizes) < 1 or sizes[5:] > [2]:
        raise ValueError(
            "shape must be T,N,C,H with L and D after them or not, integers from 1 and D 1 or 2, "
            f"got {text!r}"
        )
    return Shape(*sizes)


def _of_cells(every: list[Workload], cells: Iterable[str] | None) -> list[Workload]:
    if cells is None:
        return every
    chosen: list[Workload] = []
    for cell in dict.fromkeys(cells):
        if cell not in LABELS:
            raise ValueError(f"cell must be one of {', '.join(LABELS)}, got {cell!r}")
        own = [workload for workload in every if workload.cell == cell]
        shapes = [workload for workload in every if workload.cell == every[0].cell and not workload.option]
        chosen += own or [replace(workload, cell=cell) for workload in shapes]
    return chosen
