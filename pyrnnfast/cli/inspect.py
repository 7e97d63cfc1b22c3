"""`pyrnnfast inspect`: look inside of a model: its gradients, its gates, its units."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer

from pyrnnfast._columns import print_columns
from pyrnnfast.cli import options as shared
from pyrnnfast.cli.checks import check_free
from pyrnnfast.cli.errors import DebugOption, about
from pyrnnfast.cli.texts import say, sentences_of, texts_of

if TYPE_CHECKING:
    from pyrnnfast._types import Array
    from pyrnnfast.diagnostics import Block, Reading, Unit
    from pyrnnfast.models import LanguageModel

WHATS = ("gradients", "gates", "units")
STEPS = 100
TOKENS = 20_000
TOKENS_SHOWN = 5_000
"""In HTML."""
LEAST = 4
"""Tokens in which units are looked for."""
CLOSED, OPEN = 0.1, 0.9


class Found(NamedTuple):
    """What is printed."""

    head: list[str]
    lines: list[list[str]]
    right: Collection[int]
    """Columns of numbers."""
    note: str
    data: dict[str, Any]
    """The same as JSON."""


def inspect(
    model: shared.SavedModel,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What is read: a text; for a classifier a table, or a text a line; for a tagger sentences.",
        ),
    ],
    what: Annotated[
        str,
        typer.Option(
            help="units: those that follow quotes, lines, ...; gates: how far they are open; "
            "gradients: how far they reach back in time."
        ),
    ] = "units",
    layer: Annotated[int | None, shared.says("Of gates and units, from 0.", 0)] = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="The direction that reads from the end.")
    ] = False,
    unit: Annotated[int | None, typer.Option(help="Look at this unit only, from 0.")] = None,
    tokens: Annotated[int | None, shared.says("How much is read for gates and units.", TOKENS)] = None,
    steps: Annotated[int | None, shared.says("Of gradients back in time.", STEPS)] = None,
    grad_clip: Annotated[
        float | None, typer.Option(help="Gradients once more, clipped in the time loop to this.")
    ] = None,
    text_column: Annotated[str, typer.Option(help="The texts' column, for a classifier.")] = "text",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the text, coloured by gates or units.")
    ] = None,
    png: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it; needs matplotlib.")] = None,
    as_json: shared.Json = False,
    force: shared.Force = False,
    debug: DebugOption = False,
) -> None:
    """Look inside of a model while it reads a text: units, gates or gradients."""
    from pyrnnfast import validation
    from pyrnnfast._figure import figure_class
    from pyrnnfast.models import LanguageModel, SequenceTagger, load
    from pyrnnfast.text import read_text
    from pyrnnfast.text.examples import checked_text

    validation.choice("--what", what, WHATS)
    of_gradients = {"--steps": steps, "--grad-clip": grad_clip}
    of_reading = {
        "--layer": layer,
        "--unit": unit,
        "--tokens": tokens,
        "--html": html,
        "--reverse": reverse or None,
    }
    for option, value in (of_reading if what == "gradients" else of_gradients).items():
        if value is not None:
            raise ValueError(f"{option} must not be given with --what {what}, got {value}")
    layer = validation.integer("--layer", layer or 0, 0)
    tokens = validation.integer("--tokens", TOKENS if tokens is None else tokens, LEAST)
    steps = validation.integer("--steps", STEPS if steps is None else steps, 1)
    if grad_clip is not None:
        validation.number("--grad-clip", grad_clip, above=0)
    if unit is not None:
        validation.integer("--unit", unit, 0)
    check_free([path for path in (html, png) if path is not None], [model, file], force)
    if png is not None:
        figure_class()
    network = load(model)
    if unit is not None:
        validation.integer("--unit", unit, 0, network.recurrent.hidden_size - 1)
    if isinstance(network, LanguageModel):
        texts = [checked_text(str(file), read_text(file))]
    elif isinstance(network, SequenceTagger):
        texts = [" ".join(words) for words in sentences_of(file)]
    else:
        texts = texts_of(file, text_column)
    if what == "gradients":
        if not isinstance(network, LanguageModel):
            raise ValueError(f"--what gradients needs a language model, got a {network.KIND}")
        with about(file):
            found = _gradients(network, texts[0], steps, grad_clip, png)
    else:
        from pyrnnfast.diagnostics import read

        readings = read(network, texts, layer=layer, reverse=reverse, limit=tokens)
        title = f"{model.name}, layer {layer}{', reverse' * reverse}: {file.name}"
        show = _gates if what == "gates" else _units
        if what == "units" and _count(readings) < LEAST:
            raise ValueError(f"{file}: must have at least {LEAST} tokens, got {_count(readings)}")
        found = show(readings, unit, html, png, title)
    if as_json:
        say(json.dumps({"what": what, **found.data}, ensure_ascii=False))
        return
    print_columns(found.head, found.lines, found.right)
    say(found.note)


def _gradients(
    network: LanguageModel, text: str, steps: int, grad_clip: float | None, png: Path | None
) -> Found:
    """A column of norms for each layer, and once more with the clip."""
    from pyrnnfast.diagnostics import loss_gradient_norms, plot_gradients

    curves: dict[str, Array] = {}
    for clip in (None, grad_clip)[: 1 + (grad_clip is not None)]:
        norms = loss_gradient_norms(network, text, steps=steps, grad_clip=clip)
        clipped = "" if clip is None else f", clipped to {clip:g}"
        curves |= {f"layer {number}{clipped}": curve for number, curve in enumerate(norms)}
    if png is not None:
        plot_gradients(png, curves, f"{network.cell}: loss of one prediction")
    ages = [0, *(2**k for k in range(steps.bit_length()) if 2**k < steps - 1), steps - 1]
    lines = [
        [str(age), *(f"{curve[-1 - age]:.3g}" for curve in curves.values())] for age in dict.fromkeys(ages)
    ]
    data = {"norms": {name: curve[::-1].tolist() for name, curve in curves.items()}}
    note = "norm of dL/dh, L the loss of one prediction, root mean square over up to 64 places of the text"
    return Found(["steps back", *curves], lines, range(1 + len(curves)), note, data)


def _gates(
    readings: list[Reading], unit: int | None, html: Path | None, png: Path | None, title: str
) -> Found:
    """How far each gate is open on average, and how often (nearly) closed and open."""
    from pyrnnfast.diagnostics import Block, plot_gates, write_html
    from pyrnnfast.diagnostics.plots import checked_gates

    lines, data, blocks = [], {}, []
    part = slice(None) if unit is None else slice(unit, unit + 1)
    for name in checked_gates(readings[0]):
        each = [reading.gates[name][:, part] for reading in readings]
        values = np.concatenate(each)
        shares = [values.mean(), (values < CLOSED).mean(), (values > OPEN).mean()]
        lines.append([name, *(f"{share:.3f}" for share in shares)])
        data[name] = dict(zip(("mean", "closed", "open"), map(float, shares), strict=True))
        means = [rows.mean(axis=1) for rows in each]
        middle, spread, heading, note = 0.5, 0.5, f"gate {name}, unit {unit}", "blue: closed, red: open"
        if unit is None:
            middle, spread, heading = shares[0], 2 * np.concatenate(means).std(), f"gate {name}"
            note += f"; the mean of all units, white at its average of {middle:.2f}"
        levels = [(mean - middle) / max(float(spread), 1e-9) for mean in means]
        blocks.append(Block(heading, note, _shown(readings, levels)))
    if html is not None:
        write_html(html, title, blocks)
    if png is not None:
        plot_gates(png, readings[0], title)
    note = f"closed: below {CLOSED}, open: above {OPEN}; shares of units and of {_count(readings):,} tokens"
    return Found(["gate", "mean", "closed", "open"], lines, range(1, 4), note, {"gates": data})


def _units(
    readings: list[Reading], unit: int | None, html: Path | None, png: Path | None, title: str
) -> Found:
    """The best units of each property, or one unit's scores."""
    from pyrnnfast.diagnostics import PROPERTIES, find_units, plot_units, write_html

    found = find_units(readings, unit=unit)
    if not found and (html is not None or png is not None):
        raise ValueError("nothing to draw: no property changes in both halves of the text; give more of it")
    lines = [
        [each.property, f"{'-' * (each.sign < 0)}{each.source}[{each.unit}]", each.measure]
        + [f"{score:.3f}" for score in (each.score, each.held_out)]
        for each in found
    ]
    best: dict[str, Unit] = {}
    for each in found:
        best.setdefault(each.property, each)
    if html is not None:
        write_html(html, title, [_unit_block(readings, each) for each in best.values()])
    if png is not None:
        plot_units(png, readings[0], list(best.values()), title)
    absent = [name for name in PROPERTIES if name not in best]
    note = f"{_count(readings):,} tokens: chosen on the first half, held out is the second"
    if absent:
        note += f"\nnever or always so in one of the halves: {', '.join(absent)}"
    data = {"units": [asdict(each) for each in found], "absent": absent}
    return Found(["property", "unit", "measure", "chosen on", "held out"], lines, (3, 4), note, data)


def _unit_block(readings: list[Reading], unit: Unit) -> Block:
    """Colour by the unit's state, with red where it says that the property is so."""
    from pyrnnfast.diagnostics import Block

    states = [reading.h if unit.source == "h" or reading.c is None else reading.c for reading in readings]
    columns = [state[:, unit.unit] * unit.sign for state in states]
    scale = max(float(np.quantile(abs(np.concatenate(columns)), 0.98)), 1e-9)
    red = "low" if unit.sign < 0 else "high"
    note = f"{unit.measure} {unit.held_out:.3f} on the held-out half; red where the unit is {red}"
    heading = f"{unit.property}: {unit.source}[{unit.unit}]"
    return Block(heading, note, _shown(readings, [column / scale for column in columns]))


def _shown(readings: list[Reading], values: list[Array]) -> list[tuple[tuple[str, ...], Array]]:
    """Cut what is too long for a page."""
    texts, left = [], TOKENS_SHOWN
    for reading, column in zip(readings, values, strict=True):
        if left > 0:
            texts.append((reading.tokens[:left], column[:left]))
            left -= len(reading.tokens)
    return texts


def _count(readings: list[Reading]) -> int:
    return sum(len(reading.tokens) for reading in readings)
