"""Training of the text classifier and the tagger, examples per second, against the same models in PyTorch.

    python bench/applications.py --threads 2

The models are `TextClassifier` (2 bidirectional GRU layers of 128 units on characters, N 128) and
`SequenceTagger` (a bidirectional LSTM of 192 units on words and of 48 on their characters, N 32) with their
defaults. A step is forward, loss, all gradients, clipping, Adam, in PyTorch its fused one. Both libraries get
the same batches, made as training makes them, of texts and sentences that are drawn with lengths as real ones
have. PyTorch's models are written as its users do, with packed sequences, without which the reverse direction
would begin in the padding. Without dropout both must agree on the losses of the first steps, from the same
weights; then they take turns, with it. The classifier has a row for each of four batches, from short texts to
the longest, which differ most in their lengths.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pyrnnfast import __version__, runtime
from pyrnnfast.benchmark.timing import QUICK, THOROUGH, Pacing, alternate, timed
from pyrnnfast.clipping import clip_grad_norm_
from pyrnnfast.models import SequenceTagger, TextClassifier
from pyrnnfast.models.classifier_training import LabelledBatches
from pyrnnfast.models.tagger_training import NONE, TaggedBatches
from pyrnnfast.optim import Adam
from pyrnnfast.text.examples import given_examples
from pyrnnfast.text.tagged import given_sentences

LR, CLIP, CHECKED_STEPS, TOLERANCE = 1e-3, 1.0, 3, 1e-3
TEXTS, MEDIAN, SPREAD, LONGEST, CHARACTERS = 16384, 48, 0.8, 600, 5000
SENTENCES, WORDS, TAGS, INTENTS = 2048, 11_000, 72, 7


class Ours:
    """A model as `fit` trains it."""

    def __init__(self, model: Any, batches: Sequence[Any]) -> None:
        self._model, self._batches, self._adam = model.train(), batches, Adam(model, LR)

    def epoch(self) -> list[float]:
        """Make a step with each batch; return the losses."""
        return [self._step(batch) for batch in self._batches]

    def _step(self, batch: Any) -> float:
        self._model.zero_grad()
        loss, _ = self._model.loss_and_grads(batch)
        clip_grad_norm_(self._model, CLIP)
        self._adam.step()
        return float(loss)


class PyTorch:
    """The same model in PyTorch: a module whose call gives the loss of a batch."""

    def __init__(self, twin: nn.Module, model: Any, batches: Sequence[Any]) -> None:
        twin.load_state_dict({name: torch.from_numpy(value) for name, value in model.state_dict().items()})
        self._twin = twin.train()
        self._batches = [type(batch)(*map(tensor, batch)) for batch in batches]
        self._adam = torch.optim.Adam(twin.parameters(), LR, fused=True)

    def epoch(self) -> list[float]:
        return [self._step(batch) for batch in self._batches]

    def _step(self, batch: Any) -> float:
        self._adam.zero_grad()
        loss = self._twin(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self._twin.parameters(), CLIP)
        self._adam.step()
        return loss.item()


def tensor(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array)


def read(layer: nn.RNNBase, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Run a layer over sequences [T, N, C] of different lengths; return its outputs, and its last state."""
    y, state = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
    return pad_packed_sequence(y)[0], state


class TorchClassifier(nn.Module):
    """`TextClassifier`."""

    def __init__(self, model: TextClassifier) -> None:
        super().__init__()
        hidden = model.recurrent.hidden_size
        self.embedding = nn.Embedding(len(model.vocabulary), model.embedding.embedding_dim)
        self.recurrent = nn.GRU(
            model.embedding.embedding_dim,
            hidden,
            model.recurrent.num_layers,
            bidirectional=True,
            dropout=model.dropout.p,
        )
        self.dropout = nn.Dropout(model.dropout.p)
        self.decoder = nn.Linear(2 * hidden, len(model.labels))

    def forward(self, batch: Any) -> torch.Tensor:
        y, _ = read(self.recurrent, self.embedding(batch.tokens), batch.lengths)
        pooled = y.sum(0) / batch.lengths[:, None]
        return nn.functional.cross_entropy(self.decoder(self.dropout(pooled)), batch.targets)


