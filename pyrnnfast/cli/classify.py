"""`pyrnnfast classify`: train a classifier of texts, label texts with it, measure it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyrnnfast._names import POOLINGS
from pyrnnfast.cli import options as shared
from pyrnnfast.cli import runs
from pyrnnfast.cli.errors import DebugOption
from pyrnnfast.cli.texts import say, texts_of, typed

if TYPE_CHECKING:
    from pyrnnfast.models import TextClassifier
    from pyrnnfast.text import Examples

DEFAULTS: dict[str, Any] = {
    "cell": "gru",
    "embedding": 64,
    "hidden": 128,
    "layers": 2,
    "pooling": "mean",
    "dropout": 0.2,
    "max_length": 600,
    "batch": 128,
    "lr": 1e-3,
    "weight_decay": 0.0,
}
VOCABULARY = 5000
"""Of characters or words, besides those that stand for others."""
LINES_EVERY = 100
LABELS_SHOWN = 30
"""The most of a confusion matrix that is printed."""

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _separating(text: str) -> str:
    if not text:
        raise ValueError("--separator must have at least one character, got ''")
    return text


TextColumn = Annotated[str, typer.Option(help="The texts' column: its name, or its number from 1.")]
LabelColumn = Annotated[str, typer.Option(help="The labels' column: its name, or its number from 1.")]
Separator = Annotated[
    str,
    typer.Option(callback=_separating, help="What stands between the labels of a cell, with --multilabel."),
]


@app.command()
def train(
    files: Annotated[list[Path], typer.Argument(metavar="FILE ...", help="CSV, TSV or JSON lines.")],
    model_name: shared.ModelFile = "classifier.safetensors",
    valid: shared.Valid = None,
    holdout: shared.Holdout = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    separator: Separator = "|",
    multilabel: Annotated[
        bool, typer.Option("--multilabel", help="Any number of labels a text, not exactly one.")
    ] = False,
    class_weights: Annotated[
        str | None, typer.Option(help='"balanced", or LABEL=WEIGHT,... (1 for the rest).  [default: none]')
    ] = None,
    epochs: shared.Epochs = None,
    minutes: shared.Minutes = None,
    steps: shared.Steps = None,
    unit: Annotated[str | None, shared.says("char or word.", shared.UNIT)] = None,
    vocabulary: Annotated[
        int | None, shared.says("Tokens that are kept, the most frequent.", VOCABULARY)
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Read all texts in lower case.")] = False,
    max_length: Annotated[int | None, shared.says("Tokens of a text read.", DEFAULTS["max_length"])] = None,
    cell: Annotated[str | None, shared.cell(DEFAULTS["cell"])] = None,
    pooling: Annotated[str | None, shared.says(f"One of {', '.join(POOLINGS)}.", DEFAULTS["pooling"])] = None,
    embedding: Annotated[int | None, shared.says("Numbers per token.", DEFAULTS["embedding"])] = None,
    hidden: Annotated[int | None, shared.says("Units of a layer and direction.", DEFAULTS["hidden"])] = None,
    layers: Annotated[int | None, shared.says("Recurrent layers.", DEFAULTS["layers"])] = None,
    dropout: Annotated[float | None, shared.says("Probability of a zero.", DEFAULTS["dropout"])] = None,
    batch: Annotated[int | None, shared.says("Texts read at once.", DEFAULTS["batch"])] = None,
    lr: Annotated[float | None, shared.says("The highest learning rate.", DEFAULTS["lr"])] = None,
    weight_decay: Annotated[float | None, shared.weight_decay(DEFAULTS["weight_decay"])] = None,
    patience: shared.Patience = None,
    tensorboard: shared.LogFolder = None,
    seed: shared.Seed = 0,
    resume: shared.Resume = False,
    force: shared.Force = False,
    debug: DebugOption = False,
) -> None:
    """Train a classifier (bidirectional, pooled) on texts with labels; Ctrl-C saves it, --resume goes on."""
    run = runs.Run(
        dict(locals()),
        files,
        DEFAULTS,
        new=("unit", "vocabulary", "lowercase"),
        length={"epochs": shared.EPOCHS},
    )
    from pyrnnfast.cli.progress import Display
    from pyrnnfast.models import TextClassifier, classifier_training
    from pyrnnfast.models.text_classifier import SPECIALS
    from pyrnnfast.training.examples import epoch_steps

    columns = {"text": text_column, "label": label_column, "several": multilabel, "separator": separator}
    trained, held_out = _read(files, valid, run.holdout, columns)
    run.check_held_out(len(held_out), 1, "example")
    weights: str | dict[Any, float] | None = None
    if resume:
        network = TextClassifier.load(run.outputs[0])
        if network.multilabel != multilabel:
            begun = "with" if network.multilabel else "without"
            raise ValueError(f"the run was begun {begun} --multilabel and must go on so, got the opposite")
        if run.recipe.get("class weights"):
            weights = dict(zip(network.labels.values, run.recipe["class weights"], strict=True))
    else:
        seen = trained if valid is not None else _joined([trained, held_out])
        if not any(seen.labels):
            raise ValueError(f"{', '.join(map(str, files))}: must have at least one label, got none")
        size = (vocabulary or VOCABULARY) + len(SPECIALS)
        words = {"unit": unit or shared.UNIT, "max_size": size, "lowercase": lowercase}
        network = run.new(_smallest(trained.texts, seen, words, multilabel))
    if class_weights is not None:
        weights = _weights(class_weights, network)
    display = Display(run.console, every=LINES_EVERY)
    trainer = classifier_training.prepare(
        network,
        trained,
        held_out,
        batch=run.options["batch"],
        class_weights=weights,
        options=run.training(display, epoch_steps(len(trained), run.options["batch"]), validations=2),
    )
    run.console.print(
        f"{', '.join(map(str, files))}: {len(trained):,} texts to train on, {len(held_out):,} held out, "
        f"{len(network.labels)} labels, {len(network.vocabulary.tokens):,} different "
        f"{network.vocabulary.unit}s; {network.cell}, {network.num_parameters():,} weights"
    )

    def score() -> str:
        found = network.evaluate_examples(held_out, confusion=False)
        return f"held out: accuracy {found.accuracy:.4f}, F1 {found.f1:.4f}"

    each = "text and label" if multilabel else "text"
    run.train(trainer, display, bool(len(held_out)), each, score if len(held_out) else None)


@app.command()
def predict(
    model: shared.SavedModel,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="CSV, TSV or JSON lines; of another name: a text a line."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="A text instead of a file.")] = None,
    text_column: TextColumn = "text",
    separator: Separator = "|",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines: the label, and each label with its probability.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Print the label of each text, one a line."""
    from pyrnnfast.models import TextClassifier
    from pyrnnfast.text.examples import checked_text

    if (file is None) == (text is None):
        raise ValueError("give either FILE or --text")
    network = TextClassifier.load(model)
    if text is not None:
        texts = [checked_text("--text", typed("--text", text))]
    elif file is not None:
        texts = texts_of(file, text_column)
    probabilities = network.probabilities(texts)
    for label, row in zip(network.decide(probabilities), probabilities, strict=True):
        if as_json:
            pairs = zip(network.labels.values, map(float, row), strict=True)
            each = [{"label": one, "probability": p} for one, p in pairs]
            line = json.dumps({"label": label, "probabilities": each}, ensure_ascii=False)
        else:
            line = separator.join(map(str, label)) if network.multilabel else str(label)
        say(line)


