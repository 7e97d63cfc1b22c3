"""Train a small tagger in PyTorch twice, as it is and with one line more, and print how much faster that is.

    python examples/torch_tagger.py                     # on text that it makes up
    python examples/torch_tagger.py --text book.txt     # on yours

The tagger reads text whose spaces are gone and says of each character whether a word begins there: an
embedding, a bidirectional LSTM (or --cell gru), a linear layer. Both runs begin with the same weights and see
the same batches, so their losses agree as far as rounding goes. It needs PyTorch:
pip install 'pyrnnfast[torch]'
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from pyrnnfast.torch import accelerate, explain


class Tagger(nn.Module):
    """Characters [N, T] -> a score [N, T] of a word's beginning: positive where the model sees one."""

    def __init__(self, characters: int, hidden: int, layer: type[nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 64)
        self.context = layer(64, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.score = nn.Linear(2 * hidden, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Score each character."""
        context, _ = self.context(self.embedding(ids))
        return self.score(context).squeeze(-1)


def made_up_text(words: int, rng: random.Random) -> str:
    """Draw words from a small language of syllables, some of them much more often than others."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
    language = ["".join(rng.choices(syllables, k=rng.choice([1, 2, 2, 3]))) for _ in range(500)]
    return " ".join(rng.choices(language, [1 / (rank + 1) for rank in range(500)], k=words))


def encode(text: str) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return each character's id and whether a word begins there, without the spaces; and how many ids."""
    words = text.split()
    letters = "".join(words)
    alphabet = {letter: number for number, letter in enumerate(sorted(set(letters)))}
    starts = torch.zeros(len(letters))
    position = 0
    for word in words:
        starts[position] = 1
        position += len(word)
    return torch.tensor([alphabet[letter] for letter in letters]), starts, len(alphabet)


def train(
    model: nn.Module, ids: torch.Tensor, starts: torch.Tensor, options: Any
) -> tuple[list[float], float]:
    """Train with Adam; return the loss of each step, and the seconds a step takes without the first one."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    picks = torch.Generator().manual_seed(0)
    losses, began = [], 0.0
    for step in range(options.steps + 1):
        places = torch.randint(len(ids) - options.length + 1, (options.rows, 1), generator=picks)
        windows = places + torch.arange(options.length)
        loss = functional.binary_cross_entropy_with_logits(model(ids[windows]), starts[windows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step == 0:
            began = time.perf_counter()
    return losses, (time.perf_counter() - began) / options.steps


def main() -> None:
    """Read the options, train both ways, print losses and times."""
    parser = argparse.ArgumentParser(description="Train a tagger in PyTorch with and without pyrnnfast.")
    parser.add_argument("--text", type=Path, help="a text in UTF-8; default: one that is made up")
    parser.add_argument("--cell", choices=("lstm", "gru", "rnn"), default="lstm")
    parser.add_argument("--hidden", type=int, default=128, help="units of each direction (default: 128)")
    parser.add_argument("--rows", type=int, default=32, help="windows of text a step (default: 32)")
    parser.add_argument("--length", type=int, default=100, help="characters of a window (default: 100)")
    parser.add_argument("--steps", type=int, default=60, help="steps each way (default: 60)")
    options = parser.parse_args()
    if min(options.hidden, options.rows, options.length, options.steps) < 1:
        parser.error("--hidden, --rows, --length and --steps must be at least 1")
    try:
        given = options.text.read_text(encoding="utf-8") if options.text else None
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"--text must be a text in UTF-8, got {options.text}: {error}")
    text = made_up_text(20_000, random.Random(0)) if given is None else given
    ids, starts, characters = encode(text)
    if len(ids) < options.length:
        parser.error(f"the text must have at least {options.length} characters, got {len(ids)}")

    torch.manual_seed(0)
    plain = Tagger(characters, options.hidden, getattr(nn, options.cell.upper()))
    fast = accelerate(plain, inplace=False)  # the one line; a copy here, to have both
    explain(fast)

    seconds = {}
    for name, model in {"PyTorch": plain, "accelerated": fast}.items():
        losses, seconds[name] = train(model, ids, starts, options)
        print(f"{name:12} loss {losses[0]:.4f} -> {losses[-1]:.4f}, {seconds[name] * 1e3:.1f} ms a step")
    print(f"ratio: {seconds['PyTorch'] / seconds['accelerated']:.2f}")


if __name__ == "__main__":
    main()
