"""How well labels were found: accuracy, precision, recall, F1, the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyrnnfast._types import Array, Booleans, Integers
from pyrnnfast.text.examples import Label


@dataclass(frozen=True)
class Report:
    """What `TextClassifier.evaluate` returns; scores are from 0 to 1.

    F1 is 2 precision recall / (precision + recall), and 0 where nothing was found right; macro means the
    mean over the labels that the examples have or were found (van Rijsbergen 1979).
    """

    loss: float
    """Mean over the examples, in nats; of several labels each over the decisions, a text and a label each."""
    accuracy: float
    """The share of examples whose label, or whose whole set of labels, was found."""
    f1: float
    """Macro."""
    f1_micro: float
    """Of all decisions together; with one label for each example this is the accuracy."""
    labels: tuple[Label, ...]
    """The K labels, in the order of what follows."""
    precision: list[float]
    recall: list[float]
    f1_by_label: list[float]
    support: list[int]
    """The number of examples with each label."""
    confusion: list[Any] | None
    """[K, K]: how many of row's label were taken for column's. Of several labels each: [K, 2, 2], for each
    label whether an example has it, and whether it was found. None when it was not asked for."""
    examples: int
    examples_per_second: float


def scores(found: Booleans, true: Booleans) -> dict[str, Any]:
    """Return the fields of a `Report` that follow from the labels.

    found, true: [M, K], whether each example has each label.
    """
    hits, found_counts, support = (part.sum(axis=0, dtype=np.int64) for part in (found & true, found, true))
    f1 = _ratio(2 * hits, found_counts + support)
    counted = found_counts + support > 0
    return {
        "accuracy": float((found == true).all(axis=1).mean()),
        "f1": float(f1[counted].mean()) if counted.any() else 0.0,
        "f1_micro": float(_ratio(2 * hits.sum(), (found_counts + support).sum())),
        "precision": _ratio(hits, found_counts).tolist(),
        "recall": _ratio(hits, support).tolist(),
        "f1_by_label": f1.tolist(),
        "support": support.tolist(),
    }


def _ratio(part: Any, whole: Any) -> Array:
    """part / whole, and 0 where both are 0."""
    ratio: Array = np.asarray(part) / np.maximum(whole, 1)
    return ratio


def confusion_of_one(found: Integers, true: Integers, labels: int) -> list[Any]:
    """Return the matrix [K, K] of numbers of labels [M]."""
    counts = np.bincount(true * labels + found, minlength=labels**2)
    matrix: list[Any] = counts.reshape(labels, labels).tolist()
    return matrix


def confusion_of_several(found: Booleans, true: Booleans) -> list[Any]:
    """Return a matrix [2, 2] for each of K labels, from [M, K]."""
    return [confusion_of_one(*pair, 2) for pair in zip(found.T.astype(int), true.T.astype(int), strict=True)]


def table(cells: Sequence[Sequence[Any]], rows: Sequence[Any], columns: Sequence[Any]) -> str:
    """Write cells with the names of rows and columns, columns aligned."""
    lines = [["", *map(str, columns)]]
    lines += [[str(name), *map(str, row)] for name, row in zip(rows, cells, strict=True)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )
