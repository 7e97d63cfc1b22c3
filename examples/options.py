"""The command-line options that the examples share, and the text that they read."""

from __future__ import annotations

import argparse
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pyrnnfast.text import read_text
from pyrnnfast.training.files import check_writable

TEXT = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


class Parser(argparse.ArgumentParser):
    """Takes --seed, --minutes and --compare, --quick and --plot or --model, and what an example adds."""

    def __init__(
        self, description: str, *, text: bool = False, figure: bool = False, minutes: float | None = None
    ) -> None:
        """text: whether the example reads a text.

        figure: whether it can be quick and draws a figure; else it keeps a model. minutes: how long it
        trains when nothing is said; None for another length.
        """
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        if text:
            self.add_argument("text", type=Path, help="a text in UTF-8, for example tinyshakespeare")
        self.add_argument("--seed", type=at_least(0), default=0, help="of weights and data (default: 0)")
        self.length = self.add_mutually_exclusive_group()
        told = "train each model so long instead" if minutes is None else f"how long (default: {minutes:g})"
        self.length.add_argument("--minutes", type=duration, default=minutes, help=told)
        if figure:
            self.length.add_argument(
                "--quick", action="store_true", help="only see that it runs, in a few seconds"
            )
            self.add_argument("--plot", type=writable, metavar="FILE", help="draw the figure, a PNG")
        else:
            self.add_argument("--model", type=writable, metavar="FILE", help="keep the model, for pyrnnfast")
        self.add_argument("--compare", action="store_true", help="time training against PyTorch too")

    def options(self) -> argparse.Namespace:
        """Parse the command line; leave with exit code 2 when something is wrong or missing."""
        options = self.parse_args()
        for asked, module, extra in (
            (vars(options).get("plot"), "matplotlib", "cli"),
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
            self.leave(f"{file} is not there; a text of a megabyte: curl -o {file} {TEXT}")
        except (OSError, ValueError) as error:
            self.leave(str(error))

    def leave(self, told: str) -> NoReturn:
        """Leave with exit code 2 and one line."""
        self.exit(2, f"{told}\n")


def at_least(least: int) -> Callable[[str], int]:
    """Return what argparse takes as the type of integers from `least` on."""

    def integer(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return integer


def duration(text: str) -> float:
    """Return minutes, for argparse."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text}")
    return value


def writable(text: str) -> Path:
    """Return the path of a file that can be written, for argparse."""
    try:
        check_writable(text)
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def run_length(options: argparse.Namespace, **lengths: tuple[int, int]) -> dict[str, Any]:
    """Return what `fit` or `Budget` is told of the length of a run.

    lengths: by name ("steps", "epochs") how many there are, and how many with --quick. --minutes goes before.
    """
    if options.minutes is not None:
        return {"minutes": options.minutes}
    return {name: each[options.quick] for name, each in lengths.items()}
