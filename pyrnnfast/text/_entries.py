"""What the entries of a vocabulary may be: the units, the specials, and the checks of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyrnnfast._names import UNITS
from pyrnnfast.text._checks import as_count, as_text

PAD, UNK, BOS, EOS = SPECIALS = ("<PAD>", "<UNK>", "<BOS>", "<EOS>")


def check_unit(unit: object) -> str:
    """Return `unit` when it is one of `UNITS`."""
    if not isinstance(unit, str):
        raise TypeError(f"unit: expected str, got {type(unit).__name__}")
    if unit not in UNITS:
        raise ValueError(f"unit: expected one of {UNITS}, got {unit!r}")
    return unit


def _each(name: str, values: object) -> tuple[object, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise TypeError(f"{name}: expected a sequence, got {type(values).__name__}")
    return tuple(values)


def check_specials(specials: object) -> tuple[str, ...]:
    """Return distinct names out of `SPECIALS`, in the order given."""
    names = tuple(as_text("specials", name) for name in _each("specials", specials))
    if len(set(names)) != len(names) or not set(names) <= set(SPECIALS):
        raise ValueError(f"specials: expected distinct ones of {SPECIALS}, got {names}")
    return names


def check_tokens(tokens: object, unit: str, lowercase: bool) -> tuple[str, ...]:
    """Return tokens that `encode` can meet in a text; whether they are distinct is left to the caller."""
    given = _each("tokens", tokens)
    texts = tuple(t if type(t) is str else as_text(f"tokens[{i}]", t) for i, t in enumerate(given))
    for i, text in enumerate(texts):
        if unit == "char" and len(text) != 1:
            raise ValueError(f"tokens[{i}]: expected one code point, got {text!r}")
        if unit == "word" and text.split() != [text]:
            raise ValueError(f"tokens[{i}]: expected a word without white space, got {text!r}")
        if lowercase and text.lower() != text:
            raise ValueError(f"tokens[{i}]: expected lower case, got {text!r}")
    if len(texts) > np.iinfo(np.int32).max - len(SPECIALS):
        raise ValueError(f"tokens: expected fewer than 2**31, got {len(texts)}")
    return texts


def check_counts(counts: object, entries: int) -> tuple[int, ...]:
    """Return one count >= 0 for each entry, zeros for None."""
    if counts is None:
        return (0,) * entries
    given = _each("counts", counts)
    numbers = tuple(
        n if type(n) is int and 0 <= n < 2**63 else as_count(f"counts[{i}]", n, 0)
        for i, n in enumerate(given)
    )
    if len(numbers) != entries:
        raise ValueError(f"counts: expected {entries}, one for each special and token, got {len(numbers)}")
    return numbers
