"""How often each token occurs in texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pyrnnfast.text import _loops
from pyrnnfast.text._checks import as_text


def each_text(texts: str | Iterable[str], lowercase: bool) -> Iterator[str]:
    """Yield each text, checked, and in lower case when asked."""
    if isinstance(texts, str):
        texts = (texts,)
    if not isinstance(texts, Iterable):
        raise TypeError(f"texts: expected str or an iterable of str, got {type(texts).__name__}")
    for i, text in enumerate(texts):
        exact = as_text(f"texts[{i}]", text)
        yield exact.lower() if lowercase else exact


def count_chars(texts: Iterable[str]) -> tuple[list[tuple[str, int]], int]:
    """Return each character with its count, and 0: line ends are characters here."""
    counts = np.zeros(0x110000, np.int64)
    for text in texts:
        _loops.count_chars(text, counts)
    return [(chr(point), int(counts[point])) for point in np.flatnonzero(counts).tolist()], 0


def count_words(texts: Iterable[str]) -> tuple[list[tuple[str, int]], int]:
    """Return each word with its count, and the number of line ends."""
    counts: dict[str, int] = {}
    line_ends = sum(_loops.count_words(text, counts) for text in texts)
    return list(counts.items()), line_ends
