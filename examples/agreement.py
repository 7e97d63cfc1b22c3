"""Remember a subject's number over a relative clause: Elman, GRU and LSTM against distance.

    python examples/agreement.py --plot agreement.png

Each learns to predict the next word of sentences such as "the cat , which already ate the old fish near the
houses , was full" and "the cats , which ... , were full". Nouns inside of the clause have a number of their
own, so that only the subject tells which verb it must be. The distance is how many words after its subject
the verb stands; the models are trained on distances up to 15 and tested on longer ones too. Accuracy is how
often the right one of "was" and "were" is the more probable: guessing gives one half.

After Elman 1991, and Linzen, Dupoux and Goldberg 2016, who asked this of LSTMs and real sentences.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from options import Parser, run_length
from throughput import compare_language_model

from pyrnnfast.models import LanguageModel
from pyrnnfast.text import Vocabulary

CELLS = {"rnn": "Elman", "gru": "GRU", "lstm": "LSTM"}
NOUNS = ["cat", "dog", "bird", "horse", "king", "queen", "boy", "girl", "house", "tree", "river", "friend"]
ADVERBS = ["already", "never", "often", "once"]
PAST = ["ate", "saw", "chased", "found", "heard", "followed"]
JOINTS = ["and", "near", "behind", "with"]
ADJECTIVES = ["full", "old", "small", "happy", "tired", "quiet"]
SINGULAR, PLURAL = VERBS = ("was", "were")

TRAINED = (1, *range(8, 16))
TESTED = (1, 8, 10, 12, 15, 18, 21, 25, 30, 35, 40)
TRAIN_SENTENCES, TEST_SENTENCES = 40_000, 500
STEPS, ROWS, WINDOW, HIDDEN = (5000, 400), 64, 32, 64


def objects(words: int, rng: random.Random) -> list[str]:
    """Draw so many words, at least two: "the fish", "the old house near the birds", and so on."""
    if words > 4:
        first = 2 if words == 5 else rng.choice([2, 3])
        return [*objects(first, rng), rng.choice(JOINTS), *objects(words - first - 1, rng)]
    return ["the", *rng.choices(ADJECTIVES, k=words - 2), rng.choice(NOUNS) + rng.choice(["", "s"])]


def sentence(distance: int, rng: random.Random) -> list[str]:
    """Draw a sentence; the distance is 1, or with a clause 8 or more."""
    plural = rng.random() < 0.5
    clause = []
    if distance > 1:
        clause = [",", "which", rng.choice(ADVERBS), rng.choice(PAST), *objects(distance - 6, rng), ","]
    subject = rng.choice(NOUNS) + "s" * plural
    return ["the", subject, *clause, PLURAL if plural else SINGULAR, rng.choice(ADJECTIVES)]


def accuracy(model: LanguageModel, sentences: Sequence[Sequence[str]]) -> float:
    """Return how often the right verb, the last word but one of sentences of equal length, is preferred."""
    encode = model.vocabulary.encode
    ids = np.stack([encode(" ".join(words), bos=True) for words in sentences], axis=1)
    with model.evaluating():
        logits = model(ids[:-2])[0][-1]
    singular, plural = (int(encode(verb)[0]) for verb in VERBS)
    return float(np.mean((logits[:, plural] > logits[:, singular]) == (ids[-2] == plural)))


def plot(file: Path, found: dict[str, list[float]]) -> None:
    """Draw accuracy over distance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(
        xlabel="words from subject to verb", ylabel="accuracy", title='"was" or "were"?', ylim=(0.4, 1.02)
    )
    for cell, values in found.items():
        axes.plot(TESTED, values, "o-", markersize=4, label=CELLS[cell])
    axes.axvline(max(TRAINED), color="0.6", linestyle="--", label="longest in training")
    axes.axhline(0.5, color="0.6", linestyle=":", label="guessing")
    axes.legend()
    figure.savefig(file, dpi=80)


def main() -> None:
    """Train each model, test it at each distance, print the table."""
    parser = Parser("Agreement of subject and verb over a distance: Elman, GRU and LSTM.", figure=True)
    options = parser.options()
    rng = random.Random(options.seed)
    train = [sentence(rng.choice(TRAINED), rng) for _ in range(TRAIN_SENTENCES)]
    text = "\n".join(map(" ".join, train))
    tests = [[sentence(distance, rng) for _ in range(TEST_SENTENCES)] for distance in TESTED]
    words = Vocabulary.from_text(text, unit="word")

    found, ratios = {}, {}
    print("distance", *(f"{distance:5}" for distance in TESTED))
    for cell, name in CELLS.items():
        model = LanguageModel(words, cell=cell, embedding=32, hidden=HIDDEN, rng=options.seed)
        model.fit(text, batch=ROWS, window=WINDOW, lr=3e-3, **run_length(options, steps=STEPS))
        found[cell] = [accuracy(model, sentences) for sentences in tests]
        print(f"{name:8}", *(f"{value:5.3f}" for value in found[cell]), flush=True)
        if options.compare:
            ratios[name] = compare_language_model(model, WINDOW, ROWS)
    if options.plot:
        plot(options.plot, found)
    for name, ratio in ratios.items():
        print(f"training {name}: {ratio:.2f} x PyTorch")


if __name__ == "__main__":
    main()
