"""Text that comes in besides files: what is typed, and what Python carries; and text that goes out."""

from __future__ import annotations

import os
import sys


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


def say(text: str) -> None:
    """Print a line on stdout in UTF-8, whatever the locale."""
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{text}\n".encode(errors="replace"))
    sys.stdout.buffer.flush()
