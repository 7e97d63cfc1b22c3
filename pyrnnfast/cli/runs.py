"""What the commands that train share: checks before anything is read, resumption, the report at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrnnfast.cli.texts import typed

if TYPE_CHECKING:
    from rich.console import Console

    from pyrnnfast.cli.progress import Display
    from pyrnnfast.training import Trainer

AFTERWARDS = 0.6
"""Seconds of --minutes for starting up and leaving, besides those for the plot."""
PLOT_SECONDS = 1.5


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


def check_values(given: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse what no file could make right, before one is read.

    given: options by name, None for one that is not given: integers of at least 1, but for those of which
    choices says what they may be, dropout, holdout and lr.
    """
    from pyrnnfast import validation

    for name, value in given.items():
        if value is None:
            continue
        if name in choices:
            validation.choice(name, value, choices[name])
        elif name == "dropout":
            validation.probability(name, value)
        elif name == "holdout":
            validation.number(name, value, at_least=0, below=1)
        elif name == "lr":
            validation.number(name, value, above=0)
        else:
            validation.integer(name, value, 1)


def check_outputs(outputs: list[Path], inputs: list[Path], resume: bool, force: bool) -> None:
    """Refuse to overwrite what is there, or what is read; find out now what cannot be written."""
    from pyrnnfast.training.files import check_writable, resolve

    for path in outputs:
        resolve(path)
    read = {os.path.realpath(path) for path in inputs}
    for path in outputs:
        if os.path.realpath(path) in read:
            raise ValueError(f"{path}: would overwrite a text that is read; name another --model")
    if resume:
        for path in outputs[:2]:
            if not path.exists():
                raise ValueError(f"{path}: is not there, so nothing can be resumed; train without --resume")
    elif not force:
        for path in outputs:
            if os.path.lexists(path):
                raise ValueError(
                    f"{path}: is there already; --force replaces it, --resume goes on with that run, "
                    "--model NAME takes another file"
                )
    for path in outputs:
        check_writable(path)


def resumed(
    beside: Path, defaults: Iterable[str], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (options, budget) of the run of a checkpoint; options given anew must be the same."""
    from pyrnnfast.training import checkpoint

    state = checkpoint.load(beside)
    recipe, budget = state.recipe, state.progress.get("budget")
    missing = [name for name in defaults if name not in recipe]
    if missing or not isinstance(budget, dict):
        raise ValueError(f"{beside}: is damaged: the {missing[0] if missing else 'budget'} is missing")
    for name, value in given.items():
        if value is not None and value != recipe[name]:
            raise ValueError(
                f"--{name.replace('_', '-')} {value} cannot go on with a run that had {recipe[name]}; "
                "leave it out"
            )
    return {name: recipe[name] for name in defaults}, budget


def reserve() -> float:
    """Return the seconds that a run of minutes leaves for what comes after it."""
    from importlib.util import find_spec

    return AFTERWARDS + (PLOT_SECONDS if find_spec("matplotlib") else 0.0)


def open_console() -> Console:
    """Return stderr for what is told, without markup."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def run(
    trainer: Trainer, console: Console, display: Display, outputs: list[Path], per: str = "token"
) -> None:
    """Train, draw the losses, and print how it ended; they are nats per token, or per something else."""
    from pyrnnfast.training import plot

    try:
        outcome = trainer.run()
    finally:
        display.close()
    plotted = plot(trainer.history.rows, outputs[3], title=outputs[0].name, per=per)
    reached = outcome.progress
    ending = {"done": "done", "stopped": "stopped", "early stop": "stopped, as it no longer improved,"}
    line = f"{ending[outcome.reason]} after step {reached.step}, {reached.seconds:.0f} s"
    if reached.best_loss is not None:
        line += f"; held-out loss {reached.best_loss:.4f} nats per {per} (step {reached.best_step})"
    console.print(line)
    console.print(f"wrote {', '.join(map(str, outputs if plotted else outputs[:3]))}")
    if outcome.reason == "stopped":
        console.print("--resume goes on")
