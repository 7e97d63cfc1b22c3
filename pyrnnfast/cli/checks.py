"""What commands that train check before any data is read: options, files, the run that is to go on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pyrnnfast._names import CELLS, POOLINGS, UNITS
from pyrnnfast.cli.texts import typed

LENGTHS = ("epochs", "minutes", "steps")
CHOICES = {"cell": CELLS, "pooling": POOLINGS, "unit": UNITS}


def option(name: str) -> str:
    """Spell the option of an argument of a command."""
    return f"--{name.replace('_', '-')}"


def outputs_of(model_name: str) -> list[Path]:
    """Return the files of a run: model, checkpoint, history, plot."""
    from pyrnnfast.training import checkpoint

    model = Path(typed("--model", model_name))
    if not model.name:
        raise ValueError(f"--model must be the name of a file, got {model_name!r}")
    stem = model.name.removesuffix(".safetensors")
    return [model, checkpoint.path_beside(model), *(model.with_name(stem + end) for end in (".csv", ".png"))]


def check_together(*groups: Mapping[str, object]) -> None:
    """Refuse options of one group together; a group: their values, None or False when not given."""
    for group in groups:
        both = [name for name, value in group.items() if value is not None and value is not False]
        if len(both) > 1:
            raise ValueError(f"{both[0]} and {both[1]} cannot go together; give one of them")


def check_values(given: Mapping[str, Any]) -> None:
    """Refuse what no file could make right, before one is read.

    given: options by name, None for one that is not given: integers of at least 1, but for flags, those of
    `CHOICES`, dropout, recurrent_dropout, holdout, lr and weight_decay.
    """
    from pyrnnfast import validation

    for name, value in given.items():
        if value is None or isinstance(value, bool):
            continue
        if name in CHOICES:
            validation.choice(name, value, CHOICES[name])
        elif name.endswith("dropout"):
            validation.probability(name, value)
        elif name == "holdout":
            validation.number(name, value, at_least=0, below=1)
        elif name == "weight_decay":
            validation.number(name, value, at_least=0)
        elif name == "lr":
            validation.number(name, value, above=0)
        else:
            validation.integer(name, value, 1)


def check_outputs(outputs: list[Path], inputs: list[Path], resume: bool, force: bool) -> None:
    """Check the files of a run, of which the first two must be there when it is resumed."""
    if resume:
        for path in outputs[:2]:
            if not path.exists():
                raise ValueError(f"{path}: is not there, so nothing can be resumed; train without --resume")
    others = ", --resume goes on with that run, --model NAME takes another file"
    check_free(outputs, inputs, resume or force, others, "name another --model")


def check_free(
    outputs: list[Path],
    inputs: list[Path],
    replace: bool,
    others: str = "",
    instead: str = "name another one",
) -> None:
    """Refuse to overwrite what is read or what is there; find out now what cannot be written.

    replace: whether what is there may be. others: what else than --force could be done about it.
    instead: what to do about a file that is read.
    """
    from pyrnnfast.training.files import check_writable, resolve

    taken = {os.path.realpath(path) for path in inputs}
    for path in outputs:
        target = str(resolve(path))
        if target in taken:
            raise ValueError(f"{path}: would overwrite another file of this command; {instead}")
        taken.add(target)
    for path in outputs:
        if not replace and os.path.lexists(path):
            raise ValueError(f"{path}: is there already; --force replaces it{others}")
    for path in outputs:
        check_writable(path)


def resumed(
    beside: Path, defaults: Iterable[str], given: Mapping[str, Any], lasting: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (recipe, length) of the run of a checkpoint, the length as `lasting` says where it does.

    Raises ValueError unless options that are given anew are the same, and the length is in the same unit.
    """
    from pyrnnfast.training import checkpoint

    state = checkpoint.load(beside)
    recipe, budget = state.recipe, state.progress.get("budget")
    missing = [name for name in defaults if name not in recipe]
    had = {name: budget.get(name) for name in LENGTHS} if isinstance(budget, dict) else {}
    begun = next((name for name, value in had.items() if value is not None), None)
    if missing or begun is None:
        raise ValueError(f"{beside}: is damaged: the {missing[0] if missing else 'budget'} is missing")
    for name, value in given.items():
        if value is not None and value != recipe[name]:
            raise ValueError(
                f"{option(name)} {value} cannot go on with a run that had {recipe[name]}; leave it out"
            )
    for name in lasting:
        if name != begun:
            raise ValueError(
                f"{option(name)} cannot go on with a run that was begun with {option(begun)}; give "
                f"{option(begun)}, which counts from its start"
            )
    return recipe, dict(lasting) or {begun: had[begun]}
