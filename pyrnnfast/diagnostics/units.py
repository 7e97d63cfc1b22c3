"""Single units that follow a property of the text (Karpathy, Johnson and Fei-Fei 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array
from pyrnnfast.diagnostics.properties import PROPERTIES, Property, checked, mark
from pyrnnfast.diagnostics.reading import Reading


@dataclass(frozen=True)
class Unit:
    """A unit and how well it follows a property."""

    property: str
    source: str
    """h, or "c" for the LSTM's cell state."""
    unit: int
    """From 0."""
    sign: int
    """1 where the unit is high when the property is, -1 where it is low."""
    measure: str
    """"AUC" for what is so or not: how probable it is that the unit is higher where it is so, 0.5 by chance.
    "correlation" for an amount (Pearson's)."""
    score: float
    """On the half of the tokens that the unit was chosen on."""
    held_out: float
    """On the other half, with the same sign."""


def find_units(
    readings: Sequence[Reading],
    properties: Mapping[str, Property] = PROPERTIES,
    *,
    count: int = 3,
    unit: int | None = None,
) -> list[Unit]:
    """Find the units that follow properties best.

    readings: from `read`, at least 4 tokens in all. Units are chosen on the first half of all tokens, and
    measured on the second. properties: functions of the tokens by name; each gives [M], bool or float.
    count: how many units of each property. unit: look at this one only; None for all.
    Returns them property by property, the best first. A property that does not change in one of the halves
    has none.
    Raises TypeError and ValueError for arguments of a wrong type or range.
    """
    validation.listed("readings", readings, Reading, "a list of readings")
    count = validation.integer("count", count, 1)
    total = sum(len(each.tokens) for each in readings)
    if total < 4:
        raise ValueError(f"readings must have at least 4 tokens, got {total}")
    sources = {"h": np.concatenate([each.h for each in readings])}
    cells = [each.c for each in readings if each.c is not None]
    if cells:
        sources["c"] = np.concatenate(cells)
    width = sources["h"].shape[1]
    first = 0 if unit is None else validation.integer("unit", unit, 0, width - 1)
    among = slice(first, None if unit is None else first + 1)
    halves = slice(total // 2), slice(total // 2, None)
    found = []
    for name in checked(properties):
        marks = np.concatenate([mark(properties, name, each.tokens) for each in readings])
        if any(marks[half].min() == marks[half].max() for half in halves):
            continue
        measure = "AUC" if marks.dtype == bool else "correlation"
        best = []
        for source, values in sources.items():
            chosen = scores(values[halves[0], among], marks[halves[0]])
            for k in np.argsort(-abs(chosen), kind="stable")[:count].tolist():
                sign = -1 if chosen[k] < 0 else 1
                apart = sign * scores(values[halves[1], first + k : first + k + 1], marks[halves[1]])[0]
                both = (abs(float(chosen[k])), float(apart))
                score, held_out = ((1 + each) / 2 if measure == "AUC" else each for each in both)
                best.append(Unit(name, source, first + k, sign, measure, score, held_out))
        found += sorted(best, key=lambda each: -each.score)[:count]
    return found


def scores(values: Array, marks: Array) -> Array:
    """Say how each unit goes with a property, from -1 to 1, 0 by chance.

    values: [M, H]. marks: [M], not all equal: bool for 2 * AUC - 1 (ties count one half), else for Pearson's
    correlation; 0 for a unit that does not change.
    Returns [H], float64.
    """
    if marks.dtype == bool:
        return np.array([2 * _auc(column, marks) - 1 for column in values.T])
    apart = values - values.mean(axis=0, dtype=np.float64)
    from_mean = marks - marks.mean()
    spread = np.sqrt((apart**2).sum(axis=0) * (from_mean**2).sum())
    together: Array = from_mean @ apart
    found: Array = np.divide(together, spread, out=np.zeros_like(together), where=spread > 0)
    return found


def _auc(values: Array, marks: Array) -> float:
    """The area under the ROC curve, from the ranks of those that are marked (Mann and Whitney 1947)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    positive = int(marks.sum())
    above = ranks[place[marks]].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (marks.size - positive)))
