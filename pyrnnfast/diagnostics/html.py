"""Text coloured by what units do: one page, which loads nothing from elsewhere and runs no script."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array
from pyrnnfast.training.files import Location, write_whole

LEVELS = 12
"""Shades of a colour."""
HIGH, LOW = "214, 39, 40", "31, 119, 180"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 sans-serif; margin: 2em auto; max-width: 60em; color: #111; background: #fff }}
pre {{ font: 15px/1.6 monospace; white-space: pre-wrap; overflow-wrap: anywhere }}
{styles}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


class Block(NamedTuple):
    """A text, or several, coloured by one number for each token."""

    heading: str
    note: str
    texts: Sequence[tuple[Sequence[str], Array]]
    """(M strings, [M] floats from -1 to 1) each: red above 0, blue below; held to that range."""


def write_html(location: Location, title: str, blocks: Sequence[Block]) -> None:
    """Write blocks of coloured text into an HTML file, whole or not at all.

    Raises TypeError for another type, ValueError for numbers that are not as many as the tokens, OSError when
    the file cannot be written.
    """
    validation.path("location", location)
    validation.listed("blocks", blocks, Block, "a list of blocks")
    strings = [("title", title)]
    strings += [(name, getattr(block, name)) for block in blocks for name in ("heading", "note")]
    for name, text in strings:
        if not isinstance(text, str):
            raise TypeError(f"{name} must be a string, got {type(text).__name__}")
    body = "\n".join(map(_block, blocks))
    content = PAGE.format(title=_escaped(title), styles=_styles(), body=body)
    write_whole(location, content.encode("utf-8", "replace"))


def _styles() -> str:
    shades = [
        f".{letter}{level} {{ background: rgba({colour}, {0.85 * level / LEVELS:.2f}) }}"
        for letter, colour in (("h", HIGH), ("l", LOW))
        for level in range(1, LEVELS + 1)
    ]
    return "\n".join(shades)


def _block(block: Block) -> str:
    texts = "\n".join(f"<pre>{_coloured(text)}</pre>" for text in block.texts)
    return f"<h2>{_escaped(block.heading)}</h2>\n<p>{_escaped(block.note)}</p>\n{texts}"


def _coloured(given: tuple[Sequence[str], Array]) -> str:
    """Write tokens, those of one shade after the other in one span."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise TypeError(f"a text of a block must be (tokens, numbers), got {type(given).__name__}")
    tokens, values = given
    validation.listed("the tokens of a block", list(tokens), str, "strings")
    values = validation.ndarray("the numbers of a block", values, None)
    validation.fits("the numbers of a block", values, (len(tokens),))
    levels = np.rint(np.clip(np.nan_to_num(values), -1, 1) * LEVELS).astype(np.int64).tolist()
    pieces = []
    for level, group in itertools.groupby(zip(levels, tokens, strict=True), key=lambda each: each[0]):
        text = _escaped("".join(token for _, token in group)).replace("\n", "↵\n")
        pieces.append(f'<span class="{"hl"[level < 0]}{abs(level)}">{text}</span>' if level else text)
    return "".join(pieces)


def _escaped(text: str) -> str:
    """Make text that HTML may hold: markup escaped, control characters as their pictures."""
    pictures = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    return html.escape(text.translate({**pictures, 127: 0x2421}))
