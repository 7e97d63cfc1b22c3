"""Everything that a run needs to go on as if it had never stopped, in one safetensors file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyrnnfast._types import Array
from pyrnnfast.training import storage
from pyrnnfast.training.files import Location

KIND = "checkpoint"
SEPARATOR = "/"

Values = Mapping[str, Any]


@dataclass
class Checkpoint:
    """The state of a run between two steps."""

    progress: dict[str, Any]
    """Numbers of the trainer: steps, tokens, seconds, the best validation and when it was."""
    recipe: dict[str, Any]
    """What must be the same when the run goes on; JSON values."""
    generator: dict[str, Any] | None
    """`rng.bit_generator.state`."""
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """States by owner ("weights", "optimizer", "task"): arrays and numbers by name."""


def path_beside(model: Location) -> Path:
    """Return where the checkpoint of a model file is: model.safetensors -> model.checkpoint.safetensors."""
    path = Path(model)
    stem = path.name.removesuffix(".safetensors")
    return path.with_name(f"{stem}.checkpoint.safetensors")


def save(location: Location, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all. Raises OSError when it cannot be written."""
    tensors: dict[str, Array] = {}
    numbers: dict[str, dict[str, Any]] = {}
    for part, values in checkpoint.parts.items():
        numbers[part] = {}
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                tensors[f"{part}{SEPARATOR}{name}"] = value
            else:
                numbers[part][name] = value
    description = {
        "progress": checkpoint.progress,
        "recipe": checkpoint.recipe,
        "generator": checkpoint.generator and pack_state(checkpoint.generator),
        "numbers": numbers,
    }
    storage.save(location, KIND, description, tensors)


def load(location: Location) -> Checkpoint:
    """Read a checkpoint. Raises OSError when it cannot be read, ValueError when it is damaged or none."""
    stored = storage.load(location, KIND)
    found = stored.description
    for name in ("progress", "recipe", "numbers"):
        if not isinstance(found.get(name), dict):
            raise ValueError(f"{location}: is damaged: {name} is missing")
    if not all(isinstance(values, dict) for values in found["numbers"].values()):
        raise ValueError(f"{location}: is damaged: numbers are missing")
    for name, kinds in (("step", (int,)), ("tokens", (int,)), ("seconds", (int, float))):
        value = found["progress"].get(name)
        if type(value) not in kinds or not 0 <= value < math.inf:
            raise ValueError(f"{location}: is damaged: {name} is {value!r}")
    parts: dict[str, dict[str, Any]] = {part: dict(values) for part, values in found["numbers"].items()}
    for path, tensor in stored.tensors.items():
        part, _, name = path.partition(SEPARATOR)
        parts.setdefault(part, {})[name] = tensor
    generator = found.get("generator")
    return Checkpoint(found["progress"], found["recipe"], generator and unpack_state(generator), parts)


def pack_state(state: Any) -> Any:
    """Make a bit generator's state fit for JSON: arrays (of MT19937, Philox, SFC64) become lists."""
    if isinstance(state, dict):
        return {name: pack_state(value) for name, value in state.items()}
    if isinstance(state, np.ndarray):
        return {"dtype": str(state.dtype), "values": state.tolist()}
    return state.item() if isinstance(state, np.generic) else state


def unpack_state(state: Any) -> Any:
    """Undo `pack_state`."""
    if isinstance(state, dict) and state.keys() == {"dtype", "values"}:
        return np.array(state["values"], state["dtype"])
    if isinstance(state, dict):
        return {name: unpack_state(value) for name, value in state.items()}
    return state


def digest(told: str, parts: Iterable[bytes]) -> str:
    """Name data by their contents, for a recipe: `told`, and a digest of all parts."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return f"{told}, sha256 {whole.hexdigest()[:12]}"


def set_generator(rng: np.random.Generator, state: Any, location: Location) -> None:
    """Put a generator into a saved state; ValueError when that is no state of its kind."""
    try:
        rng.bit_generator.state = state
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(f"{location}: is damaged: the random generator's state is none ({error})") from None
