"""`pyrnnfast tag`: train a tagger of words with the sentence's intent, tag with it, measure it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pyrnnfast.cli import options as shared
from pyrnnfast.cli import runs
from pyrnnfast.cli.errors import DebugOption
from pyrnnfast.cli.texts import say, typed

DEFAULTS: dict[str, Any] = {
    "cell": "lstm",
    "embedding": 128,
    "hidden": 192,
    "layers": 1,
    "dropout": 0.5,
    "batch": 32,
    "lr": 2e-3,
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
    cell: Annotated[str | None, typer.Option(help=f"{shared.CELL_HELP}  [default: lstm]")] = None,
    embedding: Annotated[int | None, typer.Option(help="Numbers per word.  [default: 128]")] = None,
    hidden: Annotated[
        int | None, typer.Option(help="Units of a layer and direction.  [default: 192]")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Layers over the words.  [default: 1]")] = None,
    dropout: Annotated[float | None, typer.Option(help="Probability of a zero.  [default: 0.5]")] = None,
    batch: Annotated[int | None, typer.Option(help="Sentences read at once.  [default: 32]")] = None,
    lr: Annotated[float | None, typer.Option(help="The highest learning rate.  [default: 0.002]")] = None,
    patience: shared.Patience = None,
    tensorboard: shared.LogFolder = None,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    force: shared.Force = False,
    debug: DebugOption = False,
) -> None:
    """Train a bidirectional tagger on words and their characters; Ctrl-C saves it, --resume goes on."""
    started = time.monotonic()
    from pyrnnfast import validation
    from pyrnnfast.models import SequenceTagger, tagger_training
    from pyrnnfast.text import read_sentences
    from pyrnnfast.training import Budget, RunOptions, TensorBoard
    from pyrnnfast.training.examples import example_budget

    outputs = runs.outputs_of(model_name)
    validation.integer("--seed", seed, 0)
    given = {
        "cell": cell,
        "embedding": embedding,
        "hidden": hidden,
        "layers": layers,
        "dropout": dropout,
        "batch": batch,
        "lr": lr,
    }
    runs.check_together(
        {"--epochs": epochs, "--minutes": minutes, "--steps": steps},
        {"--valid": valid, "--holdout": holdout},
        {"--resume": resume, "--force": force},
    )
    if epochs is not None or minutes is not None or steps is not None:
        Budget(steps, minutes, epochs)
    runs.check_values({**given, "holdout": holdout, "patience": patience}, {"cell": shared.CELLS})
    runs.check_outputs(outputs, [file, *([valid] if valid else ())], resume, force)
    logs = [] if tensorboard is None else [TensorBoard(tensorboard)]
    sentences = read_sentences(file)
    if valid is None:
        trained, held_out = tagger_training.split(sentences, 0.1 if holdout is None else holdout)
    else:
        trained, held_out = sentences, read_sentences(valid)
    if resume:
        options, kept = runs.resumed(outputs[1], DEFAULTS, given)
        if epochs is None and minutes is None and steps is None:
            epochs, minutes, steps = (kept.get(name) for name in ("epochs", "minutes", "steps"))
        network = SequenceTagger.load(outputs[0])
    else:
        options = {name: DEFAULTS[name] if value is None else value for name, value in given.items()}
        own = {name: value for name, value in options.items() if name not in ("batch", "lr")}
        network = SequenceTagger.from_examples(trained, **own, rng=seed)

    from pyrnnfast.cli.progress import Display

    console = runs.open_console()
    display = Display(console, every=LINES_EVERY)
    budget = example_budget(epochs, minutes, steps, len(trained), options["batch"])
    trainer = tagger_training.prepare(
        network,
        trained,
        held_out,
        batch=options["batch"],
        options=RunOptions(
            budget=budget,
            lr=options["lr"],
            clip=CLIP,
            valid_every=budget.epoch_steps,
            patience=patience,
            model=outputs[0],
            history=outputs[2],
            resume=resume,
            callbacks=[display, *logs],
            reserve=runs.reserve(),
            started=started,
        ),
    )
    console.print(
        f"{file}: {len(trained):,} sentences to train on, {len(held_out):,} held out, "
        f"{len(network.tags)} tags, {len(network.intents or ())} intents, "
        f"{len(network.vocabulary.tokens):,} different words; {network.cell}, "
        f"{network.num_parameters():,} weights"
    )
    runs.run(trainer, console, display, outputs, per="sentence")


@app.command()
def predict(
    model: shared.SavedModel,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A sentence a line, words between spaces.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="A sentence instead of a file.")] = None,
    debug: DebugOption = False,
) -> None:
    """Print each sentence as a token:tag ... <=> intent line."""
    from pyrnnfast.models import SequenceTagger
    from pyrnnfast.text import read_lines
    from pyrnnfast.text.examples import checked_text

    if (file is None) == (text is None):
        raise ValueError("give either FILE or --text")
    if text is not None:
        texts = [checked_text("--text", typed("--text", text))]
    elif file is not None:
        texts = [checked_text(place, cells["text"]) for place, cells in read_lines(file)]
    for sentence in SequenceTagger.load(model).predict([line.split() for line in texts]):
        say(str(sentence))


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
