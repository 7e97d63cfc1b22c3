"""Texts with labels: read from tables, split, and the labels' numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyrnnfast._types import Integers
from pyrnnfast.text.reading import Location, read_table

Label = str | int | float | bool
UNORDERED = (Set, Mapping)
"""No lists: nothing says which of theirs belongs to which."""


class Labels:
    """Distinct labels and their numbers 0, 1, ...

    labels: strings, numbers, or True and False; 1 and True and "1" are three of them.
    Raises TypeError for others, ValueError for one that is there twice, or when there is none.
    """

    def __init__(self, labels: Iterable[Any]) -> None:
        if isinstance(labels, (str, bytes, *UNORDERED)) or not isinstance(labels, Iterable):
            raise TypeError(f"labels must be a list of labels, got {type(labels).__name__}")
        self.values = tuple(as_label(f"labels[{i}]", label) for i, label in enumerate(labels))
        self._numbers = {_key(label): number for number, label in enumerate(self.values)}
        if len(self._numbers) != len(self.values) or not self.values:
            got = list(self.values[:20])
            raise ValueError(f"labels must be distinct ones, at least one, got {got}")

    @classmethod
    def seen(cls, labels: Iterable[Any]) -> Labels:
        """Return the different ones among `labels`, in the order of types and values."""
        each = {_key(label): label for label in (as_label("a label", label) for label in labels)}
        return cls(each[key] for key in sorted(each))

    def __len__(self) -> int:
        return len(self.values)

    def number(self, place: str, label: Any, what: str = "label") -> int:
        """Return the number of a label; `place` is what an error begins with, `what` how it calls the label.

        Raises TypeError when it is no label, ValueError when it is another one.
        """
        found = self._numbers.get(_key(as_label(f"{place}: the {what}", label)))
        if found is None:
            known = ", ".join(map(repr, self.values[:10])) + (", ..." if len(self) > 10 else "")
            raise ValueError(f"{place}: the {what} must be one of training ({known}), got {label!r}")
        return found


def as_label(name: str, value: Any) -> Label:
    """Return a label as Python's own type; raise TypeError or ValueError when it is none."""
    label = value.item() if isinstance(value, np.generic) else value
    if not isinstance(label, (str, int, float, bool)):
        raise TypeError(f"{name} must be a string or a number, got {type(value).__name__}")
    if isinstance(label, float) and not math.isfinite(label):
        raise ValueError(f"{name} must be finite, got {label}")
    return label


def _key(label: Label) -> tuple[str, Label]:
    return type(label).__name__, label


@dataclass(frozen=True)
class Examples:
    """Texts, the labels of each, and where they come from."""

    texts: Sequence[str]
    labels: Sequence[tuple[Label, ...]]
    """One each, or for several labels any number."""
    places: Sequence[str]
    """What an error about each begins with."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Integers) -> Examples:
        """Return some of them."""
        texts, labels, places = (
            [part[i] for i in indices.tolist()] for part in (self.texts, self.labels, self.places)
        )
        return Examples(texts, labels, places)

    def split(self, holdout: float) -> tuple[Examples, Examples]:
        """Return (those to train on, a share `holdout` drawn at random): the same for equal examples."""
        train, held_out = split(len(self), holdout)
        return self.take(train), self.take(held_out)


def split(count: int, holdout: float) -> tuple[Integers, Integers]:
    """Return the numbers of the examples to train on, and of a share that is held out, each in order.

    count: how many there are. holdout: the share, drawn at random, the same for as many.
    """
    order = np.random.default_rng(0).permutation(count)
    cut = int(count * holdout)
    return np.sort(order[cut:]), np.sort(order[:cut])


def given_examples(name: str, texts: Any, labels: Any, several: bool) -> Examples:
    """Return examples of what a caller hands in: texts, and a label each, or a list of labels each.

    name: what stands before "texts" and "labels" in errors.
    Raises TypeError and ValueError for a wrong type, a text of white space only, or different numbers.
    """
    checked = given_texts(f"{name}texts", texts)
    if isinstance(labels, (str, bytes, *UNORDERED)) or not hasattr(labels, "__len__"):
        raise TypeError(f"{name}labels must be a list, got {type(labels).__name__}")
    if len(checked) != len(labels):
        raise ValueError(f"{name}labels must be {len(checked)}, one for each text, got {len(labels)}")
    places = [f"{name}texts[{i}]" for i in range(len(checked))]
    each = [_labels(place, label, several) for place, label in zip(places, labels, strict=True)]
    return Examples(checked, each, places)


def given_texts(name: str, texts: Any) -> list[str]:
    """Return a list of texts that a caller hands in; raises as `checked_text`."""
    if isinstance(texts, (str, bytes, *UNORDERED)) or not hasattr(texts, "__len__"):
        raise TypeError(f"{name} must be a list, got {type(texts).__name__}")
    return [checked_text(f"{name}[{i}]", text) for i, text in enumerate(texts)]


def checked_text(place: str, text: Any) -> str:
    """Return a text that has more than white space; raise TypeError or ValueError for another."""
    if not isinstance(text, str):
        raise TypeError(f"{place}: the text must be a string, got {type(text).__name__}")
    if not text.strip():
        raise ValueError(f"{place}: the text must have more than white space, got {text[:20]!r}")
    return text


def _labels(place: str, label: Any, several: bool) -> tuple[Label, ...]:
    if not several:
        return (as_label(f"{place}: the label", label),)
    if isinstance(label, (str, bytes)) or not isinstance(label, Iterable):
        raise TypeError(f"{place}: the labels must be a list of labels, got {type(label).__name__}")
    return tuple(as_label(f"{place}: each label", one) for one in label)


def read_examples(
    location: Location,
    text: str = "text",
    label: str = "label",
    *,
    several: bool = False,
    separator: str = "|",
) -> Examples:
    """Read texts and labels from a table; `reading.read_table` says which.

    text, label: the columns. several: whether a row has any number of labels: a list in JSON, and in CSV and
    TSV the cell's parts between separators.
    Raises OSError, ValueError and TypeError as `read_table`, and ValueError for a text of white space only, a
    label that is empty or none.
    """
    texts, labels, places = [], [], []
    for place, cells in read_table(location, (text, label)):
        value = cells[label]
        if several and isinstance(value, str):
            value = [part.strip() for part in value.split(separator) if part.strip()]
        elif isinstance(value, str):
            value = value.strip()
            if not value:
                raise ValueError(f"{place}: the label must not be empty")
        try:
            texts.append(checked_text(place, cells[text]))
            labels.append(_labels(place, value, several))
        except TypeError as error:
            raise ValueError(str(error)) from None
        places.append(place)
    return Examples(texts, labels, places)
