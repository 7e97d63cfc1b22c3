"""The command-line options that the examples share, and the text that they read."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

from pyrnnfast.text import read_text

TEXT = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


class Parser(argparse.ArgumentParser):
    """Takes --seed, --minutes, --quick, --plot and --compare, and what an example adds."""

    def __init__(self, description: str, text: bool) -> None:
        """text: whether the example reads a text."""
        super().__init__(description=description)
        if text:
            self.add_argument("text", type=Path, help="a text in UTF-8, for example tinyshakespeare")
        self.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
        length = self.add_mutually_exclusive_group()
        length.add_argument("--minutes", type=float, help="train each model so long; else a number of steps")
        length.add_argument("--quick", action="store_true", help="only see that it runs, in a few seconds")
        self.add_argument("--plot", type=Path, metavar="FILE", help="draw the figure, a PNG")
        self.add_argument("--compare", action="store_true", help="time training against PyTorch too")

    def options(self) -> argparse.Namespace:
        """Parse the command line; leave with exit code 2 when something is wrong or missing."""
        options = self.parse_args()
        if options.seed < 0:
            self.error(f"--seed must be at least 0, got {options.seed}")
        if options.minutes is not None and not options.minutes > 0:
            self.error(f"--minutes must be above 0, got {options.minutes}")
        for asked, module, extra in (
            (options.plot, "matplotlib", "cli"),
            (options.compare, "torch", "torch"),
        ):
            if asked and importlib.util.find_spec(module) is None:
                self.error(f"{module} is not installed: pip install 'pyrnnfast[{extra}]'")
        return options

    def read(self, file: Path) -> str:
        """Return a text; leave with exit code 2 when there is none."""
        try:
            return read_text(file)
        except FileNotFoundError:
            self.error(f"{file} is not there; a text of a megabyte: curl -o {file} {TEXT}")
        except (OSError, ValueError) as error:
            self.error(str(error))


def run_length(options: argparse.Namespace, **lengths: tuple[int, int]) -> dict[str, Any]:
    """Return what `fit` or `Budget` is told of the length of a run.

    lengths: by name ("steps", "epochs") how many there are, and how many with --quick. --minutes goes before.
    """
    if options.minutes is not None:
        return {"minutes": options.minutes}
    return {name: each[options.quick] for name, each in lengths.items()}
