"""Text that comes in: what is typed, what Python carries, texts of a table; and text that goes out."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def language_reference() -> str:
    """Return the text of the Python language reference that CPython carries for `help()`."""
    try:
        from pydoc_data.topics import topics  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise ValueError("this Python comes without its language reference; name a text file") from None
    return "\n\n".join(topics[name] for name in sorted(topics))


def typed(option: str, value: str) -> str:
    """Return what was typed for an option as UTF-8, whatever the locale; ValueError when it is not."""
    try:
        return os.fsencode(value).decode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"{option} must be UTF-8 text, got {error.object!r}") from None


def texts_of(file: Path, column: str) -> list[str]:
    """Read the texts of a table's column; a file whose name is none of a table has a text a line.

    Raises OSError and ValueError as `text.read_table` and `text.read_text`, and for a text of white space.
    """
    from pyrnnfast.text import read_lines, read_table
    from pyrnnfast.text.examples import checked_text
    from pyrnnfast.text.reading import SUFFIXES

    table = file.suffix.lower() in SUFFIXES
    records = read_table(file, [column]) if table else read_lines(file)
    return [checked_text(place, *cells.values()) for place, cells in records]


def sentences_of(file: Path) -> list[list[str]]:
    """Read the words of sentences, one a line; of `token:tag ... <=> intent` lines the tokens.

    Raises OSError and ValueError as `text.read_text` and `text.read_sentences`, and for a blank line.
    """
    from pyrnnfast.text import read_lines, read_sentences
    from pyrnnfast.text.examples import checked_text
    from pyrnnfast.text.tagged import has_arrow

    records = read_lines(file)
    if has_arrow([cells["text"] for _, cells in records]):
        return [list(sentence.words) for sentence in read_sentences(file)]
    return [checked_text(place, cells["text"]).split() for place, cells in records]


def say(text: str) -> None:
    """Print a line on stdout in UTF-8, whatever the locale."""
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{text}\n".encode(errors="replace"))
    sys.stdout.buffer.flush()
