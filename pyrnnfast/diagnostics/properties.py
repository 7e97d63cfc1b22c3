"""What is true of a text at each of its tokens, once the token has been read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

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
