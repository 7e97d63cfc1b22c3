"""The command `pyrnnfast`, also as `python -m pyrnnfast`."""

from __future__ import annotations

import importlib
import sys

from pyrnnfast import _backend

NEEDED = ("typer", "rich")
INSTALL = 'pip install "pyrnnfast[cli]"'


def main() -> None:
    """Run the command line; without the extra that it needs, print how to install it and exit with 2."""
    for name in NEEDED:  # all of them first: some are imported only where a command wants them
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            print(f"pyrnnfast: the command line needs {name}; install it with: {INSTALL}", file=sys.stderr)
            sys.exit(2)
    try:
        _backend.current()
    except (ImportError, ValueError) as error:
        print(f"pyrnnfast: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        importlib.import_module("pyrnnfast.cli.main").main()
    except KeyboardInterrupt:  # while it was imported; a command's own is met there
        print("pyrnnfast: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
