"""What the examples of classification share: options, a tenth that is held out, training, the report."""

from __future__ import annotations

import argparse
import itertools
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from options import Parser, at_least
from throughput import compare, our_step, read_packed, torch_step, torch_twin, without_dropout

from pyrnnfast.models import TextClassifier
from pyrnnfast.models.classifier_training import LabelledBatches, TextBatch
from pyrnnfast.models.scores import table
from pyrnnfast.text.examples import given_examples
from pyrnnfast.training import Callback, Progress

Examples = list[tuple[str, str]]
"""Texts, and the label of each."""
COMPARED = 16
"""Batches."""


def parse_options(description: str) -> argparse.Namespace:
    """Read the command line: the file with the data, and what `Parser` takes, epochs and resumption too."""
    parser = Parser(description)
    parser.add_argument("data", type=Path, help="the file that was downloaded")
    parser.length.add_argument("--epochs", type=at_least(1), help="how often each is seen (default: 10)")
    parser.add_argument("--resume", action="store_true", help="go on with the run of --model, after Ctrl-C")
    options = parser.options()
    if options.resume and options.model is None:
        parser.error("--resume needs --model")
    return options


def load(read: Callable[[Path], Examples], file: Path, package: str) -> Examples:
    """Return what `read` finds in a file. Where that is nothing, end with one line and exit code 2.

    package: what `pip download` is told to get the file.
    """
    try:
        if not file.exists():
            told = f"{file} is not there; get it: pip download {package}"
        elif examples := read(file):
            return examples
        else:
            told = f"{file} has no texts; is it what pip download {package} writes?"
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        told = f"{file} cannot be read ({reason}); is it what pip download {package} writes?"
    except ImportError as error:
        told = f"{error}; install it: pip install pyyaml"
    print(told, file=sys.stderr)
    raise SystemExit(2)


class Told(Callback):
    """Prints a line at each validation, and at the end."""

    def on_validation(self, progress: Progress) -> None:
        """Print the losses and the speed."""
        held_out = "none yet" if progress.valid_loss is None else f"{progress.valid_loss:.3f}"
        print(
            f"step {progress.step}, {progress.seconds:.0f} s: loss {progress.loss:.3f}, held out {held_out} "
            f"nats per text, {progress.tokens_per_second:,.0f} characters/s",
            flush=True,
        )

    def on_end(self, progress: Progress, reason: str) -> None:
        """Print them once more."""
        self.on_validation(progress)


def train_and_report(examples: Examples, options: argparse.Namespace, batch: int, **model: Any) -> None:
    """Train on nine tenths drawn at random, and print how well the labels of the last tenth are found.

    A tenth of the nine tells when the weights are best, so the last tenth plays no part in training.
    batch: texts a step. model: options of `TextClassifier.from_examples`.
    """
    order = np.random.default_rng(options.seed).permutation(len(examples))
    parts = np.split(order, [len(examples) // 10])
    test, train = ([examples[i] for i in part] for part in parts)
    classifier = TextClassifier.from_examples(*zip(*train, strict=True), rng=options.seed, **model)
    print(
        f"{len(train):,} texts to train on, {len(test):,} held out, {len(classifier.labels)} labels, "
        f"{len(classifier.vocabulary):,} characters, {classifier.num_parameters():,} weights"
    )
    classifier.fit(
        *zip(*train, strict=True),
        epochs=options.epochs,
        minutes=options.minutes,
        batch=batch,
        model=options.model,
        resume=options.resume,
        callbacks=[Told()],
    )
    report = classifier.evaluate(*zip(*test, strict=True))
    columns = (report.precision, report.recall, report.f1_by_label)
    rows = [[f"{value:.3f}" for value in row] for row in zip(*columns, strict=True)]
    cells = [[*row, count] for row, count in zip(rows, report.support, strict=True)]
    print(table(cells, report.labels, ["precision", "recall", "F1", "texts"]))
    print(f"accuracy: {report.accuracy:.4f}")
    known = {text for text, _ in train}
    new = [(text, label) for text, label in test if text not in known]
    if 0 < len(new) < len(test):
        accuracy = classifier.evaluate(*zip(*new, strict=True)).accuracy
        print(f"accuracy on the {len(new):,} of these texts that training did not have: {accuracy:.4f}")
    if options.compare:
        print(f"training, without dropout: {ratio(classifier, train, batch):.2f} x PyTorch")


def ratio(classifier: TextClassifier, examples: Examples, rows: int) -> float:
    """Return how many times as fast such a classifier, pooling by the mean, trains as the same in PyTorch."""
    import torch

    model = without_dropout(classifier)
    whole = LabelledBatches(model, given_examples("", *zip(*examples, strict=True), False), rows, None)
    batches = list(itertools.islice(whole.epoch(np.random.default_rng(0)), COMPARED))
    tensors = [TextBatch(*map(torch.from_numpy, batch[:3]), None) for batch in batches]
    twin = torch_twin(model.train())

    def loss(batch: TextBatch) -> torch.Tensor:
        y = read_packed(twin["recurrent"], twin["embedding"](batch.tokens), batch.lengths)
        logits = twin["decoder"](y.sum(0) / batch.lengths[:, None])
        return torch.nn.functional.cross_entropy(logits, batch.targets)

    ours = our_step(model, lambda batch: model.loss_and_grads(batch)[0], batches)
    return compare(ours, torch_step(twin, loss, tensors))
