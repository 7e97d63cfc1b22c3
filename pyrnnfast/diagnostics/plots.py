"""Pictures of gradients, gates and units, as PNG; they need matplotlib (extra cli)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._figure import figure_class, png
from pyrnnfast._types import Array
from pyrnnfast.diagnostics.properties import PROPERTIES, Property, mark
from pyrnnfast.diagnostics.reading import Reading
from pyrnnfast.diagnostics.units import Unit
from pyrnnfast.training.files import Location, write_whole

SHOWN = 100
"""Tokens in a picture."""


def plot_gradients(location: Location, norms: Mapping[str, Array], title: str = "") -> None:
    """Draw curves of gradient norms over the steps back in time, on a logarithmic scale.

    location: a PNG, written whole or not at all. norms: [T] by the name of the curve, the last one being the
    step of the loss.
    Raises ImportError without matplotlib, TypeError and ValueError for other norms, OSError when the file
    cannot be written.
    """
    figure = figure_class()(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="steps back in time", ylabel="norm of dL/dh", yscale="log")
    axes.set_title(title, parse_math=False)
    for name, curve in norms.items():
        curve = validation.shaped(f"norms[{name!r}]", curve, None, ("T",))
        axes.plot(np.where(curve > 0, curve, np.nan)[::-1], label=name)
    axes.grid(alpha=0.3)
    for text in axes.legend().get_texts():
        text.set_parse_math(False)
    write_whole(location, png(figure))


def plot_gates(location: Location, reading: Reading, title: str = "", *, start: int = 0) -> None:
    """Draw how far each gate of each unit is open at 100 tokens, as a heat map for each gate.

    location: a PNG, written whole or not at all. start: the first token. Units are in the order of their mean
    opening.
    Raises ImportError without matplotlib, ValueError when the layer has no gates or start is past the end,
    OSError when the file cannot be written.
    """
    checked_gates(reading)
    start = validation.integer("start", start, 0, len(reading.tokens) - 1)
    part = slice(start, start + SHOWN)
    figure = figure_class()(figsize=(11, 0.6 + 1.8 * len(reading.gates)), layout="constrained")
    rows = figure.subplots(len(reading.gates), 1, squeeze=False)[:, 0]
    for axes, (name, values) in zip(rows, reading.gates.items(), strict=True):
        order = np.argsort(values.mean(axis=0))
        picture = axes.imshow(
            values[part, order].T, aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest"
        )
        axes.set(ylabel=f"units of gate {name}", yticks=[])
        _name_tokens(axes, reading.tokens[part])
    rows[0].set_title(title, parse_math=False)
    figure.colorbar(picture, ax=list(rows), label="opening: 0 closed, 1 open", fraction=0.02)
    write_whole(location, png(figure))


def plot_units(
    location: Location,
    reading: Reading,
    units: Sequence[Unit],
    title: str = "",
    *,
    properties: Mapping[str, Property] = PROPERTIES,
) -> None:
    """Draw the values of units over 100 tokens, with the property that each follows as an area behind it.

    location: a PNG, written whole or not at all. units: of `find_units`, at least one. properties: those
    that it was given. The tokens are those around the place where the first unit's property changes first.
    Raises ImportError without matplotlib, TypeError and ValueError for other arguments, OSError when the file
    cannot be written.
    """
    validation.listed("units", units, Unit, "a list of units")
    if not units:
        raise ValueError("units must be at least one, got none")
    marks = [mark(properties, unit.property, reading.tokens).astype(float) for unit in units]
    changes = np.flatnonzero(np.diff(marks[0]))
    start = max(0, int(changes[0]) - SHOWN // 4) if changes.size else 0
    part = slice(start, start + SHOWN)
    figure = figure_class()(figsize=(11, 0.6 + 1.5 * len(units)), layout="constrained")
    rows = figure.subplots(len(units), 1, squeeze=False)[:, 0]
    for axes, unit, area in zip(rows, units, (each[part] for each in marks), strict=True):
        values = reading.h if unit.source == "h" or reading.c is None else reading.c
        behind = axes.twinx()
        behind.fill_between(range(len(area)), area, step="mid", color="C1", alpha=0.25)
        behind.set(yticks=[], ylim=(0, 1.1 * max(area.max(), 1e-9)))
        axes.plot(values[part, unit.unit])
        axes.set_title(f"{unit.source}[{unit.unit}] and {unit.property}", fontsize=9, parse_math=False)
        _name_tokens(axes, reading.tokens[part])
    figure.suptitle(title, parse_math=False)
    write_whole(location, png(figure))


def checked_gates(reading: Reading) -> Mapping[str, Array]:
    """Return the gates; raise ValueError when there are none."""
    if not reading.gates:
        raise ValueError("the layer must have gates (LSTM or GRU), got Elman's network, which has none")
    return reading.gates


def _name_tokens(axes: Any, tokens: Sequence[str]) -> None:
    names = [token.rstrip(" ") or "␣" for token in tokens]
    # A dollar would begin a formula.
    shown = [
        ("↵" if name == "\n" else name if name.isprintable() else "?").replace("$", r"\$") for name in names
    ]
    axes.set_xticks(range(len(shown)), shown, fontsize=6.5, rotation=0 if max(map(len, shown)) == 1 else 90)
    axes.margins(x=0.005)
