"""The JSON form of a vocabulary: the format, and a reader that believes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

FORMAT, VERSION = "pyrnnfast.vocabulary", 1
_FIELDS = ("unit", "lowercase", "specials", "tokens", "counts")


def dumps(
    unit: str, lowercase: bool, specials: Sequence[str], tokens: Sequence[str], counts: Sequence[int]
) -> str:
    """Return the fields as JSON in ASCII.

    A token with surrogates is written as the list of its code points: JSON spells one character beyond
    U+FFFF and two lone surrogates alike, so a string would not come back as it was.
    """
    listed = [list(map(ord, token)) if _has_surrogates(token) else token for token in tokens]
    fields = (unit, lowercase, list(specials), listed, list(counts))
    return json.dumps({"format": FORMAT, "version": VERSION, **dict(zip(_FIELDS, fields, strict=True))})


def loads(text: str) -> dict[str, Any]:
    """Return the arguments for `Vocabulary`, each of the right JSON type; their meaning is checked there.

    Raises:
        ValueError: not JSON, not this format, or a field that is missing, unexpected or of another type.
    """
    try:
        stored = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a vocabulary: not valid JSON: {error}") from None
    if not isinstance(stored, dict):
        raise ValueError(f"not a vocabulary: expected an object, got {_kind(stored)}")
    for name, expected in (("format", FORMAT), ("version", VERSION)):
        if type(stored.get(name)) is not type(expected) or stored[name] != expected:
            raise ValueError(
                f"not a vocabulary: {name}: expected {expected!r}, got {_short(stored.get(name))}"
            )
    names = set(stored) - {"format", "version"}
    if names != set(_FIELDS):
        missing, unexpected = sorted(set(_FIELDS) - names), sorted(names - set(_FIELDS))
        raise ValueError(f"not a vocabulary: missing fields {missing}, unexpected fields {unexpected}")
    for name, kind in (
        ("unit", str),
        ("lowercase", bool),
        ("specials", list),
        ("tokens", list),
        ("counts", list),
    ):
        if not isinstance(stored[name], kind):
            raise ValueError(f"not a vocabulary: {name}: expected {kind.__name__}, got {_kind(stored[name])}")
    tokens = [_token(i, token) for i, token in enumerate(stored["tokens"])]
    return {**{name: stored[name] for name in _FIELDS}, "tokens": tokens}


def _has_surrogates(token: str) -> bool:
    return any(0xD800 <= ord(character) < 0xE000 for character in token)


def _token(i: int, token: object) -> str:
    if isinstance(token, str) and not _has_surrogates(token):
        return token
    if isinstance(token, list) and all(type(point) is int and 0 <= point < 0x110000 for point in token):
        return "".join(map(chr, token))
    raise ValueError(f"not a vocabulary: tokens[{i}]: expected a string or code points, got {_short(token)}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field appears twice")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _kind(value: object) -> str:
    return type(value).__name__


def _short(value: object) -> str:
    spelled = repr(value)
    return spelled if len(spelled) <= 60 else spelled[:57] + "..."
