"""Arrays with a description in one safetensors file. Never a pickle; a broken file is told, not believed.

A file's metadata holds "format" ("pyrnnfast"), "format_version", "package_version", "kind" (what it is: a
language model, a checkpoint, ...) and "description", a JSON object that the kind defines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.training.files import Location, write_whole

FORMAT = "pyrnnfast"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Stored:
    """What a file holds."""

    kind: str
    """What the file is, for example "language model"."""
    description: dict[str, Any]
    """What JSON can say about it."""
    tensors: dict[str, Array]
    """Arrays by name; they may be written."""
    package_version: str
    """The version that wrote the file."""


def save(location: Location, kind: str, description: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Write a file, whole or not at all.

    location: the file. kind: one word or two. description: what `json` can write. tensors: arrays by name.
    Raises OSError when it cannot be written, TypeError or ValueError for what these formats cannot hold.
    """
    import safetensors.numpy

    from pyrnnfast import __version__

    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "package_version": __version__,
        "kind": kind,
        "description": json.dumps(description, allow_nan=False),
    }
    dense = {name: np.array(tensor, order="C") for name, tensor in tensors.items()}
    write_whole(location, _ordered(safetensors.numpy.save(dense, metadata)))


def _ordered(content: bytes) -> bytes:
    """Sort the metadata of a safetensors file, whose order differs from call to call, so equal runs give
    equal files."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8
    return len(text).to_bytes(8, "little") + text + content[start:]


def load(location: Location, *kinds: str) -> Stored:
    """Read a file that `save` wrote.

    location: the file. kinds: what it may be.
    Raises OSError when it cannot be read, ValueError with one clear sentence when it is something else, is
    truncated, or lies about its contents.
    """
    metadata, tensors = _read(location)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{location}: is a safetensors file, but not one of pyrnnfast")
    try:
        version = int(metadata.get("format_version", ""))
    except ValueError:
        version = 0
    if version < 1:
        raise ValueError(
            f"{location}: is damaged: format_version must be a number of at least 1, "
            f"got {metadata.get('format_version')!r}"
        )
    writer = metadata.get("package_version", "unknown")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{location}: has format {version}, this version reads up to {FORMAT_VERSION}; "
            f"it was written by pyrnnfast {writer}: install that one or a later one"
        )
    kind = metadata.get("kind", "")
    if kind not in kinds:
        raise ValueError(f"{location}: must be a {' or a '.join(kinds)}, got a {kind!r}")
    try:
        description = json.loads(metadata.get("description", ""))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{location}: is damaged: its description is no JSON ({error})") from None
    if not isinstance(description, dict):
        raise ValueError(f"{location}: is damaged: its description is no JSON object")
    return Stored(kind, description, tensors, writer)


def _read(location: Location) -> tuple[dict[str, str], dict[str, Array]]:
    """Return the metadata and the tensors of any safetensors file."""
    from safetensors import SafetensorError, safe_open

    path = Path(os.fspath(location))
    with open(path, "rb") as file:  # OSErrors come from here, with the file's name in them
        if not path.is_file():
            raise ValueError(f"{location}: must be a file, but it is no regular file")
        if not file.read(1):
            raise ValueError(f"{location}: is empty, not a safetensors file")
    try:
        with safe_open(path, framework="np") as stored:
            tensors = {name: np.array(stored.get_tensor(name)) for name in stored.keys()}  # noqa: SIM118
            return stored.metadata() or {}, tensors
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError, UnicodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{location}: is not a safetensors file, or it is truncated or damaged ({reason})"
        ) from None
