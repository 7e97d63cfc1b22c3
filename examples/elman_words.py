"""Find words in letters without spaces: where the next letter is a surprise, a word begins (Elman 1990).

    python examples/elman_words.py tinyshakespeare.txt --plot elman_words.png

An Elman network learns to predict the next letter of a text whose spaces are gone. Inside a word the letters
are ever more predictable, and the first letter of the next word is not: the error falls and jumps. A rise of
the error by more than a threshold is taken for the start of a word. The threshold is the best one on a second
part of the text, and the figures are from a third, which training did not see. Chance is as many starts in
random places.

J. L. Elman, Finding structure in time, Cognitive Science 14, 1990: "Discovering the notion word".
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from options import Parser, run_length
from throughput import compare_language_model

from pyrnnfast.models import LanguageModel
from pyrnnfast.text import Vocabulary

STEPS, ROWS, WINDOW = (3000, 200), 64, 64
THRESHOLDS = np.linspace(0, 4, 81)
SHOWN, LONGEST = 60, 8
"""Letters of the plot's curve, and letters of a word whose mean errors are told."""


def words_of(text: str) -> list[str]:
    """Return the words in lower case, letters only, without the lines that name who speaks in a play."""
    spoken = re.sub(r"^.*:\n", "", text, flags=re.M).lower()
    words = ("".join(filter(str.isalpha, word)) for word in re.split(r"[\s-]+", spoken))
    return [word for word in words if word]


def joined(words: list[str]) -> tuple[str, np.ndarray]:
    """Return the letters of words without spaces, and of each its place in its word, 0 for the first."""
    return "".join(words), np.concatenate([np.arange(len(word)) for word in words])


def word_starts(errors: np.ndarray, threshold: float) -> np.ndarray:
    """Return of each letter whether its error is by more than a threshold above that of the one before."""
    return np.diff(errors, prepend=errors[0]) > threshold


def scores(found: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Return precision, recall and F1 of found starts of words against true ones."""
    hits = np.count_nonzero(found & true)
    precision, recall = hits / max(found.sum(), 1), hits / true.sum()
    return precision, recall, 2 * hits / (found.sum() + true.sum())


def chance(found: np.ndarray, true: np.ndarray) -> tuple[float, float, float]:
    """Return what `scores` expects of as many starts as were found, in random places."""
    precision, recall = true.mean(), found.mean()
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def mean_by_place(errors: np.ndarray, places: np.ndarray) -> list[float]:
    """Return the mean error of the first letters of words, of the second ones, and so on."""
    return [float(errors[places == place].mean()) for place in range(LONGEST) if place in places]


def plot(file: Path, letters: str, errors: np.ndarray, places: np.ndarray) -> None:
    """Draw the error of the first letters, as the paper does, and its mean by the place in the word."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    curve, means = figure.subplots(2, 1, height_ratios=(3, 2))
    curve.plot(errors[:SHOWN], color="0.7", linewidth=1)
    for i, letter in enumerate(letters[:SHOWN]):
        style = {"color": "tab:red", "weight": "bold"} if places[i] == 0 else {}
        curve.text(i, errors[i], letter, ha="center", va="center", **style)
    curve.set(xlim=(-1, SHOWN), xlabel="letter; red: a word begins", ylabel="error, nats")
    curve.set_title("Error of predicting each letter of a held-out text without spaces")
    by_place = mean_by_place(errors, places)
    means.bar(np.arange(1, len(by_place) + 1), by_place, width=0.6)
    means.set(xlabel="place of the letter in its word", ylabel="mean error, nats")
    figure.savefig(file, dpi=80)


def main() -> None:
    """Train, find words, print the figures."""
    parser = Parser(
        "Find words in letters without spaces, by the error of an Elman network.", text=True, figure=True
    )
    options = parser.options()
    words = words_of(parser.read(options.text))
    first, second = int(0.8 * len(words)), int(0.9 * len(words))
    if second - first < 100:
        parser.error(f"the text must have at least 1000 words, got {len(words)}")
    train, _ = joined(words[:first])
    valid, valid_places = joined(words[first:second])
    test, places = joined(words[second:])

    model = LanguageModel(Vocabulary.from_text(train), cell="rnn", embedding=32, hidden=256, rng=options.seed)
    model.fit(train, valid, batch=ROWS, window=WINDOW, lr=2e-3, **run_length(options, steps=STEPS))

    valid_errors, errors = model.surprisal(valid), model.surprisal(test)
    threshold = max(
        THRESHOLDS, key=lambda rise: scores(word_starts(valid_errors, rise), valid_places == 0)[2]
    )
    found, true = word_starts(errors, threshold), places == 0
    print(f"{len(test)} held-out letters, {errors.mean():.3f} nats each")
    print("mean error by place in the word:", *(f"{mean:.2f}" for mean in mean_by_place(errors, places)))
    print(f"a word begins where the error rises by more than {threshold:.2f} nats")
    print("                 precision  recall     F1")
    for name, (precision, recall, f1) in {
        "by the error": scores(found, true),
        "chance": chance(found, true),
    }.items():
        print(f"{name:16} {precision:9.3f} {recall:7.3f} {f1:6.3f}")
    pieces = "".join(
        f" {letter}" if start else letter for letter, start in zip(test[:200], found, strict=False)
    )
    print("found:", pieces.strip())
    if options.plot:
        plot(options.plot, test, errors, places)
    if options.compare:
        print(f"training: {compare_language_model(model, WINDOW, ROWS):.2f} x PyTorch")


if __name__ == "__main__":
    main()
