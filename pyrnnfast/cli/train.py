"""`pyrnnfast train`: train a language model of characters or words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyrnnfast.cli import options as shared
from pyrnnfast.cli import runs
from pyrnnfast.cli.errors import DebugOption
from pyrnnfast.cli.texts import language_reference

DEFAULTS: dict[str, Any] = {
    "cell": "gru",
    "hidden": 256,
    "layers": 1,
    "embedding": 64,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "batch": 32,
    "window": 64,
    "lr": 6e-3,
    "weight_decay": 0.0,
}
WORDS = 10_000
"""The default size of a vocabulary of words; of characters all are taken."""
MINUTES = 1
VALID_EVERY = 250
PATIENCE = 10


def train(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE ...]",
            help="Texts in UTF-8, one after the other; without one, Python's language reference.",
        ),
    ] = None,
    model_name: shared.ModelFile = "model.safetensors",
    minutes: Annotated[float | None, shared.says("Wall time, all included.", MINUTES)] = None,
    steps: Annotated[int | None, typer.Option(help="Steps instead of minutes: reproducible.")] = None,
    valid: Annotated[Path | None, typer.Option(help="A text that is held out.")] = None,
    holdout: Annotated[
        float | None,
        shared.says("Without --valid, the share of the text, at its end, to hold out.", shared.HOLDOUT),
    ] = None,
    unit: Annotated[str | None, shared.says("char or word.", shared.UNIT)] = None,
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
    cell: Annotated[str | None, shared.cell(DEFAULTS["cell"])] = None,
    hidden: Annotated[int | None, shared.says("Units of a layer.", DEFAULTS["hidden"])] = None,
    layers: Annotated[int | None, shared.says("Recurrent layers.", DEFAULTS["layers"])] = None,
    embedding: Annotated[int | None, shared.says("Numbers per token.", DEFAULTS["embedding"])] = None,
    batch: Annotated[int | None, shared.says("Rows read at once.", DEFAULTS["batch"])] = None,
    window: Annotated[int | None, shared.says("Tokens of a row in a step.", DEFAULTS["window"])] = None,
    lr: Annotated[float | None, shared.says("The highest learning rate.", DEFAULTS["lr"])] = None,
    weight_decay: Annotated[float | None, shared.weight_decay(DEFAULTS["weight_decay"])] = None,
    dropout: Annotated[
        float | None, shared.says("Probability of a zero in a layer's output.", DEFAULTS["dropout"])
    ] = None,
    recurrent_dropout: Annotated[
        float | None,
        shared.says(
            "The same of the state that each step starts from, for a window.", DEFAULTS["recurrent_dropout"]
        ),
    ] = None,
    patience: Annotated[
        int | None,
        shared.says("End after so many validations without a new best.", PATIENCE),
    ] = None,
    tensorboard: shared.LogFolder = None,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    force: shared.Force = False,
    debug: DebugOption = False,
) -> None:
    """Train a language model of characters or words; Ctrl-C saves it and leaves, --resume goes on."""
    run = runs.Run(
        dict(locals()),
        files or (),
        DEFAULTS,
        new=("unit", "vocabulary", "min_count", "lowercase"),
        length={"minutes": MINUTES},
        patience=PATIENCE,
    )
    from pyrnnfast import validation
    from pyrnnfast.cli.progress import Display, sampler
    from pyrnnfast.models import LanguageModel, language_training
    from pyrnnfast.text import SPECIALS, Vocabulary, read_text

    if vocabulary is not None:
        validation.integer("vocabulary", vocabulary, len(SPECIALS) + 1)
    network = LanguageModel.load(run.outputs[0]) if resume else None
    unit = unit or shared.UNIT if network is None else network.vocabulary.unit
    text = "\n".join(map(read_text, files)) if files else language_reference()
    source = ", ".join(map(str, files)) if files else "Python's language reference"
    trained, held_out = language_training.split(
        text, None if valid is None else read_text(valid), run.holdout, unit
    )
    if unit == "word":
        run.check_held_out(len(held_out.split()), 1, "word")
    else:
        run.check_held_out(len(held_out), 2, "character")
    if network is None:
        size = vocabulary if vocabulary or unit == "char" else WORDS
        words = Vocabulary.from_text(
            trained, unit=unit, max_size=size, min_count=min_count or 1, lowercase=lowercase
        )
        if min_count is not None and not words.tokens:
            raise ValueError(f"--min-count must leave a {unit} that was seen as often, got {min_count}")
        network = run.new(LanguageModel(words, embedding=1, hidden=1))
    display = Display(run.console, sampler(network))
    trainer = language_training.prepare(
        network,
        trained,
        held_out,
        batch=run.options["batch"],
        window=run.options["window"],
        options=run.training(display, VALID_EVERY),
    )
    run.console.print(
        f"{source}: {len(trained):,} characters to train on, {len(held_out):,} held out, "
        f"{len(network.vocabulary.tokens):,} different {unit}s; {network.cell}, "
        f"{network.num_parameters():,} weights"
    )
    run.train(trainer, display, bool(held_out))
