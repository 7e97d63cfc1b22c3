"""Text that comes in: files and prompts, in UTF-8."""

from __future__ import annotations

import os
from pathlib import Path


def read_text(path: Path) -> str:
    """Read a text file: UTF-8, a byte order mark skipped, CR LF and CR as LF.

    Raises OSError when it cannot be read, ValueError when it is empty or not UTF-8.
    """
    content = path.read_bytes()
    if not content:
        raise ValueError(f"{path}: is empty; give a file with text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: is not UTF-8 text (byte 0x{content[error.start]:02x} at {error.start}); "
            f"convert it, for example: iconv -f LATIN1 -t UTF-8 {path} > converted.txt"
        ) from None
    if not text:
        raise ValueError(f"{path}: is empty but for a byte order mark; give a file with text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


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