class TorchTagger(nn.Module):
    """`SequenceTagger`."""

    def __init__(self, model: SequenceTagger) -> None:
        super().__init__()
        words, letters = model.embedding.embedding_dim, model.character_embedding.embedding_dim
        hidden, spelling = model.recurrent.hidden_size, model.spelling.hidden_size
        self.embedding = nn.Embedding(len(model.vocabulary), words)
        self.character_embedding = nn.Embedding(len(model.characters), letters)
        self.spelling = nn.LSTM(letters, spelling, bidirectional=True)
        self.recurrent = nn.LSTM(words + 2 * spelling, hidden, bidirectional=True)
        self.dropout = nn.Dropout(model.dropout.p)
        self.decoder = nn.Linear(2 * hidden, len(model.tags))
        self.intent_decoder = nn.Linear(2 * hidden, INTENTS)
        self.unknown = model.vocabulary.unk_id
        counts = torch.tensor(model.vocabulary.counts)
        self.forgotten = torch.nan_to_num(model.word_dropout / (model.word_dropout + counts))

    def forward(self, batch: Any) -> torch.Tensor:
        _, (ends, _) = read(self.spelling, self.character_embedding(batch.spellings), batch.spelling_lengths)
        spelled = torch.cat([ends[0], ends[1]], 1)[batch.spelled]
        forgotten = torch.rand(batch.words.shape) < self.forgotten[batch.words]
        words = self.embedding(batch.words.masked_fill(forgotten, self.unknown))
        y, _ = read(self.recurrent, self.dropout(torch.cat([words, spelled], 2)), batch.lengths)
        y = self.dropout(y)
        tags = nn.functional.cross_entropy(
            self.decoder(y).flatten(0, 1), batch.tags.flatten(), ignore_index=NONE, reduction="sum"
        )
        outside = torch.arange(len(y))[:, None] >= batch.lengths
        pooled = y.masked_fill(outside[..., None], -math.inf).amax(0)
        intents = nn.functional.cross_entropy(self.intent_decoder(pooled), batch.intents)
        return tags / len(batch.lengths) + intents


def drawn_texts(rng: np.random.Generator) -> list[str]:
    """Draw texts of lengths as reviews have: log-normal, cut; characters as rare as Zipf says."""
    lengths = np.minimum(rng.lognormal(math.log(MEDIAN), SPREAD, TEXTS).astype(int) + 1, LONGEST)
    return ["".join(map(chr, 0x4E00 + zipf(rng, CHARACTERS, length))) for length in lengths]


def zipf(rng: np.random.Generator, kinds: int, count: int) -> np.ndarray:
    """Draw `count` numbers below `kinds`, n with a probability that goes as 1 / (n + 1)."""
    return np.minimum(np.exp(rng.random(count) * math.log(kinds + 1)) - 1, kinds - 1).astype(int)


def drawn_sentences(rng: np.random.Generator) -> list[Any]:
    """Draw sentences of 4 to 15 words, whose tags are as many as SNIPS has."""
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    lexicon = ["".join(rng.choice(letters, rng.integers(2, 11))) for _ in range(WORDS)]
    found = []
    for _ in range(SENTENCES):
        words = [lexicon[i] for i in zipf(rng, WORDS, int(rng.integers(4, 16)))]
        tags = [f"B-{tag}" if tag else "O" for tag in rng.integers(TAGS, size=len(words))]
        found.append((words, tags, f"intent {rng.integers(INTENTS)}"))
    return found


class Application(NamedTuple):
    """What is measured."""

    make: Callable[..., Any]
    """Our model, with its defaults but for the options given."""
    twin: Callable[[Any], nn.Module]
    """PyTorch's model of ours."""
    rows: dict[str, list[Any]]
    """Batches by the name of the row that they are measured for, the quickest first."""
    undropped: dict[str, float]
    """Options without which the losses of two libraries cannot agree."""


def classifier() -> Application:
    rng = np.random.default_rng(0)
    texts = drawn_texts(rng)
    labels = [f"label {label}" for label in rng.integers(2, size=len(texts))]
    make = functools.partial(TextClassifier.from_examples, texts, labels, rng=0)
    batches = LabelledBatches(make(), given_examples("", texts, labels, False), 128, None)
    rows = {f"classifier, T {len(each.tokens)}": [each] for each in chosen(batches.epoch(rng), 4)}
    return Application(make, TorchClassifier, rows, {"dropout": 0})


