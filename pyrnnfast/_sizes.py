"""The sizes that follow from the options of a stack. Letters as in `outputs`."""

from __future__ import annotations

from typing import Protocol

from pyrnnfast._types import Options


class Recurrent(Protocol):
    """What layers and packed weights tell of themselves."""

    @property
    def cell(self) -> str:
        """Its name."""

    @property
    def hidden_size(self) -> int:
        """H."""

    @property
    def num_layers(self) -> int:
        """L."""

    @property
    def num_directions(self) -> int:
        """D."""

    @property
    def options(self) -> Options | None:
        """How it differs from the plain form."""


def output(of: Recurrent) -> int:
    """R, the numbers that one direction puts out."""
    options = of.options
    return of.hidden_size if options is None else options.proj_size or of.hidden_size


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
