"""`pyrnnfast train`: train a character-level language model."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrnnfast.cli.errors import DebugOption
from pyrnnfast.cli.texts import language_reference, read_text, typed

if TYPE_CHECKING:
    from pyrnnfast.models import LanguageModel

CELLS = ("lstm", "gru", "rnn", "rnn_relu", "gru_reset_before", "one_gate_gru")
DEFAULTS: dict[str, Any] = {
    "cell": "lstm",
    "hidden": 256,
    "layers": 1,
    "embedding": 64,
    "dropout": 0.0,
    "batch": 32,
    "window": 64,
    "lr": 6e-3,
}
MINUTES = 1.0
VALID_EVERY = 250
PATIENCE = 10
AFTERWARDS = 0.6
"""Seconds of --minutes for starting up and leaving, besides those for the plot."""
PLOT_SECONDS = 1.5
BYTES_PER_WEIGHT = 24
"""Weights, gradients, Adam's two means, the best weights, the pack, for simplicity of all: float32 each."""


def train(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE ...]",
            help="Texts in UTF-8, one after the other; without one, Python's language reference.",
        ),
    ] = None,
    model_name: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="FILE",
            help="The file to write; a CSV and a PNG of the losses and a checkpoint go beside it.",
        ),
    ] = "model.safetensors",
    minutes: Annotated[
        float | None, typer.Option(help=f"Wall time, all included.  [default: {MINUTES:g}]")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps instead of minutes: reproducible.")] = None,
    valid: Annotated[Path | None, typer.Option(help="A text that is held out.")] = None,
    holdout: Annotated[
        float | None,
        typer.Option(help="Without --valid, the share of the text, at its end, to hold out.  [default: 0.1]"),
    ] = None,
    cell: Annotated[str | None, typer.Option(help=f"One of {', '.join(CELLS)}.  [default: lstm]")] = None,
    hidden: Annotated[int | None, typer.Option(help="Units of a layer.  [default: 256]")] = None,
    layers: Annotated[int | None, typer.Option(help="Recurrent layers.  [default: 1]")] = None,
    embedding: Annotated[int | None, typer.Option(help="Numbers per character.  [default: 64]")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows read at once.  [default: 32]")] = None,
    window: Annotated[int | None, typer.Option(help="Characters of a row in a step.  [default: 64]")] = None,
    lr: Annotated[float | None, typer.Option(help="The highest learning rate.  [default: 0.006]")] = None,
    dropout: Annotated[float | None, typer.Option(help="Probability of a zero.  [default: 0]")] = None,
    seed: Annotated[int, typer.Option(help="Of weights and dropout; a resumed run keeps its own.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on; time and steps count from the run's start.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    debug: DebugOption = False,
) -> None:
    """Train a character-level language model; Ctrl-C saves it and leaves, --resume goes on."""
    started = time.monotonic()
    from pyrnnfast import validation
    from pyrnnfast.models import language_training
    from pyrnnfast.training import checkpoint, plot

    model = Path(typed("--model", model_name))
    if not model.name:
        raise ValueError(f"--model must be the name of a file, got {model_name!r}")
    validation.integer("--seed", seed, 0)
    outputs = [model, checkpoint.path_beside(model), _beside(model, ".csv"), _beside(model, ".png")]
    given = {
        "cell": cell,
        "hidden": hidden,
        "layers": layers,
        "embedding": embedding,
        "dropout": dropout,
        "batch": batch,
        "window": window,
        "lr": lr,
    }
    _check_together(minutes, steps, valid, holdout, resume, force)
    _check_values(given, minutes, steps, holdout)
    _check_outputs(outputs, [*(files or ()), *([valid] if valid else ())], resume, force)
    text = "\n".join(map(read_text, files)) if files else language_reference()
    trained, held_out = language_training.split(
        text, None if valid is None else read_text(valid), 0.1 if holdout is None else holdout
    )
    if (valid is not None or holdout != 0) and len(held_out) < 2:
        raise ValueError(
            f"the text is too short: {len(held_out)} characters are held out, at least 2 are needed; "
            "give more text, or --holdout 0 for no held-out part"
        )
    if resume:
        network, options, budget = _from_checkpoint(model, outputs[1], given, minutes, steps)
    else:
        options = {name: DEFAULTS[name] if value is None else value for name, value in given.items()}
        budget = (MINUTES if minutes is None and steps is None else minutes, steps)
        network = _new(trained, options, seed)

    from rich.console import Console

    from pyrnnfast.cli.progress import Display

    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    display = Display(console, network)
    trainer = language_training.prepare(
        network,
        trained,
        held_out,
        minutes=budget[0],
        steps=budget[1],
        batch=options["batch"],
        window=options["window"],
        lr=options["lr"],
        clip=1.0,
        valid_every=VALID_EVERY,
        patience=PATIENCE,
        model_file=model,
        history_file=outputs[2],
        resume=resume,
        callbacks=[display],
        reserve=AFTERWARDS + _plot_seconds(),
        started=started,
    )
    source = ", ".join(map(str, files)) if files else "Python's language reference"
    console.print(
        f"{source}: {len(trained):,} characters to train on, {len(held_out):,} held out, "
        f"{len(network.vocabulary.tokens)} different; {network.cell}, {network.num_parameters():,} weights"
    )
    try:
        outcome = trainer.run()
    finally:
        display.close()
    plotted = plot(trainer.history.rows, outputs[3], title=model.name)
    _report(console, outcome, outputs if plotted else outputs[:3])


def _check_together(
    minutes: float | None,
    steps: int | None,
    valid: Path | None,
    holdout: float | None,
    resume: bool,
    force: bool,
) -> None:
    """Refuse options that contradict each other."""
    for first, second, both in (
        ("--minutes", "--steps", minutes is not None and steps is not None),
        ("--valid", "--holdout", valid is not None and holdout is not None),
        ("--resume", "--force", resume and force),
    ):
        if both:
            raise ValueError(f"{first} and {second} cannot go together; give one of them")


def _check_values(
    given: dict[str, Any], minutes: float | None, steps: int | None, holdout: float | None
) -> None:
    """Refuse what no file could make right, before one is read."""
    from pyrnnfast import validation
    from pyrnnfast.training import Budget

    if minutes is not None or steps is not None:
        Budget(steps, minutes)
    if holdout is not None:
        validation.number("holdout", holdout, at_least=0, below=1)
    for name, value in given.items():
        if value is None:
            continue
        if name == "cell":
            validation.choice(name, value, CELLS)
        elif name == "dropout":
            validation.probability(name, value)
        elif name == "lr":
            validation.number(name, value, above=0)
        else:
            validation.integer(name, value, 1)


def _check_outputs(outputs: list[Path], inputs: list[Path], resume: bool, force: bool) -> None:
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


def _new(text: str, options: dict[str, Any], seed: int) -> LanguageModel:
    """Make the vocabulary and the model."""
    from pyrnnfast.models import LanguageModel
    from pyrnnfast.text import Vocabulary

    shape = {name: options[name] for name in ("cell", "embedding", "hidden", "layers", "dropout")}
    words = Vocabulary.from_text(text)
    sizes = [max(shape[name], 1) for name in ("embedding", "hidden", "layers")]
    needed = BYTES_PER_WEIGHT * _count_weights(shape["cell"], len(words), *sizes)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ValueError(
            f"such a model needs about {needed / 1e9:,.0f} GB to train, here are {memory / 1e9:,.0f}; "
            "take a smaller --hidden, --layers or --embedding"
        )
    return LanguageModel(words, **shape, rng=seed)


def _count_weights(cell: str, classes: int, embedding: int, hidden: int, layers: int) -> int:
    """Return the number of weights of a model before there is one."""
    from pyrnnfast.models.language_files import GATES

    gates = GATES.get(cell, 1) * hidden  # another cell is refused soon
    recurrent = gates * (embedding + hidden + 2) + (layers - 1) * gates * (2 * hidden + 2)
    return classes * (embedding + hidden + 1) + recurrent


def _from_checkpoint(
    model: Path, beside: Path, given: dict[str, Any], minutes: float | None, steps: int | None
) -> tuple[LanguageModel, dict[str, Any], tuple[float | None, int | None]]:
    """Return the model, the options and the budget of the run; options given anew must be the same."""
    from pyrnnfast.models import LanguageModel
    from pyrnnfast.training import checkpoint

    state = checkpoint.load(beside)
    recipe, budget = state.recipe, state.progress.get("budget")
    missing = [name for name in DEFAULTS if name not in recipe]
    if missing or not isinstance(budget, dict):
        raise ValueError(f"{beside}: is damaged: the {missing[0] if missing else 'budget'} is missing")
    for name, value in given.items():
        if value is not None and value != recipe[name]:
            raise ValueError(
                f"--{name} {value} cannot go on with a run that had {recipe[name]}; leave it out"
            )
    if minutes is None and steps is None:
        minutes, steps = budget.get("minutes"), budget.get("steps")
    return LanguageModel.load(model), {name: recipe[name] for name in DEFAULTS}, (minutes, steps)


def _beside(model: Path, suffix: str) -> Path:
    return model.with_name(model.name.removesuffix(".safetensors") + suffix)


def _plot_seconds() -> float:
    """Return what the plot will take of the time."""
    from importlib.util import find_spec

    return PLOT_SECONDS if find_spec("matplotlib") else 0.0


def _report(console: Any, outcome: Any, written: list[Path]) -> None:
    """Print how it ended."""
    reached = outcome.progress
    ending = {"done": "done", "stopped": "stopped", "early stop": "stopped, as it no longer improved,"}
    line = f"{ending[outcome.reason]} after step {reached.step}, {reached.seconds:.0f} s"
    if reached.best_loss is not None:
        line += f"; held-out loss {reached.best_loss:.4f} nats per token (step {reached.best_step})"
    console.print(line)
    console.print(f"wrote {', '.join(map(str, written))}")
    if outcome.reason == "stopped":
        console.print("--resume goes on")
