"""Train a language model of Chinese characters on the sayings and poems of fortunes-zh and sample it.

    python examples/chinese_characters.py --compare

The text comes with the Debian package fortunes-zh, installed (apt-get install fortunes-zh) or unpacked
anywhere (apt-get download fortunes-zh; dpkg-deb -x fortunes-zh_*.deb FOLDER; then --data
FOLDER/usr/share/games/fortunes). A tenth of its pieces, drawn at random, is held out.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from options import Parser
from throughput import compare_language_model, without_dropout

from pyrnnfast.models import LanguageModel
from pyrnnfast.text import Vocabulary, read_text

FILES = ("chinese", "tang300", "song100")
COLOUR = re.compile("\x1b\\[[0-9;]*m")
END = "\n%\n"
ROWS, WINDOW = 32, 64
PROMPTS = ("《月夜》\n作者\uff1a李白\n", "《春望》\n作者\uff1a杜甫\n", "")


def read_pieces(folder: Path) -> list[str]:
    """Return each saying and poem, without the colours of a terminal; FileNotFoundError without the files."""
    texts = [COLOUR.sub("", read_text(folder / name)) for name in FILES]
    pieces = [piece.strip("\n") for text in texts for piece in text.split(END)]
    return [piece for piece in pieces if piece]


def main() -> None:
    """Read the options and the pieces, train, evaluate, write."""
    parser = Parser("Train a language model of Chinese characters.", minutes=3.0)
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("/usr/share/games/fortunes"),
        help="the folder of the files chinese, tang300, song100 (default: where the package puts it)",
    )
    options = parser.options()
    try:
        pieces = read_pieces(options.data)
    except (FileNotFoundError, NotADirectoryError) as error:
        parser.leave(
            f"{error.filename} is not there: apt-get install fortunes-zh, or apt-get download fortunes-zh && "
            "dpkg-deb -x fortunes-zh_*.deb FOLDER and --data FOLDER/usr/share/games/fortunes"
        )
    except (OSError, ValueError) as error:
        parser.leave(str(error))

    order = np.random.default_rng(options.seed).permutation(len(pieces))
    held_out, trained = (END.join(pieces[i] for i in part) for part in np.split(order, [len(pieces) // 10]))
    if not held_out or len(trained) <= ROWS * WINDOW:
        least = f"10 pieces and {10 * ROWS * WINDOW // 9} characters"
        parser.leave(f"{options.data} must have {least}, got {len(pieces)} and {sum(map(len, pieces))}")
    characters = Vocabulary.from_text(trained, min_count=2)
    model = LanguageModel(characters, cell="gru", dropout=0.2, rng=options.seed)
    outcome = model.fit(
        trained,
        held_out,
        minutes=options.minutes,
        batch=ROWS,
        window=WINDOW,
        lr=4e-3,
        model=options.model,
    )
    found = model.evaluate(held_out)
    print(
        f"{len(trained):,} characters, {len(characters.tokens):,} different ones, "
        f"{outcome.progress.tokens_per_second:,.0f}/s; held out: {found.bits_per_character:.3f} bits per "
        f"character, {found.unknown_tokens / found.tokens:.2%} unknown"
    )
    for prompt in PROMPTS:
        (written,) = model.sample(prompt, length=150, temperature=0.7, seed=options.seed)
        print(f"\n{prompt}{written.partition(END)[0]}")
    if options.compare:
        ratio = compare_language_model(without_dropout(model), WINDOW, ROWS)
        print(f"\ntraining, without dropout: {ratio:.2f} x PyTorch")


if __name__ == "__main__":
    main()
