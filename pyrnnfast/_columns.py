"""A table in plain text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def print_columns(head: Sequence[str], lines: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
    """Print a head, a rule and the lines, each column as wide as its widest text; `right`: of numbers."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    for line in (head, ["-" * width for width in widths], *lines):
        cells = enumerate(zip(line, widths, strict=True))
        texts = (text.rjust(width) if n in right else text.ljust(width) for n, (text, width) in cells)
        print("  ".join(texts).rstrip())
