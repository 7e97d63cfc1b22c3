"""`pyrnnfast train`: train a language model of characters or words."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrnnfast.cli import options as shared
from pyrnnfast.cli import runs
from pyrnnfast.cli.errors import DebugOption
from pyrnnfast.cli.texts import language_reference

if TYPE_CHECKING:
    from pyrnnfast.models import LanguageModel
    from pyrnnfast.text import Vocabulary

DEFAULTS: dict[str, Any] = {
    "cell": "gru",
    "hidden": 256,
    "layers": 1,
    "embedding": 64,
    "dropout": 0.0,
    "batch": 32,
    "window": 64,
    "lr": 6e-3,
}
WORDS = 10_000
"""The default size of a vocabulary of words; of characters all are taken."""
MINUTES = 1.0
VALID_EVERY = 250
PATIENCE = 10
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
    unit: Annotated[str | None, typer.Option(help="char or word.  [default: char]")] = None,
    vocabulary: Annotated[
        int | None,
        typer.Option(
            help="The most entries of the vocabulary, the frequent ones; the others are <UNK>.  "
            f"[default: all characters, {WORDS} words]"
        ),
    ] = None,
    min_count: Annotated[
        int | None, typer.Option(help="The least number of times a token of the vocabulary was seen.")
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Read all texts in lower case.")] = False,
    cell: Annotated[str | None, typer.Option(help=f"{shared.CELL_HELP}  [default: gru]")] = None,
    hidden: Annotated[int | None, typer.Option(help="Units of a layer.  [default: 256]")] = None,
    layers: Annotated[int | None, typer.Option(help="Recurrent layers.  [default: 1]")] = None,
    embedding: Annotated[int | None, typer.Option(help="Numbers per token.  [default: 64]")] = None,
    batch: Annotated[int | None, typer.Option(help="Rows read at once.  [default: 32]")] = None,
    window: Annotated[int | None, typer.Option(help="Tokens of a row in a step.  [default: 64]")] = None,
    lr: Annotated[float | None, typer.Option(help="The highest learning rate.  [default: 0.006]")] = None,
    dropout: Annotated[float | None, typer.Option(help="Probability of a zero.  [default: 0]")] = None,
    tensorboard: shared.LogFolder = None,
    seed: Annotated[int, typer.Option(help="Of weights and dropout; a resumed run keeps its own.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on; time and steps count from the run's start.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    debug: DebugOption = False,
) -> None:
    """Train a language model of characters or words; Ctrl-C saves it and leaves, --resume goes on."""
    started = time.monotonic()
    from pyrnnfast import validation
    from pyrnnfast.models import LanguageModel, language_training
    from pyrnnfast.text import SPECIALS, Vocabulary, read_text
    from pyrnnfast.training import Budget, RunOptions, TensorBoard

    outputs = runs.outputs_of(model_name)
    model = outputs[0]
    validation.integer("--seed", seed, 0)
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
    runs.check_together(
        {"--minutes": minutes, "--steps": steps},
        {"--valid": valid, "--holdout": holdout},
        {"--resume": resume, "--force": force},
        {"--resume": resume, "--unit": unit},
        {"--resume": resume, "--vocabulary": vocabulary},
        {"--resume": resume, "--min-count": min_count},
        {"--resume": resume, "--lowercase": lowercase},
    )
    if minutes is not None or steps is not None:
        Budget(steps, minutes)
    runs.check_values(
        {**given, "unit": unit, "min_count": min_count, "holdout": holdout},
        {"cell": shared.CELLS, "unit": ("char", "word")},
    )
    if vocabulary is not None:
        validation.integer("vocabulary", vocabulary, len(SPECIALS) + 1)
    runs.check_outputs(outputs, [*(files or ()), *([valid] if valid else ())], resume, force)
    logs = [] if tensorboard is None else [TensorBoard(tensorboard)]
    network = LanguageModel.load(model) if resume else None
    unit = unit or "char" if network is None else network.vocabulary.unit
    text = "\n".join(map(read_text, files)) if files else language_reference()
    trained, held_out = language_training.split(
        text, None if valid is None else read_text(valid), 0.1 if holdout is None else holdout, unit
    )
    if (valid is not None or holdout != 0) and len(held_out) < 2:
        raise ValueError(
            f"the text is too short: {len(held_out)} characters are held out, at least 2 are needed; "
            "give more text, or --holdout 0 for no held-out part"
        )
    if network is not None:
        options, kept = runs.resumed(outputs[1], DEFAULTS, given)
        if minutes is None and steps is None:
            minutes, steps = kept.get("minutes"), kept.get("steps")
    else:
        options = {name: DEFAULTS[name] if value is None else value for name, value in given.items()}
        minutes = MINUTES if minutes is None and steps is None else minutes
        size = vocabulary if vocabulary or unit == "char" else WORDS
        words = Vocabulary.from_text(
            trained, unit=unit, max_size=size, min_count=min_count or 1, lowercase=lowercase
        )
        network = _new(words, options, seed)

    from pyrnnfast.cli.progress import Display, sampler

    console = runs.open_console()
    display = Display(console, sampler(network))
    trainer = language_training.prepare(
        network,
        trained,
        held_out,
        batch=options["batch"],
        window=options["window"],
        options=RunOptions(
            budget=Budget(steps, minutes),
            lr=options["lr"],
            valid_every=VALID_EVERY,
            patience=PATIENCE,
            model=model,
            history=outputs[2],
            resume=resume,
            callbacks=[display, *logs],
            reserve=runs.reserve(),
            started=started,
        ),
    )
    source = ", ".join(map(str, files)) if files else "Python's language reference"
    console.print(
        f"{source}: {len(trained):,} characters to train on, {len(held_out):,} held out, "
        f"{len(network.vocabulary.tokens):,} different {unit}s; {network.cell}, "
        f"{network.num_parameters():,} weights"
    )
    runs.run(trainer, console, display, outputs)


def _new(words: Vocabulary, options: dict[str, Any], seed: int) -> LanguageModel:
    """Make the model, if it fits the memory."""
    from pyrnnfast.models import LanguageModel

    shape = {name: options[name] for name in ("cell", "embedding", "hidden", "layers", "dropout")}
    sizes = [max(shape[name], 1) for name in ("embedding", "hidden", "layers")]
    needed = BYTES_PER_WEIGHT * _count_weights(shape["cell"], len(words), *sizes)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ValueError(
            f"such a model needs about {needed / 1e9:,.0f} GB to train, here are {memory / 1e9:,.0f}; "
            "take a smaller --hidden, --layers, --embedding or --vocabulary"
        )
    return LanguageModel(words, **shape, rng=seed)


def _count_weights(cell: str, classes: int, embedding: int, hidden: int, layers: int) -> int:
    """Return the number of weights of a model before there is one."""
    from pyrnnfast.models.stacks import GATES

    gates = GATES.get(cell, 1) * hidden  # another cell is refused soon
    recurrent = gates * (embedding + hidden + 2) + (layers - 1) * gates * (2 * hidden + 2)
    return classes * (embedding + hidden + 1) + recurrent
