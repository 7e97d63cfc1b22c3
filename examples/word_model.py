"""Train a language model of words, draw a thousand lines from it, and count how they end.

    python examples/word_model.py tinyshakespeare.txt
    python examples/word_model.py tinyshakespeare.txt --minutes 1 --model words.safetensors

The last tenth of the text is held out. Words that are not among the most frequent ones are `<UNK>`; when one
is drawn, it is drawn again, so that no line has it. A line ends with `<EOS>`, or at the limit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pyrnnfast.models import LanguageModel, language_training
from pyrnnfast.text import Vocabulary, read_text

SHOWN = 12
TEXT = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


def train(text: str, options: argparse.Namespace) -> LanguageModel:
    """Make the vocabulary and the model of all but the last tenth of a text, train, print how good it is."""
    trained, held_out = language_training.split(text, None, 0.1, "word")
    words = Vocabulary.from_text(
        trained, unit="word", max_size=options.vocabulary, lowercase=options.lowercase
    )
    model = LanguageModel(words, cell="gru", layers=2, dropout=0.5, rng=options.seed)
    outcome = model.fit(
        trained, held_out, minutes=options.minutes, batch=16, window=32, lr=3e-3, model=options.model
    )
    found = model.evaluate(held_out)
    print(
        f"{len(words.tokens):,} words, {outcome.progress.step:,} steps, "
        f"{outcome.progress.tokens_per_second:,.0f} words/s; held out: perplexity {found.perplexity:.1f}, "
        f"{found.unknown_tokens / found.tokens:.1%} of the words unknown"
    )
    return model


def draw(model: LanguageModel, options: argparse.Namespace) -> None:
    """Draw lines, print the first ones, and how many have an unknown word and how they end."""
    lines = model.sample(count=options.lines, length=options.length, temperature=0.8, seed=options.seed)
    print("\n".join(f"    {line}" for line in [line for line in lines if line][:SHOWN]))
    words = [line.split() for line in lines]
    unknown = sum("<UNK>" in line for line in words)
    ended = sum(len(line) < options.length for line in words)  # only <EOS> ends a line before the limit
    cut = sum(len(line) == options.length for line in words)
    print(
        f"{len(lines)} lines: {unknown} with <UNK>, {ended} end with <EOS>, {cut} at {options.length} words"
    )


def main() -> None:
    """Read the options and the text, train, draw."""
    parser = argparse.ArgumentParser(description="Train a language model of words and draw lines from it.")
    parser.add_argument("text", type=Path, help="a text in UTF-8, for example tinyshakespeare")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to train (default: 2)")
    parser.add_argument("--vocabulary", type=int, default=3000, help="the most entries (default: 3000)")
    parser.add_argument("--lowercase", action="store_true", help="read all in lower case")
    parser.add_argument("--lines", type=int, default=1000, help="how many to draw (default: 1000)")
    parser.add_argument("--length", type=int, default=30, help="the most words of a line (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and lines (default: 0)")
    parser.add_argument("--model", type=Path, metavar="FILE", help="keep the model, for pyrnnfast sample")
    options = parser.parse_args()
    try:
        text = read_text(options.text)
    except FileNotFoundError:
        parser.exit(2, f"{options.text} is not there; a text of a megabyte: curl -o {options.text} {TEXT}\n")
    draw(train(text, options), options)


if __name__ == "__main__":
    main()
