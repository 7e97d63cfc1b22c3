"""What is true of a text at each of its tokens, once the token has been read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array

OPENING, CLOSING = "([{", ")]}"
LEFT, RIGHT = "“«„「", "”»」"

Property = Callable[[Sequence[str]], Array]
"""From M tokens to [M]: of bool for what is so or not, of float64 for an amount."""


def inside_quotes(tokens: Sequence[str]) -> Array:
    """Whether double quotes (of any script, not apostrophes) are open; a blank line closes them."""
    return _open(tokens, lambda depth, char: 1 - depth if char == '"' else _after(depth, char, LEFT, RIGHT))


def inside_brackets(tokens: Sequence[str]) -> Array:
    """Whether round, square or curly brackets are open; a blank line closes them."""
    return _open(tokens, lambda depth, char: _after(depth, char, OPENING, CLOSING))


def _after(depth: int, char: str, opening: str, closing: str) -> int:
    return max(0, depth + (char in opening) - (char in closing))


def _open(tokens: Sequence[str], step: Callable[[int, str], int]) -> Array:
    depth, before, found = 0, "", np.zeros(len(tokens), bool)
    for n, token in enumerate(tokens):
        for char in token:
            depth = step(depth, char)
        if token == before == "\n":
            depth = 0
        found[n], before = depth > 0, token
    return found


def position_in_line(tokens: Sequence[str]) -> Array:
    """The tokens since the last line end."""
    place, found = 0, np.zeros(len(tokens))
    for n, token in enumerate(tokens):
        place = 0 if token == "\n" else place + 1
        found[n] = place
    return found


def word_start(tokens: Sequence[str]) -> Array:
    """Whether the token is the first one of a word."""
    pairs = zip([" ", *tokens], tokens, strict=False)
    return np.array([last[-1:].isspace() and not token.isspace() for last, token in pairs], bool)


def upper_case(tokens: Sequence[str]) -> Array:
    """Whether the token's first character is a capital letter."""
    return np.array([token[:1].isupper() for token in tokens], bool)


PROPERTIES: dict[str, Property] = {
    "inside quotes": inside_quotes,
    "inside brackets": inside_brackets,
    "position in line": position_in_line,
    "word start": word_start,
    "upper case": upper_case,
}
"""Those that `find_units` looks for by default."""


def checked(properties: Mapping[str, Property]) -> Mapping[str, Property]:
    """Return the properties; raise TypeError when they are no mapping."""
    if not isinstance(properties, Mapping):
        raise TypeError(f"properties must be functions by name, got {type(properties).__name__}")
    return properties


def mark(properties: Mapping[str, Property], name: str, tokens: Sequence[str]) -> Array:
    """Return what the property of this name is at M tokens, [M], of bool or float64.

    Raises TypeError and ValueError where properties are no mapping, have none of this name, or one that is no
    function or gives something else.
    """
    if name not in checked(properties):
        raise ValueError(f"properties must have {name!r}, got {', '.join(map(repr, properties)) or 'none'}")
    function = properties[name]
    if not callable(function):
        raise TypeError(f"the property {name!r} must be a function, got {type(function).__name__}")
    values = validation.from_any(f"what the property {name!r} gives", function(tokens))
    if values.dtype.kind not in "biuf":
        raise TypeError(f"what the property {name!r} gives must be bool or numbers, got {values.dtype}")
    validation.fits(f"what the property {name!r} gives", values, (len(tokens),))
    if not np.isfinite(values).all():
        raise ValueError(f"what the property {name!r} gives must be finite, got infinity or NaN")
    return values if values.dtype == bool else values.astype(np.float64)
