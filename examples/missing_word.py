"""Fill in a missing word from both sides of it, and from its left side alone; and see that order matters.

    python examples/missing_word.py tinyshakespeare.txt --plot missing_word.png

Two GRU models guess a missing word of a sentence. One reads left to right and knows what stands before the
word. The other reads right to left too, and knows what stands after it: its state at a word is that of the
left-to-right direction one word before, beside that of the right-to-left direction one word after (Melamud,
Goldberger and Dagan 2016), so that every word of a sentence is learnt from at once, and none is seen. The
left-to-right model has twice the units, so that both put out as many numbers.

Then a `TextClassifier` is asked where somebody travels to: "leave taipei on monday and arrive in osaka" and
"leave osaka on monday and arrive in taipei" have the same words. A bag of words answers both alike and is
right once; the classifier has seen neither of the two cities with the other.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from options import Parser, run_length
from throughput import compare, our_step, read_packed, torch_step, torch_twin

from pyrnnfast import GRU, Dropout, Embedding, Linear, Module, softmax_cross_entropy
from pyrnnfast.models import TextClassifier
from pyrnnfast.optim import Adam
from pyrnnfast.text import BucketedBatches, Vocabulary
from pyrnnfast.training import Budget, ExampleTask, Trainer, mean_loss

WORDS, EMBEDDING, UNITS, ROWS, LR, EPOCHS = 1000, 64, 64, 32, 3e-3, (10, 2)
SHORTEST, LONGEST = 4, 40
"""Words of a sentence that is taken."""
CITIES = "taipei osaka rome oslo lima cairo delhi paris quito seoul tunis perth".split()  # noqa: SIM905
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()  # noqa: SIM905
TRAVELS = (
    "leave {a} on {day} and arrive in {b}",
    "arrive in {b} on {day} and leave {a}",
    "on {day} from {a} to {b}",
    "to {b} from {a} on {day}",
)


class Batch(NamedTuple):
    """N sentences between <BOS> and <EOS>: ids [T, N], lengths [N]."""

    ids: np.ndarray
    lengths: np.ndarray


class Sentences:
    """Sentences in batches of near lengths, as `ExampleTask` takes them."""

    def __init__(self, vocabulary: Vocabulary, sentences: Sequence[str]) -> None:
        encoded = [vocabulary.encode(words, bos=True, eos=True) for words in sentences]
        self._batches = BucketedBatches(encoded, max_rows=ROWS)

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, rng: np.random.Generator | None = None) -> Iterator[Batch]:
        """Yield every sentence once."""
        return (Batch(ids, lengths) for ids, lengths, _ in self._batches.epoch(rng))


class MissingWord(Module):
    """Guesses each word of a sentence from the others: of both sides, or those on its left."""

    def __init__(
        self, vocabulary: Vocabulary, both_sides: bool, dropout: float, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.vocabulary, self.units = vocabulary, UNITS if both_sides else 2 * UNITS
        self.embedding = Embedding(len(vocabulary), EMBEDDING, rng=rng)
        self.recurrent = GRU(EMBEDDING, self.units, bidirectional=both_sides, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)
        self.decoder = Linear(2 * UNITS, len(vocabulary), rng=rng)

    def __call__(self, batch: Batch, known: np.ndarray) -> np.ndarray:
        """Return the logits [M, V] of the words where known [T - 2, N] is true."""
        y, _ = self.recurrent(batch.ids, None, batch.lengths, embedding=self.embedding)
        sides = np.concatenate([y[:-2, :, : self.units], y[2:, :, self.units :]], axis=2)
        return self.decoder(self.dropout(sides[known]))

    def backward(self, dlogits: np.ndarray, known: np.ndarray) -> None:
        """Go back through the last call."""
        dsides = np.zeros((*known.shape, 2 * UNITS), np.float32)
        dsides[known] = self.dropout.backward(self.decoder.backward(dlogits))
        dy = np.zeros((len(known) + 2, *dsides.shape[1:]), np.float32)
        dy[:-2, :, : self.units] = dsides[..., : self.units]
        dy[2:, :, self.units :] = dsides[..., self.units :]
        self.recurrent.backward(dy)

    def words(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Return where [T - 2, N] a sentence has a word that is in the vocabulary, and these words [M]."""
        inner = batch.ids[1:-1]
        known = (np.arange(len(inner))[:, None] < batch.lengths - 2) & (inner != self.vocabulary.unk_id)
        return known, inner[known]

    def loss_and_grads(self, batch: Batch) -> tuple[float, int]:
        """Add the gradients of a batch; return the mean loss in nats and the number of words."""
        known, words = self.words(batch)
        loss, dlogits = softmax_cross_entropy(self(batch, known), words)
        self.backward(dlogits, known)
        return loss, words.size

    def loss(self, batch: Batch) -> tuple[float, float]:
        """Return the mean loss and the number of words."""
        known, words = self.words(batch)
        return softmax_cross_entropy(self(batch, known), words)[0], words.size

    def guesses(self, sentence: str, place: int, count: int = 3) -> list[str]:
        """Return the likeliest words at a place of a sentence, counted from 0; <UNK> is none."""
        ids = self.vocabulary.encode(sentence, bos=True, eos=True)[:, None]
        known = (np.arange(len(ids) - 2) == place)[:, None]
        logits = self(Batch(ids, np.array([len(ids)])), known)[0]
        first = len(self.vocabulary.specials)
        best = first + np.argsort(-logits[first:])[:count]
        return [self.vocabulary.decode([number]) for number in best]