def tagger() -> Application:
    rng = np.random.default_rng(0)
    sentences = given_sentences("", drawn_sentences(rng))
    make = functools.partial(SequenceTagger.from_examples, sentences, rng=0)
    batches = chosen(TaggedBatches(make(), sentences, 32).epoch(rng), 16)
    return Application(make, TorchTagger, {"tagger": batches}, {"dropout": 0, "word_dropout": 0})


APPLICATIONS = {"classifier": classifier, "tagger": tagger}


def chosen(batches: Iterable[Any], count: int) -> list[Any]:
    """Return `count` of the batches, evenly from short ones to the longest."""
    ordered = sorted(batches, key=lambda batch: int(batch.lengths.sum()))
    return [ordered[(i + 1) * len(ordered) // count - 1] for i in range(count)]


def check(of: Application) -> None:
    """Take the first steps of both without dropout. Raises SystemExit when their losses differ."""
    name, batches = next(iter(of.rows.items()))
    model, steps = of.make(**of.undropped), (batches * CHECKED_STEPS)[:CHECKED_STEPS]
    theirs = PyTorch(of.twin(model), model, steps).epoch()
    ours = Ours(model, steps).epoch()
    if not np.allclose(ours, theirs, rtol=TOLERANCE, atol=0):
        raise SystemExit(f"{name}: pyrnnfast has the losses {ours}, PyTorch {theirs}")


def measure(of: Application, batches: list[Any], pacing: Pacing) -> dict[str, Any]:
    """Return the examples per second of both, and their ratio."""
    model = of.make()
    twin = PyTorch(of.twin(model), model, batches)
    calls = {"pyrnnfast": Ours(model, batches).epoch, "PyTorch": twin.epoch}
    timings = alternate(calls, pacing, {library: timed(call)[0] for library, call in calls.items()})
    examples = sum(batch.lengths.size for batch in batches)
    return {
        "examples": examples,
        "tokens": int(sum(batch.lengths.sum() for batch in batches)),
        **{library: examples / timing.median for library, timing in timings.items()},
        "quartiles": {library: [examples / t.high, examples / t.low] for library, t in timings.items()},
        "calls": {library: timing.calls for library, timing in timings.items()},
        "ratio": timings["PyTorch"].median / timings["pyrnnfast"].median,
    }


def together(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the examples per second over the batches of several rows, and their ratio."""
    examples = sum(row["examples"] for row in rows)
    speeds = {
        library: examples / sum(row["examples"] / row[library] for row in rows)
        for library in ("pyrnnfast", "PyTorch")
    }
    return {"examples": examples, **speeds, "ratio": speeds["pyrnnfast"] / speeds["PyTorch"]}


def show(label: str, row: dict[str, Any]) -> None:
    print(f"{label:26}{row['pyrnnfast']:11,.0f}{row['PyTorch']:11,.0f}{row['ratio']:8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=runtime.get_num_threads(), help="of both libraries")
    parser.add_argument("--only", choices=tuple(APPLICATIONS), help="one application")
    parser.add_argument("--quick", action="store_true", help="in short turns, without the longest batch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    options = parser.parse_args()
    runtime.set_num_threads(options.threads)
    torch.set_num_threads(options.threads)
    pacing = QUICK if options.quick else THOROUGH
    versions = {"pyrnnfast": __version__, "torch": torch.__version__, "isa": runtime.isa()}
    print(", ".join(f"{name} {version}" for name, version in versions.items()), f"threads {options.threads}")
    print(f"{'training, examples/s':26}{'pyrnnfast':>11}{'PyTorch':>11}{'ratio':>8}")
    results = {}
    for name in (options.only,) if options.only else APPLICATIONS:
        application = APPLICATIONS[name]()
        check(application)
        rows = list(application.rows.items())
        measured = {}
        for label, batches in rows[: -1 if options.quick and len(rows) > 1 else None]:
            measured[label] = measure(application, batches, pacing)
            show(label, measured[label])
        if len(measured) > 1:
            measured[name] = together(list(measured.values()))
            show(f"{name}, all of these", measured[name])
        results |= measured
    if options.json is not None:
        report = {"versions": versions, "threads": options.threads, "results": results}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
