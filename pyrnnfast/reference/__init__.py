"""The backend in plain NumPy: equations as code, the oracle of the tests.

`PYRNNFAST_BACKEND=reference` runs the whole package on it. The functions are those of the protocol
`pyrnnfast._backend.Backend`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrnnfast.reference.dense import linear, linear_backward
from pyrnnfast.reference.losses import softmax_cross_entropy
from pyrnnfast.reference.optim import adam

if TYPE_CHECKING:
    from pyrnnfast.reference.recurrent import Pack, Tape, backward, forward
    from pyrnnfast.reference.sampling import generate
    from pyrnnfast.reference.stream import Stream

__all__ = [
    "Pack",
    "Stream",
    "Tape",
    "adam",
    "available_isas",
    "backward",
    "config",
    "default_isa",
    "forward",
    "generate",
    "get_num_threads",
    "infer",
    "linear",
    "linear_backward",
    "set_num_threads",
    "softmax_cross_entropy",
]

ISA = "reference"
_LATER = {
    "recurrent": ("Pack", "Tape", "backward", "forward"),
    "sampling": ("generate",),
    "stream": ("Stream",),
}
"""Modules that are imported when first used, as losses and optimizers want this package without them."""

_num_threads = 1


def __getattr__(name: str) -> Any:
    """Import what is wanted later."""
    for module, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def infer(pack: Pack, x: object, state: object) -> None:
    """Return None, so that validation comes first: it does not count beside NumPy's steps."""


def available_isas() -> list[str]:
    """Return the one name there is."""
    return [ISA]


def default_isa() -> str:
    """Return the one name there is."""
    return ISA


def set_num_threads(num_threads: int) -> None:
    """Store the number; NumPy does as it likes."""
    global _num_threads
    _num_threads = num_threads


def get_num_threads() -> int:
    """Return the number that was stored."""
    return _num_threads


def config() -> dict[str, str]:
    """Return the facts about this backend."""
    return {"backend": "reference", "isa": ISA, "numpy": np.__version__}