def sentences_of(text: str) -> list[str]:
    """Return the different sentences, in lower case, without signs and lines that name a speaker."""
    spoken = re.sub(r"^.*:\n", "", text, flags=re.M).lower()
    each = (re.findall(r"\w+(?:'\w+)*", part) for part in re.split(r"[.?!;:]|\n\n", spoken))
    return list(dict.fromkeys(" ".join(words) for words in each if SHORTEST <= len(words) <= LONGEST))


def trained(model: MissingWord, train: Sentences, valid: Sentences, options: Any) -> list[tuple[int, float]]:
    """Train a model; return the words read and the loss of each validation."""
    trainer = Trainer(
        ExampleTask(model, train, valid, None, options.seed),
        Adam(model, LR),
        peak=LR,
        budget=Budget(**run_length(options, epochs=EPOCHS), epoch_steps=len(train)),
        valid_every=max(1, len(train) // 2),
    )
    trainer.run()
    return [(row.tokens, row.valid_loss) for row in trainer.history.rows if row.valid_loss is not None]


def evaluated(model: MissingWord, sentences: Sentences) -> tuple[float, float]:
    """Return perplexity, and the share of words that are guessed first."""
    right = total = 0
    model.eval()
    for batch in sentences.epoch():
        known, words = model.words(batch)
        right += np.count_nonzero(model(batch, known).argmax(axis=1) == words)
        total += words.size
    return math.exp(mean_loss(model, sentences)), right / total


def ratio(model: MissingWord, sentences: Sentences) -> float:
    """Return how many times as fast the model trains as the same in PyTorch; its dropout must be 0."""
    import torch

    batches = list(itertools.islice(sentences.epoch(np.random.default_rng(0)), 16))
    tensors = [tuple(map(torch.from_numpy, (*batch, *model.words(batch)))) for batch in batches]
    twin, units = torch_twin(model.train()), model.units

    def loss(batch: Sequence[torch.Tensor]) -> torch.Tensor:
        ids, lengths, known, words = batch
        x = twin["embedding"](ids)
        if model.recurrent.bidirectional:
            y = read_packed(twin["recurrent"], x, lengths)
        else:  # what is past a sentence's end plays no part: no need to pack
            y, _ = twin["recurrent"](x)
        sides = torch.cat([y[:-2, :, :units], y[2:, :, units:]], dim=2)
        return torch.nn.functional.cross_entropy(twin["decoder"](sides[known]), words)

    ours = our_step(model, lambda batch: model.loss_and_grads(batch)[0], batches)
    return compare(ours, torch_step(twin, loss, tensors))


def plot(file: Path, curves: dict[str, list[tuple[int, float]]]) -> None:
    """Draw the losses of the held-out sentences while the models learn."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="words read", ylabel="held-out loss, nats per missing word")
    for name, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), "o-", markersize=3, label=name)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=80)


def fill_in(options: Any, sentences: list[str]) -> None:
    """Train both models, print how well they guess."""
    random.Random(options.seed).shuffle(sentences)
    tenth = len(sentences) // 10
    test, valid, train = sentences[:tenth], sentences[tenth : 2 * tenth], sentences[2 * tenth :]
    words = Vocabulary.from_text(train, unit="word", max_size=WORDS)
    parts = [Sentences(words, part) for part in (train, valid, test)]
    models, curves = {}, {}
    for name, both_sides in {"left side": False, "both sides": True}.items():
        models[name] = model = MissingWord(words, both_sides, 0.3, np.random.default_rng(options.seed))
        curves[name] = trained(model, *parts[:2], options)
        perplexity, accuracy = evaluated(model, parts[2])
        print(f"{name:10} perplexity {perplexity:6.1f}, guessed first {accuracy:.1%}", flush=True)
    for sentence in test[:5]:
        each = sentence.split()
        place = len(each) // 2
        print(" ".join([*each[:place], "___", *each[place + 1 :]]), f"({each[place]})")
        for name, model in models.items():
            print(f"    {name}:", ", ".join(model.guesses(sentence, place)))
    if options.plot:
        plot(options.plot, curves)
    if options.compare:
        for name, both_sides in {"left side": False, "both sides": True}.items():
            model = MissingWord(words, both_sides, 0.0, np.random.default_rng(options.seed))
            print(f"training {name}: {ratio(model, parts[0]):.2f} x PyTorch")


def travels(pairs: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return sentences about each pair of cities, both ways; and the city that each leads to."""
    ways = [way for a, b in pairs for way in ((a, b), (b, a))]
    told = [(line.format(a=a, b=b, day=day), b) for a, b in ways for line in TRAVELS for day in DAYS]
    texts, labels = zip(*told, strict=True)
    return list(texts), list(labels)


def tell_apart(options: Any) -> None:
    """Train a classifier on destinations, print how often it is right about pairs of cities that are new."""
    pairs = list(itertools.combinations(CITIES, 2))
    random.Random(options.seed).shuffle(pairs)
    cut = len(pairs) // 5
    texts, labels = travels(pairs[cut:])
    model = TextClassifier.from_examples(
        texts, labels, unit="word", embedding=32, hidden=32, layers=1, pooling="max", rng=options.seed
    )
    model.fit(texts, labels, batch=32, lr=5e-3, epochs=3)
    report = model.evaluate(*travels(pairs[:cut]))
    print(f"destination of {report.examples} sentences: {report.accuracy:.1%}; a bag of words: 50.0% at most")
    a, b = pairs[0]
    for start, end in ((a, b), (b, a)):
        text = TRAVELS[0].format(a=start, b=end, day=DAYS[0])
        print(f"    {text}: to {model.predict([text])[0]}")


def main() -> None:
    """Read the options, do both."""
    parser = Parser(
        "Fill in missing words from both sides; tell sentences of the same words apart.",
        text=True,
        figure=True,
    )
    options = parser.options()
    sentences = sentences_of(parser.read(options.text))
    if len(sentences) < 100:
        parser.error(f"the text must have at least 100 sentences, got {len(sentences)}")
    fill_in(options, sentences)
    tell_apart(options)


if __name__ == "__main__":
    main()
