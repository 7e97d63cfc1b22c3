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
    return (of.options.proj_size if of.options is not None else 0) or of.hidden_size


def width(of: Recurrent) -> int:
    """The numbers of y at each step: D * R, or R where the directions are merged."""
    merged = of.options is not None and of.options.merge != "concat"
    return output(of) * (1 if merged else of.num_directions)


def states(of: Recurrent, *rows: int) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """The shapes of h [L * D, N, R] and c [L * D, N, H], None where the state has no second part."""
    runs = of.num_layers * of.num_directions
    pair = of.cell == "lstm" or (of.cell == "gru" and output(of) != of.hidden_size)
    return (runs, *rows, output(of)), ((runs, *rows, of.hidden_size) if pair else None)
