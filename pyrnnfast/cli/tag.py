"""`pyrnnfast tag`: train a tagger of words with the sentence's intent, tag with it, measure it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pyrnnfast.cli import options as shared
from pyrnnfast.cli import runs
from pyrnnfast.cli.errors import DebugOption
from pyrnnfast.cli.texts import say, sentences_of, typed

DEFAULTS: dict[str, Any] = {
    "cell": "lstm",
    "embedding": 128,
    "hidden": 192,
    "layers": 1,
    "dropout": 0.5,
    "batch": 32,
    "lr": 2e-3,
    "weight_decay": 0.0,
}
CLIP, LINES_EVERY = 5.0, 100

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def train(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="token:tag ... <=> intent lines, or columns as CoNLL's.")
    ],
    model_name: shared.ModelFile = "tagger.safetensors",
    valid: shared.Valid = None,
    holdout: shared.Holdout = None,
    epochs: shared.Epochs = None,
    minutes: shared.Minutes = None,
    steps: shared.Steps = None,
    cell: Annotated[str | None, shared.cell(DEFAULTS["cell"])] = None,
    embedding: Annotated[int | None, shared.says("Numbers per word.", DEFAULTS["embedding"])] = None,
    hidden: Annotated[int | None, shared.says("Units of a layer and direction.", DEFAULTS["hidden"])] = None,
    layers: Annotated[int | None, shared.says("Layers over the words.", DEFAULTS["layers"])] = None,
    dropout: Annotated[float | None, shared.says("Probability of a zero.", DEFAULTS["dropout"])] = None,
    batch: Annotated[int | None, shared.says("Sentences read at once.", DEFAULTS["batch"])] = None,
    lr: Annotated[float | None, shared.says("The highest learning rate.", DEFAULTS["lr"])] = None,
    weight_decay: Annotated[float | None, shared.weight_decay(DEFAULTS["weight_decay"])] = None,
    patience: shared.Patience = None,
    tensorboard: shared.LogFolder = None,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    force: shared.Force = False,
    debug: DebugOption = False,
) -> None:
    """Train a bidirectional tagger on words and their characters; Ctrl-C saves it, --resume goes on."""
    run = runs.Run(dict(locals()), [file], DEFAULTS, length={"epochs": shared.EPOCHS})
    from pyrnnfast.cli.progress import Display
    from pyrnnfast.models import SequenceTagger, tagger_training
    from pyrnnfast.text import read_sentences
    from pyrnnfast.training.examples import epoch_steps

    sentences = read_sentences(file)
    if valid is None:
        trained, held_out = tagger_training.split(sentences, run.holdout)
    else:
        trained, held_out = sentences, read_sentences(valid)
    run.check_held_out(len(held_out), 1, "sentence")
    if resume:
        network = SequenceTagger.load(run.outputs[0])
    else:
        network = run.new(SequenceTagger.from_examples(trained, embedding=1, hidden=1))
    display = Display(run.console, every=LINES_EVERY)
    steps_an_epoch = epoch_steps(len(trained), run.options["batch"])
    trainer = tagger_training.prepare(
        network,
        trained,
        held_out,
        batch=run.options["batch"],
        options=run.training(display, steps_an_epoch, clip=CLIP),
    )
    run.console.print(
        f"{file}: {len(trained):,} sentences to train on, {len(held_out):,} held out, "
        f"{len(network.tags)} tags, {len(network.intents or ())} intents, "
        f"{len(network.vocabulary.tokens):,} different words; {network.cell}, "
        f"{network.num_parameters():,} weights"
    )
    run.train(trainer, display, bool(held_out), "sentence")


@app.command()
def predict(
    model: shared.SavedModel,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="A sentence a line, words between spaces, or token:tag ... <=> intent lines.",
        ),
    ] = None,
    text: Annotated[str | None, typer.Option(help="A sentence instead of a file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: words, tags, intent.")] = False,
    debug: DebugOption = False,
) -> None:
    """Print each sentence as a token:tag ... <=> intent line."""
    from pyrnnfast.models import SequenceTagger
    from pyrnnfast.text.examples import checked_text

    if (file is None) == (text is None):
        raise ValueError("give either FILE or --text")
    if text is not None:
        sentences = [checked_text("--text", typed("--text", text)).split()]
    elif file is not None:
        sentences = sentences_of(file)
    for found in SequenceTagger.load(model).predict(sentences):
        line = {"words": found.words, "tags": found.tags, "intent": found.intent}
        say(json.dumps(line, ensure_ascii=False) if as_json else str(found))


@app.command()
def evaluate(
    model: shared.SavedModel,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sentences as train reads them.")],
    as_json: shared.Json = False,
    debug: DebugOption = False,
) -> None:
    """Hold a model's tags and intents against those of a file; scores in percent, with --json from 0 to 1."""
    from pyrnnfast.models import SequenceTagger
    from pyrnnfast.text import read_sentences

    found = SequenceTagger.load(model).evaluate(read_sentences(file))
    if as_json:
        say(json.dumps(asdict(found)))
        return
    say(f"slot F1: {100 * found.slot_f1:.2f}")
    if found.intent_accuracy is not None:
        say(f"intent accuracy: {100 * found.intent_accuracy:.2f}")
