"""The command `pyrnnfast`, also as `python -m pyrnnfast`."""

from __future__ import annotations

import importlib
import sys

NEEDED = ("typer", "rich")
INSTALL = 'pip install "pyrnnfast[cli]"'


def main() -> None:
    """Run the command line; without the extra that it needs, print how to install it and exit with 2."""
    try:
        command = importlib.import_module("pyrnnfast.cli.main")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDED:
            raise
        print(f"pyrnnfast: the command line needs {missing}; install it with: {INSTALL}", file=sys.stderr)
        sys.exit(2)
    command.main()


if __name__ == "__main__":
    main()
