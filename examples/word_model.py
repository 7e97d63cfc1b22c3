"""Train a language model of words, draw a thousand lines from it, and count how they end.

    python examples/word_model.py tinyshakespeare.txt
    python examples/word_model.py tinyshakespeare.txt --minutes 1 --model words.safetensors --compare

The last tenth of the text is held out. Words that are not among the most frequent ones are `<UNK>`; when one
is drawn, it is drawn again, so that no line has it. A line ends with `<EOS>`, or at the limit.
"""

from __future__ import annotations

import argparse

from options import Parser, at_least
from throughput import compare_language_model, without_dropout

from pyrnnfast.models import LanguageModel, language_training
from pyrnnfast.text import SPECIALS, Vocabulary

ROWS, WINDOW = 16, 32
FEWEST, SHOWN = 1000, 12


def train(text: str, options: argparse.Namespace) -> LanguageModel:
    """Make the vocabulary and the model of all but the last tenth of a text, train, print how good it is."""
    trained, held_out = language_training.split(text, None, 0.1, "word")
    words = Vocabulary.from_text(
        trained, unit="word", max_size=options.vocabulary, lowercase=options.lowercase
    )
    model = LanguageModel(words, cell="gru", layers=2, dropout=0.5, rng=options.seed)
    outcome = model.fit(
        trained, held_out, minutes=options.minutes, batch=ROWS, window=WINDOW, lr=3e-3, model=options.model
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
    parser = Parser("Train a language model of words and draw lines from it.", text=True, minutes=2.0)
    entries = at_least(len(SPECIALS) + 1)
    parser.add_argument("--vocabulary", type=entries, default=3000, help="the most entries (default: 3000)")
    parser.add_argument("--lowercase", action="store_true", help="read all in lower case")
    for name, default, told in (("lines", 1000, "how many to draw"), ("length", 30, "most words of a line")):
        parser.add_argument(
            f"--{name}", type=at_least(1), default=default, help=f"{told} (default: {default})"
        )
    options = parser.options()
    text = parser.read(options.text)
    if len(text.split()) < FEWEST:
        parser.leave(f"the text must have at least {FEWEST} words, got {len(text.split())}")
    model = train(text, options)
    draw(model, options)
    if options.compare:
        ratio = compare_language_model(without_dropout(model), WINDOW, ROWS)
        print(f"training, without dropout: {ratio:.2f} x PyTorch")


if __name__ == "__main__":
    main()