@app.command()
def evaluate(
    model: shared.SavedModel,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, TSV or JSON lines.")],
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    separator: Separator = "|",
    as_json: shared.Json = False,
    debug: DebugOption = False,
) -> None:
    """Hold a model's labels against those of a file: accuracy, F1, the confusion matrix."""
    from pyrnnfast.models import TextClassifier
    from pyrnnfast.models.scores import table
    from pyrnnfast.text import read_examples

    network = TextClassifier.load(model)
    several = network.multilabel
    examples = read_examples(file, text_column, label_column, several=several, separator=separator)
    few = len(network.labels) <= LABELS_SHOWN
    found = network.evaluate_examples(examples, confusion=few or as_json)
    if as_json:
        say(json.dumps(asdict(found), ensure_ascii=False))
        return
    say(f"loss: {found.loss:.4f}")
    say(f"accuracy: {found.accuracy:.4f}")
    say(f"F1: {found.f1:.4f}")
    say(f"texts per second: {found.examples_per_second:.0f}")
    columns = (found.precision, found.recall, found.f1_by_label)
    rows = [[f"{value:.4f}" for value in row] for row in zip(*columns, strict=True)]
    counted = [[*row, str(count)] for row, count in zip(rows, found.support, strict=True)]
    say("\n" + table(counted, found.labels, ["precision", "recall", "F1", "texts"]))
    if not several and found.confusion is not None:
        say("\nconfusion matrix, a row for each true label:")
        say(table(found.confusion, found.labels, found.labels))
    elif not several:
        say(f"\nno confusion matrix of more than {LABELS_SHOWN} labels here; --json has it")


def _read(
    files: list[Path], valid: Path | None, holdout: float, columns: dict[str, Any]
) -> tuple[Examples, Examples]:
    """Return (examples to train on, those held out)."""
    from pyrnnfast.text import read_examples

    examples = _joined([read_examples(file, **columns) for file in files])
    if valid is not None:
        return examples, read_examples(valid, **columns)
    return examples.split(holdout)


def _joined(parts: list[Examples]) -> Examples:
    from pyrnnfast.text import Examples

    names = ("texts", "labels", "places")
    return Examples(*([each for part in parts for each in getattr(part, name)] for name in names))


def _smallest(
    texts: Sequence[str], seen: Examples, words: dict[str, Any], multilabel: bool
) -> TextClassifier:
    """Make the vocabulary of what is trained on, the labels of all that is seen, and a model of one unit."""
    from pyrnnfast.models import TextClassifier
    from pyrnnfast.models.text_classifier import SPECIALS
    from pyrnnfast.text import Labels, Vocabulary

    labels = Labels.seen(label for each in seen.labels for label in each)
    vocabulary = Vocabulary.from_text(texts, specials=SPECIALS, **words)
    return TextClassifier(vocabulary, labels.values, multilabel=multilabel, embedding=1, hidden=1)


def _weights(given: str, network: TextClassifier) -> str | dict[Any, float]:
    """Return what `fit` takes: LABEL=WEIGHT,... by the labels' spelling."""
    if given == "balanced":
        return given
    spelled = {str(label): label for label in network.labels.values}
    times = Counter(map(str, network.labels.values))
    weights = {}
    for part in typed("--class-weights", given).split(","):
        label, _, weight = part.rpartition("=")
        try:
            weights[spelled[label]] = float(weight)
        except (KeyError, ValueError):
            known = ", ".join(spelled)
            raise ValueError(
                f'--class-weights must be "balanced" or LABEL=WEIGHT,... with labels of {known}, got {part!r}'
            ) from None
        if times[label] > 1:
            raise ValueError(
                f"--class-weights cannot tell labels apart that are spelled alike, got {label!r}; "
                "TextClassifier.fit can"
            )
    return weights
